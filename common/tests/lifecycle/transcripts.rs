//! A transcript that was tampered with is refused, and the statement that is wrong is named.

use aegis_common::escrow::statement::{
    Act, SignedStatement, StatementError, StatementRef, TranscriptError, verify_transcript,
};
use aegis_common::role::Role;
use aegis_common::testing::{Sim, contract, contract_number, hash};
use proptest::prelude::*;
use serde_json::Value;

use crate::cases;

fn settled() -> Sim {
    let mut sim = Sim::new(contract());
    sim.active();
    sim.say(Role::Buyer, Act::Confirm {}).unwrap();
    sim.pay();
    sim
}

fn verify(sim: &Sim, transcript: &[SignedStatement]) -> Result<(), TranscriptError> {
    verify_transcript(&sim.escrow.contract, sim.escrow.contract_hash, transcript).map(drop)
}

fn names(error: TranscriptError, wrong: &SignedStatement) -> bool {
    error.statement == StatementRef::from(&wrong.statement)
}

/// Every leaf of a JSON value, by pointer.
fn leaves(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| leaves(member, format!("{at}/{name}"), all));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| leaves(item, format!("{at}/{index}"), all));
        }
        _ => all.push(at),
    }
}

#[test]
fn a_true_transcript_verifies() {
    let sim = settled();
    assert_eq!(verify(&sim, &sim.transcript), Ok(()));
}

#[test]
fn an_own_statement_of_another_escrow_is_refused_by_name() {
    let (sim, mut other) = (settled(), Sim::new(contract_number(2)));
    other.active();
    for place in 0..other.transcript.len() {
        let mut transcript = sim.transcript.clone();
        transcript[place] = other.transcript[place].clone();
        let error = verify(&sim, &transcript).unwrap_err();
        assert_eq!(error.error, StatementError::WrongEscrow);
        assert!(names(error, &transcript[place]));
    }
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn a_change_in_any_field_of_any_statement_is_refused_by_name(
        place in any::<prop::sample::Index>(),
        field in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        flip in 1..=255u8,
    ) {
        let sim = settled();
        let mut transcript = sim.transcript.clone();
        let place = place.index(transcript.len());
        let mut value = serde_json::to_value(&transcript[place]).unwrap();
        let mut fields = Vec::new();
        leaves(&value, String::new(), &mut fields);
        let leaf = value.pointer_mut(&fields[field.index(fields.len())]).unwrap();
        match leaf {
            Value::String(text) => {
                let mut bytes = text.clone().into_bytes();
                let at = byte.index(bytes.len());
                bytes[at] ^= flip;
                *text = String::from_utf8_lossy(&bytes).into_owned();
            }
            Value::Number(number) => *leaf = Value::from(number.as_u64().unwrap() ^ u64::from(flip)),
            Value::Bool(yes) => *yes = !*yes,
            other => *other = Value::from("something"),
        }
        // Where the text is no statement any more it never gets as far as the transcript.
        let Ok(changed) = serde_json::from_value::<SignedStatement>(value) else { return Ok(()) };
        // Hex has two spellings; both are the same statement.
        prop_assume!(changed != transcript[place]);
        transcript[place] = changed;
        let error = verify(&sim, &transcript).unwrap_err();
        prop_assert!(names(error, &transcript[place]));
    }

    #[test]
    fn another_author_or_role_is_refused_by_name(place in any::<prop::sample::Index>(), swap in 0..3usize) {
        let sim = settled();
        let mut transcript = sim.transcript.clone();
        let place = place.index(transcript.len());
        let original = transcript[place].statement.role;
        let other = original.others()[swap % 2];
        let statement = &mut transcript[place].statement;
        if swap != 1 {
            statement.role = other;
        }
        if swap != 2 {
            statement.author = sim.cast.of(other).party.user_id;
        }
        // Signed again by its own author: still not the other's.
        let signed = transcript[place].statement.clone().sign(&sim.cast.of(original).signing).unwrap();
        transcript[place] = signed;
        let error = verify(&sim, &transcript).unwrap_err();
        prop_assert!(matches!(error.error, StatementError::WrongAuthor | StatementError::BadSignature));
        prop_assert!(names(error, &transcript[place]));
    }

    #[test]
    fn what_is_dropped_is_missed_by_the_next_statement(place in any::<prop::sample::Index>()) {
        let sim = settled();
        let mut transcript = sim.transcript.clone();
        let place = place.index(transcript.len());
        transcript.remove(place);
        let Some(next) = transcript.get(place).cloned() else {
            // The tail is cut: nobody can know yet, but whoever speaks next has seen it.
            let honest = sim.sign(Role::Seller, Act::Confirm {});
            transcript.push(honest.clone());
            let error = verify(&sim, &transcript).unwrap_err();
            prop_assert!(names(error, &honest));
            return Ok(());
        };
        let error = verify(&sim, &transcript).unwrap_err();
        prop_assert!(names(error, &next));
    }

    #[test]
    fn statements_out_of_order_are_refused_by_name(place in any::<prop::sample::Index>()) {
        let sim = settled();
        let mut transcript = sim.transcript.clone();
        let place = place.index(transcript.len() - 1);
        transcript.swap(place, place + 1);
        let error = verify(&sim, &transcript).unwrap_err();
        prop_assert!(names(error, &transcript[place]));
    }

    #[test]
    fn a_statement_shown_twice_or_contradicted_is_refused_by_name(place in any::<prop::sample::Index>()) {
        let sim = settled();
        let place = place.index(sim.transcript.len());
        let known = sim.transcript[place].clone();
        let mut twice = sim.transcript.clone();
        twice.push(known.clone());
        let error = verify(&sim, &twice).unwrap_err();
        prop_assert_eq!(error.error, StatementError::BrokenChain);
        prop_assert!(names(error, &known));

        let key = &sim.cast.of(known.statement.role).signing;
        let mut fork = known.statement;
        fork.act = Act::Dispute { reason: "another story".into() };
        let fork = fork.sign(key).unwrap();
        let mut both = sim.transcript.clone();
        both.push(fork.clone());
        let error = verify(&sim, &both).unwrap_err();
        prop_assert_eq!(error.error, StatementError::Fork);
        prop_assert!(names(error, &fork));
        // Shown instead of the true one, it is missed by whoever had seen the true one.
        let mut instead = sim.transcript.clone();
        instead[place] = fork.clone();
        if place + 1 < instead.len() {
            let error = verify(&sim, &instead).unwrap_err();
            prop_assert!(names(error, &instead[place + 1]));
        }
    }
}

