//! The program as a person runs it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aegis_common::address::Network;
use aegis_common::hash::Hash32;
use aegis_common::testing;
use aegis_common::time::Clock;
use aegis_server::clock::SystemClock;
use aegis_server::crypto::Keyring;
use aegis_server::store::{Role, Store, StoreOptions, Tip};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use totp_rs::{Builder, Secret};

#[path = "program/orders.rs"]
mod orders;
#[path = "support/rows.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod rows;

fn program(data: &Path, port: u16) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_aegis-server"));
    program.env_clear().env("AEGIS_DATA_DIR", data).env("AEGIS_BIND", format!("127.0.0.1:{port}"));
    program.env("AEGIS_NODES", "http://127.0.0.1:1");
    program
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// Killed when the test ends early.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn started(data: &Path, port: u16) -> Running {
    let child = program(data, port).arg("run").stderr(Stdio::null()).spawn().unwrap();
    let running = Running(child);
    let begun = Instant::now();
    while reqwest::get(format!("http://127.0.0.1:{port}/health")).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not start");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running
}

async fn stopped(mut running: Running, signal: &str) -> Duration {
    let begun = Instant::now();
    let sent = Command::new("kill").args([signal, &running.0.id().to_string()]).status().unwrap();
    assert!(sent.success());
    loop {
        if let Some(status) = running.0.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return begun.elapsed();
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "it does not stop");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn post(url: String, token: Option<&str>, body: Value) -> Value {
    let request = reqwest::Client::new().post(url).json(&body);
    let request = token.iter().fold(request, |request, token| request.bearer_auth(token));
    let sent = request.send().await.unwrap();
    assert!(sent.status().is_success(), "{}", sent.status());
    sent.json().await.unwrap()
}

const PASSWORD: &str = "wombat kettle orbit plum";

fn registration(name: &str, seed: u8) -> Value {
    json!({
        "username": name,
        "password": PASSWORD,
        "keys": testing::identity(seed),
        "payoutAddress": testing::address(seed.into()),
    })
}

fn login(name: &str) -> Value {
    json!({ "username": name, "password": PASSWORD })
}

/// What an authenticator shows, some steps from now.
fn code(base32: &str, steps: i64) -> String {
    let totp = Builder::new().with_secret(Secret::try_from_base32(base32).unwrap());
    let totp = totp.with_account_name("x").build().unwrap();
    let now = SystemClock.now().as_second() + 30 * steps;
    totp.generate(u64::try_from(now).unwrap()).to_string()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// An account with an authenticator; its secret, base 32. The code of the present step is used up.
async fn with_authenticator(base: &str, name: &str, seed: u8) -> String {
    post(format!("{base}/auth/register"), None, registration(name, seed)).await;
    let session = post(format!("{base}/auth/login"), None, login(name)).await;
    let token = session["token"].as_str().unwrap();
    let made = post(format!("{base}/me/totp"), Some(token), json!({})).await;
    let secret = made["secret"].as_str().unwrap().to_owned();
    let confirm = json!({ "code": code(&secret, 0) });
    post(format!("{base}/me/totp/confirm"), Some(token), confirm).await;
    secret
}

/// Logs in with the code of the step after the present one, which no test has used yet.
async fn gets_in(base: &str, name: &str, secret: &str) {
    let needed = post(format!("{base}/auth/login"), None, login(name)).await;
    assert_eq!(needed["status"], "secondFactor");
    let factor = json!({ "token": needed["token"], "factor": { "totp": code(secret, 1) } });
    let session = post(format!("{base}/auth/second-factor"), None, factor).await;
    assert!(session["token"].is_string());
}

#[tokio::test]
async fn sealing_keys_are_rotated_beside_a_running_server_and_a_lost_key_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (data, port) = (dir.path(), free_port());
    let base = format!("http://127.0.0.1:{port}/api/v1");
    let running = started(data, port).await;
    let ann = with_authenticator(&base, "ann", 1).await;
    let key_file = data.join("keys");
    let first = std::fs::read_to_string(&key_file).unwrap();
    let rotated = output(program(data, port).args(["keys", "rotate"]));
    assert!(rotated.status.success(), "{}", said(&rotated));
    // The login key and one authenticator, then nothing more.
    assert!(said(&rotated).contains("2 values sealed under"), "{}", said(&rotated));
    assert!(said(&rotated).contains("0 values sealed under"), "{}", said(&rotated));
    // The server opens what lies under the new key, and seals with it.
    gets_in(&base, "ann", &ann).await;
    let bob = with_authenticator(&base, "bob", 2).await;
    let pruned = output(program(data, port).args(["keys", "prune"]));
    assert_eq!(String::from_utf8(pruned.stdout.clone()).unwrap(), "1 keys removed\n", "{}", said(&pruned));
    let second = std::fs::read_to_string(&key_file).unwrap();
    assert!(first.len() == second.len() && first != second);
    let listed = output(program(data, port).args(["keys", "list"]));
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.lines().count() == 1 && listed.contains("current"), "{listed}");
    stopped(running, "-TERM").await;

    // The old key alone is a lost key: a clear refusal, and the database is as it was.
    std::fs::write(&key_file, &first).unwrap();
    let refused = output(program(data, port).arg("run"));
    assert!(!refused.status.success());
    assert!(said(&refused).contains("which is not in the keyring"), "{}", said(&refused));
    // From the environment it is the same key.
    let mut by_environment = program(data, port);
    by_environment.env("AEGIS_KEYS", second.trim()).args(["keys", "rotate"]);
    assert!(
        said(&output(&mut by_environment)).contains("AEGIS_KEYS"),
        "{}",
        said(&output(&mut by_environment))
    );
    std::fs::write(&key_file, &second).unwrap();
    let running = started(data, port).await;
    gets_in(&base, "bob", &bob).await;
    stopped(running, "-TERM").await;
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = output(program(data, port).arg("run"));
    assert!(said(&refused).contains("chmod 600"), "{}", said(&refused));
}

