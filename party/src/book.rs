//! What this participant knows and has done in one escrow: its own memory, sealed on disk before anything is sent.
//!
//! The server's word is compared with it: statements once seen can't change or vanish, the contract can't change, and
//! one outcome is signed at most.

use std::collections::{BTreeMap, BTreeSet};

use aegis_common::address::Address;
use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::Contract;
use aegis_common::escrow::outcome::{Authority, Outcome};
use aegis_common::escrow::payout::Share;
use aegis_common::escrow::settling::RETRIES;
use aegis_common::escrow::setup::{Setup, SetupError, Stage};
use aegis_common::escrow::statement::{
    Act, Chains, Check, SignedStatement, Statement, StatementError, StatementRef, TranscriptError, verify,
};
use aegis_common::hash::{Hash32, Key32};
use aegis_common::role::Role;
use aegis_common::time::{SignedDuration, Timestamp};
use aegis_common::wire::escrow::PayoutView;
use serde::{Deserialize, Serialize};

use crate::policy::{Expiry, Policy, Sign};

/// Three pairs have had their attempts.
const SYNCS_PER_DOUBLING: usize = 27;

/// Refused statements that are remembered.
const MAX_REFUSED: usize = 32;

/// A statement signed by this participant that is not yet in the transcript: it is sent again until it is. A receipt
/// alone proves nothing.
#[derive(Clone, Serialize, Deserialize)]
pub struct Pending {
    /// The statement.
    pub signed: SignedStatement,
    /// The shared view key, with an attestation.
    pub view_key: Option<Key32>,
    /// It had been signed aside: where the server says that it is too early, it goes on waiting.
    #[serde(default)]
    pub waits: bool,
}

/// What the wallet gave in one setup attempt. Each is stored before it is sent and never asked for twice.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct AttemptBook {
    /// Messages by round.
    pub messages: BTreeMap<u8, String>,
    /// (0,0), (0,1), (0,2) of the finished and restorable wallet.
    pub addresses: Option<[Address; 3]>,
}

/// A transaction this participant has signed as cosigner, complete and ready to be sent.
#[derive(Clone, Serialize, Deserialize)]
pub struct SignedPayout {
    /// Signing attempt.
    pub attempt: u32,
    /// The proposal it completes.
    pub proposal: Hash32,
    /// Its id.
    pub txid: Hash32,
    /// The complete set, hex.
    pub txset: String,
    /// What it divides, by one-time keys; nothing where an older program signed it.
    #[serde(default)]
    pub spends: Vec<Key32>,
}

/// One escrow's book.
#[derive(Clone, Serialize, Deserialize)]
pub struct Book {
    /// The terms, as first seen.
    pub contract: Contract,
    /// Their hash, computed here.
    pub contract_hash: Hash32,
    /// The role this participant plays.
    pub role: Role,
    /// Verified statements in the server's order.
    pub transcript: Vec<SignedStatement>,
    /// The three chains they form.
    chains: Chains,
    /// The server's version up to which the transcript is known.
    pub cursor: i64,
    /// Signed, not yet in the transcript.
    pub pending: Option<Pending>,
    /// Wallet outputs by setup attempt.
    pub attempts: BTreeMap<u32, AttemptBook>,
    /// Signing data exported for a signing attempt.
    pub sync: Option<(u32, String)>,
    /// The outputs that the wallet had then, by one-time keys.
    #[serde(default)]
    pub exported: Option<BTreeSet<Key32>>,
    /// Outputs that the own wallet has seen final, by one-time keys, with their transactions.
    #[serde(default)]
    pub known: BTreeMap<Key32, Hash32>,
    /// By the other signer: when the present span of signing data began, and how many statements of it were made in it.
    #[serde(default)]
    sync_spans: BTreeMap<Role, (Timestamp, u32)>,
    /// Statements that the server refused. Said again they are the same, byte for byte: a server that kept one in secret must
    /// not get a second one for the same place that says the same.
    #[serde(default, rename = "refusals")]
    refused: Vec<Pending>,
    /// A dispute that was signed while it could not be sent: said as soon as the server takes it.
    #[serde(default)]
    pub aside: Option<SignedStatement>,
    /// What the person agreed to leave with the escrow beside the payout, at most.
    #[serde(default)]
    pub leave_behind: Piconero,
    /// Disputes that came by another way than the server.
    #[serde(default)]
    pub heard: Vec<SignedStatement>,
    /// The own wallet has seen the buyer's part, final.
    #[serde(default)]
    pub funded: bool,
    /// By the own wallet's times, which copies of output keys change, it came too late.
    #[serde(default)]
    late: bool,
    /// The one outcome this participant has ever put its signature to.
    pub outcome: Option<Outcome>,
    /// The person asked for this contract: no other is ever taken in its place.
    #[serde(default)]
    pub asked_for: bool,
    /// The person agreed to sign this outcome, standing by this word.
    #[serde(default, rename = "agreed")]
    pub consent: Option<(Outcome, Authority)>,
    /// Complete payouts, newest last.
    pub payouts: Vec<SignedPayout>,
    /// The payout that was proven before anything that came after it was given back, and what it divided: no other is believed
    /// in its place.
    #[serde(default)]
    pub paid: Option<(Hash32, Vec<Key32>)>,
    /// What was said to lie beside what came after the payout, when that was asked about.
    #[serde(default)]
    pub beside: Piconero,
    /// What of it that came after the payout the person agreed to give back.
    #[serde(default, rename = "goesBack")]
    pub give_back: Option<GiveBack>,
    /// What each transaction divides to which this participant has put its signature for the outcome: outputs by their one-time
    /// keys, with what they held.
    #[serde(default)]
    pub signed_for: Vec<Vec<(Key32, Piconero)>>,
}

