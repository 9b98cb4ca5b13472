//! The relay against a real HTTP client, a real WebSocket client and a small server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aegis_harness::relay::{Action, Moment, Relay, edit_request, edit_response, hook, once_at};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

/// Answers every request with its own body, in chunks.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                let mut buffer = [0; 4096];
                loop {
                    let read = stream.read(&mut buffer).await.unwrap_or(0);
                    if read == 0 {
                        return;
                    }
                    seen.extend(&buffer[..read]);
                    let text = String::from_utf8_lossy(&seen).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head.to_lowercase();
                    let length: usize = length
                        .lines()
                        .find_map(|line| line.strip_prefix("content-length: "))
                        .map_or(0, |n| n.trim().parse().unwrap());
                    if body.len() < length {
                        continue;
                    }
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                        body.len().max(1)
                    );
                    let answer =
                        if body.is_empty() { answer.replace("1\r\n\r\n0", "1\r\n-\r\n0") } else { answer };
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    seen.clear();
                }
            });
        }
    });
    port
}

async fn post(client: &reqwest::Client, relay: &Relay, body: &str) -> Result<String, reqwest::Error> {
    client.post(format!("{}/x", relay.url())).body(body.to_owned()).send().await?.text().await
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_are_recorded_and_changed_in_both_directions() {
    let relay = Relay::start(echo().await).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(post(&client, &relay, "one").await.unwrap(), "one");

    relay.set_hook(Some(hook(|moment, exchange| match (moment, exchange.request_body.as_slice()) {
        (Moment::BeforeForward, b"two") => Action::Replace(b"2".to_vec()),
        (Moment::AfterForward, b"three") => Action::Replace(b"drei".to_vec()),
        (Moment::BeforeForward, b"four") => Action::Answer { status: 503, body: b"{}".to_vec() },
        (Moment::AfterForward, b"five") => Action::Drop,
        _ => Action::Pass,
    })));
    assert_eq!(post(&client, &relay, "two").await.unwrap(), "2");
    assert_eq!(post(&client, &relay, "three").await.unwrap(), "drei");
    assert_eq!(post(&client, &relay, "four").await.unwrap(), "{}");
    assert!(post(&client, &relay, "five").await.is_err());
    relay.set_hook(None);
    assert_eq!(post(&client, &relay, "six").await.unwrap(), "six");
    let all = relay.record().exchanges();
    let bodies: Vec<_> = all.iter().map(|x| String::from_utf8_lossy(&x.request_body).into_owned()).collect();
    assert!(bodies.starts_with(&["one".into(), "2".into(), "three".into(), "four".into(), "five".into()]));
    assert!(relay.record().pieces().iter().any(|piece| piece == b"six"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_is_called_once_at_the_chosen_exchange() {
    let relay = Relay::start(echo().await).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let hit = Arc::new(AtomicBool::new(false));
    let of_hook = Arc::clone(&hit);
    relay.set_hook(Some(once_at(1, Moment::AfterForward, move |exchange| {
        assert_eq!(exchange.response_body, b"b");
        let hit = Arc::clone(&of_hook);
        Box::pin(async move { assert!(!hit.swap(true, Ordering::SeqCst)) })
    })));
    for (body, called) in [("a", false), ("b", true), ("c", true)] {
        post(&client, &relay, body).await.unwrap();
        assert_eq!(hit.load(Ordering::SeqCst), called);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_passes_and_its_payloads_are_recorded_unmasked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                socket.send(message).await.unwrap();
            }
        }
    });
    let relay = Relay::start(port).await.unwrap();
    let url = relay.url().replace("http", "ws");
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("{url}/ws")).await.unwrap();
    let long = "x".repeat(70_000);
    for text in ["hello", &long] {
        socket.send(Message::text(text)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().as_str(), text);
    }
    let frames = relay.record().exchanges().remove(0).frames;
    assert!(frames.contains(&(true, b"hello".to_vec())) && frames.contains(&(false, long.into_bytes())));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_edited_on_its_way_there_and_back() {
    let relay = Relay::start(echo().await).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let edit = |value: &mut serde_json::Value| {
        let chosen = value["amount"] == "5";
        if chosen {
            value["amount"] = "6".into();
        }
        chosen
    };
    relay.set_hook(Some(edit_request("/x", edit)));
    assert_eq!(post(&client, &relay, "{\"amount\":\"5\"}").await.unwrap(), "{\"amount\":\"6\"}");
    assert_eq!(relay.record().exchanges()[0].response_body, b"{\"amount\":\"6\"}");
    relay.set_hook(Some(edit_response("/x", edit)));
    assert_eq!(post(&client, &relay, "{\"amount\":\"5\"}").await.unwrap(), "{\"amount\":\"6\"}");
    assert_eq!(relay.record().exchanges()[1].response_body, b"{\"amount\":\"5\"}");
    relay.set_hook(Some(edit_response("/elsewhere", edit)));
    assert_eq!(post(&client, &relay, "{\"amount\":\"5\"}").await.unwrap(), "{\"amount\":\"5\"}");
}
