//! What people show, choose and are, and finding them.

use aegis_common::address::Address;
use aegis_common::hash::Hash32;
use aegis_common::ids::UserId;
use aegis_common::language::is_language_tag;
use aegis_common::username::is_username;
use aegis_common::wire::account::{
    AccountRole, MeView, ProfileRequest, Reputation, Settings, UserPage, UserView, UsernameView, bounds,
};
use reqwest::Url;
use serde_json::json;

use super::{AccountError, Accounts, Origin, Who, refuse, shown, steers, stored};
use crate::store::{Note, Shown, UserRow};

impl Accounts {
    /// One's own account.
    pub async fn me(&self, user: UserId) -> Result<MeView, AccountError> {
        let row = self.row(user).await?;
        let inconsistent = || AccountError::Inconsistent(user);
        let payout_address: Address = row.payout_address.parse().map_err(|_| inconsistent())?;
        let profile = self.store.profile(user).await?;
        let settings = profile.map(|profile| serde_json::from_str(&profile.settings));
        let settings: Settings = settings.transpose().map_err(|_| inconsistent())?.unwrap_or_default();
        let factors = self.store.factors(user).await?;
        Ok(MeView {
            payout_address,
            created_at: row.created_at,
            settings,
            totp_enabled: factors.totp,
            backup_codes: factors.backup_codes,
            passkeys: factors.passkeys,
            user: self.view(row).await?,
        })
    }

    /// Changes what one shows and chooses; what is left out stays.
    pub async fn set_profile(&self, user: UserId, request: ProfileRequest) -> Result<MeView, AccountError> {
        let ProfileRequest { display_name, settings } = request;
        if let Some(name) = &display_name {
            let fits = name.chars().count() <= bounds::DISPLAY_NAME && name.trim() == name;
            if !fits || name.chars().any(steers) {
                return refuse("displayName", "must have at most 64 visible characters");
            }
        }
        settings.as_ref().map_or(Ok(()), check_settings)?;
        let settings = settings.map(|settings| serde_json::to_string(&settings)).transpose();
        let settings = settings.map_err(super::failed)?;
        self.store.set_profile(user, display_name, settings, self.clock.now()).await?;
        self.me(user).await
    }

    /// The note of an arbiter who changes what it offers.
    pub fn offer_changed(&self, who: &Who, origin: Origin) -> Note {
        self.act(who, "arbiterOfferChanged", origin, json!({}))
    }

    /// Changes where contracts made from now on pay an account.
    pub async fn set_payout_address(
        &self,
        who: &Who,
        address: Address,
        origin: Origin,
    ) -> Result<MeView, AccountError> {
        self.check_payee(&address)?;
        let note = self.act(who, "payoutAddressChanged", origin, json!({}));
        if !self.store.set_payout_address(who.user, address.to_string(), note).await? {
            return Err(AccountError::Unknown);
        }
        tracing::info!(user = %who.user, "payout address changed");
        self.me(who.user).await
    }

    /// An account as everybody may see it.
    pub async fn lookup(&self, username: &str) -> Result<UserView, AccountError> {
        self.view(self.row_named(username).await?).await
    }

    /// Accounts whose names begin so.
    pub async fn search(
        &self,
        prefix: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<UserPage, AccountError> {
        let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !bounds::PREFIX.contains(&prefix.len()) || !is_plain(prefix) {
            return refuse("prefix", "must have 3 to 32 letters, digits, _ or -");
        }
        if after.as_deref().is_some_and(|name| !is_username(name)) {
            return refuse("after", "must be a username");
        }
        let rows = self.store.users_by_prefix(prefix, after, limit).await?;
        let next = rows.last().filter(|_| rows.len() == limit).map(|row| row.username.clone());
        Ok(UserPage { users: self.views(rows).await?, next })
    }

    /// Whether somebody has a name. Everybody may ask, and pays for it as for an attempt to log in.
    pub async fn exists(&self, username: &str, origin: Origin) -> Result<UsernameView, AccountError> {
        self.charge(vec![self.by_origin(origin)]).await?;
        let exists = is_username(username) && self.store.user_by_name(username).await?.is_some();
        Ok(UsernameView { exists })
    }

    /// Changes what an account may do, at once. `by` is nobody where it comes from the server's machine.
    pub async fn set_role(
        &self,
        username: &str,
        role: AccountRole,
        by: Option<&Who>,
        origin: Origin,
    ) -> Result<UserView, AccountError> {
        let mut row = self.row_named(username).await?;
        let was = shown(row.role);
        row.role = stored(role);
        let note = self.rule(Some(row.id), "roleChanged", by, origin, json!({ "was": was, "is": role }));
        if !self.store.set_role(row.id, row.role, note).await? {
            return Err(AccountError::Unknown);
        }
        tracing::warn!(user = %row.id, role = role.wire(), "role changed");
        self.view(row).await
    }

    pub(super) async fn view(&self, row: UserRow) -> Result<UserView, AccountError> {
        let user = row.id;
        self.views(vec![row]).await?.pop().ok_or(AccountError::Inconsistent(user))
    }

    async fn views(&self, rows: Vec<UserRow>) -> Result<Vec<UserView>, AccountError> {
        let shown = self.store.shown(rows).await?;
        Ok(shown.into_iter().map(user_view).collect())
    }
}

fn user_view(Shown { row, display_name, tally }: Shown) -> UserView {
    UserView {
        id: row.id,
        username: row.username,
        display_name,
        role: shown(row.role),
        identity_key: row.identity_key,
        fingerprint: Hash32::sha256(&row.identity_key.0),
        signing_key: row.signing_key,
        reputation: Reputation::of(&tally, row.created_at),
    }
}

fn check_settings(settings: &Settings) -> Result<(), AccountError> {
    if let Some(url) = &settings.monero_node_url {
        let parsed = Url::parse(url).ok().filter(|_| url.len() <= bounds::URL);
        let fits = parsed.is_some_and(|url| {
            let plain = url.username().is_empty() && url.password().is_none() && url.has_host();
            plain && matches!(url.scheme(), "http" | "https")
        });
        if !fits {
            return refuse("moneroNodeUrl", "must be an http:// or https:// URL without a login");
        }
    }
    if settings.locale.as_ref().is_some_and(|tag| !is_language_tag(tag)) {
        return refuse("locale", "must be a language tag, e.g. en or pt-BR");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_mean_nothing_are_refused_by_name() {
        let node = |url: &str| Settings { monero_node_url: Some(url.to_owned()), ..Settings::default() };
        let locale = |tag: &str| Settings { locale: Some(tag.to_owned()), ..Settings::default() };
        let long = format!("https://{}.example", "a".repeat(256));
        for bad in ["", "node", "ftp://node", "http://", "http://u@node", "http://u:p@node:1", &long] {
            let refused = check_settings(&node(bad));
            assert!(matches!(refused, Err(AccountError::Field { field: "moneroNodeUrl", .. })), "{bad}");
        }
        for bad in ["", "e", "12", "en_GB", "en-", "a-b-c-d", "en-123456789", "en-x\u{202e}"] {
            let refused = check_settings(&locale(bad));
            assert!(matches!(refused, Err(AccountError::Field { field: "locale", .. })), "{bad}");
        }
        for good in
            [node("http://abc.onion:18081"), node("https://[::1]:1"), locale("pt-BR"), locale("zh-Hant-TW")]
        {
            assert!(check_settings(&good).is_ok(), "{good:?}");
        }
    }
}
