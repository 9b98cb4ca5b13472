//! Trade by listings, with the program as a person runs it and a server that may lie.
#![expect(clippy::unwrap_used, reason = "a failure in a test is to be loud")]

#[path = "support/liar.rs"]
mod liar;

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use aegis::engine::desk::Desk;
use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::{Contract, DefaultOutcome};
use aegis_common::escrow::state::{Escrow, Status};
use aegis_common::ids::{EscrowId, ListingId, OrderId, ReviewId};
use aegis_common::role::Role;
use aegis_common::testing::{Sim, contract};
use aegis_common::time::{SignedDuration, Timestamp, to_millis};
use aegis_common::wire::escrow::{EscrowView, TranscriptPage};
use aegis_common::wire::market::{
    ListingPage, ListingStatus, ListingTerms, ListingView, OrderPage, OrderRequest, OrderStatus, OrderView,
    ReviewPage, ReviewView,
};
use liar::{Liar, PASSPHRASE, contract_of, home, token};
use serde_json::{Value, json};
use uuid::Uuid;

fn listing() -> ListingView {
    let contract = contract();
    let now = to_millis(Timestamp::now());
    ListingView {
        id: ListingId(Uuid::from_u128(7)),
        version: 3,
        seller_id: contract.seller.user_id,
        seller: contract.seller.username,
        title: "A lamp".to_owned(),
        description: "Sea-green.".to_owned(),
        price: Piconero(700_000_000_000).into(),
        stock: 9,
        status: ListingStatus::Active,
        terms: ListingTerms {
            default_outcome: DefaultOutcome::Refund,
            expiry_days: 5,
            buyer_deposit: Piconero(100_000_000_000),
            seller_deposit: Piconero::ZERO,
            finality_depth: None,
            cosign_seconds: None,
            arbiter: None,
            max_quantity: Some(3),
        },
        created_at: now,
        updated_at: now,
    }
}

/// The contract that an order of so many opens.
fn made(desk: &Desk, quantity: u32) -> Contract {
    let expires_at = to_millis(Timestamp::now() + SignedDuration::from_hours(24 * 5));
    let asked = listing().to_escrow(quantity, expires_at).unwrap();
    Contract {
        title: asked.title,
        description: asked.description,
        amount: asked.amount,
        buyer_deposit: asked.buyer_deposit,
        seller_deposit: asked.seller_deposit,
        default_outcome: asked.default_outcome,
        expires_at,
        ..contract_of(desk)
    }
}

/// What was sent: method, path with its query, body.
type Sent = Arc<Mutex<Vec<(String, String, Value)>>>;

/// A server with one listing, whose orders open an escrow with this contract.
fn serving(contract: Arc<Mutex<Option<Contract>>>, sent: Sent) -> Liar {
    Liar::serving(move |request| {
        let target = request.target.strip_prefix("/api/v1").unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if !path.starts_with("/auth") {
            sent.lock().unwrap().push((request.method.clone(), target.to_owned(), body.clone()));
        }
        let json = |value: Value| Some((200, value.to_string().into_bytes()));
        let contract = contract.lock().unwrap().clone();
        match (request.method.as_str(), path) {
            (_, "/auth/login") => Some((200, token().into_bytes())),
            ("GET", "/listings") => {
                json(json!(ListingPage { listings: vec![listing()], next: Some("1.x".into()) }))
            }
            (_, path) if path.starts_with("/listings") => json(json!(listing())),
            ("POST", "/orders") => {
                let OrderRequest { quantity, .. } = serde_json::from_value(body).unwrap();
                json(json!(order(contract?.escrow_id, quantity)))
            }
            ("GET", "/orders") => {
                json(json!(OrderPage { orders: vec![order(EscrowId(Uuid::nil()), 2)], next: None }))
            }
            (_, path) if path.starts_with("/reviews/") => json(json!(opinion())),
            (_, path) if path.ends_with("/reviews") => match request.method.as_str() {
                "POST" => json(json!(opinion())),
                _ => json(json!(ReviewPage {
                    count: 1,
                    average: Some("4.00".to_owned()),
                    reviews: vec![
                        opinion(),
                        ReviewView {
                            hidden: Some("slander".to_owned()),
                            stars: None,
                            text: None,
                            ..opinion()
                        }
                    ],
                    next: None,
                })),
            },
            (_, path) if path.ends_with("/transcript") => {
                json(json!(TranscriptPage { entries: Vec::new(), next: None }))
            }
            (_, path) if path.starts_with("/escrows/") => {
                let escrow: Escrow = Sim::new(contract?).escrow;
                json(json!(EscrowView::of(&escrow, 1, 1_000)))
            }
            _ => None,
        }
    })
}

