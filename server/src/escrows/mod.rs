//! Escrows from outside: drafting a contract, reading one's own.

mod cursor;
mod draft;
mod list;
mod reading;
mod stuck;

pub use draft::{ArbiterTerms, DraftError, Drafts, PlatformTerms, Terms};
pub use list::ListRequest;
pub use reading::{Escrows, Kept, ReadError};
