//! An ordinary wallet with money, and the payees' addresses: what they receive is read from the chain by it.

use std::time::Duration;

use aegis_common::address::{Address, Network};
use aegis_common::amount::Piconero;
use aegis_common::hash::Hash32;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Chain, WalletServer};
use crate::process::RunDir;
use crate::rpc::{Rpc, RpcError};

/// The account whose subaddresses are the payees. Account 0 pays.
pub const PAYEES: u32 = 1;
/// Rewards unlock after sixty blocks (Monero `CRYPTONOTE_MINED_MONEY_UNLOCK_WINDOW`).
const REWARD_LOCK: u64 = 60;

/// A payment that was made.
#[derive(Debug, Clone)]
pub struct Payment {
    /// The transaction.
    pub txid: Hash32,
    /// Its secret keys, which prove what it pays: main key, then additional ones.
    pub tx_keys: String,
    /// Its network fee.
    pub fee: Piconero,
}

/// Something a payee received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incoming {
    /// In which transaction.
    pub txid: Hash32,
    /// At which of the payees' subaddresses.
    pub subaddress: u32,
    /// How much.
    pub amount: Piconero,
}

#[derive(Deserialize)]
struct MadeAddress {
    address: Address,
    #[serde(default)]
    address_index: u32,
}

#[derive(Deserialize)]
struct Sent {
    tx_hash: Hash32,
    tx_key: String,
    fee: u64,
}

#[derive(Deserialize)]
struct Received {
    #[serde(default)]
    transfers: Vec<Transfer>,
}

#[derive(Deserialize)]
struct Transfer {
    amount: u64,
    tx_hash: Hash32,
    subaddr_index: Index,
}

#[derive(Deserialize)]
struct Index {
    minor: u32,
}

#[derive(Deserialize)]
struct Balance {
    unlocked_balance: u64,
    #[serde(default)]
    per_subaddress: Vec<SubaddressBalance>,
}

#[derive(Deserialize)]
struct SubaddressBalance {
    num_unspent_outputs: u64,
}

/// A funded wallet in a monero-wallet-rpc of its own.
pub struct Funds {
    server: WalletServer,
    address: Address,
}

impl Funds {
    /// Starts the wallet server; opens the wallet, or creates it at the first start.
    pub async fn start(run: &RunDir, chain: &Chain) -> Result<Self> {
        let server = WalletServer::start(run, "funds", chain).await?;
        let wallet = json!({"filename": "funds", "password": "", "language": "English"});
        if server.folder().join("funds.keys").exists() {
            let _: Value = server.rpc().call("open_wallet", wallet).await?;
        } else {
            let _: Value = server.rpc().call("create_wallet", wallet).await?;
            let _: Value = server.rpc().call("create_account", json!({"label": "payees"})).await?;
        }
        Self::with(server).await
    }

    /// A wallet server that another process has started.
    pub async fn attach(port: u16, login: (String, String)) -> Result<Self> {
        Self::with(WalletServer::attach(port, login)?).await
    }

    async fn with(server: WalletServer) -> Result<Self> {
        let primary: MadeAddress = server.rpc().call("get_address", json!({"account_index": 0})).await?;
        primary.address.require(Network::Regtest)?;
        Ok(Self { server, address: primary.address })
    }

    /// The wallet server.
    pub fn server(&self) -> &WalletServer {
        &self.server
    }

    /// Its RPC, for everything else.
    pub fn rpc(&self) -> &Rpc {
        self.server.rpc()
    }

    /// Where rewards go.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Mines until at least `outputs` separate outputs can be spent, so that many payments can be made at once without
    /// one waiting for another's change.
    pub async fn fill(&self, chain: &Chain, outputs: u64) -> Result<()> {
        self.refresh().await?;
        let have = self.spendable_outputs().await?;
        if have < outputs {
            chain.mine(outputs - have + REWARD_LOCK, &self.address.to_string()).await?;
            self.refresh().await?;
        }
        Ok(())
    }

    async fn spendable_outputs(&self) -> Result<u64> {
        let balance: Balance = self.rpc().call("get_balance", json!({"account_index": 0})).await?;
        let all = balance.per_subaddress.iter().map(|part| part.num_unspent_outputs).sum::<u64>();
        // Locked rewards count as unspent; without any unlocked money there is nothing to spend.
        Ok(if balance.unlocked_balance == 0 { 0 } else { all.saturating_sub(REWARD_LOCK) })
    }

    /// What can be spent now.
    pub async fn unlocked(&self) -> Result<Piconero> {
        self.refresh().await?;
        let balance: Balance = self.rpc().call("get_balance", json!({"account_index": 0})).await?;
        Ok(Piconero(balance.unlocked_balance))
    }

    /// Scans new blocks.
    pub async fn refresh(&self) -> Result<()> {
        let _: Value = self.rpc().call("refresh", json!({})).await?;
        Ok(())
    }

    /// Makes a payee's address; gives it with its number.
    pub async fn new_payee(&self, label: &str) -> Result<(Address, u32)> {
        let params = json!({"account_index": PAYEES, "label": label});
        let made: MadeAddress = self.rpc().call("create_address", params).await?;
        Ok((made.address, made.address_index))
    }

    /// Pays several addresses in one transaction.
    pub async fn pay(&self, to: &[(Address, Piconero)]) -> Result<Payment> {
        let destinations: Vec<Value> =
            to.iter().map(|(address, amount)| json!({"address": address, "amount": amount.0})).collect();
        let params = json!({"destinations": destinations, "account_index": 0, "get_tx_key": true});
        // -37: every unlocked output is in use; a few blocks later there are more.
        for _ in 0..30 {
            match self.rpc().call::<Sent>("transfer", params.clone()).await {
                Ok(sent) => {
                    return Ok(Payment { txid: sent.tx_hash, tx_keys: sent.tx_key, fee: Piconero(sent.fee) });
                }
                Err(error) if error.downcast_ref::<RpcError>().is_some_and(|error| error.code == -37) => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    self.refresh().await?;
                }
                Err(error) => return Err(error.context("paying")),
            }
        }
        bail!("the funds have too few unlocked outputs")
    }

    /// The secret keys of a transaction of this wallet.
    pub async fn tx_keys(&self, txid: Hash32) -> Result<String> {
        let answer: Value = self.rpc().call("get_tx_key", json!({"txid": txid})).await?;
        let key = answer.get("tx_key").and_then(Value::as_str).context("get_tx_key without a key")?;
        Ok(key.to_owned())
    }

    /// Everything the payees ever received in blocks, output by output.
    pub async fn received(&self) -> Result<Vec<Incoming>> {
        self.refresh().await?;
        let params = json!({"transfer_type": "all", "account_index": PAYEES});
        let found: Received = self.rpc().call("incoming_transfers", params).await?;
        let incoming = |transfer: &Transfer| Incoming {
            txid: transfer.tx_hash,
            subaddress: transfer.subaddr_index.minor,
            amount: Piconero(transfer.amount),
        };
        Ok(found.transfers.iter().map(incoming).collect())
    }
}
