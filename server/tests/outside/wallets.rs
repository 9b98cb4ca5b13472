//! A person's own wallet: a real monero-wallet-rpc, and wallets that lie.

use std::sync::Arc;

use aegis_common::time::SignedDuration;
use aegis_common::wire::wallet::{WalletCallRequest, WalletRequest};
use aegis_server::integrations::{IntegrationError, Integrations};
use aegis_server::outside::{OutsideError, System};
use serde_json::{Value, json};

use crate::monero::{Daemon, LOGIN};
use crate::support::{Mode, Receiver, World, door, door_with, until};

fn connection(url: &str, password: &str) -> WalletRequest {
    WalletRequest { url: url.to_owned(), username: LOGIN.0.to_owned(), password: password.to_owned() }
}

async fn call(
    world: &World,
    integrations: &Integrations,
    method: &str,
    params: Value,
) -> Result<Value, IntegrationError> {
    let request = WalletCallRequest { method: method.to_owned(), params };
    // Calls have a budget.
    world.clock.advance(SignedDuration::from_secs(2));
    integrations.call_wallet(world.user, request).await.map(|answer| answer.result)
}

#[tokio::test]
async fn a_real_wallet_is_read_with_its_login_and_nothing_of_it_is_changed() {
    let node = Daemon::monerod(false).await;
    let wallet = Daemon::wallet(&node).await;
    let (world, address) = (World::new().await, wallet.address().await);
    node.mine(70, &address).await;
    wallet.rpc("refresh", json!({})).await;
    let integrations = world.integrations(door());
    assert!(matches!(
        call(&world, &integrations, "get_height", json!({})).await,
        Err(IntegrationError::NoWallet)
    ));
    integrations.connect_wallet(&world.actor, connection(&wallet.url(), LOGIN.1)).await.unwrap();
    let ask = async |method, params| call(&world, &integrations, method, params).await.unwrap();
    assert!(ask("get_version", Value::Null).await["version"].as_u64().unwrap() > 65_000);
    assert_eq!(ask("get_height", json!({})).await["height"], 71);
    assert_eq!(ask("get_address", json!({ "account_index": 0 })).await["address"], address);
    let balance = ask("get_balance", json!({ "account_index": 0, "address_indices": [0] })).await;
    assert!(balance["balance"].as_u64().unwrap() > balance["unlocked_balance"].as_u64().unwrap());
    assert_eq!(ask("get_accounts", json!({})).await["total_balance"], balance["balance"]);
    let mined = ask("get_transfers", json!({ "in": true, "pool": true, "min_height": 5 })).await;
    let one = &mined["in"][0];
    let txid = json!({ "txid": one["txid"] });
    assert_eq!(ask("get_transfer_by_txid", txid).await["transfer"]["amount"], one["amount"]);
    // Many at once: a nonce is good on one connection only.
    let many = (0..8).map(|_| {
        let request = WalletCallRequest { method: "get_height".to_owned(), params: json!({}) };
        integrations.call_wallet(world.user, request)
    });
    world.clock.advance(SignedDuration::from_secs(60));
    for answer in futures_util::future::join_all(many).await {
        assert_eq!(answer.unwrap().result["height"], 71);
    }

    let unknown = json!({ "txid": "ab".repeat(32) });
    let refused = call(&world, &integrations, "get_transfer_by_txid", unknown).await;
    assert!(matches!(&refused, Err(IntegrationError::WalletRefused(why)) if !why.is_empty()), "{refused:?}");
    for method in ["create_address", "query_key", "store", "transfer", "stop_wallet"] {
        let refused = call(&world, &integrations, method, json!({})).await;
        assert!(matches!(refused, Err(IntegrationError::Call(_))), "{method}: {refused:?}");
    }
    integrations.connect_wallet(&world.actor, connection(&wallet.url(), "another")).await.unwrap();
    let refused = call(&world, &integrations, "get_height", json!({})).await;
    assert!(matches!(refused, Err(IntegrationError::WalletLogin)), "{refused:?}");
    // As the wallet says itself: still one address.
    let addresses = wallet.rpc("get_address", json!({ "account_index": 0 })).await;
    assert_eq!(addresses["addresses"].as_array().unwrap().len(), 1);
    // What is stored opens for this person only, and says nothing unsealed.
    let shown = integrations.wallet(world.user).await.unwrap();
    assert_eq!((shown.url, shown.username), (wallet.url(), LOGIN.0.to_owned()));
    integrations.disconnect_wallet(&world.actor).await.unwrap();
    assert!(matches!(integrations.wallet(world.user).await, Err(IntegrationError::NoWallet)));
}

