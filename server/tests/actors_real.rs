//! The actors against real monerod and monero-wallet-rpc: a deposit comes in, a payout goes out. One ordinary wallet
//! stands for the three that share the keys; the rest is as it will be.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/monero.rs"]
mod monero;
#[path = "support/people.rs"]
mod people;
#[path = "support/still.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod still;

use std::sync::Arc;
use std::time::Duration;

use actix::Actor;
use aegis_common::address::{Address, Network};
use aegis_common::amount::Piconero;
use aegis_common::chain::PlainScanner;
use aegis_common::escrow::deposits::Refusal as NotCredited;
use aegis_common::escrow::state::Status;
use aegis_common::escrow::statement::Act;
use aegis_common::hash::Hash32;
use aegis_common::ids::EscrowId;
use aegis_common::role::Role;
use aegis_common::testing::chain::TestWallet;
use aegis_common::time::Clock;
use aegis_server::actors::message::{Command, Create, Snapshot, Tell};
use aegis_server::actors::{ActorDeps, ActorHandles, Options, start};
use aegis_server::clock::SystemClock;
use aegis_server::crypto::Keyring;
use aegis_server::node::{NodeConfig, NodePool, PoolConfig};
use aegis_server::store::{DatabaseUrl, Role as Account, Store, StoreOptions, UserRow};
use monero::Daemon;
use people::People;
use serde_json::json;
use still::Nobody;
use zeroize::Zeroizing;

struct Server {
    handles: ActorHandles,
    people: People,
    wallet: Daemon,
    id: EscrowId,
}

impl Server {
    async fn tell(&self, command: Command) -> Snapshot {
        self.handles.tell.send(Tell { id: self.id, command, expected: None }).await.unwrap().unwrap()
    }

    async fn say(&self, role: Role, act: Act) -> Snapshot {
        let escrow = self.tell(Command::Read).await.escrow;
        let mut view_key = None;
        if matches!(act, Act::Attest { .. }) {
            let reply = self.wallet.rpc("query_key", json!({"key_type": "view_key"})).await;
            view_key = Some(Zeroizing::new(reply["key"].as_str().unwrap().parse::<Hash32>().unwrap().0));
        }
        let (by, signed) = (self.people.id(role), Box::new(self.people.sign(&escrow, role, act)));
        self.tell(Command::Statement { by, signed, view_key }).await
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Snapshot) -> bool) -> Snapshot {
        for _ in 0..600 {
            let snapshot = self.tell(Command::Read).await;
            if is_so(&snapshot) {
                return snapshot;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never: {what}");
    }
}

async fn begin(daemon: &Daemon, wallet: Daemon, dir: &std::path::Path) -> Server {
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
    let mut config = PoolConfig::new(Network::Regtest, vec![NodeConfig { url: daemon.url(), login: None }]);
    config.timeout = Duration::from_secs(20);
    let mut options = Options { look_up: Duration::from_millis(200), ..Options::default() };
    options.chain.poll = Duration::from_millis(200);
    let handles = start(ActorDeps {
        store,
        nodes: Arc::new(NodePool::new(&config).unwrap()),
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
    let create = Create { contract, initiator, idempotency: ("key".to_owned(), Hash32([0; 32])) };
    handles.create.send(create).await.unwrap().unwrap();
    Server { handles, people, wallet, id }
}

#[actix::test]
async fn a_real_deposit_and_a_real_payout_lead_to_a_completed_escrow() {
    let daemon = Daemon::monerod(false).await;
    let (payer, shared) = (Daemon::wallet(&daemon).await, Daemon::wallet(&daemon).await);
    let miner = payer.address().await;
    daemon.mine(90, &miner).await;
    let dir = tempfile::tempdir().unwrap();
    let address = shared.address().await;
    let server = begin(&daemon, shared, dir.path()).await;
    for (role, act) in people::setup(&TestWallet::new(1)) {
        let act = match act {
            Act::Attest { attempt, threshold, total, ready, .. } => {
                let address = Address::parse(&address, Network::Regtest).unwrap();
                Act::Attest { attempt, address, threshold, total, ready }
            }
            other => other,
        };
        server.say(role, act).await;
    }

    // A miner's reward is reported, not credited.
    daemon.mine(1, &address).await;
    let seen = server.until("a reward", |now| now.escrow.deposits.all().len() == 1).await;
    assert_eq!(seen.escrow.deposits.all()[0].refused, Some(NotCredited::Locked));
    daemon.call("/pop_blocks", json!({"nblocks": 1})).await;
    daemon.mine(2, &miner).await;
    server.until("no reward", |now| now.escrow.deposits.all().is_empty()).await;

    payer.rpc("refresh", json!({})).await;
    let destinations = json!([{"address": address, "amount": Piconero::XMR.0}]);
    payer.rpc("transfer", json!({ "destinations": destinations })).await;
    server.until("a deposit in the pool", |now| now.escrow.deposits.credited().count() == 1).await;
    daemon.mine(10, &miner).await;
    server.until("active", |now| now.escrow.status() == Status::Active).await;
    let settling = server.say(Role::Buyer, Act::Confirm {}).await;

    let (proposer, cosigner) = settling.escrow.settling().unwrap().signers();
    let sync = || Act::Sync { attempt: 1, info: "5a".to_owned() };
    let own = server.say(proposer, sync()).await.statement.unwrap();
    let other = server.say(cosigner, sync()).await.statement.unwrap();
    server.wallet.rpc("refresh", json!({})).await;
    let to = server.people.of(Role::Seller).party.payout_address;
    let sweep = json!({"address": to, "get_tx_keys": true, "do_not_relay": true, "get_tx_metadata": true});
    let built = server.wallet.rpc("sweep_all", sweep).await;
    let keys = hex::decode(built["tx_key_list"][0].as_str().unwrap()).unwrap();
    let txid: Hash32 = built["tx_hash_list"][0].as_str().unwrap().parse().unwrap();
    let propose = Act::Propose {
        attempt: 1,
        built_on: [own, other],
        txset: "7e".to_owned(),
        tx_keys: keys.chunks(32).map(|key| Hash32(key.try_into().unwrap())).collect(),
        fee: Piconero(built["fee_list"][0].as_u64().unwrap()),
        residue: Piconero::ZERO,
    };
    let proposal = server.say(proposer, propose).await.statement.unwrap();
    server.say(cosigner, Act::Approve { attempt: 1, proposal, txid, txset: "7e5e".to_owned() }).await;
    server.wallet.rpc("relay_tx", json!({"hex": built["tx_metadata_list"][0]})).await;
    let height =
        |now: &Snapshot| now.escrow.settling().and_then(|settling| settling.seen).map(|on| on.height);
    server.until("the payout in the pool", |now| height(now) == Some(None)).await;
    daemon.mine(10, &miner).await;
    server.until("completed", |now| now.escrow.status() == Status::CompletedReleased).await;
    server.handles.stop();
}
