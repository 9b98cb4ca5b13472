use std::time::Duration;

use aegis_common::code::Code;
use aegis_common::role::Role;
use aegis_common::time::SignedDuration;
use aegis_common::wire::account::{AccountRole, TicketResponse};
use aegis_common::wire::event::EventFrame;
use aegis_server::store::{Commit, EscrowRow, Expected, NewEvent};
use aegis_server::ws::Timing;
use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use uuid::Uuid;

use crate::support::{Person, TestServer, acceptance, problem, said, server, server_with};

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub const SOON: Duration = Duration::from_secs(10);

async fn ticket(server: &TestServer, who: &Person) -> String {
    let sent = server.post("/api/v1/ws/ticket", who, &json!({})).send().await.unwrap();
    sent.json::<TicketResponse>().await.unwrap().ticket
}

pub async fn connect(server: &TestServer, who: &Person, after: i64) -> Socket {
    let ticket = ticket(server, who).await;
    let url = format!("ws://{}/api/v1/ws?ticket={ticket}&after={after}", server.address);
    connect_async(url).await.unwrap().0
}

/// The next event; answers pings on the way.
async fn event(socket: &mut Socket) -> EventFrame {
    loop {
        match timeout(SOON, socket.next()).await.expect("an event in time").unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) => socket.flush().await.unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

/// Stores events for a person as a change of an escrow would.
async fn store_events(server: &TestServer, who: &Person, count: usize, bytes: usize) {
    let now = server.state.clock.now();
    let id = aegis_common::ids::EscrowId(Uuid::now_v7());
    let name = |part: &str| format!("{part}-{}", &id.to_string()[24..]);
    let seller = server.person(&name("seller"), 101, AccountRole::User).await.view.id;
    let arbiter = server.person(&name("arbiter"), 102, AccountRole::User).await.view.id;
    let events = (0..count).map(|n| NewEvent {
        event_id: Uuid::now_v7(),
        user_id: who.view.id,
        escrow_id: Some(id),
        kind: "Test".to_owned(),
        payload: json!({ "n": n, "filling": "x".repeat(bytes) }).to_string(),
    });
    let escrow = EscrowRow {
        id,
        version: 1,
        status: "CANCELLED".to_owned(),
        buyer_id: who.view.id,
        seller_id: seller,
        arbiter_id: arbiter,
        creator_id: who.view.id,
        amount: aegis_common::amount::Piconero::XMR,
        snapshot: "{}".to_owned(),
        wake_at: None,
        wake_height: None,
        unmined: 0,
        watching: false,
        watch_from: None,
        behind_from: None,
        highest_output: None,
        created_at: now,
        updated_at: now,
    };
    let commit = Commit {
        escrow,
        expected: Expected::New,
        journal: None,
        events: events.collect(),
        idempotency: None,
        view_key: None,
        title: None,
        spend_keys: None,
        ending: None,
        replaces: None,
    };
    server.state.store.commit(commit).await.unwrap();
}

async fn feed(server: &TestServer, who: &Person) -> Vec<i64> {
    let rows = server.state.store.events_of(who.view.id, 0, 10_000).await.unwrap();
    rows.into_iter().map(|row| row.seq).collect()
}

#[actix_web::test]
async fn a_client_that_comes_and_goes_hears_everything_once_and_in_order() {
    let server = server().await;
    let [buyer, seller, arbiter] = server.people().await;
    for _ in 0..3 {
        store_events(&server, &seller, 60, 400).await;
    }
    let mut heard: Vec<i64> = Vec::new();
    let mut made = 0;
    // Events are made while the client reads, and each connection ends at an arbitrary place.
    for take in [1, 50, 100, 20, 15] {
        let mut socket = connect(&server, &seller, heard.last().copied().unwrap_or(0)).await;
        for step in 0..take {
            if step % 10 == 3 {
                let escrow = server.escrow(&buyer, &seller, &format!("key-{made}")).await;
                let path = format!("/api/v1/escrows/{}/statements", escrow.id);
                let statement = said(&acceptance(&escrow, Role::Arbiter, &arbiter));
                assert!(server.post(&path, &arbiter, &statement).send().await.unwrap().status().is_success());
                made += 1;
            }
            heard.push(event(&mut socket).await.seq);
        }
        drop(socket);
    }
    let mut socket = connect(&server, &seller, heard.last().copied().unwrap()).await;
    let all = feed(&server, &seller).await;
    assert_eq!(all.len(), 180 + 3 * made);
    while heard.len() < all.len() {
        heard.push(event(&mut socket).await.seq);
    }
    assert_eq!(heard, all);
}

#[actix_web::test]
async fn an_event_is_pushed_to_all_sockets_as_soon_as_it_is_stored() {
    let server = server().await;
    let [buyer, seller, arbiter] = server.people().await;
    let mut sockets = Vec::new();
    for who in [&buyer, &buyer, &seller, &arbiter] {
        sockets.push(connect(&server, who, 0).await);
    }
    for round in 0..3 {
        let escrow = server.escrow(&buyer, &seller, &format!("key-{round}")).await;
        for socket in &mut sockets {
            for kind in ["EscrowInit", "EscrowAssigned"] {
                let pushed = timeout(Duration::from_secs(2), event(socket)).await.expect("promptly");
                assert_eq!((pushed.kind.as_str(), pushed.escrow_id), (kind, Some(escrow.id)));
            }
        }
    }
}

#[actix_web::test]
async fn a_ticket_works_once_and_for_thirty_seconds() {
    let server = server().await;
    let [buyer, _, _] = server.people().await;
    let open = async |ticket: &str| {
        connect_async(format!("ws://{}/api/v1/ws?ticket={ticket}", server.address)).await.map(|_| ())
    };
    let once = ticket(&server, &buyer).await;
    open(&once).await.unwrap();
    assert!(open(&once).await.unwrap_err().to_string().contains("401"));
    let slow = ticket(&server, &buyer).await;
    server.clock.advance(SignedDuration::from_secs(30));
    assert!(open(&slow).await.unwrap_err().to_string().contains("401"));
    assert!(open("guessed").await.unwrap_err().to_string().contains("401"));
    // An ordinary request does not use a ticket up.
    let fresh = ticket(&server, &buyer).await;
    let path = format!("/api/v1/ws?ticket={fresh}");
    problem(server.request(Method::GET, &path).send().await.unwrap(), Code::Malformed).await;
    open(&fresh).await.unwrap();
    for _ in 0..16 {
        ticket(&server, &buyer).await;
    }
    let one_more = server.post("/api/v1/ws/ticket", &buyer, &json!({})).send().await.unwrap();
    problem(one_more, Code::RateLimited).await;
}

#[actix_web::test]
async fn one_socket_too_many_is_closed_and_a_place_becomes_free_when_another_ends() {
    let server = server_with(&[("AEGIS_SOCKETS_PER_USER", "2")], Timing::default()).await;
    let [buyer, _, _] = server.people().await;
    let (mut first, _second) = (connect(&server, &buyer, 0).await, connect(&server, &buyer, 0).await);
    actix::clock::sleep(Duration::from_millis(100)).await;
    let mut third = connect(&server, &buyer, 0).await;
    let closed = timeout(SOON, third.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(closed, Message::Close(Some(frame)) if u16::from(frame.code) == 1013));
    first.close(None).await.unwrap();
    while timeout(SOON, first.next()).await.unwrap().is_some() {}
    actix::clock::sleep(Duration::from_millis(100)).await;
    store_events(&server, &buyer, 1, 1).await;
    event(&mut connect(&server, &buyer, 0).await).await;
}

#[actix_web::test]
async fn a_socket_only_speaks() {
    let server = server().await;
    let [buyer, _, _] = server.people().await;
    for message in [Message::text("hello"), Message::binary(vec![0; 2000])] {
        let mut socket = connect(&server, &buyer, 0).await;
        socket.send(message).await.unwrap();
        let closed = timeout(SOON, socket.next()).await.unwrap();
        assert!(matches!(closed, None | Some(Err(_) | Ok(Message::Close(_)))), "{closed:?}");
    }
}

const QUICK: Timing = Timing { ping: Duration::from_millis(50), silence: Duration::from_millis(600) };

#[actix_web::test]
async fn heartbeats_keep_a_listening_client_and_a_silent_one_is_cut_off() {
    let server = server_with(&[], QUICK).await;
    let [buyer, _, _] = server.people().await;
    let mut socket = connect(&server, &buyer, 0).await;
    let mut pings = 0;
    let listen = async {
        while let Some(Ok(message)) = socket.next().await {
            pings += u32::from(message.is_ping());
            socket.flush().await.unwrap();
        }
    };
    assert!(timeout(Duration::from_millis(1500), listen).await.is_err(), "it stays open");
    assert!(pings >= 10, "{pings}");
    // Without polling nothing answers the pings.
    actix::clock::sleep(Duration::from_millis(1000)).await;
    let mut ended = false;
    for _ in 0..100 {
        match timeout(SOON, socket.next()).await.unwrap() {
            Some(Ok(_)) => {}
            None | Some(Err(_)) => {
                ended = true;
                break;
            }
        }
    }
    assert!(ended);
}

#[actix_web::test]
async fn a_slow_client_gets_one_page_is_cut_off_and_loses_nothing() {
    let server = server_with(&[("AEGIS_SOCKETS_PER_USER", "1")], QUICK).await;
    let [buyer, _, _] = server.people().await;
    for _ in 0..40 {
        store_events(&server, &buyer, 50, 600).await;
    }
    // A client that opens the socket and then takes nothing.
    let mut raw = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET /api/v1/ws?ticket={} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        ticket(&server, &buyer).await
    );
    raw.write_all(request.as_bytes()).await.unwrap();
    actix::clock::sleep(Duration::from_millis(1200)).await;
    let mut taken = Vec::new();
    // Ends with the connection, whether by FIN or reset.
    let _ = timeout(SOON, raw.read_to_end(&mut taken)).await.expect("the server has closed the connection");
    assert!(taken.starts_with(b"HTTP/1.1 101"));
    assert!((1_000..40_000).contains(&taken.len()), "{} bytes of 1.2 MB were under way", taken.len());
    // Its place is free again, and everything is still to be had.
    let all = feed(&server, &buyer).await;
    let mut socket = connect(&server, &buyer, 0).await;
    let mut heard = Vec::new();
    while heard.len() < all.len() {
        heard.push(event(&mut socket).await.seq);
    }
    assert_eq!(heard, all);
}
