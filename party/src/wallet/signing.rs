//! The wallet's calls that make and spend multisig wallets, typed like those in `calls.rs`.

use aegis_common::address::Address;
use aegis_common::amount::Piconero;
use aegis_common::hash::{Hash32, Key32};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::calls::bad;
use super::error::WalletError;
use super::fee::Priority;
use super::replies::{Described, Destination, MadeTxset, MultisigStatus, SignedTxset};
use super::rpc::{Limits, WalletRpc};
use crate::keys::Secret;

/// Setup messages have 189 to 236 characters.
const MAX_KEX_MESSAGE: usize = 2_000;
/// Exports have about 0.9 kB of hex an output, sets about 6 kB an input.
const MAX_MULTISIG_DATA: usize = 8 << 20;

#[derive(Deserialize)]
struct MultisigInfo {
    #[serde(default)]
    multisig_info: String,
    #[serde(default)]
    address: String,
}

#[derive(Deserialize)]
struct Info {
    info: String,
}

#[derive(Deserialize)]
struct Made {
    #[serde(default)]
    multisig_txset: String,
    #[serde(default)]
    tx_key: String,
    #[serde(default)]
    tx_hash: String,
    amount: u64,
    fee: u64,
    weight: u64,
    spent_key_images: KeyImages,
}

#[derive(Deserialize, Default)]
struct KeyImages {
    #[serde(default)]
    key_images: Vec<String>,
}

fn split_keys(method: &'static str, hex: &str) -> Result<Vec<Key32>, WalletError> {
    let bytes = Zeroizing::new(hex::decode(hex).map_err(|_| bad(method, "tx_key is not hex"))?);
    let (keys, rest) = bytes.as_chunks::<32>();
    if keys.is_empty() || !rest.is_empty() {
        return Err(bad(method, "tx_key is not whole keys"));
    }
    Ok(keys.iter().copied().map(Key32).collect())
}

