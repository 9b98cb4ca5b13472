//! What the chain says about an escrow: transactions and blocks are parsed here by a bounded parser of our
//! own, hashed again so that a node cannot swap their content, and scanned with the escrows' view keys.
//!
//! ```text
//! reader ─ tx ─ block        bytes → checked structures
//!    extra                   transaction keys out of a transaction's `extra`
//!    curve                   the handful of group operations Monero needs
//!       watch ─ scan         what belongs to a watched escrow
//!               batch        the same by `aegis_engine`, for very many keys at once
//!       proof                what a sender can prove to have paid
//! ```
//!
//! What is *not* checked: proof of work, ring signatures and range proofs. Those are the node's work; a node
//! is chosen by the operator.

// Left out where the parsers are fuzzed: with coverage it takes a quarter of an hour to build.
#[cfg(not(fuzzing))]
mod batch;
mod block;
mod curve;
mod extra;
mod proof;
mod reader;
mod scan;
mod tx;
mod watch;

#[cfg(not(fuzzing))]
pub use aegis_engine::{Engine, Job, Match, Origin, Path, Scalars};
#[cfg(not(fuzzing))]
pub use batch::BatchScanner;
pub use block::{Block, parse_block};
pub use curve::{
    Derivation, canonical_point, derivation, derivation_to_scalar, hash_to_scalar, keccak, view_tag,
};
pub use extra::{MAX_TX_KEYS, TxKeys};
pub use proof::prove_payment;
pub use reader::ParseError;
pub use scan::{Found, PlainScanner, Scanner};
pub use tx::{OutputAmount, Tx, TxOutput, parse_tx, verify_tx};
pub use watch::{SUBADDRESSES, WatchKey, WatchKeyError, subaddress, view_key_matches};

#[cfg(any(test, feature = "testing"))]
pub(crate) use curve::commitment;
#[cfg(any(test, feature = "testing"))]
pub(crate) use {curve::mask_amount, reader::write_varint};