#[test]
fn nobody_may_claim_to_have_seen_less_than_before_or_what_does_not_exist() {
    let sim = settled();
    let mut next = sim.sign(Role::Buyer, Act::Cancel {}).statement;
    next.seen.seller = sim.escrow.chains.of(Role::Seller).hashes.first().copied();
    let signed = next.clone().sign(&sim.cast.buyer.signing).unwrap();
    let transcript = [&sim.transcript[..], &[signed]].concat();
    assert_eq!(verify(&sim, &transcript).unwrap_err().error, StatementError::UnknownSeen);
    next.seen.seller = Some(hash("never said"));
    let signed = next.sign(&sim.cast.buyer.signing).unwrap();
    let transcript = [&sim.transcript[..], &[signed]].concat();
    assert_eq!(verify(&sim, &transcript).unwrap_err().error, StatementError::UnknownSeen);
}

#[test]
fn an_address_flipped_in_a_signed_attestation_is_not_taken() {
    let sim = settled();
    let place = sim.transcript.iter().position(|s| matches!(s.statement.act, Act::Attest { .. })).unwrap();
    let mut transcript = sim.transcript.clone();
    if let Act::Attest { address, .. } = &mut transcript[place].statement.act {
        *address = aegis_common::testing::address(66);
    }
    let error = verify(&sim, &transcript).unwrap_err();
    assert_eq!(error.error, StatementError::BadSignature);
    assert!(names(error, &transcript[place]));
}
