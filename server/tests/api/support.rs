//! A server on a free port with a clock that can be set, and people who use it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use actix_web::dev::ServerHandle;
use aegis_common::address::{Address, AddressKind, Network};
use aegis_common::canonical;
use aegis_common::code::Code;
use aegis_common::escrow::statement::{Act, Seen, SignedStatement, Statement};
use aegis_common::hash::{Hash32, Key32};
use aegis_common::role::Role;
use aegis_common::testing;
use aegis_common::time::{Clock, SignedDuration, Timestamp};
use aegis_common::wire::account::{AccountRole, InvitationRequest, LoggedIn, LoginAnswer, UserView};
use aegis_common::wire::escrow::EscrowView;
use aegis_common::wire::problem::Problem;
use aegis_server::accounts::Origin;
use aegis_server::api::State;
use aegis_server::app::{self, Ground};
use aegis_server::config::Config;
use aegis_server::store::DatabaseUrl;
use aegis_server::ws::Timing;
use curve25519_dalek::Scalar;
use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use ed25519_dalek::SigningKey;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const PASSWORD: &str = "wombat kettle orbit plum";

/// Moves only when it is told to.
pub struct SetClock(AtomicI64);

impl SetClock {
    pub fn advance(&self, by: SignedDuration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// A running server; ends when dropped.
pub struct TestServer {
    pub address: SocketAddr,
    pub clock: Arc<SetClock>,
    pub state: actix_web::web::Data<State>,
    pub client: reqwest::Client,
    actors: aegis_server::actors::ActorHandles,
    http: ServerHandle,
    dir: TempDir,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.actors.stop();
        drop(self.http.stop(false));
    }
}

/// With generous limits.
pub async fn server() -> TestServer {
    server_with(&[], Timing::default()).await
}

pub async fn server_with(settings: &[(&str, &str)], timing: Timing) -> TestServer {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    // A port where nobody listens: the chain is of no concern here.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let node = format!("http://{nobody}");
    let defaults = [
        ("AEGIS_DATA_DIR", data.to_str().unwrap()),
        ("AEGIS_NODES", &node),
        ("AEGIS_RATE_REQUESTS_PER_SECOND", "10000"),
        ("AEGIS_RATE_BURST", "10000"),
        ("AEGIS_RATE_CREDENTIALS_PER_MINUTE", "10000"),
        ("AEGIS_RATE_LOGINS_PER_MINUTE", "10000"),
        ("AEGIS_STAFF_SECOND_FACTOR", "no"),
    ];
    let env = defaults.iter().chain(settings).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let config = Config::from_env(env).unwrap();
    let clock = Arc::new(SetClock(AtomicI64::new(1_760_000_000_000)));
    let ground = Ground::open(&config, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    ground.ready().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let running = app::start(&config, ground, listener, timing).unwrap();
    let http = running.server.handle();
    actix::spawn(running.server);
    let (state, actors) = (running.state, running.actors);
    TestServer { address, clock, state, client: reqwest::Client::new(), actors, http, dir }
}

/// An account with its keys and a token.
#[derive(Clone)]
pub struct Person {
    pub name: String,
    pub view: UserView,
    pub token: String,
    pub signing: SigningKey,
}

pub fn payout_address(network: Network, seed: u8) -> Address {
    let key = |n: u8| {
        let point = ED25519_BASEPOINT_POINT * Scalar::from(u64::from(n) + 2);
        Key32(point.compress().0)
    };
    Address::new(network, AddressKind::Standard, key(seed), key(seed.wrapping_add(100)))
}

/// A registration that is in order.
pub fn registration(name: &str, seed: u8) -> Value {
    json!({
        "username": name,
        "password": PASSWORD,
        "keys": testing::identity(seed),
        "payoutAddress": payout_address(Network::Regtest, seed),
    })
}

impl TestServer {
    /// Its database, for who wants to disturb it.
    pub fn database(&self) -> DatabaseUrl {
        DatabaseUrl::Sqlite(self.dir.path().join("data/aegis.db"))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    pub fn get(&self, path: &str, who: &Person) -> RequestBuilder {
        self.request(Method::GET, path).bearer_auth(&who.token)
    }

    pub fn post(&self, path: &str, who: &Person, body: &Value) -> RequestBuilder {
        self.request(Method::POST, path).bearer_auth(&who.token).json(body)
    }

    /// A session for who has no second factor.
    pub async fn login(&self, name: &str) -> LoggedIn {
        let body = json!({ "username": name, "password": PASSWORD });
        let sent = self.request(Method::POST, "/api/v1/auth/login").json(&body).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::OK);
        match sent.json().await.unwrap() {
            LoginAnswer::LoggedIn(session) => *session,
            LoginAnswer::SecondFactor(_) => panic!("{name} has a second factor"),
        }
    }

    /// Registers, by an invitation where it takes one, and logs in. The seed makes the keys.
    pub async fn person(&self, name: &str, seed: u8, role: AccountRole) -> Person {
        let mut body = registration(name, seed);
        if role != AccountRole::User {
            let made =
                self.state.accounts.invite(InvitationRequest { role, hours: 1 }, None, Origin::MACHINE);
            body["invitation"] = json!(made.await.unwrap().token);
        }
        let sent = self.request(Method::POST, "/api/v1/auth/register").json(&body).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::CREATED, "{}", sent.text().await.unwrap());
        let view = sent.json().await.unwrap();
        let (signing, token) = (testing::signing_key(seed), self.login(name).await.token);
        Person { name: name.to_owned(), view, token, signing }
    }

    /// Buyer, seller, arbiter.
    pub async fn people(&self) -> [Person; 3] {
        [
            self.person("Bea-buyer", 1, AccountRole::User).await,
            self.person("Sam-seller", 2, AccountRole::User).await,
            self.person("Ada-arbiter", 3, AccountRole::Arbiter).await,
        ]
    }

    /// A request for an escrow that is in order.
    pub fn order(&self, seller: &Person) -> Value {
        json!({
            "title": "A bicycle",
            "role": "buyer",
            "counterparty": seller.name,
            "amount": "1000000000000",
            "defaultOutcome": "refund",
            "expiresAt": self.clock.now() + SignedDuration::from_hours(24 * 7),
        })
    }

    pub fn create(&self, who: &Person, key: &str, order: &Value) -> RequestBuilder {
        self.post("/api/v1/escrows", who, order).header("Idempotency-Key", key)
    }

    pub async fn escrow(&self, buyer: &Person, seller: &Person, key: &str) -> EscrowView {
        let sent = self.create(buyer, key, &self.order(seller)).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::CREATED, "{}", sent.text().await.unwrap());
        sent.json().await.unwrap()
    }
}

/// A first statement: acceptance.
pub fn acceptance(escrow: &EscrowView, role: Role, who: &Person) -> SignedStatement {
    let statement = Statement {
        escrow_id: escrow.id,
        contract_hash: Hash32::sha256(&canonical::to_bytes(&escrow.contract).unwrap()),
        author: who.view.id,
        role,
        seq: 0,
        prev: None,
        seen: Seen::default(),
        act: Act::Accept {},
    };
    statement.sign(&who.signing).unwrap()
}

pub fn said(signed: &SignedStatement) -> Value {
    json!({ "signed": signed })
}

/// Checks that an answer is a problem document of this code with all that belongs to it.
pub async fn problem(sent: Response, code: Code) -> Problem {
    let status = sent.status().as_u16();
    let media = sent.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    let id = sent.headers().get("x-request-id").map(|value| value.to_str().unwrap().to_owned());
    let text = sent.text().await.unwrap();
    let problem: Problem = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}"));
    assert_eq!(problem.code, code.wire(), "{text}");
    assert_eq!((status, problem.status), (code.status(), code.status()), "{text}");
    assert_eq!(media.as_deref(), Some("application/problem+json"));
    assert!(problem.request_id.is_some());
    assert_eq!(problem.request_id, id);
    problem
}