/// A return as a person read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveBack {
    /// The outputs, by their one-time keys.
    pub spends: Vec<Key32>,
    /// Who gets how much of them.
    pub shares: Vec<Share>,
    /// What the own wallet saw beside it, that could be spent in its place.
    #[serde(default)]
    pub beside: Piconero,
}

/// The server shows something that can't be: nothing is done on its word until it shows the truth.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A statement is wrong.
    #[error(transparent)]
    Statement(#[from] TranscriptError),
    /// A statement breaks the rules of the setup, or repeats what its author has done.
    #[error("{statement} breaks the rules: {error}")]
    Rules {
        /// The statement.
        statement: StatementRef,
        /// The rule.
        error: SetupError,
    },
    /// The contract is not the one this participant knows, or not sound.
    #[error("the contract {0}")]
    Contract(String),
    /// An own statement that the server acknowledged is missing.
    #[error("the server acknowledged {0} and withholds it")]
    Withheld(StatementRef),
    /// A statement that was shown before is missing from the whole transcript.
    #[error("the server has shown {0} before and withholds it now")]
    Vanished(StatementRef),
    /// The transcript goes backwards.
    #[error("the server shows {0} out of order")]
    OutOfOrder(StatementRef),
    /// What the server says of the payout does not follow from the signed statements.
    #[error("{0}")]
    Payout(String),
}

impl Book {
    /// A book for a contract that was checked.
    pub fn new(contract: Contract, contract_hash: Hash32, role: Role) -> Self {
        Self {
            contract,
            contract_hash,
            role,
            transcript: Vec::new(),
            chains: Chains::default(),
            cursor: 0,
            pending: None,
            attempts: BTreeMap::new(),
            sync: None,
            exported: None,
            known: BTreeMap::new(),
            sync_spans: BTreeMap::new(),
            refused: Vec::new(),
            aside: None,
            leave_behind: Piconero::ZERO,
            heard: Vec::new(),
            funded: false,
            late: false,
            outcome: None,
            asked_for: false,
            consent: None,
            payouts: Vec::new(),
            paid: None,
            beside: Piconero::ZERO,
            give_back: None,
            signed_for: Vec::new(),
        }
    }

    /// Whether signing data may be posted now: as often in a turn as the server allows a pair of signers, and the turn grows as
    /// it does with the server. A server can make a participant post forever, and its statements would be used up.
    pub fn may_sync(&self, with: Role, now: Timestamp) -> bool {
        let own = self.transcript.iter().filter(|signed| signed.statement.role == self.role);
        let made = own.filter(|signed| matches!(signed.statement.act, Act::Sync { .. })).count();
        let doubled = i64::from(self.contract.cosign_seconds) << (made / SYNCS_PER_DOUBLING).min(16);
        let in_span = |since: Timestamp| now.duration_since(since).abs() < SignedDuration::from_secs(doubled);
        self.sync_spans.get(&with).is_none_or(|(since, count)| *count <= RETRIES || !in_span(*since))
    }

