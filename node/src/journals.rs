//! Journals that are ahead of the chain: what this node holds and no block covers yet.
//!
//! Sans-I/O: callers hand in verified entries and the state, and carry out what comes
//! back. Entries move through it one way:
//!
//! ```text
//! admit ─▶ held, to be written ─synced─▶ durable ─select─▶ proposed ─sealed─▶ gone
//!    └──▶ parked (key unknown) ─retry──▶ admit
//! ```
//!
//! *Invariants.* Of each journal a contiguous run is held, starting where the sealed part
//! ends. Only durable entries are selected for blocks. Nothing that was taken is dropped
//! before it is sealed. What is held is bounded per member, and parked entries per key.
//!
//! *Deliberately absent:* clocks, files, threads; and any rule about what entries mean.

use std::collections::{BTreeMap, VecDeque};

use syngraph_protocol::block::{Cut, CutPoint};
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{EntryId, MemberId, PublicKey, Seq};
use syngraph_protocol::journal::{LinkError, Tip};
use syngraph_protocol::ledger::member::{self, MemberError};
use syngraph_protocol::ledger::{Ledger, Refusal};
use syngraph_protocol::limits::{
    BLOCK_BYTES_MAX, BLOCK_ENTRIES_MAX, BLOCK_ROWS_MAX, CUT_JOURNALS_MAX, PARKED_PER_KEY_MAX,
};

/// Most bytes of unsealed entries held for another member.
pub(crate) const UNSEALED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Most bytes of unsealed entries held for the node's own member, whose node must keep
/// its own longer than others do.
pub(crate) const OWN_UNSEALED_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Most keys with parked entries.
pub(crate) const PARKED_KEYS_MAX: usize = 64;

/// Most bytes of parked entries.
pub(crate) const PARKED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What becomes of an entry that is handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// It continues its journal. It must be written, and counts once
    /// [`Journals::synced`] was called.
    New,
    /// It is held already.
    Held,
    /// Its place is sealed: known if the log has this id, else equivocation.
    Sealed,
    /// Another entry stands at its place.
    Fork {
        /// The entry that stands there.
        other: EntryId,
    },
    /// Its key is not known yet.
    Parked,
    /// No room now.
    Busy,
    /// It may not be taken.
    Refused(Box<Refused>),
}

/// Why an entry may not be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It does not continue its journal.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Its key may not say this.
    #[error(transparent)]
    Ledger(#[from] Refusal),
}

impl Refused {
    /// The stable rule id.
    pub(crate) fn rule(&self) -> &'static str {
        match self {
            Self::Link(error) => error.rule(),
            Self::Ledger(refusal) => refusal.rule(),
        }
    }
}

/// One journal beyond its sealed part.
#[derive(Debug)]
struct Ahead {
    member: MemberId,
    /// Where the held run ends.
    tip: Tip,
    /// The run, oldest first.
    entries: VecDeque<Held>,
}

#[derive(Debug)]
struct Held {
    entry: VerifiedEntry,
    durable: bool,
    /// Order of arrival, so that the longest waiting go first.
    arrival: u64,
}

/// Everything held and not sealed.
#[derive(Debug)]
pub(crate) struct Journals {
    own: MemberId,
    ahead: BTreeMap<PublicKey, Ahead>,
    by_id: BTreeMap<EntryId, (PublicKey, Seq)>,
    bytes: BTreeMap<MemberId, usize>,
    parked: BTreeMap<PublicKey, BTreeMap<Seq, VerifiedEntry>>,
    parked_bytes: usize,
    arrivals: u64,
    /// Journals with entries that are not durable yet.
    unsynced: Vec<PublicKey>,
}

impl Journals {
    /// Nothing held. `own` is the member whose node this is.
    pub(crate) fn new(own: MemberId) -> Self {
        Self {
            own,
            ahead: BTreeMap::new(),
            by_id: BTreeMap::new(),
            bytes: BTreeMap::new(),
            parked: BTreeMap::new(),
            parked_bytes: 0,
            arrivals: 0,
            unsynced: Vec::new(),
        }
    }

