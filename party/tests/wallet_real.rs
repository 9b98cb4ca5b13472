//! The wallet layer against real monerod and monero-wallet-rpc on a private chain.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use aegis::daemon::Daemon;
use aegis::keys::Secret;
use aegis::wallet::{
    Destination, MultisigWallet, Priority, TxShape, WalletAccess, WalletError, WalletName, WalletProcess,
    estimate_fee,
};
use aegis_common::address::Address;
use aegis_common::amount::Piconero;
use aegis_common::hash::Hash32;
use futures_util::future::join_all;
use support::monero::{Monerod, faucet, options};

const NAME: &str = "escrow-1";

fn name() -> WalletName {
    NAME.parse().unwrap()
}

fn others(messages: &[String], mine: usize) -> [&str; 2] {
    let rest: Vec<_> =
        messages.iter().enumerate().filter(|(i, _)| *i != mine).map(|(_, m)| m.as_str()).collect();
    rest.try_into().unwrap()
}

/// Another valid base58 character in the middle.
fn damaged(message: &str) -> String {
    let at = message.len() - 5;
    let other = if &message[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &message[..at], &message[at + 1..])
}

/// The number of the wallet process that was started in a folder.
fn pid_of(folder: &Path) -> String {
    let config = folder.canonicalize().unwrap().join("wallet-rpc.conf");
    let found = Command::new("pgrep")
        .args(["-f", "-x"])
        .arg(format!(".*--config-file {}", config.display()))
        .output();
    String::from_utf8(found.unwrap().stdout).unwrap().trim().to_owned()
}

async fn start(node: &Monerod, dir: &Path) -> MultisigWallet {
    let access = WalletAccess::Own(options(node, &dir.join("rpc")));
    MultisigWallet::start(access, party_password(), &dir.join("marks")).await.unwrap()
}

fn party_password() -> Secret {
    Secret::new("of the wallet files")
}

async fn three_parties(node: &Monerod, dir: &Path) -> Vec<MultisigWallet> {
    let mut parties = Vec::new();
    for who in ["buyer", "seller", "arbiter"] {
        parties.push(start(node, &dir.join(who)).await);
    }
    parties
}

/// The plain setup; every wallet is opened once.
async fn set_up(parties: &[MultisigWallet], name: &WalletName) -> [Address; 3] {
    join_all(parties.iter().map(|party| party.create(name))).await.into_iter().for_each(|s| drop(s.unwrap()));
    let mut sessions = Vec::new();
    let mut messages = Vec::new();
    for party in parties {
        let mut session = party.session(name).await.unwrap();
        messages.push(session.prepare().await.unwrap());
        sessions.push(session);
    }
    let mut next = Vec::new();
    for (i, session) in sessions.iter_mut().enumerate() {
        next.push(session.make(&others(&messages, i)).await.unwrap());
    }
    let mut third = Vec::new();
    for (i, session) in sessions.iter_mut().enumerate() {
        let output = session.exchange(&others(&next, i)).await.unwrap();
        assert_eq!(output.address, None);
        third.push(output.message);
    }
    let mut found = Vec::new();
    for (i, session) in sessions.iter_mut().enumerate() {
        let output = session.exchange(&others(&third, i)).await.unwrap();
        let addresses = session.addresses().await.unwrap();
        assert_eq!(output.address, Some(addresses[0]));
        found.push(addresses);
    }
    assert!(found.iter().all(|addresses| *addresses == found[0]));
    found[0]
}

/// Refreshes, exports and imports between the two signers.
async fn exchange_exports(proposer: &MultisigWallet, cosigner: &MultisigWallet, name: &WalletName) {
    let mut a = proposer.session(name).await.unwrap();
    let mut b = cosigner.session(name).await.unwrap();
    a.refresh().await.unwrap();
    b.refresh().await.unwrap();
    let (from_a, from_b) = (a.export().await.unwrap(), b.export().await.unwrap());
    a.import(&[&from_b]).await.unwrap();
    b.import(&[&from_a]).await.unwrap();
}

async fn fund(node: &Monerod, faucet: &WalletProcess, home: &Address, to: &[Address], amount: u64) {
    let to: Vec<_> =
        to.iter().map(|address| Destination { address: *address, amount: Piconero(amount) }).collect();
    faucet.rpc().refresh().await.unwrap();
    faucet.rpc().transfer_ordinary(&to, Priority::Low).await.unwrap();
    node.mine(12, home).await;
}

