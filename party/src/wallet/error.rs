//! What `monero-wallet-rpc` can answer, sorted by what the caller should do about it.
//! Codes: Monero `src/wallet/wallet_rpc_server_error_codes.h`; where one code covers several causes, the message
//! decides (texts of `wallet2.cpp`, `wallet_rpc_server.cpp`, `multisig_account*.cpp`).

use crate::files::FileError;

/// A wallet operation did not succeed. Messages hold no secrets.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// −28: this setup step was made before; use the stored output.
    #[error("the wallet has made this multisig step before")]
    AlreadyMultisig,
    /// −31: the setup has not come that far.
    #[error("the wallet's multisig setup has not come that far")]
    NotReady,
    /// A message of another setup round.
    #[error("a multisig message belongs to another round")]
    WrongRound,
    /// A peer's bytes are damaged, or not what they should be; the text is the wallet's.
    #[error("a multisig message is damaged: {0}")]
    DamagedMessage(String),
    /// −35: exports have changed since, or these nonces were used: export afresh, exchange, rebuild.
    #[error("multisig data is stale: export afresh, exchange and rebuild")]
    StaleData,
    /// Refused by this program: these nonces went into a transaction already. Export afresh, exchange, rebuild.
    #[error("this wallet's nonces are used up: export afresh, exchange and rebuild")]
    NoncesUsed,
    /// −35 with "already signed": this wallet's signature is in the set.
    #[error("this wallet has signed that transaction already")]
    AlreadySigned,
    /// −33: fewer exports than needed were imported, or none since the last deposit.
    #[error("exports of the other participants must be imported first")]
    ImportNeeded,
    /// −33: the set lacks a signature.
    #[error("the transaction lacks a signature")]
    NotEnoughSigners,
    /// −34: the transaction set does not parse.
    #[error("the transaction set is damaged or foreign")]
    BadTxset,
    /// −17: amounts and fee exceed the balance.
    #[error("not enough money in the wallet")]
    NotEnoughMoney,
    /// −37: enough, but not yet unlocked (10 blocks).
    #[error("not enough unlocked money yet")]
    NotEnoughUnlocked,
    /// −16 and kin: the wallet found no transaction to build, e.g. the amounts leave too little for the fee.
    #[error("the wallet cannot build this transaction: {0}")]
    NotPossible(String),
    /// −2: an address does not parse or is of another network.
    #[error("the wallet refuses an address")]
    BadAddress,
    /// −21.
    #[error("a wallet of this name exists")]
    WalletExists,
    /// −13: the process holds no open wallet.
    #[error("no wallet is open")]
    NoWalletOpen,
    /// −1 on opening: the file is missing, the password is wrong, or it is damaged; the wallet doesn't say which.
    #[error("the wallet file is missing, damaged, or has another password")]
    CannotOpen,
    /// −1 or −38: the wallet cannot reach monerod.
    #[error("the wallet cannot reach its Monero node")]
    NoDaemon,
    /// −3: the node is still synchronising or overloaded.
    #[error("the Monero node is busy")]
    DaemonBusy,
    /// −4: the node refused or the wallet failed in general; the text is the wallet's.
    #[error("the transaction was refused: {0}")]
    Refused(String),
    /// No answer in time: the outcome is unknown. The process may be stuck.
    #[error("{method} gave no answer within {seconds} s")]
    Timeout {
        /// The call.
        method: &'static str,
        /// Its limit.
        seconds: u64,
    },
    /// The process does not take connections.
    #[error("monero-wallet-rpc cannot be reached: {0}")]
    Unreachable(String),
    /// The login is refused.
    #[error("monero-wallet-rpc refuses the login")]
    Unauthorized,
    /// The answer exceeds the bound for its call.
    #[error("{method} answered with more than {limit} bytes")]
    TooLarge {
        /// The call.
        method: &'static str,
        /// Bytes allowed.
        limit: usize,
    },
    /// The answer does not have the shape the call promises.
    #[error("{method} answered in an unknown form: {detail}")]
    BadReply {
        /// The call.
        method: &'static str,
        /// What was wrong, without content.
        detail: String,
    },
    /// An argument this program would not send: too long, too many, or empty.
    #[error("not sent: {0}")]
    BadArgument(&'static str),
    /// An RPC version this program does not know.
    #[error("monero-wallet-rpc speaks RPC {major}.{minor}; 1.25 or a later 1.x (Monero 0.18) is needed")]
    Version {
        /// Major RPC version.
        major: u32,
        /// Minor RPC version.
        minor: u32,
    },
    /// The process could not be started or ended at once.
    #[error("monero-wallet-rpc did not start: {0}")]
    NotStarted(String),
    /// Another program uses this wallet folder.
    #[error("another program uses this wallet folder")]
    FolderInUse,
    /// A private file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// Any other error of the wallet.
    #[error("wallet error {code}: {message}")]
    Rpc {
        /// The wallet's code.
        code: i64,
        /// The wallet's text.
        message: String,
    },
}

