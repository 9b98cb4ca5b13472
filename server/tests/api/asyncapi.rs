//! The feed's description, held against the frames that the server really sends.

use std::collections::{BTreeMap, BTreeSet};

use aegis_common::amount::Piconero;
use aegis_common::escrow::deposits::{OutputId, Refusal, Slot};
use aegis_common::escrow::effect::Notice;
use aegis_common::escrow::state::{CalledOff, Status};
use aegis_common::ids::{DeliveryId, EscrowId, ListingId, OrderId, ReviewId, UserId, WebhookId};
use aegis_common::role::Role;
use aegis_common::testing::{address, hash};
use aegis_common::time::Timestamp;
use aegis_common::wire::event::{KINDS, OwnNotice};
use aegis_common::wire::market::{MarketNotice, OrderStatus};
use aegis_common::wire::webhook::DisabledBecause;
use aegis_server::api::asyncapi::document;
use aegis_server::app::routes::openapi;
use aegis_server::store::NewEvent;
use futures_util::{SinkExt, StreamExt};
use jsonschema::{Draft, Validator};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::support::{Person, TestServer, acceptance, said, server};
use crate::websocket::{SOON, Socket, connect};

const AT: Timestamp = Timestamp::constant(1_760_000_000, 0);

fn output() -> OutputId {
    OutputId { tx: hash("a transaction"), index: 1 }
}

fn escrow() -> EscrowId {
    EscrowId(Uuid::from_u128(7))
}

/// One of each type: that after another, from the first on. A new one does not compile until it has its place here.
fn after(notice: Option<&Notice>) -> Option<Notice> {
    let (txid, amount, slot) = (hash("a payout"), Piconero::XMR, Slot::Payment);
    Some(match notice {
        None => Notice::EscrowInit {},
        Some(Notice::EscrowInit {}) => Notice::EscrowAssigned { arbiter: UserId(Uuid::from_u128(3)) },
        Some(Notice::EscrowAssigned { .. }) => Notice::StatementPosted {
            role: Role::Buyer,
            seq: 0,
            kind: "accept".to_owned(),
            hash: hash("said"),
        },
        Some(Notice::StatementPosted { .. }) => {
            Notice::EscrowStatusChanged { from: Status::PendingFunding, to: Status::BuyerFunded }
        }
        Some(Notice::EscrowStatusChanged { .. }) => Notice::AddressReady { address: address(1) },
        Some(Notice::AddressReady { .. }) => Notice::AddressMismatch { disagreeing: vec![Role::Arbiter] },
        Some(Notice::AddressMismatch { .. }) => {
            Notice::DepositSeen { output: output(), slot, amount, height: None }
        }
        Some(Notice::DepositSeen { .. }) => {
            Notice::DepositRefused { output: output(), amount, reason: Refusal::Dust }
        }
        Some(Notice::DepositRefused { .. }) => {
            Notice::TransactionConfirmed { output: output(), slot, amount }
        }
        Some(Notice::TransactionConfirmed { .. }) => Notice::DepositReverted { output: output(), amount },
        Some(Notice::DepositReverted { .. }) => Notice::ExpiryWarning { expires_at: AT },
        Some(Notice::ExpiryWarning { .. }) => {
            Notice::AnswerOverdue { waiting_for: vec![Role::Seller], since: AT }
        }
        Some(Notice::AnswerOverdue { .. }) => {
            Notice::EscrowCalledOff { why: CalledOff::Declined { by: Role::Seller } }
        }
        Some(Notice::EscrowCalledOff { .. }) => Notice::EscrowReplaced { by: escrow() },
        Some(Notice::EscrowReplaced { .. }) => Notice::ArbiterSilent { since: AT },
        Some(Notice::ArbiterSilent { .. }) => Notice::ArbiterWanted {},
        Some(Notice::ArbiterWanted {}) => {
            Notice::SignersAsked { attempt: 1, proposer: Role::Seller, cosigner: Role::Buyer }
        }
        Some(Notice::SignersAsked { .. }) => Notice::PayoutSeen { txid, height: Some(9) },
        Some(Notice::PayoutSeen { .. }) => Notice::PayoutMismatch { txid },
        Some(Notice::PayoutMismatch { .. }) => Notice::PayoutLost { txid },
        Some(Notice::PayoutLost { .. }) => Notice::LatePaymentReturned { txid },
        Some(Notice::LatePaymentReturned { .. }) => return None,
    })
}

