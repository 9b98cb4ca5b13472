//! Webhooks: where a person's events are sent, and what became of each.

use serde::{Deserialize, Serialize};

use super::event::EventFrame;
use crate::ids::{DeliveryId, WebhookId};
use crate::time::Timestamp;

/// Bounds on webhooks.
pub mod bounds {
    /// Webhooks of one account.
    pub const WEBHOOKS: usize = 20;
    /// Bytes of a URL.
    pub const URL: usize = 512;
    /// Types that one webhook names.
    pub const KINDS: usize = 64;
    /// Characters of a secret.
    pub const SECRET: std::ops::RangeInclusive<usize> = 16..=256;
    /// Characters of a description.
    pub const DESCRIPTION: usize = 200;
    /// Pings and redeliveries of one webhook that wait.
    pub const BY_HAND: u64 = 20;
    /// Bytes that are kept of a receiver's answer.
    pub const EXCERPT: usize = 1024;
}

/// `POST /api/v1/webhooks`
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookRequest {
    /// Where to: http:// or https:// without a login, at most 512 bytes.
    pub url: String,
    /// Types of events; all where left out. At most 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<String>>,
    /// What signs the calls: 16 to 256 visible ASCII characters; one is made where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Password)]
    pub secret: Option<String>,
    /// For oneself; at most 200 characters.
    #[serde(default)]
    pub description: String,
    /// Whether it is called.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

/// `PATCH /api/v1/webhooks/{id}`: what is left out stays.
#[derive(Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WebhookChange {
    /// Where to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Types of events that are sent from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<String>>,
    /// Whether all types are sent from now on; not together with `kinds`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all_kinds: bool,
    /// What signs from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Password)]
    pub secret: Option<String>,
    /// For oneself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether it is called. Enabled again, it begins with what waited longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookView {
    /// Its id.
    pub id: WebhookId,
    /// Where to.
    pub url: String,
    /// Types of events; all where it is nothing.
    pub kinds: Option<Vec<String>>,
    /// For oneself.
    pub description: String,
    /// Whether it is called. Events wait for one that is not, for 30 days.
    pub enabled: bool,
    /// Why the server disabled it, where it did.
    pub disabled_because: Option<DisabledBecause>,
    /// Deliveries that wait.
    pub waiting: u64,
    /// Attempts at the first of them that failed.
    pub failed_attempts: u32,
    /// When the next attempt is due; nothing where nothing waits, or it is not called.
    pub next_attempt_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Why the server disabled a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum DisabledBecause {
    /// Its receiver took nothing for 72 hours.
    Failing,
    /// Its receiver answered 410 Gone.
    Gone,
}

impl DisabledBecause {
    /// The name on the wire and in the database.
    pub fn wire(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Gone => "gone",
        }
    }

    /// The reason of a wire name.
    pub fn from_wire(name: &str) -> Option<Self> {
        [Self::Failing, Self::Gone].into_iter().find(|reason| reason.wire() == name)
    }
}

/// A new webhook. The secret is shown this once.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewWebhook {
    /// What signs the calls.
    pub secret: String,
    /// What it is.
    pub webhook: WebhookView,
}

/// `GET /api/v1/webhooks`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Webhooks {
    /// Newest first; at most 20.
    pub webhooks: Vec<WebhookView>,
}

/// The body of a call: the same bytes at every attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookCall {
    /// The delivery: the same at every attempt.
    pub delivery_id: DeliveryId,
    /// The webhook.
    pub webhook_id: WebhookId,
    /// The delivery that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_delivery_id: Option<DeliveryId>,
    /// Whether its owner asked for it again.
    pub is_redelivery: bool,
    /// When the delivery was made.
    pub timestamp: Timestamp,
    /// The event's type; `Ping` for a ping.
    #[serde(rename = "type")]
    pub kind: String,
    /// The event as it is in the feed; nothing in a ping.
    pub event: Option<EventFrame>,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum DeliveryStatus {
    /// It waits for its turn, or for the next attempt.
    Waiting,
    /// The receiver took it.
    Delivered,
    /// Its event was forgotten before the receiver took it.
    Expired,
}

impl DeliveryStatus {
    /// The name on the wire and in the database.
    pub fn wire(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Expired => "expired",
        }
    }

    /// The status of a wire name.
    pub fn from_wire(name: &str) -> Option<Self> {
        [Self::Waiting, Self::Delivered, Self::Expired].into_iter().find(|status| status.wire() == name)
    }
}

/// A delivery, with its last attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryView {
    /// Its id, the same at every attempt.
    pub id: DeliveryId,
    /// Position in the log.
    pub seq: i64,
    /// Position of its event in the feed; nothing for a ping.
    pub event_seq: Option<i64>,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The delivery that this one repeats.
    pub original_delivery_id: Option<DeliveryId>,
    /// What became of it.
    pub status: DeliveryStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
    /// The last of them.
    pub last_attempt: Option<AttemptView>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptView {
    /// When.
    pub at: Timestamp,
    /// Milliseconds it took.
    pub millis: u32,
    /// HTTP status of the answer, where there was one.
    pub http_status: Option<u16>,
    /// What went wrong, where there was no answer: `timeout`, `connection`, `tls`, `address`, `torOff`, `broken`.
    pub error: Option<String>,
    /// The beginning of the answer's body, at most 1024 bytes.
    pub excerpt: Option<String>,
}

/// `GET /api/v1/webhooks/{id}/deliveries`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryPage {
    /// Newest first.
    pub deliveries: Vec<DeliveryView>,
    /// Pass as `before` to go on; nothing where this is all.
    pub next: Option<i64>,
}
