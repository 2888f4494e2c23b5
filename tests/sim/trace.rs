//! The trace: everything that happens, in order, as a hash and as the last lines of it.

use std::collections::VecDeque;

use syngraph_protocol::crypto::sha256;
use syngraph_protocol::ids::Hash;

use crate::time::{MS, SECOND, Virtual};

/// Most lines that are kept to be shown.
const LINES_MAX: usize = 4_096;

/// A run's trace.
pub(crate) struct Trace {
    hash: Hash,
    count: u64,
    lines: VecDeque<String>,
    aloud: bool,
}

impl Trace {
    pub(crate) fn new(aloud: bool) -> Self {
        Self { hash: sha256(&[]), count: 0, lines: VecDeque::new(), aloud }
    }

    /// Something happens.
    pub(crate) fn note(&mut self, at: Virtual, what: &str) {
        let line = format!("{:>4}.{:06} {what}", at / SECOND, at % SECOND);
        self.hash = sha256(&[self.hash.as_bytes(), line.as_bytes()]);
        self.count += 1;
        if self.aloud {
            eprintln!("{line}");
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn hash(&self) -> Hash {
        self.hash
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The last lines.
    pub(crate) fn last(&self, count: usize) -> Vec<String> {
        let skipped = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skipped).cloned().collect()
    }
}

/// A moment, for people.
pub(crate) fn moment(at: Virtual) -> String {
    format!("{}.{:03} s", at / SECOND, at % SECOND / MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_its_events_in_order_with_their_times() {
        let of = |notes: &[(Virtual, &str)]| {
            let mut trace = Trace::new(false);
            notes.iter().for_each(|(at, what)| trace.note(*at, what));
            trace
        };
        let trace = of(&[(MS, "one"), (SECOND, "two")]);
        assert_eq!(trace.hash(), of(&[(MS, "one"), (SECOND, "two")]).hash());
        for other in [[(MS, "two"), (SECOND, "one")], [(MS, "one"), (SECOND + 1, "two")]] {
            assert_ne!(trace.hash(), of(&other).hash());
        }
        assert_eq!((trace.count(), trace.last(1)), (2, vec!["   1.000000 two".to_owned()]));
    }
}