#[tokio::test]
async fn two_of_three_are_paid_out_and_every_wrong_step_gets_its_own_error() {
    let dir = tempfile::tempdir().unwrap();
    let node = Monerod::start().await;
    let (bank, home) = faucet(&node, &dir.path().join("faucet")).await;
    let parties = three_parties(&node, dir.path()).await;
    let name = name();

    // Setup, with damaged, early and repeated messages on the way.
    let mut sessions = Vec::new();
    let mut first = Vec::new();
    for party in &parties {
        let mut session = party.create(&name).await.unwrap();
        first.push(session.prepare().await.unwrap());
        assert!(matches!(session.addresses().await, Err(WalletError::NotReady)));
        assert!(matches!(session.export().await, Err(WalletError::NotReady)));
        sessions.push(session);
    }
    let [one, two] = others(&first, 0);
    for bad in [damaged(one), "garbage".to_owned()] {
        assert!(matches!(sessions[0].make(&[&bad, two]).await, Err(WalletError::DamagedMessage(_))));
    }
    assert!(matches!(sessions[0].make(&[one, one]).await, Err(WalletError::DamagedMessage(_))));
    assert!(matches!(sessions[0].make(&[one, ""]).await, Err(WalletError::BadArgument(_))));
    assert!(matches!(sessions[0].exchange(&[one, two]).await, Err(WalletError::NotReady)));
    let mut second = Vec::new();
    for (i, session) in sessions.iter_mut().enumerate() {
        second.push(session.make(&others(&first, i)).await.unwrap());
        assert!(matches!(session.make(&others(&first, i)).await, Err(WalletError::AlreadyMultisig)));
    }
    assert!(matches!(sessions[0].prepare().await, Err(WalletError::AlreadyMultisig)));
    assert!(matches!(sessions[0].exchange(&[one, two]).await, Err(WalletError::WrongRound)));
    let [one, two] = others(&second, 0);
    assert!(matches!(sessions[0].exchange(&[&damaged(one), two]).await, Err(WalletError::DamagedMessage(_))));
    let mut third = Vec::new();
    for (i, session) in sessions.iter_mut().enumerate() {
        third.push(session.exchange(&others(&second, i)).await.unwrap().message);
    }
    assert!(matches!(sessions[0].exchange(&[one, two]).await, Err(WalletError::WrongRound)));
    let mut addresses = Vec::new();
    for (i, session) in sessions.iter_mut().enumerate() {
        session.exchange(&others(&third, i)).await.unwrap().address.unwrap();
        addresses.push(session.addresses().await.unwrap());
        assert!(matches!(session.exchange(&others(&third, i)).await, Err(WalletError::AlreadyMultisig)));
    }
    drop(sessions);
    let escrow = addresses[0];
    assert!(addresses.iter().all(|other| *other == escrow));
    assert!(matches!(parties[0].create(&name).await, Err(WalletError::WalletExists)));
    for party in &parties {
        party.session(&name).await.unwrap().prove_backup(&escrow[0]).await.unwrap();
    }
    assert!(parties[0].session(&name).await.unwrap().prove_backup(&home).await.is_err());

    // Funding on all three addresses.
    fund(&node, &bank, &home, &escrow, Piconero::XMR.0).await;
    let (proposer, cosigner) = (&parties[0], &parties[1]);
    {
        let mut session = proposer.session(&name).await.unwrap();
        session.refresh().await.unwrap();
        let balance = session.balance().await.unwrap();
        assert_eq!(balance.unlocked_balance, Piconero(3 * Piconero::XMR.0));
        assert!(balance.multisig_import_needed);
        let minors: Vec<_> =
            session.incoming().await.unwrap().iter().map(|t| t.subaddr_index.minor).collect();
        assert_eq!(minors.len(), 3);
        // Block times decide what was there at expiry.
        let paid_at = session.paid_at().await.unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        for output in session.incoming().await.unwrap() {
            let at = paid_at.get(&output.tx_hash).unwrap();
            // A private chain mined at once runs ahead of the clock by some seconds a block at most.
            assert!((now - 600..now + 7_200).contains(at), "{at} against {now}");
        }
        let pay = [Destination { address: home, amount: Piconero::XMR }];
        let too_early = session.build_transfer(&pay, Priority::Low).await;
        assert!(too_early.is_err(), "{too_early:?}");
    }
    exchange_exports(proposer, cosigner, &name).await;

    // Two recipients, one of them a subaddress, net of a fee known beforehand.
    let sub = bank.rpc().create_address("payout").await.unwrap();
    let rate = node.fee_rate(Priority::Low).await;
    let shape = TxShape { inputs: 3, recipients: 2, subaddresses: true };
    let estimate = estimate_fee(shape, rate).unwrap();
    let whole = 3 * Piconero::XMR.0 - estimate.0;
    let pay = [
        Destination { address: home, amount: Piconero(whole - Piconero::XMR.0) },
        Destination { address: sub, amount: Piconero::XMR },
    ];
    let made = {
        let mut session = proposer.session(&name).await.unwrap();
        let dear = [Destination { address: home, amount: Piconero(9 * Piconero::XMR.0) }];
        let refused = session.build_transfer(&dear, Priority::Low).await;
        assert!(matches!(refused, Err(WalletError::NotEnoughMoney)), "{refused:?}");
        // That gave nothing out, so the nonces are still good.
        let made = session.build_transfer(&pay, Priority::Low).await.unwrap();
        let again = session.build_transfer(&pay, Priority::Low).await;
        assert!(matches!(again, Err(WalletError::NoncesUsed)));
        assert!(matches!(session.sign(&made.txset).await, Err(WalletError::NoncesUsed)));
        made
    };
    assert_eq!(made.spends.len(), 3);
    assert!(
        made.fee <= estimate && estimate.0 <= made.fee.0 + made.fee.0 / 10,
        "{:?} {estimate:?}",
        made.fee
    );
    // A standard and a subaddress recipient: one key for the transaction and one for each of three outputs.
    assert_eq!(made.tx_keys.len(), 4);
    let mut session = cosigner.session(&name).await.unwrap();
    let described = session.describe(&made.txset).await.unwrap();
    let [tx] = &described[..] else { panic!("{described:?}") };
    let mut paid: Vec<_> = tx.recipients.iter().map(|r| (r.amount, r.address.to_string())).collect();
    let mut wanted: Vec<_> = pay.iter().map(|d| (d.amount, d.address.to_string())).collect();
    paid.sort();
    wanted.sort();
    assert_eq!(paid, wanted);
    assert_eq!((tx.fee, tx.unlock_time, tx.ring_size), (made.fee, 0, 16));
    assert_eq!(tx.change_address, Some(escrow[0]));
    assert_eq!(tx.change_amount.0, estimate.0 - made.fee.0);
    assert!(matches!(session.describe("00ff").await, Err(WalletError::BadTxset)));
    assert!(matches!(session.submit(&made.txset).await, Err(WalletError::NotEnoughSigners)));
    let signed = session.sign(&made.txset).await.unwrap();
    assert!(matches!(session.sign(&made.txset).await, Err(WalletError::NoncesUsed)));
    // The cosigner learns the transaction's keys from its own wallet, so the proposer can't state others.
    assert_eq!(session.tx_keys(&signed.tx_hashes[0]).await.unwrap(), made.tx_keys);
    assert_eq!(session.submit(&signed.txset).await.unwrap(), signed.tx_hashes);
    assert_eq!(session.submit(&signed.txset).await.unwrap(), signed.tx_hashes);
    drop(session);
    node.mine(1, &home).await;
    bank.rpc().refresh().await.unwrap();
    let got = bank.rpc().get_transfers().await.unwrap();
    let ours: u64 = got.incoming.iter().filter(|t| t.txid == signed.tx_hashes[0]).map(|t| t.amount.0).sum();
    assert_eq!(ours, whole);
    for party in parties {
        party.stop().await.unwrap();
    }
    bank.stop().await.unwrap();
}

