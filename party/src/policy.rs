//! What the program may do without asking: a short file that the person wrote, `policy.toml`.

use std::path::Path;

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::Contract;
use serde::Deserialize;

/// Which contracts are accepted without asking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accept {
    /// None.
    #[default]
    Ask,
    /// Those among people whose keys are stored.
    Pinned,
    /// All; unknown keys are pinned at first use.
    Any,
}

/// Which payouts are signed without asking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sign {
    /// Those that follow from the person's own word, or that the other side concedes.
    #[default]
    Ask,
    /// Every payout that the signed statements authorise: for arbiters.
    Authorised,
}

/// Whether the contract's default is signed without asking. Separate from [`Sign`]: that nobody has disputed is a thing that no
/// signature can show, and a server can keep a dispute from who would sign.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expiry {
    /// The person is asked.
    #[default]
    Ask,
    /// As soon as the contract has expired and the server shows no dispute.
    Sign,
}

/// The person's standing instructions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Which contracts are accepted without asking.
    #[serde(default)]
    pub accept: Accept,
    /// Which payouts are signed without asking.
    #[serde(default)]
    pub sign: Sign,
    /// Whether the default is signed at expiry without asking.
    #[serde(default)]
    pub expiry: Expiry,
    /// Contracts above this amount, in XMR, always ask; none for no limit.
    #[serde(default)]
    pub max_amount_xmr: Option<String>,
    /// Contracts whose arbiter's and platform's fee together exceed these basis points always ask; 1000 where left out.
    /// The server sets the fees.
    #[serde(default)]
    pub max_fee_bps: Option<u16>,
}

/// A tenth.
const MAX_FEE_BPS: u16 = 1_000;

/// What a payout may cost or leave behind at most, where a twentieth of the amount is less: some hundred times what it does
/// cost. The server sets the contract's bounds, and a hostile signer could use them up.
const MAX_COST: Piconero = Piconero(50_000_000_000);

/// The policy file is unusable.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It can't be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not a policy.
    #[error("{path}: {why}")]
    Malformed {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
}

impl Policy {
    /// Reads a policy; a missing file means: always ask.
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let name = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(PolicyError::Io { path: name, source }),
        };
        let policy: Self = toml::from_str(&text).map_err(|error| PolicyError::Malformed {
            path: name.clone(),
            why: error.message().to_owned(),
        })?;
        if let Some(limit) = &policy.max_amount_xmr {
            Piconero::from_xmr(limit).map_err(|error| PolicyError::Malformed {
                path: name,
                why: format!("max_amount_xmr: {error}"),
            })?;
        }
        Ok(policy)
    }

    /// Whether the contract's price, fees and bounds of cost are within the limits.
    pub fn covers(&self, contract: &Contract) -> bool {
        let limit = self.max_amount_xmr.as_deref().and_then(|text| Piconero::from_xmr(text).ok());
        let platform = contract.platform_fee.as_ref().map_or(0, |fee| fee.bps);
        let fees = contract.arbiter_fee_bps.saturating_add(platform);
        let costs = contract.max_network_fee.0.saturating_add(contract.max_residue.0);
        limit.is_none_or(|limit| contract.amount <= limit)
            && fees <= self.max_fee_bps.unwrap_or(MAX_FEE_BPS)
            && costs <= MAX_COST.0.max(contract.amount.0 / 20)
    }
}
