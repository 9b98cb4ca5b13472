//! Logins with one and two factors, sessions, API keys, passwords: each right way once, and the wrong ones.

use std::time::Duration;

use aegis_common::code::Code;
use aegis_common::hash::Hash32;
use aegis_common::identity::PasswordReset;
use aegis_common::testing;
use aegis_common::time::{Clock, SignedDuration};
use aegis_common::wire::account::{
    AccountRole, ApiKeys, AuditPage, BackupCodes, FactorKind, LoggedIn, LoginAnswer, MeView, NewApiKey,
    Sessions, StepUpView, TotpEnrolment, UserView, bounds,
};
use aegis_common::wire::event::EventPage;
use aegis_server::accounts::Origin;
use aegis_server::app::routes::ROUTES;
use aegis_server::ws::Timing;
use futures_util::StreamExt;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use totp_rs::{Builder, Secret};

use crate::support::{PASSWORD, Person, TestServer, payout_address, problem, server, server_with};

const NEW_PASSWORD: &str = "orbit plum wombat kettle";

/// What an authenticator shows now.
pub fn code(server: &TestServer, base32: &str) -> String {
    let secret = Secret::try_from_base32(base32).unwrap();
    let totp = Builder::new().with_secret(secret).with_account_name("x").build().unwrap();
    totp.generate(u64::try_from(server.clock.now().as_second()).unwrap()).to_string()
}

/// Sets an authenticator up: its secret and the backup codes.
pub async fn enrol(server: &TestServer, who: &Person) -> (String, Vec<String>) {
    let sent = server.post("/api/v1/me/totp", who, &json!({})).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::OK, "{}", sent.text().await.unwrap());
    let made: TotpEnrolment = sent.json().await.unwrap();
    let body = json!({ "code": code(server, &made.secret) });
    let sent = server.post("/api/v1/me/totp/confirm", who, &body).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::OK, "{}", sent.text().await.unwrap());
    let codes: BackupCodes = sent.json().await.unwrap();
    // The code of this step is used up.
    server.clock.advance(SignedDuration::from_secs(60));
    (made.secret, codes.codes)
}

async fn send(server: &TestServer, path: &str, body: &Value) -> Response {
    server.request(Method::POST, path).json(body).send().await.unwrap()
}

async fn login(server: &TestServer, name: &str, password: &str) -> Response {
    send(server, "/api/v1/auth/login", &json!({ "username": name, "password": password })).await
}

/// The token that waits for a second factor.
pub async fn halfway(server: &TestServer, name: &str) -> (String, Vec<FactorKind>) {
    match login(server, name, PASSWORD).await.json().await.unwrap() {
        LoginAnswer::SecondFactor(needed) => (needed.token, needed.methods),
        LoginAnswer::LoggedIn(_) => panic!("no second factor was asked for"),
    }
}

async fn second(server: &TestServer, token: &str, factor: Value) -> Response {
    send(server, "/api/v1/auth/second-factor", &json!({ "token": token, "factor": factor })).await
}

fn person(of: &Person, session: LoggedIn) -> Person {
    Person { token: session.token, ..of.clone() }
}

async fn me(server: &TestServer, who: &Person) -> Response {
    server.get("/api/v1/me", who).send().await.unwrap()
}

async fn kinds(server: &TestServer, who: &Person) -> Vec<String> {
    let page: AuditPage = server.get("/api/v1/me/audit", who).send().await.unwrap().json().await.unwrap();
    page.entries.into_iter().map(|entry| entry.kind).collect()
}

async fn step_up(server: &TestServer, who: &Person, factor: Value) -> Response {
    server.post("/api/v1/auth/step-up", who, &json!({ "factor": factor })).send().await.unwrap()
}

