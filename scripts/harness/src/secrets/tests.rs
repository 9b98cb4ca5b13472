use curve25519_dalek::constants::ED25519_BASEPOINT_TABLE;

use super::*;

fn share(owner: &str, fill: u8) -> Share {
    let secret = Scalar::from_bytes_mod_order([fill; 32]).to_bytes();
    Share { owner: owner.to_owned(), secret, words: Some("abbey Bacon cease".to_owned()) }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number =
            group.iter().fold(0u32, |n, byte| (n << 8) | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..=group.len() {
            text.push(char::from(DIGITS[(number >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    text
}

fn base58(bytes: &[u8]) -> String {
    let mut digits: Vec<u8> = Vec::new();
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            let value = u32::from(*digit) * 256 + carry;
            *digit = (value % 58) as u8;
            carry = value / 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    let alphabet = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    digits.iter().rev().map(|digit| char::from(alphabet[*digit as usize])).collect()
}

fn found(search: &Search, piece: &[u8]) -> bool {
    search.in_piece("x", piece).iter().any(|finding| finding.share == "alice")
}

#[test]
fn a_planted_share_is_found_in_every_encoding() {
    let alice = share("alice", 0x5a);
    let search = Search::new(&[share("bob", 0x33), alice.clone()]);
    let secret = alice.secret;
    let mut reversed = secret;
    reversed.reverse();
    let negative = (-Scalar::from_bytes_mod_order(secret)).to_bytes();
    let unreduced = add(&add(&secret, &ORDER).unwrap(), &ORDER).unwrap();
    for bytes in [secret, reversed, negative, unreduced] {
        let mut planted = b"before".to_vec();
        planted.extend(bytes);
        planted.extend(b"after");
        assert!(found(&search, &planted), "raw");
        for text in [hex::encode(bytes), hex::encode_upper(bytes)] {
            assert!(found(&search, format!("{{\"k\":\"{text}\"}}").as_bytes()), "hex");
            assert!(found(&search, format!("{{\"k\":\"abc{text}\"}}").as_bytes()), "hex, shifted by a digit");
            assert!(found(&search, base64(text.as_bytes()).as_bytes()), "hex in base64");
        }
        for before in 0..3 {
            let mut framed = vec![7; before];
            framed.extend(bytes);
            framed.push(9);
            assert!(found(&search, format!("a={} ", base64(&framed)).as_bytes()), "base64, {before} before");
            let url = base64(&framed).replace('+', "-").replace('/', "_");
            assert!(found(&search, url.as_bytes()), "base64url");
        }
        assert!(found(&search, format!("\"{}\"", base58(&bytes)).as_bytes()), "base58");
        let blocks: String = bytes.chunks(8).map(|block| format!("{:1>11}", base58(block))).collect();
        assert!(found(&search, format!("\"{blocks}\"").as_bytes()), "Monero's base58");
        assert!(found(&search, decimal(&bytes).as_bytes()), "decimal");
    }
    assert!(found(&search, b"[\"abbey\", \"bacon\",\n \"cease\"]"), "words");
}

#[test]
fn other_secrets_and_public_shares_are_not_taken_for_one() {
    let alice = share("alice", 0x5a);
    let search = Search::new(std::slice::from_ref(&alice));
    let mut data = alice.public().to_vec();
    data.extend(Scalar::from_bytes_mod_order([0x5b; 32]).to_bytes());
    data.extend(hex::encode(alice.public()).as_bytes());
    assert!(search.in_piece("x", &data).is_empty());
}

/// The patterns are exactly the windows w with w·G = ±P.
#[test]
fn a_window_is_found_exactly_where_it_opens_the_public_share() {
    let alice = share("alice", 0x5a);
    let search = Search::new(std::slice::from_ref(&alice));
    let public = alice.public();
    let mut negative = public;
    negative[31] ^= 0x80;
    let opens = |window: &[u8; 32]| {
        let product = (&Scalar::from_bytes_mod_order(*window) * ED25519_BASEPOINT_TABLE).compress().0;
        product == public || product == negative
    };
    let mut hits = 0;
    let mut number = Some(alice.secret);
    while let Some(window) = number {
        for tweak in 0..3u8 {
            let mut window = window;
            window[0] = window[0].wrapping_add(tweak);
            let mut reversed = window;
            reversed.reverse();
            let listed = search.windows.contains_key(&window);
            assert_eq!(listed, opens(&window) || opens(&reversed));
            hits += u32::from(listed);
        }
        number = add(&window, &ORDER);
    }
    // 2^256 / l is just under sixteen.
    assert!((15..=16).contains(&hits), "{hits}");
}

#[test]
fn a_multisig_seed_gives_the_share_and_the_two_keys_it_is_made_of() {
    let mut seed = Vec::new();
    seed.extend(2u32.to_le_bytes());
    seed.extend(3u32.to_le_bytes());
    for key in 0..9 {
        seed.extend([key; 32]);
    }
    let shares = from_multisig_seed(&hex::encode(&seed), "alice").unwrap();
    let secrets: Vec<_> = shares.iter().map(|share| share.secret[0]).collect();
    assert_eq!(secrets, [0, 4, 5]);
    seed.pop();
    assert!(from_multisig_seed(&hex::encode(&seed), "alice").is_err());
}