    /// Hands in an entry from outside.
    pub(crate) fn admit(&mut self, ledger: &Ledger, entry: VerifiedEntry) -> Admitted {
        let head = entry.head();
        let (journal, seq) = (head.journal, head.seq);
        let Some(key) = ledger.keys.get(&journal) else { return self.park(entry) };
        if seq < ledger.journal_tip(&journal).next {
            return Admitted::Sealed;
        }
        if let Some(standing) = self.at(&journal, seq) {
            let other = standing.id();
            return if other == entry.id() { Admitted::Held } else { Admitted::Fork { other } };
        }
        if let Err(refusal) = ledger.may_say(&entry) {
            return refused(refusal);
        }
        if let Err(ended) = member::still_open(key, ledger.time()) {
            return refused(Refusal::from(ended));
        }
        if let Err(revoked) = ledger.may_cut(&journal, seq, entry.id()) {
            return refused(Refusal::from(revoked));
        }
        if !self.has_room(entry.head().member, entry.bytes().len()) {
            return Admitted::Busy;
        }
        match self.append(ledger, entry, false) {
            Ok(()) => Admitted::New,
            Err(link) => refused(link),
        }
    }

    /// Takes back an entry that was durable before a restart.
    ///
    /// # Errors
    /// [`LinkError`] if it does not continue its journal: then it lost a race before the
    /// restart and was never acknowledged.
    pub(crate) fn restore(&mut self, ledger: &Ledger, entry: VerifiedEntry) -> Result<(), LinkError> {
        self.append(ledger, entry, true)
    }

    fn append(&mut self, ledger: &Ledger, entry: VerifiedEntry, durable: bool) -> Result<(), LinkError> {
        let head = entry.head();
        let (journal, member, seq, id) = (head.journal, head.member, head.seq, entry.id());
        let sealed = || ledger.journal_tip(&journal);
        let before = self.ahead.get(&journal).map_or_else(sealed, |ahead| ahead.tip);
        let tip = before.append(seq, head.prev, id)?;
        *self.bytes.entry(member).or_default() += entry.bytes().len();
        self.by_id.insert(id, (journal, seq));
        self.arrivals += 1;
        let held = Held { entry, durable, arrival: self.arrivals };
        let ahead =
            self.ahead.entry(journal).or_insert_with(|| Ahead { member, tip, entries: VecDeque::new() });
        ahead.tip = tip;
        ahead.entries.push_back(held);
        if !durable {
            self.unsynced.push(journal);
        }
        Ok(())
    }

    fn has_room(&self, member: MemberId, more: usize) -> bool {
        let max = if member == self.own { OWN_UNSEALED_BYTES_MAX } else { UNSEALED_BYTES_MAX };
        self.bytes.get(&member).copied().unwrap_or(0).saturating_add(more) <= max
    }

    /// Everything handed in so far is on disk.
    pub(crate) fn synced(&mut self) {
        for journal in std::mem::take(&mut self.unsynced) {
            let Some(ahead) = self.ahead.get_mut(&journal) else { continue };
            ahead
                .entries
                .iter_mut()
                .rev()
                .take_while(|held| !held.durable)
                .for_each(|held| held.durable = true);
        }
    }

    fn park(&mut self, entry: VerifiedEntry) -> Admitted {
        let size = entry.bytes().len();
        let journal = entry.head().journal;
        let keys = self.parked.len();
        let of_key = self.parked.get(&journal).map_or(0, BTreeMap::len);
        let has_slot = if of_key == 0 { keys < PARKED_KEYS_MAX } else { of_key < PARKED_PER_KEY_MAX };
        if !has_slot || self.parked_bytes.saturating_add(size) > PARKED_BYTES_MAX {
            return Admitted::Busy;
        }
        let replaced = self.parked.entry(journal).or_default().insert(entry.head().seq, entry);
        let freed = replaced.map_or(0, |entry| entry.bytes().len());
        self.parked_bytes = self.parked_bytes.saturating_add(size).saturating_sub(freed);
        Admitted::Parked
    }

