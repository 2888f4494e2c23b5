//! Where the entries lie that no block covers yet.

use std::collections::{BTreeMap, BTreeSet};

use syngraph_protocol::block::Cut;
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{EntryId, PublicKey, Seq};

use super::log::{Location, Position};

/// Names an entry within its journal.
pub(super) type EntryKey = (PublicKey, Seq, EntryId);

/// The name of an entry.
pub(super) fn key_of(entry: &VerifiedEntry) -> EntryKey {
    (entry.head().journal, entry.head().seq, entry.id())
}

/// The keys of all entries of a journal up to a number.
pub(super) fn keys_up_to(journal: PublicKey, seq: Seq) -> std::ops::RangeInclusive<EntryKey> {
    let (least, greatest) = (EntryId::from_bytes([0; 32]), EntryId::from_bytes([0xff; 32]));
    (journal, Seq::FIRST, least)..=(journal, seq, greatest)
}

/// The places of unsealed entries.
#[derive(Default)]
pub(super) struct Unsealed {
    places: BTreeMap<EntryKey, Location>,
    order: BTreeSet<Location>,
}

impl Unsealed {
    /// Remembers an entry. If it is there twice, its first place counts.
    pub(super) fn insert(&mut self, entry: &VerifiedEntry, location: Location) {
        if self.get(entry).is_none() {
            self.places.insert(key_of(entry), location);
            self.order.insert(location);
        }
    }

    pub(super) fn get(&self, entry: &VerifiedEntry) -> Option<Location> {
        self.places.get(&key_of(entry)).copied()
    }

    /// Forgets what a cut covers, and other branches of the same journals up to there: no
    /// block can ever cover those.
    pub(super) fn cover(&mut self, cut: &Cut) {
        for point in &cut.points {
            let covered = self.places.range(keys_up_to(point.journal, point.seq));
            for (key, location) in covered.map(|(key, location)| (*key, *location)).collect::<Vec<_>>() {
                self.places.remove(&key);
                self.order.remove(&location);
            }
        }
    }

    /// Where the first of them lies.
    pub(super) fn first(&self) -> Option<Position> {
        self.order.first().map(|location| location.position())
    }
}
