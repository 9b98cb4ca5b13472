use aegis_common::code::Code;
use aegis_common::ids::EscrowId;
use aegis_common::role::Role;
use aegis_common::time::{Clock, SignedDuration};
use aegis_common::wire::account::AccountRole;
use aegis_server::api::body::{SMALL, STATEMENT};
use aegis_server::ws::Timing;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::support::{Person, TestServer, acceptance, problem, said, server, server_with};

const LOGIN: &str = "/api/v1/auth/login";

#[actix_web::test]
async fn text_that_is_no_json_is_malformed_and_values_that_are_not_allowed_are_invalid() {
    let server = server().await;
    let raw = |body: &'static str, media: &'static str| {
        let post = server.request(Method::POST, LOGIN);
        post.header("content-type", media).body(body).send()
    };
    for body in ["", "{", "nonsense", "{\"username\":"] {
        problem(raw(body, "application/json").await.unwrap(), Code::Malformed).await;
    }
    problem(raw("{}", "text/plain").await.unwrap(), Code::Malformed).await;
    for body in
        ["{}", "[]", "{\"username\":1,\"password\":\"x\"}", "{\"username\":\"a\",\"password\":\"b\",\"c\":1}"]
    {
        problem(raw(body, "application/json").await.unwrap(), Code::Invalid).await;
    }
}

#[actix_web::test]
async fn bodies_are_bounded_statements_more_generously_than_others() {
    let server = server().await;
    let person = server.person("big-person", 1, AccountRole::User).await;
    let sized = |path: String, bytes: usize| {
        let body = format!("{{\"x\":\"{}\"}}", "a".repeat(bytes - 8));
        let post = server.request(Method::POST, &path).bearer_auth(&person.token);
        post.header("content-type", "application/json").body(body).send()
    };
    problem(sized(LOGIN.into(), SMALL).await.unwrap(), Code::Invalid).await;
    problem(sized(LOGIN.into(), SMALL + 1).await.unwrap(), Code::TooLarge).await;
    let statements = format!("/api/v1/escrows/{}/statements", Uuid::now_v7());
    problem(sized(statements.clone(), STATEMENT).await.unwrap(), Code::Invalid).await;
    problem(sized(statements, STATEMENT + 1).await.unwrap(), Code::TooLarge).await;
    // Without a length the bound holds while reading.
    let mut raw = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST {LOGIN} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    raw.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..=SMALL / 1024 {
        raw.write_all(format!("400\r\n{}\r\n", " ".repeat(1024)).as_bytes()).await.unwrap();
    }
    let mut start = [0; 12];
    raw.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
}

#[actix_web::test]
async fn addresses_that_do_not_exist_methods_and_parameters_that_are_not_understood_are_problems() {
    let server = server().await;
    let person = server.person("lost-person", 1, AccountRole::User).await;
    for path in ["/", "/api", "/api/v1", "/api/v1/nothing", "/api/v2/me", "/api/v1/me/", "/docs/nothing.js"] {
        problem(server.get(path, &person).send().await.unwrap(), Code::NotFound).await;
    }
    let deleted = server.request(Method::DELETE, "/api/v1/escrows").send().await.unwrap();
    assert_eq!(deleted.headers()["allow"], "POST, GET");
    problem(deleted, Code::MethodNotAllowed).await;
    problem(server.get("/api/v1/escrows/7", &person).send().await.unwrap(), Code::Malformed).await;
    for query in ["status=LOST", "before=7", "limit=many", "limt=5"] {
        let path = format!("/api/v1/escrows?{query}");
        problem(server.get(&path, &person).send().await.unwrap(), Code::Malformed).await;
    }
    for limit in ["0", "101"] {
        for path in ["/api/v1/escrows", "/api/v1/events"] {
            let path = format!("{path}?limit={limit}");
            problem(server.get(&path, &person).send().await.unwrap(), Code::Invalid).await;
        }
    }
}