fn after_of_market(notice: Option<&MarketNotice>) -> Option<MarketNotice> {
    let (order_id, escrow_id, review_id) = (OrderId(Uuid::max()), escrow(), ReviewId(Uuid::max()));
    Some(match notice {
        None => {
            MarketNotice::OrderPlaced { order_id, escrow_id, listing_id: ListingId(Uuid::max()), quantity: 2 }
        }
        Some(MarketNotice::OrderPlaced { .. }) => MarketNotice::OrderStatusChanged {
            order_id,
            escrow_id,
            from: OrderStatus::Pending,
            to: OrderStatus::Paid,
        },
        Some(MarketNotice::OrderStatusChanged { .. }) => {
            MarketNotice::ReviewPosted { review_id, escrow_id, stars: 5 }
        }
        Some(MarketNotice::ReviewPosted { .. }) => MarketNotice::ReviewAnswered { review_id, escrow_id },
        Some(MarketNotice::ReviewAnswered { .. }) => return None,
    })
}

fn after_of_own(notice: Option<&OwnNotice>) -> Option<OwnNotice> {
    Some(match notice {
        None => OwnNotice::AccountNotice {
            kind: "passwordChanged".to_owned(),
            network: None,
            detail: json!({ "anything": [1] }),
        },
        Some(OwnNotice::AccountNotice { .. }) => OwnNotice::WebhookDisabled {
            webhook_id: WebhookId(Uuid::max()),
            because: DisabledBecause::Gone,
            delivery_id: DeliveryId(Uuid::max()),
        },
        Some(OwnNotice::WebhookDisabled { .. }) => return None,
    })
}

/// Type and data of one notice of each type, and of some in their other shapes.
fn examples() -> Vec<(String, Value)> {
    let mut all: Vec<(&str, Value)> = Vec::new();
    let data = |notice: Value| notice["data"].clone();
    let mut more = |kind: &'static str, notice: Value| all.push((kind, data(notice)));
    let mut escrows = Vec::new();
    while let Some(next) = after(escrows.last()) {
        escrows.push(next);
    }
    escrows.extend([
        Notice::DepositSeen {
            output: output(),
            slot: Slot::SellerDeposit,
            amount: Piconero::XMR,
            height: Some(4),
        },
        Notice::DepositRefused { output: output(), amount: Piconero(1), reason: Refusal::DuplicateKey },
        Notice::EscrowCalledOff { why: CalledOff::Deleted },
        Notice::EscrowCalledOff { why: CalledOff::ArbiterSilent },
        Notice::PayoutSeen { txid: hash("a payout"), height: None },
        Notice::AddressMismatch { disagreeing: Vec::new() },
    ]);
    escrows.iter().for_each(|notice| more(notice.kind(), serde_json::to_value(notice).unwrap()));
    let (mut market, mut own) = (Vec::new(), Vec::new());
    while let Some(next) = after_of_market(market.last()) {
        market.push(next);
    }
    market.iter().for_each(|notice| more(notice.kind(), serde_json::to_value(notice).unwrap()));
    while let Some(next) = after_of_own(own.last()) {
        own.push(next);
    }
    own.push(OwnNotice::AccountNotice {
        kind: "loggedIn".to_owned(),
        network: Some("10.1.2.0/24".to_owned()),
        detail: json!({}),
    });
    own.iter().for_each(|notice| more(notice.kind(), serde_json::to_value(notice).unwrap()));
    all.into_iter().map(|(kind, data)| (kind.to_owned(), data)).collect()
}

/// What checks the frames of each type, read as JSON Schema of both drafts that tools for AsyncAPI use.
struct Checks(BTreeMap<String, [Validator; 2]>);

