//! The spend shares of participants' wallets: what must never be found anywhere else.

use anyhow::{Context, Result, bail, ensure};
use curve25519_dalek::constants::ED25519_BASEPOINT_TABLE;
use curve25519_dalek::scalar::Scalar;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::rpc::Rpc;

/// A spend share.
#[derive(Clone)]
pub struct Share {
    /// Whose, of which escrow.
    pub owner: String,
    /// The scalar, little-endian.
    pub secret: [u8; 32],
    /// Its mnemonic words, where they were asked for.
    pub words: Option<String>,
}

impl Share {
    /// The public share s·G, compressed.
    pub fn public(&self) -> [u8; 32] {
        (&Scalar::from_bytes_mod_order(self.secret) * ED25519_BASEPOINT_TABLE).compress().0
    }
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

fn key32(text: &str) -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).context("a key is 64 hex digits")?;
    Ok(bytes)
}

/// The shares of a multisig wallet that a wallet server opens: its spend share, and every key it is made of.
pub async fn of_wallet(rpc: &Rpc, filename: &str, password: &str, owner: &str) -> Result<Vec<Share>> {
    let _: Value = rpc.call("open_wallet", json!({"filename": filename, "password": password})).await?;
    let spend: Key = rpc.call("query_key", json!({"key_type": "spend_key"})).await?;
    let seed: Key = rpc.call("query_key", json!({"key_type": "mnemonic"})).await?;
    let _: Value = rpc.call("close_wallet", json!({"autosave_current": false})).await?;
    let whole = Share { owner: owner.to_owned(), secret: key32(&spend.key)?, words: None };
    let mut shares = from_multisig_seed(&seed.key, owner)?;
    ensure!(
        shares.first().is_some_and(|first| first.secret == whole.secret),
        "the multisig seed does not begin with the spend share"
    );
    shares.retain(|share| share.secret != whole.secret);
    shares.insert(0, whole);
    Ok(shares)
}

/// The spend key of a wallet that is no multisig wallet yet.
pub async fn of_plain_wallet(rpc: &Rpc, filename: &str, password: &str, owner: &str) -> Result<Share> {
    let _: Value = rpc.call("open_wallet", json!({"filename": filename, "password": password})).await?;
    let status: Value = rpc.call("is_multisig", json!({})).await?;
    let spend: Key = rpc.call("query_key", json!({"key_type": "spend_key"})).await?;
    let _: Value = rpc.call("close_wallet", json!({"autosave_current": false})).await?;
    ensure!(status["multisig"] == false, "{owner}: the wallet was copied too late");
    Ok(Share { owner: format!("{owner}, before the rounds"), secret: key32(&spend.key)?, words: None })
}

/// The secrets in a multisig seed (Monero `wallet2::get_multisig_seed`): threshold and total as 32-bit numbers, the spend
/// share and its public key, the view key and its public key, then one key for each of the signers this one shares
/// with, then the signers. The view key is none of them: the server has it.
pub fn from_multisig_seed(seed: &str, owner: &str) -> Result<Vec<Share>> {
    let bytes = hex::decode(seed.trim()).context("a multisig seed is hex")?;
    let number =
        |at: usize| -> Option<u32> { Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?)) };
    let (Some(threshold), Some(total)) = (number(0), number(4)) else { bail!("a multisig seed is cut") };
    ensure!((threshold, total) == (2, 3), "not the seed of a 2-of-3 wallet");
    let (keys, rest) = bytes.get(8..).unwrap_or_default().as_chunks::<32>();
    // Spend pair, view pair, two shared keys, three signers.
    ensure!(keys.len() == 9 && rest.is_empty(), "a multisig seed of {} keys", keys.len());
    let secret = |at: usize, what: &str| -> Result<Share> {
        let secret = *keys.get(at).context("a multisig seed is cut")?;
        Ok(Share { owner: format!("{owner}{what}"), secret, words: None })
    };
    Ok(vec![secret(0, "")?, secret(4, ", first key")?, secret(5, ", second key")?])
}

/// The mnemonic words of a secret: a scratch wallet made from it says them.
pub async fn mnemonic(rpc: &Rpc, secret: &[u8; 32]) -> Result<String> {
    // The wallet reduces the key; the words are those of a wallet whose spend key this is.
    let scalar = Scalar::from_bytes_mod_order(*secret);
    let view = Scalar::from_bytes_mod_order(keccak_of(&scalar.to_bytes()));
    let keys =
        [&scalar, &view].map(|key| aegis_common::hash::Key32((key * ED25519_BASEPOINT_TABLE).compress().0));
    let address = aegis_common::address::Address::new(
        aegis_common::address::Network::Regtest,
        aegis_common::address::AddressKind::Standard,
        keys[0],
        keys[1],
    );
    let name = format!("scratch-{}", crate::net::random_hex(8)?);
    let params = json!({
        "filename": name, "password": "", "restore_height": 0, "language": "English", "address": address.to_string(),
        "spendkey": hex::encode(scalar.to_bytes()), "viewkey": hex::encode(view.to_bytes()),
    });
    let _: Value = rpc.call("generate_from_keys", params).await?;
    let words: Key = rpc.call("query_key", json!({"key_type": "mnemonic"})).await?;
    let _: Value = rpc.call("close_wallet", json!({"autosave_current": false})).await?;
    Ok(words.key)
}

/// Keccak-256: a deterministic wallet's view key is the hash of its spend key.
fn keccak_of(bytes: &[u8]) -> [u8; 32] {
    use sha3::{Digest, Keccak256};
    Keccak256::digest(bytes).into()
}
