//! Escrows from outside: drafting a contract, reading one's own.

mod draft;
mod reading;

pub use draft::{ArbiterTerms, DraftError, Drafts, PlatformTerms, Terms};
pub use reading::{Escrows, Kept, ReadError};
