//! Asking for unsealed entries: gaps in journals, and what lies under a proposal.
//!
//! *Invariants.* A gap is asked for once at a time and only after a moment, since whoever
//! took the entries is probably sending them. A proposal's entries are asked of its
//! proposer first, then of another node every [`HEDGE`], so that nobody's silence stops it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use syngraph_protocol::block::CutPoint;
use syngraph_protocol::ids::{MemberId, PublicKey, Seq};

use super::message::{Gap, POINTS_MAX, Ticket};
use super::{PATIENCE, Peer, View};

/// How long one node may keep a proposal's entries to itself before another is asked too.
const HEDGE: Duration = Duration::from_millis(300);

/// How long a gap rests after a node failed to fill it.
const REST: Duration = Duration::from_millis(500);

/// Most proposals whose entries are asked for.
const PROPOSALS_MAX: usize = 16;

/// Most requests under way to one node.
const WANTS_MAX: usize = 2;

/// What is lacking.
#[derive(Debug, Default)]
pub(super) struct Asking {
    gaps: BTreeMap<PublicKey, Missing>,
    proposals: Vec<Wanted>,
    under_way: BTreeMap<Ticket, Under>,
    /// Journals that were seen to fork: their other branch was asked for.
    forks: BTreeSet<PublicKey>,
    /// Journals whose run is asked for from its sealed end.
    diverged: BTreeSet<PublicKey>,
}

/// A request to be made.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) to: MemberId,
    pub(super) gaps: Vec<Gap>,
    /// The journals whose gaps it fills, apart from any proposal.
    pub(super) journals: Vec<PublicKey>,
}

/// A journal that ends later elsewhere.
#[derive(Debug)]
struct Missing {
    /// When to ask for it.
    due: Instant,
    /// Where the journal ended here when that was set.
    next: Seq,
    asked: bool,
    /// The last that did not fill it.
    tried: Option<MemberId>,
}

/// A proposal whose entries are lacking.
#[derive(Debug)]
struct Wanted {
    proposer: MemberId,
    missing: Vec<CutPoint>,
    due: Instant,
    tried: BTreeSet<MemberId>,
}

/// A request under way.
#[derive(Debug)]
struct Under {
    to: MemberId,
    journals: Vec<PublicKey>,
}

impl Asking {
    /// A node announces the end of a journal.
    pub(super) fn heard(&mut self, point: &CutPoint, view: View<'_>) {
        let journal = point.journal;
        let ahead = point.seq >= view.next(&journal);
        let here = view.journals.durable_at(&journal, point.seq);
        let other = here.is_some_and(|entry| entry.id() != point.entry);
        if ahead || other && self.forks.insert(journal) {
            let due = view.now + PATIENCE;
            let next = view.next(&journal);
            self.gaps.entry(journal).or_insert(Missing { due, next, asked: false, tried: None });
        }
    }

    /// A proposal cannot be judged for want of these.
    pub(super) fn want(&mut self, proposer: MemberId, missing: &[CutPoint], view: View<'_>) {
        if let Some(known) = self.proposals.iter_mut().find(|wanted| wanted.proposer == proposer) {
            if known.missing != missing {
                *known = Wanted { missing: missing.to_vec(), ..Wanted::new(proposer, view.now) };
            }
            return;
        }
        if self.proposals.len() >= PROPOSALS_MAX {
            self.proposals.remove(0);
        }
        self.proposals.push(Wanted { missing: missing.to_vec(), ..Wanted::new(proposer, view.now) });
    }

    /// A block was decided: what was proposed for its height is of no interest any more.
    pub(super) fn sealed(&mut self) {
        self.proposals.clear();
    }

    /// What is held of a journal does not lead to what others hold.
    pub(super) fn diverged(&mut self, journal: PublicKey) {
        self.diverged.insert(journal);
    }

    pub(super) fn answered(&mut self, ticket: Ticket, failed: bool, now: Instant) {
        let Some(Under { to, journals }) = self.under_way.remove(&ticket) else { return };
        for journal in journals {
            let Some(missing) = self.gaps.get_mut(&journal) else { continue };
            missing.asked = false;
            missing.tried = Some(to);
            // What has come is looked at before this is due.
            missing.due = if failed { now + REST } else { now };
        }
    }

    /// How many entries others hold or propose, in numbers beyond what is here.
    pub(super) fn missing(&self, peers: &BTreeMap<MemberId, Peer>, view: View<'_>) -> u64 {
        let mut ends: BTreeMap<PublicKey, Seq> = BTreeMap::new();
        let announced = peers.values().flat_map(|peer| peer.held.values());
        let proposed = self.proposals.iter().flat_map(|wanted| &wanted.missing);
        for point in announced.chain(proposed) {
            let end = ends.entry(point.journal).or_insert(point.seq);
            *end = point.seq.max(*end);
        }
        let lacking = |(journal, last): (PublicKey, Seq)| {
            let beyond = last.get().saturating_add(1);
            beyond.saturating_sub(view.next(&journal).get())
        };
        ends.into_iter().map(lacking).fold(0, u64::saturating_add)
    }

