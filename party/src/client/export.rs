//! What the server keeps of somebody, as it tells it.

use aegis_common::escrow::record::Record;
use aegis_common::ids::EscrowId;
use aegis_common::wire::arbiter::AssignmentView;
use aegis_common::wire::escrow::RecordPage;
use aegis_common::wire::market::EscrowReviews;
use serde_json::Value;

use super::{Client, ClientError};

/// Entries of one escrow's journal, and objects of one list: a server without end must not take all memory.
const MOST: usize = 100_000;

impl Client {
    /// How an escrow began, and all that happened to it.
    pub async fn record(&self, id: EscrowId) -> Result<Record, ClientError> {
        let mut record: Option<Record> = None;
        let mut after = 0;
        loop {
            let page: RecordPage = self.get(&format!("/escrows/{id}/record?after={after}&limit=100")).await?;
            let held = record
                .get_or_insert_with(|| Record { beginning: page.beginning.clone(), journal: Vec::new() });
            if held.beginning != page.beginning {
                return Err(ClientError::BadAnswer("an escrow has two beginnings".to_owned()));
            }
            held.journal.extend(page.entries);
            match page.next {
                Some(next) if next > after && held.journal.len() <= MOST => after = next,
                Some(_) => return Err(ClientError::BadAnswer("a journal without end".to_owned())),
                None => break,
            }
        }
        record.ok_or_else(|| ClientError::BadAnswer("no page at all".to_owned()))
    }

    /// Why an escrow has the arbiter it has.
    pub async fn assignment(&self, id: EscrowId) -> Result<AssignmentView, ClientError> {
        self.get(&format!("/escrows/{id}/assignment")).await
    }

    /// What its traders say of each other and of the arbiter.
    pub async fn reviews_in(&self, id: EscrowId) -> Result<EscrowReviews, ClientError> {
        self.get(&format!("/escrows/{id}/reviews")).await
    }

    /// One object as it is sent.
    pub async fn raw(&self, path: &str) -> Result<Value, ClientError> {
        self.get(path).await
    }

    /// The items of a list as they are sent, from all its pages, where they fit the query. `next` of a page is asked for as
    /// `cursor`.
    pub async fn raw_list(
        &self,
        path: &str,
        query: &[(&str, &str)],
        items: &str,
        cursor: &str,
    ) -> Result<Vec<Value>, ClientError> {
        let mut all = Vec::new();
        let mut next = Value::Null;
        loop {
            let text = next.as_str().map_or_else(|| next.to_string(), str::to_owned);
            let mut asked: Vec<_> =
                query.iter().map(|(name, value)| (*name, Some((*value).to_owned()))).collect();
            asked.extend([("limit", Some("100".to_owned())), (cursor, (!next.is_null()).then_some(text))]);
            let mut page: Value = self.get(&super::market::with_query(path, &asked)).await?;
            let Some(Value::Array(found)) = page.get_mut(items).map(Value::take) else {
                return Err(ClientError::BadAnswer(format!("{path}: no {items}")));
            };
            let done = found.is_empty();
            all.extend(found);
            let before =
                std::mem::replace(&mut next, page.get_mut("next").map(Value::take).unwrap_or_default());
            if done || next.is_null() {
                return Ok(all);
            }
            if all.len() > MOST || next == before {
                return Err(ClientError::BadAnswer(format!("{path}: a list without end")));
            }
        }
    }
}
