//! Receivers that do as they are told, and a world with a person in it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aegis_common::hash::Hash32;
use aegis_common::ids::{SessionId, UserId, WebhookId};
use aegis_common::time::{Clock, SignedDuration, Timestamp};
use aegis_server::config::Config;
use aegis_server::integrations::{Actor, Courier, Integrations};
use aegis_server::outside::{Door, Lookup, System};
use aegis_server::store::{
    DatabaseUrl, EventRow, NewWebhookRow, Note, Role, SessionRow, Store, WebhookChanges, WebhookRow,
};
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::rows;

pub const SECRET: &str = "whsec-of-the-test";
/// Beyond this something hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Moves only when it is told to.
pub struct SetClock(AtomicI64);

impl SetClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(rows::now().as_millisecond())))
    }

    pub fn set(&self, at: Timestamp) {
        self.0.store(at.as_millisecond(), Ordering::SeqCst);
    }

    pub fn advance(&self, by: SignedDuration) {
        self.set(self.now() + by);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// Waits for something to become so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "{what}");
}

/// Answers to look-ups, one after the other; the last one stays.
pub struct Scripted {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Scripted {
    pub fn new(answers: &[&[&str]]) -> Arc<Self> {
        let answers = answers.iter().map(|all| all.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Lookup for Scripted {
    fn lookup(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let at = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
        let answer = self.answers[at].clone();
        Box::pin(async move { Ok(answer) })
    }
}

pub fn door_with(settings: &[(&str, &str)], lookup: Arc<dyn Lookup>) -> Door {
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Door::new(&Config::from_env(settings).unwrap().outside, lookup).unwrap()
}

/// A door to this machine's first address.
pub fn door() -> Door {
    door_with(&[("AEGIS_OUTSIDE_ALLOW", "127.0.0.1/32")], Arc::new(System))
}

/// What a receiver does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Sends these bytes.
    Answer(String),
    /// Closes without a word.
    Close,
    /// Says nothing until it does something else.
    Hold,
    /// Sends these bytes, then those again and again.
    Endless(String, String),
}

impl Mode {
    pub fn status(status: u16) -> Self {
        Self::body(status, "")
    }

    pub fn body(status: u16, body: &str) -> Self {
        let length = body.len();
        Self::Answer(format!(
            "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
    }
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> String {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found =
            lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned());
        found.next_back().unwrap()
    }

    pub fn delivery(&self) -> Uuid {
        self.json()["deliveryId"].as_str().unwrap().parse().unwrap()
    }

    pub fn seq(&self) -> i64 {
        self.json()["event"]["seq"].as_i64().unwrap()
    }
}

/// A web server on a real socket.
pub struct Receiver {
    pub address: SocketAddr,
    mode: watch::Sender<Mode>,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

impl Receiver {
    pub async fn start(mode: Mode) -> Self {
        Self::on("127.0.0.1:0", mode).await
    }

    pub async fn on(address: &str, mode: Mode) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let (mode, changes) = watch::channel(mode);
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            mode,
            seen: Arc::default(),
            connections: Arc::default(),
        };
        let (seen, connections) = (Arc::clone(&receiver.seen), Arc::clone(&receiver.connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, changes.clone(), Arc::clone(&seen)));
            }
        });
        receiver
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Nobody has connected; and it would have been noticed.
    pub async fn assert_untouched(&self) {
        drop(TcpStream::connect(self.address).await.unwrap());
        until("the trap notices its own test", async || self.connections() > 0).await;
        // Connections are accepted in order: any other came before.
        assert_eq!(self.connections(), 1, "somebody has connected");
    }
}

async fn serve(mut stream: TcpStream, mut mode: watch::Receiver<Mode>, seen: Arc<Mutex<Vec<Seen>>>) {
    let Some(request) = read(&mut stream).await else { return };
    seen.lock().unwrap().push(request);
    let held = mode.wait_for(|mode| *mode != Mode::Hold).await;
    let Ok(held) = held.map(|mode| mode.clone()) else { return };
    match held {
        Mode::Answer(text) => drop(stream.write_all(text.as_bytes()).await),
        Mode::Endless(head, rest) => {
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(rest.as_bytes()).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        Mode::Close | Mode::Hold => {}
    }
}

async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            let length = lines.filter(|(key, _)| key.eq_ignore_ascii_case("content-length"));
            let length: usize = length.map(|(_, value)| value.parse().unwrap()).next().unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return Some(Seen { head, body: bytes[end + 4..end + 4 + length].to_vec() });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// A database with a person who has a session.
pub struct World {
    pub store: Store,
    pub clock: Arc<SetClock>,
    pub user: UserId,
    pub actor: Actor,
    pub url: DatabaseUrl,
    _dir: Option<tempfile::TempDir>,
}

impl World {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = rows::sqlite(dir.path());
        Self { _dir: Some(dir), ..Self::at(url).await }
    }

    pub async fn at(url: DatabaseUrl) -> Self {
        let (store, clock) = (rows::open(&url), SetClock::new());
        let person = rows::user(&Uuid::now_v7().to_string(), Role::User);
        let user = person.id;
        store.insert_user(person).await.unwrap();
        let session = SessionId(Uuid::now_v7());
        let row = SessionRow {
            id: session,
            user,
            is_key: false,
            name: "a device".to_owned(),
            scopes: String::new(),
            secret_hash: Hash32([1; 32]),
            family_hash: Hash32([2; 32]),
            network: String::new(),
            created_at: clock.now(),
            used_at: None,
            expires_at: clock.now() + SignedDuration::from_hours(24 * 365),
            strong: false,
        };
        let note = Self::line(user, clock.now(), json!({}));
        store.insert_session(row, None, 10, Note { tell: false, ..note }).await.unwrap();
        let actor = Actor { user, session, network: None };
        Self { store, clock, user, actor, url, _dir: None }
    }

    fn line(user: UserId, at: Timestamp, detail: Value) -> Note {
        Note { user: Some(user), at, kind: "tried", network: None, detail, tell: true, under: None }
    }

    pub fn quiet(&self) -> Note {
        Note { tell: false, ..Self::line(self.user, self.clock.now(), json!({})) }
    }

    /// Something happens to the person.
    pub async fn event(&self, n: usize) {
        self.store.note(Self::line(self.user, self.clock.now(), json!({ "n": n }))).await.unwrap();
    }

    pub async fn feed(&self) -> Vec<EventRow> {
        self.store.events_of(self.user, 0, 10_000).await.unwrap()
    }

    pub async fn webhook(&self, url: String, kinds: Option<&[&str]>) -> WebhookId {
        let id = WebhookId(Uuid::now_v7());
        let new = NewWebhookRow {
            id,
            user: self.user,
            url,
            kinds: kinds.map(|kinds| kinds.iter().map(|kind| (*kind).to_owned()).collect()),
            secret: Zeroizing::new(SECRET.to_owned()),
            description: String::new(),
            enabled: true,
        };
        self.store.insert_webhook(new, 20, self.quiet()).await.unwrap().unwrap();
        id
    }

    pub async fn state(&self, id: WebhookId) -> WebhookRow {
        self.store.webhook(self.user, id).await.unwrap().unwrap()
    }

    pub async fn enable(&self, id: WebhookId, enabled: bool) {
        let changes = WebhookChanges { enabled: Some(enabled), ..WebhookChanges::default() };
        self.store.change_webhook(self.user, id, changes, self.quiet()).await.unwrap().unwrap();
    }

    /// Changes rows behind the store's back.
    pub fn tamper(&self, sql: &str) {
        let DatabaseUrl::Sqlite(path) = &self.url else { panic!("SQLite") };
        let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        conn.batch_execute("PRAGMA busy_timeout = 10000").unwrap();
        conn.batch_execute(sql).unwrap();
    }

    pub fn courier(&self) -> Courier {
        Courier::new(self.store.clone(), door(), Arc::clone(&self.clock) as Arc<dyn Clock>)
    }

    pub fn integrations(&self, door: Door) -> Integrations {
        Integrations::new(self.store.clone(), door, Arc::clone(&self.clock) as Arc<dyn Clock>)
    }
}

/// Looks until nothing is due.
pub async fn drain(courier: &Courier) -> usize {
    let mut count = 0;
    loop {
        match courier.turn().await.unwrap() {
            0 => return count,
            more => count += more,
        }
    }
}
