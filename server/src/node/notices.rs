//! Notices of monerod (`--zmq-pub`) that a block or a mempool transaction came, so that the chain is looked at at once and
//! not at the next poll. They are hints: what they say is not read, and when none comes, polling finds everything.
//!
//! This is the part of ZeroMQ's protocol that a subscriber without a login needs (ZMTP 3.0, <https://rfc.zeromq.org/spec/23/>).
//! It is written here because the usual library makes room for a frame of whatever length a peer announces, and a node is
//! not trusted with that.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

/// What is asked for: names of the parts of the chain that grew, and hashes of new mempool transactions.
const TOPICS: [&[u8]; 2] = [b"json-minimal-chain_main", b"json-minimal-txpool_add"];
/// A longer frame ends the connection; notices have some hundred bytes, after a long reorganisation some thousand.
const MAX_FRAME: u64 = 1 << 20;
/// For connecting and the greetings.
const PATIENCE: Duration = Duration::from_secs(10);
/// After so much silence the connection may be dead, and is made anew.
const SILENCE: Duration = Duration::from_secs(600);
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_secs(5);

/// Bits of a frame's first byte.
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// Tells of every notice, connecting again and again. `number` is the position in the configured list, from 1: an address is
/// not logged.
pub(super) async fn listen(number: usize, address: &str, news: &Notify) {
    let mut is_told = false;
    loop {
        match timeout(PATIENCE, subscribe(address)).await.unwrap_or_else(|_| Err(silent())) {
            Ok(mut stream) => {
                tracing::info!(number, "listening for notices");
                is_told = false;
                // There may have been some before.
                news.notify_one();
                while let Ok(Ok(flags)) = timeout(SILENCE, frame(&mut stream)).await {
                    if flags & COMMAND == 0 {
                        news.notify_one();
                    }
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(number, kind = ?error.kind(), "no notices of new blocks; the chain is polled");
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn silent() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

fn refused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

async fn subscribe(address: &str) -> io::Result<BufReader<TcpStream>> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    // Signature, version 3.0, the mechanism that is none, as a client.
    let mut greeting = [0; 64];
    (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
    greeting[12..16].copy_from_slice(b"NULL");
    stream.write_all(&greeting).await?;
    let mut theirs = [0; 64];
    stream.read_exact(&mut theirs).await?;
    if theirs[0] != 0xff || theirs[10] < 3 || !theirs[12..32].starts_with(b"NULL\0") {
        return Err(refused("no publisher without a login"));
    }
    stream.write_all(b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB").await?;
    if frame(&mut stream).await? & COMMAND == 0 {
        return Err(refused("no greeting"));
    }
    for topic in TOPICS {
        let length = u8::try_from(topic.len() + 1).map_err(|_| refused("a topic is too long"))?;
        stream.write_all(&[&[0, length, 1], topic].concat()).await?;
    }
    stream.flush().await?;
    Ok(stream)
}

/// Reads a frame to its end, and gives its first byte.
async fn frame(stream: &mut BufReader<TcpStream>) -> io::Result<u8> {
    let flags = stream.read_u8().await?;
    let length =
        if flags & LONG == 0 { u64::from(stream.read_u8().await?) } else { stream.read_u64().await? };
    if length > MAX_FRAME {
        return Err(refused("a frame is too long"));
    }
    let read = tokio::io::copy(&mut stream.take(length), &mut tokio::io::sink()).await?;
    if read == length { Ok(flags) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn publisher(frames: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut theirs = [0; 64 + 27];
                let mut greeting = [0; 64];
                (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
                greeting[12..16].copy_from_slice(b"NULL");
                stream.write_all(&greeting).await.unwrap();
                stream.read_exact(&mut theirs).await.unwrap();
                stream.write_all(frames).await.unwrap();
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_frame_is_read_to_its_end_and_one_that_announces_too_much_is_refused() {
        let ready = b"\x04\x02hi\x00\x05abcde\x02\0\0\0\0\0\0\0\x01x\x02\xff\xff\xff\xff\xff\xff\xff\xff";
        let mut stream = subscribe(&publisher(ready).await).await.unwrap();
        assert_eq!(frame(&mut stream).await.unwrap(), 0);
        assert_eq!(frame(&mut stream).await.unwrap(), LONG);
        assert_eq!(frame(&mut stream).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn what_is_no_publisher_is_refused() {
        // Its first frame is no command.
        let error = subscribe(&publisher(b"\x00\x01x").await).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(&[b'x'; 64]).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        assert_eq!(subscribe(&address).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
