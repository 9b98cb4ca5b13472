//! Arbiters: what they offer, how busy they are, whom the server chose and why, and what is disputed.

use serde::{Deserialize, Serialize};

use super::escrow::AmountView;
use crate::arbiter::ShownChoice;
use crate::ids::{EscrowId, UserId};
use crate::role::Role;
use crate::time::Timestamp;

/// `PUT /api/v1/me/arbiter`: what an arbiter says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArbiterProfile {
    /// About oneself and how one decides: up to 2000 characters.
    #[serde(default)]
    pub about: String,
    /// Language tags (RFC 5646, e.g. `en`, `pt-BR`): up to 16.
    #[serde(default)]
    pub languages: Vec<String>,
    /// The fee in basis points of the amount, 0 to 2500, in contracts made from now on; the operator's where left out.
    #[serde(default)]
    pub fee_bps: Option<u16>,
    /// Most cases at once, 0 to 10000; the operator's number where left out.
    #[serde(default)]
    pub capacity: Option<u32>,
    /// Whether new ones are taken on.
    pub accepting: bool,
}

/// An arbiter as traders see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArbiterView {
    /// Its account.
    pub user_id: UserId,
    /// Its name.
    pub username: String,
    /// About itself.
    pub about: String,
    /// Language tags.
    pub languages: Vec<String>,
    /// Its fee in basis points of the amount.
    pub fee_bps: u16,
    /// Most cases at once.
    pub capacity: u32,
    /// Cases that are not over.
    pub open: u64,
    /// Of these, how many wait for its ruling.
    pub disputed: u64,
    /// Whether new ones are taken on.
    pub accepting: bool,
    /// When its program was last heard.
    pub seen_at: Timestamp,
    /// Whether it can be assigned now: accepting, heard lately and not full.
    pub available: bool,
}

/// `GET /api/v1/arbiters`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArbiterPage {
    /// In order of id.
    pub arbiters: Vec<ArbiterView>,
    /// Pass as `after` to go on; nothing where this is all.
    pub next: Option<UserId>,
}

/// `GET /api/v1/escrows/{id}/assignment`: whom the server chose as arbiter, and from what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentView {
    /// The escrow.
    pub escrow_id: EscrowId,
    /// Who got it.
    pub arbiter: UserId,
    /// The escrow whose place it takes.
    pub replaces: Option<EscrowId>,
    /// What the choice rests on.
    pub choice: ShownChoice,
}

/// A dispute in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DisputeItem {
    /// The escrow.
    pub escrow_id: EscrowId,
    /// Its version.
    pub version: i64,
    /// What is traded.
    pub title: String,
    /// Who pays.
    pub buyer: String,
    /// Who delivers.
    pub seller: String,
    /// Who is to rule.
    pub arbiter: String,
    /// The price.
    pub amount: AmountView,
    /// Who disputes.
    pub by: Role,
    /// Since when.
    pub since: Timestamp,
    /// When the ruling is due, or will be asked for again.
    pub due: Option<Timestamp>,
    /// Whether it was due before.
    pub overdue: bool,
}

/// `GET /api/v1/disputes`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DisputePage {
    /// Those due first come first.
    pub disputes: Vec<DisputeItem>,
    /// Disputes of this page that the server can't read: its operator has to look at them.
    #[serde(default)]
    pub unreadable: Vec<EscrowId>,
    /// Pass as `after` to go on; nothing where this is all.
    pub next: Option<String>,
}
