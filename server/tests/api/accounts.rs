use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, HttpResponse, web};
use aegis_common::address::Network;
use aegis_common::code::Code;
use aegis_common::hash::Hash32;
use aegis_common::wire::account::{AccountRole, MeView, UserView};
use aegis_server::api::caller::{Admins, Caller, Operators};
use aegis_server::api::envelope::envelope;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{PASSWORD, payout_address, problem, registration, server};

#[actix_web::test]
async fn an_account_is_registered_logged_in_looked_up_and_paid_where_it_says() {
    let server = server().await;
    let ann = server.person("Ann_1", 1, AccountRole::User).await;
    let bob = server.person("bob", 2, AccountRole::User).await;
    let me: MeView = server.get("/api/v1/me", &ann).send().await.unwrap().json().await.unwrap();
    assert_eq!((&me.user, me.payout_address), (&ann.view, payout_address(Network::Regtest, 1)));
    assert_eq!(me.user.fingerprint, Hash32::sha256(&me.user.identity_key.0));
    let seen: UserView = server.get("/api/v1/users/ann_1", &bob).send().await.unwrap().json().await.unwrap();
    assert_eq!(seen, ann.view);
    problem(server.get("/api/v1/users/nobody", &bob).send().await.unwrap(), Code::NotFound).await;

    let put = |address: Value| {
        let body = json!({ "payoutAddress": address });
        server.request(Method::PUT, "/api/v1/me/payout-address").bearer_auth(&ann.token).json(&body).send()
    };
    let new = payout_address(Network::Regtest, 7);
    let changed: MeView = put(json!(new)).await.unwrap().json().await.unwrap();
    assert_eq!(changed.payout_address, new);
    problem(put(json!(payout_address(Network::Stagenet, 7))).await.unwrap(), Code::ForeignNetwork).await;
    problem(put(json!("4nonsense")).await.unwrap(), Code::BadAddress).await;
    problem(put(json!(7)).await.unwrap(), Code::Invalid).await;
}

#[actix_web::test]
async fn registrations_that_are_not_in_order_are_refused() {
    let server = server().await;
    let register = |body: Value| server.request(Method::POST, "/api/v1/auth/register").json(&body).send();
    let foreign = payout_address(Network::Testnet, 1);
    let other = registration("dave", 5)["keys"].clone();
    for (field, value, code) in [
        ("username", json!("ab"), Code::Invalid),
        ("username", json!("a".repeat(33)), Code::Invalid),
        ("username", json!("with space"), Code::Invalid),
        ("password", json!("short"), Code::Invalid),
        ("password", json!("🔑".repeat(11)), Code::Invalid),
        ("password", json!("x".repeat(257)), Code::Invalid),
        ("password", json!("password1234"), Code::WeakPassword),
        ("password", json!("carol-carol-carol"), Code::WeakPassword),
        ("keys", json!({}), Code::Invalid),
        ("payoutAddress", json!(foreign), Code::ForeignNetwork),
        ("payoutAddress", json!("888"), Code::BadAddress),
        ("invitation", json!("nobody gave this"), Code::BadInvitation),
    ] {
        let mut body = registration("carol", 4);
        body[field] = value;
        problem(register(body).await.unwrap(), code).await;
    }
    // Every key is somebody else's once; what exactly is refused is told by the domain's own test.
    for field in
        ["identityKey", "fingerprint", "signingKey", "identitySignature", "signedPrekey", "mlKemPrekeys"]
    {
        let mut body = registration("carol", 4);
        body["keys"][field] = other[field].clone();
        problem(register(body).await.unwrap(), Code::BadKeys).await;
    }
    let advice = {
        let mut body = registration("carol", 4);
        body["password"] = json!("password1234");
        problem(register(body).await.unwrap(), Code::WeakPassword).await.detail
    };
    assert!(advice.contains("common password") && advice.contains("word"), "{advice}");
    assert_eq!(register(registration("carol", 4)).await.unwrap().status(), StatusCode::CREATED);
    problem(register(registration("CAROL", 5)).await.unwrap(), Code::UsernameTaken).await;
}

