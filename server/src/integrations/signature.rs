//! How calls of webhooks are signed.

use aegis_common::time::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The value of `Aegis-Signature`: `t=SECONDS,v1=HEX`, with HMAC-SHA256 under the secret's bytes over the seconds, a dot and the body.
pub fn signature(secret: &[u8], at: Timestamp, body: &[u8]) -> String {
    let seconds = at.as_second();
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return String::new() };
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    format!("t={seconds},v1={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_other_programs_compute() {
        // printf '1760000000.{}' | openssl dgst -sha256 -hmac whsec-of-the-test
        let at = Timestamp::from_second(1_760_000_000).unwrap();
        let expected = "a9374777c8b7165286b4129194d4215e0b56f5cc3a97fa83656c76a08659477c";
        assert_eq!(signature(b"whsec-of-the-test", at, b"{}"), format!("t=1760000000,v1={expected}"));
    }
}