fn two_infos<'a>(infos: &'a [&'a str; 2], limit: usize) -> Result<&'a [&'a str; 2], WalletError> {
    if infos.iter().any(|info| info.is_empty() || info.len() > limit) {
        return Err(WalletError::BadArgument("a multisig message is empty or too long"));
    }
    Ok(infos)
}

fn data(hex: &str) -> Result<&str, WalletError> {
    if hex.is_empty() || hex.len() > MAX_MULTISIG_DATA {
        return Err(WalletError::BadArgument("multisig data is empty or too long"));
    }
    Ok(hex)
}

fn destinations(to: &[Destination]) -> Result<Vec<Value>, WalletError> {
    // A transaction has at most 16 outputs (BULLETPROOF_PLUS_MAX_OUTPUTS), one of them change.
    if to.is_empty() || to.len() > 15 {
        return Err(WalletError::BadArgument("a transaction has 1 to 15 recipients"));
    }
    Ok(to.iter().map(|d| json!({"address": d.address, "amount": d.amount.0})).collect())
}

impl WalletRpc {
    /// `is_multisig`.
    pub async fn is_multisig(&self) -> Result<MultisigStatus, WalletError> {
        self.call("is_multisig", json!({}), Limits::QUICK).await
    }

    /// `prepare_multisig`: this wallet's first message. The same each time until `make_multisig`.
    pub async fn prepare_multisig(&self) -> Result<String, WalletError> {
        let params = json!({"enable_multisig_experimental": true});
        let reply: MultisigInfo = self.call("prepare_multisig", params, Limits::QUICK).await?;
        Ok(reply.multisig_info)
    }

    /// `make_multisig` 2-of-3 with the two others' first messages: the second message. Once per wallet. The type asks
    /// for exactly two because the wallet would make a 2-of-2 from one.
    pub async fn make_multisig(&self, others: &[&str; 2], password: &Secret) -> Result<String, WalletError> {
        let infos = two_infos(others, MAX_KEX_MESSAGE)?;
        let params = json!({"multisig_info": infos, "threshold": 2, "password": password.expose()});
        let reply: MultisigInfo = self.call("make_multisig", params, Limits::KEYS).await?;
        Ok(reply.multisig_info)
    }

    /// `exchange_multisig_keys` with the two others' messages of the last round: the next message, and the address
    /// after the last round (then the message is of no use).
    pub async fn exchange_multisig_keys(
        &self,
        others: &[&str; 2],
        password: &Secret,
    ) -> Result<(String, Option<Address>), WalletError> {
        let infos = two_infos(others, MAX_KEX_MESSAGE)?;
        let params = json!({"multisig_info": infos, "password": password.expose()});
        let reply: MultisigInfo = self.call("exchange_multisig_keys", params, Limits::KEYS).await?;
        let address = match reply.address.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| bad("exchange_multisig_keys", "not an address"))?),
        };
        Ok((reply.multisig_info, address))
    }

    /// `export_multisig_info`: fresh nonces for every output. Makes all earlier exports of this wallet stale.
    pub async fn export_multisig_info(&self) -> Result<String, WalletError> {
        let reply: Info = self.call("export_multisig_info", json!({}), Limits::SIGNING).await?;
        Ok(reply.info)
    }

    /// `import_multisig_info` from one or both others; the number of outputs. Also asks the node what is spent.
    pub async fn import_multisig_info(&self, infos: &[&str]) -> Result<u64, WalletError> {
        if infos.is_empty() || infos.len() > 2 {
            return Err(WalletError::BadArgument("one or two exports are imported"));
        }
        for info in infos {
            data(info)?;
        }
        #[derive(Deserialize)]
        struct Reply {
            n_outputs: u64,
        }
        let params = json!({"info": infos});
        let reply: Reply = self.call("import_multisig_info", params, Limits::SIGNING).await?;
        Ok(reply.n_outputs)
    }

    /// `transfer` from subaddresses (0,0) to (0,2) of a multisig wallet, amounts net of fee; change goes to (0,0).
    pub async fn transfer_multisig(
        &self,
        to: &[Destination],
        priority: Priority,
    ) -> Result<MadeTxset, WalletError> {
        let made = self.make_transfer(to, priority, json!([0, 1, 2])).await?;
        if made.multisig_txset.is_empty() {
            return Err(bad("transfer", "no multisig set"));
        }
        Ok(MadeTxset {
            tx_keys: split_keys("transfer", &made.tx_key)?,
            txset: made.multisig_txset,
            amount: Piconero(made.amount),
            fee: Piconero(made.fee),
            weight: made.weight,
            spends: made.spent_key_images.key_images,
        })
    }

    /// `transfer` from an ordinary wallet, broadcast at once: transaction id and fee.
    pub async fn transfer_ordinary(
        &self,
        to: &[Destination],
        priority: Priority,
    ) -> Result<(Hash32, Piconero), WalletError> {
        let made = self.make_transfer(to, priority, json!([])).await?;
        let hash = made.tx_hash.parse().map_err(|_| bad("transfer", "no transaction id"))?;
        Ok((hash, Piconero(made.fee)))
    }

    async fn make_transfer(
        &self,
        to: &[Destination],
        priority: Priority,
        from: Value,
    ) -> Result<Made, WalletError> {
        let params = json!({
            "destinations": destinations(to)?, "account_index": 0, "subaddr_indices": from,
            "priority": priority.number(), "unlock_time": 0, "get_tx_key": true,
        });
        self.call("transfer", params, Limits::SIGNING).await
    }

    /// `describe_transfer`: what each transaction of a set does, as this wallet reads it. Needs no import.
    pub async fn describe_transfer(&self, txset: &str) -> Result<Vec<Described>, WalletError> {
        #[derive(Deserialize)]
        struct Reply {
            desc: Vec<Described>,
        }
        let params = json!({"multisig_txset": data(txset)?});
        let reply: Reply = self.call("describe_transfer", params, Limits::SIGNING).await?;
        Ok(reply.desc)
    }

    /// `sign_multisig`: adds this wallet's signature; once per export.
    pub async fn sign_multisig(&self, txset: &str) -> Result<SignedTxset, WalletError> {
        self.call("sign_multisig", json!({"tx_data_hex": data(txset)?}), Limits::SIGNING).await
    }

    /// `submit_multisig`: broadcasts; any of the three wallets may, and as often as it likes.
    pub async fn submit_multisig(&self, txset: &str) -> Result<Vec<Hash32>, WalletError> {
        #[derive(Deserialize)]
        struct Reply {
            tx_hash_list: Vec<Hash32>,
        }
        let params = json!({"tx_data_hex": data(txset)?});
        let reply: Reply = self.call("submit_multisig", params, Limits::SIGNING).await?;
        Ok(reply.tx_hash_list)
    }

    /// `get_tx_key`: the secret keys of a transaction this wallet made or completed.
    pub async fn get_tx_key(&self, txid: &Hash32) -> Result<Vec<Key32>, WalletError> {
        #[derive(Deserialize)]
        struct Reply {
            tx_key: String,
        }
        const METHOD: &str = "get_tx_key";
        let reply: Reply = self.call(METHOD, json!({"txid": txid}), Limits::QUICK).await?;
        split_keys(METHOD, &reply.tx_key)
    }
}