#[actix_web::test]
async fn many_registrations_of_one_name_at_once_make_one_account() {
    let server = server().await;
    let tries = (0..6).map(|seed| {
        server.request(Method::POST, "/api/v1/auth/register").json(&registration("racer", seed)).send()
    });
    let answers = futures_util::future::join_all(tries).await;
    let made = answers.into_iter().filter(|sent| sent.as_ref().unwrap().status() == StatusCode::CREATED);
    assert_eq!(made.count(), 1);
}

#[actix_web::test]
async fn each_role_may_do_what_it_may_and_nothing_else() {
    let server = server().await;
    let mut people = Vec::new();
    for (seed, role) in (1..).zip(AccountRole::ALL) {
        people.push((role, server.person(&format!("the-{}", role.wire()), seed, role).await));
    }
    let app = App::new()
        .app_data(web::Data::clone(&server.state))
        .route("/operators", web::get().to(|_: Caller<Operators>| async { HttpResponse::Ok().finish() }))
        .route("/admins", web::get().to(|_: Caller<Admins>| async { HttpResponse::Ok().finish() }))
        .wrap(from_fn(envelope));
    let app = init_service(app).await;
    for (role, person) in &people {
        use AccountRole::{Admin, Operator};
        for (path, allowed) in [("/operators", &[Operator, Admin][..]), ("/admins", &[Admin])] {
            let request = TestRequest::get().uri(path);
            let bare = call_service(&app, request.to_request()).await;
            assert_eq!(bare.status().as_u16(), 401);
            let bearer = ("authorization", format!("Bearer {}", person.token));
            let sent =
                call_service(&app, TestRequest::get().uri(path).insert_header(bearer).to_request()).await;
            let expected = if allowed.contains(role) { 200 } else { 403 };
            assert_eq!(sent.status().as_u16(), expected, "{role:?} {path}");
        }
        let promote = server.request(Method::PUT, "/api/v1/users/the-user/role").bearer_auth(&person.token);
        let sent = promote.json(&json!({ "role": "user" })).send().await.unwrap();
        if *role == Admin {
            assert_eq!(sent.status(), StatusCode::OK);
        } else {
            problem(sent, Code::Forbidden).await;
        }
    }
}

#[actix_web::test]
async fn a_role_is_given_and_taken_away_at_once() {
    let server = server().await;
    let admin = server.person("the-admin", 1, AccountRole::Admin).await;
    let user = server.person("the-user", 2, AccountRole::User).await;
    let set = |name: &str, role: &str, token: &str| {
        let put = server.request(Method::PUT, &format!("/api/v1/users/{name}/role")).bearer_auth(token);
        put.json(&json!({ "role": role })).send()
    };
    let promote = |name: &str, token: &str| set(name, "admin", token);
    problem(promote("nobody", &admin.token).await.unwrap(), Code::NotFound).await;
    let view: UserView = promote("the-user", &admin.token).await.unwrap().json().await.unwrap();
    assert_eq!(view.role, AccountRole::Admin);
    // The token is older than the role. One whose role was taken away can't give it back to itself.
    assert!(set("the-admin", "user", &user.token).await.unwrap().status().is_success());
    problem(promote("the-admin", &admin.token).await.unwrap(), Code::Forbidden).await;
}

#[actix_web::test]
async fn secrets_of_an_account_are_never_sent() {
    let server = server().await;
    let ann = server.person("annabel", 1, AccountRole::User).await;
    let bob = server.person("bobby", 2, AccountRole::User).await;
    let own = server.get("/api/v1/me", &ann).send().await.unwrap().text().await.unwrap();
    let seen = server.get("/api/v1/users/annabel", &bob).send().await.unwrap().text().await.unwrap();
    for text in [&own, &seen] {
        assert!(!text.contains("argon2") && !text.contains(PASSWORD), "{text}");
    }
    assert!(!seen.contains(&payout_address(Network::Regtest, 1).to_string()), "addresses are private");
}
