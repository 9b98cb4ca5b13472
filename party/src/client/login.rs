//! Getting in and staying in: the password, a second factor where the account has one, refreshing, proving it anew.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use aegis_common::code::Code;
use aegis_common::wire::account::{Factor, LoginRequest, RefreshRequest, SecondFactorRequest, StepUpRequest};
use reqwest::Method;
use serde::{Deserialize, Deserializer};

use super::session::Session;
use super::{Client, ClientError, answered, json, send};
use crate::keys::Secret;

/// How long a refused login is not tried again: each try is written down there, and too many lock the account.
const PAUSE: Duration = Duration::from_secs(60);

/// The longest token that is taken, in bytes.
const MAX_TOKEN: usize = 4096;

const RUN_LOGIN: &str = "run `aegis login`, which asks for a code; each works once";
const NEEDS_BROWSER: &str = "it has passkeys only, which need a browser; make backup codes there";

/// What is used of a session's tokens. An answer may have spent a token, so nothing else in it may make it unreadable.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tokens {
    #[serde(deserialize_with = "token")]
    pub(super) token: Secret,
    #[serde(deserialize_with = "token")]
    pub(super) refresh_token: Secret,
}

/// What is used of the answer to a password.
#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "camelCase")]
enum LoginAnswer {
    LoggedIn(Tokens),
    SecondFactor(SecondFactorNeeded),
}

#[derive(Deserialize)]
struct SecondFactorNeeded {
    #[serde(deserialize_with = "token")]
    token: Secret,
    /// There may be kinds that this program does not know.
    methods: Vec<String>,
}

#[derive(Deserialize)]
struct Proven {
    #[serde(deserialize_with = "token")]
    token: Secret,
}

/// What is used of the own account.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Factors {
    totp_enabled: bool,
    backup_codes: u64,
    passkeys: u64,
}

/// A token that can stand in a header, and in the home.
fn token<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    let token = Secret::deserialize(from)?;
    let text = token.expose().as_bytes();
    match (1..=MAX_TOKEN).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic) {
        true => Ok(token),
        false => Err(serde::de::Error::custom("a token that can't be one")),
    }
}

/// Where the code of a second factor comes from.
#[derive(Debug, Clone, Default)]
pub enum Codes {
    /// Nobody is there to give one.
    #[default]
    Nobody,
    /// It was given, and works once.
    Given(Secret),
    /// The person is asked.
    Ask(fn() -> Option<Secret>),
}

/// What the client knows of the account.
pub(super) struct Known {
    /// While a password is being changed there are two that may hold.
    pub(super) passwords: Vec<Secret>,
    /// The one that a login was last taken with.
    pub(super) proven: Option<Secret>,
    /// A login that the server refused, and when.
    refused: Option<(Instant, ClientError)>,
}

impl Known {
    pub(super) fn of(passwords: Vec<Secret>) -> Self {
        Self { passwords, proven: None, refused: None }
    }
}

/// Six digits are an authenticator's code; anything else is taken as a backup code.
fn factor_of(code: &Secret) -> Factor {
    let code: String = code.expose().split_whitespace().collect();
    match code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()) {
        true => Factor::Totp(code),
        false => Factor::BackupCode(code),
    }
}

impl Client {
    /// The passwords that the account may have: those of a key store that another process has changed.
    pub fn set_passwords(&self, passwords: Vec<Secret>) {
        self.known(|known| {
            if known.passwords != passwords {
                *known = Known::of(passwords);
            }
        });
    }

    /// The password that the server has taken, where it was in doubt which holds.
    pub fn proven_password(&self) -> Option<Secret> {
        self.known(|known| known.proven.clone().filter(|_| known.passwords.len() > 1))
    }

    /// A code of the second factor. One that was given is given out once, for whatever asks first.
    pub async fn code(&self) -> Result<Secret, ClientError> {
        let codes = {
            let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
            match &*codes {
                Codes::Ask(ask) => Codes::Ask(*ask),
                _ => std::mem::take(&mut *codes),
            }
        };
        let given = match codes {
            Codes::Nobody => None,
            Codes::Given(code) => Some(code),
            Codes::Ask(ask) => tokio::task::spawn_blocking(ask).await.ok().flatten(),
        };
        given.ok_or(ClientError::SecondFactorNeeded(RUN_LOGIN))
    }

    async fn factor(&self) -> Result<Factor, ClientError> {
        Ok(factor_of(&self.code().await?))
    }

    async fn by_password(&self, password: &Secret) -> Result<LoginAnswer, ClientError> {
        let request = LoginRequest {
            username: self.username.clone(),
            password: password.expose().to_owned(),
            device: None,
        };
        json(send(self.request(Method::POST, "/auth/login").json(&request)).await?).await
    }

