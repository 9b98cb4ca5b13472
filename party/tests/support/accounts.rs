//! A little server of one account that keeps the rules of sessions: each refresh token works once, some calls need a fresh
//! proof, and a second factor is asked where it is set up.

#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::{Arc, Mutex, MutexGuard};

use aegis_common::code::Code;
use aegis_common::hash::Hash32;
use aegis_common::testing::{START, address};
use aegis_common::wire::account::{
    BackupView, Backups, Factor, FactorKind, LoginAnswer, LoginRequest, MeView, PasswordRequest, PrekeyStock,
    RefreshRequest, RegisterRequest, ResetRequest, SecondFactorNeeded, SecondFactorRequest, Settings,
    StepUpRequest, StepUpView, TotpCode,
};
use aegis_common::wire::list::{EscrowItem, EscrowPage};
use aegis_common::wire::problem::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::liar::{Liar, Request, tokens, user};

pub const CODE: &str = "123456";

/// What the server knows, and what it was asked.
#[derive(Default)]
pub struct State {
    pub password: String,
    pub has_totp: bool,
    /// Closes the connection instead of answering once this was done.
    pub lose: Option<&'static str>,
    /// Closes the connection, and does nothing yet.
    pub stall: Option<&'static str>,
    /// Does what is asked, but answers none of this.
    pub refuse: Option<(&'static str, Code)>,
    /// The access token that counts.
    pub token: String,
    refresh_token: String,
    used: Vec<String>,
    proven: bool,
    made: u32,
    pub logins: u32,
    pub refreshes: u32,
    pub proofs: u32,
    /// A refresh token came twice: the session would be over.
    pub reused: bool,
    pub registered: Vec<RegisterRequest>,
    pub backups: Vec<Vec<u8>>,
    pub stock: Option<PrekeyStock>,
    pub stock_asked: u32,
    pub escrows: Vec<EscrowItem>,
    /// How often they were listed.
    pub listed: u32,
    pub reset: Option<ResetRequest>,
}

#[derive(Clone)]
pub struct Accounts(Arc<Mutex<State>>);

type Answer = Option<(u16, Vec<u8>)>;

fn json(value: impl Serialize) -> Answer {
    Some((200, serde_json::to_vec(&value).unwrap()))
}

fn refused(code: Code) -> Answer {
    Some((code.status(), serde_json::to_vec(&Problem::new(code, "no")).unwrap()))
}

fn read<T: DeserializeOwned>(request: &Request) -> T {
    serde_json::from_slice(&request.body).unwrap()
}

impl Accounts {
    pub fn start(password: &str) -> (Self, Liar) {
        let state = State { password: password.to_owned(), ..State::default() };
        let accounts = Self(Arc::new(Mutex::new(state)));
        let served = accounts.clone();
        (accounts, Liar::serving(move |request| served.state().answer(request)))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The access token is over.
    pub fn expire(&self) {
        self.state().token = "none".to_owned();
    }
}

impl State {
    fn new_tokens(&mut self) -> aegis_common::wire::account::LoggedIn {
        self.made += 1;
        (self.token, self.refresh_token) =
            (format!("access-{}", self.made), format!("refresh-{}", self.made));
        tokens(&self.token, &self.refresh_token)
    }

    fn is_right(&self, factor: &Factor) -> bool {
        match factor {
            Factor::Password(password) => !self.has_totp && *password == self.password,
            Factor::Totp(code) => self.has_totp && code == CODE,
            Factor::BackupCode(_) | Factor::Passkey(_) => false,
        }
    }

    fn answer(&mut self, request: &Request) -> Answer {
        let path = request.target.split('?').next().unwrap().strip_prefix("/api/v1").unwrap_or_default();
        if let Some((refuse, code)) = self.refuse
            && refuse == path
        {
            return refused(code);
        }
        if self.stall == Some(path) {
            return None;
        }
        let answer = match path {
            "" => json(serde_json::json!({"result": {"version": 65_561}})),
            path if path.starts_with("/auth/") && path != "/auth/logout" => self.enter(path, request),
            _ if request.bearer.as_ref() != Some(&self.token) => return refused(Code::Unauthenticated),
            path => self.inside(path, request),
        };
        if self.lose == Some(path) { None } else { answer }
    }