impl WalletError {
    /// Sorts an error reply.
    pub(super) fn classify(method: &'static str, code: i64, message: &str) -> Self {
        // Bounded: part of it may be a peer's bytes.
        let text = || message.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
        let has = |needle: &str| message.contains(needle);
        let kex = matches!(method, "make_multisig" | "exchange_multisig_keys");
        match code {
            -28 => Self::AlreadyMultisig,
            -31 => Self::NotReady,
            -35 if has("already signed") => Self::AlreadySigned,
            -35 => Self::StaleData,
            -33 if has("Not enough signers") => Self::NotEnoughSigners,
            -33 => Self::ImportNeeded,
            -34 => Self::BadTxset,
            -17 => Self::NotEnoughMoney,
            -37 => Self::NotEnoughUnlocked,
            -16 => Self::NotPossible(text()),
            -2 => Self::BadAddress,
            -21 => Self::WalletExists,
            -13 => Self::NoWalletOpen,
            -3 => Self::DaemonBusy,
            -38 => Self::NoDaemon,
            // What `transfer` says when the node is gone.
            -4 if has("Failed to get height") => Self::NoDaemon,
            _ if has("no connection to daemon") || has("Failed to connect to daemon") => Self::NoDaemon,
            -4 => Self::Refused(text()),
            -1 if method == "open_wallet" => Self::CannotOpen,
            _ if kex && has("expected kex round number") => Self::WrongRound,
            -1 if kex || method == "import_multisig_info" => Self::DamagedMessage(text()),
            code => Self::Rpc { code, message: text() },
        }
    }

    /// Whether the call certainly had no effect: the wallet answered and refused.
    pub fn is_refusal(&self) -> bool {
        !matches!(
            self,
            Self::Timeout { .. } | Self::Unreachable(_) | Self::TooLarge { .. } | Self::BadReply { .. }
        )
    }

    /// Whether fresh exports by all signers heal it.
    pub fn needs_fresh_export(&self) -> bool {
        matches!(self, Self::StaleData | Self::NoncesUsed | Self::ImportNeeded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of wallet-RPC 0.18.0.0.
    #[test]
    fn codes_with_several_causes_are_told_apart_by_their_texts() {
        let of = |method, code, text: &str| WalletError::classify(method, code, text);
        let exchange = "exchange_multisig_keys";
        let prefix = "Error calling exchange_multisig_info: ";
        let round = format!("{prefix}Messages don't have the expected kex round number.");
        assert!(matches!(of(exchange, -1, &round), WalletError::WrongRound));
        for text in [
            "Multisig kex msg signature invalid.",
            "A pubkey recommended by multisig kex messages had an unexpected number of recommendations.",
            "basic_string::substr: __pos (which is 13) > this->size() (which is 2)",
        ] {
            let error = of(exchange, -1, &format!("{prefix}{text}"));
            assert!(matches!(error, WalletError::DamagedMessage(_)), "{text}");
        }
        let sign = |text| of("sign_multisig", -35, text);
        let stale = "Failed to sign multisig tx: This signature was made with stale data: export fresh multisig \
                     data, which other participants must then use";
        assert!(matches!(sign(stale), WalletError::StaleData));
        let signed = "Failed to sign multisig tx: Transaction already signed by this private key";
        assert!(matches!(sign(signed), WalletError::AlreadySigned));
        let more = "Needs multisig export info from more participants";
        assert!(matches!(of("import_multisig_info", -33, more), WalletError::ImportNeeded));
        let fewer = "Not enough signers signed this transaction.";
        assert!(matches!(of("submit_multisig", -33, fewer), WalletError::NotEnoughSigners));
        let import = "Error calling import_multisig: Failed to authenticate ciphertext";
        assert!(matches!(of("import_multisig_info", -1, import), WalletError::DamagedMessage(_)));
        assert!(matches!(of("open_wallet", -1, "Failed to open wallet"), WalletError::CannotOpen));
        assert!(matches!(of("refresh", -38, "no connection to daemon"), WalletError::NoDaemon));
        assert!(matches!(of("transfer", -4, "Failed to get height"), WalletError::NoDaemon));
        assert!(matches!(of("x", -32601, "Method not found"), WalletError::Rpc { code: -32601, .. }));
    }

    #[test]
    fn a_hostile_text_is_cut_and_loses_its_control_characters() {
        let WalletError::DamagedMessage(text) =
            WalletError::classify("make_multisig", -1, &"\u{1b}[2Jx\n".repeat(1000))
        else {
            panic!("another class");
        };
        assert!(text.chars().count() <= 200 && !text.chars().any(char::is_control));
    }
}
