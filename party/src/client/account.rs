//! The account: what it shows, its credentials, its backups.

use aegis_common::ids::{InvitationId, PasskeyId, SessionId, UserId};
use aegis_common::wire::account::{
    ApiKeyRequest, ApiKeys, AuditPage, BackupCodes, BackupView, Backups, InvitationRequest, Invitations,
    MeView, NewApiKey, NewInvitation, Passkeys, PasswordRequest, PayoutAddressRequest, PrekeyStock,
    PrekeysRequest, ProfileRequest, RegisterRequest, ResetRequest, Sessions, TotpCode, TotpEnrolment,
    UserPage, UserView, bounds,
};
use aegis_common::wire::arbiter::{ArbiterPage, ArbiterProfile, ArbiterView, DisputePage};
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Client, ClientError, body, json, send};

impl Client {
    async fn with<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        json(self.call(self.request(method, path).json(body)).await?).await
    }

    async fn make<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        json(self.call(self.request(Method::POST, path)).await?).await
    }

    async fn remove(&self, path: &str) -> Result<(), ClientError> {
        self.call(self.request(Method::DELETE, path)).await.map(drop)
    }

    /// Makes the account.
    pub async fn register(&self, request: &RegisterRequest) -> Result<UserView, ClientError> {
        json(send(self.request(Method::POST, "/auth/register").json(request)).await?).await
    }

    /// The own account.
    pub async fn me(&self) -> Result<MeView, ClientError> {
        self.get("/me").await
    }

    /// Changes what the account shows and chooses.
    pub async fn change_profile(&self, request: &ProfileRequest) -> Result<MeView, ClientError> {
        self.with(Method::PATCH, "/me", request).await
    }

    /// Where contracts made from now on pay this account.
    pub async fn set_payout_address(&self, request: &PayoutAddressRequest) -> Result<MeView, ClientError> {
        self.with(Method::PUT, "/me/payout-address", request).await
    }

    /// Changes the password. This session goes on; the others end.
    pub async fn change_password(&self, request: &PasswordRequest) -> Result<(), ClientError> {
        self.call(self.request(Method::PUT, "/me/password").json(request)).await.map(drop)
    }

    /// Sets a password by the word of the signing key. Every session ends.
    pub async fn reset_password(&self, request: &ResetRequest) -> Result<(), ClientError> {
        send(self.request(Method::POST, "/auth/reset").json(request)).await.map(drop)
    }

    /// Says that an arbiter's program is there.
    pub async fn heartbeat(&self) -> Result<(), ClientError> {
        self.call(self.request(Method::POST, "/me/arbiter/heartbeat")).await.map(drop)
    }

    /// Changes what an arbiter offers.
    pub async fn set_offer(&self, offer: &ArbiterProfile) -> Result<ArbiterView, ClientError> {
        self.with(Method::PUT, "/me/arbiter", offer).await
    }

    /// A page of those who can be asked to arbitrate.
    pub async fn arbiters(&self, after: Option<UserId>) -> Result<ArbiterPage, ClientError> {
        let after = after.map_or(String::new(), |id| format!("&after={id}"));
        self.get(&format!("/arbiters?limit=100{after}")).await
    }

    /// One arbiter.
    pub async fn arbiter(&self, username: &str) -> Result<ArbiterView, ClientError> {
        self.get(&format!("/arbiters/{username}")).await
    }

    /// A page of the disputes that wait for this account's ruling; of all, for those who run the server.
    pub async fn disputes(&self, after: Option<&str>) -> Result<DisputePage, ClientError> {
        let after = after.map_or(String::new(), |at| format!("&after={at}"));
        self.get(&format!("/disputes?limit=100{after}")).await
    }

    /// How many prekeys are left.
    pub async fn prekeys(&self) -> Result<PrekeyStock, ClientError> {
        self.get("/me/prekeys").await
    }

    /// Adds prekeys.
    pub async fn add_prekeys(&self, request: &PrekeysRequest) -> Result<PrekeyStock, ClientError> {
        self.with(Method::POST, "/me/prekeys", request).await
    }

    /// A new secret for an authenticator. It counts once it is confirmed.
    pub async fn enrol_totp(&self) -> Result<TotpEnrolment, ClientError> {
        self.make("/me/totp").await
    }

    /// Confirms it with a code of the authenticator.
    pub async fn confirm_totp(&self, code: &TotpCode) -> Result<BackupCodes, ClientError> {
        self.with(Method::POST, "/me/totp/confirm", code).await
    }

    /// Takes the authenticator off the account, by a code of it or a backup code.
    pub async fn disable_totp(&self, code: &TotpCode) -> Result<(), ClientError> {
        self.call(self.request(Method::POST, "/me/totp/disable").json(code)).await.map(drop)
    }

    /// New backup codes in place of those given out before.
    pub async fn make_backup_codes(&self) -> Result<BackupCodes, ClientError> {
        self.make("/me/backup-codes").await
    }

    /// The account's passkeys.
    pub async fn passkeys(&self) -> Result<Passkeys, ClientError> {
        self.get("/me/passkeys").await
    }

    /// Takes a passkey off the account.
    pub async fn remove_passkey(&self, id: PasskeyId) -> Result<(), ClientError> {
        self.remove(&format!("/me/passkeys/{id}")).await
    }

    /// The account's logins.
    pub async fn sessions(&self) -> Result<Sessions, ClientError> {
        self.get("/me/sessions").await
    }

    /// Ends a login.
    pub async fn end_session(&self, id: SessionId) -> Result<(), ClientError> {
        self.remove(&format!("/me/sessions/{id}")).await
    }

    /// Ends every login, this one too.
    pub async fn end_sessions(&self) -> Result<(), ClientError> {
        let (_, used) = self.call_by(self.request(Method::DELETE, "/me/sessions")).await?;
        self.forget_session(&used).await
    }

    /// The account's API keys.
    pub async fn api_keys(&self) -> Result<ApiKeys, ClientError> {
        self.get("/me/api-keys").await
    }

    /// Makes an API key.
    pub async fn make_api_key(&self, request: &ApiKeyRequest) -> Result<NewApiKey, ClientError> {
        self.with(Method::POST, "/me/api-keys", request).await
    }

    /// Revokes an API key.
    pub async fn revoke_api_key(&self, id: SessionId) -> Result<(), ClientError> {
        self.remove(&format!("/me/api-keys/{id}")).await
    }

    /// What was done with the account's credentials, before a position.
    pub async fn audit(&self, before: Option<i64>, limit: u32) -> Result<AuditPage, ClientError> {
        let before = before.map(|seq| format!("&before={seq}")).unwrap_or_default();
        self.get(&format!("/me/audit?limit={limit}{before}")).await
    }

    /// Accounts whose names begin so, after a name. Both are (parts of) usernames.
    pub async fn users(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<UserPage, ClientError> {
        let after = after.map(|name| format!("&after={name}")).unwrap_or_default();
        self.get(&format!("/users?prefix={prefix}&limit={limit}{after}")).await
    }

    /// Invites somebody.
    pub async fn invite(&self, request: &InvitationRequest) -> Result<NewInvitation, ClientError> {
        self.with(Method::POST, "/invitations", request).await
    }

    /// The invitations made.
    pub async fn invitations(&self) -> Result<Invitations, ClientError> {
        self.get("/invitations").await
    }

    /// Withdraws an invitation that is not used yet.
    pub async fn withdraw_invitation(&self, id: InvitationId) -> Result<(), ClientError> {
        self.remove(&format!("/invitations/{id}")).await
    }

    /// Keeps a sealed backup at the server.
    pub async fn push_backup(&self, sealed: Vec<u8>) -> Result<BackupView, ClientError> {
        let request = self.request(Method::POST, "/me/backups");
        let request = request.header(reqwest::header::CONTENT_TYPE, "application/octet-stream").body(sealed);
        json(self.call(request).await?).await
    }

    /// The versions that the server keeps.
    pub async fn backups(&self) -> Result<Backups, ClientError> {
        self.get("/me/backups").await
    }

    /// A sealed backup.
    pub async fn backup(&self, version: i64) -> Result<Vec<u8>, ClientError> {
        let answer = self.call(self.request(Method::GET, &format!("/me/backups/{version}"))).await?;
        body(answer, bounds::BACKUP).await
    }

    /// Removes a version.
    pub async fn remove_backup(&self, version: i64) -> Result<(), ClientError> {
        self.remove(&format!("/me/backups/{version}")).await
    }
}
