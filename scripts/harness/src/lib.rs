//! Drives real programs for the demo, the devnet and the end-to-end tests: a private Monero chain, the server and the
//! participants' programs, each as its own process.
//!
//! ```text
//! scenario    stories of escrows, told at the same time, and checked against the chain
//!   world     chain + funds + server + participants
//!     devnet  a private chain, a miner and a funded wallet      server, participant  the two programs
//!     relay   stands between participants and server: records, changes, drops, calls hooks
//!     process, rpc, net, scratch   what all of them stand on
//! kills       kills server and participants at planned points of the stories, and looks for what got lost
//! secrets     searches what the server saw for anything that could spend
//! house       the checks of `scripts/check`: floors, doors, documents, migrations
//! ```
//! It knows the two programs only by their command lines and the wire.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod api;
pub mod devnet;
pub mod house;
pub mod kills;
pub mod net;
pub mod participant;
pub mod process;
pub mod programs;
pub mod relay;
pub mod rpc;
pub mod scenario;
pub mod scratch;
pub mod secrets;
pub mod server;
pub mod timeline;
pub mod world;