#[tokio::test]
async fn a_wallet_that_lies_is_cut_off_and_told_apart() {
    let world = World::new().await;
    let trap = Receiver::on("127.0.0.2:0", Mode::status(200)).await;
    let wallet = Receiver::start(Mode::status(200)).await;
    let integrations = world.integrations(door());
    let url = format!("http://{}", wallet.address);
    integrations.connect_wallet(&world.actor, connection(&url, LOGIN.1)).await.unwrap();
    let ask = async |mode| {
        wallet.set(mode);
        call(&world, &integrations, "get_height", json!({})).await
    };
    let chunked = "HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n";
    let long = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    let said = ask(Mode::Endless(chunked.to_owned(), long.clone())).await;
    assert!(matches!(said, Err(IntegrationError::Wallet(OutsideError::TooLong(1_048_576)))), "{said:?}");
    let challenge = "HTTP/1.1 401 x\r\nwww-authenticate: Digest qop=\"auth\",algorithm=MD5,realm=\"r\",nonce=\"n\"\r\n\
                     connection: close\r\n";
    let said = ask(Mode::Endless(format!("{challenge}transfer-encoding: chunked\r\n\r\n"), long)).await;
    assert!(matches!(said, Err(IntegrationError::Wallet(OutsideError::TooLong(_)))), "{said:?}");
    let before = wallet.seen().len();
    let said = ask(Mode::Answer(format!("{challenge}content-length: 0\r\n\r\n"))).await;
    assert!(matches!(said, Err(IntegrationError::WalletLogin)), "{said:?}");
    assert_eq!(wallet.seen().len() - before, 5, "it is not asked for ever");
    let said =
        ask(Mode::Answer("HTTP/1.1 401 x\r\nwww-authenticate: Basic realm=\"r\"\r\n\r\n".to_owned())).await;
    assert!(matches!(said, Err(IntegrationError::WalletLogin)), "{said:?}");
    let to = format!("HTTP/1.1 307 x\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", trap.url());
    let said = ask(Mode::Answer(to)).await;
    assert!(matches!(said, Err(IntegrationError::WalletAnswer(_))), "{said:?}");
    trap.assert_untouched().await;
    for body in ["", "{}", "[]", "no JSON", r#"{"result": null}"#, r#"{"error": {"code": 1}}"#] {
        let said = ask(Mode::body(200, body)).await;
        assert!(matches!(said, Err(IntegrationError::WalletAnswer(_))), "{body}: {said:?}");
    }
    let deep = format!(r#"{{"result": {}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert!(matches!(ask(Mode::body(200, &deep)).await, Err(IntegrationError::WalletAnswer(_))));
    let rude = format!(r#"{{"error": {{"code": -1, "message": "\u001b[2J\n{}"}}}}"#, "y".repeat(500));
    let said = ask(Mode::body(200, &rude)).await;
    let Err(IntegrationError::WalletRefused(why)) = said else { panic!("{said:?}") };
    assert!(why.starts_with("[2Jyyy") && why.len() == 200, "{why:?}");
    let said = ask(Mode::Close).await;
    assert!(matches!(said, Err(IntegrationError::Wallet(OutsideError::Broken))), "{said:?}");
    // The password is never sent, and no other header but those that belong to it.
    for seen in wallet.seen() {
        let text = format!("{}{}", seen.head, String::from_utf8_lossy(&seen.body));
        assert!(!text.contains(LOGIN.1), "{text}");
    }
    // A body that comes drop by drop is waited for fifteen seconds, whatever it says.
    let said =
        ask(Mode::Endless("HTTP/1.1 200 x\r\ncontent-length: 1000000\r\n\r\n".to_owned(), " ".to_owned()))
            .await;
    assert!(matches!(said, Err(IntegrationError::Wallet(OutsideError::Timeout))), "{said:?}");
}

#[tokio::test]
async fn a_wallet_is_called_only_where_the_server_may_call_now() {
    let world = World::new().await;
    let wallet = Receiver::start(Mode::body(200, r#"{"result": {"height": 5}}"#)).await;
    let url = format!("http://{}", wallet.address);
    let strict = world.integrations(door_with(&[], Arc::new(System)));
    let refused = strict.connect_wallet(&world.actor, connection(&url, "x")).await;
    assert!(matches!(refused, Err(IntegrationError::Url(OutsideError::Address))), "{refused:?}");
    let open = world.integrations(door());
    open.connect_wallet(&world.actor, connection(&url, "x")).await.unwrap();
    assert_eq!(call(&world, &open, "get_height", json!({})).await.unwrap()["height"], 5);
    assert_eq!(wallet.seen()[0].head.lines().next(), Some("POST /json_rpc HTTP/1.1"));
    // The operator has changed their mind since.
    let refused = call(&world, &strict, "get_height", json!({})).await;
    assert!(matches!(refused, Err(IntegrationError::Wallet(OutsideError::Address))), "{refused:?}");
    assert_eq!(wallet.seen().len(), 1);
    for bad in
        [format!("{url}/path"), format!("{url}/?a=b"), format!("{url}/#f"), url.replace("//", "//u:p@")]
    {
        let refused = open.connect_wallet(&world.actor, connection(&bad, "x")).await;
        assert!(matches!(refused, Err(IntegrationError::Url(_) | IntegrationError::Field { .. })), "{bad}");
    }
    for name in ["a:b", "a\"b", "a\\b", "a\nb", &"a".repeat(129)] {
        let request = WalletRequest { username: (*name).to_owned(), ..connection(&url, "x") };
        let refused = open.connect_wallet(&world.actor, request).await;
        assert!(matches!(refused, Err(IntegrationError::Field { field: "username", .. })), "{name:?}");
    }
}

#[tokio::test]
async fn calls_have_a_budget() {
    let world = World::new().await;
    let wallet = Receiver::start(Mode::body(200, r#"{"result": {}}"#)).await;
    let integrations = world.integrations(door());
    let url = format!("http://{}", wallet.address);
    integrations.connect_wallet(&world.actor, connection(&url, "x")).await.unwrap();
    let ask = || {
        let request = WalletCallRequest { method: "get_version".to_owned(), params: Value::Null };
        integrations.call_wallet(world.user, request)
    };
    for n in 0..10 {
        assert!(ask().await.is_ok(), "call {n}");
    }
    assert!(matches!(ask().await, Err(IntegrationError::Limited { seconds: 1 })));
    world.clock.advance(SignedDuration::from_secs(1));
    assert!(ask().await.is_ok());
}

#[tokio::test]
async fn calls_of_one_person_that_hang_take_no_room_from_another() {
    let (world, silent) = (World::new().await, Receiver::start(Mode::Hold).await);
    let other = World::at(world.url.clone()).await;
    let quick = Receiver::start(Mode::body(200, r#"{"result":{"height":7}}"#)).await;
    let integrations = world.integrations(door());
    let url = |receiver: &Receiver| format!("http://{}", receiver.address);
    integrations.connect_wallet(&world.actor, connection(&url(&silent), "x")).await.unwrap();
    integrations.connect_wallet(&other.actor, connection(&url(&quick), "x")).await.unwrap();
    let ask = |user| {
        let request = WalletCallRequest { method: "get_height".to_owned(), params: json!({}) };
        let integrations = integrations.clone();
        async move { integrations.call_wallet(user, request).await }
    };
    let mut hanging = Vec::new();
    for _ in 0..70 {
        world.clock.advance(SignedDuration::from_secs(1));
        hanging.push(tokio::spawn(ask(world.user)));
        tokio::task::yield_now().await;
    }
    until("one hangs", async || !silent.seen().is_empty()).await;
    assert_eq!(ask(other.user).await.unwrap().result["height"], 7);
    assert_eq!(silent.seen().len(), 1);
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
}