#[actix_web::test]
async fn an_authenticator_is_asked_for_at_login_and_no_code_of_it_works_twice() {
    let server = server().await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    let made = server.post("/api/v1/me/totp", &ann, &json!({})).send().await.unwrap();
    let made: TotpEnrolment = made.json().await.unwrap();
    assert!(made.uri.starts_with("otpauth://totp/Aegis:ann?") && made.svg.starts_with("<svg"));
    // It counts once it is confirmed.
    assert!(!me(&server, &ann).await.json::<MeView>().await.unwrap().totp_enabled);
    server.login("ann").await;
    let wrong = json!({ "code": "000000" });
    let sent = server.post("/api/v1/me/totp/confirm", &ann, &wrong).send().await.unwrap();
    problem(sent, Code::BadFactor).await;
    let (secret, codes) = enrol(&server, &ann).await;
    assert_eq!(codes.len(), bounds::BACKUP_CODES);
    let again = server.post("/api/v1/me/totp", &ann, &json!({})).send().await.unwrap();
    problem(again, Code::SecondFactorExists).await;

    let (token, methods) = halfway(&server, "ann").await;
    assert_eq!(methods, [FactorKind::Totp, FactorKind::BackupCode]);
    problem(second(&server, &token, json!({ "totp": "000000" })).await, Code::BadFactor).await;
    problem(second(&server, &token, json!({ "password": PASSWORD })).await, Code::BadFactor).await;
    problem(second(&server, "nonsense", json!({ "totp": code(&server, &secret) })).await, Code::BadFactor)
        .await;
    let now = code(&server, &secret);
    let session: LoggedIn = second(&server, &token, json!({ "totp": now })).await.json().await.unwrap();
    let ann = person(&ann, session);
    let view: MeView = me(&server, &ann).await.json().await.unwrap();
    assert!(view.totp_enabled && view.backup_codes == 10);
    // Neither the login's token nor the code works again, though both are still in time.
    server.clock.advance(SignedDuration::from_secs(29));
    problem(second(&server, &token, json!({ "totp": now })).await, Code::BadFactor).await;
    let (token, _) = halfway(&server, "ann").await;
    problem(second(&server, &token, json!({ "totp": now })).await, Code::BadFactor).await;
    // A backup code stands in, once, however it is typed.
    let typed = codes[0].to_lowercase().replace('-', " ");
    assert_eq!(second(&server, &token, json!({ "backupCode": typed })).await.status(), StatusCode::OK);
    let (token, _) = halfway(&server, "ann").await;
    problem(second(&server, &token, json!({ "backupCode": codes[0] })).await, Code::BadFactor).await;
    // Five minutes, and not one more second.
    server.clock.advance(SignedDuration::from_secs(300));
    let late = second(&server, &token, json!({ "backupCode": codes[1] })).await;
    problem(late, Code::BadFactor).await;
    let audit = kinds(&server, &ann).await;
    for kind in ["registered", "totpEnabled", "loggedIn", "secondFactorFailed", "backupCodeUsed"] {
        assert!(audit.iter().any(|said| said == kind), "{kind}: {audit:?}");
    }
}

#[actix_web::test]
async fn five_wrong_codes_use_a_login_up_and_six_digits_cannot_be_searched() {
    let server = server().await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    let (secret, _) = enrol(&server, &ann).await;
    let (token, _) = halfway(&server, "ann").await;
    for _ in 0..5 {
        problem(second(&server, &token, json!({ "totp": "000000" })).await, Code::BadFactor).await;
    }
    let right = || json!({ "totp": code(&server, &secret) });
    problem(second(&server, &token, right()).await, Code::BadFactor).await;
    // A new login does not bring new tries: the next comes five minutes later, with a fresh login.
    let (token, _) = halfway(&server, "ann").await;
    let refused = second(&server, &token, right()).await;
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=300).contains(&wait), "{wait}");
    problem(refused, Code::RateLimited).await;
    server.clock.advance(SignedDuration::from_secs(300));
    let (token, _) = halfway(&server, "ann").await;
    assert_eq!(second(&server, &token, right()).await.status(), StatusCode::OK);
    // The right one made the budget whole.
    server.clock.advance(SignedDuration::from_secs(60));
    let (token, _) = halfway(&server, "ann").await;
    for _ in 0..4 {
        problem(second(&server, &token, json!({ "totp": "000000" })).await, Code::BadFactor).await;
    }
    assert_eq!(second(&server, &token, right()).await.status(), StatusCode::OK);
}