#[actix_web::test]
async fn a_token_that_is_missing_damaged_or_expired_is_refused() {
    let server = server().await;
    let person = server.person("some-person", 1, AccountRole::User).await;
    let me = || server.request(Method::GET, "/api/v1/me");
    let bare = me().send().await.unwrap();
    assert_eq!(bare.headers()["www-authenticate"], "Bearer");
    problem(bare, Code::Unauthenticated).await;
    problem(me().bearer_auth("a.b.c").send().await.unwrap(), Code::Unauthenticated).await;
    problem(me().basic_auth("a", Some("b")).send().await.unwrap(), Code::Unauthenticated).await;
    server.clock.advance(SignedDuration::from_secs(599));
    assert!(me().bearer_auth(&person.token).send().await.unwrap().status().is_success());
    server.clock.advance(SignedDuration::from_secs(1));
    problem(me().bearer_auth(&person.token).send().await.unwrap(), Code::Unauthenticated).await;
}

#[actix_web::test]
async fn a_wrong_password_and_an_unknown_name_get_the_same_answer() {
    let server = server().await;
    server.person("known-person", 1, AccountRole::User).await;
    let mut answers = Vec::new();
    for name in ["known-person", "unknown-person", "no name at all"] {
        let body = json!({ "username": name, "password": "wrong horse battery" });
        let sent = server.request(Method::POST, LOGIN).json(&body).send().await.unwrap();
        let mut said = problem(sent, Code::BadCredentials).await;
        said.request_id = None;
        answers.push(said);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
}

#[actix_web::test]
async fn rate_limits_hold_by_account_by_address_and_for_everything() {
    let login = async |server: &TestServer, name: &str| {
        let body = json!({ "username": name, "password": "wrong horse battery" });
        server.request(Method::POST, LOGIN).json(&body).send().await.unwrap()
    };
    let by_account = server_with(&[("AEGIS_RATE_LOGINS_PER_MINUTE", "2")], Timing::default()).await;
    for _ in 0..2 {
        problem(login(&by_account, "anybody").await, Code::BadCredentials).await;
    }
    let refused = login(&by_account, "ANYBODY").await;
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    problem(refused, Code::RateLimited).await;
    problem(login(&by_account, "somebody").await, Code::BadCredentials).await;

    let by_address = server_with(&[("AEGIS_RATE_CREDENTIALS_PER_MINUTE", "1")], Timing::default()).await;
    problem(login(&by_address, "anybody").await, Code::BadCredentials).await;
    problem(login(&by_address, "somebody").await, Code::RateLimited).await;
    let settings = [("AEGIS_RATE_REQUESTS_PER_SECOND", "1"), ("AEGIS_RATE_BURST", "3")];
    let all = server_with(&settings, Timing::default()).await;
    let mut refused = 0;
    for _ in 0..8 {
        let sent = all.request(Method::GET, "/health").send().await.unwrap();
        if sent.status() == 429 {
            problem(sent, Code::RateLimited).await;
            refused += 1;
        }
    }
    assert!((3..=5).contains(&refused), "{refused}");
}

#[actix_web::test]
async fn unknown_and_foreign_escrows_are_the_same_404_everywhere() {
    let server = server().await;
    let [buyer, seller, _] = server.people().await;
    let stranger = server.person("stranger", 9, AccountRole::Admin).await;
    let escrow = server.escrow(&buyer, &seller, "one").await;
    for id in [escrow.id, EscrowId(Uuid::now_v7())] {
        let mut statement = acceptance(&escrow, Role::Buyer, &stranger);
        statement.statement.escrow_id = id;
        for (method, tail, body) in [
            (Method::GET, "", None),
            (Method::GET, "/transcript", None),
            (Method::GET, "/deposits", None),
            (Method::DELETE, "", None),
            (Method::POST, "/statements", Some(said(&statement))),
        ] {
            let request = server.request(method, &format!("/api/v1/escrows/{id}{tail}"));
            let request = request.bearer_auth(&stranger.token);
            let request = body.iter().fold(request, |request, body: &Value| request.json(body));
            problem(request.send().await.unwrap(), Code::NotFound).await;
        }
    }
}

#[actix_web::test]
async fn contracts_that_are_not_allowed_are_refused_with_their_reason() {
    let server = server().await;
    let [buyer, seller, arbiter] = server.people().await;
    let now = server.clock.now();
    let order = |changes: Value| {
        let mut order = server.order(&seller);
        for (key, value) in changes.as_object().unwrap() {
            order[key] = value.clone();
        }
        order
    };
    for (changes, code) in [
        (json!({ "role": "arbiter" }), Code::Invalid),
        (json!({ "counterparty": "nobody-here" }), Code::UnknownUser),
        (json!({ "counterparty": buyer.name }), Code::UnknownUser),
        (json!({ "counterparty": "not a name!" }), Code::UnknownUser),
        (json!({ "arbiter": seller.name }), Code::UnknownUser),
        (json!({ "arbiter": buyer.name }), Code::UnknownUser),
        (json!({ "counterparty": arbiter.name }), Code::NoArbiter),
        (json!({ "counterparty": arbiter.name, "arbiter": arbiter.name }), Code::UnknownUser),
        (json!({ "amount": "999999999" }), Code::BadContract),
        (json!({ "amount": "-1" }), Code::Invalid),
        (json!({ "amount": 5 }), Code::Invalid),
        (json!({ "title": "" }), Code::BadContract),
        (json!({ "finalityDepth": 9 }), Code::BadContract),
        (json!({ "expiresAt": now }), Code::BadContract),
    ] {
        let sent = server.create(&buyer, &Uuid::now_v7().to_string(), &order(changes)).send().await.unwrap();
        problem(sent, code).await;
    }
    let bare = server.post("/api/v1/escrows", &buyer, &order(json!({}))).send().await.unwrap();
    problem(bare, Code::IdempotencyMissing).await;
    let long = server.create(&buyer, &"k".repeat(256), &order(json!({}))).send().await.unwrap();
    problem(long, Code::Invalid).await;
}

#[actix_web::test]
async fn a_stale_version_is_refused_and_told_the_present_one() {
    let server = server().await;
    let [buyer, seller, _] = server.people().await;
    let escrow = server.escrow(&buyer, &seller, "one").await;
    let path = format!("/api/v1/escrows/{}", escrow.id);
    let statement = said(&acceptance(&escrow, Role::Seller, &seller));
    let post = |who: &Person, version: &str| {
        server.post(&format!("{path}/statements"), who, &statement).header("If-Match", version.to_owned())
    };
    let stale = problem(post(&seller, "\"0\"").send().await.unwrap(), Code::StaleVersion).await;
    assert_eq!(stale.current_version, Some(escrow.version));
    problem(post(&seller, "newest").send().await.unwrap(), Code::Malformed).await;
    assert!(post(&seller, &format!("\"{}\"", escrow.version)).send().await.unwrap().status().is_success());
    let delete = || server.request(Method::DELETE, &path).bearer_auth(&buyer.token);
    let stale = delete().header("If-Match", format!("{}", escrow.version)).send().await.unwrap();
    assert_eq!(problem(stale, Code::StaleVersion).await.current_version, Some(escrow.version + 1));
    // To others it doesn't exist, in whatever version.
    let stranger = server.person("stranger", 9, AccountRole::User).await;
    let theirs = server.request(Method::DELETE, &path).bearer_auth(&stranger.token).header("If-Match", "0");
    problem(theirs.send().await.unwrap(), Code::NotFound).await;
}

#[actix_web::test]
async fn statements_of_others_and_with_wrong_signatures_are_refused() {
    let server = server().await;
    let [buyer, seller, _] = server.people().await;
    let escrow = server.escrow(&buyer, &seller, "one").await;
    let path = format!("/api/v1/escrows/{}/statements", escrow.id);
    let sellers = acceptance(&escrow, Role::Seller, &seller);
    problem(server.post(&path, &buyer, &said(&sellers)).send().await.unwrap(), Code::WrongAuthor).await;
    let mut forged = acceptance(&escrow, Role::Buyer, &buyer);
    forged.signature.0[0] ^= 1;
    problem(server.post(&path, &buyer, &said(&forged)).send().await.unwrap(), Code::BadSignature).await;
    let delete = server.request(Method::DELETE, &format!("/api/v1/escrows/{}", escrow.id));
    problem(delete.bearer_auth(&seller.token).send().await.unwrap(), Code::Forbidden).await;
}

#[actix_web::test]
async fn every_answer_carries_strict_headers() {
    let server = server().await;
    for path in ["/health", "/api/v1/me", "/nothing", "/docs/"] {
        let sent = server.request(Method::GET, path).send().await.unwrap();
        let headers = sent.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["x-frame-options"], "DENY");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["cache-control"], "no-store");
        let csp = headers["content-security-policy"].to_str().unwrap();
        assert!(csp.starts_with("default-src 'none'") && csp.contains("frame-ancestors 'none'"), "{csp}");
        assert!(headers.contains_key("x-request-id"));
    }
}
