//! Request bodies, bounded while they are read.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use aegis_common::address::AddressError;
use aegis_common::code::Code;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::problem::ApiError;

/// Bytes of an ordinary body.
pub const SMALL: usize = 64 * 1024;
/// Bytes of a registration or of more prekeys: those that one request may bring, and their JSON.
pub const KEYS: usize = 128 * 1024;
/// Bytes of a statement: two transaction sets' worth of hexadecimal digits and their JSON.
pub const STATEMENT: usize = 3 * 512 * 1024;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// A JSON body of at most `MAX` bytes. Its bytes are wiped after reading: they may hold a password or a view key.
pub struct Body<T, const MAX: usize = SMALL>(pub T);

impl<T: DeserializeOwned + 'static, const MAX: usize> FromRequest for Body<T, MAX> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let bytes = bytes(req, payload, "application/json", MAX);
        Box::pin(
            async move { serde_json::from_slice(&bytes.await?).map(Self).map_err(|error| refuse(&error)) },
        )
    }
}

/// A body of at most `MAX` bytes that mean nothing to the server.
pub struct Raw<const MAX: usize>(pub Vec<u8>);

impl<const MAX: usize> FromRequest for Raw<MAX> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let bytes = bytes(req, payload, "application/octet-stream", MAX);
        Box::pin(async move { Ok(Self(std::mem::take(&mut *bytes.await?))) })
    }
}

/// Reads a body of one media type, and no more of it than it may have.
fn bytes(
    req: &HttpRequest,
    payload: &mut Payload,
    media: &'static str,
    max: usize,
) -> impl Future<Output = Result<Zeroizing<Vec<u8>>, ApiError>> + 'static {
    let fits = req.content_type().eq_ignore_ascii_case(media);
    let announced = req.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut payload = payload.take();
    async move {
        if !fits {
            return Err(ApiError::new(Code::Malformed, format!("The body must be {media}.")));
        }
        let too_large = || ApiError::new(Code::TooLarge, format!("The body may have {max} bytes."));
        if announced.is_some_and(|length| length > max) {
            return Err(too_large());
        }
        // Whole capacity at once where the length is known: a growing buffer leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(announced.unwrap_or(4096)));
        let late = |_| ApiError::new(Code::Malformed, "The body did not arrive in time.");
        let deadline = Instant::now() + PATIENCE;
        while let Some(chunk) = timeout_at(deadline, payload.next()).await.map_err(late)? {
            let chunk = chunk.map_err(|error| match error {
                PayloadError::Overflow => too_large(),
                _ => ApiError::new(Code::Malformed, "The body broke off."),
            })?;
            if bytes.len() + chunk.len() > max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// Text that is no JSON is malformed; JSON with a value that is not allowed is invalid.
fn refuse(error: &serde_json::Error) -> ApiError {
    let said = error.to_string();
    let code = if !error.is_data() {
        Code::Malformed
    } else if [AddressError::Malformed, AddressError::InvalidKey]
        .iter()
        .any(|e| said.starts_with(&e.to_string()))
    {
        Code::BadAddress
    } else {
        Code::Invalid
    };
    ApiError::new(code, said)
}
