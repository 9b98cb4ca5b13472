//! A whole setup in which everything that can go wrong does, over real sockets: each wrong thing gets its code, changes
//! nothing, and the right thing still goes through afterwards.

use aegis_common::address::{Address, Network};
use aegis_common::code::Code;
use aegis_common::escrow::setup::Stage;
use aegis_common::escrow::state::Escrow;
use aegis_common::escrow::statement::{Act, SignedStatement};
use aegis_common::hash::Hash32;
use aegis_common::role::Role;
use aegis_common::testing::chain::TestWallet;
use aegis_common::testing::round_message;
use aegis_common::wire::escrow::{EscrowView, StatementReceipt};
use aegis_common::wire::problem::Problem;
use aegis_server::store::{DatabaseUrl, Tip};
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{Person, TestServer, problem, said, server};

/// One escrow and its people.
struct Case {
    server: TestServer,
    people: [Person; 3],
    view: EscrowView,
    wallet: TestWallet,
}

impl Case {
    async fn new() -> Self {
        let server = server().await;
        let people = server.people().await;
        let view = server.escrow(&people[0], &people[1], "key").await;
        Self { server, people, view, wallet: TestWallet::new(7) }
    }

    fn who(&self, role: Role) -> &Person {
        match role {
            Role::Buyer => &self.people[0],
            Role::Seller => &self.people[1],
            Role::Arbiter => &self.people[2],
        }
    }

    async fn escrow(&self) -> Escrow {
        let row = self.server.state.store.escrow(self.view.id).await.unwrap().unwrap();
        serde_json::from_str(&row.snapshot).unwrap()
    }

    async fn sign(&self, role: Role, act: Act) -> SignedStatement {
        let Escrow { contract, contract_hash, chains, .. } = self.escrow().await;
        chains.next(&contract, contract_hash, role, act).sign(&self.who(role).signing).unwrap()
    }

    async fn send(&self, role: Role, body: &Value) -> Response {
        let path = format!("/api/v1/escrows/{}/statements", self.view.id);
        self.server.post(&path, self.who(role), body).send().await.unwrap()
    }

    /// An act as a request; attestations come with the wallet's view key.
    async fn request(&self, role: Role, act: Act) -> Value {
        let attests = matches!(act, Act::Attest { .. });
        let mut body = said(&self.sign(role, act).await);
        if attests {
            body["viewKey"] = json!(hex::encode(self.wallet.view.to_bytes()));
        }
        body
    }

    /// It is taken, and taken again without effect when it comes twice.
    async fn good(&self, role: Role, act: Act) -> StatementReceipt {
        let body = self.request(role, act).await;
        let sent = self.send(role, &body).await;
        assert_eq!(sent.status(), StatusCode::OK, "{}", sent.text().await.unwrap());
        let receipt: StatementReceipt = sent.json().await.unwrap();
        let again: StatementReceipt = self.send(role, &body).await.json().await.unwrap();
        assert_eq!(again, receipt);
        receipt
    }

    /// It is refused with its code and a sentence, and nothing is changed.
    async fn refused(&self, role: Role, body: &Value, code: Code) -> Problem {
        let before = self.server.state.store.escrow(self.view.id).await.unwrap();
        let found = problem(self.send(role, body).await, code).await;
        assert!(found.detail.len() > 10, "{found:?}");
        assert_eq!(self.server.state.store.escrow(self.view.id).await.unwrap(), before, "{code:?}");
        found
    }

    async fn bad(&self, role: Role, act: Act, code: Code) -> Problem {
        let body = self.request(role, act).await;
        self.refused(role, &body, code).await
    }

    async fn accepted(&self) {
        for role in Role::ALL {
            self.good(role, Act::Accept {}).await;
        }
    }

    async fn exchanged(&self) {
        self.accepted().await;
        for round in 1..=3 {
            for role in Role::ALL {
                self.good(role, message(role, round)).await;
            }
        }
    }

    fn attest(&self) -> Act {
        Act::Attest { attempt: 1, address: self.wallet.primary(), threshold: 2, total: 3, ready: true }
    }

    /// As a follower would have done.
    async fn knows_the_chain(&self) {
        let tip = Tip { height: 100, hash: Hash32([1; 32]) };
        self.server.state.store.advance_chain(Network::Regtest, vec![tip]).await.unwrap();
    }
}

