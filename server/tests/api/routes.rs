use std::collections::BTreeSet;

use aegis_common::code::Code;
use aegis_common::wire::account::AccountRole;
use aegis_server::app::routes::{ROUTES, openapi};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use crate::support::{problem, server};

fn filled(path: &str) -> String {
    path.replace("{id}", &Uuid::now_v7().to_string())
        .replace("{delivery}", &Uuid::now_v7().to_string())
        .replace("{username}", "nobody")
        .replace("{version}", "1")
}

fn documented() -> BTreeSet<(String, String)> {
    let description: Value = serde_json::to_value(openapi()).unwrap();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut all = BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            all.insert((method.to_uppercase(), path.clone()));
        }
    }
    all
}

#[test]
fn what_is_documented_is_what_is_registered() {
    let registered: BTreeSet<_> =
        ROUTES.iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
    assert_eq!(documented(), registered);
    assert_eq!(registered.len(), ROUTES.len());
}

#[test]
fn every_reference_in_the_description_leads_somewhere() {
    let text = openapi().to_json().unwrap();
    let description: Value = serde_json::from_str(&text).unwrap();
    let mut count = 0;
    for part in text.split("\"$ref\":\"#").skip(1) {
        let pointer = &part[..part.find('"').unwrap()];
        assert!(description.pointer(pointer).is_some(), "{pointer}");
        count += 1;
    }
    assert!(count > 20);
}

#[actix_web::test]
async fn every_documented_route_answers_and_every_other_method_there_is_refused() {
    let server = server().await;
    let all = documented();
    let person = server.person("a-person", 1, AccountRole::Admin).await;
    for (method, path) in &all {
        let method: Method = method.parse().unwrap();
        let known = server.request(method.clone(), &filled(path)).bearer_auth(&person.token);
        let sent = known.send().await.unwrap();
        let text = sent.text().await.unwrap();
        assert!(!text.contains("There is nothing at this address"), "{method} {path}");
    }
    let paths: BTreeSet<_> = all.iter().map(|(_, path)| path).collect();
    for path in paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if !all.contains(&(method.to_owned(), path.clone())) {
                let sent = server.request(method.parse().unwrap(), &filled(path)).send().await.unwrap();
                assert!(sent.headers().contains_key("allow"));
                problem(sent, Code::MethodNotAllowed).await;
            }
        }
    }
}

#[actix_web::test]
async fn the_description_and_its_viewer_are_served_without_any_other_server() {
    let server = server().await;
    let served: Value =
        server.request(Method::GET, "/api/v1/openapi.json").send().await.unwrap().json().await.unwrap();
    assert_eq!(served, serde_json::to_value(openapi()).unwrap());
    // The client follows the redirect to the address with a slash.
    let page = server.request(Method::GET, "/docs").send().await.unwrap();
    assert_eq!((page.status(), page.url().path()), (StatusCode::OK, "/docs/"));
    let page = page.text().await.unwrap();
    assert!(page.contains("swagger-ui"));
    let script = server.request(Method::GET, "/docs/swagger-initializer.js").send().await.unwrap();
    let script = script.text().await.unwrap();
    assert!(script.contains("/api/v1/openapi.json"));
    assert!(
        script.contains("\"validatorUrl\": \"none\""),
        "the viewer would ask a validator elsewhere: {script}"
    );
    for text in [&page, &script] {
        assert!(!text.contains("://") && !text.contains("\"//"), "{text}");
    }
    // Everything the page names is served from here.
    for part in page.split(['"', '\'']).filter(|part| part.starts_with("./")) {
        let path = format!("/docs/{}", part.trim_start_matches("./"));
        let sent = server.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::OK, "{path}");
    }
}

#[test]
fn values_that_travel_as_strings_are_described_as_strings() {
    let description: Value = serde_json::to_value(openapi()).unwrap();
    let schemas = description["components"]["schemas"].as_object().unwrap();
    for name in ["Piconero", "Address", "Hash32", "Key32"] {
        assert_eq!(schemas[name]["type"], "string", "{name}: {}", schemas[name]);
    }
    let amount = &schemas["CreateEscrowRequest"]["properties"]["amount"];
    assert!(amount.to_string().contains("#/components/schemas/Piconero"), "{amount}");
    let expires = &schemas["CreateEscrowRequest"]["properties"]["expiresAt"];
    assert_eq!((&expires["type"], &expires["format"]), (&Value::from("string"), &Value::from("date-time")));
}

/// The description's maker overlooks serde's `rename_all_fields`: variants of enums need `rename_all` of their own.
#[test]
fn fields_are_described_by_their_names_on_the_wire() {
    fn check(schema: &Value, place: &str) {
        match schema {
            Value::Array(all) => all.iter().for_each(|part| check(part, place)),
            Value::Object(parts) => {
                let fields = parts.get("properties").and_then(Value::as_object).into_iter().flatten();
                fields.for_each(|(name, _)| assert!(!name.contains('_'), "{place}: {name}"));
                parts.values().for_each(|part| check(part, place));
            }
            _ => {}
        }
    }
    let description: Value = serde_json::to_value(openapi()).unwrap();
    for (name, schema) in description["components"]["schemas"].as_object().unwrap() {
        check(schema, name);
    }
}

#[test]
fn passwords_are_described_as_passwords() {
    let description: Value = serde_json::to_value(openapi()).unwrap();
    let schemas = &description["components"]["schemas"];
    for (schema, field) in [
        ("RegisterRequest", "password"),
        ("LoginRequest", "password"),
        ("ResetRequest", "password"),
        ("PasswordRequest", "current"),
        ("PasswordRequest", "new"),
        ("WebhookRequest", "secret"),
        ("WalletRequest", "password"),
    ] {
        assert_eq!(schemas[schema]["properties"][field]["format"], "password", "{schema}.{field}");
    }
}

#[actix_web::test]
async fn health_tells_what_works_and_no_addresses() {
    let server = server().await;
    for path in ["/health", "/api/v1/health"] {
        let sent = server.request(Method::GET, path).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::OK);
        let health: Value = sent.json().await.unwrap();
        assert_eq!(health["database"], true);
        assert_eq!(health["status"], "degraded", "no node is there");
        assert_eq!(health["nodes"].as_array().unwrap().len(), 1);
        assert!(!health.to_string().contains("127.0.0.1"));
    }
}
