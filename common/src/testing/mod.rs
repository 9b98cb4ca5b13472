//! Builders for tests of this and the other crates. Everything follows from a seed; nothing here is secret.

pub mod chain;