fn message(role: Role, round: u8) -> Act {
    Act::Round { attempt: 1, round, message: round_message(role, 1, round) }
}

fn text(round: u8, message: impl Into<String>) -> Act {
    Act::Round { attempt: 1, round, message: message.into() }
}

#[actix_web::test]
async fn every_wrong_round_message_is_refused_by_its_code_and_the_right_one_still_counts() {
    let case = Case::new().await;
    use Role::{Arbiter, Buyer, Seller};
    case.bad(Buyer, message(Buyer, 1), Code::WrongState).await;
    case.accepted().await;
    case.bad(Buyer, Act::Accept {}, Code::AlreadyDone).await;

    // Wrong order and wrong round.
    for round in [0, 2, 3, 4, 255] {
        case.bad(Buyer, text(round, round_message(Buyer, 1, 2)), Code::WrongRound).await;
    }
    case.good(Buyer, message(Buyer, 1)).await;
    case.bad(Buyer, message(Buyer, 1), Code::WrongRound).await;
    let early = case.bad(Buyer, message(Buyer, 2), Code::WrongRound).await;
    assert!(early.detail.contains("until the others"));
    let other = Act::Round { attempt: 2, round: 1, message: round_message(Seller, 2, 1) };
    case.bad(Seller, other, Code::WrongAttempt).await;

    // Damaged, of another round, somebody else's, too long, empty.
    let sellers = round_message(Seller, 1, 1);
    for wrong in [
        String::new(),
        sellers.replace("MultisigxV2R1", "MultisigV1"),
        sellers.replacen("bbb", "b0b", 1).replacen('b', "0", 1),
        sellers.get(..60).unwrap().to_owned(),
        format!("{sellers}{}", "a".repeat(700)),
        round_message(Seller, 1, 2),
        round_message(Buyer, 1, 1),
    ] {
        case.bad(Seller, text(1, wrong), Code::BadMultisigMessage).await;
    }
    case.bad(Seller, text(1, format!("{sellers}{}", "a".repeat(2000))), Code::Invalid).await;
    case.good(Seller, message(Seller, 1)).await;
    case.good(Arbiter, message(Arbiter, 1)).await;
    // A replay of the first round in the second.
    case.bad(Buyer, text(2, round_message(Buyer, 1, 1)), Code::BadMultisigMessage).await;
    case.good(Buyer, message(Buyer, 2)).await;
}

#[actix_web::test]
async fn statements_of_the_wrong_party_or_out_of_their_chain_are_refused_by_their_code() {
    let case = Case::new().await;
    use Role::{Arbiter, Buyer, Seller};
    for (role, act) in [
        (Buyer, Act::Refund {}),
        (Arbiter, Act::Confirm {}),
        (Arbiter, Act::Dispute { reason: "I want to".to_owned() }),
    ] {
        case.bad(role, act, Code::WrongParty).await;
    }
    case.bad(Seller, Act::Confirm {}, Code::WrongState).await;

    let first = case.sign(Buyer, Act::Accept {}).await;
    let signing = &case.who(Buyer).signing;
    let changed = |change: &dyn Fn(&mut SignedStatement)| {
        let mut signed = first.clone();
        change(&mut signed);
        said(&signed.statement.sign(signing).unwrap())
    };
    let as_seller = changed(&|signed| signed.statement.role = Seller);
    case.refused(Buyer, &as_seller, Code::WrongAuthor).await;
    let elsewhere = changed(&|signed| signed.statement.contract_hash = Hash32([9; 32]));
    case.refused(Buyer, &elsewhere, Code::WrongEscrow).await;
    let skips = changed(&|signed| signed.statement.seq = 1);
    case.refused(Buyer, &skips, Code::BrokenChain).await;
    let mut damaged = said(&first);
    damaged["signed"]["signature"] = json!("00");
    case.refused(Buyer, &damaged, Code::Invalid).await;
    let mut damaged = first.clone();
    damaged.signature.0[5] ^= 1;
    case.refused(Buyer, &said(&damaged), Code::BadSignature).await;

    case.good(Buyer, Act::Accept {}).await;
    let fork = changed(&|signed| signed.statement.act = Act::Dispute { reason: "another story".to_owned() });
    case.refused(Buyer, &fork, Code::Fork).await;
    let mut unseen = case.sign(Seller, Act::Accept {}).await.statement;
    unseen.seen.buyer = Some(Hash32([7; 32]));
    let unseen = said(&unseen.sign(&case.who(Seller).signing).unwrap());
    case.refused(Seller, &unseen, Code::UnknownSeen).await;
    case.good(Seller, Act::Accept {}).await;
}

