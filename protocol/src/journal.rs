//! A journal: all entries of one signing key, in order, each naming the one before.

use serde::{Deserialize, Serialize};

use crate::ids::{EntryId, Seq};

/// What the first entry of a journal names as the one before.
pub const NO_ENTRY: EntryId = EntryId::from_bytes([0; 32]);

/// Where a journal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tip {
    /// The number that the next entry must have.
    pub next: Seq,
    /// The id of the last entry; [`NO_ENTRY`] at the start.
    pub last: EntryId,
}

impl Tip {
    /// A journal without entries.
    pub const EMPTY: Self = Self { next: Seq::FIRST, last: NO_ENTRY };

    /// The tip after one more entry.
    ///
    /// # Errors
    /// `JRN-GAP` if entries are missing between, `JRN-BEHIND` if the number is already
    /// taken, `JRN-PREV` if it names another entry as the one before, `JRN-FULL` if no
    /// number is left.
    pub fn append(self, seq: Seq, prev: EntryId, id: EntryId) -> Result<Self, LinkError> {
        if seq > self.next {
            return Err(LinkError::Gap { expected: self.next, got: seq });
        }
        if seq < self.next {
            return Err(LinkError::Behind { expected: self.next, got: seq });
        }
        if prev != self.last {
            return Err(LinkError::Prev { seq, expected: self.last, got: prev });
        }
        let next = seq.next().ok_or(LinkError::Full)?;
        Ok(Self { next, last: id })
    }
}

/// Why an entry does not continue a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Entries before it are missing.
    #[error("the journal continues with seq {expected}, this entry has {got}")]
    Gap {
        /// Number that would continue the journal.
        expected: Seq,
        /// Number of the entry.
        got: Seq,
    },
    /// Its number is taken.
    #[error("seq {got} is taken; the journal continues with {expected}")]
    Behind {
        /// Number that would continue the journal.
        expected: Seq,
        /// Number of the entry.
        got: Seq,
    },
    /// It continues another history.
    #[error("entry {seq} names {got} as the one before, the journal ends with {expected}")]
    Prev {
        /// Number of the entry.
        seq: Seq,
        /// The journal's last entry.
        expected: EntryId,
        /// What the entry names.
        got: EntryId,
    },
    /// 2⁶⁴ − 1 entries.
    #[error("the journal has no number left")]
    Full,
}

impl LinkError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Gap { .. } => "JRN-GAP",
            Self::Behind { .. } => "JRN-BEHIND",
            Self::Prev { .. } => "JRN-PREV",
            Self::Full => "JRN-FULL",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_grows_by_its_next_entry_only() {
        let id = |byte| EntryId::from_bytes([byte; 32]);
        let tip = Tip::EMPTY.append(Seq::FIRST, NO_ENTRY, id(1)).expect("the first entry");
        let rule = |seq, prev| tip.append(Seq::new(seq), prev, id(9)).map_err(|e| e.rule());
        assert_eq!(rule(1, id(1)), Ok(Tip { next: Seq::new(2), last: id(9) }));
        assert_eq!(rule(2, id(1)), Err("JRN-GAP"));
        assert_eq!(rule(0, NO_ENTRY), Err("JRN-BEHIND"));
        assert_eq!(rule(1, id(7)), Err("JRN-PREV"));
        let full = Tip { next: Seq::new(u64::MAX), last: id(1) };
        assert_eq!(full.append(Seq::new(u64::MAX), id(1), id(2)).map_err(|e| e.rule()), Err("JRN-FULL"));
    }
}
