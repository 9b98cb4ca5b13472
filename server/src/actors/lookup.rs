//! Looking up transactions that are in no block yet: what became of them is asked of the nodes beside the escrow's
//! mailbox, and told to it as events. What counts is decided by the rules; here only facts are gathered.

use std::pin::Pin;

use aegis_common::address::Address;
use aegis_common::chain::{Tx, prove_payment};
use aegis_common::escrow::deposits::{Refusal as NotCredited, Sighting};
use aegis_common::escrow::event::Event;
use aegis_common::escrow::payout::Payments;
use aegis_common::escrow::record::Entry;
use aegis_common::escrow::settling::{OnChain, Settling};
use aegis_common::escrow::state::Escrow;
use aegis_common::escrow::statement::Act;
use aegis_common::hash::Hash32;

use super::directory::Channel;
use super::escrow::{Fault, Work, store_refusal};
use super::message::{Command, Refusal, Snapshot};
use super::rows::inconsistent;
use super::world::World;
use crate::node::{NodeError, NodePool, Place};

/// An answer that takes a while.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, NodeError>> + Send + 'a>>;

/// Whom to ask about single transactions.
pub trait Finder: Send + Sync {
    /// A transaction and where it is; `None` where it is in neither pool nor chain.
    fn find(&self, tx: Hash32) -> Answer<'_, Option<(Tx, Place)>>;
    /// The hash of the block at a height.
    fn header_hash(&self, height: u64) -> Answer<'_, Hash32>;
}

impl Finder for NodePool {
    fn find(&self, tx: Hash32) -> Answer<'_, Option<(Tx, Place)>> {
        Box::pin(self.find(tx))
    }

    fn header_hash(&self, height: u64) -> Answer<'_, Hash32> {
        Box::pin(self.header_hash(height))
    }
}

/// Asks about everything the escrow waits for and tells it the answers.
pub(super) async fn look_up(
    channel: &Channel,
    world: &World,
    finder: &dyn Finder,
) -> Result<Snapshot, Fault> {
    let mark = world.tip.mark();
    let mut latest = channel.ask(Work::Command(Command::Read), None).await?;
    let escrow = latest.escrow.clone();
    let look = Look { world, finder, escrow: &escrow };
    let mut failed = None;
    for txid in escrow.unmined() {
        // One that can't be looked up now must not hide the others.
        let events = look.events(txid).await.unwrap_or_else(|refusal| {
            failed = Some(refusal);
            Vec::new()
        });
        for event in events {
            match channel.ask(Work::Event(event), None).await {
                Ok(snapshot) => latest = snapshot,
                Err(Fault::Refused(Refusal::Rejected(_))) => {}
                Err(fault) => return Err(fault),
            }
        }
    }
    // A reorganisation meanwhile was told to those escrows that were known to be concerned. This one may have
    // become one of them since.
    if let Some(to) = world.tip.rolled_back_since(mark) {
        match channel.ask(Work::Event(Event::RolledBack { to }), None).await {
            Ok(snapshot) => latest = snapshot,
            Err(Fault::Refused(Refusal::Rejected(_))) => {}
            Err(fault) => return Err(fault),
        }
    }
    failed.map_or(Ok(latest), |refusal| Err(refusal.into()))
}

struct Look<'a> {
    world: &'a World,
    finder: &'a dyn Finder,
    escrow: &'a Escrow,
}

