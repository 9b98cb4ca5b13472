//! Getting in, staying in, and what is asked when: against a server that keeps the rules of sessions.
#![expect(clippy::unwrap_used, reason = "a failure in a test is to be loud")]

#[path = "support/accounts.rs"]
mod accounts;
#[path = "support/liar.rs"]
mod liar;

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::Duration;

use accounts::{Accounts, CODE};
use aegis::client::{ClientError, Codes};
use aegis::daemon::Daemon;
use aegis::engine::desk::Desk;
use aegis::engine::payout::SystemClock;
use aegis::engine::run::{Engine, Report};
use aegis::keys::Secret;
use aegis::policy::Policy;
use aegis::wallet::{Login, MultisigWallet, WalletAccess};
use aegis_common::code::Code;
use aegis_common::hash::Hash32;
use aegis_common::identity::PasswordReset;
use aegis_common::testing::address;
use aegis_common::wire::account::{PayoutAddressRequest, ResetRequest};
use liar::{PASSPHRASE, contract_of, home};

const PASSWORD: &str = "a password";

fn aegis(home: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_aegis"));
    program.arg("--home").arg(home).arg("--json").args(arguments);
    program.env("AEGIS_PASSPHRASE", PASSPHRASE).envs(settings.iter().copied());
    program.stdin(std::process::Stdio::null()).output().unwrap()
}

fn error_code(output: &Output) -> String {
    let document: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    document["error"]["code"].as_str().unwrap().to_owned()
}

