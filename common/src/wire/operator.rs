//! What whoever runs a server is shown: how it is, what does not go on, and what somebody has to look at.

use serde::{Deserialize, Serialize};

use crate::escrow::stall::Stall;
use crate::escrow::state::Status;
use crate::ids::EscrowId;
use crate::time::{SignedDuration, Timestamp};

/// Counts of what waits end here.
pub const MOST: usize = 10_000;
/// Events that wait longer hang.
const OUTBOX: SignedDuration = SignedDuration::from_mins(1);
/// A webhook that is due for longer is not called.
const WEBHOOKS: SignedDuration = SignedDuration::from_mins(10);
/// Blocks by which what is followed may lie behind what nodes agree about: one is on its way.
const BLOCKS: u64 = 3;

/// How the server is: for everybody, so it names neither nodes nor escrows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `ok`, or `degraded` where the database or every node is out of reach, the chain is not being followed, or an escrow had
    /// to be left alone since the start because it kept failing. The log says which.
    pub status: String,
    /// The program's version.
    pub version: String,
    /// Whether the database answers.
    pub database: bool,
    /// Whether the chain is followed.
    pub chain: ChainState,
    /// Height of the newest block that was processed; null before the first.
    pub tip: Option<u64>,
    /// Height of the newest block that as many nodes have as must.
    pub agreed_tip: Option<u64>,
    /// How far it is with what it missed, while it catches up.
    pub catching_up: Option<CatchingUp>,
    /// Escrows that are left alone for now because they keep failing.
    pub resting: u64,
    /// The nodes in the order of the configuration.
    pub nodes: Vec<NodeHealth>,
}

/// How following the chain goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ChainState {
    /// Nothing was processed yet.
    Starting,
    /// What was missed is being processed.
    CatchingUp,
    /// All is processed.
    Following,
    /// The last look failed; it is repeated.
    Stalled,
    /// It gave up and needs a person.
    Stopped,
}

/// How far the server is with blocks that it missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CatchingUp {
    /// Height of the newest block that was processed.
    pub block: u64,
    /// Height of the newest block there is.
    pub of: u64,
    /// Seconds until it gets there, at the pace so far; null before the first block.
    pub seconds_left: Option<u64>,
    /// The same in words.
    pub text: String,
}

/// How one node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeHealth {
    /// Whether its last answer was one.
    pub reachable: bool,
    /// What it is good for at the moment.
    pub state: NodeCondition,
    /// Height of its newest block, where it was ever told.
    pub height: Option<u64>,
}

/// What a node is good for at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum NodeCondition {
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

impl NodeCondition {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Untried => "not asked yet",
            Self::Up => "answers",
            Self::Failing => "failing",
            Self::Down => "does not answer",
            Self::SetAside => "set aside",
        }
    }
}

/// `GET /api/v1/operator/status`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperatorStatus {
    /// When it was looked at.
    pub at: Timestamp,
    /// What somebody has to look at; nothing where all is well. Of single escrows it does not speak.
    pub attention: Vec<Attention>,
    /// How the server is; nothing where it was not reached.
    pub health: Option<Health>,
    /// What is wrong with nodes, and why the chain is not followed. Only the running server knows.
    pub reasons: Vec<String>,
    /// Escrows that are left alone at present, at most 100. Only the running server knows.
    pub resting: Vec<RestingEscrow>,
    /// Escrows that were not told of everything the chain holds for them; 10000 stands for more.
    pub behind: u64,
    /// The arbiters.
    pub arbiters: ArbiterPool,
    /// Events that have not been taken out of the outbox, by reader.
    pub outbox: Vec<OutboxLag>,
    /// The webhooks.
    pub webhooks: WebhookBacklog,
}

/// Something that somebody has to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Attention {
    /// The server does not answer.
    Server,
    /// The database does not answer the server.
    Database,
    /// The chain is not followed, or from afar.
    Chain,
    /// A node is down, failing or set aside.
    Nodes,
    /// An escrow keeps failing and is left alone.
    Resting,
    /// No arbiter can be assigned.
    Arbiters,
    /// Events hang in the outbox.
    Outbox,
    /// Webhooks are due and not called.
    Webhooks,
}

impl Attention {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Server => "the server does not answer",
            Self::Database => "the database does not answer the server",
            Self::Chain => "the chain is not followed to its end",
            Self::Nodes => "not every node can be used",
            Self::Resting => "escrows keep failing and are left alone",
            Self::Arbiters => "no arbiter can be assigned",
            Self::Outbox => "events hang in the outbox",
            Self::Webhooks => "webhooks are due and not called",
        }
    }
}

/// An escrow that is left alone for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestingEscrow {
    /// Which.
    pub escrow_id: EscrowId,
    /// How often it failed lately.
    pub failures: u64,
    /// Seconds until it is tried again.
    pub seconds_left: u64,
}

/// The arbiters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArbiterPool {
    /// How many there are; the first 5000 are counted.
    pub arbiters: u64,
    /// Who can be assigned now.
    pub available: u64,
    /// Whose program has not been heard for long.
    pub silent: u64,
    /// Who takes nothing new on.
    pub paused: u64,
    /// Cases that are not over.
    pub open: u64,
    /// Of these, how many wait for a ruling.
    pub disputed: u64,
    /// Cases that those who are available can still be given.
    pub room: u64,
}

