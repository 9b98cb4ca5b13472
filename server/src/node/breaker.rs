//! When a node may be asked: a circuit breaker, pure but for the time that is passed in.

use std::time::Duration;

use tokio::time::Instant;

use super::NodeState;

/// The longest back-off is this many times the first one.
const MAX_DOUBLINGS: u32 = 6;

/// Closed, open until a moment, or half-open: after that moment one caller may try, the others wait for
/// another back-off.
#[derive(Debug)]
pub(super) struct Breaker {
    threshold: u32,
    back_off: Duration,
    failures: u32,
    trips: u32,
    blocked_until: Option<Instant>,
    state: NodeState,
    reason: Option<String>,
}

impl Breaker {
    pub fn new(threshold: u32, back_off: Duration) -> Self {
        Self {
            threshold: threshold.max(1),
            back_off,
            failures: 0,
            trips: 0,
            blocked_until: None,
            state: NodeState::Untried,
            reason: None,
        }
    }

    /// Whether the caller may ask the node now.
    pub fn permit(&mut self, now: Instant) -> bool {
        match self.blocked_until {
            Some(until) if now < until => false,
            Some(_) => {
                self.blocked_until = Some(now + self.back_off);
                true
            }
            None => true,
        }
    }

    pub fn succeed(&mut self) {
        (self.failures, self.trips, self.blocked_until, self.reason) = (0, 0, None, None);
        self.state = NodeState::Up;
    }

    /// Returns whether the breaker is open now.
    pub fn fail(&mut self, now: Instant, reason: String) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.reason = Some(reason);
        // A failed probe opens it again at once.
        if self.failures < self.threshold && self.blocked_until.is_none() {
            self.state = NodeState::Failing;
            return false;
        }
        let wait = self.back_off * (1 << self.trips.min(MAX_DOUBLINGS));
        self.trips = self.trips.saturating_add(1);
        self.blocked_until = Some(now + wait);
        self.state = NodeState::Down;
        true
    }

    pub fn set_aside(&mut self, now: Instant, wait: Duration, reason: String) {
        self.blocked_until = Some(now + wait);
        self.reason = Some(reason);
        self.state = NodeState::SetAside;
    }

    pub fn state(&self) -> (NodeState, Option<String>) {
        (self.state, self.reason.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_the_failures_lets_one_probe_through_and_waits_twice_as_long_each_time() {
        let second = Duration::from_secs(1);
        let (start, mut breaker) = (Instant::now(), Breaker::new(2, second));
        assert!(!breaker.fail(start, "a".into()));
        assert!(breaker.permit(start));
        assert!(breaker.fail(start, "b".into()));
        assert!(!breaker.permit(start + second / 2));
        assert!(breaker.permit(start + second));
        assert!(!breaker.permit(start + second), "only one probe");
        assert!(breaker.fail(start + second, "c".into()));
        assert!(!breaker.permit(start + second * 5 / 2));
        assert!(breaker.permit(start + second * 3));
        breaker.succeed();
        assert_eq!(breaker.state(), (NodeState::Up, None));
        assert!(breaker.permit(start + second * 3) && breaker.permit(start + second * 3));
    }

    #[test]
    fn a_node_that_was_set_aside_waits_its_time() {
        let (start, mut breaker) = (Instant::now(), Breaker::new(2, Duration::from_secs(1)));
        breaker.set_aside(start, Duration::from_secs(60), "lied".into());
        assert!(!breaker.permit(start + Duration::from_secs(59)));
        assert_eq!(breaker.state(), (NodeState::SetAside, Some("lied".into())));
        assert!(breaker.permit(start + Duration::from_secs(60)));
    }
}
