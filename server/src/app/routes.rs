//! Every route of the API, in one table: what is registered, what is documented and what answers 405 all come from it.

use actix_web::dev::ResourceDef;
use actix_web::http::Method;
use actix_web::web::{PathConfig, QueryConfig, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse};
use aegis_common::code::Code;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_actix_web::AppExt;

use crate::api::caller::{self, Access, Reach};
use crate::api::problem::ApiError;
use crate::api::{
    access, arbiters, auth, backups, docs, escrows, events, factors, health, listings, lists, me, operator,
    orders, reviews, users, wallet, webhooks,
};
use crate::ws;

/// A method at an address, and whom it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// HTTP method.
    pub method: &'static str,
    /// Pattern with `{placeholders}`.
    pub path: &'static str,
    /// What a request must show. The handler enforces it; a test holds the two together.
    pub access: Access,
}

macro_rules! routes {
    ($($method:ident $path:literal => $handler:path, $reach:ident;)*) => {
        /// Every route. That a line says the same as its handler's own attribute is tested.
        pub const ROUTES: &[Route] = &[$(
            Route { method: stringify!($method), path: $path, access: caller::$reach::ACCESS },
        )*];

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
    POST "/api/v1/auth/register" => auth::register, Public;
    POST "/api/v1/auth/login" => auth::login, Public;
    POST "/api/v1/auth/second-factor" => auth::second_factor, Public;
    POST "/api/v1/auth/refresh" => auth::refresh, Public;
    POST "/api/v1/auth/reset" => auth::reset, Public;
    POST "/api/v1/auth/logout" => auth::logout, Login;
    POST "/api/v1/auth/step-up" => auth::step_up, Login;
    POST "/api/v1/auth/step-up/passkey" => auth::step_up_passkey, Login;
    GET "/.well-known/jwks.json" => auth::key_set, Public;
    GET "/api/v1/me" => me::me, Read;
    PATCH "/api/v1/me" => me::profile, Login;
    PUT "/api/v1/me/password" => me::password, Fresh;
    PUT "/api/v1/me/payout-address" => me::payout_address, Fresh;
    GET "/api/v1/me/prekeys" => me::prekey_stock, Login;
    POST "/api/v1/me/prekeys" => me::prekeys, Login;
    POST "/api/v1/me/totp" => factors::enrol_totp, Fresh;
    POST "/api/v1/me/totp/confirm" => factors::confirm_totp, Fresh;
    POST "/api/v1/me/totp/disable" => factors::disable_totp, Login;
    POST "/api/v1/me/backup-codes" => factors::backup_codes, Fresh;
    POST "/api/v1/me/passkey-challenge" => factors::passkey_challenge, Fresh;
    POST "/api/v1/me/passkeys" => factors::add_passkey, Fresh;
    GET "/api/v1/me/passkeys" => factors::passkeys, Login;
    DELETE "/api/v1/me/passkeys/{id}" => factors::remove_passkey, Fresh;
    GET "/api/v1/me/sessions" => access::sessions, Login;
    DELETE "/api/v1/me/sessions" => access::end_sessions, Fresh;
    DELETE "/api/v1/me/sessions/{id}" => access::end_session, Fresh;
    GET "/api/v1/me/api-keys" => access::api_keys, Login;
    POST "/api/v1/me/api-keys" => access::make_api_key, Fresh;
    DELETE "/api/v1/me/api-keys/{id}" => access::end_api_key, Fresh;
    GET "/api/v1/me/audit" => access::audit, Login;
    POST "/api/v1/me/backups" => backups::push, Fresh;
    GET "/api/v1/me/backups" => backups::list, Login;
    GET "/api/v1/me/backups/{version}" => backups::pull, Fresh;
    DELETE "/api/v1/me/backups/{version}" => backups::remove, Fresh;
    PUT "/api/v1/me/wallet" => wallet::connect, Fresh;
    GET "/api/v1/me/wallet" => wallet::show, Login;
    DELETE "/api/v1/me/wallet" => wallet::disconnect, Fresh;
    POST "/api/v1/me/wallet/rpc" => wallet::call, Login;
    POST "/api/v1/webhooks" => webhooks::make, Fresh;
    GET "/api/v1/webhooks" => webhooks::list, Read;
    GET "/api/v1/webhooks/{id}" => webhooks::one, Read;
    PATCH "/api/v1/webhooks/{id}" => webhooks::change, Fresh;
    DELETE "/api/v1/webhooks/{id}" => webhooks::remove, Fresh;
    POST "/api/v1/webhooks/{id}/ping" => webhooks::ping, Login;
    GET "/api/v1/webhooks/{id}/deliveries" => webhooks::deliveries, Read;
    GET "/api/v1/webhooks/{id}/deliveries/{delivery}" => webhooks::one_delivery, Read;
    POST "/api/v1/webhooks/{id}/deliveries/{delivery}/redeliver" => webhooks::redeliver, Login;
    GET "/api/v1/users" => users::search, Read;
    GET "/api/v1/users/{username}" => users::user, Read;
    PUT "/api/v1/users/{username}/role" => users::role, FreshAdmins;
    DELETE "/api/v1/users/{username}/sessions" => users::end_sessions, FreshAdmins;
    PUT "/api/v1/users/{username}/disabled" => users::disable, FreshAdmins;
    DELETE "/api/v1/users/{username}/disabled" => users::enable, FreshAdmins;
    GET "/api/v1/usernames/{username}" => users::exists, Public;
    POST "/api/v1/invitations" => users::invite, FreshAdmins;
    GET "/api/v1/invitations" => users::invitations, Admins;
    DELETE "/api/v1/invitations/{id}" => users::withdraw, Admins;
    POST "/api/v1/escrows" => escrows::create, Trade;
    GET "/api/v1/escrows" => lists::list, Read;
    GET "/api/v1/escrow-counts" => lists::counts, Read;
    GET "/api/v1/escrows/{id}" => escrows::one, Read;
    DELETE "/api/v1/escrows/{id}" => escrows::remove, Trade;
    POST "/api/v1/escrows/{id}/statements" => escrows::state_act, Trade;
    GET "/api/v1/escrows/{id}/transcript" => escrows::transcript, Read;
    GET "/api/v1/escrows/{id}/record" => escrows::record, Read;
    GET "/api/v1/escrows/{id}/history" => escrows::history, Read;
    GET "/api/v1/escrows/{id}/deposits" => escrows::deposits, Read;
    POST "/api/v1/escrows/{id}/rescan" => escrows::rescan, Operators;
    GET "/api/v1/escrows/{id}/assignment" => arbiters::assignment, Read;
    GET "/api/v1/arbiters" => arbiters::list, Read;
    GET "/api/v1/arbiters/{username}" => arbiters::one, Read;
    PUT "/api/v1/me/arbiter" => arbiters::set_offer, Arbiters;
    POST "/api/v1/me/arbiter/heartbeat" => arbiters::heartbeat, Login;
    GET "/api/v1/disputes" => arbiters::disputes, Login;
    POST "/api/v1/escrows/{id}/reviews" => reviews::create, Trade;
    GET "/api/v1/escrows/{id}/reviews" => reviews::of_escrow, Read;
    POST "/api/v1/listings" => listings::create, Trade;
    GET "/api/v1/listings" => listings::list, Read;
    GET "/api/v1/listings/{id}" => listings::one, Read;
    PATCH "/api/v1/listings/{id}" => listings::change, Trade;
    DELETE "/api/v1/listings/{id}" => listings::close, Trade;
    POST "/api/v1/orders" => orders::create, Trade;
    GET "/api/v1/orders" => orders::list, Read;
    GET "/api/v1/orders/{id}" => orders::one, Read;
    GET "/api/v1/users/{username}/reviews" => reviews::list, Read;
    GET "/api/v1/reviews/{id}" => reviews::one, Read;
    PATCH "/api/v1/reviews/{id}" => reviews::change, Trade;
    PUT "/api/v1/reviews/{id}/answer" => reviews::answer, Trade;
    PUT "/api/v1/reviews/{id}/hidden" => reviews::hide, Operators;
    DELETE "/api/v1/reviews/{id}/hidden" => reviews::show, Operators;
    GET "/api/v1/events" => events::feed, Read;
    GET "/api/v1/me/inbox" => events::inbox, Read;
    PUT "/api/v1/me/inbox/read" => events::read, Login;
    POST "/api/v1/ws/ticket" => events::ticket, Read;
    GET "/api/v1/ws" => ws::connect, Public;
    GET "/api/v1/operator/status" => operator::status, Operators;
    GET "/api/v1/operator/escrows" => operator::escrows, Operators;
    GET "/api/v1/health" => health::health, Public;
    GET "/health" => health::probe, Public;
    GET "/api/v1/openapi.json" => docs::description, Public;
    GET "/api/v1/asyncapi.json" => docs::feed_description, Public;
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
