//! What is called outside for people: their webhooks with every delivery, and the connections to their own wallets.

pub(super) mod courier;
pub(super) mod deliveries;
pub(super) mod wallets;
pub(super) mod webhooks;