#[tokio::test]
async fn the_first_administrator_is_invited_and_lost_factors_are_taken_away_on_the_servers_machine() {
    let dir = tempfile::tempdir().unwrap();
    let (data, port) = (dir.path(), free_port());
    let base = format!("http://127.0.0.1:{port}/api/v1");
    let made = output(program(data, port).args(["user", "invite", "admin"]));
    assert!(made.status.success(), "{}", said(&made));
    let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let running = started(data, port).await;
    let mut body = registration("ann", 1);
    body["invitation"] = json!(token);
    let account = post(format!("{base}/auth/register"), None, body).await;
    assert_eq!(account["role"], "admin");
    with_authenticator(&base, "bob", 2).await;
    assert!(
        !output(program(data, port).args(["user", "reset-factors", "bob"])).status.success(),
        "no reason"
    );
    let reset = ["user", "reset-factors", "bob", "--reason", "seen in person with a passport"];
    assert!(output(program(data, port).args(reset)).status.success());
    let session = post(format!("{base}/auth/login"), None, login("bob")).await;
    assert_eq!(session["status"], "loggedIn");
    let me = format!("{base}/me");
    let get = || reqwest::Client::new().get(&me).bearer_auth(session["token"].as_str().unwrap()).send();
    assert!(get().await.unwrap().status().is_success());
    // At once, though another program did it.
    assert!(output(program(data, port).args(["user", "disable", "bob"])).status.success());
    assert_eq!(get().await.unwrap().status(), 401);
    assert!(output(program(data, port).args(["user", "enable", "bob"])).status.success());
    let ended = output(program(data, port).args(["user", "end-sessions"]));
    assert_eq!(String::from_utf8(ended.stdout).unwrap(), "0 sessions ended\n");
    stopped(running, "-TERM").await;
}

#[tokio::test]
async fn it_serves_gives_roles_and_stops_gently_with_a_socket_open() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("new/data");
    let port = free_port();
    let base = format!("http://127.0.0.1:{port}/api/v1");
    let running = started(&data, port).await;
    for (file, mode) in [("", 0o700), ("keys", 0o600), ("aegis.db", 0o600)] {
        let found = std::fs::metadata(data.join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{file}");
    }
    let name = "first-person";
    post(format!("{base}/auth/register"), None, registration(name, 1)).await;
    // Beside the running server.
    let status = output(program(&data, port).arg("status"));
    let said = String::from_utf8(status.stdout).unwrap();
    assert!(said.contains("database  answers\nchain     not followed yet\nnode 1    "), "{said}");
    assert!(said.contains("look at   no arbiter can be assigned"), "{said}");
    assert!(!status.status.success(), "somebody has to look");
    // Where nobody serves the database still tells something; where there is none nothing is made.
    let alone = output(program(&data, free_port()).args(["status", "--json"]));
    let told: Value = serde_json::from_slice(&alone.stdout).unwrap();
    assert_eq!((&told["health"], &told["needsOperator"]), (&Value::Null, &json!(true)));
    assert_eq!((&told["attention"][0], &told["escrows"]), (&json!("server"), &json!([])));
    assert!(!alone.status.success());
    let nowhere = dir.path().join("nowhere");
    assert!(!output(program(&nowhere, port).arg("status")).status.success() && !nowhere.exists());
    let made = output(program(&data, port).args(["user", "role", name, "admin"]));
    assert!(made.status.success(), "{made:?}");
    assert_eq!(String::from_utf8(made.stdout).unwrap(), "first-person is admin\n");
    let unknown = output(program(&data, port).args(["user", "role", "nobody", "admin"]));
    assert!(!unknown.status.success());
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("no such account"));
    assert!(!output(program(&data, port).args(["user", "role", name, "king"])).status.success());

    let login = post(format!("{base}/auth/login"), None, login(name)).await;
    assert_eq!(login["user"]["role"], "admin");
    let token = login["token"].as_str().unwrap();
    let ticket = post(format!("{base}/ws/ticket"), Some(token), json!({})).await;
    let url = format!("ws://127.0.0.1:{port}/api/v1/ws?ticket={}", ticket["ticket"].as_str().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let listening = tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(Some(frame)) = message {
                return Some(u16::from(frame.code));
            }
        }
        None
    });
    assert!(stopped(running, "-TERM").await < Duration::from_secs(10), "sockets hold it up");
    assert_eq!(listening.await.unwrap(), Some(1012));

    // What the server holds can be printed while nobody serves, and beside a server.
    let dumped = output(program(&data, port).arg("dump"));
    assert!(dumped.status.success(), "{dumped:?}");
    let dumped = String::from_utf8(dumped.stdout).unwrap();
    let lines: Vec<Value> = dumped.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["table"], &lines[0]["row"]["username"]), (&json!("users"), &json!(name)));
    assert!(!dumped.contains(PASSWORD));

    // Everything is there again, and the token still works.
    let again = started(&data, port).await;
    let me = reqwest::Client::new().get(format!("{base}/me")).bearer_auth(token).send().await.unwrap();
    assert!(me.status().is_success());
    stopped(again, "-INT").await;
}

