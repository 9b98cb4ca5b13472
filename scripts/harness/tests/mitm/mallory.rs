//! The man in the middle's own means: a signing key, and real wallets that make real multisig messages.

use aegis_common::address::Address;
use aegis_common::escrow::statement::Statement;
use aegis_common::hash::Key32;
use aegis_harness::devnet::WalletServer;
use aegis_harness::world::World;
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

/// The man in the middle.
pub struct Mallory {
    key: SigningKey,
    /// Valid messages of rounds 1 to 3, of a wallet of his own.
    pub messages: Vec<String>,
    /// His own 2-of-3 address.
    pub address: Address,
    /// His own shared view key.
    pub view_key: String,
}

impl Mallory {
    /// Sets up a 2-of-3 wallet of his own, all three parts of it.
    pub async fn arm(world: &World) -> Self {
        let server = WalletServer::start(&world.run, "mallory", &world.chain).await.unwrap();
        let rpc = server.rpc();
        let names = ["m1", "m2", "m3"];
        let allow = json!({"enable_multisig_experimental": true});
        let mut own = Vec::new();
        let mut last: Vec<String> = Vec::new();
        for name in names {
            let wallet = json!({"filename": name, "password": "p", "language": "English"});
            let _: Value = rpc.call("create_wallet", wallet).await.unwrap();
            let made: Value = rpc.call("prepare_multisig", allow.clone()).await.unwrap();
            last.push(made["multisig_info"].as_str().unwrap().to_owned());
        }
        own.push(last[0].clone());
        for method in ["make_multisig", "exchange_multisig_keys", "exchange_multisig_keys"] {
            let mut next = Vec::new();
            for (at, name) in names.into_iter().enumerate() {
                let wallet = json!({"filename": name, "password": "p"});
                let _: Value = rpc.call("open_wallet", wallet).await.unwrap();
                if method == "make_multisig" {
                    let _: Value = rpc.call("prepare_multisig", allow.clone()).await.unwrap();
                }
                let others: Vec<_> =
                    last.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, text)| text).collect();
                let params = json!({"multisig_info": others, "threshold": 2, "password": "p"});
                let made: Value = rpc.call(method, params).await.unwrap();
                next.push(made["multisig_info"].as_str().unwrap_or_default().to_owned());
            }
            last = next;
            own.push(last[0].clone());
        }
        own.truncate(3);
        let found: Value = rpc.call("get_address", json!({"account_index": 0})).await.unwrap();
        let view: Value = rpc.call("query_key", json!({"key_type": "view_key"})).await.unwrap();
        Self {
            key: SigningKey::from_bytes(&[0x4d; 32]),
            messages: own,
            address: found["address"].as_str().unwrap().parse().unwrap(),
            view_key: view["key"].as_str().unwrap().to_owned(),
        }
    }

    /// A statement signed with his key, under whatever name it bears.
    pub fn sign(&self, statement: Statement) -> Value {
        serde_json::to_value(statement.sign(&self.key).unwrap()).unwrap()
    }

    /// His signing key as others would pin it.
    pub fn public(&self) -> Key32 {
        Key32(self.key.verifying_key().to_bytes())
    }

    /// His message of a round.
    pub fn message(&self, round: u8) -> String {
        self.messages[usize::from(round) - 1].clone()
    }
}
