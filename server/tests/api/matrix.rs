//! Who may do what: every route against every sort of caller, held against what the table of routes declares, which in turn is
//! what `docs/ACCESS.md` shows.

use std::fmt::Write as _;

use aegis_common::time::SignedDuration;
use aegis_common::wire::account::{AccountRole, Scope};
use aegis_server::accounts::Origin;
use aegis_server::api::caller::Access;
use aegis_server::app::routes::{ROUTES, Route};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Person, TestServer, server};

/// A sort of caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Nobody,
    Login { role: AccountRole, fresh: bool },
    Key { role: AccountRole, scope: Scope },
}

/// What a caller meets at a route, by the declaration.
fn expected(access: Access, sort: Sort) -> Option<&'static str> {
    let roles = access.roles?;
    let (role, fresh) = match sort {
        Sort::Nobody => return Some("unauthenticated"),
        Sort::Key { scope, .. } if access.scope != Some(scope) => return Some("scope_missing"),
        Sort::Key { role, .. } => (role, false),
        Sort::Login { role, fresh } => (role, fresh),
    };
    if !roles.contains(&role) {
        Some("forbidden")
    } else if access.fresh && !fresh {
        Some("step_up_required")
    } else {
        None
    }
}

const REFUSALS: [&str; 6] =
    ["unauthenticated", "scope_missing", "forbidden", "step_up_required", "weak_session", "session_revoked"];

async fn met(server: &TestServer, route: &Route, token: Option<&str>) -> Option<String> {
    let path = route.path.replace("{id}", &Uuid::now_v7().to_string());
    let path = path.replace("{delivery}", &Uuid::now_v7().to_string());
    let path = path.replace("{username}", "nobody").replace("{version}", "1");
    let request = server.request(route.method.parse::<Method>().unwrap(), &path);
    let request = token.iter().fold(request, |request, token| request.bearer_auth(token));
    let sent = request.send().await.unwrap();
    assert_ne!(sent.status(), StatusCode::INTERNAL_SERVER_ERROR, "{} {}", route.method, route.path);
    let body: Value = sent.json().await.unwrap_or_default();
    body["code"].as_str().filter(|code| REFUSALS.contains(code)).map(str::to_owned)
}

#[actix_web::test]
async fn every_route_serves_whom_the_table_says_and_nobody_else() {
    let server = server().await;
    let mut people = Vec::new();
    for (seed, role) in (1..).zip(AccountRole::ALL) {
        people.push((role, server.person(&format!("the-{}", role.wire()), seed, role).await));
    }
    let mut keys = Vec::new();
    for (role, person) in &people {
        for scope in Scope::ALL {
            let body = json!({ "name": "x", "scopes": [scope], "days": 1 });
            let sent = server.post("/api/v1/me/api-keys", person, &body).send().await.unwrap();
            let key = sent.json::<Value>().await.unwrap()["key"].as_str().unwrap().to_owned();
            keys.push((Sort::Key { role: *role, scope }, key));
        }
    }
    let mut count = 0;
    for fresh in [false, true] {
        // A login is fresh for five minutes, and its token works for ten.
        let sessions = async |server: &TestServer| {
            let mut all = Vec::new();
            for (role, person) in &people {
                let token = server.login(&person.name).await.token;
                all.push((Sort::Login { role: *role, fresh }, Some(token)));
            }
            all
        };
        for route in ROUTES {
            // New ones for each route: some end sessions.
            let mut here = vec![(Sort::Nobody, None)];
            here.extend(sessions(&server).await);
            here.extend(keys.iter().cloned().map(|(sort, key)| (sort, Some(key))));
            if !fresh {
                server.clock.advance(SignedDuration::from_secs(301));
            }
            for (sort, token) in here {
                let said = met(&server, route, token.as_deref()).await;
                assert_eq!(
                    said.as_deref(),
                    expected(route.access, sort),
                    "{sort:?}: {} {}",
                    route.method,
                    route.path
                );
                count += 1;
            }
        }
    }
    assert_eq!(count, 2 * ROUTES.len() * (1 + 4 + 8));
}

#[test]
fn every_route_declares_a_rule_that_means_something() {
    for Route { method, path, access } in ROUTES {
        let sensitive = path.starts_with("/api/v1/me/") || path.starts_with("/api/v1/invitations");
        assert!(!sensitive || access.roles.is_some(), "{method} {path} is open to everybody");
        assert!(access.roles.is_none_or(|roles| !roles.is_empty()), "{method} {path} serves nobody");
        assert!(!(access.fresh && access.scope.is_some()), "{method} {path}: no key is ever fresh");
    }
}

