//! One escrow between three people on a running server, without its network side.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix::Actor;
use aegis_common::address::Network;
use aegis_common::chain::PlainScanner;
use aegis_common::escrow::statement::Act;
use aegis_common::hash::Hash32;
use aegis_common::ids::EscrowId;
use aegis_common::role::Role;
use aegis_common::time::Clock;
use aegis_server::actors::message::{Command, Create, Snapshot, Tell};
use aegis_server::actors::{ActorDeps, ActorHandles, Finder, Options, start};
use aegis_server::chain::Source;
use aegis_server::clock::SystemClock;
use aegis_server::crypto::Keyring;
use aegis_server::store::{DatabaseUrl, Role as Account, Store, StoreOptions, UserRow};
use zeroize::Zeroizing;

use crate::people::People;
use crate::still::Nobody;

/// The actors, and who speaks to them.
pub struct Server {
    pub handles: ActorHandles,
    pub people: People,
    pub id: EscrowId,
}

impl Server {
    /// Starts it over these nodes, and creates the escrow when the chain is followed.
    pub async fn begin<N: Source + Finder>(nodes: Arc<N>, dir: &Path) -> Self {
        let url = DatabaseUrl::Sqlite(dir.join("aegis.db"));
        let keyring = Arc::new(Keyring::parse(&"a".repeat(64)).unwrap());
        let store = Store::open(&url, keyring, StoreOptions::default()).unwrap();
        let people = People::new(3);
        for person in &people.0 {
            let party = &person.party;
            let row = UserRow {
                id: party.user_id,
                username: party.username.clone(),
                password_hash: "$argon2id$".to_owned(),
                role: Account::User,
                identity_key: party.identity_key,
                signing_key: party.signing_key,
                payout_address: party.payout_address.to_string(),
                created_at: SystemClock.now(),
            };
            store.insert_user(row).await.unwrap();
        }
        let mut options = Options { look_up: Duration::from_millis(200), ..Options::default() };
        options.chain.poll = Duration::from_millis(200);
        let handles = start(ActorDeps {
            store,
            nodes,
            scanner: Arc::new(PlainScanner),
            clock: Arc::new(SystemClock),
            network: Network::Regtest,
            sessions: Nobody.start().recipient(),
            options,
        });
        while handles.tip.height().is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let contract = people.contract(SystemClock.now());
        let (id, initiator) = (contract.escrow_id, contract.seller.user_id);
        let create =
            Create { contract, initiator, replaces: None, idempotency: ("key".to_owned(), Hash32([0; 32])) };
        handles.create.send(create).await.unwrap().unwrap();
        Self { handles, people, id }
    }

    /// Tells the escrow something that it must take.
    pub async fn tell(&self, command: Command) -> Snapshot {
        self.handles.tell.send(Tell { id: self.id, command, expected: None }).await.unwrap().unwrap()
    }

    /// A statement of one of the people; with an attestation goes the view key.
    pub async fn say(&self, role: Role, act: Act, view_key: Option<[u8; 32]>) -> Snapshot {
        let escrow = self.tell(Command::Read).await.escrow;
        let view_key = view_key.filter(|_| matches!(act, Act::Attest { .. })).map(Zeroizing::new);
        let (by, signed) = (self.people.id(role), Box::new(self.people.sign(&escrow, role, act)));
        self.tell(Command::Statement { by, signed, view_key }).await
    }
}
