//! Virtual time.

use std::time::{Duration, Instant};

use syngraph_node::core::ports::Now;
use syngraph_protocol::time::UtcMs;

/// Microseconds since the beginning of a run.
pub(crate) type Virtual = u64;

/// A millisecond.
pub(crate) const MS: Virtual = 1_000;
/// A second.
pub(crate) const SECOND: Virtual = 1_000 * MS;

/// What the wall clock shows at the beginning.
pub(crate) const EPOCH: UtcMs = UtcMs::from_ms(1_790_000_000_000);

/// The clocks. Only differences of instants count, so it does not matter that every run
/// begins at another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { base: Instant::now() }
    }

    /// What a node reads whose wall clock is off by so much.
    pub(crate) fn now(&self, at: Virtual, skew_ms: i64) -> Now {
        let ms = i64::try_from(at / MS).expect("runs are short");
        Now { wall: EPOCH.plus_ms(ms + skew_ms), instant: self.base + Duration::from_micros(at) }
    }

    /// When an instant comes.
    pub(crate) fn at(&self, instant: Instant) -> Virtual {
        let since = instant.saturating_duration_since(self.base);
        // Rounded up: whoever comes back then finds it due.
        u64::try_from(since.as_nanos().div_ceil(1_000)).expect("runs are short")
    }
}
