//! The life of an escrow: contract, signed statements, state machine and payout arithmetic.
//!
//! [`transition::apply`] is the one door: a pure function from a state and an event to the next state and its
//! effects. Everything else in this module is what it stands on.

mod attempt;
mod chains;
pub mod contract;
pub mod deadline;
pub mod deposits;
pub mod effect;
pub mod event;
pub mod fate;
pub mod history;
mod onchain;
pub mod outcome;
pub mod payout;
pub mod record;
pub mod returns;
pub mod settling;
pub mod setup;
pub mod stall;
pub mod state;
pub mod statement;
pub mod table;
pub mod transition;
