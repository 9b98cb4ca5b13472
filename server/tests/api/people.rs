//! People beside their credentials: invitations, profiles, finding each other, prekeys, backups of wallets, pages that may call.

use aegis_common::code::Code;
use aegis_common::hash::Hash32;
use aegis_common::identity::{KeyKind, Prekey};
use aegis_common::testing;
use aegis_common::time::SignedDuration;
use aegis_common::wire::account::{
    AccountRole, BackupView, Backups, Invitation, LoggedIn, MeView, NewInvitation, PrekeyStock, UserPage,
    UserView, UsernameView, bounds,
};
use aegis_server::accounts::Origin;
use aegis_server::ws::Timing;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Person, problem, registration, server, server_with};

fn person(of: &Person, session: LoggedIn) -> Person {
    Person { token: session.token, ..of.clone() }
}

#[actix_web::test]
async fn invitations_give_a_role_once_and_registration_can_be_closed() {
    let settings = [("AEGIS_REGISTRATION", "invite")];
    let server = server_with(&settings, Timing::default()).await;
    let register = |name: &str, seed: u8, token: Option<&str>| {
        let mut body = registration(name, seed);
        body["invitation"] = json!(token);
        server.request(Method::POST, "/api/v1/auth/register").json(&body).send()
    };
    problem(register("ann", 1, None).await.unwrap(), Code::InvitationNeeded).await;
    problem(register("ann", 1, Some("guess")).await.unwrap(), Code::BadInvitation).await;
    // The first administrator begins with a token from the server's machine.
    let request = serde_json::from_value(json!({ "role": "admin", "hours": 1 })).unwrap();
    let made = server.state.accounts.invite(request, None, Origin::MACHINE).await.unwrap();
    let sent = register("ann", 1, Some(&made.token)).await.unwrap();
    assert_eq!(sent.json::<UserView>().await.unwrap().role, AccountRole::Admin);
    problem(register("eve", 9, Some(&made.token)).await.unwrap(), Code::BadInvitation).await;
    let session = server.login("ann").await;
    let ann = Person {
        name: "ann".to_owned(),
        view: session.user.clone(),
        token: session.token,
        signing: testing::signing_key(1),
    };
    let invite = |role: &str, hours: u32| {
        server.post("/api/v1/invitations", &ann, &json!({ "role": role, "hours": hours })).send()
    };
    problem(invite("king", 1).await.unwrap(), Code::Invalid).await;
    problem(invite("arbiter", 0).await.unwrap(), Code::Invalid).await;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let made: NewInvitation = invite("arbiter", 2).await.unwrap().json().await.unwrap();
        tokens.push((made.token, made.invitation.id));
    }
    let taken = register("bob", 2, Some(&tokens[0].0)).await.unwrap();
    assert_eq!(taken.json::<UserView>().await.unwrap().role, AccountRole::Arbiter);
    // A name that is taken does not use an invitation up.
    problem(register("BOB", 3, Some(&tokens[1].0)).await.unwrap(), Code::UsernameTaken).await;
    let path = format!("/api/v1/invitations/{}", tokens[2].1);
    let withdraw = || server.request(Method::DELETE, &path).bearer_auth(&ann.token).send();
    assert_eq!(withdraw().await.unwrap().status(), StatusCode::NO_CONTENT);
    problem(withdraw().await.unwrap(), Code::NotFound).await;
    problem(register("carol", 3, Some(&tokens[2].0)).await.unwrap(), Code::BadInvitation).await;
    server.clock.advance(SignedDuration::from_hours(2));
    problem(register("carol", 3, Some(&tokens[1].0)).await.unwrap(), Code::BadInvitation).await;
    let session = server.login("ann").await;
    let listed = server.get("/api/v1/invitations", &person(&ann, session)).send().await.unwrap();
    let listed = listed.json::<Value>().await.unwrap()["invitations"].clone();
    let listed: Vec<Invitation> = serde_json::from_value(listed).unwrap();
    assert_eq!(listed.len(), 3);
    assert_eq!(listed.iter().filter(|invitation| invitation.accepted_by.is_some()).count(), 2);

    let closed = server_with(&[("AEGIS_REGISTRATION", "closed")], Timing::default()).await;
    let sent =
        closed.request(Method::POST, "/api/v1/auth/register").json(&registration("ann", 1)).send().await;
    problem(sent.unwrap(), Code::RegistrationClosed).await;
}