impl Checks {
    fn of(document: &Value) -> Self {
        let messages = document["components"]["messages"].as_object().unwrap();
        let check = |payload: &Value, draft: Draft| {
            let schema = json!({ "allOf": [payload], "components": document["components"] });
            jsonschema::options().with_draft(draft).should_validate_formats(true).build(&schema).unwrap()
        };
        let checks = messages.iter().map(|(kind, message)| {
            let drafts = [Draft::Draft7, Draft::Draft202012];
            (kind.clone(), drafts.map(|draft| check(&message["payload"], draft)))
        });
        Self(checks.collect())
    }

    fn fits(&self, kind: &str, frame: &Value) -> bool {
        let [one, other] = self.0.get(kind).unwrap_or_else(|| panic!("{kind} has no schema"));
        assert_eq!(one.is_valid(frame), other.is_valid(frame), "{frame}");
        one.is_valid(frame)
    }

    /// Of its type, and of no other.
    fn assert_fits(&self, text: &str) -> Value {
        let frame: Value = serde_json::from_str(text).unwrap();
        let kind = frame["type"].as_str().unwrap();
        assert!(self.0.contains_key(kind), "{kind} has no schema");
        for other in self.0.keys() {
            assert_eq!(self.fits(other, &frame), other == kind, "as {other}: {text}");
        }
        frame
    }
}

