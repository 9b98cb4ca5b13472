//! Codes of authenticators: TOTP (RFC 6238) with SHA-1, six digits and thirty seconds, which is what all of them know.

use aegis_common::time::Timestamp;
use fast_qr::convert::svg::SvgBuilder;
use fast_qr::{ECL, QRBuilder, QRCode};
use totp_rs::{Builder, Secret, Totp};
use zeroize::Zeroizing;

/// Seconds of a step.
const STEP: u64 = 30;
/// Steps that the authenticator's clock may be off in either direction (RFC 6238 §5.2 advises one).
const SKEW: u16 = 1;
/// Bytes of a secret: as long as the hash, as RFC 4226 §4 R6 recommends.
const SECRET: usize = 20;
/// Pixels a module of the picture has, and modules of the margin.
const SCALE: usize = 6;
const MARGIN: usize = 4;

/// An authenticator could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("setting an authenticator up failed: {0}")]
pub struct TotpError(String);

fn failed(error: impl std::fmt::Display) -> TotpError {
    TotpError(error.to_string())
}

/// A new secret.
pub fn new_secret() -> Result<Zeroizing<Vec<u8>>, TotpError> {
    let mut secret = Zeroizing::new(vec![0; SECRET]);
    getrandom::fill(&mut secret).map_err(failed)?;
    Ok(secret)
}

fn authenticator(secret: &[u8], account: &str) -> Result<Totp, TotpError> {
    let builder = Builder::new().with_secret(Secret::from(secret.to_vec())).with_skew(SKEW);
    let builder = builder.with_step_duration(STEP).with_issuer(Some("Aegis")).with_account_name(account);
    builder.build().map_err(failed)
}

/// The step a code belongs to, if it is right now: one before, the present one, or one after.
pub fn matching_step(secret: &[u8], code: &str, now: Timestamp) -> Option<i64> {
    let is_code = code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = u64::try_from(now.as_second()).ok().filter(|_| is_code)?;
    let step = authenticator(secret, "account").ok()?.check(code, seconds)?;
    i64::try_from(step).ok()
}

/// What a person needs to set an authenticator up.
pub struct Enrolment {
    /// Base 32.
    pub secret: Zeroizing<String>,
    /// `otpauth://`
    pub uri: Zeroizing<String>,
    /// The URI as a QR code.
    pub svg: String,
    /// The same.
    pub png: Vec<u8>,
}

/// For an account's name and a secret.
pub fn enrolment(secret: &[u8], account: &str) -> Result<Enrolment, TotpError> {
    let uri = Zeroizing::new(authenticator(secret, account)?.to_url().map_err(failed)?);
    let code = QRBuilder::new(uri.as_str()).ecl(ECL::M).build().map_err(|e| failed(format!("{e:?}")))?;
    let secret = Zeroizing::new(Secret::from(secret.to_vec()).to_base32());
    Ok(Enrolment { secret, svg: SvgBuilder::default().to_str(&code), png: png(&code)?, uri })
}

/// Black on white, a byte a pixel.
fn png(code: &QRCode) -> Result<Vec<u8>, TotpError> {
    let side = (code.size + 2 * MARGIN) * SCALE;
    let is_dark = |at: usize| {
        let module = |pixel: usize| (pixel / SCALE).checked_sub(MARGIN).filter(|at| *at < code.size);
        match (module(at / side), module(at % side)) {
            (Some(row), Some(column)) => code[row][column].value(),
            _ => false,
        }
    };
    let pixels: Vec<u8> = (0..side * side).map(|at| if is_dark(at) { 0 } else { 255 }).collect();
    let length = u32::try_from(side).map_err(failed)?;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, length, length);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_rfc_and_count_for_one_step_around_now() {
        // RFC 6238, appendix B, SHA-1: at 1111111109 the code is 07081804, of which six digits are used.
        let secret = b"12345678901234567890";
        let at = |second| Timestamp::from_second(second).unwrap();
        let step = 1_111_111_109 / 30;
        for (second, found) in [(-60, None), (-59, Some(step)), (0, Some(step)), (30, Some(step)), (31, None)]
        {
            assert_eq!(matching_step(secret, "081804", at(1_111_111_109 + second)), found, "{second}");
        }
        for bad in ["", "81804", "0818040", "08180x", " 81804", "081805"] {
            assert_eq!(matching_step(secret, bad, at(1_111_111_109)), None, "{bad}");
        }
    }

    #[test]
    fn an_enrolment_has_the_same_in_four_forms() {
        let made = enrolment(b"12345678901234567890", "ann").unwrap();
        assert_eq!(made.secret.as_str(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert!(made.uri.starts_with("otpauth://totp/Aegis:ann?"), "{}", *made.uri);
        assert!(
            made.uri.contains("secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ") && made.uri.contains("issuer=Aegis")
        );
        assert!(made.svg.starts_with("<svg"));
        assert!(made.png.starts_with(b"\x89PNG"));
    }
}
