//! The payout: exported signing data, a proposal, a check, a signature, a submission.
//!
//! The outcome comes from the signed statements and this participant's own clock, the amounts from its own wallet,
//! the shares from the contract. The server only says whose turn it is.
//!
//! What comes after the payout goes back in the same way ([`super::returns`]).

use std::collections::BTreeSet;

use aegis_common::address::AddressKind;
use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::Contract;
use aegis_common::escrow::outcome::Outcome;
use aegis_common::escrow::payout::{self, PayoutError, Share};
use aegis_common::escrow::statement::Act;
use aegis_common::hash::{Hash32, Key32};
use aegis_common::time::Timestamp;
use aegis_common::wire::escrow::PayoutView;

use super::EngineError;
use super::desk::Held;
use super::hindrance::{Hindrance, hindrance, hindrance_to_return};
use super::holdings::Holdings;
use super::proposal::{Cost, Terms};
use super::returns::bounded;
use super::run::Engine;
use super::setup::Progress;
use super::terms;
use crate::authority::{Authorised, authorised, needs_consent};
use crate::book::{Fault, SignedPayout};
use crate::wallet::{
    Destination, MadeTxset, Priority, Session, TxShape, WalletError, WalletName, estimate_fee,
};

/// The lowest level: blocks have room, and a payout that waits an hour is no loss. It keeps the fee inside the band.
const PRIORITY: Priority = Priority::Low;

/// What this participant may sign.
struct Agreed {
    /// How the escrow ends; none for the return of what came after that.
    outcome: Option<Outcome>,
    /// With the bounds that are held.
    contract: Contract,
    shares: Vec<Share>,
}

impl Engine {
    /// Does what this participant owes the payout.
    pub async fn step_payout(&self, held: &mut Held<'_>) -> Result<Progress, EngineError> {
        let is_late = held.view.status.is_over();
        let view = if is_late { held.view.returning.clone() } else { held.view.payout.clone() };
        let Some(view) = view.filter(|view| view.payable) else {
            return Ok(Progress::Nothing);
        };
        let role = held.book.role;
        if view.seen.is_some() || (role != view.proposer && role != view.cosigner) {
            return Ok(Progress::Nothing);
        }
        if let Some(approval) = &view.approval {
            return self.submit(held, view.attempt, approval.txid).await;
        }
        let attempt = held.book.setup().rounds().attempt();
        let name = WalletName::of(held.book.contract.escrow_id, attempt);
        let mut session = self.wallet.session(&name).await?;
        let holdings = self.holdings(held, &mut session, Some(&view.spends)).await?;
        if holdings.counted.len() != view.spends.len() {
            return Ok(Progress::Asks("your own wallet does not see all deposits as final yet".to_owned()));
        }
        if self.has_forgotten(held, &holdings).await? {
            let why = "your own wallet has lost sight of money that lies on the chain: it has to be restored from its keys file";
            return Ok(Progress::Asks(why.to_owned()));
        }
        if let Some(made) = self.made_before(held, &view).await? {
            return Ok(Progress::Asks(format!(
                "you have signed for this money: the transaction {made} is on its way or on the chain"
            )));
        }
        if is_late {
            let shares = payout::returned(&held.book.contract, &holdings.received)?;
            if let Some(asks) = self.hinders_return(held, &mut session, &view, &shares).await? {
                return Ok(asks);
            }
            let spent = self.spent(held).await?;
            let given =
                Piconero::sum(shares.iter().map(|share| share.amount)).ok_or(PayoutError::NotPayable)?;
            let beside =
                hindrance_to_return(&held.book, &held.view.deposits, &view, &holdings, (given, &spent));
            if let Some(hindrance) = beside {
                return self.hindered(held, session, &view, hindrance).await;
            }
            held.book.beside = Piconero::ZERO;
            let contract = bounded(&held.book.contract, self.estimate(&shares, &holdings).await?);
            let agreed = Agreed { outcome: None, contract, shares };
            return self.sign(held, session, &view, &agreed, &holdings).await;
        }
        let Authorised { outcome, authority } = match self.agree(held, &view, &holdings)? {
            Ok(authorised) => authorised,
            Err(asks) => return Ok(asks),
        };
        let contract = &held.book.contract;
        if !held.book.signed_for.iter().all(|signed| holdings.excludes(signed, contract)) {
            let why = "the server leaves out what was signed for before, and may be paid out already";
            return Err(Fault::Payout(why.to_owned()).into());
        }
        if let Some(hindrance) = hindrance(&held.book, &held.view.deposits, &view, &holdings) {
            return self.hindered(held, session, &view, hindrance).await;
        }
        let shares = payout::shares(&held.book.contract, &holdings.received, outcome, authority)?;
        let agreed = Agreed { outcome: Some(outcome), contract: held.book.contract.clone(), shares };
        self.sign(held, session, &view, &agreed, &holdings).await
    }

