//! Listings, orders, reviews.

use aegis_common::ids::{EscrowId, ListingId, ReviewId};
use aegis_common::wire::market::{
    AnswerRequest, HideRequest, ListingChange, ListingPage, ListingRequest, ListingView, OrderPage,
    OrderRequest, OrderView, ReviewChange, ReviewPage, ReviewRequest, ReviewView,
};
use reqwest::header::IF_MATCH;
use reqwest::{Method, Url};

use super::{Client, ClientError, json};

/// A path with a query; what is left out is not asked for.
pub(super) fn with_query(path: &str, query: &[(&str, Option<String>)]) -> String {
    let given = query.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?)));
    // Any base will do: only what follows the path is taken.
    let asked = Url::parse_with_params("http://localhost", given).ok();
    let asked = asked.and_then(|url| url.query().map(str::to_owned)).unwrap_or_default();
    if asked.is_empty() { path.to_owned() } else { format!("{path}?{asked}") }
}

impl Client {
    /// Offers something for sale; the key makes a repeated request harmless.
    pub async fn add_listing(&self, body: &ListingRequest, key: &str) -> Result<ListingView, ClientError> {
        let request = self.request(Method::POST, "/listings").header("Idempotency-Key", key).json(body);
        json(self.call(request).await?).await
    }

    /// Changes a listing that is at this version.
    pub async fn change_listing(
        &self,
        id: ListingId,
        version: i64,
        change: &ListingChange,
    ) -> Result<ListingView, ClientError> {
        let request = self.request(Method::PATCH, &format!("/listings/{id}")).header(IF_MATCH, version);
        json(self.call(request.json(change)).await?).await
    }

    /// Closes a listing that is at this version.
    pub async fn close_listing(&self, id: ListingId, version: i64) -> Result<ListingView, ClientError> {
        let request = self.request(Method::DELETE, &format!("/listings/{id}")).header(IF_MATCH, version);
        json(self.call(request).await?).await
    }

    /// One listing.
    pub async fn listing(&self, id: ListingId) -> Result<ListingView, ClientError> {
        self.get(&format!("/listings/{id}")).await
    }

    /// A page of listings.
    pub async fn listings(&self, query: &[(&str, Option<String>)]) -> Result<ListingPage, ClientError> {
        self.get(&with_query("/listings", query)).await
    }

    /// Orders a listing; the key makes a repeated request harmless.
    pub async fn order(&self, body: &OrderRequest, key: &str) -> Result<OrderView, ClientError> {
        let request = self.request(Method::POST, "/orders").header("Idempotency-Key", key).json(body);
        json(self.call(request).await?).await
    }

    /// A page of this account's orders.
    pub async fn orders(&self, query: &[(&str, Option<String>)]) -> Result<OrderPage, ClientError> {
        self.get(&with_query("/orders", query)).await
    }

    /// Reviews somebody in an escrow.
    pub async fn review(&self, escrow: EscrowId, body: &ReviewRequest) -> Result<ReviewView, ClientError> {
        let request = self.request(Method::POST, &format!("/escrows/{escrow}/reviews")).json(body);
        json(self.call(request).await?).await
    }

    /// Changes a review of one's own, as it is now.
    pub async fn change_review(
        &self,
        id: ReviewId,
        change: &ReviewChange,
    ) -> Result<ReviewView, ClientError> {
        let path = format!("/reviews/{id}");
        let now: ReviewView = self.get(&path).await?;
        let request = self.request(Method::PATCH, &path).header(IF_MATCH, now.version).json(change);
        json(self.call(request).await?).await
    }

    /// Answers a review of oneself.
    pub async fn answer_review(&self, id: ReviewId, body: &AnswerRequest) -> Result<ReviewView, ClientError> {
        let request = self.request(Method::PUT, &format!("/reviews/{id}/answer")).json(body);
        json(self.call(request).await?).await
    }

    /// Hides a review for a reason, or shows it again; for operators.
    pub async fn hide_review(
        &self,
        id: ReviewId,
        body: Option<&HideRequest>,
    ) -> Result<ReviewView, ClientError> {
        let path = format!("/reviews/{id}/hidden");
        let request = match body {
            Some(body) => self.request(Method::PUT, &path).json(body),
            None => self.request(Method::DELETE, &path),
        };
        json(self.call(request).await?).await
    }

    /// A page of somebody's reviews; the name is a username.
    pub async fn reviews(
        &self,
        name: &str,
        query: &[(&str, Option<String>)],
    ) -> Result<ReviewPage, ClientError> {
        self.get(&with_query(&format!("/users/{name}/reviews"), query)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_written_so_that_nothing_else_is_asked() {
        assert_eq!(with_query("/a", &[("b", None)]), "/a");
        let asked =
            [("text", Some("red & blue=#?".to_owned())), ("limit", None), ("sort", Some("x".to_owned()))];
        assert_eq!(with_query("/a", &asked), "/a?text=red+%26+blue%3D%23%3F&sort=x");
    }
}
