//! New passwords: by the old one, or on the word of the account's signing key.

use aegis_common::hash::{Hash32, Key32};
use aegis_common::identity::PasswordReset;
use aegis_common::username::is_username;
use aegis_common::wire::account::{PasswordRequest, ResetRequest, bounds};
use serde_json::json;
use zeroize::Zeroizing;

use super::{AccountError, Accounts, Origin, Who, check_password};
use crate::store::Note;

/// The base point: a key like any other, and nobody's. Signatures for names that do not exist are checked against it, so that
/// the answer takes as long.
const NOBODY: Key32 = Key32([
    0x58, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
    0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
]);

impl Accounts {
    /// Changes the password. Every other login ends; this one goes on.
    pub async fn change_password(
        &self,
        who: &Who,
        request: PasswordRequest,
        origin: Origin,
    ) -> Result<(), AccountError> {
        let (current, new) = (Zeroizing::new(request.current), Zeroizing::new(request.new));
        check_password(&new)?;
        let row = self.row(who.user).await?;
        self.charge(vec![self.by_account("change", row.id)]).await?;
        let fits = current.len() <= bounds::PASSWORD_BYTES
            && self.passwords.verify(current, Some(row.password_hash.clone())).await?;
        if !fits {
            self.store.note(self.act(who, "passwordChangeFailed", origin, json!({}))).await?;
            return Err(AccountError::BadCredentials);
        }
        let hash = self.passwords.hash_chosen(new, vec![row.username]).await?;
        let note = self.act(who, "passwordChanged", origin, json!({}));
        let ended = self.store.set_password(row.id, row.password_hash, hash, Some(who.session), note).await?;
        self.tell_ended(ended.ok_or(AccountError::BadCredentials)?);
        Ok(())
    }

    /// Sets a new password on a signature's word. Every login and API key ends; second factors stay.
    pub async fn reset_password(&self, request: ResetRequest, origin: Origin) -> Result<(), AccountError> {
        let ResetRequest { server, username, password, at, signature } = request;
        let password = Zeroizing::new(password);
        check_password(&password)?;
        self.charge(vec![self.by_origin(origin)]).await?;
        let row = if is_username(&username) { self.store.user_by_name(&username).await? } else { None };
        let password_hash = Hash32::sha256(password.as_bytes());
        let words = PasswordReset { server, username, password_hash, at };
        let signer = row.as_ref().map_or(NOBODY, |row| row.signing_key);
        // Words for another server, where the same key is known, are not for this one.
        let is_here = self.policy.server.as_ref().is_none_or(|here| *here == words.server);
        let holds = words.is_signed_by(&signer, &signature) && words.is_timely(self.clock.now()) && is_here;
        let Some(row) = row.clone().filter(|_| holds) else {
            let user = row.map(|row| row.id);
            self.store.note(self.note(user, "passwordResetFailed", origin, json!({}))).await?;
            return Err(AccountError::BadReset);
        };
        self.check_enabled(row.id).await?;
        self.charge(vec![self.by_account("reset", row.id)]).await?;
        let hash = self.passwords.hash_chosen(password, vec![row.username]).await?;
        let note = self.note(Some(row.id), "passwordReset", origin, json!({}));
        let note = Note { tell: true, ..note };
        let used = Hash32::sha256(&signature.0);
        let ended = self.store.reset_password(row.id, hash, used, at, note).await?;
        self.tell_ended(ended.ok_or(AccountError::BadReset)?);
        tracing::info!(user = %row.id, "password reset by signature");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::ED25519_BASEPOINT_COMPRESSED;

    use super::*;

    #[test]
    fn nobodys_key_is_the_base_point() {
        assert_eq!(NOBODY.0, ED25519_BASEPOINT_COMPRESSED.0);
    }
}
