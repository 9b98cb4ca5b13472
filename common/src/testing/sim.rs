//! An escrow with its people, its chain and its clock.

use super::{Cast, START, address, hash};
use crate::amount::Piconero;
use crate::escrow::contract::Contract;
use crate::escrow::deposits::{OutputId, Sighting, Slot};
use crate::escrow::effect::Effect;
use crate::escrow::event::Event;
use crate::escrow::payout::{self, Payments};
use crate::escrow::settling::Settling;
use crate::escrow::state::{Escrow, Opening, Status};
use crate::escrow::statement::{Act, SignedStatement};
use crate::escrow::transition::{Rejected, apply};
use crate::hash::{Hash32, Key32};
use crate::multisig::rounds::{ROUNDS, THRESHOLD, TOTAL};
use crate::role::Role;
use crate::time::Timestamp;

/// An escrow led through its life. Everything accepted is journalled.
#[derive(Debug, Clone)]
pub struct Sim {
    /// The people.
    pub cast: Cast,
    /// As it was created.
    pub created: Escrow,
    /// As it is.
    pub escrow: Escrow,
    /// The clock.
    pub now: Timestamp,
    /// Height of the newest block.
    pub tip: u64,
    /// Accepted events and when.
    pub journal: Vec<(Event, Timestamp)>,
    /// Accepted statements.
    pub transcript: Vec<SignedStatement>,
    /// Outputs made so far, for fresh ids.
    outputs: u64,
}

impl Sim {
    /// A new escrow, created by the seller at [`START`], on a chain of 1000 blocks.
    pub fn new(contract: Contract) -> Self {
        contract.check().expect("a sound contract");
        let initiator = contract.seller.user_id;
        let escrow = Escrow::create(contract, Opening::by(initiator), START).expect("canonical");
        Self {
            cast: Cast::default(),
            created: escrow.clone(),
            escrow,
            now: START,
            tip: 1_000,
            journal: Vec::new(),
            transcript: Vec::new(),
            outputs: 0,
        }
    }

    /// Where the escrow is.
    pub fn status(&self) -> Status {
        self.escrow.status()
    }

    /// The settlement under way.
    ///
    /// # Panics
    /// Where there is none.
    pub fn settling(&self) -> &Settling {
        self.escrow.settling().expect("settling")
    }

    /// Applies an event now.
    pub fn apply(&mut self, event: Event) -> Result<Vec<Effect>, Rejected> {
        let (next, effects) = apply(&self.escrow, &event, self.now)?;
        self.escrow = next;
        if let Event::Statement { signed } = &event {
            self.transcript.push((**signed).clone());
        }
        self.journal.push((event, self.now));
        Ok(effects)
    }

    /// What a role would say now, signed and not yet sent.
    pub fn sign(&self, role: Role, act: Act) -> SignedStatement {
        let Escrow { contract, contract_hash, chains, .. } = &self.escrow;
        let statement = chains.next(contract, *contract_hash, role, act);
        statement.sign(&self.cast.of(role).signing).expect("canonical")
    }

    /// Sends a signed statement.
    pub fn send(&mut self, signed: SignedStatement) -> Result<Vec<Effect>, Rejected> {
        self.apply(Event::Statement { signed: Box::new(signed) })
    }

    /// A role says something.
    pub fn say(&mut self, role: Role, act: Act) -> Result<Vec<Effect>, Rejected> {
        self.send(self.sign(role, act))
    }

    /// The multisig address everybody attests.
    pub fn address(&self) -> crate::address::Address {
        address(9_000)
    }

    /// The message of a round, well-formed and different for everybody.
    pub fn round(&self, role: Role, round: u8) -> Act {
        let attempt = self.escrow.setup.rounds().attempt();
        Act::Round { attempt, round, message: round_message(role, attempt, round) }
    }

    /// A sound attestation of an address.
    pub fn attest(&self, address: crate::address::Address) -> Act {
        let attempt = self.escrow.setup.rounds().attempt();
        Act::Attest { attempt, address, threshold: THRESHOLD, total: TOTAL, ready: true }
    }

    /// Goes through acceptance, rounds and attestations.
    pub fn ready(&mut self) {
        for role in Role::ALL {
            self.say(role, Act::Accept {}).expect("accepted");
        }
        for round in 1..=ROUNDS {
            for role in Role::ALL {
                self.say(role, self.round(role, round)).expect("a round");
            }
        }
        for role in Role::ALL {
            self.say(role, self.attest(self.address())).expect("an attestation");
        }
    }

    /// A fresh output in a slot, as it would be seen in the pool.
    pub fn output(&mut self, slot: Slot, amount: Piconero) -> Sighting {
        self.outputs += 1;
        let output = OutputId { tx: hash(&format!("deposit {}", self.outputs)), index: 0 };
        let key = Key32(hash(&format!("output key {}", self.outputs)).0);
        Sighting { output, key, slot, amount, locked: false, height: None }
    }

