use aegis_common::wire::event::EventPage;

use crate::support::server;

#[actix_web::test]
async fn the_feed_is_read_page_by_page_without_gap_or_repetition_and_is_ones_own() {
    let server = server().await;
    let [buyer, seller, arbiter] = server.people().await;
    for n in 0..5 {
        server.escrow(&buyer, &seller, &format!("key-{n}")).await;
    }
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let path = format!("/api/v1/events?after={after}&limit=2");
        let page: EventPage = server.get(&path, &arbiter).send().await.unwrap().json().await.unwrap();
        if page.events.is_empty() {
            assert_eq!(page.next, after);
            break;
        }
        assert!(page.events.len() <= 2);
        after = page.next;
        found.extend(page.events);
    }
    assert_eq!(found.len(), 5);
    assert!(found.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    assert!(found.iter().all(|event| event.kind == "EscrowInit" && event.escrow_id.is_some()));
    let stranger = server.person("stranger", 9, aegis_common::wire::account::AccountRole::Admin).await;
    let page: EventPage = server.get("/api/v1/events", &stranger).send().await.unwrap().json().await.unwrap();
    assert!(page.events.is_empty());
}