impl Look<'_> {
    /// What there is to say about one transaction.
    async fn events(&self, txid: Hash32) -> Result<Vec<Event>, Refusal> {
        let id = self.escrow.contract.escrow_id;
        let proposals = self.escrow.settling().map_or(0, |settling| settling.proposals.len());
        let waits = self.escrow.deposits.all().iter().any(|it| it.output.tx == txid && it.height.is_none());
        let is_approved = self.escrow.settling().is_some_and(|settling| settling.approval(txid).is_some());
        if !waits && !is_approved && self.world.is_no_residue(id, txid, proposals) {
            return Ok(Vec::new());
        }
        let unavailable = |error: NodeError| {
            tracing::debug!(%error, "a transaction could not be looked up");
            Refusal::Unavailable
        };
        let found = match self.finder.find(txid).await {
            // It exists, says a node, and is of a kind that no wallet has made for years: then it is not the payout it was
            // approved as. The next attempt may begin; nothing is voided, since another node may know better.
            Err(NodeError::Unreadable) => return Ok(vec![Event::PayoutLost { txid }]),
            found => found.map_err(unavailable)?,
        };
        let height = match &found {
            None | Some((_, Place::Pool)) => None,
            Some((_, Place::Block(height))) if self.is_followed(*height).await? => Some(*height),
            // In a block that has not been followed yet: the next look-up comes after it.
            Some((_, Place::Block(_))) => return Ok(Vec::new()),
        };
        let mut events = self.about_deposits(txid, found.is_some(), height);
        let tx = found.as_ref().map(|(tx, _)| tx);
        match (self.escrow.settling(), tx) {
            (Some(settling), _) if settling.approval(txid).is_some() => {
                events.extend(self.about_payout(settling, txid, tx, height).await?);
            }
            (Some(settling), Some(tx)) if self.escrow.may_be_sent(txid) => {
                let sent = self.about_silent(settling, tx, height).await?;
                if sent.is_none() && height.is_some() {
                    self.world.note_no_residue(id, txid, proposals);
                }
                events.extend(sent);
            }
            _ => {}
        }
        Ok(events)
    }

    /// A payment to the escrow that may be the residue of a payout: its cosigner sent it and did not say so.
    async fn about_silent(
        &self,
        settling: &Settling,
        tx: &Tx,
        height: Option<u64>,
    ) -> Result<Option<Event>, Refusal> {
        let mut best: Option<Payments> = None;
        for proposed in settling.proposals.iter().rev() {
            let proven = self.prove(tx, proposed.hash).await?;
            if best.as_ref().map_or(0, |best| best.to.len()) < proven.to.len() {
                best = Some(proven);
            }
        }
        Ok(best.map(|payments| Event::PayoutSeen { txid: tx.hash, height, payments }))
    }

    /// Whether a block is on the chain as it was followed: only then will its undoing be noticed.
    async fn is_followed(&self, height: u64) -> Result<bool, Refusal> {
        if self.world.tip.height().is_none_or(|tip| height > tip) {
            return Ok(false);
        }
        let id = self.escrow.contract.escrow_id;
        let blocks = self.world.store.chain_blocks(self.world.network).await;
        let blocks = blocks.map_err(|error| store_refusal(id, &error))?;
        let Some(ours) = blocks.iter().find(|block| block.height == height) else {
            // Deeper than any reorganisation that is followed, or above what is remembered.
            return Ok(blocks.last().is_some_and(|lowest| height < lowest.height));
        };
        match self.finder.header_hash(height).await {
            Ok(theirs) => Ok(theirs == ours.hash),
            Err(_) => Ok(false),
        }
    }

    fn about_deposits(&self, txid: Hash32, found: bool, height: Option<u64>) -> Vec<Event> {
        let all = self.escrow.deposits.all().iter();
        let waiting = all.filter(|deposit| deposit.output.tx == txid && deposit.height.is_none());
        let event = |deposit: &aegis_common::escrow::deposits::Deposit| match (found, height) {
            (false, _) => Some(Event::DepositLost { output: deposit.output }),
            (true, None) => None,
            (true, Some(_)) => Some(Event::DepositSeen {
                seen: Sighting {
                    output: deposit.output,
                    key: deposit.key,
                    slot: deposit.slot,
                    amount: deposit.amount,
                    locked: deposit.refused == Some(NotCredited::Locked),
                    height,
                },
            }),
        };
        waiting.filter_map(event).collect()
    }

    async fn about_payout(
        &self,
        settling: &Settling,
        txid: Hash32,
        found: Option<&Tx>,
        height: Option<u64>,
    ) -> Result<Option<Event>, Refusal> {
        let Some(tx) = found else { return Ok(Some(Event::PayoutLost { txid })) };
        // Proving takes a while and has been done. An approval of what was found to be wrong before is news: it stands for
        // a new attempt, which must fail as well.
        let mut approvals = settling.approvals.iter().filter(|approval| approval.txid == txid);
        if settling.seen == Some(OnChain { txid, height }) || approvals.all(|approval| approval.void) {
            return Ok(None);
        }
        let mut best: Option<Payments> = None;
        for approval in settling.approvals.iter().rev().filter(|approval| approval.txid == txid) {
            let proven = self.prove(tx, approval.proposal).await?;
            // Two attempts may name one transaction; the one whose keys fit proves more.
            if best.as_ref().is_none_or(|best| best.to.len() < proven.to.len()) {
                best = Some(proven);
            }
        }
        Ok(best.map(|payments| Event::PayoutSeen { txid, height, payments }))
    }

    /// What a transaction pays, by the keys its proposer stated.
    async fn prove(&self, tx: &Tx, proposal: Hash32) -> Result<Payments, Refusal> {
        let id = self.escrow.contract.escrow_id;
        let row = self.world.store.journal_of_statement(id, proposal).await;
        let row = row.map_err(|error| store_refusal(id, &error))?;
        let row = row.ok_or_else(|| inconsistent(id, "a proposal is not in the journal"))?;
        let entry = Entry::parse(&row.event).map_err(|error| inconsistent(id, error))?;
        let keys: Vec<[u8; 32]> = match entry.event {
            Event::Statement { signed } => match signed.statement.act {
                Act::Propose { tx_keys, .. } => tx_keys.iter().map(|key| key.0).collect(),
                _ => return Err(inconsistent(id, "a proposal is another statement")),
            },
            _ => return Err(inconsistent(id, "a proposal is no statement")),
        };
        let mut to = Vec::new();
        for address in self.payees() {
            to.extend(prove_payment(tx, &keys, &address).into_iter().map(|(_, amount)| (address, amount)));
        }
        Ok(Payments { to, fee: tx.fee })
    }

    /// Every address the contract can pay, once.
    fn payees(&self) -> Vec<Address> {
        let contract = &self.escrow.contract;
        let parties = [&contract.buyer, &contract.seller, &contract.arbiter];
        let mut addresses: Vec<Address> = parties.iter().map(|party| party.payout_address).collect();
        addresses.extend(contract.platform_fee.as_ref().map(|fee| fee.address));
        let mut once = Vec::with_capacity(addresses.len());
        for address in addresses {
            if !once.contains(&address) {
                once.push(address);
            }
        }
        once
    }
}