#[actix_web::test]
async fn a_login_that_waits_for_its_second_factor_is_bound_to_its_address() {
    let settings = [("AEGIS_TRUSTED_PROXIES", "127.0.0.1")];
    let server = server_with(&settings, Timing::default()).await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    let (secret, _) = enrol(&server, &ann).await;
    let from = |ip: &'static str, path: &str, body: Value| {
        server.request(Method::POST, path).header("x-forwarded-for", ip).json(&body).send()
    };
    let body = json!({ "username": "ann", "password": PASSWORD });
    let asked = from("192.0.2.1", "/api/v1/auth/login", body).await.unwrap().json().await.unwrap();
    let LoginAnswer::SecondFactor(needed) = asked else { panic!("no second factor was asked for") };
    let answer = json!({ "token": needed.token, "factor": { "totp": code(&server, &secret) } });
    let elsewhere = from("192.0.2.2", "/api/v1/auth/second-factor", answer.clone()).await.unwrap();
    problem(elsewhere, Code::BadFactor).await;
    let here = from("192.0.2.1", "/api/v1/auth/second-factor", answer).await.unwrap();
    assert_eq!(here.status(), StatusCode::OK);
}

#[actix_web::test]
async fn what_is_sensitive_asks_for_a_fresh_proof_and_only_the_token_that_has_it_serves() {
    let server = server().await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    let address = json!({ "payoutAddress": payout_address(aegis_common::address::Network::Regtest, 9) });
    let put = |who: &Person| {
        let put = server.request(Method::PUT, "/api/v1/me/payout-address").bearer_auth(&who.token);
        put.json(&address).send()
    };
    assert_eq!(put(&ann).await.unwrap().status(), StatusCode::OK, "a login is fresh");
    server.clock.advance(SignedDuration::from_secs(300));
    problem(put(&ann).await.unwrap(), Code::StepUpRequired).await;
    problem(step_up(&server, &ann, json!({ "password": "a wrong one" })).await, Code::BadFactor).await;
    let proved: StepUpView =
        step_up(&server, &ann, json!({ "password": PASSWORD })).await.json().await.unwrap();
    problem(put(&ann).await.unwrap(), Code::StepUpRequired).await;
    let fresh = Person { token: proved.token, ..ann.clone() };
    assert_eq!(put(&fresh).await.unwrap().status(), StatusCode::OK);
    // With a second factor the password is no proof any more.
    let (secret, codes) = enrol(&server, &fresh).await;
    problem(step_up(&server, &fresh, json!({ "password": PASSWORD })).await, Code::BadFactor).await;
    let factor = json!({ "totp": code(&server, &secret) });
    assert_eq!(step_up(&server, &fresh, factor.clone()).await.status(), StatusCode::OK);
    problem(step_up(&server, &fresh, factor).await, Code::BadFactor).await;
    assert_eq!(step_up(&server, &fresh, json!({ "backupCode": codes[0] })).await.status(), StatusCode::OK);
    let none = server.post("/api/v1/auth/step-up/passkey", &fresh, &json!({})).send().await.unwrap();
    problem(none, Code::PasskeysOff).await;
    // Refreshing proves nothing.
    server.clock.advance(SignedDuration::from_secs(301));
    let (token, _) = halfway(&server, "ann").await;
    let session: LoggedIn =
        second(&server, &token, json!({ "totp": code(&server, &secret) })).await.json().await.unwrap();
    let next = send(&server, "/api/v1/auth/refresh", &json!({ "refreshToken": session.refresh_token })).await;
    let next = person(&ann, next.json().await.unwrap());
    problem(put(&next).await.unwrap(), Code::StepUpRequired).await;
    // To be rid of the authenticator takes a code of it, and the backup codes go with it.
    let (token, _) = halfway(&server, "ann").await;
    let fresh: LoggedIn =
        second(&server, &token, json!({ "backupCode": codes[1] })).await.json().await.unwrap();
    let fresh = person(&ann, fresh);
    let disable =
        |code: String| server.post("/api/v1/me/totp/disable", &fresh, &json!({ "code": code })).send();
    problem(disable("000000".to_owned()).await.unwrap(), Code::BadFactor).await;
    server.clock.advance(SignedDuration::from_secs(60));
    assert_eq!(disable(code(&server, &secret)).await.unwrap().status(), StatusCode::NO_CONTENT);
    let view: MeView = me(&server, &fresh).await.json().await.unwrap();
    assert!(!view.totp_enabled && view.backup_codes == 0);
    problem(disable(code(&server, &secret)).await.unwrap(), Code::SecondFactorMissing).await;
    server.login("ann").await;
}