    async fn hindered(
        &self,
        held: &mut Held<'_>,
        session: Session<'_>,
        view: &PayoutView,
        hindrance: Hindrance,
    ) -> Result<Progress, EngineError> {
        match hindrance {
            Hindrance::Asks(why) => Ok(Progress::Asks(why)),
            Hindrance::Anew => self.sync(held, session, view, next(view.attempt)?).await,
            Hindrance::Beside(sum) => {
                // The question is kept: the answer is one to this sum.
                held.book.beside = sum;
                held.save()?;
                Ok(Progress::Asks(format!(
                    "beside what goes back your wallet sees {} XMR that the server does not name, unless an earlier return has spent it. \
                     It could be spent in place of what goes back, which is then given back once more. Only if you know better: \
                     aegis consent {} --give-back",
                    sum.xmr(),
                    held.book.contract.escrow_id
                )))
            }
        }
    }

    /// What the proven payout has spent, and what this participant has signed for that its own node has.
    async fn spent(&self, held: &Held<'_>) -> Result<BTreeSet<Key32>, EngineError> {
        let mut spent: BTreeSet<Key32> = held.book.paid.iter().flat_map(|(_, keys)| keys.clone()).collect();
        for signed in &held.book.payouts {
            if self.daemon.has(signed.txid).await? {
                spent.extend(&signed.spends);
            }
        }
        Ok(spent)
    }

    /// A transaction that this participant signed for some of the same outputs and that is in the pool or on the chain, as its own
    /// node sees them: whatever the server says, nothing more is signed for these.
    async fn made_before(&self, held: &Held<'_>, view: &PayoutView) -> Result<Option<Hash32>, EngineError> {
        let again = |signed: &&SignedPayout| signed.spends.iter().any(|key| view.spends.contains(key));
        for signed in held.book.payouts.iter().filter(again) {
            if self.daemon.has(signed.txid).await? {
                return Ok(Some(signed.txid));
            }
        }
        Ok(None)
    }

    /// The steps of one signing attempt.
    async fn sign(
        &self,
        held: &mut Held<'_>,
        mut session: Session<'_>,
        view: &PayoutView,
        agreed: &Agreed,
        holdings: &Holdings,
    ) -> Result<Progress, EngineError> {
        let role = held.book.role;
        let synced = |act: &Act| matches!(act, Act::Sync { attempt, .. } if *attempt == view.attempt);
        let synced = held.book.find(role, synced).is_some();
        if view.shares != agreed.shares {
            let why = "the server divides the deposits otherwise than the contract";
            return Err(Fault::Payout(why.to_owned()).into());
        }
        if !synced {
            return self.sync(held, session, view, view.attempt).await;
        }
        let result = if role == view.proposer {
            self.propose(held, &mut session, view, agreed, holdings).await
        } else {
            self.approve(held, &mut session, view, agreed, holdings).await
        };
        match result {
            Err(EngineError::Wallet(error)) if is_stale(&error) => {
                let next = next(view.attempt)?;
                Ok(match self.sync(held, session, view, next).await? {
                    Progress::Did(_) => Progress::Did(format!(
                        "signing data was stale ({error}); began signing attempt {next}"
                    )),
                    other => other,
                })
            }
            other => other,
        }
    }

