//! Who sends a request. A handler that wants to know takes one of these as an argument, and can't forget to check.

use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::net::IpAddr;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};
use aegis_common::code::Code;
use aegis_common::ids::UserId;
use aegis_common::wire::account::AccountRole;
use futures_util::future::LocalBoxFuture;

use super::State;
use super::problem::ApiError;
use crate::crypto::token::{Bearer, TokenError};

/// The account behind a valid token.
#[derive(Debug, Clone, Copy)]
pub struct Caller(pub Bearer);

impl Caller {
    /// Its id.
    pub fn user(&self) -> UserId {
        self.0.user
    }
}

/// Which roles may call.
pub trait Allowed: 'static {
    /// These.
    const ROLES: &'static [AccountRole];
}

/// Arbiters.
pub struct Arbiters;
/// Operators and administrators.
pub struct Operators;
/// Administrators.
pub struct Admins;

impl Allowed for Arbiters {
    const ROLES: &'static [AccountRole] = &[AccountRole::Arbiter];
}

impl Allowed for Operators {
    const ROLES: &'static [AccountRole] = &[AccountRole::Operator, AccountRole::Admin];
}

impl Allowed for Admins {
    const ROLES: &'static [AccountRole] = &[AccountRole::Admin];
}

/// A caller with one of the roles that `R` allows.
pub struct Only<R>(pub Caller, PhantomData<R>);

/// Where a request comes from: the peer, or what a trusted proxy says.
#[derive(Debug, Clone, Copy)]
pub struct Origin(pub IpAddr);

/// An attempt to register or log in, counted against the address it comes from.
pub struct Attempt;

fn state(req: &HttpRequest) -> Result<&web::Data<State>, ApiError> {
    req.app_data::<web::Data<State>>()
        .ok_or_else(|| ApiError::failure(Code::Internal, &"the application has no state"))
}

fn authenticate(req: &HttpRequest) -> Result<Caller, ApiError> {
    let state = state(req)?;
    let header = req.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token =
        header.and_then(|text| text.split_once(' ')).filter(|(s, _)| s.eq_ignore_ascii_case("bearer"));
    let (_, token) = token.ok_or_else(|| ApiError::of(Code::Unauthenticated))?;
    let bearer = state.tokens.verify(token.trim(), state.clock.now());
    bearer.map(Caller).map_err(|error: TokenError| ApiError::new(Code::Unauthenticated, error.to_string()))
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(authenticate(req))
    }
}

impl<R: Allowed> FromRequest for Only<R> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    /// The role is read from the database: one that was taken away must not live on in a token and give itself back.
    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let (caller, state) = (authenticate(req), state(req).cloned());
        Box::pin(async move {
            let (caller, state) = (caller?, state?);
            let role = state.accounts.role(caller.user()).await?;
            let allowed = role.is_some_and(|role| R::ROLES.contains(&role));
            if allowed { Ok(Self(caller, PhantomData)) } else { Err(ApiError::of(Code::Forbidden)) }
        })
    }
}

impl FromRequest for Attempt {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let checked = state(req).and_then(|state| state.limits.credentials(state.limits.origin(req)));
        ready(checked.map(|()| Self))
    }
}
