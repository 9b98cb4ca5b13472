//! Events: what a person is told, over the WebSocket or by reading the feed.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::webhook::DisabledBecause;
use crate::ids::{DeliveryId, EscrowId, WebhookId};
use crate::time::Timestamp;

/// One event of a person's feed, and at the same time one WebSocket frame from the server.
///
/// `seq` grows along the feed, with gaps; a client resumes with the last one it has handled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventFrame {
    /// Notice type, e.g. `EscrowStatusChanged`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Position in the feed.
    pub seq: i64,
    /// Stable id: the same event never has two.
    pub id: Uuid,
    /// The escrow it is about.
    pub escrow_id: Option<EscrowId>,
    /// When it happened.
    pub at: Timestamp,
    /// The notice's data, as `Notice`, `MarketNotice` and `OwnNotice` of the API's description say for each type.
    pub payload: serde_json::Value,
}

/// What people are told of their own account, by events beside those of their escrows and their trade.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", content = "data", rename_all_fields = "camelCase")]
pub enum OwnNotice {
    /// Something was done, or tried, with the account's credentials.
    AccountNotice {
        /// What, e.g. `passwordChanged`: as in the audit.
        kind: String,
        /// The network it came from; nothing where it came from the server's machine.
        network: Option<String>,
        /// More of it.
        #[schema(value_type = Object)]
        detail: serde_json::Value,
    },
    /// The server disabled a webhook.
    #[serde(rename_all = "camelCase")]
    WebhookDisabled {
        /// Which.
        webhook_id: WebhookId,
        /// Why.
        because: DisabledBecause,
        /// What it did not take.
        delivery_id: DeliveryId,
    },
}

impl OwnNotice {
    /// The type's name on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AccountNotice { .. } => "AccountNotice",
            Self::WebhookDisabled { .. } => "WebhookDisabled",
        }
    }

    /// The notice's data, without its type.
    pub fn payload(&self) -> serde_json::Value {
        let mut whole = serde_json::to_value(self).unwrap_or_default();
        whole.get_mut("data").map(serde_json::Value::take).unwrap_or_default()
    }
}

/// Every type of event there is, by its name on the wire.
pub const KINDS: [&str; 27] = [
    "EscrowInit",
    "EscrowAssigned",
    "StatementPosted",
    "EscrowStatusChanged",
    "AddressReady",
    "AddressMismatch",
    "DepositSeen",
    "DepositRefused",
    "TransactionConfirmed",
    "DepositReverted",
    "ExpiryWarning",
    "AnswerOverdue",
    "EscrowCalledOff",
    "EscrowReplaced",
    "ArbiterWanted",
    "ArbiterSilent",
    "SignersAsked",
    "PayoutSeen",
    "PayoutMismatch",
    "PayoutLost",
    "LatePaymentReturned",
    "OrderPlaced",
    "OrderStatusChanged",
    "ReviewPosted",
    "ReviewAnswered",
    "AccountNotice",
    "WebhookDisabled",
];

/// Unread events are counted up to here.
pub const MOST_UNREAD: usize = 1_000;

/// `GET /api/v1/me/inbox`: up to where a person has read their feed. One mark for all devices; it never moves back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InboxView {
    /// Position of the last event that was read; 0 where none was.
    pub read_up_to: i64,
    /// Events after it; 1000 stands for more.
    pub unread: u64,
}

/// `PUT /api/v1/me/inbox/read`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadRequest {
    /// Everything up to this position was read: `seq` of an event, or `next` of a page.
    pub up_to: i64,
}

/// `GET /api/v1/events`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventPage {
    /// In order.
    pub events: Vec<EventFrame>,
    /// Pass as `after` to go on.
    pub next: i64,
    /// Position of the last event that was read, on any device; 0 where none was.
    #[serde(default)]
    pub read_up_to: i64,
    /// Events after it; 1000 stands for more.
    #[serde(default)]
    pub unread: u64,
}
