//! Journals that are ahead of the chain: what this node holds and no block covers yet.
//!
//! Sans-I/O: callers hand in verified entries and the state, and carry out what comes
//! back. Entries move through it one way:
//!
//! ```text
//! admit ─▶ held, to be written ─synced─▶ durable ─select─▶ proposed ─sealed─▶ gone
//!    └──▶ parked (key unknown) ─unpark──▶ admit
//! stage ─▶ admit, or beside the run (another branch) ─synced─▶ under a cut ─sealed─▶ gone
//! ```
//!
//! *Invariants.* Of each journal a contiguous run is held, starting where the sealed part
//! ends: the branch that came first. Other branches are held only as far as a block may
//! cover them. Only durable entries are selected for blocks or found under a cut. What was
//! taken is dropped only once its place is sealed. Everything is bounded: what is held per
//! member, parked entries, other branches.
//!
//! *Deliberately absent:* clocks, files, threads; and any rule about what entries mean.

mod branches;
mod cover;
mod parked;
pub mod select;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use syngraph_protocol::block::{Cut, CutPoint};
use syngraph_protocol::entry::{SignedHead, VerifiedEntry};
use syngraph_protocol::ids::{EntryId, MemberId, PublicKey, Seq};
use syngraph_protocol::journal::{LinkError, Tip};
use syngraph_protocol::ledger::member::{self, Key, MemberError};
use syngraph_protocol::ledger::{Ledger, Refusal};
use syngraph_protocol::limits::ENTRY_BYTES_MAX;

use self::branches::Branches;
use self::parked::Parked;
pub use self::select::{Cuttable, Replicated};

/// Most bytes of unsealed entries held for another member.
pub const UNSEALED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Most bytes of unsealed entries held for the node's own member, whose node must keep
/// its own longer than others do.
pub const OWN_UNSEALED_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Most forks of journals that are remembered until they are reported.
const FORKS_MAX: usize = 64;

/// Through which door an entry comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// From whoever signed it: its key must be open.
    Door,
    /// From a node that has taken it already: it must only be possible for a block to cover
    /// it.
    Peer,
}

/// What becomes of an entry that is handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It must be written, and counts once [`Journals::synced`] was called.
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
pub enum Refused {
    /// It does not continue its journal.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Its key may not say this.
    #[error(transparent)]
    Ledger(#[from] Refusal),
}

impl Refused {
    /// The stable rule id.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Link(error) => error.rule(),
            Self::Ledger(refusal) => refusal.rule(),
        }
    }
}

/// Two entries of one key at one place of its journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The one that was held.
    pub held: SignedHead,
    /// The one that came.
    pub came: SignedHead,
}

/// One journal beyond its sealed part.
#[derive(Debug)]
struct Ahead {
    member: MemberId,
    /// Where the held run ends.
    tip: Tip,
    /// The run, oldest first.
    entries: VecDeque<Held>,
    /// Whether its key has signed another branch.
    forked: bool,
}

#[derive(Debug)]
struct Held {
    entry: VerifiedEntry,
    durable: bool,
    /// Order of arrival, so that the longest waiting go first.
    order: u64,
    /// When it arrived.
    since: Instant,
}

/// Everything held and not sealed.
#[derive(Debug)]
pub struct Journals {
    own: MemberId,
    ahead: BTreeMap<PublicKey, Ahead>,
    by_id: BTreeMap<EntryId, (PublicKey, Seq)>,
    bytes: BTreeMap<MemberId, usize>,
    branches: Branches,
    parked: Parked,
    /// Forks that nobody was told of yet, the first of each journal.
    forks: BTreeMap<PublicKey, Fork>,
    arrivals: u64,
    /// Journals with entries that are not durable yet.
    unsynced: Vec<PublicKey>,
}

impl Journals {
    /// Nothing held. `own` is the member whose node this is.
    #[must_use]
    pub fn new(own: MemberId) -> Self {
        Self {
            own,
            ahead: BTreeMap::new(),
            by_id: BTreeMap::new(),
            bytes: BTreeMap::new(),
            branches: Branches::default(),
            parked: Parked::default(),
            forks: BTreeMap::new(),
            arrivals: 0,
            unsynced: Vec::new(),
        }
    }

