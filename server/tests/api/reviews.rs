//! Reviews of traders and arbiters.

use aegis_common::code::Code;
use aegis_common::escrow::state::Status;
use aegis_common::ids::{EscrowId, ReviewId};
use aegis_common::time::SignedDuration;
use aegis_common::wire::account::AccountRole;
use aegis_common::wire::market::{EscrowReviews, ReviewPage, ReviewView};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::market::taken;
use crate::support::{Person, TestServer, problem, server};

async fn reviewed(server: &TestServer, who: &Person, escrow: EscrowId, body: &Value) -> Response {
    server.post(&format!("/api/v1/escrows/{escrow}/reviews"), who, body).send().await.unwrap()
}

#[actix_web::test]
async fn reviews_are_written_changed_answered_hidden_and_averaged() {
    let server = server().await;
    let [buyer, seller, arbiter] = server.people().await;
    let operator = server.person("the-operator", 9, AccountRole::Operator).await;
    let escrow = server.escrow(&buyer, &seller, "one").await;
    server.moves(escrow.id, Status::CompletedReleased).await;
    let good = json!({ "subject": "seller", "stars": 5, "text": "As described." });
    let sent = reviewed(&server, &buyer, escrow.id, &good).await;
    assert_eq!(sent.status(), StatusCode::CREATED);
    let made: ReviewView = sent.json().await.unwrap();
    assert_eq!((made.version, made.stars, made.escrow_id), (1, Some(5), Some(escrow.id)));
    problem(reviewed(&server, &buyer, escrow.id, &good).await, Code::AlreadyDone).await;
    let fair = json!({ "subject": "arbiter", "stars": 4 });
    assert_eq!(reviewed(&server, &buyer, escrow.id, &fair).await.status(), StatusCode::CREATED);
    assert_eq!(reviewed(&server, &seller, escrow.id, &fair).await.status(), StatusCode::CREATED);
    assert_eq!(server.told(&seller, "ReviewPosted").await.len(), 1);

    let within = format!("/api/v1/escrows/{}/reviews", escrow.id);
    for party in [&buyer, &seller, &arbiter] {
        let EscrowReviews { reviews } = server.found(&within, party).await;
        assert_eq!((reviews.len(), reviews[0].id), (3, made.id));
        assert!(reviews.iter().all(|review| review.escrow_id == Some(escrow.id)));
    }
    problem(server.get(&within, &operator).send().await.unwrap(), Code::NotFound).await;

    let path = format!("/api/v1/reviews/{}", made.id);
    let change = |who: &Person, version: i64, body: Value| {
        let request = server.request(Method::PATCH, &path).bearer_auth(&who.token);
        request.header("If-Match", version).json(&body).send()
    };
    let changed = change(&buyer, 1, json!({ "stars": 3 })).await.unwrap();
    let changed: ReviewView = changed.json().await.unwrap();
    assert_eq!((changed.version, changed.stars, changed.text), (2, Some(3), made.text.clone()));
    assert!(changed.edited_at.is_some());
    problem(change(&buyer, 1, json!({ "stars": 1 })).await.unwrap(), Code::StaleVersion).await;
    problem(change(&seller, 2, json!({ "stars": 1 })).await.unwrap(), Code::Forbidden).await;
    let answer = async |who: &Person| {
        let request = server.request(Method::PUT, &format!("{path}/answer")).bearer_auth(&who.token);
        request.json(&json!({ "text": "Thank you." })).send().await.unwrap()
    };
    problem(answer(&buyer).await, Code::Forbidden).await;
    let answered: ReviewView = answer(&seller).await.json().await.unwrap();
    assert_eq!(answered.answer.unwrap().text, "Thank you.");
    problem(answer(&seller).await, Code::AlreadyDone).await;
    assert_eq!(server.told(&buyer, "ReviewAnswered").await.len(), 1);

    let page: ReviewPage = server.found("/api/v1/users/sam-SELLER/reviews", &arbiter).await;
    assert_eq!((page.count, page.average.as_deref(), page.next), (1, Some("3.00"), None));
    assert_eq!(page.reviews[0].escrow_id, None, "it is no concern of others");
    let arbiters: ReviewPage = server.found("/api/v1/users/Ada-arbiter/reviews?limit=1", &buyer).await;
    assert_eq!((arbiters.count, arbiters.average.as_deref()), (2, Some("4.00")));
    let next = arbiters.next.unwrap();
    let rest = format!("/api/v1/users/Ada-arbiter/reviews?limit=1&before={next}");
    assert_eq!(server.found::<ReviewPage>(&rest, &buyer).await.next, None);

    let hide = server.request(Method::PUT, &format!("{path}/hidden")).bearer_auth(&operator.token);
    let hidden: ReviewView =
        taken(hide.json(&json!({ "reason": "names a third person" })), StatusCode::OK).await;
    assert_eq!(hidden.hidden.as_deref(), Some("names a third person"));
    assert_eq!((hidden.stars, hidden.text, hidden.answer), (None, None, None));
    let page: ReviewPage = server.found("/api/v1/users/Sam-seller/reviews", &seller).await;
    assert_eq!((page.count, page.average, page.reviews.len()), (0, None, 1));
    let audit = server.state.store.audit_of(buyer.view.id, None, 100).await.unwrap();
    let line = audit.iter().find(|line| line.kind == "reviewHidden").unwrap();
    assert_eq!((&line.detail["by"], &line.detail["review"]), (&json!(operator.view.id), &json!(made.id)));
    let show = server.request(Method::DELETE, &format!("{path}/hidden")).bearer_auth(&operator.token);
    let shown: ReviewView = taken(show, StatusCode::OK).await;
    assert_eq!((shown.stars, shown.hidden), (Some(3), None));

    let reputation = server.state.accounts.lookup(&seller.name).await.unwrap().reputation;
    assert_eq!((reputation.released, reputation.refunded), (1, 0), "from the escrow alone");
    server.clock.advance(SignedDuration::from_hours(24 * 14 + 1));
    let late = Person { token: server.login(&buyer.name).await.token, ..buyer.clone() };
    problem(change(&late, shown.version, json!({ "stars": 1 })).await.unwrap(), Code::WrongState).await;
}

