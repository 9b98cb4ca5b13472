//! The private halves of prekeys. What others begin messages with must still be there when the message comes.

use aegis_common::identity::{KeyKind, Prekey};
use aegis_common::wire::account::PrekeysRequest;
use ed25519_dalek::SigningKey;
use ml_kem::kem::KeyExport;
use ml_kem::{DecapsulationKey1024, Seed};
use serde::{Deserialize, Serialize};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::secret::Secret;
use super::store::KeyError;

/// Prekeys that an account has when all is well: X25519, and ML-KEM-1024.
pub const FULL: (usize, usize) = (20, 4);

/// Private halves of a kind that are kept; whoever asks for keys without end must not fill the key store.
const KEPT: usize = 400;

/// A private half: 32 bytes of X25519, or the 64 bytes that an ML-KEM-1024 key is made from, as hexadecimal digits.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    id: u32,
    secret: Secret,
}

/// All of them, oldest first.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Prekeys {
    signed: Vec<Own>,
    one_time: Vec<Own>,
    ml_kem: Vec<Own>,
}

impl Own {
    /// Under a random number: one that counts up would go back with a restored key store.
    fn random<const N: usize>() -> Result<Self, KeyError> {
        let mut id = [0; 4];
        let mut secret = Zeroizing::new([0; N]);
        let filled = getrandom::fill(&mut id).and_then(|()| getrandom::fill(&mut secret[..]));
        filled.map_err(|_| KeyError::NoRandomness)?;
        Ok(Self { id: u32::from_be_bytes(id), secret: Secret::new(hex::encode(&secret[..])) })
    }

    fn bytes<const N: usize>(&self) -> Result<Zeroizing<[u8; N]>, KeyError> {
        let mut bytes = Zeroizing::new([0; N]);
        hex::decode_to_slice(self.secret.expose(), &mut bytes[..])
            .map_err(|_| KeyError::Malformed("a prekey inside"))?;
        Ok(bytes)
    }

    fn public(&self, kind: KeyKind, signer: &SigningKey) -> Result<Prekey, KeyError> {
        let public = match kind {
            KeyKind::MlKemPrekey => {
                let key = DecapsulationKey1024::from_seed(Seed::from(*self.bytes::<64>()?));
                key.encapsulation_key().to_bytes().to_vec()
            }
            _ => PublicKey::from(&StaticSecret::from(*self.bytes::<32>()?)).to_bytes().to_vec(),
        };
        Ok(Prekey::sign(kind, self.id, &public, signer))
    }
}

impl Prekeys {
    pub(super) fn is_empty(&self) -> bool {
        self.signed.is_empty()
    }

    /// Makes so many of X25519 and of ML-KEM, and a signed one where there is none; keeps them and gives the new ones.
    pub(super) fn make(&mut self, (one_time, ml_kem): (usize, usize)) -> Result<Self, KeyError> {
        let signed = usize::from(self.is_empty());
        let new = Self {
            signed: (0..signed).map(|_| Own::random::<32>()).collect::<Result<_, _>>()?,
            one_time: (0..one_time).map(|_| Own::random::<32>()).collect::<Result<_, _>>()?,
            ml_kem: (0..ml_kem).map(|_| Own::random::<64>()).collect::<Result<_, _>>()?,
        };
        for (all, new) in [
            (&mut self.signed, &new.signed),
            (&mut self.one_time, &new.one_time),
            (&mut self.ml_kem, &new.ml_kem),
        ] {
            all.extend_from_slice(new);
            all.drain(..all.len().saturating_sub(KEPT));
        }
        Ok(new)
    }

    /// At most so many of X25519 and of ML-KEM.
    pub(super) fn newest(&self, one_time: usize, ml_kem: usize) -> Self {
        let last = |own: &[Own], most: usize| own[own.len().saturating_sub(most)..].to_vec();
        Self {
            signed: self.signed.clone(),
            one_time: last(&self.one_time, one_time),
            ml_kem: last(&self.ml_kem, ml_kem),
        }
    }

    /// The public halves, signed.
    pub(super) fn public(&self, signer: &SigningKey) -> Result<PrekeysRequest, KeyError> {
        let of = |kind, own: &[Own]| own.iter().map(|own| own.public(kind, signer)).collect::<Result<_, _>>();
        Ok(PrekeysRequest {
            replace: false,
            signed_prekey: self
                .signed
                .last()
                .map(|own| own.public(KeyKind::SignedPrekey, signer))
                .transpose()?,
            one_time_prekeys: of(KeyKind::OneTimePrekey, &self.one_time)?,
            ml_kem_prekeys: of(KeyKind::MlKemPrekey, &self.ml_kem)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_were_made_last_are_kept_and_their_number_has_a_bound() {
        let mut prekeys = Prekeys::default();
        prekeys.make((KEPT, 1)).unwrap();
        let new = prekeys.make((5, 0)).unwrap();
        assert!(new.signed.is_empty(), "one is enough");
        assert_eq!((prekeys.one_time.len(), prekeys.ml_kem.len()), (KEPT, 1));
        assert_eq!(prekeys.one_time.last().unwrap().id, new.one_time.last().unwrap().id);
        let newest = prekeys.newest(100, 16);
        assert_eq!((newest.signed.len(), newest.one_time.len(), newest.ml_kem.len()), (1, 100, 1));
        assert_eq!(newest.one_time.last().unwrap().id, new.one_time.last().unwrap().id);
    }
}
