//! Entries whose key the state does not know yet.
//!
//! *Invariants.* Bounded in keys, in entries per key and in bytes. Whoever is parked is
//! promised nothing.

use std::collections::BTreeMap;

use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{EntryId, PublicKey, Seq};
use syngraph_protocol::ledger::Ledger;
use syngraph_protocol::limits::PARKED_PER_KEY_MAX;

/// Most keys with parked entries.
pub(super) const PARKED_KEYS_MAX: usize = 64;

/// Most bytes of parked entries.
const PARKED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The parked entries.
#[derive(Debug, Default)]
pub(super) struct Parked {
    entries: BTreeMap<PublicKey, BTreeMap<Seq, VerifiedEntry>>,
    pub(super) bytes: usize,
}

impl Parked {
    /// Parks an entry, in place of another at its position. False if there is no room.
    pub(super) fn park(&mut self, entry: VerifiedEntry) -> bool {
        let size = entry.bytes().len();
        let journal = entry.head().journal;
        let of_key = self.entries.get(&journal).map_or(0, BTreeMap::len);
        let has_slot =
            if of_key == 0 { self.entries.len() < PARKED_KEYS_MAX } else { of_key < PARKED_PER_KEY_MAX };
        if !has_slot || self.bytes.saturating_add(size) > PARKED_BYTES_MAX {
            return false;
        }
        let replaced = self.entries.entry(journal).or_default().insert(entry.head().seq, entry);
        let freed = replaced.map_or(0, |entry| entry.bytes().len());
        self.bytes = self.bytes.saturating_add(size).saturating_sub(freed);
        true
    }

    /// Takes out the entries whose key the state now knows, oldest first per journal.
    pub(super) fn unpark(&mut self, ledger: &Ledger) -> Vec<VerifiedEntry> {
        let known: Vec<_> = self.entries.keys().filter(|key| ledger.keys.contains(key)).copied().collect();
        let entries = known.iter().filter_map(|key| self.entries.remove(key)).flat_map(BTreeMap::into_values);
        let entries: Vec<_> = entries.collect();
        let freed: usize = entries.iter().map(|entry| entry.bytes().len()).sum();
        self.bytes = self.bytes.saturating_sub(freed);
        entries
    }

    /// The parked entry of this id.
    pub(super) fn find(&self, id: &EntryId) -> Option<&VerifiedEntry> {
        self.entries.values().flat_map(BTreeMap::values).find(|entry| entry.id() == *id)
    }
}
