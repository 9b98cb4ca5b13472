//! Random secrets that are given away once and kept as hashes: refresh tokens, API keys, invitations, backup codes.
//!
//! 32 random bytes need no slow hash: SHA-256 of them can't be searched. The same holds for the 140 bits of a backup code.

use aegis_common::hash::Hash32;
use uuid::Uuid;
use zeroize::Zeroizing;

/// What the letters of backup codes are: Crockford's base 32, without letters that look like digits.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Letters of a backup code: 140 bits.
const CODE: usize = 28;
/// Letters between two hyphens.
const GROUP: usize = 4;

/// A secret that names what it belongs to, so that a wrong one is noticed as such.
#[derive(Clone, PartialEq, Eq)]
pub struct Opaque {
    /// What it belongs to.
    pub id: Uuid,
    /// Shared by all tokens of one session: who has it had a token of the session once.
    family: Zeroizing<[u8; 16]>,
    secret: Zeroizing<[u8; 32]>,
}

impl Opaque {
    /// A new one.
    pub fn new(id: Uuid) -> Result<Self, getrandom::Error> {
        let mut family = Zeroizing::new([0; 16]);
        getrandom::fill(&mut *family)?;
        Self { id, family, secret: Zeroizing::default() }.next()
    }

    /// The next of the same family.
    pub fn next(&self) -> Result<Self, getrandom::Error> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *secret)?;
        Ok(Self { id: self.id, family: self.family.clone(), secret })
    }

    /// As it is given away: 128 hexadecimal digits behind a prefix that tells what it is.
    pub fn text(&self, prefix: &str) -> Zeroizing<String> {
        let family = Zeroizing::new(hex::encode(self.family.as_slice()));
        let secret = Zeroizing::new(hex::encode(self.secret.as_slice()));
        Zeroizing::new(format!("{prefix}{}{}{}", self.id.simple(), *family, *secret))
    }

    /// Reads what was given away.
    pub fn parse(prefix: &str, text: &str) -> Option<Self> {
        let digits = text.strip_prefix(prefix).filter(|digits| digits.len() == 128 && digits.is_ascii())?;
        let (id, rest) = digits.split_at(32);
        let (family, secret) = rest.split_at(32);
        let mut read = Self {
            id: Uuid::try_parse(id).ok()?,
            family: Zeroizing::default(),
            secret: Zeroizing::default(),
        };
        hex::decode_to_slice(family, &mut *read.family).ok()?;
        hex::decode_to_slice(secret, &mut *read.secret).ok()?;
        Some(read)
    }

    /// What is kept of what all tokens of a session share.
    pub fn family_hash(&self) -> Hash32 {
        Hash32::sha256(&*self.family)
    }

    /// As it is kept.
    pub fn hash(&self) -> Hash32 {
        Hash32::sha256(&*self.secret)
    }
}

/// A token without a name: 64 hexadecimal digits, and what is kept of it.
pub fn token() -> Result<(Zeroizing<String>, Hash32), getrandom::Error> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *secret)?;
    let text = Zeroizing::new(hex::encode(secret.as_slice()));
    let hash = Hash32::sha256(text.as_bytes());
    Ok((text, hash))
}

/// A backup code, and what is kept of it.
pub fn backup_code() -> Result<(Zeroizing<String>, Hash32), getrandom::Error> {
    let mut random = Zeroizing::new([0; CODE]);
    getrandom::fill(&mut *random)?;
    let letters: Zeroizing<Vec<u8>> =
        Zeroizing::new(random.iter().map(|byte| LETTERS[usize::from(byte % 32)]).collect());
    let mut text = Zeroizing::new(String::with_capacity(CODE + CODE / GROUP));
    for (at, letter) in letters.iter().enumerate() {
        if at > 0 && at % GROUP == 0 {
            text.push('-');
        }
        text.push(char::from(*letter));
    }
    Ok((text, Hash32::sha256(&letters)))
}

/// What is kept of a backup code that somebody typed, however they wrote it; `None` where it can't be one.
pub fn backup_code_hash(typed: &str) -> Option<Hash32> {
    if typed.len() > 4 * CODE {
        return None;
    }
    let letters =
        typed.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        });
    let letters: Zeroizing<String> = Zeroizing::new(letters.collect());
    let is_code = letters.len() == CODE && letters.bytes().all(|byte| LETTERS.contains(&byte));
    is_code.then(|| Hash32::sha256(letters.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_back_under_its_own_prefix_only() {
        let opaque = Opaque::new(Uuid::now_v7()).unwrap();
        let text = opaque.text("key_");
        assert!(Opaque::parse("key_", &text) == Some(opaque.clone()));
        let (next, other) = (opaque.next().unwrap(), Opaque::new(opaque.id).unwrap());
        assert!(next.hash() != opaque.hash() && next.family_hash() == opaque.family_hash());
        assert!(other.hash() != opaque.hash() && other.family_hash() != opaque.family_hash());
        for bad in ["", "key_", &text[1..], &text[..text.len() - 1], &format!("{}x", *text)] {
            assert!(Opaque::parse("key_", bad).is_none(), "{bad}");
        }
        assert!(Opaque::parse("", &text).is_none());
    }

    #[test]
    fn a_backup_code_counts_however_it_is_typed() {
        let (code, hash) = backup_code().unwrap();
        assert_eq!(code.len(), 34);
        let sloppy =
            format!(" {} ", code.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l"));
        for typed in [code.as_str(), &code.replace('-', ""), &sloppy] {
            assert_eq!(backup_code_hash(typed), Some(hash), "{typed}");
        }
        for bad in ["", "123456", &code[1..], &code.replace('-', "U"), &"0".repeat(1000)] {
            assert_eq!(backup_code_hash(bad), None, "{bad}");
        }
    }
}