    /// Whether this participant may sign what the server says stands: authorised by the statements, the one outcome it
    /// ever signs, and consented to.
    fn agree(
        &self,
        held: &mut Held<'_>,
        view: &PayoutView,
        holdings: &Holdings,
    ) -> Result<Result<Authorised, Progress>, EngineError> {
        let now = self.clock.now();
        let (funded, late) = holdings.funded(&held.book.contract, held.book.funded);
        if late && held.book.note_late() {
            held.save()?;
        }
        let book = &held.book;
        let authorised = |funded: &bool| authorised(&book.contract, &book.transcript, *funded, now);
        let named = |found: &Authorised| (found.outcome, found.authority) == (view.outcome, view.authority);
        let found: Vec<Authorised> = funded.iter().filter_map(authorised).collect();
        if found.is_empty() {
            return Err(Fault::Payout("nobody has authorised a payout".to_owned()).into());
        }
        let Some(Authorised { outcome, authority }) = found.into_iter().find(named) else {
            let why = "the server names an outcome that the signed statements do not authorise";
            return Err(Fault::Payout(why.to_owned()).into());
        };
        if book.outcome.is_some_and(|signed| signed != outcome) {
            return Err(Fault::Payout("another outcome was signed before".to_owned()).into());
        }
        let by_policy = book.is_covered(&self.policy, outcome, authority);
        if needs_consent(book.role, authority) && !by_policy && !book.consents(outcome, authority) {
            let ends = terms::outcome(outcome, authority);
            let id = book.contract.escrow_id;
            let doubts: String =
                book.doubts(outcome, authority).iter().map(|doubt| format!("; {doubt}")).collect();
            let asks = format!("a payout waits for your consent ({ends}): aegis consent {id}{doubts}");
            return Ok(Err(Progress::Asks(asks)));
        }
        Ok(Ok(Authorised { outcome, authority }))
    }

    /// Binds this participant to the outcome, durably, right before its signature and not earlier: exported signing data
    /// binds nobody, and a dispute that arrives after it must still be ruled on and paid.
    ///
    /// It binds to the outputs as well: whatever is signed for the outcome later divides so much of them too that of all these
    /// transactions one at most is ever mined ([`Holdings::excludes`]).
    fn bind(held: &mut Held<'_>, outcome: Option<Outcome>, holdings: &Holdings) -> Result<(), EngineError> {
        if outcome.is_none() {
            return Ok(());
        }
        let spends = holdings.named();
        if held.book.outcome.is_none() || !held.book.signed_for.contains(&spends) {
            held.book.outcome = outcome;
            held.book.signed_for.push(spends);
            held.save()?;
        }
        Ok(())
    }

    /// Exports fresh signing data for an attempt, or sends what was exported for it.
    async fn sync(
        &self,
        held: &mut Held<'_>,
        mut session: Session<'_>,
        view: &PayoutView,
        attempt: u32,
    ) -> Result<Progress, EngineError> {
        let role = held.book.role;
        let other = if role == view.proposer { view.cosigner } else { view.proposer };
        let of_attempt = |act: &Act| matches!(act, Act::Sync { attempt: known, .. } if *known == attempt);
        // A server that shows the attempt before again gets nothing new: statements are few, and it must not use them up.
        if held.book.find(role, of_attempt).is_some() {
            return Ok(Progress::Nothing);
        }
        if !held.book.may_sync(other, self.clock.now()) {
            let asks =
                format!("too many signing attempts with the {other} for now; it goes on in its next turn");
            return Ok(Progress::Asks(asks));
        }
        let info = match &held.book.sync {
            Some((known, info)) if *known == attempt && !session.nonces_used() => info.clone(),
            _ => {
                let info = session.export().await?;
                held.book.sync = Some((attempt, info.clone()));
                // The wallet reads blocks by itself as well: what it had when it exported, it has now.
                held.book.exported =
                    Some(session.incoming().await?.into_iter().map(|output| output.pubkey).collect());
                held.save()?;
                info
            }
        };
        drop(session);
        held.book.note_sync(other, self.clock.now());
        held.say(Act::Sync { attempt, info }, None).await?;
        Ok(Progress::Did(format!("sent signing data of attempt {attempt}")))
    }

    /// The other signer's data of the present attempt: the statement's hash and the data.
    fn sync_of_other(held: &Held<'_>, view: &PayoutView) -> Result<Option<(Hash32, String)>, EngineError> {
        let other = if held.book.role == view.proposer { view.cosigner } else { view.proposer };
        let wanted = |act: &Act| matches!(act, Act::Sync { attempt, .. } if *attempt == view.attempt);
        let Some(signed) = held.book.find(other, wanted) else { return Ok(None) };
        let hash = signed.statement.hash().map_err(|error| EngineError::Book(error.to_string()))?;
        Ok(match &signed.statement.act {
            Act::Sync { info, .. } => Some((hash, info.clone())),
            _ => None,
        })
    }

