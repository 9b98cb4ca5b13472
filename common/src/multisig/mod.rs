//! The setup of a 2-of-3 wallet as a pure state machine: who owes which message, and which messages are acceptable.

pub mod rounds;
