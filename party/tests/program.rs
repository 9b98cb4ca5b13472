//! The program as a person runs it, where no wallet is needed.
#![expect(clippy::unwrap_used, reason = "a failure in a test is to be loud")]

#[path = "support/accounts.rs"]
mod accounts;
#[path = "support/liar.rs"]
mod liar;

use std::path::Path;
use std::process::{Command, Output};

use accounts::Accounts;
use aegis::book::Book;
use aegis::engine::desk::Desk;
use aegis::keys::Archive;
use aegis::wallet::{NonceGuard, WalletName};
use aegis_common::escrow::state::Status;
use aegis_common::ids::EscrowId;
use aegis_common::role::Role;
use aegis_common::testing::{Sim, address};
use aegis_common::wire::list::EscrowItem;
use liar::{PASSPHRASE, contract_of, home};

fn aegis(working: &Path, arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_aegis"));
    program.current_dir(working).args(arguments).env("AEGIS_PASSPHRASE", PASSPHRASE);
    program.output().unwrap()
}

#[test]
fn a_backup_marks_the_signing_data_of_every_wallet_as_used_wherever_the_wallet_is() {
    let (folder, home) = home("http://127.0.0.1:1");
    let desk = Desk::open(&home, PASSPHRASE).unwrap();
    let contract = contract_of(&desk);
    let id = contract.escrow_id;
    let mut book = Book::new(contract.clone(), contract.hash().unwrap(), Role::Buyer);
    book.attempts.entry(2).or_default();
    let vault = desk.keys(|keys| keys.vault(&home.join("escrows"))).unwrap();
    vault.seal(&format!("book-{id}"), &serde_json::to_vec(&book).unwrap()).unwrap();

    let made = aegis(folder.path(), &["--home", "home", "backup", "--to", "copy"]);
    assert!(made.status.success(), "{made:?}");
    let marks = NonceGuard::new(&folder.path().join("copy/nonces")).unwrap();
    assert!(marks.is_used(&WalletName::of(id, 2)));
    assert!(Desk::open(&folder.path().join("copy"), PASSPHRASE).unwrap().stored(id).unwrap().is_some());
    assert!(!aegis(folder.path(), &["--home", "home", "backup", "--to", "copy"]).status.success());
}

#[test]
fn the_passphrase_is_changed_and_the_old_one_opens_nothing() {
    let (folder, home) = home("http://127.0.0.1:1");
    let new = folder.path().join("new");
    aegis::files::write_atomic(&new, b"another long passphrase\n").unwrap();
    let changed = aegis(folder.path(), &["--home", "home", "passphrase", "--new-passphrase-file", "new"]);
    assert!(changed.status.success(), "{changed:?}");
    assert!(Desk::open(&home, PASSPHRASE).is_err());
    Desk::open(&home, "another long passphrase").unwrap();
    assert!(!aegis(folder.path(), &["--home", "home", "id"]).status.success());
}

/// A home whose escrow has a book and a keys file, with `size` bytes more of another record.
fn home_with_book(url: &str, size: usize) -> (tempfile::TempDir, EscrowId) {
    let (folder, home) = home(url);
    let desk = Desk::open(&home, PASSPHRASE).unwrap();
    let contract = contract_of(&desk);
    let id = contract.escrow_id;
    let mut book = Book::new(contract.clone(), contract.hash().unwrap(), Role::Buyer);
    book.attempts.entry(0).or_default();
    let vault = desk.keys(|keys| keys.vault(&home.join("escrows"))).unwrap();
    vault.seal(&format!("book-{id}"), &serde_json::to_vec(&book).unwrap()).unwrap();
    vault.seal("large", &vec![0; size]).unwrap();
    aegis::files::private_dir(&home.join("wallet/wallets")).unwrap();
    for name in ["keys-only-1", "keys-only-1.keys"] {
        aegis::files::write_atomic(&home.join("wallet/wallets").join(name), b"wallet").unwrap();
    }
    (folder, id)
}

#[test]
fn a_home_is_restored_from_the_server_with_its_marks_and_without_caches_or_session() {
    let (accounts, liar) = Accounts::start("a password");
    let (folder, id) = home_with_book(&liar.url, 1_000);
    let own = [("AEGIS_BACKUP_PASSPHRASE", "its own passphrase"), ("AEGIS_PASSWORD", "a password")];
    let aegis = |arguments: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_aegis"));
        program.current_dir(folder.path()).args(arguments).env("AEGIS_PASSPHRASE", PASSPHRASE).envs(own);
        program.output().unwrap()
    };
    let pushed = aegis(&["--home", "home", "backup", "push"]);
    assert!(pushed.status.success(), "{pushed:?}");
    let pull = ["backup", "pull", "--server", &liar.url, "--username", "buyer", "--to", "copy"];
    let mut another = pull.to_vec();
    let wrong = "0".repeat(64);
    another.extend(["--sha256", &wrong]);
    assert!(!aegis(&another).status.success() && !folder.path().join("copy").exists());
    let pulled = aegis(&pull);
    assert!(pulled.status.success(), "{pulled:?}");
    let copy = folder.path().join("copy");
    assert!(Desk::open(&copy, PASSPHRASE).unwrap().stored(id).unwrap().is_some());
    let marks = NonceGuard::new(&copy.join("nonces")).unwrap();
    assert!(marks.is_used(&WalletName::of(id, 0)) && marks.is_used(&"keys-only-1".parse().unwrap()));
    assert!(copy.join("wallet/wallets/keys-only-1.keys").exists());
    assert!(!copy.join("wallet/wallets/keys-only-1").exists(), "no cache");
    assert!(folder.path().join("home/session/session.sealed").exists());
    assert!(!copy.join("session/session.sealed").exists());
    assert!(!aegis(&pull).status.success(), "never over a home");
    assert!(aegis(&["--home", "home", "backup", "--to", "folder"]).status.success());
    assert!(!folder.path().join("folder/session").exists());

    // Another passphrase, and bytes that were changed.
    accounts.state().backups[0][200] ^= 1;
    let damaged = aegis(&["backup", "pull", "--server", &liar.url, "--username", "buyer", "--to", "other"]);
    assert!(String::from_utf8_lossy(&damaged.stderr).contains("damaged"), "{damaged:?}");
    assert!(!folder.path().join("other").exists());
}

