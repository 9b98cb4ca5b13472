//! Identifiers: UUIDs that the compiler keeps apart.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

id!(
    /// An account.
    UserId
);
id!(
    /// An escrow.
    EscrowId
);
id!(
    /// A login on one device, or an API key.
    SessionId
);
id!(
    /// A passkey.
    PasskeyId
);
id!(
    /// An invitation.
    InvitationId
);
id!(
    /// A webhook.
    WebhookId
);
id!(
    /// One call of a webhook, with all its attempts.
    DeliveryId
);
id!(
    /// A listing.
    ListingId
);
id!(
    /// An order of a listing.
    OrderId
);
id!(
    /// A review.
    ReviewId
);