/// Events that one reader of the outbox has yet to take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutboxLag {
    /// Who: `sessions` wakes sockets, `webhooks` makes deliveries, `orders` has orders follow their escrows, `vacancies` looks for
    /// another arbiter where one would not.
    pub reader: String,
    /// How many; 10000 stands for more.
    pub waiting: u64,
    /// When the oldest was stored.
    pub oldest: Option<Timestamp>,
}

/// The webhooks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookBacklog {
    /// Webhooks that have something to send, now or later; 10000 stands for more.
    pub waiting: u64,
    /// Of these, whose attempt is due now.
    pub due: u64,
    /// Since when the longest of these is.
    pub oldest_due: Option<Timestamp>,
    /// Webhooks whose receiver took nothing at the last attempt.
    pub failing: u64,
    /// Webhooks that the server disabled; 10000 stands for more.
    pub disabled: u64,
}

impl OperatorStatus {
    /// What somebody has to look at.
    pub fn look(&self) -> Vec<Attention> {
        let hangs = |since: Option<Timestamp>, most: SignedDuration| {
            since.is_some_and(|since| self.at.duration_since(since) > most)
        };
        let health = self.health.as_ref();
        let chain = |health: &Health| {
            let behind = health.agreed_tip.unwrap_or(0).saturating_sub(health.tip.unwrap_or(0));
            health.chain != ChainState::Following || behind > BLOCKS
        };
        let down = |node: &NodeHealth| !matches!(node.state, NodeCondition::Up | NodeCondition::Untried);
        let all = [
            (Attention::Server, health.is_none()),
            (Attention::Database, health.is_some_and(|health| !health.database)),
            (Attention::Chain, health.is_some_and(chain)),
            (Attention::Nodes, health.is_some_and(|health| health.nodes.iter().any(down))),
            (Attention::Resting, health.is_some_and(|health| health.resting > 0)),
            (Attention::Arbiters, self.arbiters.available == 0),
            (Attention::Outbox, self.outbox.iter().any(|lag| hangs(lag.oldest, OUTBOX))),
            (Attention::Webhooks, hangs(self.webhooks.oldest_due, WEBHOOKS)),
        ];
        all.into_iter().filter_map(|(attention, holds)| holds.then_some(attention)).collect()
    }
}

/// `GET /api/v1/operator/escrows`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StuckPage {
    /// Those that have not changed for longest come first.
    pub escrows: Vec<StuckEscrow>,
    /// Pass as `after` to go on, also where this page is empty; nothing where all were looked at.
    pub next: Option<String>,
}

/// An escrow that does not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StuckEscrow {
    /// Which.
    pub escrow_id: EscrowId,
    /// Its version.
    pub version: i64,
    /// Where it is in its life; nothing where that can't be read.
    pub status: Option<Status>,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// The parties' names: buyer, seller, arbiter. Empty where they can't be read.
    pub parties: Vec<String>,
    /// What it waits for.
    pub stalls: Vec<Stall>,
}

impl StuckEscrow {
    /// Whether something takes longer than it should.
    pub fn is_overdue(&self) -> bool {
        self.stalls.iter().any(|stall| stall.overdue)
    }

    /// Whether an operator should look.
    pub fn needs_operator(&self) -> bool {
        self.stalls.iter().any(|stall| stall.needs_operator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> OperatorStatus {
        let node = NodeHealth { reachable: true, state: NodeCondition::Up, height: Some(9) };
        OperatorStatus {
            at: Timestamp::constant(1_800_000_000, 0),
            attention: Vec::new(),
            health: Some(Health {
                status: "ok".to_owned(),
                version: "1".to_owned(),
                database: true,
                chain: ChainState::Following,
                tip: Some(8),
                agreed_tip: Some(9),
                catching_up: None,
                resting: 0,
                nodes: vec![node],
            }),
            reasons: Vec::new(),
            resting: Vec::new(),
            behind: 0,
            arbiters: ArbiterPool { arbiters: 1, available: 1, ..ArbiterPool::default() },
            outbox: vec![OutboxLag { reader: "sessions".to_owned(), waiting: 0, oldest: None }],
            webhooks: WebhookBacklog::default(),
        }
    }

    #[test]
    fn each_thing_that_is_wrong_is_told_and_nothing_where_all_is_well() {
        assert_eq!(well().look(), []);
        let ago = |minutes| Some(well().at - SignedDuration::from_mins(minutes));
        let with = |change: fn(&mut Health)| {
            let mut status = well();
            status.health.iter_mut().for_each(change);
            status
        };
        let mut lag = well();
        lag.outbox[0].oldest = ago(2);
        let cases = [
            (OperatorStatus { health: None, ..well() }, Attention::Server),
            (with(|health| health.database = false), Attention::Database),
            (with(|health| health.chain = ChainState::Stalled), Attention::Chain),
            (with(|health| health.tip = Some(5)), Attention::Chain),
            (with(|health| health.nodes[0].state = NodeCondition::SetAside), Attention::Nodes),
            (with(|health| health.resting = 1), Attention::Resting),
            (OperatorStatus { arbiters: ArbiterPool::default(), ..well() }, Attention::Arbiters),
            (lag, Attention::Outbox),
            (
                OperatorStatus {
                    webhooks: WebhookBacklog { oldest_due: ago(11), ..WebhookBacklog::default() },
                    ..well()
                },
                Attention::Webhooks,
            ),
        ];
        for (status, expected) in cases {
            assert_eq!(status.look(), [expected]);
        }
    }
}