fn with_code(home: &Path, code: &str) -> Desk {
    let mut desk = Desk::open(home, PASSPHRASE).unwrap();
    desk.client.set_codes(Codes::Given(Secret::new(code)));
    desk
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_shares_a_home_shares_its_session_and_uses_each_refresh_token_once() {
    let (accounts, liar) = Accounts::start(PASSWORD);
    let (_folder, home) = home(&liar.url);
    let desks: Vec<Desk> = (0..4).map(|_| Desk::open(&home, PASSPHRASE).unwrap()).collect();
    let clients: Vec<_> = desks.into_iter().map(|desk| std::sync::Arc::new(desk.client)).collect();
    for round in 0..6 {
        let asking: Vec<_> = clients
            .iter()
            .flat_map(|client| [client, client])
            .map(|client| {
                let client = std::sync::Arc::clone(client);
                tokio::spawn(async move { client.me().await.map(drop) })
            })
            .collect();
        for asked in asking {
            asked.await.unwrap().unwrap();
        }
        let state = accounts.state();
        assert_eq!((state.logins, state.refreshes, state.reused), (1, round, false));
        drop(state);
        accounts.expire();
    }
    // The same with processes of their own.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(aegis(&home, &["profile"], &[]).status.success()));
        }
    });
    let state = accounts.state();
    assert_eq!((state.logins, state.refreshes, state.reused), (1, 6, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_whose_answer_was_lost_is_not_used_again_and_one_that_was_not_taken_is() {
    let (accounts, liar) = Accounts::start(PASSWORD);
    let (_folder, home) = home(&liar.url);
    let desk = Desk::open(&home, PASSPHRASE).unwrap();
    desk.client.me().await.unwrap();
    accounts.expire();
    accounts.state().refuse = Some(("/auth/refresh", Code::RateLimited));
    assert_eq!(desk.client.me().await.err().unwrap().code(), Some(Code::RateLimited));
    accounts.state().refuse = None;
    desk.client.me().await.unwrap();
    assert_eq!(accounts.state().refreshes, 1);

    accounts.expire();
    accounts.state().lose = Some("/auth/refresh");
    assert!(matches!(desk.client.me().await, Err(ClientError::Unreachable(_))));
    accounts.state().lose = None;
    desk.client.me().await.unwrap();

    // Whoever is busy may have taken it.
    accounts.expire();
    accounts.state().refuse = Some(("/auth/refresh", Code::Busy));
    assert_eq!(desk.client.me().await.err().unwrap().code(), Some(Code::Busy));
    accounts.state().refuse = None;
    desk.client.me().await.unwrap();
    let state = accounts.state();
    assert_eq!((state.logins, state.refreshes, state.reused), (3, 2, false));
}

#[tokio::test]
async fn whoever_waits_for_another_process_lets_the_other_futures_of_the_task_go_on() {
    let (_accounts, liar) = Accounts::start(PASSWORD);
    let (_folder, home) = home(&liar.url);
    let desk = Desk::open(&home, PASSPHRASE).unwrap();
    let session = aegis::files::lock(&home.join("session/session.lock")).unwrap();
    let waiting = desk.client.me();
    tokio::pin!(waiting);
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.is_err());
    let id = contract_of(&desk).escrow_id;
    let escrow = aegis::files::lock(&home.join(format!("escrows/{id}.lock"))).unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(200), desk.hold(id)).await.is_err());
    drop((session, escrow));
    waiting.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_proof_is_given_where_it_is_asked_and_only_then() {
    let (accounts, liar) = Accounts::start(PASSWORD);
    let (_folder, home) = home(&liar.url);
    let desk = with_code(&home, CODE);
    let elsewhere = PayoutAddressRequest { payout_address: address(1) };
    desk.client.set_payout_address(&elsewhere).await.unwrap();
    assert_eq!(accounts.state().proofs, 0, "a login counts as one");
    accounts.state().forget_proof();
    desk.client.set_payout_address(&elsewhere).await.unwrap();
    assert_eq!(accounts.state().proofs, 1);

    // With a second factor the password is not even tried.
    accounts.state().has_totp = true;
    accounts.state().forget_proof();
    desk.client.set_payout_address(&elsewhere).await.unwrap();
    assert_eq!(accounts.state().proofs, 2);
    accounts.state().forget_proof();
    let wrong = with_code(&home, "654321").client.set_payout_address(&elsewhere).await.err().unwrap();
    assert_eq!(wrong.code(), Some(Code::BadFactor));
    let nobody = Desk::open(&home, PASSPHRASE).unwrap().client.set_payout_address(&elsewhere).await;
    assert!(matches!(nobody, Err(ClientError::SecondFactorNeeded(_))));
    // A wrong proof does not cost the session.
    let state = accounts.state();
    assert_eq!((state.logins, state.refreshes, state.proofs), (1, 0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_second_factor_is_asked_the_running_program_waits_for_a_login_in_another_terminal() {
    let (accounts, liar) = Accounts::start(PASSWORD);
    accounts.state().has_totp = true;
    let (_folder, home) = home(&liar.url);
    let login = Login { username: "u".to_owned(), password: Secret::new("p") };
    let access = WalletAccess::Given { url: liar.url.clone(), login };
    let engine = Engine {
        desk: Desk::open(&home, PASSPHRASE).unwrap(),
        wallet: MultisigWallet::start(access, Secret::new("w"), &home.join("nonces")).await.unwrap(),
        daemon: Daemon::new(&liar.url, None).unwrap(),
        policy: Policy::default(),
        clock: Box::new(SystemClock),
        poll: Duration::from_millis(20),
    };
    let told = Mutex::new(Vec::new());
    let tell = |report: &Report| told.lock().unwrap().push(report.clone());
    let ended = tokio::time::timeout(Duration::from_secs(1), engine.run(false, &tell)).await;
    assert!(ended.is_err(), "it goes on");
    let said = told.lock().unwrap().remove(0);
    assert_eq!(said.code.as_deref(), Some("second_factor_needed"));
    assert!(said.text.contains("aegis login") && told.lock().unwrap().is_empty(), "said once");
    assert_eq!(accounts.state().logins, 1, "the server is not asked at every poll");

    let nobody = aegis(&home, &["profile"], &[]);
    assert_eq!(error_code(&nobody), "second_factor_needed");
    assert_eq!(error_code(&aegis(&home, &["login"], &[("AEGIS_CODE", "000000")])), "bad_factor");
    let code = home.join("code");
    aegis::files::write_atomic(&code, b"123 456\n").unwrap();
    let done = aegis(&home, &["login", "--code-file", code.to_str().unwrap()], &[]);
    assert!(done.status.success(), "{done:?}");
    engine.desk.client.me().await.unwrap();
    assert!(aegis(&home, &["profile"], &[]).status.success());
    assert_eq!(accounts.state().refreshes, 0);

    let waits = || told.lock().unwrap().iter().filter(|report| report.code.is_some()).count();
    let until = async |is_so: &dyn Fn() -> bool| {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let log_in_and_out = async {
        for time in 1..=2 {
            assert!(aegis(&home, &["logout"], &[]).status.success());
            assert!(!home.join("session/session.sealed").exists());
            until(&|| waits() == time).await;
            assert!(aegis(&home, &["login", "--code-file", code.to_str().unwrap()], &[]).status.success());
            let listed = accounts.state().listed;
            // Two rounds: the first is over then.
            until(&|| accounts.state().listed > listed + 1).await;
        }
    };
    tokio::select! {
        () = engine.run(false, &tell) => unreachable!("it goes on"),
        () = log_in_and_out => {}
    }
    assert_eq!(waits(), 2, "said again each time, and once: {told:?}");
    assert!(accounts.state().stock_asked <= 1, "prekeys are not looked at in every round");
}

#[test]
fn a_code_is_used_once_and_only_where_somebody_asked_for_something() {
    let (accounts, liar) = Accounts::start(PASSWORD);
    accounts.state().has_totp = true;
    let (_folder, home) = home(&liar.url);
    let disable = || aegis(&home, &["totp", "disable"], &[("AEGIS_CODE", CODE)]);
    assert_eq!(error_code(&disable()), "second_factor_needed", "the login has used it");
    assert!(accounts.state().has_totp);
    let done = disable();
    assert!(done.status.success() && !accounts.state().has_totp, "{done:?}");
    assert_eq!(accounts.state().proofs, 0);
    assert!(aegis(&home, &["sessions", "end-all"], &[]).status.success());
    assert!(!home.join("session/session.sealed").exists());
    let run = aegis(&home, &["run", "--daemon", "127.0.0.1:1", "--code-file", "x"], &[]);
    assert_eq!(error_code(&run), "ask");
}

fn passwords(home: &Path) -> Vec<String> {
    let desk = Desk::open(home, PASSPHRASE).unwrap();
    desk.keys(|keys| keys.profile().passwords().iter().map(|secret| secret.expose().to_owned()).collect())
}

#[test]
fn of_the_old_and_the_new_password_the_one_that_holds_is_kept_whatever_becomes_of_the_answer() {
    let (accounts, liar) = Accounts::start(PASSWORD);
    let (_folder, home) = home(&liar.url);
    let change = |new: &str| aegis(&home, &["password", "change"], &[("AEGIS_NEW_PASSWORD", new)]);
    let done = change("the second password");
    assert!(done.status.success(), "{done:?}");
    assert_eq!(
        (passwords(&home), accounts.state().password.as_str()),
        (vec!["the second password".to_owned()], "the second password")
    );

    // Refused: nothing changed.
    accounts.state().refuse = Some(("/me/password", Code::WeakPassword));
    assert_eq!(error_code(&change("a password password")), "weak_password");
    assert_eq!(error_code(&change("short")), "ask");
    accounts.state().refuse = None;
    assert_eq!(passwords(&home), ["the second password"]);

    // Done, and the answer lost.
    accounts.state().lose = Some("/me/password");
    assert!(change("the third password").status.success());
    accounts.state().lose = None;
    assert_eq!(passwords(&home), ["the third password"]);

    // Still under way, or cut off: that the old one is taken meanwhile proves nothing.
    accounts.state().stall = Some("/me/password");
    assert_eq!(error_code(&change("the fourth password")), "unreachable");
    accounts.state().stall = None;
    let both = ["the fourth password", "the third password"];
    assert_eq!(passwords(&home), both);
    assert!(aegis(&home, &["login"], &[]).status.success());
    assert_eq!(passwords(&home), both);
    accounts.state().password = both[0].to_owned();
    assert!(aegis(&home, &["login"], &[]).status.success());
    assert_eq!(passwords(&home), both[..1]);

    // It is settled before another one is set.
    for took_effect in [false, true] {
        accounts.state().stall = Some("/me/password");
        assert!(!change("the fifth password").status.success());
        accounts.state().stall = None;
        if took_effect {
            accounts.state().password = "the fifth password".to_owned();
        }
        assert!(change("the sixth password").status.success());
        assert_eq!(passwords(&home), ["the sixth password"]);
        assert_eq!(accounts.state().password, "the sixth password");
    }

    // Changed elsewhere: the signing key's word sets another.
    accounts.state().password = "unknown".to_owned();
    accounts.expire();
    let reset = aegis(&home, &["password", "reset", "--random"], &[]);
    assert!(reset.status.success(), "{reset:?}");
    assert_eq!(passwords(&home), [accounts.state().password.clone()]);
    let ResetRequest { server, username, password, at, signature } = accounts.state().reset.take().unwrap();
    assert_eq!(server, liar.url, "its word is for no other server");
    let words = PasswordReset { server, username, password_hash: Hash32::sha256(password.as_bytes()), at };
    let key = Desk::open(&home, PASSPHRASE).unwrap().keys(|keys| keys.identity().public().signing_key);
    assert!(words.is_signed_by(&key, &signature));
    assert!(aegis(&home, &["profile"], &[]).status.success());
}

#[test]
fn an_account_is_made_with_keys_that_are_kept_before_and_the_same_each_time() {
    let (accounts, liar) = Accounts::start("another's password");
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let payout = address(1).to_string();
    let init = || {
        let arguments = ["init", "--server", &liar.url, "--username", "buyer", "--network", "regtest"];
        let arguments: Vec<&str> = arguments.into_iter().chain(["--payout-address", &payout]).collect();
        aegis(&home, &arguments, &[("AEGIS_INVITATION", "token"), ("AEGIS_PASSWORD", PASSWORD)])
    };
    accounts.state().lose = Some("/auth/register");
    assert!(!init().status.success());
    accounts.state().lose = None;
    let made = init();
    assert!(made.status.success(), "{made:?}");
    let state = accounts.state();
    let [first, second] = state.registered.as_slice() else { unreachable!("two calls") };
    first.keys.verify().unwrap();
    assert_eq!(first.keys, second.keys);
    assert_eq!((first.keys.one_time_prekeys.len(), first.keys.ml_kem_prekeys.len()), (20, 4));
    assert_eq!(second.invitation.as_deref(), Some("token"));
    drop(state);
    let desk = Desk::open(&home, PASSPHRASE).unwrap();
    let mut known = None;
    desk.change_keys(|keys| keys.bundle().map(|bundle| known = Some(bundle))).unwrap();
    assert_eq!(known.as_ref(), Some(&accounts.state().registered[0].keys));
}