#[actix_web::test]
async fn backup_codes_are_issued_anew_and_the_old_ones_end() {
    let server = server().await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    let issue = || server.post("/api/v1/me/backup-codes", &ann, &json!({})).send();
    problem(issue().await.unwrap(), Code::SecondFactorMissing).await;
    let (_, old) = enrol(&server, &ann).await;
    let new: BackupCodes = issue().await.unwrap().json().await.unwrap();
    assert!(new.codes.iter().all(|code| !old.contains(code)));
    let (token, _) = halfway(&server, "ann").await;
    problem(second(&server, &token, json!({ "backupCode": old[3] })).await, Code::BadFactor).await;
    assert_eq!(second(&server, &token, json!({ "backupCode": new.codes[3] })).await.status(), StatusCode::OK);
}

#[actix_web::test]
async fn a_refresh_token_works_once_and_one_that_comes_again_ends_the_session_and_is_told() {
    let server = server().await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    let first = server.login("ann").await;
    let refresh = |token: &str| {
        let body = json!({ "refreshToken": token });
        server.request(Method::POST, "/api/v1/auth/refresh").json(&body).send()
    };
    let second: LoggedIn = refresh(&first.refresh_token).await.unwrap().json().await.unwrap();
    assert_eq!(second.session, first.session);
    let both = [person(&ann, first.clone()), person(&ann, second.clone())];
    for who in &both {
        assert_eq!(me(&server, who).await.status(), StatusCode::OK);
    }
    problem(refresh(&first.refresh_token).await.unwrap(), Code::SessionRevoked).await;
    problem(refresh(&second.refresh_token).await.unwrap(), Code::SessionRevoked).await;
    for who in &both {
        problem(me(&server, who).await, Code::SessionRevoked).await;
    }
    // Other sessions go on, and learn of it.
    let page: EventPage = server.get("/api/v1/events", &ann).send().await.unwrap().json().await.unwrap();
    let told = page.events.iter().find(|event| event.kind == "AccountNotice").expect("an event");
    assert_eq!(told.payload["kind"], "refreshReused");
    assert_eq!(told.payload["detail"]["session"], json!(first.session));
    assert!(kinds(&server, &ann).await.contains(&"refreshReused".to_owned()));
    for bad in ["", "nonsense", &first.token, &first.refresh_token[1..]] {
        problem(refresh(bad).await.unwrap(), Code::SessionRevoked).await;
    }
    // An unused session ends after thirty days, and any after ninety.
    let last = server.login("ann").await;
    server.clock.advance(SignedDuration::from_hours(24 * 30));
    problem(refresh(&last.refresh_token).await.unwrap(), Code::SessionRevoked).await;
    let mut last = server.login("ann").await;
    for _ in 0..4 {
        server.clock.advance(SignedDuration::from_hours(24 * 20));
        last = refresh(&last.refresh_token).await.unwrap().json().await.unwrap();
    }
    server.clock.advance(SignedDuration::from_hours(24 * 10));
    problem(refresh(&last.refresh_token).await.unwrap(), Code::SessionRevoked).await;
}

