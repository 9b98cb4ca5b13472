//! The feed's description: AsyncAPI 3.0 of the WebSocket, made of the schemas that the REST API is described by.
//!
//! Each type of event is a message with a schema of its own, and closed: a frame has the fields that stand there, all of them
//! and no others.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

/// Where schemas stand, in this description as in that of the API.
const SCHEMAS: &str = "#/components/schemas/";
/// The types whose variants are the types of events.
const NOTICES: [&str; 3] = ["Notice", "MarketNotice", "OwnNotice"];
/// What every frame is.
const FRAME: &str = "EventFrame";

/// The description of the feed, of the description of the API.
pub fn document(api: &OpenApi) -> Result<Value, serde_json::Error> {
    let api = serde_json::to_value(api)?;
    let all = &api["components"]["schemas"];
    let (mut messages, mut schemas) = (Map::new(), Map::new());
    let variants = NOTICES.iter().filter_map(|notice| all[notice]["oneOf"].as_array()).flatten();
    for (kind, variant) in variants.filter_map(|variant| Some((kind(variant)?, variant))) {
        let name = format!("{kind}Frame");
        messages.insert(kind.to_owned(), message(kind, &name, variant));
        schemas.insert(name, frame(&all[FRAME], kind, variant));
    }
    add_referenced(all, &mut schemas);
    let each = |prefix: &str| -> Vec<Value> {
        messages.keys().map(|kind| json!({ "$ref": format!("{prefix}{kind}") })).collect()
    };
    let of_channel: Map<String, Value> =
        messages.keys().cloned().zip(each("#/components/messages/")).collect();
    Ok(json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Aegis: the feed",
            "version": api["info"]["version"],
            "description": "What a person is told, live. The same events, by the same schemas, are read by GET /api/v1/events \
                            and sent to webhooks.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "feed": {
                "address": "/api/v1/ws",
                "title": "A person's events",
                "description": "A WebSocket (RFC 6455) that only speaks: pings are to be answered, and anything else that is \
                                sent closes it. Every text frame is one event, in order of `seq`. Connect again with the last \
                                `seq` that was handled, and nothing is lost or repeated.",
                "messages": of_channel,
                "bindings": { "ws": {
                    "bindingVersion": "0.1.0",
                    "method": "GET",
                    "query": {
                        "type": "object",
                        "properties": {
                            "ticket": {
                                "type": "string",
                                "description": "From POST /api/v1/ws/ticket: for one connection, within thirty seconds.",
                            },
                            "after": {
                                "type": "integer",
                                "format": "int64",
                                "description": "`seq` of the last event that was handled; everything where left out.",
                            },
                        },
                        "required": ["ticket"],
                        "additionalProperties": false,
                    },
                } },
            },
        },
        "operations": {
            "tell": {
                "action": "send",
                "channel": { "$ref": "#/channels/feed" },
                "summary": "Tells a person what happened, from a position in their feed on.",
                "messages": each("#/channels/feed/messages/"),
            },
        },
        "components": { "messages": messages, "schemas": schemas },
    }))
}

/// The type of a variant of a notice.
fn kind(variant: &Value) -> Option<&str> {
    let tag = &variant["properties"]["type"];
    tag["const"].as_str().or_else(|| tag["enum"].as_array()?.first()?.as_str())
}

fn message(kind: &str, schema: &str, variant: &Value) -> Value {
    json!({
        "name": kind,
        "title": kind,
        "summary": variant["description"],
        "payload": { "$ref": format!("{SCHEMAS}{schema}") },
    })
}

/// The frame of one type: as every frame, with its type and its data.
fn frame(frame: &Value, kind: &str, variant: &Value) -> Value {
    let mut frame = frame.clone();
    frame["description"] = variant["description"].clone();
    frame["properties"]["type"] = json!({ "type": "string", "const": kind });
    frame["properties"]["payload"] = match &variant["properties"]["data"] {
        Value::Null => json!({ "type": "object" }),
        data => complete(data.clone()),
    };
    complete(frame)
}

/// An object's schema with every field required: absent ones are null.
fn complete(mut schema: Value) -> Value {
    let fields: Vec<String> =
        schema["properties"].as_object().into_iter().flat_map(Map::keys).cloned().collect();
    schema["required"] = json!(fields);
    close(&mut schema);
    schema["additionalProperties"] = json!(false);
    schema
}

/// Closes every object in a schema that names its fields.
fn close(schema: &mut Value) {
    match schema {
        Value::Array(all) => all.iter_mut().for_each(close),
        Value::Object(fields) => {
            fields.values_mut().for_each(close);
            if fields.contains_key("properties") {
                fields.entry("additionalProperties").or_insert(json!(false));
            }
        }
        _ => {}
    }
}

/// Adds what schemas refer to, until nothing is missing.
fn add_referenced(all: &Value, schemas: &mut Map<String, Value>) {
    loop {
        let mut named = BTreeSet::new();
        schemas.values().for_each(|schema| references(schema, &mut named));
        let missing: Vec<String> = named.into_iter().filter(|name| !schemas.contains_key(name)).collect();
        if missing.is_empty() {
            return;
        }
        for name in missing {
            let mut schema = all[&name].clone();
            close(&mut schema);
            schemas.insert(name, schema);
        }
    }
}

fn references(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Array(all) => all.iter().for_each(|part| references(part, found)),
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str);
            found.extend(name.and_then(|name| name.strip_prefix(SCHEMAS)).map(str::to_owned));
            fields.values().for_each(|part| references(part, found));
        }
        _ => {}
    }
}
