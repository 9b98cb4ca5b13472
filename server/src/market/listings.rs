//! What is for sale.

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::bounds as contract;
use aegis_common::hash::Hash32;
use aegis_common::ids::{ListingId, UserId};
use aegis_common::wire::market::{
    ListingChange, ListingPage, ListingRequest, ListingStatus, ListingTerms, ListingView, Sort, bounds,
};
use aegis_common::words::words;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CREATED, Market, MarketError, changed, is_plain, refuse};
use crate::store::{Found, IdempotencyRow, Listed, ListingPatch, ListingQuery, ListingRow, Role};

/// Words of a title that it is found by: more than fit into most.
const MAX_WORDS: usize = 50;
/// Listings that one person may make at once, and seconds between two more.
const MADE: (u32, i64) = (100, 60);

/// The answer that is kept under a key.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    listing_id: ListingId,
}

/// What to find.
#[derive(Debug, Default)]
pub struct Search {
    /// Only this seller's.
    pub seller: Option<String>,
    /// Words of the title, each at least begun.
    pub text: Option<String>,
    /// From this price on.
    pub min: Option<Piconero>,
    /// Up to this price.
    pub max: Option<Piconero>,
    /// Those that are for sale where left out; others are one's own only.
    pub status: Option<ListingStatus>,
    /// In which order.
    pub sort: Sort,
    /// `next` of the page before.
    pub after: Option<String>,
}

impl Market {
    /// Offers something for sale. The same request under the same key gives the same listing.
    pub async fn list(
        &self,
        seller: UserId,
        request: ListingRequest,
        (key, request_hash): (String, Hash32),
    ) -> Result<ListingView, MarketError> {
        check_title(&request.title)?;
        check_description(&request.description)?;
        check_price(request.price)?;
        if request.stock > bounds::STOCK {
            return refuse("stock", "must be at most 1,000,000");
        }
        self.check_terms(seller, &request.terms).await?;
        let now = self.clock.now();
        let row = ListingRow {
            id: ListingId(Uuid::now_v7()),
            seller_id: seller,
            seller: self.name(seller).await?,
            version: 1,
            status: ListingStatus::Active,
            title: request.title,
            description: request.description,
            price: request.price,
            stock: request.stock.into(),
            terms: serde_json::to_string(&request.terms)?,
            created_at: now,
            updated_at: now,
        };
        let answer = IdempotencyRow {
            user_id: seller,
            key: key.clone(),
            request_hash,
            status: CREATED,
            response: serde_json::to_string(&Made { listing_id: row.id })?,
            created_at: now,
        };
        let words = indexed(&row.title);
        self.charge(b"listing\0", seller, MADE).await?;
        match self.store.insert_listing(row.clone(), words, answer, bounds::LISTINGS).await? {
            Listed::Done => view(row),
            Listed::TooMany => Err(MarketError::LimitReached("listings")),
            Listed::Known => {
                let known = self.known(seller, key, request_hash).await?.ok_or(MarketError::Undone)?;
                let Made { listing_id } = serde_json::from_str(&known)?;
                self.listing(seller, listing_id).await
            }
        }
    }

    /// One listing. A closed one is there for its seller and for those who ordered.
    pub async fn listing(&self, reader: UserId, id: ListingId) -> Result<ListingView, MarketError> {
        let row = self.store.listing(id).await?.ok_or(MarketError::Unknown)?;
        let shown = row.status != ListingStatus::Closed
            || row.seller_id == reader
            || self.store.has_ordered(id, reader).await?;
        if shown { view(row) } else { Err(MarketError::Unknown) }
    }

