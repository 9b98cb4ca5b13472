//! The only door to monerod: several nodes behind one [`NodePool`], none of them trusted.
//!
//! ```text
//! pool     fail-over, comparing tips, the remembered mempool
//! client   one node's calls; every block and transaction is hashed again before it is believed
//!   runs   many blocks in one call
//! breaker  when a node may be asked again
//! http     bounded requests, digest login
//! notices  that there is something new
//! ```
//!
//! Neither a log nor an error names a node's URL or host, which may be an onion service's: nodes are named by their
//! position in the configured list, and of what an HTTP client says only the kind is kept.
//!
//! A node can still withhold data, or mine: proof of work is not checked here. Against that stand several nodes, and the
//! rule that the chain followed never changes deeper than the configured reorganisation depth. A block counts once as many
//! nodes have it as must agree: of three or more nodes usually more than half; of two, the one with the longer chain is believed.

mod breaker;
mod client;
mod http;
mod notices;
mod pool;
mod runs;

use std::time::Duration;

use aegis_common::address::Network;
use aegis_common::chain::{ParseError, Tx};
use aegis_common::hash::Hash32;
use zeroize::Zeroizing;

pub use pool::NodePool;

/// A node's RPC login (`--rpc-login`), by HTTP digest.
#[derive(Clone)]
pub struct Login {
    /// User name.
    pub username: String,
    /// Password; wiped on drop.
    pub password: Zeroizing<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(..)")
    }
}

/// One node.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// `http://host:port` or `https://…`, without path and without a login inside.
    pub url: String,
    /// Where the node asks for one.
    pub login: Option<Login>,
}

/// How nodes are used.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// A node of another network is refused.
    pub network: Network,
    /// In order of preference; at least one.
    pub nodes: Vec<NodeConfig>,
    /// How many nodes must have a block before it counts.
    pub agree: usize,
    /// Where nodes publish notices (`--zmq-pub`), as `HOST:PORT`; there may be none.
    pub notices: Vec<String>,
    /// For each call as a whole.
    pub timeout: Duration,
    /// Calls at a time to one node. monerod takes 25 connections from one address, wallets included.
    pub concurrency: usize,
    /// Failures in a row that open a node's breaker.
    pub failures: u32,
    /// First back-off after that; it doubles each time, up to 64-fold.
    pub back_off: Duration,
    /// How long a node that lied, or is of another network, is left alone.
    pub set_aside: Duration,
    /// A node further behind the best, in blocks, is set aside; a chain that differs deeper is not believed.
    pub max_reorg: u64,
    /// Longest reply in bytes.
    pub max_reply: usize,
    /// Most mempool transactions that are remembered; the rest are seen when mined.
    pub max_pool: usize,
}

impl PoolConfig {
    /// Of three or more nodes more than half; else one.
    pub fn majority(nodes: usize) -> usize {
        if nodes < 3 { 1 } else { nodes / 2 + 1 }
    }

    /// The defaults: most of three or more nodes must agree, 10 s timeout, 8 calls at a time, breaker after 3 failures for 2 s and more, liars for 60
    /// s, 100 blocks, 32 MiB.
    pub fn new(network: Network, nodes: Vec<NodeConfig>) -> Self {
        Self {
            network,
            agree: Self::majority(nodes.len()),
            nodes,
            notices: Vec::new(),
            timeout: Duration::from_secs(10),
            concurrency: 8,
            failures: 3,
            back_off: Duration::from_secs(2),
            set_aside: Duration::from_secs(60),
            max_reorg: 100,
            max_reply: 32 << 20,
            max_pool: 20_000,
        }
    }
}

/// The top block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// Height of the top block: one less than what monerod calls height.
    pub height: u64,
    /// Its hash.
    pub hash: Hash32,
}

/// A block with all its transactions, every hash verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullBlock {
    /// Height.
    pub height: u64,
    /// Hash, computed from the bytes.
    pub hash: Hash32,
    /// Hash of the block before.
    pub prev: Hash32,
    /// The coinbase, then the others in order.
    pub txs: Vec<Tx>,
}

/// Where a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the mempool.
    Pool,
    /// In the block of this height.
    Block(u64),
}

/// What a node is good for at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// Not asked yet.
    Untried,
    /// Its last answer was good.
    Up,
    /// Its last call failed, it is asked again at once.
    Failing,
    /// It failed too often and is left alone for a while.
    Down,
    /// It contradicted itself or is of another network, and is left alone for longer.
    SetAside,
}

/// One line of [`NodePool::status`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its position in the configured list, from 1.
    pub number: usize,
    /// State.
    pub state: NodeState,
    /// Why, unless it is up.
    pub reason: Option<String>,
    /// The tip it announced last.
    pub tip: Option<Tip>,
    /// Where it disagrees with the node that is followed.
    pub disagreement: Option<String>,
}

/// A question to the nodes has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// A URL can't be used.
    #[error("URL of node {0}: {1}")]
    Url(usize, &'static str),
    /// The HTTP client could not be set up.
    #[error("HTTP client: {0}")]
    Setup(String),
    /// All nodes are down, set aside, or were tried in vain.
    #[error("no node can be used at the moment")]
    NoneUsable,
    /// Too few nodes that answer have one of the newest blocks: nodes are down, the chain forks, or nodes lie.
    #[error("too few nodes agree about the newest block")]
    Divided,
    /// No answer: connection, timeout, HTTP status.
    #[error("node does not answer: {0}")]
    Transport(String),
    /// The login is wrong or missing.
    #[error("node refuses the login")]
    Login,
    /// A reply is longer than allowed.
    #[error("node's reply is longer than {0} bytes")]
    TooLarge(usize),
    /// A reply is not what was asked for.
    #[error("node's reply is malformed: {0}")]
    Malformed(String),
    /// monerod's own error, or a status other than OK (busy, for one).
    #[error("node answers with an error: {0}")]
    Rpc(String),
    /// The node does not have what was asked for.
    #[error("the node does not have it")]
    Missing,
    /// It has the transaction that was asked for by its id, and this program cannot read it: of a kind that was retired years
    /// ago, for one. Not the node's fault.
    #[error("the transaction is of a kind that is not read here")]
    Unreadable,
    /// A block or transaction this program cannot parse: a lie, or a network upgrade.
    #[error("block or transaction from a node: {0}")]
    Parse(#[from] ParseError),
    /// The node is of another network.
    #[error("the node is on {0}")]
    WrongNetwork(String),
    /// The node contradicts itself or the chain that is followed.
    #[error("not believed: {0}")]
    Lie(String),
}
