//! A universe for each test: database, clock, chain, sessions and the actors.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Context, Handler, Recipient};
use aegis_common::address::Network;
use aegis_common::chain::{PlainScanner, Scanner, Tx};
use aegis_common::escrow::event::Event;
use aegis_common::escrow::record::{Beginning, Entry, Record};
use aegis_common::escrow::state::{Escrow, Status};
use aegis_common::escrow::statement::Act;
use aegis_common::hash::Hash32;
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::role::Role;
use aegis_common::testing::chain::{TestWallet, craft_block};
use aegis_common::time::{Clock, SignedDuration, Timestamp};
use aegis_common::wire::event::EventFrame;
use tokio::sync::Notify;
use zeroize::Zeroizing;

#[path = "../../../tests/support/people.rs"]
pub mod people;

use self::people::{People, Person};
use super::super::lookup::Answer;
use super::super::message::{Command, Create, Refusal, Snapshot, Tell};
use super::super::outbox::Deliver;
use super::super::{ActorDeps, ActorHandles, Finder, Options, start};
use crate::chain::Source;
use crate::crypto::Keyring;
use crate::node::{FullBlock, NodeError, Place, Tip};
use crate::store::{DatabaseUrl, Role as AccountRole, Store, StoreOptions, UserRow};

/// A clock that stands still until it is set.
pub struct HandClock(Mutex<Timestamp>);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

impl HandClock {
    pub fn step(&self, by: SignedDuration) {
        let mut now = self.0.lock().unwrap();
        *now = now.checked_add(by).unwrap();
    }

    pub fn set(&self, to: Timestamp) {
        *self.0.lock().unwrap() = to;
    }
}

/// A chain in memory.
#[derive(Default)]
pub struct FakeChain {
    blocks: Mutex<Vec<FullBlock>>,
    pool: Mutex<Vec<Arc<Tx>>>,
    /// Whether the pool is not told.
    pub poolless: AtomicBool,
    news: Notify,
}

impl FakeChain {
    fn new() -> Arc<Self> {
        let chain = Arc::new(Self::default());
        chain.mine(0, 120, vec![]);
        chain
    }

    /// Adds blocks, the first with these transactions; the nonce tells rivals apart.
    pub fn mine(&self, nonce: u32, count: usize, mut txs: Vec<Tx>) {
        for _ in 0..count {
            let txs = std::mem::take(&mut txs);
            let mut blocks = self.blocks.lock().unwrap();
            let prev = blocks.last().map_or(Hash32([0; 32]), |block| block.hash);
            let hashes: Vec<Hash32> = txs.iter().map(|tx| tx.hash).collect();
            let (_, block) = craft_block(blocks.len() as u64, prev, nonce, &hashes).unwrap();
            self.pool.lock().unwrap().retain(|tx| !hashes.contains(&tx.hash));
            let all = std::iter::once(block.miner_tx).chain(txs).collect();
            blocks.push(FullBlock { height: block.height, hash: block.hash, prev, txs: all });
        }
        self.news.notify_one();
    }

    /// Adds a block with everything that waits in the pool.
    pub fn mine_pool(&self) {
        let waiting = self.pool.lock().unwrap().iter().map(|tx| (**tx).clone()).collect();
        self.mine(0, 1, waiting);
    }

    pub fn pop(&self, count: usize) {
        let mut blocks = self.blocks.lock().unwrap();
        let length = blocks.len() - count;
        blocks.truncate(length);
    }

    pub fn broadcast(&self, tx: Tx) {
        self.pool.lock().unwrap().push(Arc::new(tx));
    }

    pub fn height(&self) -> u64 {
        self.blocks.lock().unwrap().len() as u64 - 1
    }
}

