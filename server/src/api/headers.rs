//! Headers with a meaning: `Idempotency-Key`, `If-Match`.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use actix_web::{FromRequest, HttpRequest, HttpResponseBuilder};
use aegis_common::code::Code;

use super::problem::ApiError;

/// Characters in an idempotency key.
const MAX_KEY: usize = 255;

/// A client's name for one request, so that repeating it does nothing twice.
pub struct IdempotencyKey(pub String);

impl FromRequest for IdempotencyKey {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(match req.headers().get("idempotency-key").map(|value| value.to_str()) {
            None => Err(ApiError::of(Code::IdempotencyMissing)),
            Some(Ok(key)) if (1..=MAX_KEY).contains(&key.len()) => Ok(Self(key.to_owned())),
            Some(_) => Err(ApiError::invalid("Idempotency-Key", "must have 1 to 255 visible characters")),
        })
    }
}

/// The version that the sender believes in, if it names one.
pub struct IfMatch(pub Option<i64>);

impl IfMatch {
    /// The version, where the request must name one.
    pub fn required(self) -> Result<i64, ApiError> {
        self.0.ok_or_else(|| ApiError::invalid("If-Match", "must name the version to be changed"))
    }
}

impl FromRequest for IfMatch {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let header = req.headers().get(IF_MATCH);
        ready(match header.map(|value| value.to_str().ok().map(str::trim)) {
            None | Some(Some("*")) => Ok(Self(None)),
            Some(text) => text
                .and_then(version)
                .map(|version| Self(Some(version)))
                .ok_or_else(|| ApiError::new(Code::Malformed, "If-Match: must be a version, e.g. \"7\"")),
        })
    }
}

/// With or without quotation marks; an `ETag` of ours will do.
fn version(text: &str) -> Option<i64> {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    inner.split_once('.').map_or(inner, |(version, _)| version).parse().ok()
}

/// What an escrow's view depends on: its version, and the tip from which confirmations are counted.
fn tag(version: i64, tip: u64) -> String {
    format!("\"{version}.{tip}\"")
}

/// Names what is sent, for `If-None-Match` and `If-Match`.
pub fn etag(response: &mut HttpResponseBuilder, version: i64, tip: u64) {
    response.insert_header((ETAG, tag(version, tip)));
}

/// Whether the client has this view already.
pub fn is_fresh(req: &HttpRequest, version: i64, tip: u64) -> bool {
    let header = req.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    header.is_some_and(|said| said.split(',').any(|one| one.trim() == tag(version, tip)))
}
