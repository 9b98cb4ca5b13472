//! The private chain does what the scenarios rest on, against real monerod and monero-wallet-rpc.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::time::Duration;

use aegis_common::amount::Piconero;
use aegis_harness::devnet::{Chain, Funds, Miner};
use aegis_harness::process::RunDir;

#[tokio::test(flavor = "multi_thread")]
async fn parallel_payments_arrive_and_a_reorganisation_undoes_only_the_chosen_one() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::open(dir.path()).unwrap();
    let chain = Chain::start(&run).await.unwrap();
    let funds = Funds::start(&run, &chain).await.unwrap();
    funds.fill(&chain, 20).await.unwrap();
    let home = funds.address().to_string();

    let (alice, alice_index) = funds.new_payee("alice").await.unwrap();
    let (bob, bob_index) = funds.new_payee("bob").await.unwrap();
    let kept = funds.pay(&[(alice, Piconero::XMR), (bob, Piconero(7))]).await.unwrap();
    let undone = funds.pay(&[(bob, Piconero(3_000_000_000_000))]).await.unwrap();
    chain.mine(2, &home).await.unwrap();
    assert!(chain.transaction(undone.txid).await.unwrap().unwrap().height.is_some());
    assert_eq!(chain.transaction(kept.txid).await.unwrap().unwrap().fee, kept.fee.0);

    let before = chain.height().await.unwrap();
    let after = chain.reorganise(3, &[undone.txid], &home).await.unwrap();
    assert_eq!(after, before + 1);
    assert!(chain.transaction(undone.txid).await.unwrap().is_none());
    assert!(chain.transaction(kept.txid).await.unwrap().unwrap().height.is_some());

    funds.refresh().await.unwrap();
    let again = funds.pay(&[(bob, Piconero(3_000_000_000_000))]).await.unwrap();
    assert_ne!(again.txid, undone.txid);
    let miner = Miner::start(chain.clone(), home, Duration::from_millis(300));
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(miner);
    let mut received = funds.received().await.unwrap();
    received.sort_by_key(|incoming| incoming.amount);
    let got: Vec<_> = received.iter().map(|i| (i.txid, i.subaddress, i.amount.0)).collect();
    assert_eq!(
        got,
        [
            (kept.txid, bob_index, 7),
            (kept.txid, alice_index, 1_000_000_000_000),
            (again.txid, bob_index, 3_000_000_000_000)
        ]
    );
    assert_eq!(funds.tx_keys(again.txid).await.unwrap(), again.tx_keys);
}