impl Source for FakeChain {
    async fn tip(&self) -> Result<Tip, NodeError> {
        let blocks = self.blocks.lock().unwrap();
        let top = blocks.last().unwrap();
        Ok(Tip { height: top.height, hash: top.hash })
    }
    async fn header_hash(&self, height: u64) -> Result<Hash32, NodeError> {
        Ok(self.blocks(height..=height).await?[0].hash)
    }
    async fn blocks(&self, range: RangeInclusive<u64>) -> Result<Vec<FullBlock>, NodeError> {
        let blocks = self.blocks.lock().unwrap();
        blocks.get(*range.start() as usize).map(|block| vec![block.clone()]).ok_or(NodeError::Missing)
    }
    async fn pool(&self) -> Result<Vec<Arc<Tx>>, NodeError> {
        if self.poolless.load(Relaxed) {
            return Err(NodeError::Missing);
        }
        Ok(self.pool.lock().unwrap().clone())
    }
    async fn news(&self) {
        self.news.notified().await;
    }
}

impl Finder for FakeChain {
    fn find(&self, tx: Hash32) -> Answer<'_, Option<(Tx, Place)>> {
        Box::pin(async move {
            // What is looked for is new, as a rule.
            for block in self.blocks.lock().unwrap().iter().rev() {
                if let Some(found) = block.txs.iter().find(|known| known.hash == tx) {
                    return Ok(Some((found.clone(), Place::Block(block.height))));
                }
            }
            let pool = self.pool.lock().unwrap();
            Ok(pool.iter().find(|known| known.hash == tx).map(|tx| ((**tx).clone(), Place::Pool)))
        })
    }
    fn header_hash(&self, height: u64) -> Answer<'_, Hash32> {
        Box::pin(Source::header_hash(self, height))
    }
}

/// What people were told.
pub type Told = Arc<Mutex<Vec<(UserId, EventFrame)>>>;

/// Keeps what it is told; stops after so many, as a crash would.
pub struct Listener {
    pub told: Told,
    pub left: usize,
}

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<Deliver> for Listener {
    type Result = ();
    fn handle(&mut self, Deliver { user, frame }: Deliver, ctx: &mut Self::Context) {
        use actix::ActorContext;
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        self.told.lock().unwrap().push((user, frame));
        if self.left == 0 {
            ctx.stop();
        }
    }
}

pub fn keyring() -> Arc<Keyring> {
    Arc::new(Keyring::parse(&"a".repeat(64)).unwrap())
}

/// Everything that outlives a restart.
pub struct Universe {
    pub dir: tempfile::TempDir,
    pub clock: Arc<HandClock>,
    pub chain: Arc<FakeChain>,
    pub told: Told,
    pub people: People,
    pub wallet: TestWallet,
    pub options: Options,
}

/// A running server in it.
pub struct Server {
    pub store: Store,
    pub handles: ActorHandles,
}

impl Universe {
    pub fn new() -> Self {
        let now = Timestamp::from_millisecond(1_767_225_600_000).unwrap();
        let chain = crate::chain::Config { poll: Duration::from_millis(10), ..Default::default() };
        let options = Options {
            threads: 0,
            timer_poll: Duration::from_millis(10),
            outbox_poll: Duration::from_millis(50),
            look_up: Duration::from_millis(20),
            back_off: Duration::from_millis(20),
            panic_window: Duration::from_millis(600),
            panics: 3,
            chain,
            ..Options::default()
        };
        Self {
            dir: tempfile::tempdir().unwrap(),
            clock: Arc::new(HandClock(Mutex::new(now))),
            chain: FakeChain::new(),
            told: Told::default(),
            people: People::new(1),
            wallet: TestWallet::new(77),
            options,
        }
    }

    pub fn url(&self) -> DatabaseUrl {
        DatabaseUrl::Sqlite(self.dir.path().join("aegis.db"))
    }

    pub fn open(&self) -> Store {
        Store::open(&self.url(), keyring(), StoreOptions::default()).unwrap()
    }

    /// Starts a server; the first one makes the accounts.
    pub async fn start(&self) -> Server {
        let store = self.open();
        for person in &self.people.0 {
            let _ = store.insert_user(account(person, AccountRole::User, self.clock.now())).await;
        }
        let listener = Listener { told: Arc::clone(&self.told), left: usize::MAX }.start();
        self.serve(store, Arc::new(PlainScanner), listener.recipient()).await
    }