    /// Hands in an entry from outside.
    pub fn admit(&mut self, ledger: &Ledger, entry: VerifiedEntry, via: Via, now: Instant) -> Admitted {
        let head = entry.head();
        let (journal, seq) = (head.journal, head.seq);
        if !ledger.keys.contains(&journal) {
            return if self.parked.park(entry) { Admitted::Parked } else { Admitted::Busy };
        }
        if seq < ledger.journal_tip(&journal).next {
            return Admitted::Sealed;
        }
        if let Some(standing) = self.at(&journal, seq) {
            let other = standing.id();
            return if other == entry.id() { Admitted::Held } else { self.fork(&entry, other) };
        }
        if let Err(refusal) = may_come(ledger, &entry, via) {
            return refused(refusal);
        }
        if !self.has_room(owner(ledger, &entry), entry.bytes().len()) {
            return Admitted::Busy;
        }
        match self.append(ledger, entry, false, now) {
            Ok(()) => Admitted::New,
            Err(link) => refused(link),
        }
    }

    /// Hands in an entry that a proposed or decided block covers, by a peer's account. It
    /// may belong to another branch than the one that is held, and come although its member
    /// has no room: this node could never follow a block of which it refuses an entry.
    pub fn stage(&mut self, ledger: &Ledger, entry: VerifiedEntry, now: Instant) -> Admitted {
        match self.admit(ledger, entry.clone(), Via::Peer, now) {
            Admitted::Fork { .. } => self.beside(ledger, entry, false),
            Admitted::Busy if ledger.keys.contains(&entry.head().journal) => {
                match self.beside(ledger, entry, false) {
                    Admitted::Refused(_) => Admitted::Busy,
                    kept => kept,
                }
            }
            Admitted::Refused(why)
                if matches!(*why, Refused::Link(LinkError::Prev { .. } | LinkError::Gap { .. })) =>
            {
                match self.beside(ledger, entry, false) {
                    Admitted::Refused(_) => Admitted::Refused(why),
                    kept => kept,
                }
            }
            admitted => admitted,
        }
    }

    /// Keeps an entry of another branch, if the one before it is held or sealed.
    fn beside(&mut self, ledger: &Ledger, entry: VerifiedEntry, durable: bool) -> Admitted {
        let head = entry.head();
        let (journal, seq, prev) = (head.journal, head.seq, head.prev);
        if self.branches.contains(journal, seq, entry.id()) {
            return Admitted::Held;
        }
        if let Err(refusal) = may_come(ledger, &entry, Via::Peer) {
            return refused(refusal);
        }
        // What is there may be what somebody has made up: it must not keep out what a block
        // covers. What is of use comes again.
        if !durable && !self.branches.has_room(entry.bytes().len()) {
            self.branches.clear();
        }
        let sealed = ledger.journal_tip(&journal);
        let follows = match seq.get().checked_sub(1).map(Seq::new) {
            _ if seq == sealed.next => prev == sealed.last,
            Some(before) => {
                self.branches.contains(journal, before, prev)
                    || self.at(&journal, before).is_some_and(|held| held.id() == prev)
            }
            None => false,
        };
        if !follows {
            return refused(LinkError::Prev { seq, expected: sealed.last, got: prev });
        }
        self.branches.keep(entry, durable);
        Admitted::New
    }

    /// Remembers that a key has signed two entries for one place.
    fn fork(&mut self, came: &VerifiedEntry, other: EntryId) -> Admitted {
        let journal = came.head().journal;
        if let Some(ahead) = self.ahead.get_mut(&journal) {
            ahead.forked = true;
        }
        if self.forks.len() < FORKS_MAX
            && !self.forks.contains_key(&journal)
            && let Some(held) = self.at(&journal, came.head().seq)
        {
            let fork = Fork { held: held.signed_head(), came: came.signed_head() };
            self.forks.insert(journal, fork);
        }
        Admitted::Fork { other }
    }

    /// Forks that were found since the last call.
    pub fn take_forks(&mut self) -> Vec<Fork> {
        std::mem::take(&mut self.forks).into_values().collect()
    }

