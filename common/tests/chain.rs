//! Scanning and proving over crafted transactions: what counts, and what must not.

#![allow(clippy::unwrap_used, reason = "tests")]

use aegis_common::amount::Piconero;
use std::sync::LazyLock;

use aegis_common::chain::{
    BatchScanner, Engine, Found, ParseError, Path, PlainScanner, Scanner, Tx, WatchKey, WatchKeyError,
    parse_block, parse_tx, prove_payment, subaddress, verify_tx, view_key_matches,
};
use aegis_common::hash::Hash32;
use aegis_common::ids::EscrowId;
use aegis_common::testing::chain::{TestWallet, TxBuilder, craft_block};
use aegis_common::testing::parsers;
use proptest::prelude::*;
use uuid::Uuid;

fn escrow(n: u128) -> EscrowId {
    EscrowId(Uuid::from_u128(n))
}

/// The engine on every path that the processor has, in both modes.
static SCANNERS: LazyLock<Vec<BatchScanner>> = LazyLock::new(|| {
    let paths = Path::ALL.into_iter().filter(|path| path.is_available());
    let engines = paths.flat_map(|path| [false, true].map(|constant_time| Engine::new(path, constant_time)));
    engines.map(|engine| BatchScanner::new(engine, 2).unwrap()).collect()
});

/// What the plain scanner finds, after all others found the same.
fn scan_for(keys: &[WatchKey], txs: &[Tx]) -> Vec<Found> {
    let sorted = |mut found: Vec<Found>| {
        found.sort_by_key(|found| (found.tx, found.escrow, found.index));
        found
    };
    let found = sorted(PlainScanner.scan(keys, txs));
    for scanner in SCANNERS.iter() {
        assert_eq!(sorted(scanner.scan(keys, txs)), found, "{:?}", scanner.engine());
    }
    found
}

fn scan(wallet: &TestWallet, tx: &Tx) -> Vec<Found> {
    scan_for(&[wallet.watch(escrow(1)).unwrap()], std::slice::from_ref(tx))
}