/// Anybody can pay an escrow's address: what does not count must not get into a payout, which would spend more than the
/// escrow's deposits, so that no signer could ever agree.
#[tokio::test]
async fn a_payout_takes_what_counts_and_leaves_dust_alone() {
    // More than it costs to spend: smaller outputs the wallet leaves alone by itself.
    const DUST: u64 = 10_000_000_000;
    let dir = tempfile::tempdir().unwrap();
    let node = Monerod::start().await;
    let (bank, home) = faucet(&node, &dir.path().join("faucet")).await;
    let parties = three_parties(&node, dir.path()).await;
    let name = name();
    let escrow = set_up(&parties, &name).await;
    fund(&node, &bank, &home, &escrow[..1], Piconero::XMR.0).await;
    fund(&node, &bank, &home, &[escrow[0], escrow[2]], DUST).await;
    let (proposer, cosigner) = (&parties[0], &parties[1]);
    for dust_counts in [false, true] {
        exchange_exports(proposer, cosigner, &name).await;
        let made = {
            let mut session = proposer.session(&name).await.unwrap();
            assert_eq!(session.incoming().await.unwrap().len(), 3);
            session.spend_only(|output| dust_counts || output.amount.0 > DUST).await.unwrap();
            // Less than one dust output is left for the fee: where they may be spent both are needed.
            let amount = Piconero::XMR.0 + if dust_counts { 2 * DUST } else { 0 } - DUST / 10 * 7;
            let pay = [Destination { address: home, amount: Piconero(amount) }];
            session.build_transfer(&pay, Priority::Low).await.unwrap()
        };
        let dust = if dust_counts { 2 * DUST } else { 0 };
        let mut session = cosigner.session(&name).await.unwrap();
        let described = session.describe(&made.txset).await.unwrap();
        assert_eq!(described[0].amount_in, Piconero(Piconero::XMR.0 + dust));
        if !dust_counts {
            continue;
        }
        // What was left out once can be spent later: nothing is lost.
        let signed = session.sign(&made.txset).await.unwrap();
        assert_eq!(session.submit(&signed.txset).await.unwrap(), signed.tx_hashes);
        let [txid] = &signed.tx_hashes[..] else { panic!("one transaction") };
        let daemon = Daemon::new(&node.address, None).unwrap();
        assert!(daemon.mined(*txid).await.unwrap().is_none(), "it is in the pool");
        node.mine(12, &home).await;
        let (tx, _, blocks) = daemon.mined(*txid).await.unwrap().unwrap();
        assert_eq!((tx.hash, blocks), (*txid, 12));
        assert!(daemon.mined(Hash32([7; 32])).await.unwrap().is_none());
    }
    // The third, which had no part in it, takes for spent what the first signing data of another makes it believe: no proof of
    // anything, and yet it can sign what is left.
    let third = &parties[2];
    let spent = async || {
        let mut session = third.session(&name).await.unwrap();
        session.refresh().await.unwrap();
        session.incoming().await.unwrap().iter().filter(|output| output.spent).count()
    };
    assert_eq!(spent().await, 0);
    exchange_exports(cosigner, third, &name).await;
    assert_eq!(spent().await, 3);
    for party in parties {
        party.stop().await.unwrap();
    }
    bank.stop().await.unwrap();
}