    /// Whether the server takes a password now. That it does not proves nothing: what sets it may still be under way.
    pub async fn is_password(&self, password: &Secret) -> Result<bool, ClientError> {
        match self.by_password(password).await {
            Ok(LoginAnswer::LoggedIn(Tokens { token, .. })) => {
                // It ends by itself where this fails.
                let _ = self.end(&token).await;
                Ok(true)
            }
            Ok(LoginAnswer::SecondFactor(_)) => Ok(true),
            Err(error) if error.is_wrong_proof() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The first step of a login, with the first password that the server takes.
    async fn with_password(&self) -> Result<LoginAnswer, ClientError> {
        let mut refused = ClientError::Local("no password is known".to_owned());
        for password in self.known(|known| known.passwords.clone()) {
            match self.by_password(&password).await {
                Err(error) if error.is_wrong_proof() => refused = error,
                other => {
                    let answer = other?;
                    self.known(|known| known.proven = Some(password));
                    return Ok(answer);
                }
            }
        }
        Err(refused)
    }

    async fn second_factor(&self, needed: SecondFactorNeeded) -> Result<Tokens, ClientError> {
        if !needed.methods.iter().any(|kind| matches!(kind.as_str(), "totp" | "backupCode")) {
            return Err(ClientError::SecondFactorNeeded(NEEDS_BROWSER));
        }
        let factor = self.factor().await?;
        let request = SecondFactorRequest { token: needed.token.expose().to_owned(), factor };
        json(send(self.request(Method::POST, "/auth/second-factor").json(&request)).await?).await
    }

    /// A token that is not the one that is over: what another process got meanwhile, else a refreshed one, else that of a
    /// new login.
    pub(super) async fn token(&self, over: Option<&Secret>) -> Result<Secret, ClientError> {
        let good = |session: &Session| over != Some(&session.token);
        let mut held = self.held.lock().await;
        if let Some(session) = held.as_ref().filter(|session| good(session)) {
            return Ok(session.token.clone());
        }
        let lock = self.lock().await?;
        let kept = self.kept(&held)?;
        let session = match kept {
            Some(kept) if good(&kept) => {
                let token = kept.token.clone();
                *held = Some(kept);
                return Ok(token);
            }
            Some(kept) => self.refreshed(&mut held, kept).await?,
            None => None,
        };
        let session = match session {
            Some(session) => session,
            None => match self.unless_refused().await? {
                LoginAnswer::LoggedIn(answer) => self.session_of(answer),
                LoginAnswer::SecondFactor(needed) => {
                    // Whoever needs no person must not wait for one.
                    drop(lock);
                    let done = self.second_factor(needed).await;
                    let session = self.session_of(self.note_refusal(done)?);
                    let token = session.token.clone();
                    self.replace(&mut held, session, over).await?;
                    return Ok(token);
                }
            },
        };
        let token = session.token.clone();
        self.keep(&mut held, session)?;
        Ok(token)
    }

    /// Keeps a session that was made without the lock and ends the one in its place, unless that is known to be over.
    async fn replace(
        &self,
        held: &mut Option<Session>,
        session: Session,
        over: Option<&Secret>,
    ) -> Result<(), ClientError> {
        let _lock = self.lock().await?;
        let before = self.kept(held)?;
        self.keep(held, session)?;
        if let Some(before) = before.filter(|before| over != Some(&before.token)) {
            // It ends by itself where this fails.
            let _ = self.end(&before.token).await;
        }
        Ok(())
    }

    async fn unless_refused(&self) -> Result<LoginAnswer, ClientError> {
        let refused = self.known(|known| known.refused.clone());
        match refused {
            Some((since, error)) if since.elapsed() < PAUSE => Err(error),
            _ => self.note_refusal(self.with_password().await),
        }
    }

    fn note_refusal<T>(&self, done: Result<T, ClientError>) -> Result<T, ClientError> {
        let refusal = done.as_ref().err().filter(|error| match error {
            ClientError::Problem(problem) => matches!(problem.status, 401 | 403 | 429),
            other => matches!(other, ClientError::SecondFactorNeeded(_)),
        });
        self.known(|known| known.refused = refusal.map(|error| (Instant::now(), error.clone())));
        done
    }

    /// The session with fresh tokens; nothing where it is over.
    async fn refreshed(
        &self,
        held: &mut Option<Session>,
        session: Session,
    ) -> Result<Option<Session>, ClientError> {
        let Some(refresh_token) = session.refresh_token.clone() else { return Ok(None) };
        self.keep(held, Session { refresh_token: None, ..session.clone() })?;
        let request = RefreshRequest { refresh_token: refresh_token.expose().to_owned() };
        let answer = self.request(Method::POST, "/auth/refresh").json(&request).send().await;
        let not_sent = answer.as_ref().is_err_and(reqwest::Error::is_connect);
        match answered(answer).await {
            Ok(answer) => Ok(Some(self.session_of(json(answer).await?))),
            Err(error) if error.ends_session() => Ok(None),
            Err(error) => {
                // A server that is busy may have taken it already; too many requests are told before.
                if not_sent || (error.is_refusal() && error.code() == Some(Code::RateLimited)) {
                    self.keep(held, session)?;
                }
                Err(error)
            }
        }
    }

    /// Proves anew that it is the account's owner: by the password, or by a code where it has a second factor. Gives the
    /// token that may do what asked for it.
    pub(super) async fn step_up(&self, token: &Secret) -> Result<Secret, ClientError> {
        let me = self.request(Method::GET, "/me").bearer_auth(token.expose());
        let me: Factors = json(send(me).await?).await?;
        if !me.totp_enabled && me.passkeys == 0 {
            return self.step_up_by_password(token).await;
        }
        if !me.totp_enabled && me.backup_codes == 0 {
            return Err(ClientError::SecondFactorNeeded(NEEDS_BROWSER));
        }
        self.step_up_by(token, self.factor().await?).await
    }

    async fn step_up_by_password(&self, token: &Secret) -> Result<Secret, ClientError> {
        let mut proven = Err(ClientError::Local("no password is known".to_owned()));
        // A new one does not hold before this proof lets it be set.
        for password in self.known(|known| known.passwords.clone()).iter().rev() {
            proven = self.step_up_by(token, Factor::Password(password.expose().to_owned())).await;
            if !proven.as_ref().is_err_and(ClientError::is_wrong_proof) {
                break;
            }
        }
        proven
    }

    async fn step_up_by(&self, token: &Secret, factor: Factor) -> Result<Secret, ClientError> {
        let request = self.request(Method::POST, "/auth/step-up").bearer_auth(token.expose());
        let Proven { token: proven } = json(send(request.json(&StepUpRequest { factor })).await?).await?;
        let mut held = self.held.lock().await;
        let _lock = self.lock().await?;
        // The next command has it, too, if nobody has replaced the session meanwhile.
        if let Some(kept) = self.kept(&held)?.filter(|kept| kept.token == *token) {
            self.keep(&mut held, Session { token: proven.clone(), ..kept })?;
        }
        Ok(proven)
    }

    /// Logs in anew and ends the session before. What the server refused a moment ago is tried again: the person asks for it.
    pub async fn login(&self) -> Result<(), ClientError> {
        let answer = match self.with_password().await? {
            LoginAnswer::LoggedIn(answer) => answer,
            LoginAnswer::SecondFactor(needed) => self.second_factor(needed).await?,
        };
        let mut held = self.held.lock().await;
        self.replace(&mut held, self.session_of(answer), None).await
    }

    /// Ends the session; whether there was one.
    pub async fn logout(&self) -> Result<bool, ClientError> {
        let mut held = self.held.lock().await;
        let _lock = self.lock().await?;
        let Some(session) = self.kept(&held)? else { return Ok(false) };
        let mut ended = self.end(&session.token).await;
        if ended.as_ref().is_err_and(ClientError::ends_session)
            && let Some(fresh) = self.refreshed(&mut held, session).await?
        {
            ended = self.end(&fresh.token).await;
        }
        match ended {
            Err(error) if !error.ends_session() => return Err(error),
            _ => self.forget(&mut held)?,
        }
        Ok(true)
    }

    /// Forgets the session of a token, which the server has ended with all others; one that another process has made since
    /// stays.
    pub(super) async fn forget_session(&self, used: &Secret) -> Result<(), ClientError> {
        let mut held = self.held.lock().await;
        let _lock = self.lock().await?;
        match self.kept(&held)?.is_some_and(|kept| kept.token == *used) {
            true => self.forget(&mut held),
            false => Ok(()),
        }
    }

    async fn end(&self, token: &Secret) -> Result<(), ClientError> {
        send(self.request(Method::POST, "/auth/logout").bearer_auth(token.expose())).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_answer_only_what_is_used_counts_and_a_token_is_one() {
        let read = |token: &str| {
            let answer =
                serde_json::json!({"status": "loggedIn", "token": token, "refreshToken": "r", "user": 7});
            serde_json::from_value::<LoginAnswer>(answer).is_ok()
        };
        assert!(read("a.b-c") && read(&"t".repeat(MAX_TOKEN)));
        for bad in ["", "a b", "a\nb", "é", &"t".repeat(MAX_TOKEN + 1)] {
            assert!(!read(bad), "{bad}");
        }
        let needed = serde_json::json!({"status": "secondFactor", "token": "t", "methods": ["new", "totp"]});
        assert!(matches!(serde_json::from_value(needed), Ok(LoginAnswer::SecondFactor(_))));
    }

    #[tokio::test]
    async fn a_refresh_token_that_could_not_be_sent_is_used_later() {
        let client = Client::new("http://127.0.0.1:1", "alice", Vec::new()).unwrap();
        let [token, refresh_token] = ["t", "r"].map(Secret::new);
        let session = client.session_of(Tokens { token, refresh_token });
        let mut held = None;
        assert!(matches!(client.refreshed(&mut held, session).await, Err(ClientError::Unreachable(_))));
        assert!(held.is_some_and(|session| session.refresh_token.is_some()));
    }

    #[test]
    fn six_digits_are_an_authenticators_code_and_anything_else_a_backup_code() {
        let is_totp = |code: &str| matches!(factor_of(&Secret::new(code)), Factor::Totp(_));
        assert!(is_totp("123456") && is_totp(" 123 456\n"));
        assert!(!is_totp("12345") && !is_totp("1234567") && !is_totp("abcdef") && !is_totp("12345٣"));
    }
}
