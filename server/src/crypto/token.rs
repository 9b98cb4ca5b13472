//! Login tokens: JWT (RFC 7519) signed with EdDSA (RFC 8037), good for ten minutes.
//!
//! Several keys, each named by the thumbprint of its public half (RFC 7638). A new one is published before it signs, so that
//! whoever has fetched the key set (RFC 7517) knows it in time, and an old one stays until its last token is over.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use aegis_common::ids::{SessionId, UserId};
use aegis_common::time::{SignedDuration, Timestamp};
use aegis_common::wire::account::AccountRole;
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// How long a token works.
pub const LIFETIME: SignedDuration = SignedDuration::from_mins(10);
/// How long a key is published before it signs: longer than servers and clients keep a key set.
pub const PUBLISHED_AHEAD: SignedDuration = SignedDuration::from_mins(5);
/// Longer than any token of ours: a bound for hostile input.
const MAX_TOKEN: usize = 1024;
/// Seconds that another server's clock may be ahead.
const AHEAD: i64 = 60;
const ISSUER: &str = "aegis";
const AUDIENCE: &str = "aegis-api";
/// Told apart from any other JWT that the same key might sign one day (RFC 9068).
const TYPE: &str = "at+jwt";
/// PKCS #8 version 1 frame of an Ed25519 seed (RFC 8410 §7).
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// A token can't be made.
#[derive(Debug, thiserror::Error)]
pub enum TokenKeyError {
    /// The library refused the key.
    #[error("the token key: {0}")]
    Key(#[from] jsonwebtoken::errors::Error),
    /// No key was loaded.
    #[error("there is no token key")]
    Missing,
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

/// What a good token says. Whether the session goes on, the database knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bearer {
    /// The account.
    pub user: UserId,
    /// Its role when the token was made.
    pub role: AccountRole,
    /// The session it belongs to.
    pub session: SessionId,
    /// When somebody last proved who they are with more than this token's predecessor, to the second; `None` is unknown.
    pub proved_at: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: UserId,
    role: AccountRole,
    sid: SessionId,
    iat: i64,
    exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
}

/// A key that signs tokens.
pub struct TokenKey {
    kid: String,
    created_at: Timestamp,
    encoding: EncodingKey,
    decoding: DecodingKey,
    public: Jwk,
}

impl TokenKey {
    /// Of an Ed25519 seed.
    pub fn new(seed: &[u8; 32], created_at: Timestamp) -> Result<Self, TokenKeyError> {
        let mut der = Zeroizing::new([0; 48]);
        let (frame, body) = der.split_at_mut(PKCS8.len());
        frame.copy_from_slice(&PKCS8);
        body.copy_from_slice(seed);
        let encoding = EncodingKey::from_ed_der(&*der);
        let mut public = Jwk::from_encoding_key(&encoding, Algorithm::EdDSA)?;
        let kid = public.thumbprint(ThumbprintHash::SHA256)?;
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        public.common.key_algorithm = Some(KeyAlgorithm::EdDSA);
        Ok(Self { kid, created_at, encoding, decoding: DecodingKey::from_jwk(&public)?, public })
    }

    /// Its name.
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

/// Makes and checks tokens.
pub struct Tokens {
    /// Oldest first.
    keys: RwLock<Vec<TokenKey>>,
    validation: Validation,
}

impl Default for Tokens {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Tokens {
    /// With keys, oldest first.
    pub fn new(keys: Vec<TokenKey>) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // Checked below, by the clock that is passed in.
        validation.validate_exp = false;
        Self { keys: RwLock::new(keys), validation }
    }

    /// Puts other keys, oldest first, in the place of all.
    pub fn install(&self, keys: Vec<TokenKey>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    fn keys(&self) -> RwLockReadGuard<'_, Vec<TokenKey>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token for a session, and when it stops working (cut to the second, as JWT has it).
    pub fn issue(&self, bearer: Bearer, now: Timestamp) -> Result<(String, Timestamp), TokenKeyError> {
        let iat = now.as_second();
        let exp = iat + LIFETIME.as_secs();
        let Bearer { user, role, session, proved_at } = bearer;
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: user,
            role,
            sid: session,
            iat,
            exp,
            auth_time: proved_at.map(Timestamp::as_second),
        };
        let keys = self.keys();
        let is_known = |key: &&TokenKey| now.duration_since(key.created_at) >= PUBLISHED_AHEAD;
        // The very first key has nobody who could know another.
        let key = keys.iter().rev().find(is_known).or(keys.first()).ok_or(TokenKeyError::Missing)?;
        let kid = Some(key.kid.clone());
        let header = Header { kid, typ: Some(TYPE.to_owned()), ..Header::new(Algorithm::EdDSA) };
        let token = jsonwebtoken::encode(&header, &claims, &key.encoding)?;
        Ok((token, Timestamp::from_second(exp).unwrap_or(Timestamp::MAX)))
    }

