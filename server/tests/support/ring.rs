//! Crafted transactions that a real node takes: whatever their outputs say, inputs, sums and proofs are right.

use aegis_common::amount::Piconero;
use aegis_common::chain::{
    OutputAmount, TxKeys, canonical_point, derivation, derivation_to_scalar, parse_block,
};
use aegis_common::testing::chain::{TestWallet, TxBuilder};
use monero_oxide::ed25519::{Commitment, CompressedPoint, Point, Scalar};
use monero_oxide::ringct::bulletproofs::Bulletproof;
use monero_oxide::ringct::clsag::{Clsag, ClsagContext, Decoys};
use monero_oxide::ringct::{EncryptedAmount, RctBase, RctProofs, RctPrunable};
use monero_oxide::transaction::{Input, NotPruned, Output, Timelock, Transaction, TransactionPrefix};
use rand_core::OsRng;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::monero::Daemon;

/// Members of a ring.
const RING: u64 = 16;
/// More than any fee that is asked for.
const FEE: u64 = 100_000_000_000;

/// Somebody who mined the first blocks of a chain, and spends one reward after the other.
pub struct Payer {
    wallet: TestWallet,
    coins: u64,
    spent: u64,
}

impl Payer {
    /// Mines on a chain without blocks until so many coins can be spent, whole rings of them.
    pub async fn new(node: &Daemon, coins: u64) -> Self {
        let (wallet, coins) = (TestWallet::new(u64::MAX - 1), coins.next_multiple_of(RING));
        for left in (0..coins + 61).step_by(100) {
            node.mine((coins + 61 - left).min(100), &wallet.primary().to_string()).await;
        }
        Self { wallet, coins, spent: 0 }
    }

    /// Publishes a transaction with these outputs, and one more for what is left over. `change` may alter an output's view
    /// tag.
    pub async fn send(&mut self, node: &Daemon, builder: TxBuilder, change: impl Fn(usize, u8) -> u8) {
        let place = self.spent;
        self.spent += 1;
        assert!(place < self.coins, "all coins are spent");
        // Each of the first blocks made one output.
        let (secret, amount) = self.coin(node, place + 1).await;
        let paid: u64 = builder.payments.iter().map(|(_, amount)| amount.0).sum();
        let builder = builder.pay(self.wallet.primary(), Piconero(amount - paid - FEE));
        let blob = seal(node, place, secret, amount, &builder, change).await;
        let sent = node.call("/send_raw_transaction", json!({ "tx_as_hex": hex::encode(blob) })).await;
        assert_eq!(sent["status"], "OK", "{sent}");
    }

    /// The one-time secret key and the amount of a block's reward.
    async fn coin(&self, node: &Daemon, height: u64) -> ([u8; 32], u64) {
        let block = node.rpc("get_block", json!({ "height": height })).await;
        let block = parse_block(&hex::decode(block["blob"].as_str().unwrap()).unwrap()).unwrap();
        let OutputAmount::Clear(amount) = block.miner_tx.outputs[0].amount else { panic!("no reward") };
        let key = TxKeys::parse(&block.miner_tx.extra).main[0];
        let shared = derivation(&canonical_point(&key.0).unwrap(), &self.wallet.view);
        ((derivation_to_scalar(&shared, 0) + self.wallet.spend).to_bytes(), amount)
    }
}

fn scalar(bytes: [u8; 32]) -> Scalar {
    Scalar::read(&mut &bytes[..]).unwrap()
}

fn point(value: &Value) -> Point {
    let bytes: [u8; 32] = hex::decode(value.as_str().unwrap()).unwrap().try_into().unwrap();
    CompressedPoint::from(bytes).decompress().unwrap()
}

/// Spends the reward with this number.
async fn seal(
    node: &Daemon,
    place: u64,
    secret: [u8; 32],
    amount: u64,
    builder: &TxBuilder,
    change: impl Fn(usize, u8) -> u8,
) -> Vec<u8> {
    let first = place / RING * RING;
    let ask: Vec<Value> = (first..first + RING).map(|index| json!({ "amount": 0, "index": index })).collect();
    let outs = node.call("/get_outs", json!({ "outputs": ask })).await["outs"].clone();
    let ring: Vec<[Point; 2]> =
        outs.as_array().unwrap().iter().map(|out| [point(&out["key"]), point(&out["mask"])]).collect();
    let offsets: Vec<u64> = std::iter::once(first).chain(std::iter::repeat_n(1, RING as usize - 1)).collect();
    let own = ring[(place - first) as usize][0];
    let secret = scalar(secret);
    let image = Point::from(Point::biased_hash(own.compress().to_bytes()).into() * secret.into()).compress();

    let crafted = builder.build().unwrap();
    let openings: Vec<Commitment> =
        crafted.openings.iter().map(|(mask, amount)| Commitment::new(scalar(*mask), *amount)).collect();
    let (mut outputs, mut encrypted_amounts, mut commitments) = (Vec::new(), Vec::new(), Vec::new());
    for (number, output) in crafted.tx.outputs.iter().enumerate() {
        let OutputAmount::Hidden { ecdh, commitment } = output.amount else { panic!("an open amount") };
        let view_tag = output.view_tag.map(|tag| change(number, tag));
        outputs.push(Output { amount: None, key: CompressedPoint::from(output.key.0), view_tag });
        encrypted_amounts.push(EncryptedAmount::Compact { amount: ecdh });
        commitments.push(CompressedPoint::from(commitment));
    }
    let prefix = TransactionPrefix {
        additional_timelock: match builder.unlock_time {
            0 => Timelock::None,
            height => Timelock::Block(height as usize),
        },
        inputs: vec![Input::ToKey { amount: None, key_offsets: offsets.clone(), key_image: image }],
        outputs,
        extra: crafted.tx.extra.clone(),
    };
    let sum = openings.iter().fold(scalar([0; 32]).into(), |sum, opening| sum + opening.mask.into());
    let base = RctBase { fee: FEE, pseudo_outs: Vec::new(), encrypted_amounts, commitments };
    let bulletproof = Bulletproof::prove_plus(&mut OsRng, openings).unwrap();
    let signed = |clsags, pseudo_outs| {
        let prunable = RctPrunable::Clsag { clsags, pseudo_outs, bulletproof: bulletproof.clone() };
        let proofs = Some(RctProofs { base: base.clone(), prunable });
        Transaction::<NotPruned>::V2 { prefix: prefix.clone(), proofs }
    };
    // A reward's commitment has the mask one.
    let mut one = [0; 32];
    one[0] = 1;
    let decoys = Decoys::new(offsets, (place - first) as u8, ring).unwrap();
    let context = ClsagContext::new(decoys, Commitment::new(scalar(one), amount)).unwrap();
    let message = signed(Vec::new(), Vec::new()).signature_hash().unwrap();
    let input = vec![(Zeroizing::new(secret), context)];
    let (clsag, pseudo) = Clsag::sign(&mut OsRng, input, Scalar::from(sum), message).unwrap().remove(0);
    signed(vec![clsag], vec![pseudo.compress()]).serialize()
}