    /// Whether a transaction of the present attempt could spend an output unseen: only another proposer's, and only what there was
    /// when this participant exported signing data, if it has.
    pub fn could_spend(&self, view: &PayoutView, key: &Key32) -> bool {
        let is_of = self.sync.as_ref().is_some_and(|(attempt, _)| *attempt == view.attempt);
        let exported = self.exported.as_ref().filter(|_| is_of);
        self.role != view.proposer && exported.is_none_or(|exported| exported.contains(key))
    }

    /// Counts signing data that is about to be posted.
    pub fn note_sync(&mut self, with: Role, now: Timestamp) {
        let (since, count) = match self.sync_spans.get(&with) {
            Some((since, count)) if *count <= RETRIES => (*since, count + 1),
            _ => (now, 1),
        };
        self.sync_spans.insert(with, (since, count));
    }

    /// Takes a dispute that came by another way than the server, and says whether it is news. Whoever would sign the contract's
    /// default without asking is asked from then on.
    pub fn hear(&mut self, signed: &SignedStatement) -> Result<bool, Fault> {
        let said = &signed.statement;
        verify(&self.contract, self.contract_hash, signed)
            .map_err(|error| TranscriptError { statement: said.into(), error })?;
        let is_dispute = matches!(said.act, Act::Dispute { .. }) && said.role != Role::Arbiter;
        let known =
            self.transcript.contains(signed) || self.heard.iter().any(|old| old.statement.role == said.role);
        let news = is_dispute && !known;
        if news {
            self.heard.push(signed.clone());
            // It was given without knowing; what is signed already is bound.
            self.consent = None;
            self.leave_behind = Piconero::ZERO;
        }
        Ok(news)
    }