    async fn propose(
        &self,
        held: &mut Held<'_>,
        session: &mut Session<'_>,
        view: &PayoutView,
        agreed: &Agreed,
        holdings: &Holdings,
    ) -> Result<Progress, EngineError> {
        if view.proposal.is_some() {
            return Ok(Progress::Nothing);
        }
        let Some((others, info)) = Self::sync_of_other(held, view)? else { return Ok(Progress::Nothing) };
        let role = held.book.role;
        let own =
            held.book.find(role, |act| matches!(act, Act::Sync { attempt, .. } if *attempt == view.attempt));
        let own = own.and_then(|signed| signed.statement.hash().ok());
        let own = own.ok_or_else(|| EngineError::Book("the own signing data is missing".to_owned()))?;
        session.import(&[&info]).await?;
        Self::bind(held, agreed.outcome, holdings)?;
        session.spend_only(|output| holdings.counted.contains(&output.global_index)).await?;
        let images = session.images(|output| holdings.counted.contains(&output.global_index)).await?;
        let made = self.build(session, &agreed.shares, holdings).await?;
        if !made.spends.iter().all(|image| images.contains(image)) {
            let why = "your own wallet spends other outputs than it should";
            return Err(Fault::Payout(why.to_owned()).into());
        }
        let terms = Self::terms(session, agreed, holdings).await?;
        let Cost { fee, residue } = terms.check(&session.describe(&made.txset).await?, made.tx_keys.len())?;
        let tx_keys = made.tx_keys.iter().map(|key| Hash32(key.0)).collect();
        let (attempt, built_on) = (view.attempt, [own, others]);
        let act = Act::Propose { attempt, built_on, txset: made.txset, tx_keys, fee, residue };
        held.say(act, None).await?;
        Ok(Progress::Did(format!("proposed the payout, fee {} XMR", fee.xmr())))
    }

    /// What a transaction that pays these should cost.
    async fn estimate(&self, shares: &[Share], holdings: &Holdings) -> Result<Piconero, EngineError> {
        let shape = TxShape {
            inputs: holdings.counted.len() as u64,
            recipients: shares.len() as u64,
            subaddresses: shares.iter().any(|share| share.address.kind == AddressKind::Subaddress),
        };
        let rate = self.daemon.fee_rate(PRIORITY).await?;
        Ok(estimate_fee(shape, rate).ok_or(PayoutError::NotPayable)?)
    }

    /// A transfer whose amounts are net of more than it can cost, so that a small residue returns to the escrow: a payout
    /// without change is not signed ([`Terms::check`]).
    async fn build(
        &self,
        session: &mut Session<'_>,
        shares: &[Share],
        holdings: &Holdings,
    ) -> Result<MadeTxset, EngineError> {
        let most = self.estimate(shares, holdings).await?.checked_add(Piconero(1));
        let lines = payout::net(shares, most.ok_or(PayoutError::NotPayable)?)?;
        let to: Vec<_> =
            lines.iter().map(|share| Destination { address: share.address, amount: share.amount }).collect();
        Ok(session.build_transfer(&to, PRIORITY).await?)
    }

