//! The wallet's calls, typed. Names and fields: Monero `src/wallet/wallet_rpc_server_commands_defs.h`.

use aegis_common::address::Address;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::error::WalletError;
use super::replies::{Balance, IncomingTransfer, Transfers};
use super::rpc::{Limits, WalletRpc};
use crate::keys::Secret;

#[derive(Deserialize)]
struct Nothing {}

#[derive(Deserialize)]
struct AddressOnly {
    address: String,
}

#[derive(Deserialize)]
struct Height {
    height: u64,
}

pub(super) fn bad(method: &'static str, detail: &str) -> WalletError {
    WalletError::BadReply { method, detail: detail.to_owned() }
}

impl WalletRpc {
    /// `get_version`: major and minor of the RPC, 1.25 in Monero 0.18.0.
    pub async fn get_version(&self) -> Result<(u32, u32), WalletError> {
        #[derive(Deserialize)]
        struct Reply {
            version: u32,
        }
        let reply: Reply = self.call("get_version", json!({}), Limits::QUICK).await?;
        Ok((reply.version >> 16, reply.version & 0xffff))
    }

    /// `create_wallet`; it is open afterwards. Takes 1 to 5 s of one core (see [`Self::open_wallet`]).
    pub async fn create_wallet(&self, file: &str, password: &Secret) -> Result<(), WalletError> {
        let params = json!({"filename": file, "password": password.expose(), "language": "English"});
        self.call::<Nothing>("create_wallet", params, Limits::KEYS).await.map(drop)
    }

    /// `open_wallet`; saves and closes the one that was open. Takes 0.6 to 3 s of one core: each time the wallet makes
    /// an RSA key it never uses, and stretches the password.
    pub async fn open_wallet(&self, file: &str, password: &Secret) -> Result<(), WalletError> {
        let params = json!({"filename": file, "password": password.expose()});
        self.call::<Nothing>("open_wallet", params, Limits::KEYS).await.map(drop)
    }

    /// `close_wallet`, with or without writing its cache.
    pub async fn close_wallet(&self, save: bool) -> Result<(), WalletError> {
        let params = json!({"autosave_current": save});
        self.call::<Nothing>("close_wallet", params, Limits::KEYS).await.map(drop)
    }

    /// `store`: writes the cache; the keys file was written by the call that changed it.
    pub async fn store(&self) -> Result<(), WalletError> {
        self.call::<Nothing>("store", json!({}), Limits::KEYS).await.map(drop)
    }

    /// `stop_wallet`: saves and ends the process.
    pub async fn stop_wallet(&self) -> Result<(), WalletError> {
        self.call::<Nothing>("stop_wallet", json!({}), Limits::KEYS).await.map(drop)
    }

    /// `query_key` for the private view key: 32 bytes that let their holder see, not spend.
    pub async fn view_key(&self) -> Result<Zeroizing<[u8; 32]>, WalletError> {
        #[derive(Deserialize)]
        struct Reply {
            key: Secret,
        }
        let reply: Reply = self.call("query_key", json!({"key_type": "view_key"}), Limits::QUICK).await?;
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(reply.key.expose(), &mut key[..])
            .map_err(|_| bad("query_key", "not a key of 32 bytes"))?;
        Ok(key)
    }

    /// `get_address`: the wallet's primary address. Before the last setup round it is a placeholder.
    pub async fn get_address(&self) -> Result<Address, WalletError> {
        let params = json!({"account_index": 0, "address_index": [0]});
        let reply: AddressOnly = self.call("get_address", params, Limits::QUICK).await?;
        reply.address.parse().map_err(|_| bad("get_address", "not an address"))
    }

    /// `create_address`: the next subaddress of account 0.
    pub async fn create_address(&self, label: &str) -> Result<Address, WalletError> {
        let params = json!({"account_index": 0, "label": label});
        let reply: AddressOnly = self.call("create_address", params, Limits::QUICK).await?;
        reply.address.parse().map_err(|_| bad("create_address", "not an address"))
    }

    /// `get_address` of the given subaddresses of account 0, in the order asked. They must have been created.
    pub async fn get_subaddresses(&self, indices: &[u32]) -> Result<Vec<Address>, WalletError> {
        #[derive(Deserialize)]
        struct One {
            address: Address,
        }
        #[derive(Deserialize)]
        struct Reply {
            addresses: Vec<One>,
        }
        let params = json!({"account_index": 0, "address_index": indices});
        let reply: Reply = self.call("get_address", params, Limits::QUICK).await?;
        if reply.addresses.len() != indices.len() {
            return Err(bad("get_address", "another number of addresses"));
        }
        Ok(reply.addresses.into_iter().map(|one| one.address).collect())
    }

    /// `refresh`: reads new blocks from the node; the number read.
    pub async fn refresh(&self) -> Result<u64, WalletError> {
        #[derive(Deserialize)]
        struct Reply {
            blocks_fetched: u64,
        }
        let reply: Reply = self.call("refresh", json!({}), Limits::CHAIN).await?;
        Ok(reply.blocks_fetched)
    }

    /// `get_height`: how many blocks the wallet has read.
    pub async fn get_height(&self) -> Result<u64, WalletError> {
        let reply: Height = self.call("get_height", json!({}), Limits::QUICK).await?;
        Ok(reply.height)
    }

    /// `get_balance` of account 0.
    pub async fn get_balance(&self) -> Result<Balance, WalletError> {
        self.call("get_balance", json!({"account_index": 0}), Limits::QUICK).await
    }

    /// `incoming_transfers` of account 0: every output ever received.
    pub async fn incoming_transfers(&self) -> Result<Vec<IncomingTransfer>, WalletError> {
        #[derive(Deserialize)]
        struct Reply {
            #[serde(default)]
            transfers: Vec<IncomingTransfer>,
        }
        let params = json!({"transfer_type": "all", "account_index": 0});
        let reply: Reply = self.call("incoming_transfers", params, Limits::SIGNING).await?;
        Ok(reply.transfers)
    }

    /// `freeze` or `thaw`: whether the wallet may choose an output to spend.
    pub async fn set_frozen(&self, key_image: &str, frozen: bool) -> Result<(), WalletError> {
        let method = if frozen { "freeze" } else { "thaw" };
        let Nothing {} = self.call(method, json!({"key_image": key_image}), Limits::QUICK).await?;
        Ok(())
    }

    /// `get_transfers` of account 0, pool included.
    pub async fn get_transfers(&self) -> Result<Transfers, WalletError> {
        let params = json!({"in": true, "out": true, "pending": true, "pool": true, "account_index": 0});
        self.call("get_transfers", params, Limits::SIGNING).await
    }
}