#[actix_web::test]
async fn reviews_that_are_not_in_order_are_refused() {
    let server = server().await;
    let [buyer, seller, arbiter] = server.people().await;
    let escrow = server.escrow(&buyer, &seller, "one").await;
    let review = |subject: &str, stars: i64| json!({ "subject": subject, "stars": stars });
    problem(reviewed(&server, &buyer, escrow.id, &review("seller", 5)).await, Code::WrongState).await;
    server.moves(escrow.id, Status::Expired).await;
    problem(reviewed(&server, &buyer, escrow.id, &review("seller", 5)).await, Code::WrongState).await;
    server.moves(escrow.id, Status::CompletedRefunded).await;
    // What came in part went back: anybody can have that, for a few pieces of dust.
    let of = format!("WHERE id = X'{}'", escrow.id.0.simple());
    let partial = |from: bool, to: bool| {
        let (from, to) = (format!("\"partial\":{from}"), format!("\"partial\":{to}"));
        server.tamper(&format!("UPDATE escrows SET snapshot = replace(snapshot, '{from}', '{to}') {of}"));
    };
    partial(false, true);
    problem(reviewed(&server, &buyer, escrow.id, &review("seller", 5)).await, Code::WrongState).await;
    partial(true, false);
    problem(reviewed(&server, &arbiter, escrow.id, &review("seller", 5)).await, Code::Forbidden).await;
    for body in [
        review("buyer", 5),
        review("seller", 0),
        review("seller", 6),
        review("seller", 256),
        review("king", 5),
        json!({ "subject": "seller", "stars": 5, "text": "x".repeat(2001) }),
        json!({ "subject": "seller", "stars": 5, "text": "a\u{1b}[2Jb" }),
    ] {
        problem(reviewed(&server, &buyer, escrow.id, &body).await, Code::Invalid).await;
    }
    let sent = reviewed(&server, &buyer, escrow.id, &review("seller", 5)).await;
    let made: ReviewView = sent.json().await.unwrap();
    for (method, tail, body, code) in [
        (Method::PATCH, "", json!({ "stars": 1 }), Code::Invalid),
        (Method::PUT, "/answer", json!({ "text": "" }), Code::Invalid),
        (Method::PUT, "/hidden", json!({ "reason": "x" }), Code::Forbidden),
    ] {
        let request = server.request(method, &format!("/api/v1/reviews/{}{tail}", made.id));
        problem(request.bearer_auth(&buyer.token).json(&body).send().await.unwrap(), code).await;
    }
    let unknown = format!("/api/v1/reviews/{}", ReviewId(Uuid::now_v7()));
    problem(server.get(&unknown, &buyer).send().await.unwrap(), Code::NotFound).await;
    let nobody = server.get("/api/v1/users/nobody-here/reviews", &buyer).send().await.unwrap();
    problem(nobody, Code::NotFound).await;
}
