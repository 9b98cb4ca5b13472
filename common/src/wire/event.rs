//! Events: what a person is told, over the WebSocket or by reading the feed.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::EscrowId;
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
    /// The notice's data, as `Notice` and `MarketNotice` of the API's description say for each type.
    pub payload: serde_json::Value,
}

/// `GET /api/v1/events`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventPage {
    /// In order.
    pub events: Vec<EventFrame>,
    /// Pass as `after` to go on.
    pub next: i64,
}
