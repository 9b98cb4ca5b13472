//! Every route of the API, in one table: what is registered, what is documented and what answers 405 all come from it.

use actix_web::dev::ResourceDef;
use actix_web::http::Method;
use actix_web::web::{PathConfig, QueryConfig, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse};
use aegis_common::code::Code;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_actix_web::AppExt;

use crate::api::problem::ApiError;
use crate::api::{accounts, docs, escrows, events, health};
use crate::ws;

/// A method at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// HTTP method.
    pub method: &'static str,
    /// Pattern with `{placeholders}`.
    pub path: &'static str,
}

macro_rules! routes {
    ($($method:ident $path:literal => $handler:path;)*) => {
        /// Every route. That a line says the same as its handler's own attribute is tested.
        pub const ROUTES: &[Route] = &[$(Route { method: stringify!($method), path: $path },)*];

        fn documented(config: &mut utoipa_actix_web::service_config::ServiceConfig<'_>) {
            $(config.service($handler);)*
        }

        /// Registers every route.
        pub fn register(config: &mut ServiceConfig) {
            $(config.service($handler);)*
        }
    };
}

routes! {
    POST "/api/v1/auth/register" => accounts::register;
    POST "/api/v1/auth/login" => accounts::login;
    GET "/api/v1/me" => accounts::me;
    PUT "/api/v1/me/payout-address" => accounts::payout_address;
    GET "/api/v1/users/{username}" => accounts::user;
    PUT "/api/v1/users/{username}/role" => accounts::role;
    POST "/api/v1/escrows" => escrows::create;
    GET "/api/v1/escrows" => escrows::list;
    GET "/api/v1/escrows/{id}" => escrows::one;
    DELETE "/api/v1/escrows/{id}" => escrows::remove;
    POST "/api/v1/escrows/{id}/statements" => escrows::state_act;
    GET "/api/v1/escrows/{id}/transcript" => escrows::transcript;
    GET "/api/v1/escrows/{id}/deposits" => escrows::deposits;
    POST "/api/v1/escrows/{id}/rescan" => escrows::rescan;
    GET "/api/v1/events" => events::feed;
    POST "/api/v1/ws/ticket" => events::ticket;
    GET "/api/v1/ws" => ws::connect;
    GET "/api/v1/health" => health::health;
    GET "/health" => health::probe;
    GET "/api/v1/openapi.json" => docs::description;
}

/// The description of all routes.
pub fn openapi() -> OpenApi {
    let app = App::new().into_utoipa_app().openapi(docs::Frame::openapi());
    app.configure(documented).split_for_parts().1
}

/// An id that is no UUID is malformed.
pub fn path_config() -> PathConfig {
    PathConfig::default().error_handler(|error, _| ApiError::new(Code::Malformed, error.to_string()).into())
}

/// So is a query that is not understood.
pub fn query_config() -> QueryConfig {
    QueryConfig::default().error_handler(|error, _| ApiError::new(Code::Malformed, error.to_string()).into())
}

/// Answers what no route took: 405 where the address exists, 404 otherwise; the viewer's address without its slash.
pub async fn unmatched(req: HttpRequest) -> Result<HttpResponse, ApiError> {
    if req.path() == docs::VIEWER && req.method() == Method::GET {
        let there = format!("{}/", docs::VIEWER);
        return Ok(HttpResponse::TemporaryRedirect().insert_header(("location", there)).finish());
    }
    let here = ROUTES.iter().filter(|route| ResourceDef::new(route.path).is_match(req.path()));
    let methods: Vec<&str> = here.map(|route| route.method).collect();
    if methods.is_empty() {
        return Err(ApiError::new(Code::NotFound, "There is nothing at this address."));
    }
    Err(ApiError { allow: Some(methods.join(", ")), ..ApiError::of(Code::MethodNotAllowed) })
}