    /// What a transaction is held against.
    async fn terms<'a>(
        session: &mut Session<'_>,
        agreed: &'a Agreed,
        holdings: &Holdings,
    ) -> Result<Terms<'a>, EngineError> {
        let [escrow, ..] = session.addresses().await?;
        let total = holdings.received.total().ok_or(PayoutError::NotPayable)?;
        Ok(Terms { contract: &agreed.contract, shares: &agreed.shares, total, escrow })
    }

    async fn approve(
        &self,
        held: &mut Held<'_>,
        session: &mut Session<'_>,
        view: &PayoutView,
        agreed: &Agreed,
        holdings: &Holdings,
    ) -> Result<Progress, EngineError> {
        let Some(proposal) = &view.proposal else { return Ok(Progress::Nothing) };
        let known = held.book.by_hash(proposal.hash).map(|signed| &signed.statement);
        let known =
            known.filter(|statement| statement.role == view.proposer).map(|statement| statement.act.clone());
        let Some(Act::Propose { attempt, txset, tx_keys, fee, residue, .. }) = known else {
            return Err(Fault::Payout(
                "the server names a proposal that is not in the transcript".to_owned(),
            )
            .into());
        };
        if attempt != view.attempt {
            return Err(Fault::Payout("the server names a proposal of another attempt".to_owned()).into());
        }
        let signed = match held.book.payouts.iter().find(|signed| signed.attempt == attempt) {
            Some(stored) if stored.proposal != proposal.hash => {
                let why = "the server names another proposal of an attempt that was signed";
                return Err(Fault::Payout(why.to_owned()).into());
            }
            Some(stored) => stored.clone(),
            None => {
                let Some((_, info)) = Self::sync_of_other(held, view)? else { return Ok(Progress::Nothing) };
                session.import(&[&info]).await?;
                // A wallet that once left an output out would not sign for it.
                session.spend_only(|output| holdings.counted.contains(&output.global_index)).await?;
                let terms = Self::terms(session, agreed, holdings).await?;
                let cost = terms.check(&session.describe(&txset).await?, tx_keys.len())?;
                if cost != (Cost { fee, residue }) {
                    let why = "the proposal states another fee than its transaction";
                    return Err(Fault::Payout(why.to_owned()).into());
                }
                Self::bind(held, agreed.outcome, holdings)?;
                let signed = session.sign(&txset).await?;
                let [txid] = signed.tx_hashes.as_slice() else {
                    return Err(Fault::Payout("the proposal holds several transactions".to_owned()).into());
                };
                // With other keys the payout would be made and could never be shown to be right.
                if session.tx_keys(txid).await?.iter().map(|key| key.0).ne(tx_keys.iter().map(|key| key.0)) {
                    let why = "the proposal states other transaction keys than its transaction has";
                    return Err(Fault::Payout(why.to_owned()).into());
                }
                let (txid, txset) = (*txid, signed.txset);
                let spends = view.spends.clone();
                let signed = SignedPayout { attempt, proposal: proposal.hash, txid, txset, spends };
                held.book.payouts.push(signed.clone());
                held.save()?;
                signed
            }
        };
        let approve =
            Act::Approve { attempt, proposal: proposal.hash, txid: signed.txid, txset: signed.txset.clone() };
        // The payout is complete and right: a server that holds back the word of it does not hold back the money.
        let said = held.say(approve, None).await;
        let submitted = session.submit(&signed.txset).await;
        said?;
        submitted?;
        Ok(Progress::Did(format!("signed and submitted the payout {}", signed.txid)))
    }

    /// Sends an approved transaction again while nobody has seen it: either signer can, and twice is harmless.
    async fn submit(&self, held: &Held<'_>, attempt: u32, txid: Hash32) -> Result<Progress, EngineError> {
        let approves = |act: &Act| matches!(act, Act::Approve { txid: known, .. } if *known == txid);
        let own = held.book.find(held.book.role, approves).is_some();
        let others = held.book.role.others().into_iter().find_map(|role| held.book.find(role, approves));
        let found = if own { held.book.find(held.book.role, approves) } else { others };
        let Some(Act::Approve { txset, .. }) = found.map(|signed| &signed.statement.act) else {
            return Ok(Progress::Nothing);
        };
        let setup_attempt = held.book.setup().rounds().attempt();
        let name = WalletName::of(held.book.contract.escrow_id, setup_attempt);
        let mut session = self.wallet.session(&name).await?;
        let sent = if own { session.submit(txset).await } else { session.submit_foreign(txset).await };
        match sent {
            // Not `Did`: as long as nobody has seen it this is repeated, and at the pace of the poll, not without a pause.
            Ok(_) => Ok(Progress::Asks(format!("submitted the payout of attempt {attempt}"))),
            // Already in pool or chain: what was wanted.
            Err(error) if error.is_refusal() => Ok(Progress::Nothing),
            Err(error) => Err(error.into()),
        }
    }
}

/// The attempt after the one the server names, which may be any number.
fn next(attempt: u32) -> Result<u32, EngineError> {
    attempt
        .checked_add(1)
        .ok_or_else(|| Fault::Payout("the server names an impossible attempt".to_owned()).into())
}

/// Errors that fresh signing data mends.
fn is_stale(error: &WalletError) -> bool {
    error.needs_fresh_export() || matches!(error, WalletError::ImportNeeded)
}

/// Where the time comes from in the running program.
pub struct SystemClock;

impl aegis_common::time::Clock for SystemClock {
    fn now(&self) -> Timestamp {
        aegis_common::time::to_millis(Timestamp::now())
    }
}
