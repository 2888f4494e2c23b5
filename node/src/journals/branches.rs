//! Entries beside the runs that this node holds: what a proposed or decided block covers
//! of another branch of a forked journal, or beyond the room of its member.
//!
//! *Invariants.* Bounded in bytes, but for what start-up finds. Each named as the one before
//! an entry that was held too, or the sealed end of its journal. They are kept until their
//! place is sealed, or all are dropped to make room. Those that a candidate block covers
//! are part of it by then, and all that were written stay on disk.

use std::collections::BTreeMap;

use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{EntryId, PublicKey, Seq};

/// Most bytes of entries beside the runs: what is fetched ahead of the chain at most, and
/// four blocks of nothing else.
pub(super) const BRANCH_BYTES_MAX: usize = 96 * 1024 * 1024;

/// The entries beside the runs.
#[derive(Debug, Default)]
pub(super) struct Branches {
    entries: BTreeMap<(PublicKey, Seq, EntryId), Beside>,
    pub(super) bytes: usize,
}

#[derive(Debug)]
struct Beside {
    entry: VerifiedEntry,
    durable: bool,
}

fn place(entry: &VerifiedEntry) -> (PublicKey, Seq, EntryId) {
    (entry.head().journal, entry.head().seq, entry.id())
}

impl Branches {
    /// Whether there is room for an entry of this many bytes.
    pub(super) fn has_room(&self, size: usize) -> bool {
        self.bytes.saturating_add(size) <= BRANCH_BYTES_MAX
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// Keeps an entry that is not there.
    pub(super) fn keep(&mut self, entry: VerifiedEntry, durable: bool) {
        self.bytes = self.bytes.saturating_add(entry.bytes().len());
        self.entries.insert(place(&entry), Beside { entry, durable });
    }

    pub(super) fn contains(&self, journal: PublicKey, seq: Seq, id: EntryId) -> bool {
        self.entries.contains_key(&(journal, seq, id))
    }

    /// The entry at a place of a branch, if it is durable.
    pub(super) fn durable(&self, journal: PublicKey, seq: Seq, id: EntryId) -> Option<&VerifiedEntry> {
        self.entries.get(&(journal, seq, id)).filter(|beside| beside.durable).map(|beside| &beside.entry)
    }

    /// Everything kept so far is on disk.
    pub(super) fn synced(&mut self) {
        self.entries.values_mut().for_each(|beside| beside.durable = true);
    }

    /// Drops what lies before the sealed end of a journal.
    pub(super) fn passed(&mut self, journal: PublicKey, next: Seq) {
        let least = EntryId::from_bytes([0; 32]);
        let passed = (journal, Seq::FIRST, least)..(journal, next, least);
        let passed: Vec<_> = self.entries.range(passed).map(|(place, _)| *place).collect();
        for place in passed {
            self.remove(&place);
        }
    }

    /// Takes out what continues the sealed end of a journal: oldest first, one branch.
    pub(super) fn take_run(
        &mut self,
        journal: PublicKey,
        next: Seq,
        last: EntryId,
    ) -> Vec<(VerifiedEntry, bool)> {
        let (mut next, mut last, mut run) = (next, last, Vec::new());
        while let Some(beside) = self.take_after(journal, next, last) {
            last = beside.entry.id();
            run.push((beside.entry, beside.durable));
            let Some(after) = next.next() else { break };
            next = after;
        }
        run
    }

    fn take_after(&mut self, journal: PublicKey, next: Seq, last: EntryId) -> Option<Beside> {
        let (least, greatest) = (EntryId::from_bytes([0; 32]), EntryId::from_bytes([0xff; 32]));
        let mut here = self.entries.range((journal, next, least)..=(journal, next, greatest));
        let place = here.find(|(_, beside)| beside.entry.head().prev == last).map(|(place, _)| *place)?;
        self.remove(&place)
    }

    fn remove(&mut self, place: &(PublicKey, Seq, EntryId)) -> Option<Beside> {
        let removed = self.entries.remove(place)?;
        self.bytes = self.bytes.saturating_sub(removed.entry.bytes().len());
        Some(removed)
    }
}