#[tokio::test]
async fn stale_data_heals_by_a_fresh_exchange_also_after_a_killed_and_a_stuck_process() {
    let dir = tempfile::tempdir().unwrap();
    let node = Monerod::start().await;
    let (bank, home) = faucet(&node, &dir.path().join("faucet")).await;
    let parties = three_parties(&node, dir.path()).await;
    let name = name();
    let escrow = set_up(&parties, &name).await;
    fund(&node, &bank, &home, &escrow[..1], Piconero::XMR.0).await;
    let (proposer, cosigner) = (&parties[2], &parties[0]);
    let pay = [Destination { address: home, amount: Piconero(Piconero::XMR.0 / 2) }];
    exchange_exports(proposer, cosigner, &name).await;

    // The cosigner exports again: what the proposer builds now is stale.
    cosigner.session(&name).await.unwrap().export().await.unwrap();
    let made = proposer.session(&name).await.unwrap().build_transfer(&pay, Priority::Low).await.unwrap();
    let mut session = cosigner.session(&name).await.unwrap();
    let refused = session.sign(&made.txset).await.unwrap_err();
    assert!(matches!(refused, WalletError::StaleData) && refused.needs_fresh_export());
    drop(session);

    // The cosigner's process dies and the proposer's gets stuck; the next sessions find them restarted.
    for (who, signal) in [("buyer", "-KILL"), ("arbiter", "-STOP")] {
        let pid = pid_of(&dir.path().join(who).join("rpc"));
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        // On a loaded machine a thread of a process that is being stopped still answers for a moment.
        let is_stopped =
            || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "));
        while signal == "-STOP" && !is_stopped() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    let stuck = proposer.session(&name).await.unwrap().status().await;
    assert!(matches!(stuck, Err(WalletError::Timeout { .. })), "{stuck:?}");
    assert!(cosigner.session(&name).await.unwrap().nonces_used());

    exchange_exports(proposer, cosigner, &name).await;
    let made = proposer.session(&name).await.unwrap().build_transfer(&pay, Priority::Low).await.unwrap();
    let mut session = cosigner.session(&name).await.unwrap();
    let described = session.describe(&made.txset).await.unwrap();
    assert_eq!(described[0].change_amount.0, Piconero::XMR.0 / 2 - made.fee.0);
    assert_eq!(described[0].change_address, Some(escrow[0]));
    let signed = session.sign(&made.txset).await.unwrap();
    session.submit(&signed.txset).await.unwrap();
    drop(session);
    for party in parties {
        party.stop().await.unwrap();
    }
    bank.stop().await.unwrap();
}

#[tokio::test]
async fn a_wallet_that_cannot_be_opened_takes_no_other_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = Monerod::start().await;
    let party = start(&node, dir.path()).await;
    let [whole, broken]: [WalletName; 2] = ["escrow-1", "escrow-2"].map(|name| name.parse().unwrap());
    for name in [&whole, &broken] {
        party.create(name).await.unwrap();
    }
    let keys = dir.path().join(format!("rpc/wallets/{broken}.keys"));
    drop(party.session(&whole).await.unwrap());
    std::fs::write(&keys, b"half").unwrap();
    for _ in 0..2 {
        assert!(matches!(party.session(&broken).await, Err(WalletError::CannotOpen)));
        let mut session = party.session(&whole).await.unwrap();
        assert!(!session.status().await.unwrap().multisig);
    }
    // Another process that was left with the wallet open is asked to close it.
    let login = std::fs::read_to_string(dir.path().join("rpc/wallet-rpc.conf")).unwrap();
    let value = |key: &str| login.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
    let url = format!("http://127.0.0.1:{}", value("rpc-bind-port="));
    let login = aegis::wallet::Login {
        username: "aegis".to_owned(),
        password: Secret::new(value("rpc-login=aegis:")),
    };
    let access = WalletAccess::Given { url, login };
    let given = MultisigWallet::start(access, party_password(), &dir.path().join("marks-2")).await.unwrap();
    given.session(&whole).await.unwrap();
    party.stop().await.unwrap();
}

