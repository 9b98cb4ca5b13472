//! The API's description: OpenAPI 3.1, and a viewer for it that needs no network.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::{HttpResponse, get, web};
use aegis_common::escrow::effect::Notice;
use aegis_common::wire::event::OwnNotice;
use aegis_common::wire::market::MarketNotice;
use aegis_common::wire::problem::Problem;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::problem::MEDIA_TYPE;

/// Where the viewer is.
pub const VIEWER: &str = "/docs";
/// Where the description is.
pub const DESCRIPTION: &str = "/api/v1/openapi.json";

/// The frame of the description; paths are added as routes are registered.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Aegis",
        description = "Self-hosted, non-custodial Monero escrow. Amounts are strings of piconero, times RFC 3339, \
                       keys and hashes hexadecimal. Errors are problem documents (RFC 9457) whose `code` is for \
                       programs."
    ),
    components(schemas(Problem, Notice, MarketNotice, OwnNotice)),
    modifiers(&Bearer)
)]
pub struct Frame;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// Any refusal or failure: a problem document.
pub struct Refused;

impl IntoResponses for Refused {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let content =
            Content::new(Some(RefOr::<utoipa::openapi::Schema>::Ref(Ref::from_schema_name("Problem"))));
        let response = ResponseBuilder::new()
            .description("A refusal or failure, as a problem document")
            .content(MEDIA_TYPE, content)
            .build();
        BTreeMap::from([("default".to_owned(), RefOr::T(response))])
    }
}

/// The description as JSON.
#[derive(Clone)]
pub struct Description(pub Arc<str>);

/// This description.
#[utoipa::path(tag = "server", responses((status = 200, description = "OpenAPI 3.1"), Refused))]
#[get("/api/v1/openapi.json")]
pub async fn description(description: web::Data<Description>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(description.0.to_string())
}

/// The feed's description as JSON.
#[derive(Clone)]
pub struct FeedDescription(pub Arc<str>);

/// The description of the WebSocket and its frames.
#[utoipa::path(tag = "server", responses((status = 200, description = "AsyncAPI 3.0"), Refused))]
#[get("/api/v1/asyncapi.json")]
pub async fn feed_description(feed: web::Data<FeedDescription>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(feed.0.to_string())
}

/// The viewer, with all its files inside the program. By default it would send the description to a validator elsewhere.
pub fn viewer() -> SwaggerUi {
    SwaggerUi::new(format!("{VIEWER}/{{_:.*}}")).config(Config::from(DESCRIPTION).validator_url("none"))
}
