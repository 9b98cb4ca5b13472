//! The keys of login tokens: shared by all servers through the database, and replaced in time.

use aegis_common::time::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use super::{AccountError, Accounts};
use crate::crypto::token::{LIFETIME, PUBLISHED_AHEAD, TokenKey};
use crate::store::TokenKeyRow;

/// How long a key signs.
const SIGNS: SignedDuration = SignedDuration::from_hours(24 * 30);

/// Whether it is time for a new key, and which of the present ones have no token left.
fn plan(made: &[Timestamp], now: Timestamp) -> (bool, usize) {
    let is_due = made.last().is_none_or(|newest| now.duration_since(*newest) >= SIGNS);
    // A key has signed until its successor was known, and its last token has worked for as long as tokens do.
    let over = |next: &Timestamp| now.duration_since(*next) > PUBLISHED_AHEAD + LIFETIME * 2;
    let useless = made.iter().skip(1).filter(|next| over(next)).count();
    (is_due, useless)
}

impl Accounts {
    /// Loads the keys; makes one where it is time, and forgets those that no token needs.
    pub async fn keep_token_keys(&self) -> Result<(), AccountError> {
        let mut rows = self.store.token_keys().await?;
        let made: Vec<Timestamp> = rows.iter().map(|row| row.created_at).collect();
        let (is_due, useless) = plan(&made, self.clock.now());
        let useless: Vec<String> = rows.iter().take(useless).map(|row| row.kid.clone()).collect();
        if is_due {
            self.new_token_key(made.last().copied()).await?;
            rows = self.store.token_keys().await?;
        }
        if !useless.is_empty() {
            rows.retain(|row| !useless.contains(&row.kid));
            self.store.remove_token_keys(useless).await?;
        }
        let keys =
            rows.iter().map(|row| TokenKey::new(&row.seed, row.created_at)).collect::<Result<_, _>>()?;
        self.tokens.install(keys);
        Ok(())
    }

    /// Makes a key that signs in five minutes, before its time; what it replaces checks on until its tokens are over.
    pub async fn rotate_token_key(&self) -> Result<(), AccountError> {
        let newest = self.store.token_keys().await?.last().map(|row| row.created_at);
        self.new_token_key(newest).await
    }

    async fn new_token_key(&self, newest: Option<Timestamp>) -> Result<(), AccountError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed)?;
        let created_at = self.clock.now();
        let kid = TokenKey::new(&seed, created_at)?.kid().to_owned();
        tracing::info!(kid, "a new key for login tokens");
        Ok(self.store.add_token_key(TokenKeyRow { kid, seed, created_at }, newest).await?)
    }

    /// The public keys that login tokens are checked with (RFC 7517).
    pub fn key_set(&self) -> serde_json::Value {
        serde_json::to_value(self.tokens.key_set()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_replaced_after_thirty_days_and_forgotten_when_its_last_token_is_over() {
        let day = |days: i64| Timestamp::from_second(days * 86_400).unwrap();
        let minutes = SignedDuration::from_mins;
        assert_eq!(plan(&[], day(0)), (true, 0));
        assert_eq!(plan(&[day(0)], day(29)), (false, 0));
        assert_eq!(plan(&[day(0)], day(30)), (true, 0));
        assert_eq!(plan(&[day(0), day(30)], day(30) + minutes(25)), (false, 0));
        assert_eq!(plan(&[day(0), day(30)], day(30) + minutes(26)), (false, 1));
    }
}
