use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use aegis_common::address::Network;
use aegis_common::role::Role;
use aegis_server::config::{Log, LogFormat};
use aegis_server::telemetry;
use reqwest::Method;
use serde_json::json;

use crate::support::{PASSWORD, acceptance, payout_address, said, server};

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

#[actix_web::test]
async fn no_password_token_ticket_key_or_address_is_ever_logged() {
    let lines = Lines::default();
    let out = lines.clone();
    let log = Log { filter: "trace".to_owned(), format: LogFormat::Json };
    let subscriber = telemetry::subscriber(&log, move || out.clone()).unwrap();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let server = server().await;
    let [buyer, seller, _] = server.people().await;
    let escrow = server.escrow(&buyer, &seller, "the-idempotency-key").await;
    let path = format!("/api/v1/escrows/{}", escrow.id);
    let mut statement = said(&acceptance(&escrow, Role::Buyer, &buyer));
    statement["viewKey"] = json!("5e".repeat(32));
    server.post(&format!("{path}/statements"), &buyer, &statement).send().await.unwrap();
    let wrong = json!({ "username": buyer.name, "password": "a wrong password, nearly right" });
    server.request(Method::POST, "/api/v1/auth/login").json(&wrong).send().await.unwrap();
    let ticket = server.post("/api/v1/ws/ticket", &buyer, &json!({})).send().await.unwrap();
    let ticket = ticket.json::<serde_json::Value>().await.unwrap()["ticket"].as_str().unwrap().to_owned();
    server.request(Method::GET, &format!("/api/v1/ws?ticket={ticket}")).send().await.unwrap();
    server.request(Method::GET, "/nothing?secret=hidden-in-a-query").send().await.unwrap();
    let hook = json!({ "url": "http://hooks.invalid:8080/in-its-path", "secret": "whsec-never-in-a-log" });
    assert_eq!(server.post("/api/v1/webhooks", &seller, &hook).send().await.unwrap().status(), 201);
    let wallet =
        json!({ "url": "http://wallet.invalid:8080", "username": "me", "password": "of-the-wallet" });
    let put = server.request(Method::PUT, "/api/v1/me/wallet").bearer_auth(&seller.token).json(&wallet);
    assert_eq!(put.send().await.unwrap().status(), 200);
    let read = json!({ "method": "get_height" });
    let read = server.post("/api/v1/me/wallet/rpc", &seller, &read).send().await.unwrap();
    assert_eq!(read.status(), 502, "{}", read.text().await.unwrap());
    // An event for the webhook: its first call fails as well.
    server.escrow(&buyer, &seller, "the-idempotency-key-of-another").await;
    let called =
        || String::from_utf8(lines.0.lock().unwrap().clone()).unwrap().contains("a webhook was called");
    while !called() {
        actix::clock::sleep(std::time::Duration::from_millis(50)).await;
    }
    // The nodes are looked for meanwhile.
    actix::clock::sleep(std::time::Duration::from_millis(1500)).await;

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("/api/v1/auth/login") && text.contains("request_id"), "{text}");
    for (what, secret) in [
        ("password", PASSWORD),
        ("wrong password", "nearly right"),
        ("token", &buyer.token),
        ("token body", buyer.token.split('.').nth(1).unwrap()),
        ("ticket", &ticket),
        ("view key", &"5e".repeat(32)),
        ("hash", "argon2"),
        ("address", &payout_address(Network::Regtest, 1).to_string()),
        ("query", "hidden-in-a-query"),
        ("signing key", &buyer.view.signing_key.to_string()),
        ("username", &buyer.name),
        ("idempotency key", "the-idempotency-key"),
        ("webhook's host", "hooks.invalid"),
        ("webhook's path", "in-its-path"),
        ("webhook's secret", "whsec-never-in-a-log"),
        ("wallet's host", "wallet.invalid"),
        ("wallet's password", "of-the-wallet"),
    ] {
        assert!(!text.contains(secret), "{what} in the log: {text}");
    } // Here the server and the node are at the clients' address, so only lines about requests are looked at.
    let requests: Vec<&str> = text.lines().filter(|line| line.contains("request_id")).collect();
    assert!(requests.len() >= 10);
    assert!(requests.iter().all(|line| !line.contains("127.0.0.1")), "{text}");
}
