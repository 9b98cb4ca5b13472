//! Webhooks and wallets as their owners manage them.

use std::sync::{Arc, Mutex};

use aegis_common::code::Code;
use aegis_common::time::{Clock, SignedDuration};
use aegis_common::wire::account::AccountRole;
use aegis_common::wire::webhook::{
    DeliveryPage, DeliveryStatus, DeliveryView, NewWebhook, WebhookView, Webhooks, bounds,
};
use aegis_server::integrations::signature;
use aegis_server::ws::Timing;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::support::{Person, TestServer, problem, server, server_with};

const ALLOWED: [(&str, &str); 1] = [("AEGIS_OUTSIDE_ALLOW", "127.0.0.1/32")];

/// Requests that came, each with head and body.
type Seen = Arc<Mutex<Vec<(String, String)>>>;

/// A receiver that takes everything.
async fn receiver() -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, seen) = (format!("http://{}/hook", listener.local_addr().unwrap()), Seen::default());
    let told = Arc::clone(&seen);
    actix_web::rt::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut bytes, mut whole) = (Vec::new(), false);
            while !whole && stream.read_buf(&mut bytes).await.unwrap_or(0) > 0 {
                let text = String::from_utf8_lossy(&bytes);
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.to_lowercase();
                let length =
                    length.split("content-length: ").nth(1).unwrap().lines().next().unwrap().to_owned();
                whole = body.len() >= length.parse::<usize>().unwrap();
                if whole {
                    told.lock().unwrap().push((head.to_owned(), body.to_owned()));
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nthank you").await;
        }
    });
    (url, seen)
}

impl TestServer {
    async fn send(&self, method: Method, path: &str, who: &Person, body: Value) -> Response {
        self.request(method, path).bearer_auth(&who.token).json(&body).send().await.unwrap()
    }

    async fn make(&self, who: &Person, body: Value) -> NewWebhook {
        let sent = self.send(Method::POST, "/api/v1/webhooks", who, body).await;
        assert_eq!(sent.status(), StatusCode::CREATED, "{}", sent.text().await.unwrap());
        sent.json().await.unwrap()
    }

    async fn log(&self, who: &Person, hook: &NewWebhook, query: &str) -> DeliveryPage {
        let path = format!("/api/v1/webhooks/{}/deliveries{query}", hook.webhook.id);
        self.get(&path, who).send().await.unwrap().json().await.unwrap()
    }

    /// Waits until all that waits is delivered.
    async fn delivered(&self, who: &Person, hook: &NewWebhook, count: usize) -> DeliveryPage {
        for _ in 0..6000 {
            let log = self.log(who, hook, "").await;
            let done = log.deliveries.iter().all(|row| row.status == DeliveryStatus::Delivered);
            if done && log.deliveries.len() >= count {
                return log;
            }
            actix_web::rt::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("not delivered");
    }
}

#[actix_web::test]
async fn what_happens_to_an_escrow_reaches_its_parties_webhooks_signed_and_is_in_the_log() {
    let server = server_with(&ALLOWED, Timing::default()).await;
    let people = server.people().await;
    let (url, seen) = receiver().await;
    let hook = server.make(&people[0], json!({ "url": url, "kinds": ["EscrowInit"] })).await;
    assert_eq!(hook.secret.len(), 64);
    let escrow = server.escrow(&people[0], &people[1], "one").await;
    let log = server.delivered(&people[0], &hook, 1).await;
    let (head, body) = seen.lock().unwrap()[0].clone();
    let call: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&call["type"], &call["event"]["escrowId"]), (&json!("EscrowInit"), &json!(escrow.id)));
    let expected = signature(hook.secret.as_bytes(), server.clock.now(), body.as_bytes());
    assert!(head.contains(&expected), "{head}");
    let one = &log.deliveries[0];
    assert_eq!(call["deliveryId"], json!(one.id));
    let attempt = one.last_attempt.clone().unwrap();
    assert_eq!((attempt.http_status, attempt.excerpt.as_deref()), (Some(200), Some("thank you")));

    // Again, and a ping; the log comes in pages.
    let path = format!("/api/v1/webhooks/{}/deliveries/{}", hook.webhook.id, one.id);
    let again = server.send(Method::POST, &format!("{path}/redeliver"), &people[0], json!({})).await;
    assert_eq!(again.status(), StatusCode::ACCEPTED);
    let again: DeliveryView = again.json().await.unwrap();
    assert_eq!(again.original_delivery_id, Some(one.id));
    let ping = format!("/api/v1/webhooks/{}/ping", hook.webhook.id);
    assert_eq!(server.send(Method::POST, &ping, &people[0], json!({})).await.status(), StatusCode::ACCEPTED);
    let log = server.delivered(&people[0], &hook, 3).await;
    let page = server.log(&people[0], &hook, "?limit=2").await;
    assert_eq!(page.deliveries, log.deliveries[..2]);
    let rest = server.log(&people[0], &hook, &format!("?limit=2&before={}", page.next.unwrap())).await;
    assert_eq!((rest.deliveries.as_slice(), rest.next), (&log.deliveries[2..], None));
    let shown: DeliveryView = server.get(&path, &people[0]).send().await.unwrap().json().await.unwrap();
    assert_eq!(shown, log.deliveries[2]);

    // Others see and move nothing of it.
    for (method, path) in [
        (Method::GET, format!("/api/v1/webhooks/{}", hook.webhook.id)),
        (Method::PATCH, format!("/api/v1/webhooks/{}", hook.webhook.id)),
        (Method::DELETE, format!("/api/v1/webhooks/{}", hook.webhook.id)),
        (Method::POST, ping.clone()),
        (Method::GET, format!("/api/v1/webhooks/{}/deliveries", hook.webhook.id)),
        (Method::GET, path.clone()),
        (Method::POST, format!("{path}/redeliver")),
    ] {
        problem(server.send(method, &path, &people[1], json!({})).await, Code::NotFound).await;
    }
    assert_eq!(server.log(&people[0], &hook, "").await.deliveries, log.deliveries);
}