#[actix_web::test]
async fn sessions_are_listed_and_ended_at_once_on_open_sockets_too() {
    let server = server().await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    let bob = server.person("bob", 2, AccountRole::User).await;
    let body = json!({ "username": "ann", "password": PASSWORD, "device": "A telephone\u{202e}" });
    let sent = send(&server, "/api/v1/auth/login", &body).await.json().await.unwrap();
    let LoginAnswer::LoggedIn(phone) = sent else { panic!("a second factor was asked for") };
    let (id, phone) = (phone.session, person(&ann, *phone));
    let listed = |who: &Person| server.get("/api/v1/me/sessions", who).send();
    let sessions: Sessions = listed(&ann).await.unwrap().json().await.unwrap();
    let named: Vec<_> = sessions.sessions.iter().map(|s| (s.device.as_str(), s.current)).collect();
    assert_eq!(named.len(), 2);
    assert!(named.contains(&("A telephone", false)), "{named:?}");
    assert_eq!(sessions.sessions[0].network, "127.0.0.0/24");

    let ticket = server.post("/api/v1/ws/ticket", &phone, &json!({})).send().await.unwrap();
    let ticket = ticket.json::<Value>().await.unwrap()["ticket"].as_str().unwrap().to_owned();
    let url = format!("ws://{}/api/v1/ws?ticket={ticket}", server.address);
    let mut socket = connect_async(url).await.unwrap().0;
    // It is open: the first ping of an idle socket, or the page of events, can be long in coming, so ask.
    let end =
        |who: &Person, path: String| server.request(Method::DELETE, &path).bearer_auth(&who.token).send();
    let one = format!("/api/v1/me/sessions/{id}");
    problem(end(&bob, one.clone()).await.unwrap(), Code::NotFound).await;
    assert_eq!(end(&ann, one.clone()).await.unwrap().status(), StatusCode::NO_CONTENT);
    problem(end(&ann, one).await.unwrap(), Code::NotFound).await;
    problem(me(&server, &phone).await, Code::SessionRevoked).await;
    let closed = timeout(Duration::from_secs(5), async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.reason.to_string()),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    });
    assert_eq!(closed.await.unwrap().as_deref(), Some("the session is over"));

    let third = person(&ann, server.login("ann").await);
    let others = end(&third, "/api/v1/me/sessions?others=true".to_owned()).await.unwrap();
    assert_eq!(others.status(), StatusCode::NO_CONTENT);
    problem(me(&server, &ann).await, Code::SessionRevoked).await;
    assert_eq!(me(&server, &third).await.status(), StatusCode::OK);
    let all = end(&third, "/api/v1/me/sessions".to_owned()).await.unwrap();
    assert_eq!(all.status(), StatusCode::NO_CONTENT);
    problem(me(&server, &third).await, Code::SessionRevoked).await;
    assert_eq!(me(&server, &bob).await.status(), StatusCode::OK);
    // A logout ends its own.
    let last = person(&ann, server.login("ann").await);
    assert_eq!(
        server.post("/api/v1/auth/logout", &last, &json!({})).send().await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    problem(me(&server, &last).await, Code::SessionRevoked).await;
    // One more than there may be ends the one used least recently.
    let oldest = person(&ann, server.login("ann").await);
    for _ in 0..bounds::SESSIONS {
        server.clock.advance(SignedDuration::from_secs(1));
        server.login("ann").await;
    }
    problem(me(&server, &oldest).await, Code::SessionRevoked).await;
}

#[actix_web::test]
async fn an_api_key_does_what_its_scopes_say_until_it_ends() {
    let server = server().await;
    let [buyer, seller, _] = server.people().await;
    let make = |body: Value| server.post("/api/v1/me/api-keys", &buyer, &body).send();
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("x".repeat(65))),
        ("name", json!("a\nb")),
        ("scopes", json!([])),
        ("scopes", json!(["everything"])),
        ("days", json!(0)),
        ("days", json!(367)),
    ] {
        let mut body = json!({ "name": "shop", "scopes": ["read"], "days": 1 });
        body[field] = value;
        problem(make(body).await.unwrap(), Code::Invalid).await;
    }
    let sent = make(json!({ "name": "shop", "scopes": ["read"], "days": 1 })).await.unwrap();
    assert_eq!(sent.status(), StatusCode::CREATED);
    let reads: NewApiKey = sent.json().await.unwrap();
    assert!(reads.key.starts_with("aegis_key_"));
    let trades: NewApiKey = make(json!({ "name": "bot", "scopes": ["trade", "read"], "days": 366 }))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let by = |key: &NewApiKey| Person { token: key.key.clone(), ..buyer.clone() };
    assert_eq!(me(&server, &by(&reads)).await.status(), StatusCode::OK);
    let order = server.order(&seller);
    let refused = server.create(&by(&reads), "one", &order).send().await.unwrap();
    problem(refused, Code::ScopeMissing).await;
    let made = server.create(&by(&trades), "one", &order).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED);
    // Nothing that concerns credentials, and no way to a login.
    for path in ["/api/v1/me/sessions", "/api/v1/me/api-keys", "/api/v1/me/audit"] {
        problem(server.get(path, &by(&trades)).send().await.unwrap(), Code::ScopeMissing).await;
    }
    let keys: ApiKeys = server.get("/api/v1/me/api-keys", &buyer).send().await.unwrap().json().await.unwrap();
    assert_eq!(keys.keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["bot", "shop"]);
    assert!(keys.keys.iter().all(|key| key.used_at.is_some()));
    assert_eq!(keys.keys[0].scopes.len(), 2);
    // A changed digit is not the key.
    let mut wrong = reads.key.clone().into_bytes();
    let last = wrong.last_mut().unwrap();
    *last = if *last == b'0' { b'1' } else { b'0' };
    let wrong = Person { token: String::from_utf8(wrong).unwrap(), ..buyer.clone() };
    problem(me(&server, &wrong).await, Code::SessionRevoked).await;
    let path = format!("/api/v1/me/api-keys/{}", trades.view.id);
    let foreign = server.request(Method::DELETE, &path).bearer_auth(&seller.token).send().await.unwrap();
    problem(foreign, Code::NotFound).await;
    let ended = server.request(Method::DELETE, &path).bearer_auth(&buyer.token).send().await.unwrap();
    assert_eq!(ended.status(), StatusCode::NO_CONTENT);
    problem(me(&server, &by(&trades)).await, Code::SessionRevoked).await;
    server.clock.advance(SignedDuration::from_hours(24));
    problem(me(&server, &by(&reads)).await, Code::SessionRevoked).await;
}

