//! What people do when it is their turn, or never may.

use aegis_common::amount::Piconero;
use aegis_common::escrow::outcome::Outcome;
use aegis_common::escrow::state::{Escrow, Phase};
use aegis_common::escrow::statement::Act;
use aegis_common::hash::Hash32;
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::role::Role;
use aegis_common::testing::chain::TestWallet;
use aegis_common::time::{Clock, SignedDuration};
use aegis_common::wire::escrow::CreateEscrowRequest;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::super::super::message::{Command, Create, Refusal};
use super::super::kit::people::People;
use super::player::{self, Next, View};
use super::{Live, Month, Sent, Trade};
use crate::escrows::DraftError;

impl Month {
    /// Looks at one trade and does the next thing. `None` when it is over, else when to look again.
    pub(super) async fn step(&self, live: &Live, number: usize, tick: u64) -> Option<u64> {
        let trade = &mut *self.trades[number].borrow_mut();
        let Some(id) = trade.ids.last().copied() else { return self.create(live, number, trade, tick).await };
        let Ok(snapshot) = live.server.tell(id, Command::Read).await else { return Some(tick + 1) };
        let escrow = &*snapshot.escrow;
        let wallet = TestWallet::new((1 << 32) + number as u64 * 64 + trade.ids.len() as u64);
        let arbiter = self.number(escrow.contract.arbiter.user_id);
        let view = View {
            plan: &trade.plan,
            wallet: &wallet,
            number: number as u64 * 64 + trade.ids.len() as u64,
            paid: trade.paid,
            now: self.universe.clock.now(),
            first: number % 3,
            declines: id.0.as_u128() % 100 < u128::from(self.habits[arbiter].declines),
        };
        let who = |role| match role {
            Role::Buyer => trade.buyer,
            Role::Seller => trade.seller,
            Role::Arbiter => arbiter,
        };
        let next = view.next(escrow);
        let actor = match &next {
            Next::Say(role, _) => Some(*role),
            Next::Pay(_) => Some(Role::Buyer),
            _ => None,
        };
        if let Some(role) = actor {
            let habit = &self.habits[who(role)];
            if let Some(back) = habit.away_until(tick) {
                return Some(back);
            }
            if trade.asked != Some((role, snapshot.version)) {
                trade.asked = Some((role, snapshot.version));
                let pause = trade.dice.below(habit.slow + 1);
                if pause > 0 {
                    return Some(tick + pause);
                }
            }
        }
        match next {
            Next::Over => None,
            Next::Wait(ticks) => Some(tick + ticks),
            Next::Pay(amount) => {
                self.universe.chain.broadcast(view.payment(amount).tx);
                trade.paid += 1;
                Some(tick + 1)
            }
            Next::Delete => {
                let by = self.people[who(trade.plan.initiator)].party.user_id;
                let _ = live.server.tell(id, Command::Delete { by }).await;
                Some(tick + 1)
            }
            Next::Follow => match live.server.store.successor(id).await.unwrap() {
                // The choice may be made, and the escrow not yet.
                Some(next) if live.server.store.escrow(next).await.unwrap().is_some() => {
                    trade.ids.push(next);
                    trade.asked = None;
                    Some(tick + 1)
                }
                _ if self.universe.clock.now() > escrow.contract.expires_at => None,
                _ => Some(tick + 6),
            },
            Next::Send => {
                self.send(id, &view, escrow);
                Some(tick + 1)
            }
            Next::Say(role, act) => {
                let trio = [Role::Buyer, Role::Seller, Role::Arbiter];
                let people = People(trio.map(|role| self.people[who(role)].clone()));
                if self.habits[who(role)].hostile {
                    self.attack(live, id, escrow, &people, role).await;
                }
                let view_key = matches!(*act, Act::Attest { .. });
                let view_key = view_key.then(|| Zeroizing::new(wallet.view.to_bytes()));
                let signed = Box::new(people.sign(escrow, role, *act));
                let command = Command::Statement { by: people.id(role), signed, view_key };
                if let Ok(after) = live.server.tell(id, command).await
                    && after.escrow.settling().is_some_and(|settling| settling.approved)
                {
                    self.send(id, &view, &after.escrow);
                }
                // One after the other at least a tick later, so that a commit in doubt is seen before anything else is said.
                Some(tick + 1)
            }
        }
    }

    fn number(&self, arbiter: UserId) -> usize {
        let found = self.people[self.size.users..].iter().position(|person| person.party.user_id == arbiter);
        self.size.users + found.unwrap()
    }

