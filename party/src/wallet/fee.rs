//! What a transaction will cost, known before it is built: payouts must be stated net of fee, because
//! wallet-RPC 0.18.0.0 ignores `subtract_fee_from_outputs`.

use aegis_common::amount::Piconero;

/// Fee levels of `get_fee_estimate` and of `transfer`. The default (0) is left out: the wallet then chooses between
/// the lowest two by the node's backlog, and the fee could not be known beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// `fees[0]`.
    Low,
    /// `fees[1]`.
    Normal,
    /// `fees[2]`.
    High,
    /// `fees[3]`.
    Highest,
}

impl Priority {
    /// The number `transfer` takes.
    pub fn number(self) -> u32 {
        self as u32 + 1
    }

    /// Its place in `get_fee_estimate`'s `fees`.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// The price of weight at one fee level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeeRate {
    /// Piconero per byte of weight: `fees[priority]` of monerod's `get_fee_estimate`.
    pub per_byte: u64,
    /// Fees are rounded up to a multiple of this: `quantization_mask` of the same reply.
    pub mask: u64,
}

/// What decides a transaction's weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxShape {
    /// Outputs spent.
    pub inputs: u64,
    /// Recipients, without change.
    pub recipients: u64,
    /// Whether a recipient is a subaddress: the transaction then may carry one key per output.
    pub subaddresses: bool,
}

const RING: u64 = 16;

impl TxShape {
    /// Upper bound of the weight for ring size 16, CLSAG, Bulletproofs+ and view tags. Follows
    /// `estimate_rct_tx_size` and `estimate_tx_weight` in Monero `src/wallet/wallet2.cpp`, with ring offsets
    /// taken at four bytes each (2^28 outputs) where those count two.
    fn weight(self) -> Option<u64> {
        let Self { inputs, .. } = self;
        // One change output, and never fewer than two outputs.
        let outputs = self.recipients.checked_add(1)?.max(2);
        if inputs == 0 || inputs > 1000 || outputs > 16 {
            return None;
        }
        let log_padded = u64::from(outputs.next_power_of_two().ilog2());
        let prefix = 1 + 6 + inputs * (1 + 6 + RING * 4 + 32) + outputs * (6 + 32 + 1);
        // Transaction key, encrypted payment id, and one key per output where subaddresses need it.
        let extra = 33 + 11 + if self.subaddresses { 2 + 32 * outputs } else { 0 };
        let range_proof = (2 * (6 + log_padded) + 6) * 32 + 3;
        let signatures = inputs * (32 * RING + 64 + 32);
        let rest = 1 + 40 * outputs + 8;
        let size = prefix + extra + range_proof + signatures + rest;
        // Aggregated range proofs are cheap in bytes and dear to verify: four fifths of the saving count as weight.
        let clawback = if outputs > 2 {
            let plain = 32 * (6 + 7 * 2) / 2 * outputs.next_power_of_two();
            (plain - 32 * (6 + 2 * (6 + log_padded))) * 4 / 5
        } else {
            0
        };
        Some(size + clawback)
    }
}

/// Upper bound of the fee, at most about a tenth over the real one; what is not used comes back as change to the
/// wallet's primary address. `None` for shapes that make no transaction (no inputs, over 1000 of them, over 15
/// recipients) or an impossible rate.
pub fn estimate_fee(shape: TxShape, rate: FeeRate) -> Option<Piconero> {
    let fee = shape.weight()?.checked_mul(rate.per_byte)?;
    fee.checked_next_multiple_of(rate.mask.max(1)).map(Piconero)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_covers_measured_fees_by_less_than_a_tenth() {
        // Inputs, recipients, subaddresses, fee: transactions of wallet-RPC 0.18.0.0 on a regtest chain.
        let measured = [
            (1, 2, false, 2_514_000_000),
            (2, 1, false, 2_605_200_000),
            (2, 2, false, 3_328_800_000),
            (2, 2, true, 3_423_600_000),
            (4, 1, false, 4_180_800_000),
        ];
        for (inputs, recipients, subaddresses, fee) in measured {
            let shape = TxShape { inputs, recipients, subaddresses };
            let estimate = estimate_fee(shape, FeeRate { per_byte: 1_200_000, mask: 10_000 }).unwrap().0;
            assert!(estimate >= fee, "{shape:?}: {estimate} is under {fee}");
            assert!(estimate <= fee + fee / 10, "{shape:?}: {estimate} is far over {fee}");
        }
    }

    #[test]
    fn impossible_shapes_and_rates_have_no_fee() {
        let rate = FeeRate { per_byte: 1, mask: 1 };
        let shape = TxShape { inputs: 1, recipients: 1, subaddresses: false };
        assert!(estimate_fee(TxShape { inputs: 0, ..shape }, rate).is_none());
        assert!(estimate_fee(TxShape { inputs: u64::MAX, ..shape }, rate).is_none());
        assert!(estimate_fee(TxShape { recipients: 16, ..shape }, rate).is_none());
        assert!(estimate_fee(TxShape { recipients: u64::MAX, ..shape }, rate).is_none());
        assert!(estimate_fee(shape, FeeRate { per_byte: u64::MAX, mask: 1 }).is_none());
    }
}
