use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use aegis_common::amount::Piconero;
use aegis_common::chain::{PlainScanner, Scanner, WatchKey};
use aegis_common::testing::chain::{TestWallet, TxBuilder, craft_block};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

/// Blocks that the chain in memory hands out at once.
const RUN: usize = 3;

/// A chain in memory.
#[derive(Default)]
struct Fake {
    blocks: Mutex<Vec<FullBlock>>,
    pool: Mutex<Vec<Arc<Tx>>>,
    news: tokio::sync::Notify,
    /// Mined when it is asked for the mempool, before that is told.
    before_pool: Mutex<Option<Tx>>,
}

impl Fake {
    fn new(length: u64) -> Arc<Self> {
        let fake = Arc::new(Self::default());
        for _ in 0..length {
            fake.mine(0, vec![]);
        }
        fake
    }

    fn mine(&self, nonce: u32, txs: Vec<Tx>) {
        let mut blocks = self.blocks.lock().unwrap();
        let prev = blocks.last().map_or(Hash32([0; 32]), |block| block.hash);
        let hashes: Vec<Hash32> = txs.iter().map(|tx| tx.hash).collect();
        let (_, block) = craft_block(blocks.len() as u64, prev, nonce, &hashes).unwrap();
        self.pool.lock().unwrap().retain(|tx| !hashes.contains(&tx.hash));
        let all = std::iter::once(block.miner_tx).chain(txs).collect();
        blocks.push(FullBlock { height: block.height, hash: block.hash, prev, txs: all });
    }

    fn pop(&self, count: usize) {
        let mut blocks = self.blocks.lock().unwrap();
        let length = blocks.len() - count;
        blocks.truncate(length);
    }

    fn height(&self) -> u64 {
        self.blocks.lock().unwrap().len() as u64 - 1
    }
}

impl Source for Fake {
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
        let (first, last) = (*range.start() as usize, *range.end() as usize);
        let last = last.min(first + RUN - 1).min(blocks.len() - 1);
        blocks.get(first..=last).map(<[_]>::to_vec).filter(|run| !run.is_empty()).ok_or(NodeError::Missing)
    }
    async fn pool(&self) -> Result<Vec<Arc<Tx>>, NodeError> {
        let mined = self.before_pool.lock().unwrap().take();
        if let Some(tx) = mined {
            self.mine(0, vec![tx]);
        }
        Ok(self.pool.lock().unwrap().clone())
    }
    async fn news(&self) {
        self.news.notified().await;
    }
}

/// Progress that outlives a follower.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Tip>>>);

/// A scanner that notes how the follower fares while it scans.
#[derive(Default)]
struct Onlooker {
    health: Mutex<Option<tokio::sync::watch::Receiver<Health>>>,
    seen: Mutex<Vec<Health>>,
}

impl Scanner for Onlooker {
    fn scan(&self, _: &[WatchKey], _: &[Tx]) -> Vec<aegis_common::chain::Found> {
        let health = self.health.lock().unwrap();
        self.seen.lock().unwrap().extend(health.as_ref().map(|health| health.borrow().clone()));
        Vec::new()
    }
}

impl Progress for Kept {
    async fn load(&self) -> Result<Option<Tip>, ProgressError> {
        Ok(self.0.lock().unwrap().last().copied())
    }
    async fn hash_at(&self, height: u64) -> Result<Option<Hash32>, ProgressError> {
        Ok(self.0.lock().unwrap().iter().find(|tip| tip.height == height).map(|tip| tip.hash))
    }
    async fn advance(&self, tip: Tip) -> Result<(), ProgressError> {
        self.0.lock().unwrap().push(tip);
        Ok(())
    }
    async fn rewind(&self, to: u64) -> Result<(), ProgressError> {
        self.0.lock().unwrap().retain(|tip| tip.height <= to);
        Ok(())
    }
}

/// Takes facts, and refuses every n-th delivery when asked to.
#[derive(Clone, Default)]
struct Inbox {
    facts: Arc<Mutex<Vec<Fact>>>,
    calls: Arc<AtomicUsize>,
    refuse_every: Arc<AtomicUsize>,
}

impl Sink for Inbox {
    async fn deliver(&self, fact: Fact) -> Result<(), SinkError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let every = self.refuse_every.load(Ordering::SeqCst);
        if every > 0 && call.is_multiple_of(every) {
            return Err(SinkError("full".into()));
        }
        self.facts.lock().unwrap().push(fact);
        Ok(())
    }
}

impl Inbox {
    fn take(&self) -> Vec<Fact> {
        std::mem::take(&mut self.facts.lock().unwrap())
    }
}