fn order(escrow_id: EscrowId, quantity: u32) -> OrderView {
    let listing = listing();
    OrderView {
        id: OrderId(Uuid::from_u128(8)),
        listing_id: listing.id,
        escrow_id,
        buyer: "buyer".to_owned(),
        seller: listing.seller,
        title: listing.title,
        quantity: quantity.into(),
        amount: listing.price.piconero.ratio(quantity.into(), 1).unwrap().into(),
        price: listing.price,
        status: OrderStatus::Pending,
        escrow_status: Status::PendingFunding,
        created_at: listing.created_at,
    }
}

fn opinion() -> ReviewView {
    ReviewView {
        id: ReviewId(Uuid::from_u128(9)),
        version: 1,
        reviewer: "buyer".to_owned(),
        reviewer_role: Role::Buyer,
        subject: "seller".to_owned(),
        subject_role: Role::Seller,
        escrow_id: None,
        stars: Some(4),
        text: Some("Good \u{1b}[2J.".to_owned()),
        answer: None,
        hidden: None,
        created_at: Timestamp::UNIX_EPOCH,
        edited_at: None,
    }
}

fn aegis(working: &Path, arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_aegis"));
    program.current_dir(working).args(["--home", "home"]).args(arguments).env("AEGIS_PASSPHRASE", PASSPHRASE);
    program.stdin(std::process::Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn an_order_shows_what_will_be_paid_and_its_contract_is_held_against_the_listing() {
    let (contract, sent) = (Arc::new(Mutex::new(None)), Sent::default());
    let liar = serving(Arc::clone(&contract), Arc::clone(&sent));
    let (folder, home) = home(&liar.url);
    let desk = Desk::open(&home, PASSPHRASE).unwrap();
    let id = listing().id.to_string();
    let good = made(&desk, 2);
    *contract.lock().unwrap() = Some(good.clone());
    let ask = ["order", id.as_str(), "--quantity", "2"];

    // Nobody is there to agree: it is shown and not sent.
    let shown = aegis(folder.path(), &ask);
    assert!(!shown.status.success());
    let said = String::from_utf8_lossy(&shown.stdout).into_owned();
    for part in
        ["2 × A lamp, from", "Sea-green.", "1.400000000000 XMR", "your deposit   0.1", "you will pay   1.5"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let orders = || sent.lock().unwrap().iter().filter(|(method, ..)| method == "POST").count();
    assert_eq!(orders(), 0);

    let with_yes: Vec<&str> = ask.iter().copied().chain(["--yes"]).collect();
    let ordered = text(&aegis(folder.path(), &with_yes));
    assert!(ordered.contains(&format!("next: aegis accept {}", good.escrow_id)), "{ordered}");
    let body = sent.lock().unwrap().iter().find(|(method, ..)| method == "POST").unwrap().2.clone();
    assert_eq!(body, json!({ "listingId": id, "quantity": 2, "version": 3 }));
    assert!(desk.stored(good.escrow_id).unwrap().unwrap().asked_for);

    // Another contract than the listing says is found out before anything is agreed to.
    let late = good.expires_at + SignedDuration::from_hours(48);
    for bad in [
        Contract { amount: Piconero(good.amount.0 + 1), ..good.clone() },
        Contract { title: "2 × A ring".to_owned(), ..good.clone() },
        Contract { expires_at: late, ..good.clone() },
        Contract { default_outcome: DefaultOutcome::Release, ..good.clone() },
    ] {
        let bad = Contract { escrow_id: EscrowId(Uuid::now_v7()), ..bad };
        *contract.lock().unwrap() = Some(bad.clone());
        let refused = aegis(folder.path(), &with_yes);
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && why.contains("not what you asked for"), "{why}");
        assert!(desk.stored(bad.escrow_id).unwrap().is_none_or(|book| !book.asked_for));
    }
}

#[test]
fn listings_orders_and_reviews_are_asked_for_as_the_person_says() {
    let sent = Sent::default();
    let liar = serving(Arc::default(), Arc::clone(&sent));
    let (folder, _home) = home(&liar.url);
    let id = listing().id.to_string();
    let run = |arguments: &[&str]| {
        sent.lock().unwrap().clear();
        let said = text(&aegis(folder.path(), arguments));
        (said, sent.lock().unwrap().pop().unwrap())
    };
    let (said, (method, path, body)) = run(&[
        "listing",
        "add",
        "--title",
        "A lamp",
        "--price",
        "0.7",
        "--stock",
        "9",
        "--default",
        "refund",
        "--expires-days",
        "5",
        "--max-quantity",
        "3",
    ]);
    assert!(said.contains("9 left") && said.contains("at most 3 in one order"), "{said}");
    assert_eq!((method.as_str(), path.as_str()), ("POST", "/listings"));
    assert_eq!((&body["price"], &body["stock"]), (&json!("700000000000"), &json!(9)));
    assert_eq!(body["terms"]["expiryDays"], 5);

    let (_, (method, path, body)) = run(&["listing", "edit", &id, "--add-stock", "-2", "--pause"]);
    assert_eq!((method.as_str(), path), ("PATCH", format!("/listings/{id}")));
    assert_eq!(body, json!({ "addStock": -2, "status": "paused" }), "what is not named stays");
    let (_, (.., body)) = run(&["listing", "edit", &id, "--max-quantity", "5"]);
    assert_eq!((&body["terms"]["maxQuantity"], &body["terms"]["expiryDays"]), (&json!(5), &json!(5)));
    let (said, (_, path, _)) =
        run(&["listing", "list", "sea green", "--max-price", "1", "--sort", "cheapest"]);
    assert_eq!(path, "/listings?text=sea+green&maxPrice=1000000000000&sort=cheapest&limit=50");
    assert!(said.contains("A lamp") && said.contains("more: --after 1.x"), "{said}");
    let (_, (method, ..)) = run(&["listing", "close", &id]);
    assert_eq!(method, "DELETE");

    let (said, (_, path, _)) = run(&["orders", "--role", "seller", "--status", "paid"]);
    assert_eq!(path, "/orders?role=seller&status=PAID&limit=50");
    assert!(said.contains("PENDING") && said.contains("2 × A lamp"), "{said}");
    let escrow = Uuid::now_v7().to_string();
    let (_, (method, path, body)) = run(&["review", &escrow, "seller", "--stars", "4", "--text", "Good"]);
    assert_eq!((method.as_str(), path), ("POST", format!("/escrows/{escrow}/reviews")));
    assert_eq!(body, json!({ "subject": "seller", "stars": 4, "text": "Good" }));
    assert!(!aegis(folder.path(), &["review", &escrow, "seller", "--stars", "6"]).status.success());
    let id = opinion().id.to_string();
    let (_, (method, path, body)) = run(&["review-edit", &id, "--stars", "3"]);
    assert_eq!((method.as_str(), path), ("PATCH", format!("/reviews/{id}")));
    assert_eq!(body, json!({ "stars": 3 }));
    let (_, (method, path, body)) = run(&["review-answer", &id, "--text", "Thanks"]);
    assert_eq!((method.as_str(), path), ("PUT", format!("/reviews/{id}/answer")));
    assert_eq!(body, json!({ "text": "Thanks" }));
    let (_, (method, path, body)) = run(&["review-hide", &id, "--reason", "slander"]);
    assert_eq!((method.as_str(), path), ("PUT", format!("/reviews/{id}/hidden")));
    assert_eq!(body, json!({ "reason": "slander" }));
    let (_, (method, ..)) = run(&["review-hide", &id]);
    assert_eq!(method, "DELETE");
    let (said, (_, path, _)) = run(&["reviews", "seller"]);
    assert_eq!(path, "/users/seller/reviews?limit=50");
    assert!(said.contains("4.00 of 5") && said.contains("hidden: slander"), "{said}");
    assert!(!said.contains('\u{1b}'), "what others write can't steer the terminal");
}