#[tokio::test]
async fn a_wallet_folder_has_one_user_private_files_and_no_login_on_the_command_line() {
    use std::os::unix::fs::MetadataExt;

    let dir = tempfile::tempdir().unwrap();
    let node = Monerod::start().await;
    let options = options(&node, &dir.path().join("rpc"));
    let mut process = WalletProcess::start(options.clone()).await.unwrap();
    assert!(matches!(WalletProcess::start(options.clone()).await, Err(WalletError::FolderInUse)));
    let config = std::fs::read_to_string(options.folder.join("wallet-rpc.conf")).unwrap();
    let login = config.lines().find_map(|line| line.strip_prefix("rpc-login=aegis:")).unwrap();
    let command = std::fs::read(format!("/proc/{}/cmdline", process.pid().unwrap())).unwrap();
    assert!(!String::from_utf8_lossy(&command).contains(login));
    let mode = |path: &str| std::fs::metadata(options.folder.join(path)).unwrap().mode() & 0o777;
    assert_eq!((mode("wallets"), mode("wallet-rpc.conf")), (0o700, 0o600));

    // Another login is refused, and ours goes on working through many calls and a restart.
    let url = config.lines().find_map(|line| line.strip_prefix("rpc-bind-port=")).unwrap();
    let url = format!("http://127.0.0.1:{url}");
    let wrong = aegis::wallet::Login { username: "aegis".to_owned(), password: Secret::new("wrong") };
    let stranger = aegis::wallet::WalletRpc::new(&url, Some(wrong)).unwrap();
    assert!(matches!(stranger.get_version().await, Err(WalletError::Unauthorized)));
    for _ in 0..300 {
        process.rpc().get_version().await.unwrap();
    }
    process.restart().await.unwrap();
    assert!(matches!(process.rpc().get_balance().await, Err(WalletError::NoWalletOpen)));
    assert!(matches!(
        process.rpc().open_wallet("none", &Secret::new("x")).await,
        Err(WalletError::CannotOpen)
    ));
    let pid = process.pid().unwrap();
    drop(process);
    // A killed run leaves its configuration; the next one starts cleanly over it.
    let next = WalletProcess::start(options).await.unwrap();
    assert_ne!(next.pid().unwrap(), pid);
    next.stop().await.unwrap();
}

/// Prints how long setups take; run it alone with `--run-ignored only --no-capture`.
#[tokio::test]
#[ignore = "a measurement"]
#[allow(clippy::print_stderr, reason = "its output is the point")]
async fn eight_setups() {
    let dir = tempfile::tempdir().unwrap();
    let node = Monerod::start().await;
    let parties = three_parties(&node, dir.path()).await;
    let started = Instant::now();
    for escrow in 0..8 {
        let at = Instant::now();
        let name: WalletName = format!("escrow-{escrow}").parse().unwrap();
        let addresses = set_up(&parties, &name).await;
        let set_up = at.elapsed();
        let proofs = parties.iter().map(async |party| {
            party.session(&name).await.unwrap().prove_backup(&addresses[0]).await.unwrap();
        });
        join_all(proofs).await;
        eprintln!("{name}: set up {set_up:?}, proven {:?}", at.elapsed());
    }
    eprintln!("all: {:?}", started.elapsed());
}