/// The next frame as it came; answers pings on the way. `None` where nothing comes any more.
async fn frame(socket: &mut Socket, wait: std::time::Duration) -> Option<String> {
    loop {
        match timeout(wait, socket.next()).await.ok()?.unwrap().unwrap() {
            Message::Text(text) => return Some(text.as_str().to_owned()),
            Message::Ping(_) => socket.flush().await.unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

async fn tell(server: &TestServer, who: &Person, told: Vec<(String, Value)>) {
    let told = told.into_iter().map(|(kind, data)| NewEvent {
        event_id: Uuid::now_v7(),
        user_id: who.view.id,
        escrow_id: None,
        kind,
        payload: data.to_string(),
    });
    server.state.store.tell_once(told.collect(), server.state.clock.now()).await.unwrap();
}

#[test]
fn the_description_is_whole_and_knows_exactly_the_types_there_are() {
    let document = document(&openapi()).unwrap();
    assert_eq!(document["asyncapi"], "3.0.0");
    let text = document.to_string();
    let references: BTreeSet<&str> =
        text.split("\"$ref\":\"#").skip(1).map(|part| &part[..part.find('"').unwrap()]).collect();
    assert!(references.len() > 50);
    for pointer in references {
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    let known: BTreeSet<String> = examples().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(KINDS.map(str::to_owned).into_iter().collect::<BTreeSet<_>>(), known);
    for place in ["/components/messages", "/channels/feed/messages"] {
        let described = document.pointer(place).unwrap().as_object().unwrap();
        assert_eq!(described.keys().cloned().collect::<BTreeSet<_>>(), known, "{place}");
    }
    assert_eq!(document["operations"]["tell"]["messages"].as_array().unwrap().len(), known.len());
    for (kind, message) in document["components"]["messages"].as_object().unwrap() {
        assert!(message["summary"].as_str().is_some_and(|text| !text.is_empty()), "{kind}");
    }
    // The description of the API has every type of event as well.
    let api = serde_json::to_string(&openapi()).unwrap();
    for kind in known {
        assert!(api.contains(&format!("\"{kind}\"")), "{kind}");
    }
}

#[actix_web::test]
async fn a_frame_of_every_type_fits_its_schema_and_none_with_a_field_more_or_less() {
    let server = server().await;
    let ann = server.person("ann", 1, aegis_common::wire::account::AccountRole::User).await;
    let served = server.request(Method::GET, "/api/v1/asyncapi.json").send().await.unwrap();
    assert_eq!(served.status(), StatusCode::OK);
    let checks = Checks::of(&served.json().await.unwrap());
    let start = server.state.store.events_of(ann.view.id, 0, 100).await.unwrap();
    let start = start.last().map_or(0, |event| event.seq);
    tell(&server, &ann, examples()).await;
    let mut socket = connect(&server, &ann, start).await;
    for (kind, data) in examples() {
        let whole = checks.assert_fits(&frame(&mut socket, SOON).await.expect("a frame"));
        assert_eq!((&whole["type"], &whole["payload"]), (&json!(kind), &data));
        let refused = |changed: Value| assert!(!checks.fits(&kind, &changed), "{changed}");
        for place in ["", "/payload"] {
            let fields: Vec<String> =
                whole.pointer(place).unwrap().as_object().unwrap().keys().cloned().collect();
            for field in fields {
                let mut less = whole.clone();
                less.pointer_mut(place).unwrap().as_object_mut().unwrap().remove(&field);
                refused(less);
                let mut other = whole.clone();
                // Whatever `detail` holds, it is an object.
                other.pointer_mut(place).unwrap()[&field] = json!([[true]]);
                refused(other);
            }
            let mut more = whole.clone();
            more.pointer_mut(place).unwrap()["more"] = json!(1);
            refused(more);
        }
        if whole["payload"]["output"].is_object() {
            let mut deep = whole.clone();
            deep["payload"]["output"]["more"] = json!(1);
            refused(deep);
        }
        if whole["payload"]["why"].is_object() {
            let mut deep = whole.clone();
            deep["payload"]["why"]["reason"] = json!("lost");
            refused(deep);
        }
    }
}

#[actix_web::test]
async fn every_frame_of_a_session_fits_the_description() {
    let server = server().await;
    let checks = Checks::of(&document(&openapi()).unwrap());
    let [buyer, seller, arbiter] = server.people().await;
    let mut socket = connect(&server, &buyer, 0).await;
    let listing = server.listed(&seller, "one").await;
    server.ordered(&buyer, &listing, 1, "order").await;
    let escrow = server.escrow(&buyer, &seller, "key").await;
    for (role, who) in [(Role::Buyer, &buyer), (Role::Seller, &seller), (Role::Arbiter, &arbiter)] {
        let accepted = said(&acceptance(&escrow, role, who));
        let path = format!("/api/v1/escrows/{}/statements", escrow.id);
        assert_eq!(server.post(&path, who, &accepted).send().await.unwrap().status(), StatusCode::OK);
    }
    let gone = server.escrow(&buyer, &seller, "other").await;
    let deleted = server.request(Method::DELETE, &format!("/api/v1/escrows/{}", gone.id));
    assert_eq!(deleted.bearer_auth(&buyer.token).send().await.unwrap().status(), StatusCode::OK);
    let put = server.request(Method::PUT, "/api/v1/me/payout-address").bearer_auth(&buyer.token);
    let new = json!({ "payoutAddress": crate::support::payout_address(aegis_common::address::Network::Regtest, 7) });
    assert_eq!(put.json(&new).send().await.unwrap().status(), StatusCode::OK);
    let stored = server.state.store.events_of(buyer.view.id, 0, 1_000).await.unwrap();
    let mut heard = BTreeSet::new();
    let mut count = 0;
    while let Some(text) = frame(&mut socket, std::time::Duration::from_secs(2)).await {
        let kind = checks.assert_fits(&text)["type"].as_str().unwrap().to_owned();
        heard.insert(kind);
        count += 1;
    }
    assert!(count >= stored.len(), "{count} of {}", stored.len());
    let expected = [
        "AccountNotice",
        "EscrowAssigned",
        "EscrowCalledOff",
        "EscrowInit",
        "EscrowStatusChanged",
        "OrderPlaced",
        "StatementPosted",
    ];
    assert!(expected.iter().all(|kind| heard.contains(*kind)), "{heard:?}");
    // What the feed and webhooks give is the same.
    let page = server.get("/api/v1/events", &buyer).send().await.unwrap();
    for event in page.json::<Value>().await.unwrap()["events"].as_array().unwrap() {
        checks.assert_fits(&event.to_string());
    }
}
