//! A relay between participants and server: everything passes through it, everything is recorded, and a hook may look,
//! wait, change, answer or cut at each exchange.
//!
//! It speaks HTTP/1.1 over TCP on loopback. A WebSocket is passed through frame by frame after its upgrade; its payloads are
//! recorded unmasked. `Accept-Encoding` and WebSocket extensions are removed, so that nothing is recorded compressed.

mod hooks;
mod http;
mod record;
mod websocket;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub use hooks::{Hook, at_statement, edit_request, edit_response, hook, once_at};
use http::Message;
pub use record::{Exchange, Record};

/// Where an exchange is when the hook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The request is here; the server has not seen it.
    BeforeForward,
    /// The server has answered; the participant has not seen it.
    AfterForward,
}

/// What is to be done with an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Pass it on as it is.
    Pass,
    /// Pass on another body: of the request before forwarding, of the response after.
    Replace(Vec<u8>),
    /// Answer at once; before forwarding, the server never sees the request.
    Answer {
        /// HTTP status.
        status: u16,
        /// JSON body.
        body: Vec<u8>,
    },
    /// Close the connection without an answer.
    Drop,
}

struct Shared {
    server: u16,
    record: Arc<Record>,
    hook: Mutex<Option<Hook>>,
    count: AtomicU64,
}

impl Shared {
    async fn decide(&self, moment: Moment, exchange: &Exchange) -> Action {
        let hook = self.hook.lock().ok().and_then(|hook| hook.clone());
        match hook {
            Some(hook) => hook(moment, exchange.clone()).await,
            None => Action::Pass,
        }
    }
}

/// A running relay. Dropping it closes the listener and every connection.
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Listens on a free port of loopback and forwards to the server's port.
    pub async fn start(server: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            server,
            record: Arc::default(),
            hook: Mutex::new(None),
            count: AtomicU64::new(0),
        });
        let of_task = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            // Dropped with the task, which ends the connections.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&of_task);
                connections.spawn(async move { serve(client, &shared).await });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { port, shared, task })
    }

    /// `http://host:port` for participants.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Everything that passed.
    pub fn record(&self) -> Arc<Record> {
        Arc::clone(&self.shared.record)
    }

    /// Exchanges so far.
    pub fn count(&self) -> u64 {
        self.shared.count.load(Ordering::SeqCst)
    }

    /// Sets or removes the hook.
    pub fn set_hook(&self, hook: Option<Hook>) {
        if let Ok(mut slot) = self.shared.hook.lock() {
            *slot = hook;
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(port: u16) -> Result<BufReader<TcpStream>> {
    Ok(BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?))
}

/// One connection of a participant. Any error closes it, as a broken network would.
async fn serve(client: TcpStream, shared: &Shared) -> Result<()> {
    let mut client = BufReader::new(client);
    let mut server: Option<BufReader<TcpStream>> = None;
    while let Some(mut request) = http::read(&mut client, None).await? {
        request.remove("accept-encoding");
        request.remove("sec-websocket-extensions");
        let index = shared.count.fetch_add(1, Ordering::SeqCst);
        let mut exchange = Exchange::of(index, &request);
        shared.record.push(exchange.clone());
        match shared.decide(Moment::BeforeForward, &exchange).await {
            Action::Pass => {}
            Action::Replace(body) => {
                request.set_body(body);
                exchange.request_body.clone_from(&request.body);
            }
            Action::Answer { status, body } => {
                let answer = Message::answer(status, body);
                client.get_mut().write_all(&answer.to_bytes()).await?;
                continue;
            }
            Action::Drop => return Ok(()),
        }
        let reused = server.is_some();
        let mut upstream = match server.take() {
            Some(open) => open,
            None => connect(shared.server).await?,
        };
        let sent = upstream.get_mut().write_all(&request.to_bytes()).await;
        let mut answer = match sent {
            Ok(()) => http::read(&mut upstream, Some(&exchange.method)).await,
            Err(error) => Err(error.into()),
        };
        if reused && !matches!(answer, Ok(Some(_))) {
            // The server had closed the idle connection; a client without a relay would have noticed.
            upstream = connect(shared.server).await?;
            upstream.get_mut().write_all(&request.to_bytes()).await?;
            answer = http::read(&mut upstream, Some(&exchange.method)).await;
        }
        let Some(mut response) = answer? else { return Ok(()) };
        exchange.answer(&response);
        shared.record.replace(exchange.clone());
        match shared.decide(Moment::AfterForward, &exchange).await {
            Action::Pass => {}
            Action::Replace(body) => response.set_body(body),
            Action::Answer { status, body } => response = Message::answer(status, body),
            Action::Drop => return Ok(()),
        }
        client.get_mut().write_all(&response.to_bytes()).await?;
        if exchange.status == 101 {
            return websocket::pass(client, upstream, index, &shared.record).await;
        }
        if request.closes() || response.closes() {
            return Ok(());
        }
        server = Some(upstream);
    }
    Ok(())
}
