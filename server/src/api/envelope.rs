//! Around every request: the general rate limit before it; problem documents, security headers and the log of internal
//! causes after it.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse, web};
use tracing_actix_web::RequestId;
use uuid::Uuid;

use super::State;
use super::caller::identify;
use super::docs;
use super::problem::{ApiError, MEDIA_TYPE};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers of every answer (OWASP REST Security and HTTP Headers Cheat Sheets).
const STRICT: [(HeaderName, &str); 8] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"),
    (header::CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
    (header::CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
    (header::PERMISSIONS_POLICY, "camera=(), geolocation=(), microphone=()"),
    (header::CACHE_CONTROL, "no-store"),
];
/// The API is not a page: nothing may be loaded by it or around it.
const CSP_API: &str = "default-src 'none'; frame-ancestors 'none'";
/// The documentation's viewer loads its own files and sets styles inline.
const CSP_DOCS: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                        img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'";

/// The middleware.
pub async fn envelope(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = req.extensions().get::<RequestId>().map(|id| Uuid::from(*id));
    let limited = req.app_data::<web::Data<State>>().and_then(|state| {
        let origin = state.limits.origin(req.request());
        state.limits.request(origin).err()
    });
    let (req, response) = match limited {
        Some(refused) => (req.into_parts().0, refused.response(id)),
        None => {
            identify(&req).await;
            // Errors of handlers and extractors come as responses; an `Err` would be a middleware's, and there is none.
            let (req, response) = next.call(req).await?.into_parts();
            (req, finish(response.map_into_boxed_body(), id))
        }
    };
    Ok(ServiceResponse::new(req.clone(), decorate(&req, response, id)))
}

/// Turns whatever error there is into a problem document that names the request.
fn finish(response: HttpResponse, id: Option<Uuid>) -> HttpResponse {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let ours = response.error().and_then(|error| error.as_error::<ApiError>()).cloned();
    if ours.is_none() && is_problem(response.headers()) {
        return response;
    }
    let error = ours.unwrap_or_else(|| ApiError {
        cause: status.is_server_error().then(|| response.error().map(ToString::to_string)).flatten(),
        ..ApiError::from_status(status)
    });
    if let Some(cause) = &error.cause {
        tracing::error!(code = error.code.wire(), cause, "request failed");
    }
    error.response(id)
}

fn is_problem(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value == MEDIA_TYPE)
}

fn decorate(req: &HttpRequest, mut response: HttpResponse, id: Option<Uuid>) -> HttpResponse {
    let csp = if req.path().starts_with(docs::VIEWER) { CSP_DOCS } else { CSP_API };
    let headers = response.headers_mut();
    for (name, value) in STRICT.into_iter().chain([(header::CONTENT_SECURITY_POLICY, csp)]) {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(Ok(id)) = id.map(|id| HeaderValue::from_str(&id.to_string())) {
        headers.insert(REQUEST_ID, id);
    }
    response
}
