//! Whose word stands, decided from the verified transcript alone: a participant never signs because the server says
//! so. The first decisive statement in the transcript's order counts; expiry counts only where there is none.

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::Contract;
use aegis_common::escrow::deposits::Slot;
use aegis_common::escrow::outcome::{Authority, Outcome, at_expiry};
use aegis_common::escrow::statement::{Act, SignedStatement};
use aegis_common::role::Role;
use aegis_common::time::{SignedDuration, Timestamp};

/// An outcome and by whose word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authorised {
    /// What is to be paid.
    pub outcome: Outcome,
    /// By whose word.
    pub authority: Authority,
}

/// The outcome that the transcript (in its order), the contract and this participant's own clock authorise.
///
/// `funded` is what this participant's own wallet says: whether the buyer's part was paid in full at expiry
/// ([`funded_at_expiry`]).
pub fn authorised(
    contract: &Contract,
    transcript: &[SignedStatement],
    funded: bool,
    now: Timestamp,
) -> Option<Authorised> {
    let mut offers: [Option<Outcome>; 2] = [None, None];
    let mut disputed = false;
    for signed in transcript {
        let said = &signed.statement;
        let found = match (&said.act, said.role) {
            (Act::Confirm {}, Role::Buyer) => Some((Outcome::Release, Authority::Buyer)),
            (Act::Refund {}, Role::Seller) => Some((Outcome::Refund, Authority::Seller)),
            (Act::Dispute { .. }, Role::Buyer | Role::Seller) => {
                disputed = true;
                None
            }
            (Act::Ruling { outcome, .. }, Role::Arbiter) if disputed => Some((*outcome, Authority::Ruling)),
            (Act::Settle { outcome }, role) => matched(&mut offers, role, *outcome),
            (Act::Cancel {}, role) => matched(&mut offers, role, Outcome::Refund),
            _ => None,
        };
        if let Some((outcome, authority)) = found {
            return Some(Authorised { outcome, authority });
        }
    }
    let expired = now >= contract.expires_at && !disputed;
    expired.then(|| Authorised { outcome: at_expiry(contract, funded), authority: Authority::Expiry })
}

/// Seconds that a block may take: two minutes on average, with room for slow ones and for clocks that differ.
const SLOW_BLOCK: i64 = 360;

/// What may be said of the question whether the buyer's part was paid in full when the contract expired. `paid` are the
/// outputs that count, with the times of their blocks.
///
/// Money that was mined after expiry funds nothing: else a seller could top up what a buyer had left unpaid, and have
/// an escrow that never began paid out to itself. Where the missing part was mined so shortly before expiry that it
/// may have become final before or after, both answers hold, and the server's is taken.
pub fn funded_at_expiry(contract: &Contract, paid: &[(Slot, Piconero, Timestamp)]) -> &'static [bool] {
    let covered = |slot: Slot, by: Timestamp| {
        let in_time = paid.iter().filter(|(known, _, at)| *known == slot && *at <= by);
        let sum = Piconero::sum(in_time.map(|(_, amount, _)| *amount));
        sum.is_some_and(|sum| sum >= slot.required(contract))
    };
    let funded = |by| covered(Slot::Payment, by) && covered(Slot::BuyerDeposit, by);
    let finality = SignedDuration::from_secs(SLOW_BLOCK * i64::from(contract.finality_depth));
    let surely = contract.expires_at.checked_sub(finality).unwrap_or(Timestamp::MIN);
    match (funded(surely), funded(contract.expires_at)) {
        (true, _) => &[true],
        (false, true) => &[true, false],
        (false, false) => &[false],
    }
}

/// Takes a trader's offer; the outcome once both standing offers are the same.
fn matched(offers: &mut [Option<Outcome>; 2], role: Role, outcome: Outcome) -> Option<(Outcome, Authority)> {
    let [buyer, seller] = offers;
    match role {
        Role::Buyer => *buyer = Some(outcome),
        Role::Seller => *seller = Some(outcome),
        Role::Arbiter => return None,
    }
    (buyer == seller).then_some((outcome, Authority::Mutual))
}

/// Whether signing needs the person's word beyond what it has said in the transcript or plainly gains by.
pub fn needs_consent(role: Role, authority: Authority) -> bool {
    match authority {
        // One side gives up everything by its own word; the other gains.
        Authority::Buyer | Authority::Seller => role == Role::Arbiter,
        // Both traders have signed it.
        Authority::Mutual => role == Role::Arbiter,
        // The arbiter's own word; the traders have not spoken.
        Authority::Ruling => role != Role::Arbiter,
        // Nobody has spoken.
        Authority::Expiry => true,
    }
}