    /// Parked entries whose key the state now knows, oldest first per journal. They are
    /// no longer parked: the caller admits them.
    pub(crate) fn unpark(&mut self, ledger: &Ledger) -> Vec<VerifiedEntry> {
        let known: Vec<_> = self.parked.keys().filter(|key| ledger.keys.contains(key)).copied().collect();
        let entries = known.iter().filter_map(|key| self.parked.remove(key)).flat_map(BTreeMap::into_values);
        let entries: Vec<_> = entries.collect();
        let freed: usize = entries.iter().map(|entry| entry.bytes().len()).sum();
        self.parked_bytes = self.parked_bytes.saturating_sub(freed);
        entries
    }

    /// The held entry at a place of a journal.
    fn at(&self, journal: &PublicKey, seq: Seq) -> Option<&VerifiedEntry> {
        let ahead = self.ahead.get(journal)?;
        let first = ahead.entries.front()?.entry.head().seq;
        let position = usize::try_from(seq.get().checked_sub(first.get())?).ok()?;
        ahead.entries.get(position).map(|held| &held.entry)
    }

    /// The held or parked entry of this id, and whether it is parked.
    pub(crate) fn find(&self, id: &EntryId) -> Option<(&VerifiedEntry, bool)> {
        if let Some((journal, seq)) = self.by_id.get(id) {
            return self.at(journal, *seq).map(|entry| (entry, false));
        }
        let parked = self.parked.values().flat_map(BTreeMap::values);
        parked.into_iter().find(|entry| entry.id() == *id).map(|entry| (entry, true))
    }

    /// Where a journal ends here; none if the state does not know its key.
    pub(crate) fn tip(&self, ledger: &Ledger, journal: &PublicKey) -> Option<Tip> {
        ledger.keys.contains(journal).then(|| match self.ahead.get(journal) {
            Some(ahead) => ahead.tip,
            None => ledger.journal_tip(journal),
        })
    }

    /// Whether a block would have something to seal.
    pub(crate) fn has_work(&self, ledger: &Ledger) -> bool {
        self.ahead.iter().any(|(journal, ahead)| {
            ahead.entries.front().is_some_and(|held| held.durable && may_cut(ledger, journal, &held.entry))
        })
    }

    /// The durable entries that the next block should cover, within the bounds of a
    /// block: round-robin by member, the longest waiting journal of each first.
    pub(crate) fn select(&self, ledger: &Ledger) -> Vec<VerifiedEntry> {
        let mut budget = Budget::default();
        let mut queues = self.queues(ledger);
        let mut selected = Vec::new();
        while !queues.is_empty() {
            queues.retain_mut(|queue| match queue.next(&mut budget) {
                Some(entry) => {
                    selected.push(entry);
                    true
                }
                None => false,
            });
        }
        selected
    }

    /// The entries under a proposed cut, if all of them are held and durable; otherwise
    /// the points that are not.
    pub(crate) fn under(&self, ledger: &Ledger, cut: &Cut) -> Result<Vec<VerifiedEntry>, Vec<CutPoint>> {
        let (mut entries, mut missing) = (Vec::new(), Vec::new());
        for point in &cut.points {
            let first = ledger.journal_tip(&point.journal).next;
            let run = self.run(&point.journal, first, point.seq);
            match run.last() {
                Some(held) if held.id() == point.entry => entries.extend(run),
                _ => missing.push(*point),
            }
        }
        if missing.is_empty() { Ok(entries) } else { Err(missing) }
    }

    /// The durable run of a journal from `first` to `last`; empty if it is incomplete.
    fn run(&self, journal: &PublicKey, first: Seq, last: Seq) -> Vec<VerifiedEntry> {
        let Some(ahead) = self.ahead.get(journal) else { return Vec::new() };
        let within = |held: &&Held| (first..=last).contains(&held.entry.head().seq) && held.durable;
        let run: Vec<_> = ahead.entries.iter().filter(within).map(|held| held.entry.clone()).collect();
        let wanted = last.get().checked_sub(first.get()).and_then(|n| n.checked_add(1));
        if u64::try_from(run.len()).ok() == wanted { run } else { Vec::new() }
    }

