//! Which blocks the chain watcher has processed.

use aegis_common::address::Network;
use aegis_common::hash::Hash32;
use diesel::prelude::*;

use super::Store;
use super::connection::Conn;
use super::error::StoreError;
use super::schema::{chain_blocks, chain_progress};
use super::types::{DbBytes, DbHash, height, impossible, natural};

/// How many block hashes are kept to find the fork of a reorganisation: twice the deepest that is handled.
pub const BLOCKS_KEPT: u64 = 200;

/// A processed block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// Its height.
    pub height: u64,
    /// Its id.
    pub hash: Hash32,
}

fn decode((height, hash): (i64, DbHash)) -> Result<Tip, StoreError> {
    Ok(Tip { height: natural(height)?, hash: Hash32(hash.0) })
}

fn set_progress(conn: &mut Conn, network: &str, at: i64, hash: DbHash) -> QueryResult<()> {
    let values = (chain_progress::height.eq(at), chain_progress::hash.eq(hash));
    let row = chain_progress::table.find(network);
    if diesel::update(row).set(values).execute(conn)? == 0 {
        let values = (chain_progress::network.eq(network), values.0, values.1);
        diesel::insert_into(chain_progress::table).values(values).execute(conn)?;
    }
    Ok(())
}

fn progress(conn: &mut Conn, network: &str) -> QueryResult<Option<(i64, DbHash)>> {
    let row = chain_progress::table.find(network);
    row.select((chain_progress::height, chain_progress::hash)).first(conn).optional()
}

impl Store {
    /// The networks whose chains were followed with this database.
    pub async fn networks(&self) -> Result<Vec<String>, StoreError> {
        self.read(|conn, _| Ok(chain_progress::table.select(chain_progress::network).load(conn)?)).await
    }

    /// The last processed block, or `None` before the first.
    pub async fn chain_progress(&self, network: Network) -> Result<Option<Tip>, StoreError> {
        let network = network.to_string();
        self.read(move |conn, _| progress(conn, &network)?.map(decode).transpose()).await
    }

    /// The processed blocks that are remembered, highest first; at most [`BLOCKS_KEPT`].
    pub async fn chain_blocks(&self, network: Network) -> Result<Vec<Tip>, StoreError> {
        let network = network.to_string();
        self.read(move |conn, _| {
            let rows = chain_blocks::table.filter(chain_blocks::network.eq(network));
            let rows = rows.order(chain_blocks::height.desc()).limit(BLOCKS_KEPT.cast_signed());
            let rows: Vec<(i64, DbHash)> =
                rows.select((chain_blocks::height, chain_blocks::hash)).load(conn)?;
            rows.into_iter().map(decode).collect()
        })
        .await
    }

    /// Remembers processed blocks, in rising order of height, all above the last one.
    /// [`StoreError::Inconsistent`] otherwise.
    pub async fn advance_chain(&self, network: Network, blocks: Vec<Tip>) -> Result<(), StoreError> {
        let network = network.to_string();
        self.writer
            .run(move |conn| {
                let mut last = progress(conn, &network)?.map(|(at, _)| at);
                let skip = blocks.len().saturating_sub(BLOCKS_KEPT as usize);
                for block in blocks.iter().skip(skip) {
                    let at = height(block.height)?;
                    if last.is_some_and(|last| at <= last) {
                        return Err(impossible("a processed block is not above the last one"));
                    }
                    let row = (
                        chain_blocks::network.eq(&network),
                        chain_blocks::height.eq(at),
                        chain_blocks::hash.eq(DbBytes(block.hash.0)),
                    );
                    diesel::insert_into(chain_blocks::table).values(row).execute(conn)?;
                    last = Some(at);
                }
                let (Some(block), Some(last)) = (blocks.last(), last) else { return Ok(()) };
                set_progress(conn, &network, last, DbBytes(block.hash.0))?;
                let old = chain_blocks::table.filter(chain_blocks::network.eq(&network));
                let old = old.filter(chain_blocks::height.le(last - BLOCKS_KEPT.cast_signed()));
                diesel::delete(old).execute(conn)?;
                Ok(())
            })
            .await
    }

    /// Steps back to a remembered block and forgets those above it. `None`, and nothing changes, where the
    /// block is not remembered: the reorganisation is deeper than the memory.
    pub async fn rewind_chain(&self, network: Network, to: u64) -> Result<Option<Tip>, StoreError> {
        let network = network.to_string();
        let at = height(to)?;
        self.writer
            .run(move |conn| {
                let block = chain_blocks::table.find((&network, at)).select(chain_blocks::hash);
                let Some(hash) = block.first::<DbHash>(conn).optional()? else { return Ok(None) };
                let above = chain_blocks::table.filter(chain_blocks::network.eq(&network));
                diesel::delete(above.filter(chain_blocks::height.gt(at))).execute(conn)?;
                set_progress(conn, &network, at, hash)?;
                Ok(Some(Tip { height: to, hash: Hash32(hash.0) }))
            })
            .await
    }
}