#[actix_web::test]
async fn a_webhook_is_changed_by_its_owner_and_each_change_is_in_the_audit() {
    let server = server_with(&ALLOWED, Timing::default()).await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    let (url, _) = receiver().await;
    let made = server
        .make(
            &ann,
            json!({ "url": url, "secret": "a-secret-of-one's-own", "description": "shop", "enabled": false }),
        )
        .await;
    assert_eq!(made.secret, "a-secret-of-one's-own");
    let path = format!("/api/v1/webhooks/{}", made.webhook.id);
    let change = async |body| -> WebhookView {
        server.send(Method::PATCH, &path, &ann, body).await.json().await.unwrap()
    };
    assert_eq!(change(json!({})).await, made.webhook);
    let changed = change(json!({ "kinds": ["PayoutSeen"], "description": "", "enabled": true })).await;
    assert_eq!((changed.kinds.as_deref(), changed.enabled), (Some(&["PayoutSeen".to_owned()][..]), true));
    assert_eq!(change(json!({ "allKinds": true })).await.kinds, None);
    let all: Webhooks = server.get("/api/v1/webhooks", &ann).send().await.unwrap().json().await.unwrap();
    assert_eq!(all.webhooks.len(), 1);
    assert!(!serde_json::to_string(&all).unwrap().contains("of-one's-own"), "the secret is shown once");
    assert_eq!(server.send(Method::DELETE, &path, &ann, json!({})).await.status(), StatusCode::NO_CONTENT);
    problem(server.get(&path, &ann).send().await.unwrap(), Code::NotFound).await;
    let audit: Value = server.get("/api/v1/me/audit", &ann).send().await.unwrap().json().await.unwrap();
    let kinds: Vec<&str> =
        audit["entries"].as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert_eq!(
        kinds[..5],
        ["webhookDeleted", "webhookChanged", "webhookChanged", "webhookChanged", "webhookMade"]
    );
    assert!(!audit.to_string().contains("of-one's-own") && !audit.to_string().contains(&url));
}

#[actix_web::test]
async fn webhooks_that_are_not_in_order_are_refused_by_field_and_number() {
    let server = server().await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    let good = "https://a.example/hook";
    let refused = async |body: Value, code| {
        problem(server.send(Method::POST, "/api/v1/webhooks", &ann, body).await, code).await.detail
    };
    for url in [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://[::1]/",
        "http://[::ffff:7f00:1]/",
        "http://localhost/",
        "http://10.0.0.1/",
        "http://user:pass@a.example/",
        "ftp://a.example/",
        "a.example",
        "http://a.example:22/",
        "http://a.example./",
    ] {
        assert!(refused(json!({ "url": url }), Code::UrlNotAllowed).await.starts_with("url: "), "{url}");
    }
    refused(json!({ "url": format!("http://a.example/{}", "x".repeat(500)) }), Code::UrlNotAllowed).await;
    refused(json!({ "url": "http://abc.onion/" }), Code::TorOff).await;
    let many: Vec<String> = (0..=bounds::KINDS).map(|n| format!("Kind{n}")).collect();
    for (field, value) in [
        ("kinds", json!([])),
        ("kinds", json!([""])),
        ("kinds", json!(["a b"])),
        ("kinds", json!(["x".repeat(65)])),
        ("kinds", json!(many)),
        ("secret", json!("short")),
        ("secret", json!("with spaces in it, all of it")),
        ("secret", json!("x".repeat(257))),
        ("description", json!("x".repeat(201))),
        ("description", json!("a\nb")),
    ] {
        let mut body = json!({ "url": good });
        body[field] = value;
        assert!(refused(body.clone(), Code::Invalid).await.starts_with(field), "{body}");
    }
    refused(json!({ "url": good, "colour": "red" }), Code::Invalid).await;
    let made = server.make(&ann, json!({ "url": good })).await;
    let path = format!("/api/v1/webhooks/{}", made.webhook.id);
    let change = async |body, code| problem(server.send(Method::PATCH, &path, &ann, body).await, code).await;
    change(json!({ "url": "http://127.0.0.1/" }), Code::UrlNotAllowed).await;
    change(json!({ "kinds": ["A"], "allKinds": true }), Code::Invalid).await;
    for _ in 1..bounds::WEBHOOKS {
        server.make(&ann, json!({ "url": good })).await;
    }
    refused(json!({ "url": good }), Code::LimitReached).await;
    let off = json!({ "enabled": false });
    assert_eq!(server.send(Method::PATCH, &path, &ann, off).await.status(), StatusCode::OK);
    for _ in 0..bounds::BY_HAND {
        let sent = server.send(Method::POST, &format!("{path}/ping"), &ann, json!({})).await;
        assert_eq!(sent.status(), StatusCode::ACCEPTED);
    }
    problem(server.send(Method::POST, &format!("{path}/ping"), &ann, json!({})).await, Code::LimitReached)
        .await;
    let unknown = format!("{path}/deliveries/{}/redeliver", Uuid::now_v7());
    problem(server.send(Method::POST, &unknown, &ann, json!({})).await, Code::NotFound).await;
    // A stolen token that is not fresh redirects nothing.
    server.clock.advance(SignedDuration::from_secs(301));
    let stale = json!({ "url": "https://evil.example/" });
    problem(server.send(Method::PATCH, &path, &ann, stale.clone()).await, Code::StepUpRequired).await;
    problem(server.send(Method::POST, "/api/v1/webhooks", &ann, stale).await, Code::StepUpRequired).await;
    problem(server.send(Method::DELETE, &path, &ann, json!({})).await, Code::StepUpRequired).await;
}