    /// Reports an output.
    pub fn see(&mut self, seen: Sighting) -> Result<Vec<Effect>, Rejected> {
        self.apply(Event::DepositSeen { seen })
    }

    /// Pays an amount into a slot, in the next block. It is not final yet.
    pub fn fund(&mut self, slot: Slot, amount: Piconero) -> OutputId {
        self.tip += 1;
        let seen = Sighting { height: Some(self.tip), ..self.output(slot, amount) };
        self.see(seen).expect("a deposit");
        seen.output
    }

    /// Adds blocks; tells the escrow where something is due.
    pub fn mine(&mut self, blocks: u64) {
        self.tip += blocks;
        if self.escrow.wake_height().is_some_and(|due| due <= self.tip) {
            self.apply(Event::Tip { height: self.tip }).expect("due");
        }
    }

    /// Undoes all blocks above a height.
    pub fn rewind(&mut self, to: u64) -> Result<Vec<Effect>, Rejected> {
        self.tip = to;
        self.apply(Event::RolledBack { to })
    }

    /// Sets the clock to the next deadline and lets it pass.
    pub fn wake(&mut self) -> Result<Vec<Effect>, Rejected> {
        self.now = self.now.max(self.escrow.wake_at().expect("a deadline"));
        let due = self.escrow.due(self.now);
        self.apply(Event::Timer { due })
    }

    /// Ready, fully funded and final.
    pub fn active(&mut self) {
        self.ready();
        for slot in Slot::ALL {
            let due = slot.required(&self.escrow.contract);
            if due > Piconero::ZERO {
                self.fund(slot, due);
            }
        }
        self.mine(u64::from(self.escrow.contract.finality_depth));
    }

    /// Signing data for the present attempt.
    pub fn sync(&self) -> Act {
        let attempt = self.settling().attempt;
        Act::Sync { attempt, info: "5a".to_owned() }
    }

    /// A proposal on the present signing data, for a fee.
    pub fn propose(&self, fee: Piconero) -> Act {
        let settling = self.settling();
        let (proposer, cosigner) = settling.signers();
        let sync = |role| settling.sync_of(role).unwrap_or_else(|| hash("no signing data"));
        Act::Propose {
            attempt: settling.attempt,
            built_on: [sync(proposer), sync(cosigner)],
            txset: "7e".to_owned(),
            tx_keys: vec![hash("transaction key")],
            fee,
            residue: Piconero::ZERO,
        }
    }

    /// An approval of the present proposal.
    pub fn approve(&self, txid: Hash32) -> Act {
        let settling = self.settling();
        let proposal = settling.proposal.as_ref().map_or_else(|| hash("no proposal"), |known| known.hash);
        Act::Approve { attempt: settling.attempt, proposal, txid, txset: "7e5e".to_owned() }
    }

    /// What a payout pays that is right for a fee.
    pub fn payments(&self, fee: Piconero) -> Payments {
        let shares = self.escrow.shares().expect("an outcome").expect("shares");
        let due = payout::net(&shares, fee).expect("net");
        let to = due.iter().map(|share| (share.address, share.amount)).collect();
        Payments { to, fee }
    }

    /// Both signers sign; the transaction is approved and not seen yet.
    pub fn signed(&mut self, txid: Hash32, fee: Piconero) {
        let (proposer, cosigner) = self.settling().signers();
        for role in [proposer, cosigner] {
            if self.settling().sync_of(role).is_none() {
                self.say(role, self.sync()).expect("signing data");
            }
        }
        self.say(proposer, self.propose(fee)).expect("a proposal");
        self.say(cosigner, self.approve(txid)).expect("an approval");
    }

    /// Signs, broadcasts and buries the payout; gives its id.
    pub fn pay(&mut self) -> Hash32 {
        let (txid, fee) = (hash("payout"), Piconero(50_000_000));
        self.signed(txid, fee);
        let payments = self.payments(fee);
        self.tip += 1;
        self.apply(Event::PayoutSeen { txid, height: Some(self.tip), payments }).expect("seen");
        self.mine(u64::from(self.escrow.contract.finality_depth));
        txid
    }
}

/// A well-formed multisig message, different for every role, attempt and round.
pub fn round_message(role: Role, attempt: u32, round: u8) -> String {
    let prefix = if round == 1 { "MultisigxV2R1" } else { "MultisigxV2Rn" };
    let letter = |number: u32| char::from(b"abcdefgh"[number as usize % 8]).to_string();
    let body = [letter(role as u32), letter(attempt), letter(u32::from(round))].concat();
    format!("{prefix}{}", body.repeat(60))
}
