//! Whatever works once works once when a hundred try at the same moment.

use aegis_common::hash::Hash32;
use aegis_common::identity::PasswordReset;
use aegis_common::testing;
use aegis_common::time::Clock;
use aegis_common::wire::account::AccountRole;
use aegis_server::accounts::Origin;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::credentials::{code, enrol, halfway};
use crate::support::{TestServer, registration, server};

const MANY: u32 = 100;

/// Sends a hundred requests at once; how many were taken. Every other one is refused in order.
async fn race(server: &TestServer, path: &str, body: impl Fn(u32) -> Value) -> usize {
    let sent = (0..MANY).map(|n| server.request(Method::POST, path).json(&body(n)).send());
    let answers = join_all(sent).await.into_iter().map(|sent| sent.unwrap().status().as_u16());
    let mut won = 0;
    for status in answers {
        match status {
            200..=299 => won += 1,
            401 | 403 | 429 => {}
            other => panic!("{path}: {other}"),
        }
    }
    won
}

#[actix_web::test]
async fn of_a_hundred_uses_of_one_backup_code_or_totp_code_one_gets_in() {
    let server = server().await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    let (secret, codes) = enrol(&server, &ann).await;
    // A login of its own for each: it is the code that is used up. Tries are bounded by account, which is told apart below.
    let mut tokens = Vec::new();
    for _ in 0..MANY {
        tokens.push(halfway(&server, "ann").await.0);
    }
    let user = ann.view.id;
    let hash = aegis_server::crypto::opaque::backup_code_hash(&codes[0]).unwrap();
    let store = &server.state.store;
    let note = || aegis_server::store::Note {
        user: Some(user),
        at: server.clock.now(),
        kind: "backupCodeUsed",
        network: None,
        detail: json!({}),
        tell: false,
        under: None,
    };
    let taken = join_all((0..MANY).map(|_| store.take_backup_code(user, hash, note()))).await;
    assert_eq!(taken.into_iter().filter(|taken| *taken.as_ref().unwrap()).count(), 1);
    let step = server.clock.now().as_second() / 30;
    let taken = join_all((0..MANY).map(|_| store.take_totp_step(user, step + 2))).await;
    assert_eq!(taken.into_iter().filter(|taken| *taken.as_ref().unwrap()).count(), 1);
    // The same through the API, where the budget lets five try at once.
    server.clock.advance(aegis_common::time::SignedDuration::from_secs(120));
    let shown = code(&server, &secret);
    let second = |n: u32, factor: Value| json!({ "token": tokens[n as usize], "factor": factor });
    let path = "/api/v1/auth/second-factor";
    assert_eq!(race(&server, path, |n| second(n, json!({ "totp": shown }))).await, 1);
    server.clock.advance(aegis_common::time::SignedDuration::from_mins(30));
    let mut tokens = Vec::new();
    for _ in 0..MANY {
        tokens.push(halfway(&server, "ann").await.0);
    }
    let second = |n: u32| json!({ "token": tokens[n as usize], "factor": { "backupCode": codes[1] } });
    assert_eq!(race(&server, path, second).await, 1);
}

#[actix_web::test]
async fn of_a_hundred_uses_of_one_refresh_token_one_is_answered() {
    let server = server().await;
    server.person("ann", 1, AccountRole::User).await;
    let token = server.login("ann").await.refresh_token;
    assert_eq!(race(&server, "/api/v1/auth/refresh", |_| json!({ "refreshToken": token })).await, 1);
}

#[actix_web::test]
async fn of_a_hundred_uses_of_one_invitation_one_makes_an_account() {
    let server = server().await;
    let request = serde_json::from_value(json!({ "role": "arbiter", "hours": 1 })).unwrap();
    let made = server.state.accounts.invite(request, None, Origin::MACHINE).await.unwrap();
    let body = |n: u32| {
        let mut body = registration(&format!("guest-{n}"), u8::try_from(n).unwrap());
        body["invitation"] = json!(made.token);
        body
    };
    assert_eq!(race(&server, "/api/v1/auth/register", body).await, 1);
}

#[actix_web::test]
async fn of_a_hundred_uses_of_one_reset_signature_one_sets_the_password() {
    let server = server().await;
    server.person("ann", 1, AccountRole::User).await;
    let (password, at) = ("orbit plum wombat kettle", server.clock.now());
    let words = PasswordReset {
        server: "http://here".to_owned(),
        username: "ann".to_owned(),
        password_hash: Hash32::sha256(password.as_bytes()),
        at,
    };
    let signature = words.sign(&testing::signing_key(1)).unwrap();
    let body = json!({ "server": words.server, "username": "ann", "password": password, "at": at,
        "signature": signature });
    assert_eq!(race(&server, "/api/v1/auth/reset", |_| body.clone()).await, 1);
}

#[actix_web::test]
async fn of_a_hundred_answers_to_one_login_one_begins_a_session() {
    let server = server().await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    let (_, codes) = enrol(&server, &ann).await;
    let (token, _) = halfway(&server, "ann").await;
    // Ten right codes: each is good, but the login is one.
    let body = |n: u32| json!({ "token": token, "factor": { "backupCode": codes[n as usize % 10] } });
    assert_eq!(race(&server, "/api/v1/auth/second-factor", body).await, 1);
}