    /// Whom to ask for what now.
    pub(super) fn due(&mut self, peers: &BTreeMap<MemberId, Peer>, view: View<'_>) -> Vec<Want> {
        let mut asks = self.for_proposals(peers, view);
        asks.extend(self.for_gaps(peers, view));
        asks
    }

    /// A request that [`Self::due`] gave was made.
    pub(super) fn asked(&mut self, ticket: Ticket, to: MemberId, journals: Vec<PublicKey>) {
        self.under_way.insert(ticket, Under { to, journals });
    }

    fn for_proposals(&mut self, peers: &BTreeMap<MemberId, Peer>, view: View<'_>) -> Vec<Want> {
        let mut asks = Vec::new();
        for wanted in self.proposals.iter_mut().filter(|wanted| wanted.due <= view.now) {
            wanted.due = view.now + HEDGE;
            if let Some(to) = wanted.next(peers) {
                let gaps = wanted.missing.iter().take(POINTS_MAX).map(|point| Gap {
                    journal: point.journal,
                    from: view.sealed(&point.journal),
                    to: point.seq,
                    last: point.entry,
                });
                asks.push(Want { to, gaps: gaps.collect(), journals: Vec::new() });
            }
        }
        asks
    }

    fn for_gaps(&mut self, peers: &BTreeMap<MemberId, Peer>, view: View<'_>) -> Vec<Want> {
        let mut asks: BTreeMap<MemberId, Vec<Gap>> = BTreeMap::new();
        let mut filled = Vec::new();
        for (journal, missing) in &mut self.gaps {
            if missing.asked || missing.due > view.now || missing.is_coming(view.next(journal), view.now) {
                continue;
            }
            let Some((to, point)) = holder(peers, journal, missing.tried, view) else {
                filled.push(*journal);
                continue;
            };
            let busy = self.under_way.values().filter(|under| under.to == to).count();
            let gaps = asks.entry(to).or_default();
            if gaps.len() >= POINTS_MAX || busy >= WANTS_MAX {
                missing.due = view.now + REST;
                continue;
            }
            let whole = self.diverged.remove(journal) || point.seq < view.next(journal);
            let from = if whole { view.sealed(journal) } else { view.next(journal) };
            gaps.push(Gap { journal: *journal, from, to: point.seq, last: point.entry });
            (missing.asked, missing.tried) = (true, Some(to));
        }
        for journal in filled {
            self.gaps.remove(&journal);
        }
        asks.retain(|_, gaps| !gaps.is_empty());
        let want = |(to, gaps): (MemberId, Vec<Gap>)| {
            let journals = gaps.iter().map(|gap| gap.journal).collect();
            Want { to, gaps, journals }
        };
        asks.into_iter().map(want).collect()
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        let gaps = self.gaps.values().filter(|missing| !missing.asked).map(|missing| missing.due);
        gaps.chain(self.proposals.iter().map(|wanted| wanted.due)).min()
    }
}

impl Missing {
    /// Whether entries have come meanwhile: then somebody is sending them, and it is left
    /// alone for another moment.
    fn is_coming(&mut self, next: Seq, now: Instant) -> bool {
        let comes = next > self.next;
        if comes {
            (self.next, self.due) = (next, now + PATIENCE);
        }
        comes
    }
}

impl Wanted {
    fn new(proposer: MemberId, now: Instant) -> Self {
        Self { proposer, missing: Vec::new(), due: now + PATIENCE / 6, tried: BTreeSet::new() }
    }

    /// The proposer, then those who hold some of it, then anybody; again from the start.
    fn next(&mut self, peers: &BTreeMap<MemberId, Peer>) -> Option<MemberId> {
        if peers.keys().all(|member| self.tried.contains(member)) {
            self.tried.clear();
        }
        let holds = |peer: &Peer| {
            self.missing.iter().filter(|point| peer.held.get(&point.journal) == Some(point)).count()
        };
        let untried = peers.iter().filter(|(member, _)| !self.tried.contains(member));
        let best = untried.max_by_key(|(member, peer)| (**member == self.proposer, holds(peer)));
        let to = *best?.0;
        self.tried.insert(to);
        Some(to)
    }
}

/// A node that holds more of a journal, or another branch; another than the last that did
/// not give it.
fn holder(
    peers: &BTreeMap<MemberId, Peer>,
    journal: &PublicKey,
    tried: Option<MemberId>,
    view: View<'_>,
) -> Option<(MemberId, CutPoint)> {
    let next: Seq = view.next(journal);
    let more = |point: &CutPoint| {
        let other = || view.journals.durable_at(journal, point.seq).is_some_and(|e| e.id() != point.entry);
        point.seq >= next || (tried.is_none() && other())
    };
    let able = peers.iter().filter_map(|(member, peer)| {
        let point = peer.held.get(journal).filter(|point| more(point))?;
        Some((*member, *point))
    });
    able.max_by_key(|(member, point)| (Some(*member) != tried, point.seq))
}
