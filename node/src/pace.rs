//! When heights begin: soon if there is something to seal, else at the heartbeat.
//!
//! *Invariants.* Of two blocks, the second is not begun before the least interval is over,
//! or half of it once a peer has begun, whose clock started earlier; and not long after the
//! heartbeat. So one node that is always in a hurry sets no pace of its own.
//!
//! *Deliberately absent:* clocks and timers. Callers bring the time and come back when it
//! is due.

use std::time::{Duration, Instant};

use syngraph_protocol::ledger::params::Params;

/// The pace of heights. `Q` is the engine's question where to go on, held until then.
#[derive(Debug)]
pub(crate) struct Pace<Q> {
    /// When the last block was stored, or the node started.
    last_block: Instant,
    held: Option<Q>,
    /// Whether a peer has begun the height.
    urged: bool,
}

impl<Q> Pace<Q> {
    /// Nothing is asked yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { last_block: now, held: None, urged: false }
    }

    /// A block was stored.
    pub(crate) fn stored(&mut self, now: Instant) {
        self.last_block = now;
    }

    /// Holds the engine back.
    pub(crate) fn hold(&mut self, question: Q) {
        (self.held, self.urged) = (Some(question), false);
    }

    /// A peer has begun the height.
    pub(crate) fn urge(&mut self) {
        self.urged = true;
    }

    /// Whether a peer has begun the height that is held back.
    pub(crate) fn is_urged(&self) -> bool {
        self.urged
    }

    /// When the next height may begin; none while a height is under way.
    ///
    /// `ready_at` says from when on there is something to seal.
    pub(crate) fn due(&self, params: &Params, ready_at: impl FnOnce() -> Option<Instant>) -> Option<Instant> {
        self.held.as_ref()?;
        let after = |ms: u32| self.last_block + Duration::from_millis(ms.into());
        if self.urged {
            return Some(after(params.block_interval_ms_min / 2));
        }
        let heartbeat = after(params.heartbeat_ms);
        let earliest = after(params.block_interval_ms_min);
        Some(ready_at().map_or(heartbeat, |ready| ready.max(earliest).min(heartbeat)))
    }

    /// When the next height may begin if others have begun it already: at once.
    pub(crate) fn overdue(&self) -> Option<Instant> {
        self.held.as_ref().map(|_| self.last_block)
    }

    /// Lets the engine go on: its question, if one is held.
    pub(crate) fn release(&mut self) -> Option<Q> {
        self.held.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_sealed_soon_and_idleness_at_the_heartbeat() {
        let params = Params { block_interval_ms_min: 100, heartbeat_ms: 30_000, ..Params::default() };
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut pace = Pace::new(start);
        assert_eq!(pace.due(&params, || unreachable!("nothing is asked")), None);
        pace.hold("where?");
        assert_eq!(pace.due(&params, || Some(start)), Some(start + ms(100)));
        assert_eq!(pace.due(&params, || None), Some(start + ms(30_000)));
        assert!(pace.overdue().is_some_and(|at| at <= start), "others have begun it");
        assert_eq!(pace.release(), Some("where?"));
        assert_eq!(pace.overdue(), None);
        assert_eq!(pace.release(), None, "once");
        assert_eq!(pace.due(&params, || Some(start)), None, "the height is under way");
        pace.urge();
        pace.stored(start + ms(7));
        pace.hold("and then?");
        assert_eq!(
            pace.due(&params, || Some(start + ms(50))),
            Some(start + ms(107)),
            "urged for the last one"
        );
        pace.urge();
        assert_eq!(pace.due(&params, || None), Some(start + ms(57)), "and no sooner, whoever is in a hurry");
    }
}