#[actix_web::test]
async fn a_password_is_changed_by_the_old_one_and_other_sessions_end() {
    let server = server().await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    let other = person(&ann, server.login("ann").await);
    let put = |current: &str, new: &str| {
        let body = json!({ "current": current, "new": new });
        server.request(Method::PUT, "/api/v1/me/password").bearer_auth(&ann.token).json(&body).send()
    };
    problem(put("a wrong password", NEW_PASSWORD).await.unwrap(), Code::BadCredentials).await;
    problem(put(PASSWORD, "short").await.unwrap(), Code::Invalid).await;
    problem(put(PASSWORD, "password1234").await.unwrap(), Code::WeakPassword).await;
    assert_eq!(put(PASSWORD, NEW_PASSWORD).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(me(&server, &ann).await.status(), StatusCode::OK);
    problem(me(&server, &other).await, Code::SessionRevoked).await;
    problem(login(&server, "ann", PASSWORD).await, Code::BadCredentials).await;
    assert_eq!(login(&server, "ann", NEW_PASSWORD).await.status(), StatusCode::OK);
}

#[actix_web::test]
async fn a_password_is_reset_by_the_signing_key_once_and_in_time() {
    let settings = [("AEGIS_PUBLIC_URL", "https://Escrow.example/")];
    let server = server_with(&settings, Timing::default()).await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    server.person("bob", 2, AccountRole::User).await;
    let (secret, _) = enrol(&server, &ann).await;
    let for_server = |here: &str, name: &str, password: &str, late: i64, seed: u8| {
        let at = server.clock.now() - SignedDuration::from_secs(late);
        let words = PasswordReset {
            server: here.to_owned(),
            username: name.to_owned(),
            password_hash: Hash32::sha256(password.as_bytes()),
            at,
        };
        let signature = words.sign(&testing::signing_key(seed)).unwrap();
        json!({ "server": here, "username": name, "password": password, "at": at, "signature": signature })
    };
    let reset = |name: &str, password: &str, late: i64, seed: u8| {
        for_server("https://escrow.example", name, password, late, seed)
    };
    let send = |body: Value| server.request(Method::POST, "/api/v1/auth/reset").json(&body).send();
    for (name, late, seed) in
        [("ann", 0, 2), ("bob", 0, 1), ("ann", 301, 1), ("ann", -301, 1), ("nobody", 0, 1)]
    {
        problem(send(reset(name, NEW_PASSWORD, late, seed)).await.unwrap(), Code::BadReset).await;
    }
    let elsewhere = for_server("https://other.example", "ann", NEW_PASSWORD, 0, 1);
    problem(send(elsewhere).await.unwrap(), Code::BadReset).await;
    let mut swapped = reset("ann", NEW_PASSWORD, 0, 1);
    swapped["password"] = json!("another quite long password");
    problem(send(swapped).await.unwrap(), Code::BadReset).await;
    problem(send(reset("ann", "password1234", 0, 1)).await.unwrap(), Code::WeakPassword).await;
    let good = reset("ann", NEW_PASSWORD, 299, 1);
    assert_eq!(send(good.clone()).await.unwrap().status(), StatusCode::NO_CONTENT);
    problem(send(good).await.unwrap(), Code::BadReset).await;
    problem(me(&server, &ann).await, Code::SessionRevoked).await;
    problem(login(&server, "ann", PASSWORD).await, Code::BadCredentials).await;
    // The second factor stays.
    let needed = login(&server, "ann", NEW_PASSWORD).await.json().await.unwrap();
    let LoginAnswer::SecondFactor(needed) = needed else { panic!("no second factor was asked for") };
    let factor = json!({ "totp": code(&server, &secret) });
    assert_eq!(second(&server, &needed.token, factor).await.status(), StatusCode::OK);
}

#[actix_web::test]
async fn staff_acts_in_sessions_with_a_second_factor_only() {
    let settings = [("AEGIS_STAFF_SECOND_FACTOR", "yes")];
    let server = server_with(&settings, Timing::default()).await;
    let ann = server.person("ann", 1, AccountRole::Admin).await;
    let invitations = |who: &Person| server.get("/api/v1/invitations", who).send();
    let mut restricted = 0;
    for route in ROUTES.iter().filter(|route| {
        let few = |roles: &[AccountRole]| roles.len() < AccountRole::ALL.len();
        route.access.roles.is_some_and(|roles| few(roles) && roles.contains(&AccountRole::Admin))
    }) {
        let path =
            route.path.replace("{id}", &uuid::Uuid::now_v7().to_string()).replace("{username}", "nobody");
        let request = server.request(route.method.parse().unwrap(), &path).bearer_auth(&ann.token);
        problem(request.send().await.unwrap(), Code::WeakSession).await;
        restricted += 1;
    }
    assert!(restricted >= 8, "{restricted}");
    let (secret, _) = enrol(&server, &ann).await;
    assert_eq!(invitations(&ann).await.unwrap().status(), StatusCode::OK, "the code was just shown");
    let (token, _) = halfway(&server, "ann").await;
    let strong: LoggedIn =
        second(&server, &token, json!({ "totp": code(&server, &secret) })).await.json().await.unwrap();
    let refreshed =
        send(&server, "/api/v1/auth/refresh", &json!({ "refreshToken": strong.refresh_token })).await;
    let strong = person(&ann, refreshed.json().await.unwrap());
    assert_eq!(invitations(&strong).await.unwrap().status(), StatusCode::OK);
}

#[actix_web::test]
async fn an_account_is_disabled_with_all_that_is_open_and_enabled_again() {
    let server = server().await;
    let admin = server.person("the-admin", 1, AccountRole::Admin).await;
    let ann = server.person("ann", 2, AccountRole::User).await;
    let session = server.login("ann").await;
    let key = json!({ "name": "bot", "scopes": ["read"], "days": 1 });
    let key: NewApiKey =
        server.post("/api/v1/me/api-keys", &ann, &key).send().await.unwrap().json().await.unwrap();
    let disabled = |method: Method, name: &str| {
        let path = format!("/api/v1/users/{name}/disabled");
        server.request(method, &path).bearer_auth(&admin.token).send()
    };
    problem(disabled(Method::PUT, "nobody").await.unwrap(), Code::NotFound).await;
    assert_eq!(disabled(Method::PUT, "ANN").await.unwrap().status(), StatusCode::NO_CONTENT);
    for token in [&ann.token, &session.token, &key.key] {
        let who = Person { token: token.clone(), ..ann.clone() };
        problem(me(&server, &who).await, Code::SessionRevoked).await;
    }
    let refresh = json!({ "refreshToken": session.refresh_token });
    problem(send(&server, "/api/v1/auth/refresh", &refresh).await, Code::SessionRevoked).await;
    problem(login(&server, "ann", PASSWORD).await, Code::AccountDisabled).await;
    // Who does not know the password learns nothing of it.
    problem(login(&server, "ann", "a wrong password").await, Code::BadCredentials).await;
    assert_eq!(disabled(Method::DELETE, "ann").await.unwrap().status(), StatusCode::NO_CONTENT);
    let again = person(&ann, server.login("ann").await);
    assert_eq!(me(&server, &again).await.status(), StatusCode::OK);
    let path = "/api/v1/users/ann/sessions";
    let ended = server.request(Method::DELETE, path).bearer_auth(&admin.token).send().await.unwrap();
    assert_eq!(ended.status(), StatusCode::NO_CONTENT);
    problem(me(&server, &again).await, Code::SessionRevoked).await;
    assert_eq!(server.state.accounts.end_everybody().await.unwrap(), 1);
    problem(me(&server, &admin).await, Code::SessionRevoked).await;
}

#[actix_web::test]
async fn a_request_that_was_let_in_changes_nothing_when_its_session_ends_before_its_body_comes() {
    let server = server().await;
    let ann = server.person("ann", 1, AccountRole::Admin).await;
    let bob = server.person("bob", 2, AccountRole::User).await;
    let address = json!({ "payoutAddress": payout_address(aegis_common::address::Network::Regtest, 9) });
    let key = json!({ "name": "x", "scopes": ["read"], "days": 366 });
    // The last byte of each is held back.
    let mut held = Vec::new();
    for (method, path, body) in [
        ("POST", "/api/v1/me/api-keys", key.to_string()),
        ("PUT", "/api/v1/me/payout-address", address.to_string()),
        ("PUT", "/api/v1/users/bob/role", json!({ "role": "admin" }).to_string()),
        ("POST", "/api/v1/invitations", json!({ "role": "admin", "hours": 1 }).to_string()),
    ] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            ann.token,
            body.len()
        );
        let (first, last) = body.split_at(body.len() - 1);
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(first.as_bytes()).await.unwrap();
        held.push((socket, last.to_owned()));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.state.accounts.set_disabled("ann", true, None, Origin::MACHINE).await.unwrap();
    for (mut socket, last) in held {
        socket.write_all(last.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("session_revoked"), "{answer}");
    }
    let seen: UserView = server.get("/api/v1/users/bob", &bob).send().await.unwrap().json().await.unwrap();
    assert_eq!(seen.role, AccountRole::User);
    assert_eq!(server.state.accounts.invitations().await.unwrap().len(), 1, "the one she came with");
    let me = server.state.accounts.me(ann.view.id).await.unwrap();
    assert_eq!(me.payout_address, payout_address(aegis_common::address::Network::Regtest, 1));
}

