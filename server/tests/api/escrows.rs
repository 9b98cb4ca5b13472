use aegis_common::code::Code;
use aegis_common::escrow::history::By;
use aegis_common::ids::EscrowId;
use aegis_common::role::Role;
use aegis_common::time::SignedDuration;
use aegis_common::wire::account::AccountRole;
use aegis_common::wire::escrow::{EscrowView, HistoryPage, SlotView, StatementReceipt, TranscriptPage};
use aegis_common::wire::list::EscrowPage;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{Person, TestServer, acceptance, problem, said, server};

async fn read(server: &TestServer, who: &Person, id: &EscrowView) -> EscrowView {
    let sent = server.get(&format!("/api/v1/escrows/{}", id.id), who).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::OK);
    sent.json().await.unwrap()
}

#[actix_web::test]
async fn a_contract_is_made_of_the_accounts_the_request_and_the_configuration() {
    let server = server().await;
    let [buyer, seller, arbiter] = server.people().await;
    let mut order = server.order(&seller);
    order["cosignSeconds"] = json!(60);
    order["arbiter"] = json!("ADA-arbiter");
    order["sellerDeposit"] = json!("5000000000");
    let sent = server.create(&buyer, "key", &order).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::CREATED);
    let escrow: EscrowView = sent.json().await.unwrap();
    let contract = &escrow.contract;
    assert_eq!(contract.check(), Ok(()));
    assert_eq!(contract.hash().unwrap(), escrow.contract_hash);
    for (party, person) in
        [(&contract.buyer, &buyer), (&contract.seller, &seller), (&contract.arbiter, &arbiter)]
    {
        assert_eq!((party.user_id, &party.username), (person.view.id, &person.name));
        assert_eq!(party.signing_key, person.view.signing_key);
    }
    assert_eq!((contract.cosign_seconds, contract.finality_depth, contract.arbiter_fee_bps), (60, 10, 100));
    for person in [&buyer, &seller, &arbiter] {
        assert_eq!(read(&server, person, &escrow).await.contract, escrow.contract);
    }
    let slots: Vec<SlotView> = server
        .get(&format!("/api/v1/escrows/{}/deposits", escrow.id), &seller)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let missing: Vec<_> = slots.iter().map(|slot| slot.missing.piconero.0).collect();
    assert_eq!(missing, [1_000_000_000_000, 5_000_000_000]);
}

#[actix_web::test]
async fn a_repeated_creation_answers_with_the_first_even_when_its_time_is_over() {
    let server = server().await;
    let [buyer, seller, _] = server.people().await;
    let order = server.order(&seller);
    let create = |who: &Person, order: &serde_json::Value| server.create(who, "same-key", order).send();
    let first: EscrowView = create(&buyer, &order).await.unwrap().json().await.unwrap();
    let again = create(&buyer, &order).await.unwrap();
    assert_eq!(again.status(), StatusCode::CREATED);
    assert_eq!(again.json::<EscrowView>().await.unwrap().id, first.id);
    let mut other = order.clone();
    other["title"] = json!("Another bicycle");
    problem(create(&buyer, &other).await.unwrap(), Code::IdempotencyConflict).await;
    // Somebody else's equal key is another key.
    let mut reverse = order.clone();
    reverse["counterparty"] = json!(buyer.name);
    let others: EscrowView = create(&seller, &reverse).await.unwrap().json().await.unwrap();
    assert_ne!(others.id, first.id);
    server.clock.advance(SignedDuration::from_hours(24 * 8));
    let late = Person { token: server.login(&buyer.name).await.token, ..buyer };
    let replayed: EscrowView = create(&late, &order).await.unwrap().json().await.unwrap();
    assert_eq!(replayed.id, first.id);
}

#[actix_web::test]
async fn equal_creations_at_once_make_one_escrow() {
    let server = server().await;
    let [buyer, seller, _] = server.people().await;
    let order = server.order(&seller);
    let sent = (0..8).map(|_| server.create(&buyer, "same-key", &order).send());
    let mut ids = std::collections::BTreeSet::new();
    for answer in futures_util::future::join_all(sent).await {
        ids.insert(answer.unwrap().json::<EscrowView>().await.unwrap().id);
    }
    assert_eq!(ids.len(), 1);
}