/// Something a sender may publish: right, foreign, wrong, broken.
fn transaction() -> impl Strategy<Value = TxBuilder> {
    let payments = prop::collection::vec((0u64..12, 0u32..3, 0u64..3), 0..6);
    let foreign = prop::collection::vec(any::<[u8; 32]>(), 0..3);
    (any::<u64>(), payments, foreign, any::<[bool; 5]>(), 0u64..2).prop_map(
        |(seed, payments, foreign, flags, lie)| {
            let mut builder = TxBuilder::new(seed);
            [builder.additional, builder.view_tags, builder.burn, _, _] = flags;
            builder.coinbase = flags[3].then_some(seed >> 20);
            builder.unlock_time = u64::from(flags[4]);
            builder.lie = lie;
            builder.extra_prefix = foreign.iter().flat_map(|key| [&[1], &key[..]].concat()).collect();
            for (wallet, minor, amount) in payments {
                builder = builder.pay(TestWallet::new(wallet).subaddress(minor).unwrap(), Piconero(amount));
            }
            builder
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_payment_is_found_once_with_its_amount_and_proven_by_its_keys(
        seed: u64, minors in prop::collection::vec(0u32..3, 1..5), amount in 1u64.., tags: bool, unlock in 0u64..2,
    ) {
        let wallet = TestWallet::new(seed);
        let mut builder = TxBuilder::new(seed);
        builder.view_tags = tags;
        builder.unlock_time = unlock;
        builder.additional = minors.len() > 1;
        for minor in &minors {
            builder = builder.pay(wallet.subaddress(*minor).unwrap(), Piconero(amount));
        }
        let crafted = builder.build().unwrap();
        let found = scan(&wallet, &crafted.tx);
        prop_assert_eq!(found.len(), minors.len());
        for (found, (index, minor)) in found.iter().zip(minors.iter().enumerate()) {
            prop_assert_eq!((found.index as usize, found.subaddress), (index, *minor));
            prop_assert_eq!((found.amount, found.locked), (Piconero(amount), unlock != 0));
            let address = wallet.subaddress(*minor).unwrap();
            let proven = prove_payment(&crafted.tx, &crafted.tx_keys, &address);
            prop_assert!(proven.contains(&(found.index, found.amount)));
        }
        prop_assert!(scan(&TestWallet::new(seed ^ 1), &crafted.tx).is_empty());
        let stranger = TestWallet::new(seed ^ 1).primary();
        prop_assert!(prove_payment(&crafted.tx, &crafted.tx_keys, &stranger).is_empty());
        prop_assert!(prove_payment(&crafted.tx, &[[7; 32]; 5], &wallet.primary()).is_empty());
    }

    #[test]
    fn every_scanner_finds_the_same_for_many_escrows_in_many_transactions(
        transactions in prop::collection::vec(transaction(), 1..12), watched in 1u64..10,
    ) {
        let txs: Vec<Tx> = transactions.iter().map(|builder| builder.build().unwrap().tx).collect();
        let keys: Vec<WatchKey> =
            (0..watched).map(|n| TestWallet::new(n).watch(escrow(n.into())).unwrap()).collect();
        scan_for(&keys, &txs);
        prop_assert!(scan_for(&[], &txs).is_empty() && scan_for(&keys, &[]).is_empty());
    }

    #[test]
    fn arbitrary_and_damaged_bytes_never_panic_and_never_keep_the_hash(
        bytes in prop::collection::vec(any::<u8>(), 0..300), at: prop::sample::Index, flip in 1u8..,
    ) {
        let crafted = TxBuilder::new(1).pay(TestWallet::new(1).primary(), Piconero(5)).build().unwrap();
        let damage = |mut blob: Vec<u8>| {
            let at = at.index(blob.len());
            blob[at] ^= flip;
            blob
        };
        let damaged = damage(crafted.blob.clone());
        prop_assert!(verify_tx(&damaged, None, crafted.tx.hash).is_err());
        let cut = &crafted.blob[..at.index(crafted.blob.len())];
        prop_assert!(verify_tx(cut, None, crafted.tx.hash).is_err());
        let (block, _) = craft_block(7, Hash32([3; 32]), 0, &[crafted.tx.hash]).unwrap();
        // What the fuzzer looks for in a longer time.
        for bytes in [&bytes, &damaged, &damage(crafted.tx.extra.clone()), &damage(block.clone()), &block] {
            parsers::extra(bytes);
            parsers::transaction(bytes);
            parsers::block(bytes);
        }
    }
}

#[test]
fn a_pruned_blob_with_the_hash_of_its_rest_proves_the_transaction() {
    let crafted = TxBuilder::new(1).pay(TestWallet::new(1).primary(), Piconero(5)).build().unwrap();
    let pruned = &crafted.blob[..crafted.pruned_length];
    let tx = verify_tx(pruned, Some(crafted.prunable_hash), crafted.tx.hash).unwrap();
    assert_eq!(tx, crafted.tx);
    assert_eq!(parse_tx(pruned, tx.hash).unwrap(), tx);
    for wrong in [None, Some(Hash32([1; 32]))] {
        assert_eq!(verify_tx(pruned, wrong, tx.hash), Err(ParseError::HashMismatch));
    }
}

#[test]
fn an_amount_the_commitment_does_not_hold_is_not_found_and_not_proven() {
    let wallet = TestWallet::new(1);
    let mut builder = TxBuilder::new(1).pay(wallet.primary(), Piconero(5));
    builder.lie = 1;
    let crafted = builder.build().unwrap();
    assert!(scan(&wallet, &crafted.tx).is_empty());
    assert!(prove_payment(&crafted.tx, &crafted.tx_keys, &wallet.primary()).is_empty());
}

#[test]
fn a_copy_of_an_output_key_within_the_transaction_counts_once() {
    let wallet = TestWallet::new(1);
    let mut builder = TxBuilder::new(1);
    builder.burn = true;
    let builder = builder.pay(wallet.primary(), Piconero(5)).pay(wallet.primary(), Piconero(9));
    let crafted = builder.build().unwrap();
    assert_eq!(crafted.tx.outputs[0].key, crafted.tx.outputs[1].key);
    let found = scan(&wallet, &crafted.tx);
    assert_eq!(found.len(), 1);
    let proven = prove_payment(&crafted.tx, &crafted.tx_keys, &wallet.primary());
    assert_eq!(proven.len(), 1);
}

#[test]
fn one_of_several_transaction_keys_suffices_and_unusable_ones_are_skipped() {
    let wallet = TestWallet::new(1);
    let mut builder = TxBuilder::new(1).pay(wallet.primary(), Piconero(5));
    // A foreign key, a non-canonical one, the identity; and a broken tail.
    let foreign = TestWallet::new(2).primary().view.0;
    let mut wrapped = [0xff; 32];
    (wrapped[0], wrapped[31]) = (0xee, 0x7f);
    let mut identity = [0; 32];
    identity[0] = 1;
    builder.extra_prefix =
        [foreign, wrapped, identity].iter().flat_map(|key| [&[1], &key[..]].concat()).collect();
    builder.extra_suffix = vec![0x55, 1, 2, 3];
    let found = scan(&wallet, &builder.build().unwrap().tx);
    assert_eq!(found.iter().map(|found| found.amount.0).collect::<Vec<_>>(), vec![5]);
}

#[test]
fn an_output_key_or_spend_key_with_torsion_is_not_ours() {
    let wallet = TestWallet::new(1);
    let crafted = TxBuilder::new(1).pay(wallet.primary(), Piconero(5)).build().unwrap();
    for torsion in &curve25519_dalek::constants::EIGHT_TORSION[1..] {
        let mut tx = crafted.tx.clone();
        let point = curve25519_dalek::edwards::CompressedEdwardsY(tx.outputs[0].key.0).decompress().unwrap();
        tx.outputs[0].key.0 = (point + torsion).compress().0;
        assert!(scan(&wallet, &tx).is_empty());
        let mut address = wallet.primary();
        let spend = curve25519_dalek::edwards::CompressedEdwardsY(address.spend.0).decompress().unwrap();
        address.spend.0 = (spend + torsion).compress().0;
        let refused = WatchKey::new(escrow(1), wallet.view.to_bytes(), &address);
        assert_eq!(refused.map(|_| ()), Err(WatchKeyError::SpendKey));
    }
}

#[test]
fn a_coinbase_is_found_and_reported_as_locked() {
    let wallet = TestWallet::new(1);
    let mut builder = TxBuilder::new(1).pay(wallet.primary(), Piconero(5));
    builder.coinbase = Some(12);
    let found = scan(&wallet, &builder.build().unwrap().tx);
    assert!(matches!(found.as_slice(), [Found { locked: true, coinbase: true, amount: Piconero(5), .. }]));
}

#[test]
fn output_indices_past_127_take_a_second_byte() {
    let wallet = TestWallet::new(1);
    let mut builder = TxBuilder::new(1);
    for _ in 0..140 {
        builder = builder.pay(wallet.primary(), Piconero(3));
    }
    assert_eq!(scan(&wallet, &builder.build().unwrap().tx).len(), 140);
}

#[test]
fn a_payment_is_found_among_thousands_of_escrows_wherever_its_key_stands() {
    // More than one part of the keys for each thread.
    let base = TestWallet::new(0);
    let mut keys: Vec<WatchKey> = (0..3_000)
        .map(|n| {
            let wallet = TestWallet::new(n);
            WatchKey::restore(escrow(n.into()), wallet.view.as_bytes(), [base.primary().spend; 3]).unwrap()
        })
        .collect();
    let payees = [0u64, 1, 127, 128, 511, 512, 1_023, 2_999];
    let mut txs = Vec::new();
    for payee in payees {
        let wallet = TestWallet::new(payee);
        keys[payee as usize] = wallet.watch(escrow(payee.into())).unwrap();
        txs.push(TxBuilder::new(payee).pay(wallet.primary(), Piconero(payee + 1)).build().unwrap().tx);
    }
    for scanner in SCANNERS.iter() {
        let mut found: Vec<_> =
            scanner.scan(&keys, &txs).into_iter().map(|found| (found.amount.0 - 1, found.escrow)).collect();
        found.sort();
        assert_eq!(found, payees.map(|payee| (payee, escrow(payee.into()))), "{:?}", scanner.engine());
    }
}

#[test]
fn a_view_key_belongs_to_one_address_only() {
    let (wallet, other) = (TestWallet::new(1), TestWallet::new(2));
    assert!(view_key_matches(wallet.view.as_bytes(), &wallet.primary()));
    assert!(!view_key_matches(&[0xff; 32], &wallet.primary()));
    let refused = WatchKey::new(escrow(1), other.view.to_bytes(), &wallet.primary()).map(|_| ());
    assert_eq!(refused, Err(WatchKeyError::Mismatch));
    let sub = wallet.subaddress(1).unwrap();
    let refused = WatchKey::new(escrow(1), wallet.view.to_bytes(), &sub).map(|_| ());
    assert_eq!(refused, Err(WatchKeyError::NotPrimary));
    let network = aegis_common::address::Network::Regtest;
    assert_eq!(
        subaddress(&wallet.primary(), other.view.as_bytes(), network, 1),
        Err(WatchKeyError::Mismatch)
    );
    let shown = format!("{:?}", wallet.watch(escrow(1)).unwrap());
    assert!(!shown.contains(&hex::encode(wallet.view.as_bytes())));
}

#[test]
fn a_block_keeps_its_transactions_and_any_change_changes_its_hash() {
    let txs: Vec<Hash32> = (0..9).map(|n| Hash32([n; 32])).collect();
    let (blob, block) = craft_block(7, Hash32([3; 32]), 0, &txs).unwrap();
    assert_eq!((block.height, block.prev, &block.tx_hashes), (7, Hash32([3; 32]), &txs));
    for at in 0..blob.len() {
        let mut damaged = blob.clone();
        damaged[at] ^= 1;
        assert!(parse_block(&damaged).ok().is_none_or(|other| other.hash != block.hash), "byte {at}");
    }
}

#[test]
fn the_genesis_block_has_the_hash_everybody_knows() {
    let blob = concat!(
        "010000000000000000000000000000000000000000000000000000000000000000000010270000013c01ff0001ffffffffffff0302",
        "9b2e4c0281c0b02e7c53291a94d1d0cbff8883f8024f5142ee494ffbbd08807121017767aafcde9be00dcfd098715ebcf7f410dae",
        "bc582fda69d24a28e9d0bc890d100",
    );
    let blob = hex::decode(blob).unwrap();
    let block = parse_block(&blob).unwrap();
    assert_eq!(block.hash.to_string(), "418015bb9ae982a1975da7d79277c2705727a56894ba0fb246adaabb1f4632e3");
    let miner = block.miner_tx.hash;
    assert_eq!(miner.to_string(), "c88ce9783b4f11190d7b9c17a69c1c52200f9faaee8e98dd07e6811175177139");
    // Versions, time, previous hash and nonce take 39 bytes; the empty list of transactions one.
    let coinbase = &blob[39..blob.len() - 1];
    assert_eq!(verify_tx(coinbase, None, miner).unwrap().version, 1);
}

#[test]
fn retired_unknown_and_mixed_kinds_are_refused_with_their_reason() {
    let builder = TxBuilder::new(1).pay(TestWallet::new(1).primary(), Piconero(5));
    let crafted = builder.build().unwrap();
    let kind_at = crafted.blob.len() - b"proofs and signatures".len() - 32 - 8 - 5 + 1;
    let at = (kind_at - 2..=kind_at).find(|at| crafted.blob[*at] == 6).unwrap();
    let parse_with = |kind: u8| {
        let mut blob = crafted.blob.clone();
        blob[at] = kind;
        parse_tx(&blob, crafted.tx.hash).map(|_| ())
    };
    assert_eq!(parse_with(0), Err(ParseError::MixedAmounts));
    assert_eq!(parse_with(3), Err(ParseError::RetiredRct(3)));
    assert_eq!((parse_with(4), parse_with(5)), (Ok(()), Ok(())));
    assert_eq!(parse_with(7), Err(ParseError::UnknownRct(7)));
    let mut blob = crafted.blob.clone();
    blob[0] = 3;
    assert_eq!(parse_tx(&blob, crafted.tx.hash), Err(ParseError::Version(3)));
    assert_eq!(parse_tx(&vec![2; 1_000_001], crafted.tx.hash), Err(ParseError::TooLong));
}
