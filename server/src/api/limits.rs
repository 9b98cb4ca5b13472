//! Rate limits by address (GCRA, by `governor`).

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::HttpRequest;
use aegis_common::code::Code;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::problem::ApiError;
use crate::accounts::Origin;
use crate::config::Limits;

/// Checks between two cleanings: the memory of who was seen stays in proportion to recent traffic.
const CLEAN_EVERY: usize = 4096;

/// One limit, by some key.
struct Limit<K: Hash + Eq + Clone> {
    limiter: DefaultKeyedRateLimiter<K>,
    clock: DefaultClock,
    checks: AtomicUsize,
}

impl<K: Hash + Eq + Clone> Limit<K> {
    fn new(quota: Quota) -> Self {
        Self {
            limiter: RateLimiter::keyed(quota),
            clock: DefaultClock::default(),
            checks: AtomicUsize::new(1),
        }
    }

    fn check(&self, key: &K) -> Result<(), ApiError> {
        if self.checks.fetch_add(1, Ordering::Relaxed).is_multiple_of(CLEAN_EVERY) {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(key).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let detail = format!("Too many attempts; wait {seconds} seconds.");
            ApiError { retry_after: Some(seconds), ..ApiError::new(Code::RateLimited, detail) }
        })
    }
}

/// Limits on requests as such. What can be guessed at has budgets in the database: see
/// [`Accounts`](crate::accounts::Accounts).
pub struct RateLimits {
    requests: Limit<IpAddr>,
    proxies: Vec<IpAddr>,
}

/// The configuration holds no zero; one stands in for it.
fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}

impl RateLimits {
    /// As configured; the addresses of proxies are believed what they say in `X-Forwarded-For`.
    pub fn new(limits: &Limits, proxies: Vec<IpAddr>) -> Self {
        let requests = Quota::per_second(count(limits.requests_per_second));
        Self { requests: Limit::new(requests.allow_burst(count(limits.burst))), proxies }
    }

    /// Where a request comes from.
    pub fn origin(&self, req: &HttpRequest) -> Origin {
        let peer = req.peer_addr().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.ip());
        if !self.proxies.contains(&peer) {
            return Origin(Some(peer));
        }
        // Each proxy appends whom it heard: the last one that is no proxy of ours is the nearest known client.
        let said = req.headers().get_all("x-forwarded-for").filter_map(|value| value.to_str().ok());
        let hops: Vec<IpAddr> =
            said.flat_map(|line| line.split(',')).filter_map(|hop| hop.trim().parse().ok()).collect();
        Origin(Some(hops.into_iter().rev().find(|hop| !self.proxies.contains(hop)).unwrap_or(peer)))
    }

    /// Counts a request.
    pub fn request(&self, origin: Origin) -> Result<(), ApiError> {
        origin.counted().map_or(Ok(()), |address| self.requests.check(&address))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn limits(proxies: &[&str]) -> RateLimits {
        let limits = Limits {
            requests_per_second: 1,
            burst: 2,
            credentials_per_minute: 1,
            logins_per_minute: 1,
            password_workers: 1,
        };
        RateLimits::new(&limits, proxies.iter().map(|ip| ip.parse().unwrap()).collect())
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_about_its_own_peer() {
        let from = |peer: &str, said: &str| {
            let req = TestRequest::default().peer_addr(format!("{peer}:1").parse().unwrap());
            let req = req.insert_header(("x-forwarded-for", said)).to_http_request();
            limits(&["10.0.0.1", "10.0.0.2"]).origin(&req).0.unwrap().to_string()
        };
        assert_eq!(from("9.9.9.9", "1.2.3.4"), "9.9.9.9");
        assert_eq!(from("10.0.0.1", "1.2.3.4"), "1.2.3.4");
        assert_eq!(from("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2"), "1.2.3.4");
        assert_eq!(from("10.0.0.1", "nonsense"), "10.0.0.1");
    }

    #[test]
    fn one_address_has_its_burst_and_strangers_have_their_own() {
        let limits = limits(&[]);
        let from = |ip: &str| limits.request(Origin(Some(ip.parse().unwrap())));
        assert!(from("2001:db8::1").is_ok() && from("2001:db8::2").is_ok());
        let refused = from("2001:db8::3").unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (Code::RateLimited, Some(1)));
        assert!(from("2001:db8:0:1::1").is_ok());
    }
}
