//! Escrows from outside: drafting a contract, reading one's own.

mod cursor;
mod draft;
mod listing;
mod reading;

pub use draft::{DraftError, Drafts, PlatformTerms, Terms};
pub use listing::ListRequest;
pub use reading::{Escrows, Kept, ReadError};