#[actix_web::test]
async fn nobody_new_waits_for_who_is_disabled() {
    let server = server().await;
    let [buyer, seller, arbiter] = server.people().await;
    let disable = |name: &str, disable: bool| {
        let (accounts, name) = (server.state.accounts.clone(), name.to_owned());
        async move { accounts.set_disabled(&name, disable, None, Origin::MACHINE).await.unwrap() }
    };
    disable(&arbiter.name, true).await;
    let order = server.order(&seller);
    problem(server.create(&buyer, "one", &order).send().await.unwrap(), Code::NoArbiter).await;
    let mut named = order.clone();
    named["arbiter"] = json!(arbiter.name);
    problem(server.create(&buyer, "two", &named).send().await.unwrap(), Code::UnknownUser).await;
    disable(&arbiter.name, false).await;
    disable(&seller.name, true).await;
    problem(server.create(&buyer, "three", &order).send().await.unwrap(), Code::UnknownUser).await;
    disable(&seller.name, false).await;
    assert_eq!(server.create(&buyer, "four", &order).send().await.unwrap().status(), StatusCode::CREATED);
}

#[actix_web::test]
async fn a_profile_says_what_one_chooses_and_nothing_that_steers() {
    let server = server().await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    let bob = server.person("bob", 2, AccountRole::User).await;
    let patch =
        |body: Value| server.request(Method::PATCH, "/api/v1/me").bearer_auth(&ann.token).json(&body).send();
    for bad in [
        json!({ "displayName": "x".repeat(65) }),
        json!({ "displayName": " padded" }),
        json!({ "displayName": "a\u{202e}b" }),
        json!({ "settings": { "locale": "e" } }),
        json!({ "settings": { "moneroNodeUrl": "ftp://x" } }),
        json!({ "settings": { "colour": "red" } }),
        json!({ "reputation": { "released": 9 } }),
    ] {
        problem(patch(bad).await.unwrap(), Code::Invalid).await;
    }
    let settings = json!({ "useTor": true, "moneroNodeUrl": "http://node:18081", "locale": "pt-BR",
        "notifications": { "escrows": false, "messages": true, "security": true } });
    let view: MeView = patch(json!({ "settings": settings })).await.unwrap().json().await.unwrap();
    assert!(view.settings.use_tor && !view.settings.notifications.escrows);
    let view: MeView = patch(json!({ "displayName": "Ann Ø" })).await.unwrap().json().await.unwrap();
    assert!(view.settings.use_tor, "what is left out stays");
    let seen: UserView = server.get("/api/v1/users/ANN", &bob).send().await.unwrap().json().await.unwrap();
    assert_eq!(seen.display_name, "Ann Ø");
}

#[actix_web::test]
async fn people_are_found_by_the_beginning_of_their_names_page_by_page() {
    let server = server().await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    for (seed, name) in (2..).zip(["Search-a", "search_b", "searcha", "SEARCHB", "sea"]) {
        server.person(name, seed, AccountRole::User).await;
    }
    let search = |query: &str| server.get(&format!("/api/v1/users?{query}"), &ann).send();
    for bad in ["prefix=se", "prefix=sea%25", "prefix=sea&after=!", "prefix=sea&limit=0"] {
        problem(search(bad).await.unwrap(), Code::Invalid).await;
    }
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page: UserPage =
            search(&format!("prefix=SEARCH&limit=3{after}")).await.unwrap().json().await.unwrap();
        found.extend(page.users.into_iter().map(|user| user.username));
        let Some(next) = page.next else { break };
        after = format!("&after={next}");
    }
    assert_eq!(found, ["Search-a", "search_b", "searcha", "SEARCHB"]);
    let one: UserPage = search("prefix=search_").await.unwrap().json().await.unwrap();
    assert_eq!(one.users.len(), 1, "no letter stands for another");
    let exists = async |name: &str| {
        let sent = server.request(Method::GET, &format!("/api/v1/usernames/{name}")).send().await.unwrap();
        sent.json::<UsernameView>().await.unwrap().exists
    };
    assert!(exists("ANN").await && !exists("nobody").await && !exists("not%20a%20name").await);
}

