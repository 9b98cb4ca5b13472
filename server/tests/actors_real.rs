//! The actors against real monerod and monero-wallet-rpc: a deposit comes in, a payout goes out. One ordinary wallet
//! stands for the three that share the keys; the rest is as it will be.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/escrow.rs"]
mod escrow;
#[path = "support/monero.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod monero;
#[path = "support/people.rs"]
mod people;
#[path = "support/still.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod still;

use std::sync::Arc;
use std::time::Duration;

use aegis_common::address::{Address, Network};
use aegis_common::amount::Piconero;
use aegis_common::escrow::deposits::Refusal as NotCredited;
use aegis_common::escrow::state::Status;
use aegis_common::escrow::statement::Act;
use aegis_common::hash::Hash32;
use aegis_common::role::Role;
use aegis_common::testing::chain::TestWallet;
use aegis_server::actors::message::{Command, Snapshot};
use aegis_server::node::{NodeConfig, NodePool, PoolConfig};
use escrow::Server;
use monero::Daemon;
use serde_json::json;

/// Waits for what the chain brings.
async fn until(server: &Server, what: &str, is_so: impl Fn(&Snapshot) -> bool) -> Snapshot {
    for _ in 0..600 {
        let snapshot = server.tell(Command::Read).await;
        if is_so(&snapshot) {
            return snapshot;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never: {what}");
}

#[actix::test]
async fn a_real_deposit_and_a_real_payout_lead_to_a_completed_escrow() {
    let daemon = Daemon::monerod(false).await;
    let (payer, shared) = (Daemon::wallet(&daemon).await, Daemon::wallet(&daemon).await);
    let miner = payer.address().await;
    daemon.mine(90, &miner).await;
    let dir = tempfile::tempdir().unwrap();
    let address = shared.address().await;
    let mut config = PoolConfig::new(Network::Regtest, vec![NodeConfig { url: daemon.url(), login: None }]);
    config.timeout = Duration::from_secs(20);
    let server = Server::begin(Arc::new(NodePool::new(&config).unwrap()), dir.path()).await;
    let view_key = shared.rpc("query_key", json!({"key_type": "view_key"})).await;
    let view_key = view_key["key"].as_str().unwrap().parse::<Hash32>().unwrap().0;
    for (role, act) in people::setup(&TestWallet::new(1)) {
        let act = match act {
            Act::Attest { attempt, threshold, total, ready, .. } => {
                let address = Address::parse(&address, Network::Regtest).unwrap();
                Act::Attest { attempt, address, threshold, total, ready }
            }
            other => other,
        };
        server.say(role, act, Some(view_key)).await;
    }

    // A miner's reward is reported, not credited.
    daemon.mine(1, &address).await;
    let seen = until(&server, "a reward", |now| now.escrow.deposits.all().len() == 1).await;
    assert_eq!(seen.escrow.deposits.all()[0].refused, Some(NotCredited::Locked));
    daemon.call("/pop_blocks", json!({"nblocks": 1})).await;
    daemon.mine(2, &miner).await;
    until(&server, "no reward", |now| now.escrow.deposits.all().is_empty()).await;

    payer.rpc("refresh", json!({})).await;
    let destinations = json!([{"address": address, "amount": Piconero::XMR.0}]);
    payer.rpc("transfer", json!({ "destinations": destinations })).await;
    until(&server, "a deposit in the pool", |now| now.escrow.deposits.credited().count() == 1).await;
    daemon.mine(10, &miner).await;
    until(&server, "active", |now| now.escrow.status() == Status::Active).await;
    let settling = server.say(Role::Buyer, Act::Confirm {}, None).await;

    let (proposer, cosigner) = settling.escrow.settling().unwrap().signers();
    let sync = || Act::Sync { attempt: 1, info: "5a".to_owned() };
    let own = server.say(proposer, sync(), None).await.statement.unwrap();
    let other = server.say(cosigner, sync(), None).await.statement.unwrap();
    shared.rpc("refresh", json!({})).await;
    let to = server.people.of(Role::Seller).party.payout_address;
    let sweep = json!({"address": to, "get_tx_keys": true, "do_not_relay": true, "get_tx_metadata": true});
    let built = shared.rpc("sweep_all", sweep).await;
    let keys = hex::decode(built["tx_key_list"][0].as_str().unwrap()).unwrap();
    let txid: Hash32 = built["tx_hash_list"][0].as_str().unwrap().parse().unwrap();
    let propose = Act::Propose {
        attempt: 1,
        built_on: [own, other],
        txset: "7e".to_owned(),
        tx_keys: keys.chunks(32).map(|key| Hash32(key.try_into().unwrap())).collect(),
        fee: Piconero(built["fee_list"][0].as_u64().unwrap()),
        residue: Piconero::ZERO,
    };
    let proposal = server.say(proposer, propose, None).await.statement.unwrap();
    server.say(cosigner, Act::Approve { attempt: 1, proposal, txid, txset: "7e5e".to_owned() }, None).await;
    shared.rpc("relay_tx", json!({"hex": built["tx_metadata_list"][0]})).await;
    let height =
        |now: &Snapshot| now.escrow.settling().and_then(|settling| settling.seen).map(|on| on.height);
    until(&server, "the payout in the pool", |now| height(now) == Some(None)).await;
    daemon.mine(10, &miner).await;
    until(&server, "completed", |now| now.escrow.status() == Status::CompletedReleased).await;
    server.handles.stop();
}