    /// Takes back an entry that was durable before a restart.
    ///
    /// # Errors
    /// [`LinkError`] if it continues no branch of its journal: then it was never
    /// acknowledged.
    pub fn restore(&mut self, ledger: &Ledger, entry: VerifiedEntry, now: Instant) -> Result<(), LinkError> {
        let Err(link) = self.append(ledger, entry.clone(), true, now) else { return Ok(()) };
        if let Some(other) = self.at(&entry.head().journal, entry.head().seq).map(VerifiedEntry::id) {
            self.fork(&entry, other);
        }
        match self.beside(ledger, entry, true) {
            Admitted::Refused(_) => Err(link),
            _ => Ok(()),
        }
    }

    fn append(
        &mut self,
        ledger: &Ledger,
        entry: VerifiedEntry,
        durable: bool,
        since: Instant,
    ) -> Result<(), LinkError> {
        let head = entry.head();
        let (journal, member, seq, id) = (head.journal, owner(ledger, &entry), head.seq, entry.id());
        let sealed = || ledger.journal_tip(&journal);
        let before = self.ahead.get(&journal).map_or_else(sealed, |ahead| ahead.tip);
        let tip = before.append(seq, head.prev, id)?;
        *self.bytes.entry(member).or_default() += entry.bytes().len();
        self.by_id.insert(id, (journal, seq));
        self.arrivals += 1;
        let held = Held { entry, durable, order: self.arrivals, since };
        let empty = || Ahead { member, tip, entries: VecDeque::new(), forked: false };
        let ahead = self.ahead.entry(journal).or_insert_with(empty);
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

    /// Whether more of a journal's run may come: its key is not known to have forked it, and
    /// a block may cover more of it.
    #[must_use]
    pub fn goes_on(&self, ledger: &Ledger, journal: &PublicKey) -> bool {
        let forked = self.ahead.get(journal).is_some_and(|ahead| ahead.forked);
        let next = self.tip(ledger, journal).map(|tip| tip.next);
        let counts = |key: &Key| key.frozen.is_none() && key.revoked.is_none_or(|end| next < Some(end.next));
        !forked && ledger.keys.get(journal).is_some_and(counts)
    }

    /// Whether a journal's member may have no room for another entry.
    #[must_use]
    pub fn is_full(&self, ledger: &Ledger, journal: &PublicKey) -> bool {
        let member = ledger.keys.get(journal).map(|key| key.member);
        member.is_some_and(|member| !self.has_room(member, ENTRY_BYTES_MAX))
    }

    /// Everything handed in so far is on disk. Gives the journals that have grown.
    pub fn synced(&mut self) -> Vec<PublicKey> {
        self.branches.synced();
        let mut grown = std::mem::take(&mut self.unsynced);
        grown.sort_unstable();
        grown.dedup();
        for journal in &grown {
            let Some(ahead) = self.ahead.get_mut(journal) else { continue };
            let fresh = ahead.entries.iter_mut().rev().take_while(|held| !held.durable);
            fresh.for_each(|held| held.durable = true);
        }
        grown
    }

    /// Parked entries whose key the state now knows, oldest first per journal. They are
    /// no longer parked: the caller admits them.
    pub fn unpark(&mut self, ledger: &Ledger) -> Vec<VerifiedEntry> {
        self.parked.unpark(ledger)
    }

    /// The held entry at a place of a journal's run.
    fn at(&self, journal: &PublicKey, seq: Seq) -> Option<&VerifiedEntry> {
        self.held(journal, seq).map(|held| &held.entry)
    }

    fn held(&self, journal: &PublicKey, seq: Seq) -> Option<&Held> {
        let ahead = self.ahead.get(journal)?;
        let first = ahead.entries.front()?.entry.head().seq;
        let position = usize::try_from(seq.get().checked_sub(first.get())?).ok()?;
        ahead.entries.get(position)
    }

    /// The held or parked entry of this id, and whether it is parked.
    #[must_use]
    pub fn find(&self, id: &EntryId) -> Option<(&VerifiedEntry, bool)> {
        if let Some((journal, seq)) = self.by_id.get(id) {
            return self.at(journal, *seq).map(|entry| (entry, false));
        }
        self.parked.find(id).map(|entry| (entry, true))
    }

    /// Where a journal ends here; none if the state does not know its key.
    #[must_use]
    pub fn tip(&self, ledger: &Ledger, journal: &PublicKey) -> Option<Tip> {
        ledger.keys.contains(journal).then(|| match self.ahead.get(journal) {
            Some(ahead) => ahead.tip,
            None => ledger.journal_tip(journal),
        })
    }

    /// The journals with a run beyond their sealed part.
    pub fn ahead(&self) -> impl Iterator<Item = PublicKey> {
        self.ahead.keys().copied()
    }

    /// Where the durable part of a journal's run ends; none if nothing of it is ahead.
    #[must_use]
    pub fn durable_end(&self, journal: &PublicKey) -> Option<CutPoint> {
        let last = self.ahead.get(journal)?.entries.iter().rev().find(|held| held.durable)?;
        Some(CutPoint { journal: *journal, seq: last.entry.head().seq, entry: last.entry.id() })
    }

    /// The id at a place of a journal's run, if it is durable.
    #[must_use]
    pub fn durable_at(&self, journal: &PublicKey, seq: Seq) -> Option<&VerifiedEntry> {
        self.held(journal, seq).filter(|held| held.durable).map(|held| &held.entry)
    }

    /// A block was decided that moved these journals. What it covers is no longer ahead; a
    /// run that it has overtaken gives way to the branch that was sealed. Gives the journals
    /// of such runs.
    pub fn sealed(&mut self, ledger: &Ledger, cut: &Cut, now: Instant) -> Vec<PublicKey> {
        let mut overtaken = Vec::new();
        for point in &cut.points {
            let tip = Tip { next: ledger.journal_tip(&point.journal).next, last: point.entry };
            if self.seal(point.journal, tip) {
                overtaken.push(point.journal);
            }
            self.branches.passed(point.journal, tip.next);
            if self.ahead.contains_key(&point.journal) {
                continue;
            }
            for (entry, durable) in self.branches.take_run(point.journal, tip.next, tip.last) {
                if self.append(ledger, entry, durable, now).is_err() {
                    break;
                }
            }
        }
        overtaken
    }

    /// Gives whether the run ended before the sealed branch, or was another.
    fn seal(&mut self, journal: PublicKey, tip: Tip) -> bool {
        let Some(mut ahead) = self.ahead.remove(&journal) else { return false };
        let last = tip.next.get().checked_sub(1).map(Seq::new);
        let on_run = ahead.entries.iter().find(|held| Some(held.entry.head().seq) == last);
        let on_run = on_run.is_some_and(|held| held.entry.id() == tip.last);
        while ahead.entries.front().is_some_and(|held| !on_run || held.entry.head().seq < tip.next) {
            let Some(held) = ahead.entries.pop_front() else { break };
            self.by_id.remove(&held.entry.id());
            if let Some(bytes) = self.bytes.get_mut(&ahead.member) {
                *bytes = bytes.saturating_sub(held.entry.bytes().len());
            }
        }
        if !ahead.entries.is_empty() {
            self.ahead.insert(journal, ahead);
        }
        !on_run
    }

    /// How many entries are held and not sealed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How many entries are held that a block may still cover.
    #[must_use]
    pub fn sealable(&self, ledger: &Ledger) -> usize {
        let of = |(journal, ahead): (&PublicKey, &Ahead)| match ledger.journal_ends(journal) {
            Some((end, _)) => ahead.entries.iter().take_while(|held| held.entry.head().seq < end).count(),
            None => ahead.entries.len(),
        };
        self.ahead.iter().map(of).sum()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

/// Whose journal an entry is in. A head may claim another member, who must not be charged
/// for it.
fn owner(ledger: &Ledger, entry: &VerifiedEntry) -> MemberId {
    ledger.keys.get(&entry.head().journal).map_or(entry.head().member, |key| key.member)
}

/// Whether an entry of a known key may come through this door.
fn may_come(ledger: &Ledger, entry: &VerifiedEntry, via: Via) -> Result<(), Refusal> {
    let (journal, seq) = (entry.head().journal, entry.head().seq);
    if via == Via::Door {
        ledger.may_say(entry)?;
        if let Some(key) = ledger.keys.get(&journal) {
            member::still_open(key, ledger.time())?;
        }
    }
    Ok(ledger.may_cut(&journal, seq, entry.id())?)
}

fn refused(why: impl Into<Refused>) -> Admitted {
    Admitted::Refused(Box::new(why.into()))
}

impl From<MemberError> for Refused {
    fn from(error: MemberError) -> Self {
        Self::Ledger(error.into())
    }
}

#[cfg(test)]
pub(crate) mod tests;
