//! The engine's log of its votes, in memory, with what a crash leaves of it.

use arc_malachitebft_core_consensus::Input;
use syngraph_protocol::ids::Height;

use super::context::Context;

/// What is recorded of one height.
#[derive(Debug)]
pub(crate) struct Wal {
    height: Height,
    entries: Vec<Input<Context>>,
    synced: usize,
}

impl Wal {
    /// Nothing was recorded yet.
    pub(crate) const fn new(height: Height) -> Self {
        Self { height, entries: Vec::new(), synced: 0 }
    }

    /// A height begins: what was recorded of it, if it is the recorded one.
    pub(crate) fn begin(&mut self, height: Height) -> Vec<Input<Context>> {
        if self.height == height {
            return self.entries.clone();
        }
        *self = Self::new(height);
        Vec::new()
    }

    pub(crate) fn append(&mut self, height: Height, entry: Input<Context>) {
        if self.height == height {
            self.entries.push(entry);
        }
    }

    pub(crate) fn sync(&mut self) {
        self.synced = self.entries.len();
    }

    /// Power is lost: of what was not synced, the first `survive` entries remain.
    pub(crate) fn crash(&mut self, survive: usize) {
        self.entries.truncate(self.synced.saturating_add(survive));
        self.sync();
    }
}

#[cfg(test)]
mod tests {
    use arc_malachitebft_core_types::{Round, Timeout};

    use super::*;

    #[test]
    fn a_crash_leaves_what_was_synced_and_another_height_leaves_nothing() {
        let (height, entry) =
            (Height::new(7), |round| Input::TimeoutElapsed(Timeout::propose(Round::new(round))));
        let mut wal = Wal::new(Height::GENESIS);
        assert!(wal.begin(height).is_empty());
        wal.append(height, entry(0));
        wal.sync();
        (1..4).for_each(|round| wal.append(height, entry(round)));
        wal.append(Height::new(8), entry(9));
        wal.crash(1);
        assert_eq!(wal.begin(height), [entry(0), entry(1)]);
        wal.crash(0);
        assert_eq!(wal.begin(height).len(), 2, "what was found is durable");
        assert!(wal.begin(Height::new(8)).is_empty());
    }
}