#[test]
fn a_wrong_setting_stops_the_start_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = output(program(dir.path(), 1).env("AEGIS_FINALITY_DEPTH", "5"));
    assert!(!wrong.status.success());
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(said.contains("AEGIS_FINALITY_DEPTH: must be a whole number from 10 to 100"), "{said}");
}

#[tokio::test]
async fn a_database_of_one_network_does_not_serve_another() {
    let dir = tempfile::tempdir().unwrap();
    stopped(started(dir.path(), free_port()).await, "-TERM").await;
    let url = format!("sqlite:{}", dir.path().join("aegis.db").display());
    let keyring = Arc::new(Keyring::load_or_create(&dir.path().join("keys")).unwrap());
    let store = Store::open(&url.parse().unwrap(), keyring, StoreOptions::default()).unwrap();
    let block = Tip { height: 1, hash: Hash32([7; 32]) };
    store.advance_chain(Network::Regtest, vec![block]).await.unwrap();
    drop(store);
    let refused = output(program(dir.path(), free_port()).env("AEGIS_NETWORK", "stagenet"));
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("AEGIS_NETWORK is stagenet, and this database is of regtest"), "{said}");
}

#[actix::test]
async fn the_escrows_tell_a_databases_network_where_two_were_followed() {
    let dir = tempfile::tempdir().unwrap();
    stopped(started(dir.path(), free_port()).await, "-TERM").await;
    let url = format!("sqlite:{}", dir.path().join("aegis.db").display());
    let keyring = Arc::new(Keyring::load_or_create(&dir.path().join("keys")).unwrap());
    let store = Store::open(&url.parse().unwrap(), keyring, StoreOptions::default()).unwrap();
    let block = Tip { height: 1, hash: Hash32([7; 32]) };
    for followed in [Network::Stagenet, Network::Regtest] {
        store.advance_chain(followed, vec![block]).await.unwrap();
    }
    let people = ["alice", "bob", "carol"].map(|name| rows::user(name, Role::User));
    for person in &people {
        store.insert_user(person.clone()).await.unwrap();
    }
    let mut commit = rows::opening(people.map(|person| person.id));
    let sim = aegis_common::testing::Sim::new(aegis_common::testing::contract());
    assert_eq!(sim.escrow.contract.network, Network::Regtest);
    commit.escrow.snapshot = serde_json::to_string(&sim.escrow).unwrap();
    store.commit(commit).await.unwrap();
    drop(store);
    let refused = output(program(dir.path(), free_port()).env("AEGIS_NETWORK", "stagenet"));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("AEGIS_NETWORK is stagenet, and this database is of regtest"), "{said}");
    stopped(started(dir.path(), free_port()).await, "-TERM").await;
}

#[test]
fn it_prints_its_api_and_its_settings() {
    let dir = tempfile::tempdir().unwrap();
    let api: Value = serde_json::from_slice(&output(program(dir.path(), 1).arg("openapi")).stdout).unwrap();
    assert!(api["paths"]["/api/v1/escrows"].is_object());
    let settings = output(program(dir.path(), 1).arg("settings")).stdout;
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../.env.example");
    assert!(settings == std::fs::read(sample).unwrap());
}
