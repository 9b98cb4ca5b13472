//! Which keys belong to whom, as first seen or as compared in person.

use serde::{Deserialize, Serialize};

use super::identity::PublicKeys;

/// How keys became trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PinSource {
    /// Taken from the server at the first meeting.
    FirstUse,
    /// The two people compared the safety number.
    Compared,
}

/// Another user's keys as this participant knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// The keys.
    #[serde(flatten)]
    pub keys: PublicKeys,
    /// How they became trusted.
    pub how: PinSource,
}

/// How presented keys relate to the pinned ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinCheck {
    /// Nobody of that name is pinned.
    Unknown,
    /// Exactly the pinned keys.
    Same(PinSource),
    /// At least one key differs from this pin: stop until people have compared.
    Changed(Pin),
}

impl PinCheck {
    pub(super) fn of(pin: Option<&Pin>, presented: &PublicKeys) -> Self {
        match pin {
            None => Self::Unknown,
            Some(pin) if pin.keys == *presented => Self::Same(pin.how),
            Some(pin) => Self::Changed(*pin),
        }
    }
}
