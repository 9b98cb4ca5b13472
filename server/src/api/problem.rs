//! Errors on their way out: a code and a sentence for the client, the cause for the log.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use aegis_common::code::Code;
use aegis_common::wire::problem::Problem;
use uuid::Uuid;

/// Media type of problem documents (RFC 9457).
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A request is refused or failed.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// For programs.
    pub code: Code,
    /// For the person who sent the request. Never an internal cause.
    pub detail: String,
    /// The escrow's present version, where a version was stale.
    pub current_version: Option<i64>,
    /// Seconds after which it makes sense to try again.
    pub retry_after: Option<u64>,
    /// The methods that would have been allowed.
    pub allow: Option<String>,
    /// For the log only.
    pub cause: Option<String>,
}

impl ApiError {
    /// An error the client can do something about.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            current_version: None,
            retry_after: None,
            allow: None,
            cause: None,
        }
    }

    /// An error whose code says everything.
    pub fn of(code: Code) -> Self {
        Self::new(code, code.title())
    }

    /// A field or parameter with a value that is not allowed.
    pub fn invalid(field: &str, why: &str) -> Self {
        Self::new(Code::Invalid, format!("{field}: {why}"))
    }

    /// A failure inside the server; the cause goes to the log, the code's own sentence to the client.
    pub fn failure(code: Code, cause: &dyn fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..Self::of(code) }
    }

    /// The answer to a client.
    pub fn response(&self, request: Option<Uuid>) -> HttpResponse {
        let problem = Problem {
            request_id: request.map(|id| id.to_string()),
            current_version: self.current_version,
            ..Problem::new(self.code, self.detail.as_str())
        };
        let mut response = HttpResponse::build(self.status_code());
        response.content_type(MEDIA_TYPE);
        if let Some(seconds) = self.retry_after {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if let Some(Ok(methods)) = self.allow.as_deref().map(HeaderValue::from_str) {
            response.insert_header((ALLOW, methods));
        }
        if self.code == Code::Unauthenticated {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        response.body(serde_json::to_string(&problem).unwrap_or_default())
    }

    /// What a status that some library chose means in our table.
    pub fn from_status(status: StatusCode) -> Self {
        Self::of(match status {
            StatusCode::NOT_FOUND => Code::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
            StatusCode::UNAUTHORIZED => Code::Unauthenticated,
            StatusCode::TOO_MANY_REQUESTS => Code::RateLimited,
            StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
            status if status.is_client_error() => Code::Malformed,
            _ => Code::Internal,
        })
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code.wire())
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        self.response(None)
    }
}
