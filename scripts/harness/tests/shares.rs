//! Reading spend shares out of real multisig wallets, and finding them again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use aegis_harness::devnet::{Chain, WalletServer};
use aegis_harness::process::RunDir;
use aegis_harness::secrets::{Search, mnemonic, of_wallet};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn the_shares_of_a_real_wallet_are_read_and_found_even_as_words() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::open(dir.path()).unwrap();
    let chain = Chain::start(&run).await.unwrap();
    let server = WalletServer::start(&run, "wallets", &chain).await.unwrap();
    let rpc = server.rpc();
    let names = ["a", "b", "c"];
    let open = async |name: &str| {
        let _: Value = rpc.call("open_wallet", json!({"filename": name, "password": "p"})).await.unwrap();
    };
    let mut messages: Vec<String> = Vec::new();
    for name in names {
        let wallet = json!({"filename": name, "password": "p", "language": "English"});
        let _: Value = rpc.call("create_wallet", wallet).await.unwrap();
        let made: Value =
            rpc.call("prepare_multisig", json!({"enable_multisig_experimental": true})).await.unwrap();
        messages.push(made["multisig_info"].as_str().unwrap().to_owned());
    }
    for method in ["make_multisig", "exchange_multisig_keys", "exchange_multisig_keys"] {
        let mut next = Vec::new();
        for (own, name) in names.into_iter().enumerate() {
            open(name).await;
            let others: Vec<_> =
                messages.iter().enumerate().filter(|(at, _)| *at != own).map(|(_, text)| text).collect();
            if method == "make_multisig" {
                // The permission lasts only while the wallet is open, and `make_multisig` writes it down.
                let allow = json!({"enable_multisig_experimental": true});
                let _: Value = rpc.call("prepare_multisig", allow).await.unwrap();
            }
            let params = json!({"multisig_info": others, "threshold": 2, "password": "p"});
            let made: Value = rpc.call(method, params).await.unwrap();
            next.push(made["multisig_info"].as_str().unwrap_or_default().to_owned());
        }
        messages = next;
    }
    let _: Value = rpc.call("close_wallet", json!({})).await.unwrap();

    let mut shares = of_wallet(rpc, "a", "p", "alice").await.unwrap();
    assert_eq!(shares.len(), 3);
    let others = of_wallet(rpc, "b", "p", "bob").await.unwrap();
    let shared = |one: &[u8; 32]| others.iter().any(|other| other.secret == *one);
    // Any two signers of a 2-of-3 wallet have one key in common.
    assert_eq!(shares.iter().filter(|share| shared(&share.secret)).count(), 1);
    let words = mnemonic(rpc, &shares[0].secret).await.unwrap();
    assert_eq!(words.split_whitespace().count(), 25);
    shares[0].words = Some(words.clone());
    let search = Search::new(&shares);
    for share in &shares {
        let planted = format!("{{\"x\": \"{}\"}}", hex::encode(share.secret));
        assert!(search.in_piece("x", planted.as_bytes()).iter().any(|found| found.share == share.owner));
    }
    let listed = words.to_uppercase().split_whitespace().collect::<Vec<_>>().join("\", \"");
    assert!(!search.in_piece("x", format!("[\"{listed}\"]").as_bytes()).is_empty());
    assert!(search.in_piece("x", &shares[0].public()).is_empty());
}