#[actix_web::test]
async fn wrong_attestations_are_refused_and_one_that_disagrees_stops_the_escrow() {
    let case = Case::new().await;
    case.exchanged().await;
    use Role::{Arbiter, Buyer, Seller};
    let Act::Attest { address, .. } = case.attest() else { panic!() };
    let act = |address, threshold, total, ready| Act::Attest { attempt: 1, address, threshold, total, ready };
    for (threshold, total, ready) in [(1, 3, true), (3, 3, true), (2, 2, true), (2, 3, false)] {
        case.bad(Buyer, act(address, threshold, total, ready), Code::BadAttestation).await;
    }
    let foreign = Address::new(Network::Stagenet, address.kind, address.spend, address.view);
    case.bad(Buyer, act(foreign, 2, 3, true), Code::BadAttestation).await;
    let mut body = case.request(Buyer, case.attest()).await;
    for key in ["77".repeat(32), "ff".repeat(32), "00".repeat(32)] {
        body["viewKey"] = json!(key);
        case.refused(Buyer, &body, Code::BadViewKey).await;
    }
    body.as_object_mut().unwrap().remove("viewKey");
    case.refused(Buyer, &body, Code::BadViewKey).await;
    case.good(Buyer, case.attest()).await;

    let other = TestWallet::new(8);
    let mut body = said(&case.sign(Seller, act(other.primary(), 2, 3, true)).await);
    body["viewKey"] = json!(hex::encode(other.view.to_bytes()));
    assert_eq!(case.send(Seller, &body).await.status(), StatusCode::OK, "what was signed is kept");
    assert_eq!(case.escrow().await.setup.stage(), Stage::Stopped);
    let stopped = case.bad(Arbiter, case.attest(), Code::AddressMismatch).await;
    assert!(stopped.detail.contains("different addresses"));
    case.bad(Buyer, Act::Restart { attempt: 2, reason: "again".to_owned() }, Code::AddressMismatch).await;
    let told = case.server.state.store.events_of(case.people[2].view.id, 0, 1000).await.unwrap();
    let told = told.iter().find(|event| event.kind.contains("Mismatch"));
    assert!(told.is_some_and(|event| event.payload.contains("seller")), "{told:?}");
}

#[actix_web::test]
async fn with_every_node_down_the_address_waits_and_nothing_is_lost() {
    let case = Case::new().await;
    case.exchanged().await;
    for role in [Role::Buyer, Role::Seller] {
        case.good(role, case.attest()).await;
    }
    // From which block on to watch can't be told.
    let body = case.request(Role::Arbiter, case.attest()).await;
    case.refused(Role::Arbiter, &body, Code::Unavailable).await;
    case.knows_the_chain().await;
    assert_eq!(case.send(Role::Arbiter, &body).await.status(), StatusCode::OK);
    assert_eq!(case.escrow().await.setup.stage(), Stage::Ready);
    assert_eq!(case.server.state.store.watched(None, 10).await.unwrap().len(), 1);
}

#[actix_web::test]
async fn a_full_disk_is_said_and_the_same_request_goes_through_when_there_is_room() {
    let case = Case::new().await;
    let DatabaseUrl::Sqlite(path) = case.server.database() else { panic!() };
    let mut raw = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    raw.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END";
    raw.batch_execute(full).unwrap();
    let body = case.request(Role::Buyer, Act::Accept {}).await;
    let said = case.refused(Role::Buyer, &body, Code::StorageFull).await;
    assert_eq!(said.status, 507);
    raw.batch_execute("DROP TRIGGER full").unwrap();
    assert_eq!(case.send(Role::Buyer, &body).await.status(), StatusCode::OK);
    assert_eq!(case.escrow().await.chains.of(Role::Buyer).hashes.len(), 1);
}