    fn queues<'a>(&'a self, ledger: &'a Ledger) -> Vec<Queue<'a>> {
        let mut by_member: BTreeMap<MemberId, Vec<&Ahead>> = BTreeMap::new();
        for (journal, ahead) in &self.ahead {
            let front = ahead.entries.front();
            if front.is_some_and(|held| may_cut(ledger, journal, &held.entry)) {
                by_member.entry(ahead.member).or_default().push(ahead);
            }
        }
        let mut queues: Vec<_> =
            by_member.into_values().map(|journals| Queue::new(ledger, journals)).collect();
        queues.sort_by_key(|queue| queue.oldest());
        queues
    }

    /// A block sealed these entries: they are no longer ahead.
    pub(crate) fn sealed(&mut self, ledger: &Ledger, entries: &[VerifiedEntry]) {
        for entry in entries {
            let journal = entry.head().journal;
            let Some(ahead) = self.ahead.get_mut(&journal) else { continue };
            let next = ledger.journal_tip(&journal).next;
            while ahead.entries.front().is_some_and(|held| held.entry.head().seq < next) {
                let Some(held) = ahead.entries.pop_front() else { break };
                self.by_id.remove(&held.entry.id());
                if let Some(bytes) = self.bytes.get_mut(&ahead.member) {
                    *bytes = bytes.saturating_sub(held.entry.bytes().len());
                }
            }
            if ahead.entries.is_empty() {
                self.ahead.remove(&journal);
            }
        }
    }

    /// How many entries are held and not sealed.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}

fn refused(why: impl Into<Refused>) -> Admitted {
    Admitted::Refused(Box::new(why.into()))
}

impl From<MemberError> for Refused {
    fn from(error: MemberError) -> Self {
        Self::Ledger(error.into())
    }
}

/// What is left of a block.
struct Budget {
    entries: usize,
    bytes: usize,
    rows: usize,
    journals: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            entries: BLOCK_ENTRIES_MAX,
            bytes: BLOCK_BYTES_MAX,
            rows: BLOCK_ROWS_MAX,
            journals: CUT_JOURNALS_MAX,
        }
    }
}

impl Budget {
    /// Takes room for an entry; `opens` if it is the first of its journal.
    fn take(&mut self, entry: &VerifiedEntry, opens: bool) -> bool {
        let left = |have: usize, need: usize| have.checked_sub(need);
        let (Some(entries), Some(bytes), Some(rows), Some(journals)) = (
            left(self.entries, 1),
            left(self.bytes, entry.bytes().len()),
            left(self.rows, entry.body().rows()),
            left(self.journals, usize::from(opens)),
        ) else {
            return false;
        };
        *self = Self { entries, bytes, rows, journals };
        true
    }
}

/// One member's journals, the longest waiting first.
struct Queue<'a> {
    ledger: &'a Ledger,
    journals: Vec<&'a Ahead>,
    journal: usize,
    entry: usize,
}

impl<'a> Queue<'a> {
    fn new(ledger: &'a Ledger, mut journals: Vec<&'a Ahead>) -> Self {
        journals.sort_by_key(|ahead| ahead.entries.front().map(|held| held.arrival));
        Self { ledger, journals, journal: 0, entry: 0 }
    }

    fn oldest(&self) -> Option<u64> {
        self.journals.first()?.entries.front().map(|held| held.arrival)
    }

    /// The member's next entry, if the block has room for it.
    fn next(&mut self, budget: &mut Budget) -> Option<VerifiedEntry> {
        loop {
            let ahead = self.journals.get(self.journal)?;
            match ahead.entries.get(self.entry).filter(|held| self.may_cover(held)) {
                Some(held) if budget.take(&held.entry, self.entry == 0) => {
                    self.entry += 1;
                    return Some(held.entry.clone());
                }
                // This journal is exhausted, or its next entry does not fit.
                _ => {
                    self.journal += 1;
                    self.entry = 0;
                }
            }
        }
    }

    /// A key that is revoked in the middle of what is held is covered up to there.
    fn may_cover(&self, held: &Held) -> bool {
        held.durable && may_cut(self.ledger, &held.entry.head().journal, &held.entry)
    }
}

/// Whether the next block may cover this entry, as far as its key is concerned.
fn may_cut(ledger: &Ledger, journal: &PublicKey, entry: &VerifiedEntry) -> bool {
    ledger.may_cut(journal, entry.head().seq, entry.id()).is_ok()
}

#[cfg(test)]
pub(crate) mod tests;