#[actix_web::test]
async fn a_wallets_backup_is_kept_in_versions_and_read_on_a_fresh_proof() {
    let server = server().await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    let bob = server.person("bob", 2, AccountRole::User).await;
    let push = |who: &Person, bytes: Vec<u8>| {
        let post = server.request(Method::POST, "/api/v1/me/backups").bearer_auth(&who.token);
        post.header("content-type", "application/octet-stream").body(bytes).send()
    };
    let all: Vec<u8> = (0..=255).cycle().take(bounds::BACKUP).collect();
    let made: BackupView = push(&ann, all.clone()).await.unwrap().json().await.unwrap();
    assert_eq!((made.version, made.size), (1, 1_048_576));
    assert_eq!(made.sha256, Hash32::sha256(&all));
    problem(push(&ann, vec![0; bounds::BACKUP + 1]).await.unwrap(), Code::TooLarge).await;
    problem(push(&ann, Vec::new()).await.unwrap(), Code::Invalid).await;
    let one = |who: &Person, method: Method, version: i64| {
        server.request(method, &format!("/api/v1/me/backups/{version}")).bearer_auth(&who.token).send()
    };
    assert_eq!(one(&ann, Method::GET, 1).await.unwrap().bytes().await.unwrap(), all);
    problem(one(&bob, Method::GET, 1).await.unwrap(), Code::NotFound).await;
    for n in 2..=11 {
        push(&ann, vec![n]).await.unwrap();
    }
    let listed: Backups = server.get("/api/v1/me/backups", &ann).send().await.unwrap().json().await.unwrap();
    let versions: Vec<i64> = listed.backups.iter().map(|backup| backup.version).collect();
    assert_eq!(versions, (2..=11).rev().collect::<Vec<_>>());
    problem(one(&ann, Method::GET, 1).await.unwrap(), Code::NotFound).await;
    assert_eq!(one(&ann, Method::DELETE, 11).await.unwrap().status(), StatusCode::NO_CONTENT);
    problem(one(&ann, Method::DELETE, 11).await.unwrap(), Code::NotFound).await;
    server.clock.advance(SignedDuration::from_secs(300));
    problem(push(&ann, vec![1]).await.unwrap(), Code::StepUpRequired).await;
    problem(one(&ann, Method::GET, 5).await.unwrap(), Code::StepUpRequired).await;
    problem(one(&ann, Method::DELETE, 5).await.unwrap(), Code::StepUpRequired).await;
}

#[actix_web::test]
async fn prekeys_are_added_on_the_signing_keys_word_only() {
    let server = server().await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    let stock = async || -> PrekeyStock {
        server.get("/api/v1/me/prekeys", &ann).send().await.unwrap().json().await.unwrap()
    };
    assert_eq!(stock().await, PrekeyStock { one_time_prekeys: 2, ml_kem_prekeys: 2 });
    let add = |body: Value| server.post("/api/v1/me/prekeys", &ann, &body).send();
    let key = |id: u32, signer: u8| {
        let other = testing::identity(7);
        let bytes = other.identity_key.0;
        Prekey::sign(KeyKind::OneTimePrekey, id, &bytes, &testing::signing_key(signer))
    };
    problem(add(json!({ "oneTimePrekeys": [key(50, 2)] })).await.unwrap(), Code::BadKeys).await;
    problem(add(json!({ "mlKemPrekeys": [key(50, 1)] })).await.unwrap(), Code::BadKeys).await;
    let first = testing::identity(1).one_time_prekeys[0].clone();
    problem(add(json!({ "oneTimePrekeys": [first] })).await.unwrap(), Code::Invalid).await;
    let many: Vec<Prekey> = (100..200).map(|id| key(id, 1)).collect();
    assert_eq!(add(json!({ "oneTimePrekeys": many })).await.unwrap().status(), StatusCode::OK);
    let more: Vec<Prekey> = (200..299).map(|id| key(id, 1)).collect();
    problem(add(json!({ "oneTimePrekeys": more })).await.unwrap(), Code::LimitReached).await;
    assert_eq!(stock().await.one_time_prekeys, 102, "nothing of a refused request is kept");
    let signed = Prekey::sign(
        KeyKind::SignedPrekey,
        9,
        &testing::identity(8).identity_key.0,
        &testing::signing_key(1),
    );
    assert_eq!(add(json!({ "signedPrekey": signed })).await.unwrap().status(), StatusCode::OK);
    let fresh: PrekeyStock =
        add(json!({ "replace": true, "oneTimePrekeys": [key(1, 1)] })).await.unwrap().json().await.unwrap();
    assert_eq!(fresh, PrekeyStock { one_time_prekeys: 1, ml_kem_prekeys: 0 });
}

#[actix_web::test]
async fn pages_of_named_origins_may_call_and_others_may_not() {
    let settings = [("AEGIS_CORS_ORIGINS", "https://app.example")];
    let server = server_with(&settings, Timing::default()).await;
    let ask = |origin: &'static str| {
        let request = server.request(Method::OPTIONS, "/api/v1/me").header("origin", origin);
        request.header("access-control-request-method", "GET").send()
    };
    let allowed = ask("https://app.example").await.unwrap();
    assert_eq!(allowed.headers()["access-control-allow-origin"], "https://app.example");
    assert!(!allowed.headers().contains_key("access-control-allow-credentials"));
    for origin in ["https://evil.example", "https://app.example.evil", "null"] {
        let refused = ask(origin).await.unwrap();
        assert!(!refused.headers().contains_key("access-control-allow-origin"), "{origin}");
    }
    let plain = server.request(Method::GET, "/health").header("origin", "https://app.example");
    let plain = plain.send().await.unwrap();
    assert_eq!(plain.headers()["access-control-allow-origin"], "https://app.example");
}
