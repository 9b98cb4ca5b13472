//! The program as a person runs it, where no server is needed.
#![expect(clippy::unwrap_used, reason = "a failure in a test is to be loud")]

#[path = "support/liar.rs"]
mod liar;

use std::path::Path;
use std::process::{Command, Output};

use aegis::book::Book;
use aegis::engine::desk::Desk;
use aegis::wallet::{NonceGuard, WalletName};
use aegis_common::role::Role;
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
