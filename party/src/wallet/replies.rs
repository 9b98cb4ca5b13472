//! What the wallet answers, in this program's types. Field names as in Monero `src/wallet/wallet_rpc_server_commands_defs.h`;
//! amounts there are JSON numbers of piconero.

use aegis_common::address::Address;
use aegis_common::amount::Piconero;
use aegis_common::hash::{Hash32, Key32};
use serde::{Deserialize, Deserializer};

fn piconero<'de, D: Deserializer<'de>>(from: D) -> Result<Piconero, D::Error> {
    u64::deserialize(from).map(Piconero)
}

/// The wallet leaves the address empty where there is no change.
fn maybe_address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Address>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// `is_multisig`. Both numbers are 0 before `make_multisig`; the wallet takes any number of peers, so check them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct MultisigStatus {
    /// `make_multisig` has been called.
    pub multisig: bool,
    /// The last round is done; the address is final.
    pub ready: bool,
    /// Signatures needed.
    pub threshold: u32,
    /// Participants.
    pub total: u32,
}

/// One subaddress's part of the balance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SubaddressBalance {
    /// Minor index.
    pub address_index: u32,
    /// Whole balance.
    #[serde(deserialize_with = "piconero")]
    pub balance: Piconero,
    /// Spendable now.
    #[serde(deserialize_with = "piconero")]
    pub unlocked_balance: Piconero,
    /// Outputs behind it.
    pub num_unspent_outputs: u64,
}

/// `get_balance` of account 0, as of the last refresh.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Balance {
    /// Whole balance.
    #[serde(deserialize_with = "piconero")]
    pub balance: Piconero,
    /// Spendable now.
    #[serde(deserialize_with = "piconero")]
    pub unlocked_balance: Piconero,
    /// Blocks until all of it is spendable.
    #[serde(default)]
    pub blocks_to_unlock: u64,
    /// Outputs have arrived for which the others' exports were not imported yet.
    pub multisig_import_needed: bool,
    /// Per subaddress with a balance.
    #[serde(default)]
    pub per_subaddress: Vec<SubaddressBalance>,
}

/// Account and subaddress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct SubaddressIndex {
    /// Account.
    pub major: u32,
    /// Subaddress in it.
    pub minor: u32,
}

/// One received output of `incoming_transfers`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct IncomingTransfer {
    /// Its amount.
    #[serde(deserialize_with = "piconero")]
    pub amount: Piconero,
    /// Its transaction.
    pub tx_hash: Hash32,
    /// Its number among all outputs on the chain.
    pub global_index: u64,
    /// Its one-time key.
    pub pubkey: Key32,
    /// Its block.
    pub block_height: u64,
    /// The subaddress it was paid to.
    pub subaddr_index: SubaddressIndex,
    /// Whether the wallet knows it as spent.
    pub spent: bool,
    /// Spendable by age (10 blocks) and unlock time.
    pub unlocked: bool,
    /// Hex; empty until the other signers' exports are imported.
    #[serde(default)]
    pub key_image: String,
    /// Left out when the wallet chooses what to spend.
    #[serde(default)]
    pub frozen: bool,
}

/// One entry of `get_transfers`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Transfer {
    /// Its transaction.
    pub txid: Hash32,
    /// Amount received or sent.
    #[serde(deserialize_with = "piconero")]
    pub amount: Piconero,
    /// Its fee.
    #[serde(deserialize_with = "piconero")]
    pub fee: Piconero,
    /// Its block, 0 while in the pool.
    pub height: u64,
    /// Blocks on top and itself; absent in the pool.
    #[serde(default)]
    pub confirmations: u64,
    /// Its block's time, in seconds since 1970.
    pub timestamp: u64,
    /// Absolute unlock time or height; 0 is none.
    pub unlock_time: u64,
    /// `in`; `block` for a miner's reward.
    #[serde(rename = "type")]
    pub kind: String,
    /// The subaddress.
    pub subaddr_index: SubaddressIndex,
    /// A conflicting transaction was seen.
    pub double_spend_seen: bool,
}

/// `get_transfers`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Transfers {
    /// Received, in blocks.
    #[serde(rename = "in")]
    pub incoming: Vec<Transfer>,
    /// Sent, in blocks.
    #[serde(rename = "out")]
    pub outgoing: Vec<Transfer>,
    /// Sent, not yet in a block.
    pub pending: Vec<Transfer>,
    /// Received, in the pool.
    pub pool: Vec<Transfer>,
}

/// A recipient to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// Where.
    pub address: Address,
    /// How much, net of fee.
    pub amount: Piconero,
}

/// A transaction set that waits for the cosigner. Multisig builds have no transaction id yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeTxset {
    /// Hex; holds this wallet's partial signature: give it to the cosigner only.
    pub txset: String,
    /// Transaction secret keys, 32 bytes a key: the transaction's, then one per output where it has them. They prove
    /// the payment and spend nothing.
    pub tx_keys: Vec<Key32>,
    /// What leaves for recipients.
    pub amount: Piconero,
    /// The network fee.
    pub fee: Piconero,
    /// Fee divided by price per byte.
    pub weight: u64,
    /// Key images of the outputs that it spends.
    pub spends: Vec<String>,
}

/// A recipient as the transaction set states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Recipient {
    /// Where.
    pub address: Address,
    /// How much.
    #[serde(deserialize_with = "piconero")]
    pub amount: Piconero,
}

/// One transaction of `describe_transfer`: `amount_in = recipients + change_amount + fee`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Described {
    /// Spent.
    #[serde(deserialize_with = "piconero")]
    pub amount_in: Piconero,
    /// All outputs, change included.
    #[serde(deserialize_with = "piconero")]
    pub amount_out: Piconero,
    /// Recipients, without change.
    #[serde(default)]
    pub recipients: Vec<Recipient>,
    /// Back to the escrow; zero with `None` for a sweep.
    #[serde(deserialize_with = "piconero")]
    pub change_amount: Piconero,
    /// Where the change goes: the escrow's primary address, or the set is hostile.
    #[serde(deserialize_with = "maybe_address")]
    pub change_address: Option<Address>,
    /// The network fee.
    #[serde(deserialize_with = "piconero")]
    pub fee: Piconero,
    /// 16 since 2022.
    pub ring_size: u64,
    /// 0, or the recipients' money is locked.
    pub unlock_time: u64,
    /// Zero-amount outputs that hide a sweep's shape.
    #[serde(default)]
    pub dummy_outputs: u64,
    /// Empty unless an address was an integrated one.
    #[serde(default)]
    pub payment_id: String,
    /// The transaction's extra field, hex.
    #[serde(default)]
    pub extra: String,
}

/// A set with both signatures.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SignedTxset {
    /// Hex, ready for `submit_multisig`: store it before anything else is done.
    #[serde(rename = "tx_data_hex")]
    pub txset: String,
    /// The transaction ids.
    #[serde(rename = "tx_hash_list")]
    pub tx_hashes: Vec<Hash32>,
}