#[actix_web::test]
async fn the_arbiter_with_the_least_work_is_assigned_and_never_a_party() {
    let server = server().await;
    let [buyer, seller, ada] = server.people().await;
    let zoe = server.person("Zoe-arbiter", 4, AccountRole::Arbiter).await;
    let mut counts = std::collections::BTreeMap::new();
    for n in 0..4 {
        let escrow = server.escrow(&buyer, &seller, &format!("key-{n}")).await;
        *counts.entry(escrow.contract.arbiter.username).or_insert(0) += 1;
    }
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(ada.name.clone(), 2), (zoe.name.clone(), 2)]);
    // Whoever she arbitrates for does not trade with her meanwhile; others do, and not under her.
    let order = server.order(&ada);
    problem(server.create(&buyer, "conflict", &order).send().await.unwrap(), Code::ConflictOfInterest).await;
    let other = server.person("Oda-other", 5, AccountRole::User).await;
    for n in 0..3 {
        let escrow = server.escrow(&other, &ada, &format!("with-ada-{n}")).await;
        assert_eq!(escrow.contract.arbiter.username, zoe.name);
    }
}

#[actix_web::test]
async fn statements_are_taken_once_and_stand_in_the_transcript_in_order() {
    let server = server().await;
    let [buyer, seller, arbiter] = server.people().await;
    let escrow = server.escrow(&buyer, &seller, "key").await;
    let path = format!("/api/v1/escrows/{}/statements", escrow.id);
    let mut sent = Vec::new();
    for (role, who) in [(Role::Seller, &seller), (Role::Buyer, &buyer), (Role::Arbiter, &arbiter)] {
        let statement = acceptance(&escrow, role, who);
        let mut receipts = Vec::new();
        for _ in 0..2 {
            let answer = server.post(&path, who, &said(&statement)).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            receipts.push(answer.json::<StatementReceipt>().await.unwrap());
        }
        assert_eq!(receipts[0], receipts[1]);
        assert_eq!(receipts[0].hash, statement.statement.hash().unwrap());
        sent.push(statement);
    }
    let view = read(&server, &buyer, &escrow).await;
    assert_eq!(view.version, escrow.version + 3);
    let mut found = Vec::new();
    let mut after = -1;
    loop {
        let path = format!("/api/v1/escrows/{}/transcript?after={after}&limit=2", escrow.id);
        let page: TranscriptPage = server.get(&path, &arbiter).send().await.unwrap().json().await.unwrap();
        found.extend(page.entries.into_iter().map(|entry| entry.signed));
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert!(found == sent);
}

#[actix_web::test]
async fn an_unchanged_escrow_is_not_sent_again() {
    let server = server().await;
    let [buyer, seller, _] = server.people().await;
    let escrow = server.escrow(&buyer, &seller, "key").await;
    let path = format!("/api/v1/escrows/{}", escrow.id);
    let first = server.get(&path, &buyer).send().await.unwrap();
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    let again = server.get(&path, &buyer).header("If-None-Match", &tag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    // The same tag says which version is meant.
    let statement = said(&acceptance(&escrow, Role::Buyer, &buyer));
    let post = server.post(&format!("{path}/statements"), &buyer, &statement).header("If-Match", &tag);
    assert_eq!(post.send().await.unwrap().status(), StatusCode::OK);
    let changed = server.get(&path, &buyer).header("If-None-Match", &tag).send().await.unwrap();
    assert_eq!(changed.status(), StatusCode::OK);
}

#[actix_web::test]
async fn the_initiator_deletes_an_escrow_and_lists_tell_it() {
    let server = server().await;
    let [buyer, seller, _] = server.people().await;
    let mut made = Vec::new();
    for n in 0..5 {
        made.push(server.escrow(&buyer, &seller, &format!("key-{n}")).await.id);
    }
    let delete = server.request(Method::DELETE, &format!("/api/v1/escrows/{}", made[2]));
    let deleted = delete.bearer_auth(&buyer.token).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::OK);
    let list = async |query: &str| -> Vec<EscrowId> {
        let sent = server.get(&format!("/api/v1/escrows?{query}"), &seller).send().await.unwrap();
        let page: EscrowPage = sent.json().await.unwrap();
        page.escrows.iter().map(|escrow| escrow.id).collect()
    };
    assert_eq!(list("status=CANCELLED").await, [made[2]]);
    assert_eq!(list("status=PENDING_FUNDING").await.len(), 4);
}

#[actix_web::test]
async fn only_operators_have_blocks_looked_through_again_and_only_for_what_is_watched() {
    let server = server().await;
    let [buyer, seller, _] = server.people().await;
    let operator = server.person("the-operator", 9, AccountRole::Operator).await;
    let path = format!("/api/v1/escrows/{}/rescan", server.escrow(&buyer, &seller, "key").await.id);
    let ask = async |who: &Person, body| server.post(&path, who, &body).send().await.unwrap();
    problem(ask(&buyer, json!({ "fromHeight": 0 })).await, Code::Forbidden).await;
    // No node is there: there is no block above zero.
    problem(ask(&operator, json!({ "fromHeight": 1 })).await, Code::Invalid).await;
    problem(ask(&operator, json!({ "fromHeight": -1 })).await, Code::Invalid).await;
    problem(ask(&operator, json!({})).await, Code::Invalid).await;
    // It has no address yet.
    problem(ask(&operator, json!({ "fromHeight": 0 })).await, Code::NotFound).await;
}

#[actix_web::test]
async fn the_history_tells_in_words_what_happened_page_by_page_and_to_the_parties_only() {
    let server = server().await;
    let [buyer, seller, arbiter] = server.people().await;
    let escrow = server.escrow(&buyer, &seller, "key").await;
    let path = format!("/api/v1/escrows/{}", escrow.id);
    for (role, who) in [(Role::Buyer, &buyer), (Role::Seller, &seller)] {
        server.clock.advance(SignedDuration::from_secs(5));
        let accepted = said(&acceptance(&escrow, role, who));
        let sent = server.post(&format!("{path}/statements"), who, &accepted).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::OK);
    }
    let deleted = server.request(Method::DELETE, &path).bearer_auth(&buyer.token).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::OK);
    for who in [&buyer, &seller, &arbiter] {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = format!("{path}/history?limit=1{after}");
            let page: HistoryPage = server.get(&page, who).send().await.unwrap().json().await.unwrap();
            assert_eq!(page.entries.len(), 1);
            all.extend(page.entries);
            match page.next {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        let whole: HistoryPage =
            server.get(&format!("{path}/history"), who).send().await.unwrap().json().await.unwrap();
        assert_eq!(whole, HistoryPage { entries: all.clone(), next: None });
        let found: Vec<_> = all.iter().map(|e| (e.version, e.by, &*e.code, e.text.clone())).collect();
        let expected = [
            (1, Some(By::Buyer), "create", format!("{} (buyer) creates the escrow.", buyer.name)),
            (2, Some(By::Buyer), "accept", format!("{} (buyer) accepts the contract.", buyer.name)),
            (3, Some(By::Seller), "accept", format!("{} (seller) accepts the contract.", seller.name)),
            (4, Some(By::Buyer), "delete", format!("{} (buyer) deletes the escrow.", buyer.name)),
        ];
        assert_eq!(found, expected);
        assert_eq!(
            (all[0].at, all[1].at),
            (escrow.created_at, escrow.created_at + SignedDuration::from_secs(5))
        );
    }
    // To everybody else it does not exist, whoever they are.
    for (name, seed, role) in [("eve", 7, AccountRole::User), ("an-operator", 8, AccountRole::Operator)] {
        let eve = server.person(name, seed, role).await;
        problem(server.get(&format!("{path}/history"), &eve).send().await.unwrap(), Code::NotFound).await;
    }
    problem(server.get(&format!("{path}/history?limit=0"), &buyer).send().await.unwrap(), Code::Invalid)
        .await;
}
