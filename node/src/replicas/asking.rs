//! Asking for unsealed entries: gaps in journals, and what lies under a proposal.
//!
//! *Invariants.* A gap is asked for once at a time and only after a moment, since whoever
//! took the entries is probably sending them. A proposal's entries are asked of its
//! proposer first, then of another node every [`HEDGE`], so that nobody's silence stops it.
//! What was brought is asked for again only if it was of use, or after a rest, of another
//! node first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use syngraph_protocol::block::CutPoint;
use syngraph_protocol::ids::{BlockId, MemberId, PublicKey, Seq};

use super::message::{Gap, POINTS_MAX, Ticket};
use super::{PATIENCE, Peer, REST, View, oldest_of_most};

/// How long one node may keep a proposal's entries to itself before another is asked too.
const HEDGE: Duration = Duration::from_millis(300);

/// How long a node may take to fill a gap before another is asked.
const OVERDUE: Duration = Duration::from_secs(5);

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
    /// Nodes that filled no gap when they were last asked to.
    unhelpful: BTreeSet<MemberId>,
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
    /// Until when whoever was asked may take.
    asked: Option<Instant>,
    /// The last that was asked.
    tried: Option<MemberId>,
    /// Whether it brought something, which is yet to prove of use.
    fed: bool,
}

/// A proposal whose entries are lacking.
#[derive(Debug)]
struct Wanted {
    block: BlockId,
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
            self.gaps.entry(journal).or_insert(Missing { due, asked: None, tried: None, fed: false });
        }
    }

    /// A proposal cannot be judged for want of these.
    pub(super) fn want(
        &mut self,
        (block, proposer): (BlockId, MemberId),
        missing: &[CutPoint],
        view: View<'_>,
    ) {
        if let Some(known) = self.proposals.iter_mut().find(|wanted| wanted.block == block) {
            missing.clone_into(&mut known.missing);
            return;
        }
        if self.proposals.len() >= PROPOSALS_MAX {
            let first = oldest_of_most(self.proposals.iter().map(|wanted| wanted.proposer));
            self.proposals.remove(first);
        }
        let due = view.now + PATIENCE / 2;
        let missing = missing.to_vec();
        self.proposals.push(Wanted { block, proposer, missing, due, tried: BTreeSet::new() });
    }

    /// A block was decided: what was proposed for its height is of no interest any more.
    pub(super) fn sealed(&mut self) {
        self.proposals.clear();
    }

    /// What is held of a journal does not lead to what others hold.
    pub(super) fn diverged(&mut self, journal: PublicKey) {
        self.diverged.insert(journal);
    }

    /// A node has answered, or never will; whether it brought anything.
    pub(super) fn answered(&mut self, ticket: Ticket, brought: bool, now: Instant) {
        let Some(Under { to, journals }) = self.under_way.remove(&ticket) else { return };
        if !journals.is_empty() && !brought {
            self.unhelpful.insert(to);
        }
        for journal in journals {
            let Some(missing) = self.gaps.get_mut(&journal).filter(|gap| gap.tried == Some(to)) else {
                continue;
            };
            (missing.asked, missing.fed, missing.due) = (None, brought, now + REST);
        }
    }

    /// A journal's run has grown. If that filled a part of its gap as asked, the next part is
    /// due; else somebody is sending it, and it is left alone for another moment.
    pub(super) fn grown(&mut self, journal: &PublicKey, now: Instant) {
        let lacking = |wanted: &&mut Wanted| {
            wanted.tried.is_empty() && wanted.missing.iter().any(|point| point.journal == *journal)
        };
        for wanted in self.proposals.iter_mut().filter(lacking) {
            wanted.due = wanted.due.max(now + PATIENCE / 2);
        }
        let Some(missing) = self.gaps.get_mut(journal) else { return };
        if std::mem::take(&mut missing.fed) {
            missing.due = now;
            missing.tried.map(|helpful| self.unhelpful.remove(&helpful));
        } else if missing.asked.is_none() {
            missing.due = missing.due.max(now + PATIENCE);
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
            // What has come meanwhile waits to be judged.
            let sealed = |point: &CutPoint| view.sealed(&point.journal);
            wanted.missing.retain(|point| view.journals.part(sealed(point), point).is_none());
            if wanted.missing.is_empty() {
                continue;
            }
            if let Some(to) = wanted.next(peers) {
                let gaps = wanted.missing.iter().take(POINTS_MAX).map(|point| Gap {
                    journal: point.journal,
                    from: sealed(point),
                    to: point.seq,
                    last: point.entry,
                });
                asks.push(Want { to, gaps: gaps.collect(), journals: Vec::new() });
            }
        }
        self.proposals.retain(|wanted| !wanted.missing.is_empty());
        asks
    }

    fn for_gaps(&mut self, peers: &BTreeMap<MemberId, Peer>, view: View<'_>) -> Vec<Want> {
        let mut asks: BTreeMap<MemberId, Vec<Gap>> = BTreeMap::new();
        let mut filled = Vec::new();
        for (journal, missing) in &mut self.gaps {
            if missing.wake_at() > view.now {
                continue;
            }
            // Whoever was asked took too long, or brought what did not help.
            if missing.asked.take().is_some() || std::mem::take(&mut missing.fed) {
                self.unhelpful.extend(missing.tried);
            }
            let holder = holder(peers, journal, (missing.tried, &self.unhelpful), view);
            let Some((to, point)) = holder.filter(|_| view.journals.goes_on(view.ledger, journal)) else {
                filled.push(*journal);
                continue;
            };
            let busy = self.under_way.values().filter(|under| under.to == to).count();
            let gaps = asks.entry(to).or_default();
            let full = view.journals.is_full(view.ledger, journal);
            if full || gaps.len() >= POINTS_MAX || busy >= WANTS_MAX {
                missing.due = view.now + REST;
                continue;
            }
            let whole = self.diverged.remove(journal) || point.seq < view.next(journal);
            let from = if whole { view.sealed(journal) } else { view.next(journal) };
            gaps.push(Gap { journal: *journal, from, to: point.seq, last: point.entry });
            (missing.asked, missing.tried) = (Some(view.now + OVERDUE), Some(to));
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
        let gaps = self.gaps.values().map(Missing::wake_at);
        gaps.chain(self.proposals.iter().map(|wanted| wanted.due)).min()
    }
}

impl Missing {
    fn wake_at(&self) -> Instant {
        self.asked.unwrap_or(self.due)
    }
}

impl Wanted {
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

/// A node that holds more of a journal, or another branch: one that was of help, and another
/// than was tried last, before others.
fn holder(
    peers: &BTreeMap<MemberId, Peer>,
    journal: &PublicKey,
    (tried, unhelpful): (Option<MemberId>, &BTreeSet<MemberId>),
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
    able.max_by_key(|(member, point)| (!unhelpful.contains(member), Some(*member) != tried, point.seq))
}
