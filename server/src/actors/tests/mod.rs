//! The actors on a real database, with a chain in memory and a clock that is set by hand.

mod crashes;
mod flow;
mod kit;
mod load;
mod month;
mod time;
mod units;