    /// Changes a listing of one's own that is at this version.
    pub async fn change_listing(
        &self,
        seller: UserId,
        id: ListingId,
        version: i64,
        change: ListingChange,
    ) -> Result<ListingView, MarketError> {
        let ListingChange { title, description, price, add_stock, status, terms } = change;
        title.as_deref().map_or(Ok(()), check_title)?;
        description.as_deref().map_or(Ok(()), check_description)?;
        price.map_or(Ok(()), check_price)?;
        if status == Some(ListingStatus::Closed) {
            return refuse("status", "must be active or paused; a listing is closed by deleting it");
        }
        if let Some(terms) = &terms {
            self.check_terms(seller, terms).await?;
        }
        let patch = ListingPatch {
            title: title.map(|title| {
                let words = indexed(&title);
                (title, words)
            }),
            description,
            price,
            add_stock: add_stock.unwrap_or(0).into(),
            most_stock: bounds::STOCK.into(),
            status,
            terms: terms.map(|terms| serde_json::to_string(&terms)).transpose()?,
        };
        self.patch(seller, id, version, patch).await
    }

    /// Closes a listing of one's own that is at this version. Its orders go on.
    pub async fn close_listing(
        &self,
        seller: UserId,
        id: ListingId,
        version: i64,
    ) -> Result<ListingView, MarketError> {
        let patch = ListingPatch { status: Some(ListingStatus::Closed), ..ListingPatch::default() };
        self.patch(seller, id, version, patch).await
    }

    async fn patch(
        &self,
        seller: UserId,
        id: ListingId,
        version: i64,
        patch: ListingPatch,
    ) -> Result<ListingView, MarketError> {
        let how = self.store.change_listing(id, seller, version, patch, self.clock.now()).await?;
        changed(how, MarketError::Over("the listing is closed"))?;
        self.listing(seller, id).await
    }

    /// A page of listings.
    pub async fn listings(
        &self,
        reader: UserId,
        search: Search,
        limit: usize,
    ) -> Result<ListingPage, MarketError> {
        let status = search.status.unwrap_or(ListingStatus::Active);
        let seller = match &search.seller {
            None => None,
            Some(name) => {
                Some(self.named(name).await?.ok_or(MarketError::UnknownUser { field: "seller" })?.id)
            }
        };
        if status != ListingStatus::Active && seller != Some(reader) {
            return refuse("status", "must be active, unless seller is yourself");
        }
        if search.min.is_some_and(|price| price > contract::MAX_AMOUNT) {
            return refuse("minPrice", "must be at most 1,000,000 XMR");
        }
        let after = search.after.as_deref().map(|cursor| {
            parse_cursor(cursor).map_or_else(|| refuse("after", "must be next of the page before"), Ok)
        });
        let query = ListingQuery {
            seller,
            status,
            words: search.text.as_deref().map_or(Ok(Vec::new()), searched)?,
            min: search.min,
            max: search.max.map(|price| price.min(contract::MAX_AMOUNT)),
            sort: search.sort,
            after: after.transpose()?,
            limit: limit + 1,
        };
        let Found { mut rows, walked } = self.store.listings(query).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| more).map(|row| (row.price, row.id));
        let next = last.or(walked).map(|(price, id)| format!("{price}.{id}"));
        Ok(ListingPage { listings: rows.into_iter().map(view).collect::<Result<_, _>>()?, next })
    }

    /// The bounds are the contract's, told early.
    async fn check_terms(&self, seller: UserId, terms: &ListingTerms) -> Result<(), MarketError> {
        if !bounds::EXPIRY_DAYS.contains(&terms.expiry_days) {
            return refuse("expiryDays", "must lie between 1 and 366");
        }
        for (field, deposit) in
            [("buyerDeposit", terms.buyer_deposit), ("sellerDeposit", terms.seller_deposit)]
        {
            let allowed = (contract::MIN_AMOUNT..=contract::MAX_AMOUNT).contains(&deposit);
            if deposit != Piconero::ZERO && !allowed {
                return refuse(field, "must be zero or lie between 0.001 and 1,000,000 XMR");
            }
        }
        let depths = contract::MIN_FINALITY..=contract::MAX_FINALITY;
        if terms.finality_depth.is_some_and(|depth| !depths.contains(&depth)) {
            return refuse("finalityDepth", "must lie between 10 and 100 blocks");
        }
        if terms.cosign_seconds.is_some_and(|seconds| !contract::COSIGN_SECONDS.contains(&seconds)) {
            return refuse("cosignSeconds", "must lie between 5 seconds and 30 days");
        }
        if terms.max_quantity.is_some_and(|most| !(1..=bounds::STOCK).contains(&most)) {
            return refuse("maxQuantity", "must lie between 1 and 1,000,000");
        }
        if let Some(name) = &terms.arbiter {
            let row = self.named(name).await?;
            if !row.is_some_and(|row| row.role == Role::Arbiter && row.id != seller) {
                return Err(MarketError::UnknownUser { field: "arbiter" });
            }
        }
        Ok(())
    }
}