#[actix_web::test]
async fn a_wallet_is_connected_read_by_a_list_of_calls_and_forgotten() {
    let server = server_with(&ALLOWED, Timing::default()).await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    let eve = server.person("eve", 2, AccountRole::User).await;
    let (url, seen) = receiver().await;
    let url = url.replace("/hook", "");
    let (at, rpc) = ("/api/v1/me/wallet", "/api/v1/me/wallet/rpc");
    let call = json!({ "method": "get_height" });
    problem(server.get(at, &ann).send().await.unwrap(), Code::WalletMissing).await;
    problem(server.post(rpc, &ann, &call).send().await.unwrap(), Code::WalletMissing).await;
    let connection = json!({ "url": url, "username": "me", "password": "a secret" });
    let sent = server.send(Method::PUT, at, &ann, connection).await;
    assert_eq!(sent.status(), StatusCode::OK);
    assert!(!sent.text().await.unwrap().contains("a secret"));
    let shown = server.get(at, &ann).send().await.unwrap().text().await.unwrap();
    assert!(shown.contains(&url) && !shown.contains("a secret"), "{shown}");
    problem(server.get(at, &eve).send().await.unwrap(), Code::WalletMissing).await;
    for bad in ["query_key", "transfer", "sweep_all", "stop_wallet", "get_height\u{0}"] {
        problem(server.post(rpc, &ann, &json!({ "method": bad })).send().await.unwrap(), Code::WalletCall)
            .await;
    }
    let bad = json!({ "method": "get_balance", "params": { "account_index": -1 } });
    problem(server.post(rpc, &ann, &bad).send().await.unwrap(), Code::WalletCall).await;
    assert!(seen.lock().unwrap().is_empty(), "nothing of it was sent");
    // It says "thank you", which is no JSON-RPC.
    problem(server.post(rpc, &ann, &call).send().await.unwrap(), Code::WalletAnswer).await;
    assert_eq!(seen.lock().unwrap().len(), 1);
    for (url, code) in [
        ("http://10.0.0.1:18083", Code::UrlNotAllowed),
        ("http://abc.onion:18083", Code::TorOff),
        ("http://127.0.0.1:18083/json_rpc", Code::Invalid),
    ] {
        problem(server.send(Method::PUT, at, &ann, json!({ "url": url })).await, code).await;
    }
    // Who wants Tor is not served beside it.
    let settings = json!({ "settings": { "useTor": true } });
    assert_eq!(server.send(Method::PATCH, "/api/v1/me", &ann, settings).await.status(), StatusCode::OK);
    problem(server.post(rpc, &ann, &call).send().await.unwrap(), Code::TorOff).await;
    assert_eq!(seen.lock().unwrap().len(), 1);
    assert_eq!(server.send(Method::DELETE, at, &ann, json!({})).await.status(), StatusCode::NO_CONTENT);
    problem(server.send(Method::DELETE, at, &ann, json!({})).await, Code::WalletMissing).await;
    let audit = server.get("/api/v1/me/audit", &ann).send().await.unwrap().text().await.unwrap();
    assert!(audit.contains("walletConnected") && audit.contains("walletDisconnected"), "{audit}");
    assert!(!audit.contains("a secret") && !audit.contains(&url));
    server.clock.advance(SignedDuration::from_secs(301));
    problem(server.send(Method::PUT, at, &ann, json!({ "url": url })).await, Code::StepUpRequired).await;
}
