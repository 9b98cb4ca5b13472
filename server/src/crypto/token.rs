//! Login tokens: JWT (RFC 7519) signed with EdDSA (RFC 8037), good for ten minutes.

use std::path::Path;

use aegis_common::ids::UserId;
use aegis_common::time::{SignedDuration, Timestamp};
use aegis_common::wire::account::AccountRole;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::secret_file::{self, SecretFileError};

/// How long a token works.
pub const LIFETIME: SignedDuration = SignedDuration::from_mins(10);
/// Longer than any token of ours: a bound for hostile input.
const MAX_TOKEN: usize = 1024;
const ISSUER: &str = "aegis";
/// PKCS #8 version 1 frame of an Ed25519 seed (RFC 8410 §7).
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Tokens can't be made; the server must not start.
#[derive(Debug, thiserror::Error)]
pub enum TokenKeyError {
    /// No usable seed.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The library refused the key.
    #[error("the token key: {0}")]
    Key(#[from] jsonwebtoken::errors::Error),
}

/// A token is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not one of ours, or damaged.
    #[error("the token is not valid")]
    Invalid,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
}

/// What a good token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bearer {
    /// The account.
    pub user: UserId,
    /// Its role when the token was made.
    pub role: AccountRole,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: UserId,
    role: AccountRole,
    iat: i64,
    exp: i64,
}

/// Makes and checks tokens.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

impl Tokens {
    /// With the seed in a file that only the server's user may read; it is made where there is none.
    pub fn load_or_create(path: &Path) -> Result<Self, TokenKeyError> {
        let seed = secret_file::load_or_create(path)?;
        Ok(Self::from_seed(&seed)?)
    }

    /// With an Ed25519 seed.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, jsonwebtoken::errors::Error> {
        let mut der = Zeroizing::new([0; 48]);
        let (frame, body) = der.split_at_mut(PKCS8.len());
        frame.copy_from_slice(&PKCS8);
        body.copy_from_slice(seed);
        let encoding = EncodingKey::from_ed_der(&*der);
        let decoding = DecodingKey::from_jwk(&Jwk::from_encoding_key(&encoding, Algorithm::EdDSA)?)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["iss", "sub", "exp"]);
        // Checked below, by the clock that is passed in.
        validation.validate_exp = false;
        Ok(Self { encoding, decoding, validation })
    }

    /// A token for an account, and when it stops working (cut to the second, as JWT has it).
    pub fn issue(&self, bearer: Bearer, now: Timestamp) -> Result<(String, Timestamp), TokenKeyError> {
        let iat = now.as_second();
        let exp = iat + LIFETIME.as_secs();
        let claims = Claims { iss: ISSUER.to_owned(), sub: bearer.user, role: bearer.role, iat, exp };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.encoding)?;
        Ok((token, Timestamp::from_second(exp).unwrap_or(Timestamp::MAX)))
    }

    /// Checks a token.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Bearer, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Invalid);
        }
        let data = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation);
        let claims = data.map_err(|_| TokenError::Invalid)?.claims;
        if now.as_second() >= claims.exp {
            return Err(TokenError::Expired);
        }
        Ok(Bearer { user: claims.sub, role: claims.role })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn bearer() -> Bearer {
        Bearer { user: UserId(uuid::Uuid::now_v7()), role: AccountRole::Arbiter }
    }

    #[test]
    fn a_token_works_for_ten_minutes_to_the_second() {
        let tokens = Tokens::from_seed(&[7; 32]).unwrap();
        let bearer = bearer();
        let (token, expires) = tokens.issue(bearer, at(1000)).unwrap();
        assert_eq!(expires, at(1600));
        assert_eq!(tokens.verify(&token, at(1599)), Ok(bearer));
        assert_eq!(tokens.verify(&token, at(1600)), Err(TokenError::Expired));
    }

    #[test]
    fn foreign_damaged_and_unsigned_tokens_are_refused() {
        let tokens = Tokens::from_seed(&[7; 32]).unwrap();
        let (token, _) = Tokens::from_seed(&[8; 32]).unwrap().issue(bearer(), at(1000)).unwrap();
        assert_eq!(tokens.verify(&token, at(1001)), Err(TokenError::Invalid));
        let (good, _) = tokens.issue(bearer(), at(1000)).unwrap();
        let body = good.rsplit_once('.').unwrap().0;
        // {"alg":"none"}
        let none = format!("eyJhbGciOiJub25lIn0.{}.", body.split_once('.').unwrap().1);
        let cut = body.to_owned() + ".";
        for bad in ["", "a.b.c", &none, &cut, &"x".repeat(5000)] {
            assert_eq!(tokens.verify(bad, at(1001)), Err(TokenError::Invalid), "{bad}");
        }
    }

    #[test]
    fn the_signature_is_plain_ed25519_of_the_seed() {
        // The public key of RFC 8032 §7.1 test 1.
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let mut bytes = [0; 32];
        hex::decode_to_slice(seed, &mut bytes).unwrap();
        let tokens = Tokens::from_seed(&bytes).unwrap();
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(hex::encode(tokens.decoding.try_get_as_bytes().unwrap()), public);
    }
}
