//! What is logged and said of nodes that fail.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aegis_common::address::Network;
use aegis_common::hash::Hash32;
use aegis_server::config::{Log, LogFormat};
use aegis_server::node::{Login, NodeConfig, NodePool, NodeState, PoolConfig};
use aegis_server::telemetry;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Answers every request with the same bytes, or closes at once where there are none. Gives its port.
fn answering(reply: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(reply.as_bytes());
        }
    });
    port
}

/// Answers one request and is gone: the node whose outage is noticed in the middle of a call.
fn answering_once(reply: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(reply.as_bytes());
    });
    port
}

const KNOWN: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"status\":\"OK\",\"height\":2,\"nettype\":\"fakechain\",\
    \"top_block_hash\":\"0000000000000000000000000000000000000000000000000000000000000000\"}";
const FOREIGN: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\
    {\"status\":\"OK\",\"height\":2,\"nettype\":\"mainnet\",\"top_block_hash\":\"00\"}";

#[tokio::test]
async fn nodes_that_fail_in_every_way_are_named_by_their_number_and_never_by_their_host() {
    let lines = Lines::default();
    let out = lines.clone();
    let log = Log { filter: "trace".to_owned(), format: LogFormat::Text };
    let subscriber = telemetry::subscriber(&log, move || out.clone()).unwrap();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = |scheme: &str, port: u16| format!("{scheme}://127.0.0.1:{port}");
    let urls = [
        "http://aegisnodehiddenservice.onion:18081".to_owned(),
        url("http", nobody),
        url("http", silent.local_addr().unwrap().port()),
        url("http", answering("")),
        url("https", answering("HTTP/1.1 200 OK\r\n\r\n")),
        url("http", answering("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")),
        url("http", answering("HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{")),
        url("http", answering(FOREIGN)),
    ];
    let login = Login { username: "aegis".to_owned(), password: "a node's password".to_owned().into() };
    for login in [None, Some(login)] {
        let mut urls = urls.to_vec();
        urls.push(url("http", answering_once(KNOWN)));
        let nodes = urls.iter().map(|url| NodeConfig { url: url.clone(), login: login.clone() });
        let mut config = PoolConfig::new(Network::Regtest, nodes.collect());
        (config.failures, config.timeout) = (3, Duration::from_millis(500));
        let pool = NodePool::new(&config).unwrap();
        let error = pool.tip().await.unwrap_err();
        let again = pool.header_hash(1).await.unwrap_err();
        let found = pool.find(Hash32([0; 32])).await.unwrap_err();
        tracing::warn!(%error, %again, %found, status = ?pool.status(), "what is known");
        for (number, node) in (1..).zip(pool.status()) {
            assert_eq!(node.number, number);
            assert!(matches!(node.state, NodeState::Down | NodeState::SetAside), "{node:?}");
            assert!(node.reason.is_some_and(|reason| !reason.is_empty()));
        }
    }

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    for number in 1..=urls.len() + 1 {
        assert!(text.contains(&format!("node={number} ")), "node {number} is not named: {text}");
    }
    for reason in ["connection refused", "timeout", "HTTP status 503", "mainnet"] {
        assert!(text.contains(reason), "{reason}: {text}");
    }
    for secret in ["onion", "127.0.0.1", "localhost", "://", "password"] {
        let line = text.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} in the log: {line:?}");
    }
}