    /// What speaks against an outcome that stands by this word, in words for the person: by expiry nobody has spoken, as far as
    /// this participant was shown.
    pub fn doubts(&self, outcome: Outcome, authority: Authority) -> Vec<&'static str> {
        if authority != Authority::Expiry {
            return Vec::new();
        }
        let is_dispute = |signed: &&SignedStatement| matches!(signed.statement.act, Act::Dispute { .. });
        // The server decides whether the escrow was funded, and copies of output keys change what wallets say of it.
        let unfunded = outcome != Outcome::from(self.contract.default_outcome);
        let all = [
            (!self.heard.is_empty(), "a dispute was heard that the server does not show"),
            (self.decisions().iter().any(is_dispute), "you disputed, and the server does not show it"),
            (
                unfunded && self.funded,
                "your own wallet saw it funded in time, and the server says that it was not",
            ),
            (
                unfunded && !self.funded,
                "it is no default of the contract: the server says that it was not funded in time",
            ),
            (
                outcome == Outcome::Release && self.late && !self.funded,
                "by the times of your own wallet the payment came after the expiry",
            ),
        ];
        all.into_iter().filter(|(is_so, _)| *is_so).map(|(_, doubt)| doubt).collect()
    }

    /// Notes that by the own wallet's times the buyer's part came too late, and says whether that is news. Consent that was given
    /// before was given without knowing.
    pub fn note_late(&mut self) -> bool {
        let news = !self.late;
        self.late = true;
        if news && self.consents(Outcome::Release, Authority::Expiry) {
            self.consent = None;
        }
        news
    }

    /// Whether a policy signs without asking what stands by this word: at expiry only the contract's own default, and only where
    /// nothing speaks against it.
    pub fn is_covered(&self, policy: &Policy, outcome: Outcome, authority: Authority) -> bool {
        let standing = match authority {
            Authority::Expiry => policy.expiry == Expiry::Sign && self.doubts(outcome, authority).is_empty(),
            _ => policy.sign == Sign::Authorised,
        };
        standing && policy.covers(&self.contract)
    }

    /// What this participant has decided, for others to hear: what the transcript shows, what waits, what was refused.
    pub fn decisions(&self) -> Vec<&SignedStatement> {
        let waiting = self.pending.iter().chain(&self.refused).map(|pending| &pending.signed);
        let waiting = waiting.chain(&self.aside);
        let own = self.transcript.iter().filter(|signed| signed.statement.role == self.role);
        own.chain(waiting).filter(|signed| is_decision(&signed.statement.act)).collect()
    }

    /// Moves what waits to what was refused: its place in the chain is free again, if the server says the truth.
    pub fn refuse(&mut self) {
        self.refused.extend(self.pending.take());
        let excess = self.refused.len().saturating_sub(MAX_REFUSED);
        self.refused.drain(..excess);
    }

    /// It is too early for what had been signed aside: it waits for another try.
    pub fn set_aside_again(&mut self) {
        self.aside = self.pending.take().map(|pending| pending.signed);
    }

    /// Whether the person agreed to sign an outcome that stands by this word.
    pub fn consents(&self, outcome: Outcome, authority: Authority) -> bool {
        self.consent == Some((outcome, authority))
    }

    /// What waits aside or was refused before, and would be said now in the same place.
    pub fn take_unsaid(&mut self, next: &Statement) -> Option<SignedStatement> {
        let same = |old: &Statement| (old.seq, old.prev, &old.act) == (next.seq, next.prev, &next.act);
        if let Some(aside) = self.aside.take_if(|aside| same(&aside.statement)) {
            return Some(aside);
        }
        let place = self.refused.iter().position(|pending| same(&pending.signed.statement))?;
        Some(self.refused.remove(place).signed)
    }

    /// What this participant would say next: after what the transcript shows, and after what waits for the server.
    pub fn next(&self, act: Act) -> Result<Statement, Fault> {
        let mut chains = self.chains.clone();
        if let Some(pending) = &self.pending {
            let wrong = |error| TranscriptError { statement: (&pending.signed.statement).into(), error };
            if let Check::New(verified) =
                chains.check(&self.contract, self.contract_hash, &pending.signed).map_err(wrong)?
            {
                chains.push(&verified);
            }
        }
        Ok(chains.next(&self.contract, self.contract_hash, self.role, act))
    }

    /// The three chains.
    pub fn chains(&self) -> &Chains {
        &self.chains
    }

    /// Takes statements that follow what is known. Nothing is taken where one of them is wrong.
    pub fn absorb(&mut self, entries: &[(i64, SignedStatement)]) -> Result<(), Fault> {
        let mut chains = self.chains.clone();
        let mut cursor = self.cursor;
        let mut taken = Vec::with_capacity(entries.len());
        for (version, signed) in entries {
            let statement = StatementRef::from(&signed.statement);
            let wrong = |error| TranscriptError { statement: statement.clone(), error };
            if *version <= cursor {
                return Err(Fault::OutOfOrder(statement));
            }
            match chains.check(&self.contract, self.contract_hash, signed).map_err(wrong)? {
                Check::New(verified) => {
                    self.check_own(signed, verified.hash()).map_err(wrong)?;
                    chains.push(&verified);
                }
                Check::Known(_) => return Err(wrong(StatementError::BrokenChain).into()),
            }
            cursor = *version;
            taken.push(signed.clone());
        }
        let mut whole = self.transcript.clone();
        whole.extend(taken);
        replay(&self.contract, &whole)?;
        (self.chains, self.cursor, self.transcript) = (chains, cursor, whole);
        let own = &self.chains.of(self.role).hashes;
        let known = |pending: &Pending| pending.signed.statement.hash().is_ok_and(|hash| own.contains(&hash));
        if self.pending.as_ref().is_some_and(known) {
            self.pending = None;
        }
        Ok(())
    }

    /// This book before its first statement; for reading the whole transcript again.
    pub fn anew(&self) -> Self {
        Self { transcript: Vec::new(), chains: Chains::default(), cursor: 0, ..self.clone() }
    }

    /// Takes the place of this book with one that read the whole transcript anew: nothing known may be missing from it.
    pub fn adopt(&mut self, anew: Self) -> Result<(), Fault> {
        for known in &self.transcript {
            let hash = known.statement.hash().ok();
            let shown = anew.chains.of(known.statement.role).hashes.get(known.statement.seq as usize);
            if hash.is_none() || shown != hash.as_ref() {
                return Err(Fault::Vanished((&known.statement).into()));
            }
        }
        // Statements may come in between that were withheld; decisions keep their order: whose word came first may decide the
        // payout. Of the rest only what is said counts, so that a lie about it does not stay for ever.
        let mut shown = anew.transcript.iter();
        for known in self.transcript.iter().filter(|signed| is_decision(&signed.statement.act)) {
            if !shown.any(|signed| signed == known) {
                return Err(Fault::OutOfOrder((&known.statement).into()));
            }
        }
        *self = anew;
        Ok(())
    }

    /// Whether this participant has neither asked for the contract nor said anything that was taken, so that nothing would be
    /// lost with the book: a contract that was shown falsely, and refused, must not stay.
    pub fn is_blank(&self) -> bool {
        !self.asked_for && self.pending.is_none() && self.chains.of(self.role).hashes.is_empty()
    }

    /// Whether a payout is signed by two, as all three know.
    pub fn is_signed(&self) -> bool {
        self.transcript.iter().any(|signed| matches!(signed.statement.act, Act::Approve { .. }))
    }

    /// Whether this book alone shows that nothing is left to be signed, and nothing to be contradicted: a payout is complete, or
    /// this participant has said nothing and no money was seen. That it is over is for the server to say; it must not be believed
    /// for less.
    pub fn may_be_over(&self) -> bool {
        let untouched = self.is_blank() && !self.funded && self.outcome.is_none();
        self.pending.is_none() && self.aside.is_none() && (self.is_signed() || untouched)
    }

    /// An own statement that appears must be one this participant made: the pending one, or, in a book restored from
    /// a backup, one from before.
    fn check_own(&self, signed: &SignedStatement, hash: Hash32) -> Result<(), StatementError> {
        match &self.pending {
            Some(pending) if signed.statement.role == self.role => {
                let own = pending.signed.statement.hash().map_err(|_| StatementError::OutOfBounds)?;
                let same_place = pending.signed.statement.seq == signed.statement.seq;
                if same_place && own != hash { Err(StatementError::Fork) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// The setup as the transcript makes it.
    pub fn setup(&self) -> Setup {
        // Replayed without error when the statements were absorbed.
        replay(&self.contract, &self.transcript).unwrap_or_default()
    }

    /// The newest statement of a role that satisfies a condition.
    pub fn find(&self, role: Role, wanted: impl Fn(&Act) -> bool) -> Option<&SignedStatement> {
        let of_role = self.transcript.iter().rev().filter(|signed| signed.statement.role == role);
        of_role.into_iter().find(|signed| wanted(&signed.statement.act))
    }

    /// A statement by its hash.
    pub fn by_hash(&self, hash: Hash32) -> Option<&SignedStatement> {
        self.transcript.iter().find(|signed| signed.statement.hash().is_ok_and(|known| known == hash))
    }

    /// The two others' messages of a round of an attempt, in [`Role::others`] order.
    pub fn others_messages(&self, attempt: u32, round: u8) -> Option<[&str; 2]> {
        let message = |role| {
            let wanted = |act: &Act| matches!(act, Act::Round { attempt: a, round: r, .. } if (*a, *r) == (attempt, round));
            match &self.find(role, wanted)?.statement.act {
                Act::Round { message, .. } => Some(message.as_str()),
                _ => None,
            }
        };
        let [one, other] = self.role.others();
        Some([message(one)?, message(other)?])
    }

    /// The escrow's three addresses, only when all three parties attest the first and this participant's own
    /// wallet has it: what may be shown to somebody who pays.
    pub fn addresses(&self) -> Option<[Address; 3]> {
        let setup = self.setup();
        if setup.stage() != Stage::Ready {
            return None;
        }
        let own = self.attempts.get(&setup.rounds().attempt())?.addresses?;
        let [primary, ..] = own;
        (setup.address() == Some(primary)).then_some(own)
    }
}

/// What a person decides, as against what the program does for it.
pub fn is_decision(act: &Act) -> bool {
    matches!(
        act,
        Act::Confirm {}
            | Act::Refund {}
            | Act::Dispute { .. }
            | Act::Settle { .. }
            | Act::Cancel {}
            | Act::Decline { .. }
            | Act::Ruling { .. }
    )
}

/// Replays the setup statements; a server that lets through what the rules refuse is found out here.
fn replay(contract: &Contract, transcript: &[SignedStatement]) -> Result<Setup, Fault> {
    let mut setup = Setup::default();
    for signed in transcript {
        let said = &signed.statement;
        match setup.take(contract, said.role, &said.act) {
            None => {}
            Some(Ok(next)) => setup = next,
            Some(Err(error)) => return Err(Fault::Rules { statement: said.into(), error }),
        }
    }
    Ok(setup)
}
