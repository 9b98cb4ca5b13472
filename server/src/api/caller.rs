//! Who sends a request. The envelope finds out before any handler runs; a handler says whom it serves by taking a
//! [`Caller`] of some [`Reach`], and can't forget to check.

use std::future::{Ready, ready};
use std::marker::PhantomData;

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use aegis_common::code::Code;
use aegis_common::ids::UserId;
use aegis_common::wire::account::{AccountRole, Scope};

use super::State;
use super::problem::ApiError;
use crate::accounts::{Origin, Who};

/// What a request must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Whose account; nobody's in particular where `None`: then there may be no account at all.
    pub roles: Option<&'static [AccountRole]>,
    /// What an API key must be for; none will do where `None`.
    pub scope: Option<Scope>,
    /// Whether the last proof must be fresh.
    pub fresh: bool,
}

impl Access {
    const fn login(roles: &'static [AccountRole]) -> Self {
        Self { roles: Some(roles), scope: None, fresh: false }
    }

    const fn key(scope: Scope) -> Self {
        Self { scope: Some(scope), ..Self::login(&AccountRole::ALL) }
    }

    const fn fresh(self) -> Self {
        Self { fresh: true, ..self }
    }
}

/// Whom a handler serves.
pub trait Reach: 'static {
    /// In terms of what a request must show.
    const ACCESS: Access;
}

macro_rules! reach {
    ($($(#[$doc:meta])* $name:ident = $access:expr;)*) => {
        $(
            $(#[$doc])*
            pub struct $name;

            impl Reach for $name {
                const ACCESS: Access = $access;
            }
        )*
    };
}

reach! {
    /// Everybody.
    Public = Access { roles: None, scope: None, fresh: false };
    /// Whoever has logged in.
    Login = Access::login(&AccountRole::ALL);
    /// Whoever has logged in and proved it within five minutes.
    Fresh = Access::login(&AccountRole::ALL).fresh();
    /// Logins, and API keys that may read.
    Read = Access::key(Scope::Read);
    /// Logins, and API keys that may trade.
    Trade = Access::key(Scope::Trade);
    /// Arbiters.
    Arbiters = Access::login(&[AccountRole::Arbiter]);
    /// Operators and administrators.
    Operators = Access::login(&[AccountRole::Operator, AccountRole::Admin]);
    /// Administrators.
    Admins = Access::login(&[AccountRole::Admin]);
    /// Administrators who have proved it within five minutes.
    FreshAdmins = Access::login(&[AccountRole::Admin]).fresh();
}

/// Somebody whom `R` lets in.
pub struct Caller<R = Login>(pub Who, PhantomData<R>);

impl<R> Caller<R> {
    /// The account's id.
    pub fn user(&self) -> UserId {
        self.0.user
    }
}

/// Kept with the request: who it is, or why nobody.
#[derive(Clone)]
struct Found(Result<Who, ApiError>);

fn state(req: &HttpRequest) -> Result<&web::Data<State>, ApiError> {
    req.app_data::<web::Data<State>>()
        .ok_or_else(|| ApiError::failure(Code::Internal, &"the application has no state"))
}

/// Finds out who sends a request, where it says so.
pub async fn identify(req: &ServiceRequest) {
    let header = req.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|text| text.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let (Some((_, token)), Ok(state)) = (token, state(req.request())) else { return };
    let origin = state.limits.origin(req.request());
    let who = state.accounts.who(token.trim(), origin).await.map_err(ApiError::from);
    req.extensions_mut().insert(Found(who));
}

fn admit(req: &HttpRequest, access: Access) -> Result<Who, ApiError> {
    let found = req.extensions().get::<Found>().cloned();
    let Found(who) = found.ok_or_else(|| ApiError::of(Code::Unauthenticated))?;
    let who = who?;
    if who.scopes.as_ref().is_some_and(|has| !access.scope.is_some_and(|needed| has.contains(&needed))) {
        return Err(ApiError::of(Code::ScopeMissing));
    }
    if !access.roles.is_none_or(|roles| roles.contains(&who.role)) {
        return Err(ApiError::of(Code::Forbidden));
    }
    // What everybody may do asks for no second factor; what those may who run the server, does. Arbiters rule by signed
    // statements, and their programs run unattended.
    let runs = matches!(who.role, AccountRole::Operator | AccountRole::Admin);
    if runs && access.roles.is_some_and(|roles| roles.len() < AccountRole::ALL.len()) && !who.strong {
        return Err(ApiError::of(Code::WeakSession));
    }
    if access.fresh && !who.is_fresh(state(req)?.clock.now()) {
        return Err(ApiError::of(Code::StepUpRequired));
    }
    Ok(who)
}

impl<R: Reach> FromRequest for Caller<R> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(admit(req, R::ACCESS).map(|who| Self(who, PhantomData)))
    }
}

impl FromRequest for Origin {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(state(req).map(|state| state.limits.origin(req)))
    }
}
