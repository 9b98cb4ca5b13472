//! The key store as the program uses it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use aegis::files::FileError;
use aegis::keys::{KeyError, KeyStore, PinCheck, PinSource, Profile, PublicKeys, Secret};
use aegis_common::address::Network;
use aegis_common::hash::Key32;
use aegis_common::testing::address;

const PASSPHRASE: &str = "correct horse battery";

fn profile() -> Profile {
    Profile {
        username: "alice".to_owned(),
        server_url: "https://aegis.example".to_owned(),
        account_password: Secret::new("s3cret-account-password"),
        new_password: None,
        network: Network::Regtest,
        payout_address: address(1),
        registered: true,
    }
}

#[test]
fn a_store_opens_again_with_its_passphrase_only_and_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    let mut made = KeyStore::create(&path, PASSPHRASE, profile()).unwrap();
    made.profile_mut().username = "alice2".to_owned();
    made.save().unwrap();
    let opened = KeyStore::open(&path, PASSPHRASE).unwrap();
    assert_eq!(opened.identity().public(), made.identity().public());
    assert_eq!(opened.profile(), made.profile());
    assert_eq!(opened.wallet_password(), made.wallet_password());
    assert_eq!(opened.wallet_password().expose().len(), 64);
    assert!(matches!(KeyStore::open(&path, "correct horse batterz"), Err(KeyError::WrongPassphrase)));
    assert!(matches!(KeyStore::create(&path, PASSPHRASE, profile()), Err(KeyError::Exists(_))));
    assert!(matches!(
        KeyStore::create(&dir.path().join("other"), "short", profile()),
        Err(KeyError::WeakPassphrase)
    ));
}

#[test]
fn a_new_passphrase_replaces_the_old_one_and_keeps_keys_and_records() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    let mut store = KeyStore::create(&path, PASSPHRASE, profile()).unwrap();
    store.vault(&dir.path().join("v")).unwrap().seal("escrow", b"state").unwrap();
    store.change_passphrase("another passphrase").unwrap();
    assert!(matches!(KeyStore::open(&path, PASSPHRASE), Err(KeyError::WrongPassphrase)));
    let opened = KeyStore::open(&path, "another passphrase").unwrap();
    assert_eq!(opened.identity().public(), store.identity().public());
    let record = opened.vault(&dir.path().join("v")).unwrap().open("escrow").unwrap().unwrap();
    assert_eq!(&record[..], b"state");
}

#[test]
fn a_store_that_others_may_read_or_that_was_changed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    KeyStore::create(&path, PASSPHRASE, profile()).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(
        KeyStore::open(&path, PASSPHRASE),
        Err(KeyError::File(FileError::Loose { mode: 0o644, .. }))
    ));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from));
        fs::write(&path, text.replace(from, to)).unwrap();
        KeyStore::open(&path, PASSPHRASE).unwrap_err()
    };
    // Cheaper parameters, a huge memory demand, another version, and rubbish.
    assert!(matches!(changed("\"iterations\": 3", "\"iterations\": 2"), KeyError::WrongPassphrase));
    assert!(matches!(changed("\"iterations\": 3", "\"iterations\": 1"), KeyError::Malformed(_)));
    assert!(matches!(changed("65536", "4294967295"), KeyError::Malformed(_)));
    assert!(matches!(changed("\"version\": 1", "\"version\": 2"), KeyError::UnknownVersion(2)));
    assert!(matches!(changed("\"salt\"", "\"salz\""), KeyError::Malformed(_)));
}

#[test]
fn nothing_secret_is_in_the_file_or_in_debug_output() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    let store = KeyStore::create(&path, PASSPHRASE, profile()).unwrap();
    let file = fs::read_to_string(&path).unwrap();
    let debug = format!("{store:?} {:?}", store.profile());
    let signing = hex::encode(store.identity().signing_key().to_bytes());
    for secret in [PASSPHRASE, "s3cret-account-password", store.wallet_password().expose(), &signing] {
        assert!(!file.contains(secret) && !debug.contains(secret));
    }
    assert!(!file.contains("alice"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn either_changed_key_of_a_pinned_user_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    let mut store = KeyStore::create(&path, PASSPHRASE, profile()).unwrap();
    let keys = PublicKeys { identity_key: Key32([1; 32]), signing_key: Key32([2; 32]) };
    assert_eq!(store.check_pin("bob", &keys), PinCheck::Unknown);
    store.set_pin("bob", keys, PinSource::FirstUse).unwrap();
    let store = KeyStore::open(&path, PASSPHRASE).unwrap();
    assert_eq!(store.check_pin("bob", &keys), PinCheck::Same(PinSource::FirstUse));
    for other in [
        PublicKeys { identity_key: Key32([9; 32]), ..keys },
        PublicKeys { signing_key: Key32([9; 32]), ..keys },
    ] {
        assert!(matches!(store.check_pin("bob", &other), PinCheck::Changed(pin) if pin.keys == keys));
    }
}

#[test]
fn a_store_from_before_there_were_prekeys_opens_and_makes_them_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    aegis::files::write_atomic(&path, include_bytes!("support/store_without_prekeys.json")).unwrap();
    let mut old = KeyStore::open(&path, PASSPHRASE).unwrap();
    assert_eq!(old.profile().passwords(), profile().passwords());
    let bundle = old.bundle().unwrap();
    bundle.verify().unwrap();
    assert_eq!(KeyStore::open(&path, PASSPHRASE).unwrap().bundle().unwrap(), bundle);
}

#[test]
fn new_prekeys_are_kept_before_they_are_given_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    let mut store = KeyStore::create(&path, PASSPHRASE, profile()).unwrap();
    let first = store.bundle().unwrap();
    let more = store.make_prekeys((3, 1)).unwrap();
    assert!(more.signed_prekey.is_none());
    let all = KeyStore::open(&path, PASSPHRASE).unwrap().bundle().unwrap();
    all.verify().unwrap();
    assert_eq!(all.one_time_prekeys, [first.one_time_prekeys, more.one_time_prekeys].concat());
    assert_eq!(all.ml_kem_prekeys, [first.ml_kem_prekeys, more.ml_kem_prekeys].concat());
}
