//! For tests of this crate and of those that stand on it: three people with fixed keys, a sound contract, and [`Sim`],
//! which leads an escrow through its life. The keys are known to everybody; nothing here belongs into a program.
//!
//! ```
//! use aegis_common::escrow::{deposits::Slot, state::Status, statement::Act};
//! use aegis_common::role::Role;
//! use aegis_common::testing::{Sim, contract};
//!
//! let mut sim = Sim::new(contract());
//! sim.active();
//! sim.say(Role::Buyer, Act::Confirm {}).unwrap();
//! sim.pay();
//! assert_eq!(sim.status(), Status::CompletedReleased);
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "compiled for tests only, where a failure is to be loud"
)]

mod cast;
pub mod chain;
mod identity;
pub mod parsers;
mod sim;

pub use cast::{Cast, Person, contract, contract_number};
pub use identity::{identity, signing_key};
pub use sim::{Sim, round_message};

use curve25519_dalek::{EdwardsPoint, Scalar};

use crate::address::{Address, AddressKind, Network};
use crate::hash::{Hash32, Key32};
use crate::time::Timestamp;

/// When every test begins: 2026-01-01T00:00:00Z.
pub const START: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// A hash that stands for `name`.
pub fn hash(name: &str) -> Hash32 {
    Hash32::sha256(name.as_bytes())
}

/// The public key of a scalar: `scalar * G`, a valid point of the prime-order group.
pub fn point(scalar: u64) -> Key32 {
    Key32(EdwardsPoint::mul_base(&Scalar::from(scalar)).compress().0)
}

/// A valid primary regtest address whose spend and view keys are `scalar * G` and `(scalar + 1) * G`.
pub fn address(scalar: u64) -> Address {
    Address::new(Network::Regtest, AddressKind::Standard, point(scalar), point(scalar + 1))
}