/// Counts transactions times keys.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Scanner for Counting {
    fn scan(&self, keys: &[WatchKey], txs: &[Tx]) -> Vec<aegis_common::chain::Found> {
        self.0.fetch_add(keys.len() * txs.iter().filter(|tx| !tx.coinbase).count(), Ordering::SeqCst);
        PlainScanner.scan(keys, txs)
    }
}

struct World {
    chain: Arc<Fake>,
    kept: Kept,
    inbox: Inbox,
    list: WatchList,
    scans: Arc<Counting>,
    wallet: TestWallet,
}

fn escrow(number: u64) -> EscrowId {
    EscrowId(Uuid::from_u128(u128::from(number)))
}

impl World {
    fn new(length: u64) -> Self {
        let (chain, list, wallet) = (Fake::new(length), WatchList::new(), TestWallet::new(1));
        list.add(wallet.watch(escrow(1)).unwrap(), length);
        Self { chain, kept: Kept::default(), inbox: Inbox::default(), list, scans: Arc::default(), wallet }
    }

    fn follower(&self) -> Follower<Fake, Kept, Inbox> {
        let (kept, inbox, list) = (self.kept.clone(), self.inbox.clone(), self.list.clone());
        let config = Config { backlog_blocks: 3, ..Config::default() };
        Follower::new(self.chain.clone(), kept, inbox, self.scans.clone(), list, config)
    }

    fn payment(&self, seed: u64) -> Tx {
        TxBuilder::new(seed).pay(self.wallet.subaddress(0).unwrap(), Piconero(seed)).build().unwrap().tx
    }
}

fn deposits(facts: &[Fact]) -> Vec<(u64, Option<u64>)> {
    let deposit = |fact: &Fact| match fact {
        Fact::Deposit { found, height } => Some((found.amount.0, *height)),
        _ => None,
    };
    facts.iter().filter_map(deposit).collect()
}

#[tokio::test]
async fn a_payment_is_told_in_the_mempool_once_then_in_its_block_and_scanned_once() {
    let world = World::new(5);
    let mut follower = world.follower();
    follower.step().await.unwrap();
    let first = world.inbox.take();
    assert!(matches!(first.as_slice(), [Fact::CaughtUp { from: 5, .. }, Fact::Tip { height: 4, .. }]));
    let tx = world.payment(7);
    world.chain.pool.lock().unwrap().push(Arc::new(tx.clone()));
    for _ in 0..3 {
        follower.step().await.unwrap();
    }
    assert_eq!(deposits(&world.inbox.take()), vec![(7, None)]);
    world.chain.mine(0, vec![tx]);
    follower.step().await.unwrap();
    let facts = world.inbox.take();
    assert_eq!(deposits(&facts), vec![(7, Some(5))]);
    assert!(matches!(facts.last(), Some(Fact::Tip { height: 5, .. })));
    assert_eq!(world.scans.0.load(Ordering::SeqCst), 1);
    follower.step().await.unwrap();
    assert!(world.inbox.take().is_empty());
}

#[tokio::test]
async fn reorganisations_from_1_to_100_blocks_are_undone_and_told_again_and_a_deeper_one_stops() {
    for depth in [1, 2, 10, 50, 99, 100] {
        let world = World::new(150);
        let mut follower = world.follower();
        follower.step().await.unwrap();
        let tx = world.payment(7);
        world.chain.pop(depth);
        // Replaced blocks, right after the very first start: the seeded hashes must suffice.
        for _ in 0..depth {
            world.chain.mine(1, vec![]);
        }
        world.chain.mine(1, vec![tx.clone()]);
        world.inbox.take();
        follower.step().await.unwrap();
        let facts = world.inbox.take();
        let to = 149 - depth as u64;
        assert_eq!(facts.first(), Some(&Fact::RolledBack { to }), "depth {depth}");
        assert_eq!(deposits(&facts), vec![(7, Some(150))]);
        assert_eq!(world.kept.load().await.unwrap().unwrap(), world.chain.tip().await.unwrap());
    }
    let world = World::new(150);
    let mut follower = world.follower();
    follower.step().await.unwrap();
    world.chain.pop(101);
    for _ in 0..110 {
        world.chain.mine(1, vec![]);
    }
    let health = follower.health();
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let error = follower.run(stopped).await.unwrap_err();
    assert_eq!(error, FollowError::DeepReorg { height: 49, max_reorg: 100 });
    assert!(matches!(&*health.borrow(), Health::Stopped(_)));
    assert!(!world.inbox.take().iter().any(|fact| matches!(fact, Fact::RolledBack { .. })));
}