    /// Starts a server on a database.
    pub async fn serve(
        &self,
        store: Store,
        scanner: Arc<dyn Scanner>,
        sessions: Recipient<Deliver>,
    ) -> Server {
        let handles = start(ActorDeps {
            store: store.clone(),
            nodes: Arc::clone(&self.chain),
            scanner,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            network: Network::Regtest,
            sessions,
            options: self.options.clone(),
        });
        let server = Server { store, handles };
        until("the chain is followed", async || server.handles.tip.height().is_some()).await;
        server
    }
}

/// Somebody's account as it is stored.
pub fn account(person: &Person, role: AccountRole, created_at: Timestamp) -> UserRow {
    let party = &person.party;
    UserRow {
        id: party.user_id,
        username: party.username.clone(),
        password_hash: "$argon2id$".to_owned(),
        role,
        identity_key: party.identity_key,
        signing_key: party.signing_key,
        payout_address: party.payout_address.to_string(),
        created_at,
    }
}

/// Waits until something is so, and fails if it does not come to that.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..20_000 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}

impl Server {
    pub async fn tell_at(
        &self,
        id: EscrowId,
        command: Command,
        expected: Option<i64>,
    ) -> Result<Snapshot, Refusal> {
        self.handles.tell.send(Tell { id, command, expected }).await.unwrap()
    }

    pub async fn tell(&self, id: EscrowId, command: Command) -> Result<Snapshot, Refusal> {
        self.tell_at(id, command, None).await
    }

    pub async fn read(&self, id: EscrowId) -> Snapshot {
        self.tell(id, Command::Read).await.unwrap()
    }

    pub async fn status(&self, id: EscrowId) -> Status {
        self.read(id).await.escrow.status()
    }

    pub async fn create(&self, universe: &Universe) -> EscrowId {
        let contract = universe.people.contract(universe.clock.now());
        let id = contract.escrow_id;
        let initiator = contract.buyer.user_id;
        let idempotency = (id.to_string(), Hash32([1; 32]));
        self.handles
            .create
            .send(Create { contract, initiator, replaces: None, idempotency })
            .await
            .unwrap()
            .unwrap();
        id
    }

    pub async fn command(&self, universe: &Universe, id: EscrowId, role: Role, act: Act) -> Command {
        let escrow = self.read(id).await.escrow;
        let view_key = matches!(act, Act::Attest { .. });
        let view_key = view_key.then(|| Zeroizing::new(universe.wallet.view.to_bytes()));
        let signed = Box::new(universe.people.sign(&escrow, role, act));
        Command::Statement { by: universe.people.id(role), signed, view_key }
    }

    pub async fn say(
        &self,
        universe: &Universe,
        id: EscrowId,
        role: Role,
        act: Act,
    ) -> Result<Snapshot, Refusal> {
        let command = self.command(universe, id, role, act).await;
        self.tell(id, command).await
    }

    /// Through acceptance, rounds and attestations.
    pub async fn ready(&self, universe: &Universe) -> EscrowId {
        let id = self.create(universe).await;
        for (role, act) in people::setup(&universe.wallet) {
            self.say(universe, id, role, act).await.unwrap();
        }
        id
    }

    /// The whole journal.
    pub async fn journal(&self, id: EscrowId) -> Vec<Entry> {
        let rows = self.store.journal(id, -1, 10_000).await.unwrap();
        rows.iter().map(|row| Entry::parse(&row.event).unwrap()).collect()
    }

    /// Fails unless the journal, applied to the escrow as it was created, gives what is stored and what is held.
    pub async fn check_replay(&self, id: EscrowId) {
        let held = self.read(id).await;
        let row = self.store.escrow(id).await.unwrap().unwrap();
        let stored: Escrow = serde_json::from_str(&row.snapshot).unwrap();
        let record = Record { beginning: Beginning::of(&stored), journal: self.journal(id).await };
        assert_eq!(row.version, record.journal.len() as i64 + 1);
        let replayed = record.replay().unwrap();
        assert_eq!(replayed, stored);
        assert_eq!((held.version, &*held.escrow), (row.version, &stored));
        assert_eq!(row.status, stored.status().wire());
    }

    /// How often an event stands in the journal.
    pub async fn count(&self, id: EscrowId, is: impl Fn(&Event) -> bool) -> usize {
        self.journal(id).await.iter().filter(|entry| is(&entry.event)).count()
    }

    pub fn stop(self) {
        self.handles.stop();
    }
}
