//! Prekeys at the server, for messages that others begin while this participant is away.

use aegis_common::wire::account::{PrekeyStock, PrekeysRequest};

use super::EngineError;
use super::desk::Desk;
use crate::keys::ALL_PREKEYS;

/// Prekeys that are missing where fewer than a part of all are left: of X25519, and of ML-KEM.
fn missing(stock: PrekeyStock, part: u64) -> (usize, usize) {
    let of = |all: usize, left: u64| match left < (all as u64).div_ceil(part) {
        // Fewer than there are in all.
        true => all - left as usize,
        false => 0,
    };
    (of(ALL_PREKEYS.0, stock.one_time_prekeys), of(ALL_PREKEYS.1, stock.ml_kem_prekeys))
}

/// Makes as many new ones as are missing to the full number, where fewer than a `part` of it are left: 1 for any that is
/// missing, 2 for half of them. They are kept before they are sent; where the answer is lost the stock tells.
pub async fn refill(desk: &Desk, part: u64) -> Result<PrekeyStock, EngineError> {
    let stock = desk.client.prekeys().await?;
    let missing = missing(stock, part);
    if missing == (0, 0) {
        return Ok(stock);
    }
    let mut new = None;
    desk.change_keys(|keys| keys.make_prekeys(missing).map(|made| new = Some(made)))?;
    match new {
        Some(new) => Ok(desk.client.add_prekeys(&new).await?),
        None => Ok(stock),
    }
}

/// Makes all but the signed one anew, and has those at the server forgotten: their private halves were lost, as with a home restored from a
/// backup.
pub async fn replace(desk: &Desk) -> Result<PrekeyStock, EngineError> {
    let mut new = PrekeysRequest::default();
    desk.change_keys(|keys| keys.make_prekeys(ALL_PREKEYS).map(|made| new = made))?;
    Ok(desk.client.add_prekeys(&PrekeysRequest { replace: true, ..new }).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_to_the_full_number_is_made_once_too_few_are_left() {
        let stock = |one_time_prekeys, ml_kem_prekeys| PrekeyStock { one_time_prekeys, ml_kem_prekeys };
        assert_eq!(missing(stock(20, 4), 1), (0, 0));
        assert_eq!(missing(stock(19, 4), 1), (1, 0));
        assert_eq!(missing(stock(10, 2), 2), (0, 0));
        assert_eq!(missing(stock(9, 1), 2), (11, 3));
        assert_eq!(missing(stock(0, 0), 2), (20, 4));
        assert_eq!(missing(stock(u64::MAX, 200), 1), (0, 0));
    }
}