#[tokio::test]
async fn while_a_reorganisation_is_undone_the_chain_is_not_said_to_be_followed() {
    let world = World::new(20);
    world.follower().step().await.unwrap();
    let onlooker = Arc::new(Onlooker::default());
    let (kept, inbox, list) = (world.kept.clone(), world.inbox.clone(), world.list.clone());
    let mut follower =
        Follower::new(world.chain.clone(), kept, inbox, onlooker.clone(), list, Config::default());
    *onlooker.health.lock().unwrap() = Some(follower.health());
    world.chain.pop(1);
    world.chain.mine(1, vec![]);
    world.chain.mine(1, vec![]);
    follower.step().await.unwrap();
    let seen = onlooker.seen.lock().unwrap();
    assert!(
        !seen.is_empty() && seen.iter().all(|health| matches!(health, Health::CatchingUp(_))),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_node_that_lags_rolls_nothing_back() {
    let world = World::new(20);
    let mut follower = world.follower();
    follower.step().await.unwrap();
    world.inbox.take();
    world.chain.pop(5);
    follower.step().await.unwrap();
    assert!(world.inbox.take().is_empty());
    // Somebody who was told nothing yet is not told a height that nobody confirms.
    let mut anew = world.follower();
    assert_eq!(anew.step().await, Err(FollowError::Moving));
    assert!(!world.inbox.take().iter().any(|fact| matches!(fact, Fact::Tip { .. })));
}

#[tokio::test]
async fn a_deposit_undone_by_a_reorganisation_is_told_again_in_the_mempool() {
    let world = World::new(20);
    let mut follower = world.follower();
    follower.step().await.unwrap();
    let tx = world.payment(7);
    world.chain.mine(0, vec![tx.clone()]);
    follower.step().await.unwrap();
    world.inbox.take();
    world.chain.pop(1);
    world.chain.mine(1, vec![]);
    world.chain.mine(1, vec![]);
    world.chain.pool.lock().unwrap().push(Arc::new(tx));
    follower.step().await.unwrap();
    let facts = world.inbox.take();
    assert_eq!(facts.first(), Some(&Fact::RolledBack { to: 19 }));
    assert_eq!(deposits(&facts), vec![(7, None)]);
}

#[tokio::test]
async fn an_escrow_added_late_catches_up_a_few_blocks_at_a_time_while_the_rest_goes_on() {
    let world = World::new(1);
    let mut follower = world.follower();
    follower.step().await.unwrap();
    let late = TestWallet::new(2);
    for seed in 1..=10 {
        let tx = TxBuilder::new(seed).pay(late.primary(), Piconero(seed)).build().unwrap().tx;
        world.chain.mine(0, vec![tx]);
    }
    follower.step().await.unwrap();
    world.inbox.take();
    world.list.add(late.watch(escrow(2)).unwrap(), 4);
    world.chain.mine(0, vec![world.payment(77)]);
    follower.step().await.unwrap();
    // The new block first, then three old ones.
    let first = deposits(&world.inbox.take());
    assert_eq!(first, vec![(77, Some(11)), (4, Some(4)), (5, Some(5)), (6, Some(6))]);
    for _ in 0..3 {
        follower.step().await.unwrap();
    }
    let facts = world.inbox.take();
    assert_eq!(deposits(&facts), (7..=10).map(|n| (n, Some(n))).collect::<Vec<_>>());
    let caught_up =
        |fact: &Fact| matches!(fact, Fact::CaughtUp { escrow: id, from: 4, .. } if *id == escrow(2));
    assert!(facts.iter().any(caught_up));
    world.list.remove(escrow(2));
    let tx = TxBuilder::new(99).pay(late.primary(), Piconero(99)).build().unwrap().tx;
    world.chain.mine(0, vec![tx]);
    follower.step().await.unwrap();
    assert!(deposits(&world.inbox.take()).is_empty());
}

#[tokio::test]
async fn an_escrow_added_while_its_payment_waits_in_the_mempool_sees_it() {
    let world = World::new(3);
    let mut follower = world.follower();
    let late = TestWallet::new(2);
    let tx = TxBuilder::new(5).pay(late.primary(), Piconero(5)).build().unwrap().tx;
    world.chain.pool.lock().unwrap().push(Arc::new(tx.clone()));
    follower.step().await.unwrap();
    assert!(deposits(&world.inbox.take()).is_empty());
    world.list.add(late.watch(escrow(2)).unwrap(), 3);
    // Mined before it is looked at again: the block is scanned for the new key only.
    world.chain.mine(0, vec![tx]);
    follower.step().await.unwrap();
    assert_eq!(deposits(&world.inbox.take()), vec![(5, Some(3))]);
    assert_eq!(world.scans.0.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn news_end_the_pause_between_two_looks() {
    let world = World::new(3);
    let (kept, inbox, list) = (world.kept.clone(), world.inbox.clone(), world.list.clone());
    let config = Config { poll: Duration::from_secs(3_600), ..Config::default() };
    let follower = Follower::new(world.chain.clone(), kept, inbox, world.scans.clone(), list, config);
    let mut health = follower.health();
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let begun = tokio::time::Instant::now();
    tokio::spawn(follower.run(stopped));
    health.wait_for(|health| matches!(health, Health::Following(Tip { height: 2, .. }))).await.unwrap();
    world.chain.mine(0, vec![]);
    world.chain.news.notify_one();
    health.wait_for(|health| matches!(health, Health::Following(Tip { height: 3, .. }))).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
    // Told of before it is served: the look that the news cause is in vain, and another follows.
    world.chain.news.notify_one();
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.chain.mine(0, vec![]);
    health.wait_for(|health| matches!(health, Health::Following(Tip { height: 4, .. }))).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2));
    // Without any it looks in the end.
    tokio::time::sleep(Duration::from_secs(20_000)).await;
    let mined = tokio::time::Instant::now();
    world.chain.mine(0, vec![]);
    health.wait_for(|health| matches!(health, Health::Following(Tip { height: 5, .. }))).await.unwrap();
    assert!(mined.elapsed() > Duration::from_secs(60) && mined.elapsed() <= Duration::from_secs(3_600));
}

#[tokio::test(start_paused = true)]
async fn a_look_that_is_asked_for_is_made_at_once_and_tells_all_that_is_in_the_mempool() {
    let world = World::new(3);
    let (kept, inbox, list) = (world.kept.clone(), world.inbox.clone(), world.list.clone());
    let (wallet, looks) = (TestWallet::new(2), Looks::default());
    list.add(wallet.watch(escrow(2)).unwrap(), 0);
    let config = Config { poll: Duration::from_secs(3_600), ..Config::default() };
    let follower = Follower::new(world.chain.clone(), kept, inbox, world.scans.clone(), list, config);
    let follower = follower.counted_by(looks.clone());
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(follower.run(stopped));
    looks.fresh().await;
    tokio::time::sleep(Duration::from_secs(20_000)).await;
    let tx = TxBuilder::new(5).pay(wallet.primary(), Piconero(5)).build().unwrap().tx;
    world.chain.pool.lock().unwrap().push(Arc::new(tx.clone()));
    world.inbox.take();
    // Also what was told before: the escrow may have been told since that it is gone.
    for _ in 0..2 {
        let asked = tokio::time::Instant::now();
        looks.fresh().await;
        assert!(asked.elapsed() < Duration::from_secs(1));
        assert_eq!(deposits(&world.inbox.take()), vec![(5, None)]);
    }
    // A block takes it out of the mempool between the look at the blocks and the one at the mempool.
    *world.chain.before_pool.lock().unwrap() = Some(tx);
    looks.fresh().await;
    assert_eq!(deposits(&world.inbox.take()), vec![(5, Some(3))]);
}

/// Says what the honest chain's newest block is, and serves another chain's.
struct TwoFaced {
    honest: Arc<Fake>,
    other: Fake,
    lies: AtomicBool,
}

impl Source for TwoFaced {
    async fn tip(&self) -> Result<Tip, NodeError> {
        self.honest.tip().await
    }
    async fn header_hash(&self, height: u64) -> Result<Hash32, NodeError> {
        self.honest.header_hash(height).await
    }
    async fn blocks(&self, range: RangeInclusive<u64>) -> Result<Vec<FullBlock>, NodeError> {
        let chain = if self.lies.load(Ordering::SeqCst) { &self.other } else { &*self.honest };
        chain.blocks(range).await
    }
    async fn pool(&self) -> Result<Vec<Arc<Tx>>, NodeError> {
        Ok(Vec::new())
    }
    async fn news(&self) {}
}

#[tokio::test]
async fn blocks_that_do_not_lead_to_the_announced_one_become_final_for_nobody() {
    let world = World::new(5);
    world.follower().step().await.unwrap();
    let other = Fake { blocks: Mutex::new(world.chain.blocks.lock().unwrap().clone()), ..Fake::default() };
    other.mine(1, vec![world.payment(7)]);
    for _ in 0..11 {
        other.mine(1, vec![]);
    }
    for _ in 0..12 {
        world.chain.mine(0, vec![]);
    }
    let source = TwoFaced { honest: world.chain.clone(), other, lies: AtomicBool::new(true) };
    let source = Arc::new(source);
    let (kept, inbox, list) = (world.kept.clone(), world.inbox.clone(), world.list.clone());
    let mut follower =
        Follower::new(source.clone(), kept, inbox, world.scans.clone(), list, Config::default());
    world.inbox.take();
    for _ in 0..3 {
        assert_eq!(follower.step().await, Err(FollowError::Moving));
        assert!(!world.inbox.take().iter().any(|fact| matches!(fact, Fact::Tip { .. })));
    }
    source.lies.store(false, Ordering::SeqCst);
    follower.step().await.unwrap();
    let facts = world.inbox.take();
    assert_eq!(facts.first(), Some(&Fact::RolledBack { to: 4 }));
    assert!(deposits(&facts).is_empty() && matches!(facts.last(), Some(Fact::Tip { height: 16, .. })));
}

#[tokio::test]
async fn it_runs_until_told_to_stop() {
    let world = World::new(3);
    let follower = world.follower();
    let mut health = follower.health();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(follower.run(stopped));
    health.wait_for(|health| matches!(health, Health::Following(Tip { height: 2, .. }))).await.unwrap();
    stop.send(true).unwrap();
    assert_eq!(running.await.unwrap(), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// The receiver keeps a model from the facts alone; after any history it must equal the chain.
    #[test]
    fn whatever_fails_and_restarts_nothing_is_lost(
        acts in prop::collection::vec((0u8..5, 1usize..6), 1..25), refuse in 2usize..6,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::new(3);
            let mut follower = world.follower();
            follower.step().await.unwrap();
            world.inbox.refuse_every.store(refuse, Ordering::SeqCst);
            let mut seed = 100;
            for (round, (act, count)) in (1u32..).zip(acts) {
                match act {
                    0 | 1 => {
                        for _ in 0..count {
                            seed += 1;
                            world.chain.mine(0, vec![world.payment(seed), world.payment(seed + 1000)]);
                        }
                    }
                    2 => {
                        let depth = count.min(world.chain.height() as usize);
                        world.chain.pop(depth);
                        for _ in 0..=depth {
                            seed += 1;
                            world.chain.mine(round, vec![world.payment(seed)]);
                        }
                    }
                    3 => follower = world.follower(),
                    _ => {
                        seed += 1;
                        world.chain.pool.lock().unwrap().push(Arc::new(world.payment(seed)));
                    }
                }
                // Refusals make it fail; that is the point.
                let _ = follower.step().await;
            }
            world.inbox.refuse_every.store(0, Ordering::SeqCst);
            follower.step().await.unwrap();
            let mut model = std::collections::BTreeSet::new();
            for fact in world.inbox.take() {
                match fact {
                    Fact::Deposit { found, height: Some(height) } => {
                        model.insert((height, found.tx));
                    }
                    Fact::RolledBack { to } => model.retain(|(height, _)| *height <= to),
                    _ => {}
                }
            }
            let blocks = world.chain.blocks.lock().unwrap();
            let truth = blocks.iter().flat_map(|block| {
                block.txs.iter().filter(|tx| !tx.coinbase).map(|tx| (block.height, tx.hash))
            });
            assert_eq!(model, truth.collect());
        });
    }
}

#[tokio::test]
async fn a_follower_that_was_away_says_how_far_it_is() {
    let world = World::new(5);
    world.follower().step().await.unwrap();
    for _ in 0..4 {
        world.chain.mine(0, vec![]);
    }
    let onlooker = Arc::new(Onlooker::default());
    let (kept, inbox, list) = (world.kept.clone(), world.inbox.clone(), world.list.clone());
    let mut follower =
        Follower::new(world.chain.clone(), kept, inbox, onlooker.clone(), list, Config::default());
    *onlooker.health.lock().unwrap() = Some(follower.health());
    follower.step().await.unwrap();
    let seen = onlooker.seen.lock().unwrap();
    let blocks = seen.iter().map(|health| match health {
        Health::CatchingUp(progress) => (progress.block, progress.of, progress.seconds_left.is_some()),
        other => panic!("{other:?}"),
    });
    // The block before is the newest that was processed, while one is scanned.
    // Three blocks come at once.
    assert_eq!(blocks.collect::<Vec<_>>(), [(4, 8, false), (7, 8, true)]);
}
