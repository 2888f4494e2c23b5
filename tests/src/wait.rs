//! Waiting for something to be so.

use std::thread;
use std::time::{Duration, Instant};

/// The longest that anything here may take. A machine that is merely slow stays below it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks again and again until there is something to see.
///
/// # Panics
/// If that takes longer than [`PATIENCE`].
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Looks again and again, as long as that may take.
///
/// # Panics
/// If it takes longer.
#[track_caller]
pub fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        thread::sleep(PAUSE);
    }
}

/// Looks again and again, for so long, that something stays so. What must not happen can
/// be seen in no other way.
#[track_caller]
pub fn stays(period: Duration, mut look: impl FnMut()) {
    let end = Instant::now() + period;
    while Instant::now() < end {
        look();
        thread::sleep(PAUSE);
    }
    look();
}
