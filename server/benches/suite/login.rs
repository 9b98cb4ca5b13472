//! What logging in costs: a storm of two hundred at once, and whether the time of a refusal tells a name that exists from one
//! that does not. Against the program itself, in a process of its own.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aegis_common::testing;
use futures_util::future::join_all;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::Measured;

const STORM: usize = 200;
/// Accounts whose keys and names differ; each is logged in to more than once.
const ACCOUNTS: usize = 50;
const PASSWORD: &str = "wombat kettle orbit plum";

struct Server {
    child: Child,
    url: String,
    client: Client,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    async fn start(data: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut program = Command::new(env!("CARGO_BIN_EXE_aegis-server"));
        program.env_clear().env("AEGIS_DATA_DIR", data).env("AEGIS_BIND", format!("127.0.0.1:{port}"));
        program.env("AEGIS_NODES", "http://127.0.0.1:1").env("AEGIS_LOG", "error");
        for limit in ["REQUESTS_PER_SECOND", "BURST"] {
            program.env(format!("AEGIS_RATE_{limit}"), "100000");
        }
        for limit in ["CREDENTIALS_PER_MINUTE", "LOGINS_PER_MINUTE"] {
            program.env(format!("AEGIS_RATE_{limit}"), "10000");
        }
        let child = program.arg("run").stderr(Stdio::null()).spawn().unwrap();
        let server = Self { child, url: format!("http://127.0.0.1:{port}"), client: Client::new() };
        while server.client.get(format!("{}/health", server.url)).send().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let sent = self.client.post(format!("{}/api/v1{path}", self.url)).json(body).send().await.unwrap();
        (sent.status(), sent.json().await.unwrap_or_default())
    }

    async fn login(&self, name: &str, password: &str) -> (StatusCode, Value) {
        self.post("/auth/login", &json!({ "username": name, "password": password })).await
    }

    /// Peak of the resident memory since it was last set back, in MiB.
    fn peak(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    fn set_peak_back(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }
}

/// All measurements of logins.
pub async fn measure() -> Vec<Measured> {
    let dir = tempfile::tempdir().unwrap();
    let server = Arc::new(Server::start(dir.path()).await);
    for n in 0..ACCOUNTS {
        let body = json!({
            "username": format!("person-{n}"),
            "password": PASSWORD,
            "keys": testing::identity(n as u8 + 1),
            "payoutAddress": testing::address(n as u64 + 1),
        });
        assert_eq!(server.post("/auth/register", &body).await.0, StatusCode::CREATED);
    }
    let mut results = storm(&server).await;
    results.extend(refusals(&server).await);
    results
}

/// Latencies of another endpoint, from one request after the other until told to stop, in milliseconds.
async fn others(server: &Server, token: &str, stop: &AtomicBool) -> Vec<f64> {
    let mut taken = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let sent = server.client.get(format!("{}/api/v1/me", server.url)).bearer_auth(token).send().await;
        assert_eq!(sent.unwrap().status(), StatusCode::OK);
        taken.push(begun.elapsed().as_secs_f64() * 1000.0);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    taken
}

async fn storm(server: &Arc<Server>) -> Vec<Measured> {
    let (_, session) = server.login("person-0", PASSWORD).await;
    let token = session["token"].as_str().unwrap().to_owned();
    let quiet = AtomicBool::new(false);
    let rest = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        quiet.store(true, Ordering::Relaxed);
    };
    let (mut calm, ()) = tokio::join!(others(server, &token, &quiet), rest);
    server.set_peak_back();
    let before = server.peak();
    let stop = Arc::new(AtomicBool::new(false));
    let listening = tokio::spawn({
        let (server, stop) = (Arc::clone(server), Arc::clone(&stop));
        async move { others(&server, &token, &stop).await }
    });
    let begun = Instant::now();
    let logins = (0..STORM).map(|n| {
        let server = Arc::clone(server);
        // Not the account of the one who looks on: more logins than there may be would end its session.
        tokio::spawn(
            async move { server.login(&format!("person-{}", 1 + n % (ACCOUNTS - 1)), PASSWORD).await.0 },
        )
    });
    let answers = join_all(logins).await;
    let taken = begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let mut busy = listening.await.unwrap();
    let refused = answers.into_iter().filter(|status| *status.as_ref().unwrap() != StatusCode::OK).count();
    vec![
        Measured::new("login.storm", STORM as f64 / taken, "logins/s", None),
        Measured::new("login.storm.refused", refused as f64, "of 200", None),
        Measured::new("login.storm.memory", server.peak() - before, "MiB more", None),
        Measured::new(
            "login.storm.others.p99",
            percentile(&mut busy, 0.99),
            "ms",
            Some(percentile(&mut calm, 0.99)),
        ),
        Measured::new(
            "login.storm.others.p50",
            percentile(&mut busy, 0.5),
            "ms",
            Some(percentile(&mut calm, 0.5)),
        ),
    ]
}

fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part).round() as usize]
}

/// Two hundred refusals of each sort, in turns, so that whatever else the machine does falls on both.
async fn refusals(server: &Server) -> Vec<Measured> {
    let (mut unknown, mut wrong) = (Vec::new(), Vec::new());
    // What is counted for a name for the first time is inserted; afterwards it is updated. The first round is not measured.
    for n in 0..STORM + ACCOUNTS {
        let known = format!("person-{}", n % ACCOUNTS);
        let nobody = format!("nobody-{}", n % ACCOUNTS);
        for (name, taken) in [(&nobody, &mut unknown), (&known, &mut wrong)] {
            let begun = Instant::now();
            let (status, _) = server.login(name, "a wrong password for all of them").await;
            assert_eq!(status, StatusCode::UNAUTHORIZED);
            if n >= ACCOUNTS {
                taken.push(begun.elapsed().as_secs_f64() * 1000.0);
            }
        }
    }
    let p = same(&mut unknown, &mut wrong);
    vec![
        Measured::new(
            "login.refused.p50",
            percentile(&mut wrong, 0.5),
            "ms",
            Some(percentile(&mut unknown, 0.5)),
        ),
        Measured::new("login.refused.same", p, "p (KS test)", None),
    ]
}

/// The two-sample Kolmogorov–Smirnov test: how probable so large a difference is between two samples of one distribution
/// (asymptotic series, Numerical Recipes §14.3.3).
fn same(one: &mut [f64], other: &mut [f64]) -> f64 {
    one.sort_by(f64::total_cmp);
    other.sort_by(f64::total_cmp);
    let below =
        |sample: &[f64], value: f64| sample.partition_point(|x| *x <= value) as f64 / sample.len() as f64;
    let apart = one.iter().chain(other.iter()).map(|value| (below(one, *value) - below(other, *value)).abs());
    let apart = apart.fold(0.0, f64::max);
    let size = ((one.len() * other.len()) as f64 / (one.len() + other.len()) as f64).sqrt();
    let lambda = (size + 0.12 + 0.11 / size) * apart;
    let term = |k: i32| {
        2.0 * if k % 2 == 1 { 1.0 } else { -1.0 } * (-2.0 * lambda * lambda * f64::from(k * k)).exp()
    };
    if lambda < 0.2 { 1.0 } else { (1..=100).map(term).sum::<f64>().clamp(0.0, 1.0) }
}