pub(super) fn view(row: ListingRow) -> Result<ListingView, MarketError> {
    Ok(ListingView {
        id: row.id,
        version: row.version,
        seller_id: row.seller_id,
        seller: row.seller,
        title: row.title,
        description: row.description,
        price: row.price.into(),
        stock: row.stock,
        status: row.status,
        terms: serde_json::from_str(&row.terms)?,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

fn check_title(title: &str) -> Result<(), MarketError> {
    let fits = (1..=bounds::TITLE).contains(&title.chars().count());
    if fits && !title.trim().is_empty() && !title.chars().any(char::is_control) {
        return Ok(());
    }
    refuse("title", "must have 1 to 190 characters, none of them a control character")
}

fn check_description(description: &str) -> Result<(), MarketError> {
    if description.chars().count() <= bounds::DESCRIPTION && is_plain(description) {
        return Ok(());
    }
    refuse("description", "must have at most 4000 characters, none of them a control character")
}

fn check_price(price: Piconero) -> Result<(), MarketError> {
    if (Piconero(1)..=contract::MAX_AMOUNT).contains(&price) {
        return Ok(());
    }
    refuse("price", "must lie above zero and be at most 1,000,000 XMR")
}

/// The words that a title is found by.
fn indexed(title: &str) -> Vec<String> {
    words(title).into_iter().take(MAX_WORDS).collect()
}

fn searched(text: &str) -> Result<Vec<String>, MarketError> {
    let words = words(text);
    let fits = bounds::SEARCH.contains(&text.chars().count());
    if fits && (1..=bounds::SEARCH_WORDS).contains(&words.len()) {
        return Ok(words);
    }
    refuse("text", "must have 1 to 5 words and 2 to 100 characters")
}

/// The price and id of the last listing of a page.
fn parse_cursor(cursor: &str) -> Option<(Piconero, ListingId)> {
    let (price, id) = cursor.split_once('.')?;
    let price: Piconero = price.parse().ok()?;
    Some((price, id.parse().ok()?)).filter(|_| price <= contract::MAX_AMOUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_cut_into_words_and_searches_are_bounded() {
        assert_eq!(indexed("A red-blue BICYCLE, a Bicycle; Ä1"), ["a", "red", "blue", "bicycle", "ä1"]);
        assert_eq!(searched("Red bi").unwrap(), ["red", "bi"]);
        for bad in ["", "x", "--", "a b c d e f", &"x".repeat(101)] {
            assert!(matches!(searched(bad), Err(MarketError::Field { field: "text", .. })), "{bad}");
        }
    }

    #[test]
    fn a_cursor_that_is_none_is_known_as_such() {
        let id = ListingId(Uuid::now_v7());
        assert_eq!(parse_cursor(&format!("7.{id}")), Some((Piconero(7), id)));
        for bad in ["", "7", ".", "7.x", &format!("07.{id}"), &format!("{}.{id}", u64::MAX)] {
            assert_eq!(parse_cursor(bad), None, "{bad}");
        }
    }
}
