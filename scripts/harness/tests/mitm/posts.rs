//! Lies about a statement on its way to the server, and about the server's receipt.

use std::sync::{Arc, Mutex};

use aegis_common::escrow::statement::StatementRef;
use aegis_common::wire::escrow::StatementRequest;
use aegis_harness::relay::{Action, Exchange, Hook, Moment, hook};
use serde_json::{Value, json};

use crate::mallory::Mallory;

/// The ways to lie about a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostWay {
    FlipSignature,
    OtherParts,
    OtherAuthor,
    SignAgain,
    ReplayEscrow,
    ReplayOwn,
    RefuseTaken,
    RefuseUntaken,
    OtherReceipt,
    ReceiptUntaken,
    NoReceipt,
}

impl PostWay {
    pub const ALL: [Self; 11] = [
        Self::FlipSignature,
        Self::RefuseTaken,
        Self::OtherReceipt,
        Self::ReceiptUntaken,
        Self::ReplayEscrow,
        Self::OtherParts,
        Self::OtherAuthor,
        Self::SignAgain,
        Self::ReplayOwn,
        Self::RefuseUntaken,
        Self::NoReceipt,
    ];
}

/// The names of the statements that were posted.
pub type Posted = Arc<Mutex<Vec<String>>>;

/// What is said instead: the person's own statements here and in another escrow, and the other parties' ids.
pub struct Instead {
    pub here: Value,
    pub elsewhere: Value,
    pub author: Value,
    pub nibble: usize,
}

/// A relay that lies about every post.
pub fn lying(way: PostWay, instead: Instead, mallory: Arc<Mallory>) -> (Hook, Posted) {
    let posted = Posted::default();
    let seen = Arc::clone(&posted);
    let decide = move |moment: Moment, exchange: &Exchange| {
        let Some(statement) = exchange.statement() else { return Action::Pass };
        if moment == Moment::BeforeForward {
            seen.lock().unwrap().push(StatementRef::from(&statement).to_string());
        }
        lie(way, &instead, &mallory, moment, exchange)
    };
    (hook(decide), posted)
}

fn problem(status: u16) -> Action {
    let body = json!({
        "type": "urn:aegis:problem:wrong_state", "title": "Not now.", "status": status, "detail": "says the relay",
        "code": "WRONG_STATE"
    });
    Action::Answer { status, body: body.to_string().into_bytes() }
}

fn lie(way: PostWay, instead: &Instead, mallory: &Mallory, moment: Moment, exchange: &Exchange) -> Action {
    let read: StatementRequest = serde_json::from_slice(&exchange.request_body).unwrap();
    let mut body = exchange.request_json().unwrap();
    let hash = read.signed.statement.hash().unwrap();
    if moment == Moment::AfterForward {
        return match way {
            PostWay::RefuseTaken => problem(409),
            PostWay::OtherReceipt => {
                let mut receipt = exchange.response_json().unwrap();
                receipt["hash"] = json!("00".repeat(32));
                Action::Replace(receipt.to_string().into_bytes())
            }
            PostWay::NoReceipt => Action::Replace(b"{\"hash\":".to_vec()),
            _ => Action::Pass,
        };
    }
    match way {
        PostWay::FlipSignature => {
            let mut signature = read.signed.signature;
            signature.0[instead.nibble % 64] ^= 1 << (instead.nibble % 8);
            body["signed"]["signature"] = json!(signature);
        }
        PostWay::OtherParts => {
            let parts = &mut body["signed"]["statement"]["payload"]["outcome"];
            *parts = json!({"type": "release"});
        }
        PostWay::OtherAuthor => body["signed"]["statement"]["author"] = instead.author.clone(),
        PostWay::SignAgain => body["signed"] = mallory.sign(read.signed.statement),
        PostWay::ReplayEscrow => body["signed"] = instead.elsewhere.clone(),
        PostWay::ReplayOwn => body["signed"] = instead.here.clone(),
        PostWay::RefuseUntaken => return problem(409),
        PostWay::ReceiptUntaken => {
            let receipt = json!({"hash": hash, "version": 99, "status": "ACTIVE"});
            return Action::Answer { status: 200, body: receipt.to_string().into_bytes() };
        }
        PostWay::RefuseTaken | PostWay::OtherReceipt | PostWay::NoReceipt => return Action::Pass,
    }
    Action::Replace(body.to_string().into_bytes())
}
