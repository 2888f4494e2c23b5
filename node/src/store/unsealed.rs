//! Where the entries lie that no block covers yet.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use syngraph_protocol::block::Cut;
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{EntryId, PublicKey, Seq};
use syngraph_protocol::ledger::Ledger;
use syngraph_protocol::ledger::member::MemberError;

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

/// From which number on no block will ever cover anything of a journal. One whose key has
/// run out is not meant: how long such entries may still come is a parameter.
pub(super) fn lapsed_from(ledger: &Ledger, journal: &PublicKey) -> Option<Seq> {
    let (end, why) = ledger.journal_ends(journal)?;
    (!matches!(why, MemberError::KeyEnded { .. })).then_some(end)
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
            self.forget(covered.map(|(key, _)| *key).collect());
        }
    }

    /// Forgets what has lapsed in this state. It would be the first of them for ever, and
    /// start-up reads everything from there on.
    pub(super) fn lapse(&mut self, ledger: &Ledger) {
        let greatest = EntryId::from_bytes([0xff; 32]);
        let mut next = self.places.keys().next().map(|(journal, ..)| *journal);
        while let Some(journal) = next {
            let last = (journal, Seq::new(u64::MAX), greatest);
            if let Some(end) = lapsed_from(ledger, &journal) {
                let lapsed = self.places.range((journal, end, EntryId::from_bytes([0; 32]))..=last);
                self.forget(lapsed.map(|(key, _)| *key).collect());
            }
            let beyond = (Bound::Excluded(last), Bound::Unbounded);
            next = self.places.range(beyond).next().map(|((journal, ..), _)| *journal);
        }
    }

    fn forget(&mut self, keys: Vec<EntryKey>) {
        for key in keys {
            if let Some(location) = self.places.remove(&key) {
                self.order.remove(&location);
            }
        }
    }

    /// Where the first of them lies.
    pub(super) fn first(&self) -> Option<Position> {
        self.order.first().map(|location| location.position())
    }
}