#[actix_web::test]
async fn guessers_elsewhere_do_not_shut_out_who_is_logged_in_here() {
    let settings = [("AEGIS_TRUSTED_PROXIES", "127.0.0.1"), ("AEGIS_RATE_LOGINS_PER_MINUTE", "2")];
    let server = server_with(&settings, Timing::default()).await;
    let from = |ip: String, password: &'static str| {
        let body = json!({ "username": "ann", "password": password });
        let post = server.request(Method::POST, "/api/v1/auth/login").header("x-forwarded-for", ip);
        post.json(&body).send()
    };
    server.person("ann", 1, AccountRole::User).await;
    assert_eq!(from("192.0.2.1".to_owned(), PASSWORD).await.unwrap().status(), StatusCode::OK);
    // Two a minute from each address, twenty from all together.
    for n in 0..24 {
        from(format!("198.51.100.{}", n / 2), "a wrong password").await.unwrap();
    }
    problem(from("203.0.113.1".to_owned(), PASSWORD).await.unwrap(), Code::RateLimited).await;
    assert_eq!(from("192.0.2.99".to_owned(), PASSWORD).await.unwrap().status(), StatusCode::OK);
}

#[actix_web::test]
async fn a_lost_authenticator_is_removed_with_a_backup_code() {
    let server = server().await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    let (_, codes) = enrol(&server, &ann).await;
    let disable =
        |code: String| server.post("/api/v1/me/totp/disable", &ann, &json!({ "code": code })).send();
    assert_eq!(disable(codes[0].clone()).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert!(!me(&server, &ann).await.json::<MeView>().await.unwrap().totp_enabled);
}
