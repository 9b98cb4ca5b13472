//! A chain on which nothing happens, and nobody who listens.

use std::ops::RangeInclusive;
use std::sync::Arc;

use actix::{Actor, Context, Handler};
use aegis_common::chain::Tx;
use aegis_common::hash::Hash32;
use aegis_server::actors::{Answer, Deliver, Finder};
use aegis_server::chain::Source;
use aegis_server::node::{FullBlock, NodeError, Place, Tip};

/// Its newest block.
pub const TIP: Tip = Tip { height: 500, hash: Hash32([5; 32]) };

/// A chain that stands still.
pub struct Still;

impl Source for Still {
    async fn tip(&self) -> Result<Tip, NodeError> {
        Ok(TIP)
    }
    async fn header_hash(&self, _: u64) -> Result<Hash32, NodeError> {
        Ok(TIP.hash)
    }
    async fn blocks(&self, _: RangeInclusive<u64>) -> Result<Vec<FullBlock>, NodeError> {
        Err(NodeError::Missing)
    }
    async fn pool(&self) -> Result<Vec<Arc<Tx>>, NodeError> {
        Ok(Vec::new())
    }
    async fn news(&self) {
        std::future::pending().await
    }
}

impl Finder for Still {
    fn find(&self, _: Hash32) -> Answer<'_, Option<(Tx, Place)>> {
        Box::pin(async { Ok(None) })
    }
    fn header_hash(&self, _: u64) -> Answer<'_, Hash32> {
        Box::pin(async { Ok(TIP.hash) })
    }
}

/// Listens to no event.
pub struct Nobody;

impl Actor for Nobody {
    type Context = Context<Self>;
}

impl Handler<Deliver> for Nobody {
    type Result = ();
    fn handle(&mut self, _: Deliver, _: &mut Self::Context) {}
}
