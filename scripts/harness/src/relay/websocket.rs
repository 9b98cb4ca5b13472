//! Passing WebSocket frames (RFC 6455 section 5.2) and recording their payloads unmasked.

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::net::TcpStream;

use super::record::Record;

/// Longest frame in bytes.
const MAX_FRAME: u64 = 64 << 20;

type Stream = BufReader<TcpStream>;

/// Passes frames in both directions until one side ends.
pub async fn pass(client: Stream, server: Stream, index: u64, record: &Record) -> Result<()> {
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    tokio::select! {
        ended = direction(from_client, to_server, index, true, record) => ended,
        ended = direction(from_server, to_client, index, false, record) => ended,
    }
}

async fn direction(
    mut from: ReadHalf<Stream>,
    mut to: WriteHalf<Stream>,
    index: u64,
    from_participant: bool,
    record: &Record,
) -> Result<()> {
    loop {
        let mut bytes = vec![0; 2];
        from.read_exact(&mut bytes).await?;
        let [_, second] = [bytes.first().copied().unwrap_or(0), bytes.get(1).copied().unwrap_or(0)];
        let longer = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mut extended = vec![0; longer];
        from.read_exact(&mut extended).await?;
        let length = match longer {
            0 => u64::from(second & 0x7f),
            _ => extended.iter().fold(0, |length, byte| (length << 8) | u64::from(*byte)),
        };
        ensure!(length <= MAX_FRAME, "a frame is too long");
        let mut mask = vec![0; if second & 0x80 == 0 { 0 } else { 4 }];
        from.read_exact(&mut mask).await?;
        let mut payload = vec![0; usize::try_from(length)?];
        from.read_exact(&mut payload).await?;
        bytes.extend(extended);
        bytes.extend(&mask);
        bytes.extend(&payload);
        to.write_all(&bytes).await?;
        to.flush().await?;
        if !mask.is_empty() {
            payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        }
        record.frame(index, from_participant, payload);
    }
}