#[test]
fn a_backup_without_a_book_is_made_only_where_it_was_asked_for_or_the_escrow_is_over() {
    let (accounts, liar) = Accounts::start("a password");
    let (folder, id) = home_with_book(&liar.url, 2 << 20);
    let push = |more: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_aegis"));
        program.current_dir(folder.path()).args(["--home", "home", "--json", "backup", "push"]).args(more);
        program.env("AEGIS_PASSPHRASE", PASSPHRASE).env("AEGIS_BACKUP_PASSPHRASE", "its own passphrase");
        program.output().unwrap()
    };
    let refused = push(&[]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("escrows/large.sealed"), "{refused:?}");
    assert!(accounts.state().backups.is_empty());
    let pushed: serde_json::Value = serde_json::from_slice(&push(&["--without-books"]).stdout).unwrap();
    assert_eq!(pushed["leftOut"], serde_json::json!(["escrows/large.sealed"]));
    let held = |version: usize| {
        let bytes = accounts.state().backups[version].clone();
        Archive::open(&bytes, "its own passphrase").unwrap().files
    };
    let book = format!("escrows/book-{id}.sealed");
    assert!(held(0).contains_key(&book));

    std::fs::remove_file(folder.path().join("home/escrows/large.sealed")).unwrap();
    let desk = Desk::open(&folder.path().join("home"), PASSPHRASE).unwrap();
    let sim = Sim::new(contract_of(&desk));
    let mut item = EscrowItem::of(&sim.escrow, 1, 1_000, Role::Buyer, sim.now);
    item.status = Status::Cancelled;
    accounts.state().escrows = vec![item];
    accounts.state().forget_proof();
    assert!(push(&[]).status.success());
    assert_eq!(accounts.state().proofs, 1, "given where it is asked");
    assert!(!held(1).contains_key(&book), "the server and the book agree that it is over");
    let vault = desk.keys(|keys| keys.vault(&folder.path().join("home/escrows"))).unwrap();
    let mut funded = desk.stored(id).unwrap().unwrap();
    funded.funded = true;
    vault.seal(&format!("book-{id}"), &serde_json::to_vec(&funded).unwrap()).unwrap();
    assert!(push(&[]).status.success());
    assert!(held(2).contains_key(&book), "the server alone says that it is over");
}

#[test]
fn what_a_backup_lacks_is_told_after_all_else_was_copied() {
    let (folder, id) = home_with_book("http://127.0.0.1:1", 10);
    let home = folder.path().join("home");
    for name in
        ["old-keys", "wallet/wallets/Main.keys", "wallet/wallets/1-scratch.keys", "escrows/a (1).sealed"]
    {
        aegis::files::write_atomic(&home.join(name), b"x").unwrap();
    }
    let desk = Desk::open(&home, PASSPHRASE).unwrap();
    let mut book = desk.stored(id).unwrap().unwrap();
    book.attempts.entry(0).or_default().addresses = Some([address(1); 3]);
    let vault = desk.keys(|keys| keys.vault(&home.join("escrows"))).unwrap();
    vault.seal(&format!("book-{id}"), &serde_json::to_vec(&book).unwrap()).unwrap();
    let made = aegis(folder.path(), &["--home", "home", "backup", "--to", "copy"]);
    assert!(!made.status.success());
    assert!(String::from_utf8_lossy(&made.stderr).contains(&WalletName::of(id, 0).to_string()), "{made:?}");
    let copied = |name: &str| folder.path().join("copy").join(name).exists();
    assert!(copied("keys") && copied("wallet/wallets/keys-only-1.keys"));
    assert!(!copied("old-keys") && !copied("wallet/wallets/Main.keys") && !copied("escrows/a (1).sealed"));
    assert!(!copied("wallet/wallets/1-scratch.keys"));

    // A folder that can't be read is not an empty one.
    let wallets = home.join("wallet/wallets");
    std::fs::remove_dir_all(&wallets).unwrap();
    std::fs::write(&wallets, b"").unwrap();
    assert!(!aegis(folder.path(), &["--home", "home", "backup", "--to", "other"]).status.success());
    assert!(!folder.path().join("other").exists());
}