    /// Checks a token.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Bearer, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let keys = self.keys();
        let is_meant = |key: &&TokenKey| header.kid.as_ref() == Some(&key.kid);
        let key = keys.iter().find(is_meant).filter(|_| header.typ.as_deref() == Some(TYPE));
        let key = key.ok_or(TokenError::Invalid)?;
        let data = jsonwebtoken::decode::<Claims>(token, &key.decoding, &self.validation);
        let claims = data.map_err(|_| TokenError::Invalid)?.claims;
        // Made while a clock was ahead: it would stay fresh for as long as the clock was off.
        let ahead = now.as_second() + AHEAD;
        if claims.iat > ahead || claims.auth_time.is_some_and(|at| at > ahead) {
            return Err(TokenError::Invalid);
        }
        if now.as_second() >= claims.exp {
            return Err(TokenError::Expired);
        }
        let proved_at = claims.auth_time.and_then(|second| Timestamp::from_second(second).ok());
        Ok(Bearer { user: claims.sub, role: claims.role, session: claims.sid, proved_at })
    }

    /// The public halves of all keys (RFC 7517).
    pub fn key_set(&self) -> JwkSet {
        JwkSet { keys: self.keys().iter().map(|key| key.public.clone()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn bearer() -> Bearer {
        Bearer {
            user: UserId(uuid::Uuid::now_v7()),
            role: AccountRole::Arbiter,
            session: SessionId(uuid::Uuid::now_v7()),
            proved_at: Some(at(990)),
        }
    }

    fn key(seed: u8, created_at: i64) -> TokenKey {
        TokenKey::new(&[seed; 32], at(created_at)).unwrap()
    }

    fn tokens(seed: u8) -> Tokens {
        Tokens::new(vec![key(seed, 0)])
    }

    #[test]
    fn a_token_works_for_ten_minutes_to_the_second() {
        let tokens = tokens(7);
        let bearer = bearer();
        let (token, expires) = tokens.issue(bearer, at(1000)).unwrap();
        assert_eq!(expires, at(1600));
        assert_eq!(tokens.verify(&token, at(1599)), Ok(bearer));
        assert_eq!(tokens.verify(&token, at(1600)), Err(TokenError::Expired));
        assert_eq!(tokens.verify(&token, at(939)), Err(TokenError::Invalid));
        assert_eq!(tokens.verify(&token, at(940)), Ok(bearer));
    }

    #[test]
    fn foreign_damaged_and_unsigned_tokens_are_refused() {
        let ours = tokens(7);
        let (token, _) = tokens(8).issue(bearer(), at(1000)).unwrap();
        assert_eq!(ours.verify(&token, at(1001)), Err(TokenError::Invalid));
        let (good, _) = ours.issue(bearer(), at(1000)).unwrap();
        let body = good.rsplit_once('.').unwrap().0;
        // {"alg":"none"}
        let none = format!("eyJhbGciOiJub25lIn0.{}.", body.split_once('.').unwrap().1);
        let cut = body.to_owned() + ".";
        for bad in ["", "a.b.c", &none, &cut, &"x".repeat(5000)] {
            assert_eq!(ours.verify(bad, at(1001)), Err(TokenError::Invalid), "{bad}");
        }
    }

    #[test]
    fn tokens_of_another_type_issuer_or_audience_are_refused() {
        let (ours, key) = (tokens(7), key(7, 0));
        let token = |typ: &str, iss: &str, aud: &str| {
            let claims = serde_json::json!({
                "iss": iss, "aud": aud, "sub": bearer().user, "role": "user", "sid": bearer().session,
                "iat": 1000, "exp": 1600,
            });
            let header = Header {
                kid: Some(key.kid.clone()),
                typ: Some(typ.to_owned()),
                ..Header::new(Algorithm::EdDSA)
            };
            jsonwebtoken::encode(&header, &claims, &key.encoding).unwrap()
        };
        assert!(ours.verify(&token(TYPE, ISSUER, AUDIENCE), at(1001)).is_ok());
        for (typ, iss, aud) in [("JWT", ISSUER, AUDIENCE), (TYPE, "other", AUDIENCE), (TYPE, ISSUER, "other")]
        {
            assert_eq!(
                ours.verify(&token(typ, iss, aud), at(1001)),
                Err(TokenError::Invalid),
                "{typ} {iss} {aud}"
            );
        }
    }

    #[test]
    fn a_new_key_is_published_before_it_signs_and_the_old_one_checks_until_it_is_removed() {
        let kid = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
        let tokens = Tokens::new(vec![key(1, 0), key(2, 1000)]);
        let (old, new) = (key(1, 0).kid, key(2, 0).kid);
        assert_eq!(tokens.key_set().keys.len(), 2);
        let (first, _) = tokens.issue(bearer(), at(1299)).unwrap();
        let (second, _) = tokens.issue(bearer(), at(1300)).unwrap();
        assert_eq!((kid(&first), kid(&second)), (old, new));
        assert!(tokens.verify(&first, at(1301)).is_ok() && tokens.verify(&second, at(1301)).is_ok());
        tokens.install(vec![key(2, 1000)]);
        assert_eq!(tokens.verify(&first, at(1301)), Err(TokenError::Invalid));
        assert!(tokens.verify(&second, at(1301)).is_ok());
    }

    #[test]
    fn the_key_set_holds_public_halves_only() {
        // The key of RFC 8037, appendix A, and its thumbprint.
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let mut bytes = [0; 32];
        hex::decode_to_slice(seed, &mut bytes).unwrap();
        let set = Tokens::new(vec![TokenKey::new(&bytes, at(0)).unwrap()]).key_set();
        assert_eq!(
            serde_json::to_value(&set).unwrap(),
            serde_json::json!({ "keys": [{
                "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
                "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            }] })
        );
    }
}
