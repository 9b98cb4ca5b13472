//! Second factors: proving one, setting up an authenticator, backup codes.

use aegis_common::hash::Hash32;
use aegis_common::ids::UserId;
use aegis_common::wire::account::{
    BackupCodes, Factor, FactorKind, StepUpRequest, StepUpView, TotpCode, TotpEnrolment, bounds,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use zeroize::Zeroizing;

use super::{AccountError, Accounts, FRESH, Origin, Who, check_label, shown};
use crate::crypto::opaque::{backup_code, backup_code_hash};
use crate::crypto::token::Bearer;
use crate::crypto::totp;
use crate::store::{Note, TotpRow, UserRow};

impl Accounts {
    /// Uses a factor of the account up, or notes that it was wrong. A try at what can be guessed is paid for; a right one makes the
    /// budget whole.
    pub(super) async fn prove(
        &self,
        row: &UserRow,
        factor: Factor,
        passkey: Option<&str>,
        origin: Origin,
    ) -> Result<FactorKind, AccountError> {
        let budget = self.by_factor(row.id);
        let can_be_guessed = matches!(factor, Factor::Password(_) | Factor::Totp(_));
        if can_be_guessed {
            self.charge(vec![budget]).await?;
        }
        let proved = match factor {
            Factor::Password(password) => self.prove_password(row, Zeroizing::new(password)).await,
            Factor::Totp(code) => self.prove_totp(row.id, &Zeroizing::new(code)).await,
            Factor::BackupCode(code) => self.prove_backup_code(row.id, &Zeroizing::new(code), origin).await,
            Factor::Passkey(answer) => self.prove_passkey(row.id, answer, passkey).await,
        };
        match proved {
            Ok(kind) => {
                self.store.refund(budget.key).await?;
                Ok(kind)
            }
            Err(AccountError::BadFactor) => Err(self.wrong_factor(row.id, origin).await?),
            Err(error) => Err(error),
        }
    }

    /// Notes that a factor was wrong, and tells its owner.
    async fn wrong_factor(&self, user: UserId, origin: Origin) -> Result<AccountError, AccountError> {
        let note = self.note(Some(user), "secondFactorFailed", origin, json!({}));
        self.store.note(Note { tell: true, ..note }).await?;
        Ok(AccountError::BadFactor)
    }

    /// The password proves somebody only where there is no second factor.
    async fn prove_password(
        &self,
        row: &UserRow,
        password: Zeroizing<String>,
    ) -> Result<FactorKind, AccountError> {
        if password.len() > bounds::PASSWORD_BYTES || self.store.factors(row.id).await?.is_needed() {
            return Err(AccountError::BadFactor);
        }
        if self.passwords.verify(password, Some(row.password_hash.clone())).await? {
            Ok(FactorKind::Password)
        } else {
            Err(AccountError::BadFactor)
        }
    }

    async fn prove_totp(&self, user: UserId, code: &str) -> Result<FactorKind, AccountError> {
        let totp =
            self.store.totp(user).await?.filter(|totp| totp.confirmed).ok_or(AccountError::BadFactor)?;
        if self.store.take_totp_step(user, self.step(&totp, code)?).await? {
            Ok(FactorKind::Totp)
        } else {
            Err(AccountError::BadFactor)
        }
    }

    /// The step a code belongs to.
    fn step(&self, totp: &TotpRow, code: &str) -> Result<i64, AccountError> {
        totp::matching_step(&totp.secret, code, self.clock.now()).ok_or(AccountError::BadFactor)
    }

    async fn prove_backup_code(
        &self,
        user: UserId,
        code: &str,
        origin: Origin,
    ) -> Result<FactorKind, AccountError> {
        let hash = backup_code_hash(code).ok_or(AccountError::BadFactor)?;
        let note = self.note(Some(user), "backupCodeUsed", origin, json!({}));
        let note = Note { tell: true, ..note };
        if self.store.take_backup_code(user, hash, note).await? {
            Ok(FactorKind::BackupCode)
        } else {
            Err(AccountError::BadFactor)
        }
    }

    /// Proves anew who is there. The token that it gives, and no other, may do what asks for it, for five minutes.
    pub async fn step_up(
        &self,
        who: &Who,
        request: StepUpRequest,
        origin: Origin,
    ) -> Result<StepUpView, AccountError> {
        self.charge(vec![self.by_origin(origin)]).await?;
        let passkey = match request.factor {
            Factor::Passkey(_) => Some(self.step_up_state(who).await?),
            _ => None,
        };
        let row = self.row(who.user).await?;
        let kind = self.prove(&row, request.factor, passkey.as_deref(), origin).await?;
        let note = Note { tell: false, ..self.act(who, "steppedUp", origin, json!({ "factor": kind })) };
        self.store.prove_session(who.session, kind != FactorKind::Password, note).await?;
        let now = self.clock.now();
        let bearer =
            Bearer { user: row.id, role: shown(row.role), session: who.session, proved_at: Some(now) };
        let (token, expires_at) = self.tokens.issue(bearer, now)?;
        Ok(StepUpView { token, expires_at, until: now + FRESH })
    }

    /// A new secret for an authenticator; it takes the place of one that was not confirmed.
    pub async fn enrol_totp(&self, who: &Who) -> Result<TotpEnrolment, AccountError> {
        let row = self.row(who.user).await?;
        let secret = totp::new_secret()?;
        let made = totp::enrolment(&secret, &row.username)?;
        if !self.store.set_totp(who.user, secret, self.clock.now()).await? {
            return Err(AccountError::FactorExists);
        }
        Ok(TotpEnrolment {
            secret: made.secret.to_string(),
            uri: made.uri.to_string(),
            svg: made.svg,
            png: STANDARD.encode(made.png),
        })
    }

    /// The authenticator counts once it has shown a code; ten backup codes come with it.
    pub async fn confirm_totp(
        &self,
        who: &Who,
        code: TotpCode,
        origin: Origin,
    ) -> Result<BackupCodes, AccountError> {
        let budget = self.by_factor(who.user);
        self.charge(vec![budget]).await?;
        let totp = self.store.totp(who.user).await?.filter(|totp| !totp.confirmed);
        let totp = totp.ok_or(AccountError::FactorMissing)?;
        let Ok(step) = self.step(&totp, &Zeroizing::new(code.code)) else {
            return Err(self.wrong_factor(who.user, origin).await?);
        };
        let (codes, hashes) = backup_codes()?;
        let note = self.act(who, "totpEnabled", origin, json!({}));
        if !self.store.confirm_totp(who.user, totp.sealed, step, hashes, note).await? {
            return Err(AccountError::FactorMissing);
        }
        self.store.refund(budget.key).await?;
        // Whoever has just shown a code of it needs not show another.
        let note = self.act(who, "steppedUp", origin, json!({ "factor": FactorKind::Totp }));
        self.store.prove_session(who.session, true, Note { tell: false, ..note }).await?;
        Ok(codes)
    }

    /// Removes the authenticator, on a code of it; or on a backup code, where it is lost.
    pub async fn disable_totp(&self, who: &Who, code: TotpCode, origin: Origin) -> Result<(), AccountError> {
        if !self.store.factors(who.user).await?.totp {
            return Err(AccountError::FactorMissing);
        }
        self.charge(vec![self.by_origin(origin), self.by_account("factors", who.user)]).await?;
        let factor = match backup_code_hash(&code.code) {
            Some(_) => Factor::BackupCode(code.code),
            None => Factor::Totp(code.code),
        };
        self.prove(&self.row(who.user).await?, factor, None, origin).await?;
        let note = self.act(who, "totpDisabled", origin, json!({}));
        Ok(self.store.remove_totp(who.user, note).await?)
    }

    /// Ten new backup codes in the place of all before.
    pub async fn new_backup_codes(&self, who: &Who, origin: Origin) -> Result<BackupCodes, AccountError> {
        if !self.store.factors(who.user).await?.is_needed() {
            return Err(AccountError::FactorMissing);
        }
        let (codes, hashes) = backup_codes()?;
        let note = self.act(who, "backupCodesIssued", origin, json!({}));
        self.store.replace_backup_codes(who.user, hashes, note).await?;
        Ok(codes)
    }

    /// Takes every second factor of an account away: the operator's help for somebody who lost them all.
    /// `reason` says how the operator knows that it is them.
    pub async fn remove_factors(&self, username: &str, reason: &str) -> Result<(), AccountError> {
        check_label("reason", reason)?;
        let row = self.row_named(username).await?;
        tracing::warn!(user = %row.id, "all second factors removed");
        let detail = json!({ "reason": reason });
        let note = self.rule(Some(row.id), "secondFactorsRemoved", None, Origin::MACHINE, detail);
        Ok(self.store.remove_factors(row.id, note).await?)
    }
}

fn backup_codes() -> Result<(BackupCodes, Vec<Hash32>), AccountError> {
    let made = (0..bounds::BACKUP_CODES).map(|_| backup_code()).collect::<Result<Vec<_>, _>>()?;
    let (codes, hashes) = made.into_iter().map(|(code, hash)| (code.to_string(), hash)).unzip();
    Ok((BackupCodes { codes }, hashes))
}
