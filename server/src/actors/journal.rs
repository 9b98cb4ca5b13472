//! What stands in the journal: each event with the moment it was taken, as canonical JSON.

use aegis_common::canonical::{self, NotCanonical};
use aegis_common::escrow::event::Event;
use aegis_common::time::Timestamp;
use serde::{Deserialize, Serialize};

/// One entry. Applying all entries in order to the escrow as it was created gives the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What happened.
    pub event: Event,
    /// The `now` it was decided with.
    pub at: Timestamp,
}

impl Entry {
    /// The text that is stored.
    pub fn to_text(&self) -> Result<String, NotCanonical> {
        let bytes = canonical::to_bytes(self)?;
        String::from_utf8(bytes).map_err(|_| NotCanonical)
    }

    /// Reads a stored text.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}