#[actix_web::test]
async fn foreign_parts_of_accounts_are_the_same_404_as_those_that_do_not_exist() {
    let server = server().await;
    let ann = server.person("ann", 1, AccountRole::User).await;
    let eve = server.person("eve", 2, AccountRole::User).await;
    let session = server.login("ann").await.session;
    let key = json!({ "name": "x", "scopes": ["read"], "days": 1 });
    let key = server.post("/api/v1/me/api-keys", &ann, &key).send().await.unwrap();
    let key = key.json::<Value>().await.unwrap()["view"]["id"].as_str().unwrap().to_owned();
    let push = server.request(Method::POST, "/api/v1/me/backups").bearer_auth(&ann.token);
    push.header("content-type", "application/octet-stream").body("x").send().await.unwrap();
    let delete = async |who: &Person, path: &str| {
        let sent = server.request(Method::DELETE, path).bearer_auth(&who.token).send().await.unwrap();
        let mut body: Value = sent.json().await.unwrap();
        body["requestId"] = Value::Null;
        body
    };
    for (path, id) in [
        ("/api/v1/me/sessions", session.to_string()),
        ("/api/v1/me/api-keys", key.clone()),
        // A key is no session and a session no key, one's own included.
        ("/api/v1/me/sessions", key),
        ("/api/v1/me/passkeys", Uuid::now_v7().to_string()),
    ] {
        let foreign = delete(&eve, &format!("{path}/{id}")).await;
        assert_eq!(foreign["code"], "not_found", "{path}");
        assert_eq!(foreign, delete(&eve, &format!("{path}/{}", Uuid::now_v7())).await);
    }
    assert_eq!(delete(&eve, "/api/v1/me/backups/1").await, delete(&eve, "/api/v1/me/backups/99").await);
    assert!(server.state.accounts.goes_on(session).await.unwrap());
}

/// The document as the table says it.
fn document() -> String {
    let mut text = String::from(
        "# Who may do what\n\n\
         Every route of the API against every sort of caller. Made from the table of routes\n\
         (`server/src/app/routes.rs`); a test calls each route as each of them and holds the answers against the\n\
         table, and this page against it.\n\n\
         **yes**: served. **fresh**: served within five minutes of a login or a step-up with that session. **–**:\n\
         refused. An API key acts for its account within its scopes. Beside this, every object belongs to somebody:\n\
         another's is answered like one that does not exist.\n\n\
         With `AEGIS_STAFF_SECOND_FACTOR`, the default, what not every role may do needs a session in which a second\n\
         factor was shown.\n\n\
         | route | anybody | user | arbiter | operator | admin | key: read | key: trade |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for Route { method, path, access } in ROUTES {
        let cell = |sort: Sort| match expected(*access, sort) {
            None if access.fresh => "fresh",
            None => "yes",
            Some(_) => "–",
        };
        let login = |role| cell(Sort::Login { role, fresh: true });
        let key = |scope| cell(Sort::Key { role: AccountRole::Admin, scope });
        let roles = AccountRole::ALL.map(login).join(" | ");
        let keys = Scope::ALL.map(key).join(" | ");
        let _ = writeln!(text, "| {method} `{path}` | {} | {roles} | {keys} |", cell(Sort::Nobody));
    }
    text
}

#[test]
fn the_document_shows_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ACCESS.md");
    if std::env::var_os("AEGIS_WRITE_DOCS").is_some() {
        std::fs::write(path, document()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == document(),
        "make it anew: AEGIS_WRITE_DOCS=1 cargo test -p aegis-server --test api the_document"
    );
}

#[actix_web::test]
async fn a_role_counts_as_it_is_now_and_not_as_it_was_when_the_token_was_made() {
    let server = server().await;
    let ann = server.person("ann", 1, AccountRole::Admin).await;
    let list = || server.get("/api/v1/invitations", &ann).send();
    assert_eq!(list().await.unwrap().status(), StatusCode::OK);
    server.state.accounts.set_role("ann", AccountRole::User, None, Origin::MACHINE).await.unwrap();
    assert_eq!(list().await.unwrap().status(), StatusCode::FORBIDDEN);
}
