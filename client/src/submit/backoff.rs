//! When to try again: twice as long each time, with jitter, and no sooner than asked.

use std::time::Duration;

/// First wait.
const FIRST: Duration = Duration::from_millis(50);
/// Longest wait that doubling leads to.
const DOUBLED_MAX: Duration = Duration::from_secs(10);
/// Longest wait that a node may ask for.
const ASKED_MAX: Duration = Duration::from_secs(60);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Something went well.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Something failed: how long to wait. `asked_s` is what the node asked for.
    pub(super) fn next(&mut self, asked_s: Option<u64>) -> Duration {
        let doubled = FIRST.saturating_mul(2_u32.saturating_pow(self.failures.min(16))).min(DOUBLED_MAX);
        self.failures = self.failures.saturating_add(1);
        let asked = asked_s.map_or(Duration::ZERO, Duration::from_secs).min(ASKED_MAX);
        // Half fixed, half random, so that many clients don't come back at once.
        doubled.mul_f64(0.5 + 0.5 * fraction()).max(asked)
    }
}

/// A random number from 0 to 1; 1 if the system gives none.
fn fraction() -> f64 {
    let mut bytes = [0xff; 4];
    // Without randomness the longest wait is right.
    getrandom::fill(&mut bytes).ok();
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound_and_honour_what_was_asked() {
        let mut backoff = Backoff::default();
        for failure in 0..40 {
            let most = FIRST.saturating_mul(2_u32.saturating_pow(failure.min(16))).min(DOUBLED_MAX);
            let wait = backoff.next(None);
            assert!(most / 2 <= wait && wait <= most, "{failure}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
        assert_eq!(backoff.next(Some(7)), Duration::from_secs(7));
        assert_eq!(backoff.next(Some(u64::MAX)), ASKED_MAX);
    }
}
