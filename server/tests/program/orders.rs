//! Orders, and a server that is killed in their midst.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aegis_common::time::{Clock, SignedDuration};
use aegis_server::clock::SystemClock;
use aegis_server::crypto::Keyring;
use aegis_server::store::{Store, StoreOptions};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{Running, free_port, login, output, post, program, registration, said};

/// Pieces there are at the beginning.
const STOCK: u64 = 1000;
/// Orders of one buyer in one life of the server, at most.
const ORDERS: usize = 5;

/// The server with limits that don't matter here.
async fn started(data: &Path, port: u16) -> Running {
    let mut program = program(data, port);
    for limit in ["REQUESTS_PER_SECOND", "BURST", "CREDENTIALS_PER_MINUTE", "LOGINS_PER_MINUTE"] {
        program.env(format!("AEGIS_RATE_{limit}"), "10000");
    }
    let running = Running(program.arg("run").stderr(Stdio::null()).spawn().unwrap());
    let begun = Instant::now();
    while reqwest::get(format!("http://127.0.0.1:{port}/health")).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not start");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running
}

/// Whoever orders, and under which keys.
struct Buyer {
    token: String,
    keys: Vec<String>,
}

async fn token(base: &str, name: &str) -> String {
    let session = post(format!("{base}/auth/login"), None, login(name)).await;
    session["token"].as_str().unwrap().to_owned()
}

/// The order's id once it is acknowledged; nothing where the server is gone or asks to try again.
async fn order(base: &str, token: &str, key: &str, listing: &Value) -> Option<String> {
    let body = json!({ "listingId": listing["id"], "quantity": 2, "version": listing["version"] });
    let request = reqwest::Client::new().post(format!("{base}/orders")).bearer_auth(token);
    let sent = request.header("Idempotency-Key", key).json(&body).send().await.ok()?;
    let status = sent.status();
    let answer: Value = sent.json().await.ok()?;
    assert!(status == 201 || status == 503, "{status}: {answer}");
    answer["id"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_survive_kills_whole_or_not_at_all_and_no_piece_is_lost_or_sold_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (data, port) = (dir.path(), free_port());
    let base = format!("http://127.0.0.1:{port}/api/v1");
    let invited = output(program(data, port).args(["user", "invite", "arbiter"]));
    assert!(invited.status.success(), "{}", said(&invited));
    let running = started(data, port).await;
    let mut arbiter = registration("the-arbiter", 1);
    arbiter["invitation"] = json!(String::from_utf8(invited.stdout).unwrap().trim());
    post(format!("{base}/auth/register"), None, arbiter).await;
    let mut buyers = Vec::new();
    for (seed, name) in (2..).zip(["the-seller", "buyer-1", "buyer-2", "buyer-3"]) {
        post(format!("{base}/auth/register"), None, registration(name, seed)).await;
        buyers.push(Buyer { token: token(&base, name).await, keys: Vec::new() });
    }
    let seller = buyers.remove(0);
    let terms = json!({ "defaultOutcome": "refund", "expiryDays": 3 });
    let body = json!({ "title": "A lamp", "price": "1000000000", "stock": STOCK, "terms": terms });
    let request = reqwest::Client::new().post(format!("{base}/listings")).bearer_auth(&seller.token);
    let listed = request.header("Idempotency-Key", "x").json(&body).send().await.unwrap();
    let listing: Value = listed.json().await.unwrap();

    let (mut acknowledged, mut running) = (BTreeSet::new(), Some(running));
    for life in 0..3 {
        let mut server = running.take().unwrap();
        let (count, gone) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (listing, base, count, gone) = (&listing, &base, &count, &gone);
        let many = buyers.len();
        let ordering = buyers.iter_mut().enumerate().map(|(number, buyer)| async move {
            let mut done = Vec::new();
            for n in 0..ORDERS {
                let key = format!("{number}-{life}-{n}");
                buyer.keys.push(key.clone());
                let Some(id) = order(base, &buyer.token, &key, listing).await else { break };
                count.fetch_add(1, Ordering::SeqCst);
                done.push(id);
            }
            gone.fetch_add(1, Ordering::SeqCst);
            done
        });
        // With the number of a life's acknowledged orders the point moves at which the others are cut off.
        let killing = async {
            while count.load(Ordering::SeqCst) < 2 + 3 * life && gone.load(Ordering::SeqCst) < many {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            server.0.kill().unwrap();
            server.0.wait().unwrap();
        };
        let (done, ()) = tokio::join!(join_all(ordering), killing);
        acknowledged.extend(done.into_iter().flatten());
        running = Some(started(data, port).await);
        // Whoever got no answer asks again, and all have exactly one order for each key.
        for (name, buyer) in ["buyer-1", "buyer-2", "buyer-3"].iter().zip(&mut buyers) {
            buyer.token = token(base, name).await;
            for key in &buyer.keys {
                acknowledged.insert(order(base, &buyer.token, key, listing).await.unwrap());
            }
            let mine =
                reqwest::Client::new().get(format!("{base}/orders?limit=100")).bearer_auth(&buyer.token);
            let mine: Value = mine.send().await.unwrap().json().await.unwrap();
            let mine = mine["orders"].as_array().unwrap();
            assert_eq!(mine.len(), buyer.keys.len());
            assert!(mine.iter().all(|order| acknowledged.contains(order["id"].as_str().unwrap())));
        }
    }
    let keys: usize = buyers.iter().map(|buyer| buyer.keys.len()).sum();
    assert_eq!(acknowledged.len(), keys, "one for each key");
    drop(running);

    let keyring = Arc::new(Keyring::load_or_create(&data.join("keys")).unwrap());
    let url = format!("sqlite:{}", data.join("aegis.db").display());
    let store = Store::open(&url.parse().unwrap(), keyring, StoreOptions::default()).unwrap();
    assert_eq!(store.undo_orders(SystemClock.now() + SignedDuration::from_hours(1), 100).await.unwrap(), 0);
    let row = store.listing(listing["id"].as_str().unwrap().parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(row.stock, STOCK - 2 * keys as u64);
    let arbiters = store.arbiters(None, 10).await.unwrap();
    assert_eq!(arbiters[0].open, keys as u64, "one escrow for each order");
}
