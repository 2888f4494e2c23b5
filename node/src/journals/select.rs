//! What the next block should cover.
//!
//! *Invariants.* Only what is durable here and may be cut is selected: as far as a quorum
//! holds it, or once replication has come no further for the grace and the journal is not
//! known to be forked.
//! Members take turns, the longest waiting journal of each first, within the bounds of a
//! block.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{MemberId, PublicKey, Seq};
use syngraph_protocol::ledger::Ledger;
use syngraph_protocol::limits::{BLOCK_BYTES_MAX, BLOCK_ENTRIES_MAX, BLOCK_ROWS_MAX, CUT_JOURNALS_MAX};

use super::{Ahead, Held, Journals};

/// Most rows of a block that this node proposes: a quarter of what a block may have. Its
/// proposer and then all others execute it while a round waits, also on slow machines. With
/// a block every 100 ms that is above half a million rows a second.
const PROPOSAL_ROWS_MAX: usize = 65_536;

/// Most entries of a block that this node proposes, for the same reason.
const PROPOSAL_ENTRIES_MAX: usize = 2_048;

const _: () = assert!(PROPOSAL_ROWS_MAX <= BLOCK_ROWS_MAX && PROPOSAL_ENTRIES_MAX <= BLOCK_ENTRIES_MAX);

/// How far journals are held by a quorum.
#[derive(Clone, Debug, Default)]
pub struct Replicated {
    /// The first number of each journal that is not, and when that was last another.
    held: BTreeMap<PublicKey, (Seq, Instant)>,
    /// Since when nodes with a quorum of the power are connected, the last time.
    connected: Option<Instant>,
}

impl Replicated {
    /// The first number of a journal that no quorum is known to hold; none if nothing
    /// beyond its sealed part is held so.
    #[must_use]
    pub fn next(&self, journal: &PublicKey) -> Option<Seq> {
        self.held.get(journal).map(|(next, _)| *next)
    }

    /// Whether a quorum is known to hold a place of a journal.
    #[must_use]
    pub fn holds(&self, journal: &PublicKey, seq: Seq) -> bool {
        self.next(journal).is_some_and(|next| seq < next)
    }

    /// A quorum holds a journal up to here. What it held once it holds: a node that goes
    /// away keeps its disk.
    pub fn reached(&mut self, journal: PublicKey, next: Seq, now: Instant) {
        let known = self.held.entry(journal).or_insert((next, now));
        if next > known.0 {
            *known = (next, now);
        }
    }

    /// A journal is sealed up to here.
    pub fn sealed(&mut self, journal: &PublicKey, next: Seq) {
        if self.next(journal).is_some_and(|held| held <= next) {
            self.held.remove(journal);
        }
    }

    /// What is held of a journal is no longer what a quorum held.
    pub fn forget(&mut self, journal: &PublicKey) {
        self.held.remove(journal);
    }

    /// A quorum has come together.
    pub fn connected(&mut self, now: Instant) {
        self.connected = Some(now);
    }

    /// Since when replication of an entry could have moved and has not.
    fn stuck_since(&self, held: &Held) -> Instant {
        let moved = self.held.get(&held.entry.head().journal).map(|(_, at)| *at);
        moved.into_iter().chain(self.connected).fold(held.since, Instant::max)
    }
}

/// What selecting depends on, beside the journals.
#[derive(Clone, Copy, Debug)]
pub struct Cuttable<'a> {
    /// The state at the parent block.
    pub ledger: &'a Ledger,
    /// How far a quorum holds.
    pub replicated: &'a Replicated,
}

impl Cuttable<'_> {
    fn may_cut(&self, held: &Held) -> bool {
        let head = held.entry.head();
        held.durable && self.ledger.may_cut(&head.journal, head.seq, held.entry.id()).is_ok()
    }

    /// Since when an entry may be proposed, or from when on.
    fn ready_at(&self, ahead: &Ahead, held: &Held) -> Option<Instant> {
        let head = held.entry.head();
        if !self.may_cut(held) {
            return None;
        }
        if self.replicated.holds(&head.journal, head.seq) {
            return Some(held.since);
        }
        let grace = Duration::from_millis(self.ledger.params().unreplicated_grace_ms.into());
        (!ahead.forked).then(|| self.replicated.stuck_since(held) + grace)
    }
}

impl Journals {
    /// When a block first has, or had, something to seal; none while there is nothing.
    #[must_use]
    pub fn ready_at(&self, cuttable: Cuttable<'_>) -> Option<Instant> {
        let fronts = self.ahead.values().filter_map(|ahead| Some((ahead, ahead.entries.front()?)));
        fronts.filter_map(|(ahead, held)| cuttable.ready_at(ahead, held)).min()
    }

    /// The entries that the next block should cover at this moment.
    #[must_use]
    pub fn select(&self, cuttable: Cuttable<'_>, now: Instant) -> Vec<VerifiedEntry> {
        let mut budget = Budget::default();
        let mut queues = self.queues(cuttable, now);
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

    pub(super) fn queues<'a>(&'a self, cuttable: Cuttable<'a>, now: Instant) -> Vec<Queue<'a>> {
        let mut by_member: BTreeMap<MemberId, Vec<&Ahead>> = BTreeMap::new();
        for ahead in self.ahead.values() {
            let ready = ahead.entries.front().and_then(|held| cuttable.ready_at(ahead, held));
            if ready.is_some_and(|at| at <= now) {
                by_member.entry(ahead.member).or_default().push(ahead);
            }
        }
        let mut queues: Vec<_> =
            by_member.into_values().map(|journals| Queue::new(cuttable, now, journals)).collect();
        queues.sort_by_key(Queue::oldest);
        queues
    }
}

/// What is left of a block that is put together.
pub(super) struct Budget {
    pub(super) entries: usize,
    pub(super) bytes: usize,
    pub(super) rows: usize,
    pub(super) journals: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            entries: PROPOSAL_ENTRIES_MAX,
            bytes: BLOCK_BYTES_MAX,
            rows: PROPOSAL_ROWS_MAX,
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
pub(super) struct Queue<'a> {
    cuttable: Cuttable<'a>,
    now: Instant,
    journals: Vec<&'a Ahead>,
    journal: usize,
    entry: usize,
}

impl<'a> Queue<'a> {
    fn new(cuttable: Cuttable<'a>, now: Instant, mut journals: Vec<&'a Ahead>) -> Self {
        journals.sort_by_key(|ahead| ahead.entries.front().map(|held| held.order));
        Self { cuttable, now, journals, journal: 0, entry: 0 }
    }

    fn oldest(&self) -> Option<u64> {
        self.journals.first()?.entries.front().map(|held| held.order)
    }

    /// The member's next entry, if the block has room for it. A key that is revoked in the
    /// middle of what is held is covered up to there.
    pub(super) fn next(&mut self, budget: &mut Budget) -> Option<VerifiedEntry> {
        loop {
            let ahead = *self.journals.get(self.journal)?;
            let ready = |held: &&Held| self.cuttable.ready_at(ahead, held).is_some_and(|at| at <= self.now);
            match ahead.entries.get(self.entry).filter(ready) {
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
}