    fn enter(&mut self, path: &str, request: &Request) -> Answer {
        match path {
            "/auth/register" => {
                self.registered.push(read(request));
                json(user())
            }
            "/auth/login" => {
                self.logins += 1;
                let LoginRequest { password, .. } = read(request);
                if password != self.password {
                    return refused(Code::BadCredentials);
                }
                if self.has_totp {
                    return json(LoginAnswer::SecondFactor(SecondFactorNeeded {
                        token: "half".to_owned(),
                        expires_at: START,
                        methods: vec![FactorKind::Totp],
                        passkey: None,
                    }));
                }
                self.proven = true;
                json(LoginAnswer::LoggedIn(Box::new(self.new_tokens())))
            }
            "/auth/second-factor" => {
                let SecondFactorRequest { factor, .. } = read(request);
                if !self.is_right(&factor) {
                    return refused(Code::BadFactor);
                }
                self.proven = true;
                json(self.new_tokens())
            }
            "/auth/refresh" => {
                self.refreshes += 1;
                let RefreshRequest { refresh_token } = read(request);
                self.reused |= self.used.contains(&refresh_token);
                if refresh_token != self.refresh_token {
                    return refused(Code::SessionRevoked);
                }
                self.used.push(refresh_token);
                json(self.new_tokens())
            }
            "/auth/reset" => {
                let reset: ResetRequest = read(request);
                self.password = reset.password.clone();
                self.reset = Some(reset);
                self.token = "none".to_owned();
                self.refresh_token = "none".to_owned();
                Some((204, Vec::new()))
            }
            // It has a token, and is answered here to keep the paths together.
            "/auth/step-up" => {
                self.proofs += 1;
                let StepUpRequest { factor } = read(request);
                if request.bearer.as_ref() != Some(&self.token) || !self.is_right(&factor) {
                    return refused(Code::BadFactor);
                }
                self.proven = true;
                self.made += 1;
                // It counts in place of the one before; the refresh token goes on.
                self.token = format!("proven-{}", self.made);
                json(StepUpView { token: self.token.clone(), expires_at: START, until: START })
            }
            _ => refused(Code::NotFound),
        }
    }

    /// Asks for a new proof from now on.
    pub fn forget_proof(&mut self) {
        self.proven = false;
    }

    fn inside(&mut self, path: &str, request: &Request) -> Answer {
        match (request.method.as_str(), path) {
            ("GET", "/me") => json(self.me()),
            ("POST", "/auth/logout") => {
                self.token = "none".to_owned();
                Some((204, Vec::new()))
            }
            ("GET", "/escrows") => {
                self.listed += 1;
                json(EscrowPage { escrows: self.escrows.clone(), unreadable: Vec::new(), next: None })
            }
            ("POST", "/me/totp/disable") => {
                let TotpCode { code } = read(request);
                if code != CODE {
                    return refused(Code::BadFactor);
                }
                self.has_totp = false;
                Some((204, Vec::new()))
            }
            ("DELETE", "/me/sessions") => {
                (self.token, self.refresh_token) = ("none".to_owned(), "none".to_owned());
                Some((204, Vec::new()))
            }
            ("GET", "/me/prekeys") => {
                self.stock_asked += 1;
                json(self.stock)
            }
            ("GET", "/me/backups") => json(Backups { backups: self.backup_views() }),
            _ if !self.proven => refused(Code::StepUpRequired),
            ("PUT", "/me/payout-address") => json(self.me()),
            ("POST", "/me/backups") => {
                self.backups.push(request.body.clone());
                json(self.backup_views().pop())
            }
            ("PUT", "/me/password") => {
                let PasswordRequest { current, new } = read(request);
                if current != self.password {
                    return refused(Code::BadCredentials);
                }
                self.password = new;
                Some((204, Vec::new()))
            }
            ("GET", path) if path.starts_with("/me/backups/") => {
                let version: usize = path.rsplit('/').next()?.parse().ok()?;
                Some((200, self.backups[version - 1].clone()))
            }
            _ => refused(Code::NotFound),
        }
    }

    fn backup_views(&self) -> Vec<BackupView> {
        let view = |(version, bytes): (i64, &Vec<u8>)| BackupView {
            version,
            size: bytes.len() as u64,
            sha256: Hash32::sha256(bytes),
            created_at: START,
        };
        (1..).zip(&self.backups).map(view).collect()
    }

    fn me(&self) -> MeView {
        MeView {
            user: user(),
            payout_address: address(1),
            created_at: START,
            settings: Settings::default(),
            totp_enabled: self.has_totp,
            backup_codes: 0,
            passkeys: 0,
        }
    }
}
