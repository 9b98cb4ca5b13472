//! What a wallet file is called.

use std::fmt;
use std::str::FromStr;

use aegis_common::ids::EscrowId;

use super::error::WalletError;

/// A wallet file's name: 1 to 80 of `a-z 0-9 -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WalletName(String);

impl WalletName {
    /// The wallet of an escrow's numbered setup attempt.
    pub fn of(escrow: EscrowId, attempt: u32) -> Self {
        Self(format!("{escrow}-{attempt}"))
    }
}

impl FromStr for WalletName {
    type Err = WalletError;

    fn from_str(text: &str) -> Result<Self, WalletError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || text.len() > 80 || !text.bytes().all(plain) {
            return Err(WalletError::BadArgument("a wallet's name has 1 to 80 of a-z, 0-9 and '-'"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for WalletName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::MultisigWallet;

    #[test]
    fn a_name_cannot_leave_the_wallet_folder_and_sessions_can_move_between_threads() {
        for bad in ["", "../x", "a/b", "A", ".x", "a_b", &"x".repeat(81)] {
            assert!(bad.parse::<WalletName>().is_err(), "{bad}");
        }
        let name = WalletName::of(EscrowId(uuid::Uuid::max()), u32::MAX);
        assert!(name.to_string().parse::<WalletName>().is_ok());
        fn sendable<T: Send>(_: impl FnOnce(&'static MultisigWallet, &'static WalletName) -> T) {}
        sendable(|wallet, name| async move { wallet.session(name).await?.refresh().await });
    }
}
