//! Money. One monero is 10^12 piconero; every amount in Aegis is a whole number of piconero.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount in piconero. Arithmetic is checked; nothing wraps or saturates silently.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Piconero(pub u64);

crate::schema::as_string!(Piconero, "piconero in decimal digits, e.g. 1500000000000");

/// Ten thousand basis points are the whole.
pub const BPS_WHOLE: u16 = 10_000;

/// A text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a decimal number of piconero.
    #[error("an amount is a whole number of piconero, written in decimal digits")]
    NotDigits,
    /// Not a decimal number of monero with at most twelve digits after the point.
    #[error("an amount in XMR has at most twelve digits after the point")]
    NotXmr,
}

impl Piconero {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One monero.
    pub const XMR: Self = Self(1_000_000_000_000);

    /// The sum, or `None` where it would not fit.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or `None` where it would be negative.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The difference, or nothing where it would be negative: "how much is missing".
    pub fn shortfall(self, have: Self) -> Self {
        Self(self.0.saturating_sub(have.0))
    }

    /// `self * numerator / denominator`, rounded down; `None` for a zero denominator or where it does not fit.
    pub fn ratio(self, numerator: u64, denominator: u64) -> Option<Self> {
        let wide = u128::from(self.0) * u128::from(numerator);
        wide.checked_div(u128::from(denominator)).and_then(|value| u64::try_from(value).ok()).map(Self)
    }

    /// The given basis points of the amount, rounded down; the whole amount at most.
    pub fn bps(self, bps: u16) -> Self {
        self.ratio(u64::from(bps.min(BPS_WHOLE)), u64::from(BPS_WHOLE)).unwrap_or(Self::ZERO)
    }

    /// The sum of many, or `None` where it would not fit.
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }

    /// The amount in monero with all twelve digits after the point, e.g. `1.500000000000`.
    pub fn xmr(self) -> String {
        format!("{}.{:012}", self.0 / Self::XMR.0, self.0 % Self::XMR.0)
    }

    /// Parses an amount in monero, e.g. `1.5`.
    pub fn from_xmr(text: &str) -> Result<Self, AmountError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || fraction.len() > 12 || !digits(whole) || !digits(fraction) {
            return Err(AmountError::NotXmr);
        }
        format!("{whole}{fraction:0<12}").parse().map(Self).map_err(|_| AmountError::NotXmr)
    }
}

impl fmt::Display for Piconero {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Piconero {
    type Err = AmountError;
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let canonical = text == "0" || (!text.starts_with('0') && !text.is_empty());
        if !canonical || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(AmountError::NotDigits);
        }
        text.parse().map(Self).map_err(|_| AmountError::NotDigits)
    }
}

/// On the wire an amount is a string: JSON numbers lose precision past 2^53.
impl Serialize for Piconero {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Piconero {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xmr_rendering_and_parsing_agree_to_the_piconero() {
        for pico in [0, 1, 999_999_999_999, 1_000_000_000_000, u64::MAX] {
            assert_eq!(Piconero::from_xmr(&Piconero(pico).xmr()), Ok(Piconero(pico)));
        }
        assert_eq!(Piconero::from_xmr("1.5"), Ok(Piconero(1_500_000_000_000)));
        for bad in ["", ".", "-1", "1.0000000000001", "1e3", "+1", "99999999999"] {
            assert!(Piconero::from_xmr(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_wire_form_has_one_spelling() {
        for bad in ["", "01", "+1", "1.0", " 1", "18446744073709551616"] {
            assert!(bad.parse::<Piconero>().is_err(), "{bad}");
        }
        assert_eq!(serde_json::to_string(&Piconero(7)).unwrap(), "\"7\"");
    }

    #[test]
    fn basis_points_round_down_and_never_exceed_the_whole() {
        assert_eq!(Piconero(9_999).bps(1), Piconero(0));
        assert_eq!(Piconero(10_000).bps(1), Piconero(1));
        assert_eq!(Piconero(u64::MAX).bps(u16::MAX), Piconero(u64::MAX));
    }
}
