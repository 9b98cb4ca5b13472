//! A setup by the engine with real wallets, against a server that is nothing but the escrow's rules.
#![expect(clippy::unwrap_used, reason = "a failure in a test is to be loud")]

#[path = "support/liar.rs"]
mod liar;
mod support;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aegis::daemon::Daemon;
use aegis::engine::desk::Desk;
use aegis::engine::payout::SystemClock;
use aegis::engine::run::Engine;
use aegis::engine::setup::Progress;
use aegis::keys::Secret;
use aegis::policy::{Accept, Policy};
use aegis::wallet::{MultisigWallet, WalletAccess, WalletName};
use aegis_common::escrow::statement::Act;
use aegis_common::role::Role;
use aegis_common::testing::Sim;
use aegis_common::wire::escrow::{
    EscrowView, StatementReceipt, StatementRequest, TranscriptEntry, TranscriptPage,
};
use liar::{Liar, PASSPHRASE, contract_of, home, json, token};
use support::monero::{Monerod, options};

/// Answers as the escrow's rules say.
fn honest(sim: &Arc<Mutex<Option<Sim>>>) -> Liar {
    let sim = Arc::clone(sim);
    Liar::reading(move |target, body| {
        let mut sim = sim.lock().unwrap();
        let sim = sim.as_mut()?;
        if target.ends_with("/auth/login") {
            return Some((200, token()));
        }
        if target.ends_with("/statements") {
            let request: StatementRequest = serde_json::from_slice(body).unwrap();
            let hash = request.signed.statement.hash().unwrap();
            sim.send(request.signed).unwrap();
            let version = sim.transcript.len() as i64 + 1;
            return json(StatementReceipt { hash, version, status: sim.status() });
        }
        if target.contains("/transcript?after=") {
            let after: usize = target.split("after=").nth(1)?.split('&').next()?.parse().unwrap();
            let at = sim.now;
            let entries = (2..).zip(&sim.transcript).filter(|(version, _)| *version > after as i64);
            let entries = entries
                .map(|(version, signed)| TranscriptEntry { version, at, signed: signed.clone() })
                .collect();
            return json(TranscriptPage { entries, next: None });
        }
        json(EscrowView::of(&sim.escrow, sim.transcript.len() as i64 + 1, 1_000))
    })
}

async fn wallet(node: &Monerod, folder: &Path) -> MultisigWallet {
    let access = WalletAccess::Own(options(node, &folder.join("rpc")));
    MultisigWallet::start(access, Secret::new("w"), &folder.join("marks")).await.unwrap()
}

/// What a killed wallet leaves behind: half of its keys file.
fn cut(folder: &Path, name: &WalletName) {
    let keys = folder.join("rpc/wallets").join(format!("{name}.keys"));
    let whole = std::fs::read(&keys).unwrap();
    std::fs::write(&keys, &whole[..whole.len() / 2]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_was_killed_while_it_wrote_its_files_starts_the_setup_anew_in_every_round() {
    let node = Monerod::start().await;
    let sim = Arc::default();
    let server = honest(&sim);
    let (folder, home) = home(&server.url);
    let desk = Desk::open(&home, PASSPHRASE).unwrap();
    let contract = contract_of(&desk);
    let id = contract.escrow_id;
    *sim.lock().unwrap() = Some(Sim::new(contract));
    let others = [Role::Seller, Role::Arbiter].map(|role| (role, folder.path().join(role.to_string())));
    let mut wallets = Vec::new();
    for (role, folder) in &others {
        wallets.push((*role, wallet(&node, folder).await));
        sim.lock().unwrap().as_mut().unwrap().say(*role, Act::Accept {}).unwrap();
    }
    let mut engine = Engine {
        desk,
        wallet: wallet(&node, &home).await,
        daemon: Daemon::new(&node.address, None).unwrap(),
        policy: Policy { accept: Accept::Any, ..Policy::default() },
        clock: Box::new(SystemClock),
        poll: Duration::from_secs(1),
    };
    let present = || sim.lock().unwrap().as_ref().unwrap().escrow.setup.rounds().attempt();
    let messages = |but: Role, attempt: u32, round: u8| -> Vec<String> {
        let sim = sim.lock().unwrap();
        let said = sim.as_ref().unwrap().transcript.iter().filter(|signed| signed.statement.role != but);
        said.filter_map(|signed| match &signed.statement.act {
            Act::Round { attempt: a, round: r, message } if (*a, *r) == (attempt, round) => {
                Some(message.clone())
            }
            _ => None,
        })
        .collect()
    };
    let others_say = async |round: u8| {
        let attempt = present();
        let name = WalletName::of(id, attempt);
        for (role, wallet) in &wallets {
            let message = if round == 1 {
                wallet.create(&name).await.unwrap().prepare().await.unwrap()
            } else {
                let before = messages(*role, attempt, round - 1);
                let before = [before[0].as_str(), before[1].as_str()];
                let mut session = wallet.session(&name).await.unwrap();
                if round == 2 {
                    session.make(&before).await.unwrap()
                } else {
                    session.exchange(&before).await.unwrap().message
                }
            };
            let act = Act::Round { attempt, round, message };
            sim.lock().unwrap().as_mut().unwrap().say(*role, act).unwrap();
        }
    };

    assert!(matches!(engine.step(id).await.unwrap(), Progress::Did(_)), "accepted");
    // While round 2, round 3 or the attestation is owed.
    for owed in 2..=4 {
        for round in 1..owed {
            assert!(matches!(engine.step(id).await.unwrap(), Progress::Did(_)));
            others_say(round).await;
        }
        assert_eq!(present(), u32::from(owed) - 1);
        engine.wallet.stop().await.unwrap();
        cut(&home, &WalletName::of(id, present()));
        engine.wallet = wallet(&node, &home).await;
        let did = engine.step(id).await.unwrap();
        assert_eq!(did, Progress::Did(format!("asked for setup attempt {owed}: a wallet output was lost")));
        assert_eq!(present(), u32::from(owed));
    }
    engine.wallet.stop().await.unwrap();
    for (_, wallet) in wallets {
        wallet.stop().await.unwrap();
    }
}