    /// Brings the approved payout, or return, to the chain, unless another went out: they spend the same outputs.
    fn send(&self, id: EscrowId, view: &View<'_>, escrow: &Escrow) {
        let payout = view.payout(escrow);
        let settling = escrow.settling().unwrap();
        assert_eq!(settling.approvals.last().map(|approval| approval.txid), Some(payout.tx.hash));
        let mut sent = self.sent.borrow_mut();
        if let std::collections::hash_map::Entry::Vacant(place) = sent.entry((id, settling.late)) {
            let shares = escrow.shares().unwrap().unwrap();
            let paid = aegis_common::escrow::payout::net(&shares, player::FEE).unwrap();
            let to = paid.iter().map(|share| (share.address, share.amount)).collect();
            place.insert(Sent { txid: payout.tx.hash, to });
            self.universe.chain.broadcast(payout.tx);
        }
    }

    async fn create(&self, live: &Live, number: usize, trade: &mut Trade, tick: u64) -> Option<u64> {
        let plan = &trade.plan;
        let (creator, other) = match plan.initiator {
            Role::Buyer => (trade.buyer, trade.seller),
            _ => (trade.seller, trade.buyer),
        };
        if let Some(back) = self.habits[creator].away_until(tick) {
            return Some(back);
        }
        let named = plan.names_arbiter.then(|| {
            let number = self.size.users + trade.dice.below(self.size.arbiters as u64) as usize;
            self.people[number].party.username.clone()
        });
        let now = self.universe.clock.now();
        let request = CreateEscrowRequest {
            title: format!("Bicycle {number}"),
            description: String::new(),
            role: plan.initiator,
            counterparty: self.people[other].party.username.clone(),
            arbiter: named,
            amount: plan.amount,
            buyer_deposit: Piconero::ZERO,
            seller_deposit: Piconero::ZERO,
            default_outcome: plan.default,
            expires_at: now + SignedDuration::from_hours(plan.hours) + SignedDuration::from_secs(17),
            finality_depth: None,
            cosign_seconds: None,
            replaces: None,
        };
        let initiator = self.people[creator].party.user_id;
        let id = EscrowId(Uuid::now_v7());
        let contract = match live.drafts.draft(id, initiator, request).await {
            Ok(contract) => contract,
            // Another time: all are away at once, one trader arbitrates for the other, the named one can't be had, or the
            // database is going.
            Err(
                DraftError::NoArbiter
                | DraftError::Conflict
                | DraftError::Barred(_)
                | DraftError::UnknownUser { field: "arbiter" }
                | DraftError::Store(_),
            ) => return Some(tick + 1),
            Err(error) => panic!("{error}"),
        };
        let idempotency = (format!("trade {number}"), Hash32([1; 32]));
        let create = Create { contract, initiator, replaces: None, idempotency };
        match live.server.handles.create.send(create).await {
            Ok(Ok(made)) => trade.ids.push(made.escrow.contract.escrow_id),
            Ok(Err(Refusal::IdempotencyConflict)) => unreachable!("one key for one request"),
            _ => {}
        }
        Some(tick + 1)
    }

    /// What nobody may say: nothing of it may change anything.
    async fn attack(&self, live: &Live, id: EscrowId, escrow: &Escrow, people: &People, role: Role) {
        let other = if role == Role::Buyer { Role::Seller } else { Role::Buyer };
        let ruling = || Act::Ruling { outcome: Outcome::Refund, reason: "mine".to_owned() };
        let by = people.id(role);
        let mut forged = people.sign(escrow, other, Act::Confirm {});
        forged.signature = people.sign(escrow, role, Act::Confirm {}).signature;
        let early = !matches!(escrow.phase, Phase::Settling(_));
        let mut tried = vec![
            // In another's name, with one's own signature; with theirs, but sent by somebody else.
            (people.id(other), forged),
            (by, people.sign(escrow, other, Act::Accept {})),
            // An arbiter's word by a trader, or by the arbiter where nobody asked.
            (by, people.sign(escrow, if role == Role::Arbiter { Role::Arbiter } else { role }, ruling())),
        ];
        if matches!(escrow.phase, Phase::Disputed { .. }) && role == Role::Arbiter {
            tried.pop();
        }
        if early {
            let approve = Act::Approve {
                attempt: 1,
                proposal: Hash32([7; 32]),
                txid: Hash32([8; 32]),
                txset: "7e".to_owned(),
            };
            tried.push((by, people.sign(escrow, role, approve)));
        }
        for (by, signed) in tried {
            let what = signed.statement.act.kind();
            let command = Command::Statement { by, signed: Box::new(signed), view_key: None };
            let answer = live.server.tell(id, command).await;
            let refused = matches!(answer, Err(Refusal::Rejected(_) | Refusal::NotAuthor));
            assert!(refused, "{what} by the {role}: {answer:?}");
            *self.refused.borrow_mut() += 1;
        }
    }
}
