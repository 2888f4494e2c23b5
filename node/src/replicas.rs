//! Replication: who holds what, and what to send to whom, ask of whom and answer.
//!
//! Sans-I/O, like `journals`: it is told what happened and what the time is, and gives
//! requests for callers to carry.
//!
//! ```text
//! a door's entry, durable ─▶ push ─▶ every connected node ─▶ durable there ─▶ announce
//! announced and not here after a moment ─▶ want it from one that has it
//! under a proposal and not here         ─▶ want it, the proposer first, then the others
//! sealed elsewhere and not here         ─▶ the log, ahead of the engine
//! ```
//!
//! *Invariants.* An entry is pushed only by the node whose door it came through, and only
//! to a node that holds everything before it; what is lost on the way is asked for by
//! whoever lacks it. So each entry comes about once. A node counts as a holder only of the
//! very (seq, id) that it has announced, on the branch that is held here. Nothing is
//! queued: requests are made from what is held when there is room for them.
//!
//! *Deliberately absent:* sockets and clocks; and whether an entry may be taken.

mod answering;
mod asking;
mod catching_up;
pub mod message;
mod peer;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use syngraph_protocol::block::{Cut, CutPoint};
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{BlockId, Height, MemberId, PublicKey, Seq};
use syngraph_protocol::ledger::Ledger;

pub use self::answering::answer;
use self::answering::within;
use self::asking::{Asking, Want};
use self::catching_up::CatchingUp;
use self::message::{Gap, Holdings, POINTS_MAX, Request, Response, Ticket};
use self::peer::Peer;
use crate::journals::{Journals, Replicated};

/// How long to wait for what somebody else is probably bringing.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long what failed rests before it is tried again.
const REST: Duration = Duration::from_millis(500);

/// Most pushes under way to one node. Beyond, it learns of the entries by announcement.
const PUSHES_MAX: usize = 4;

/// A request for a peer.
#[derive(Debug)]
pub struct Ask {
    /// Whom.
    pub to: MemberId,
    /// Names it.
    pub ticket: Ticket,
    /// What.
    pub request: Request,
}

/// What is held and how far the chain is, at the moment of a question.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The decided state.
    pub ledger: &'a Ledger,
    /// What is held beyond it.
    pub journals: &'a Journals,
    /// The time.
    pub now: Instant,
}

impl View<'_> {
    /// The number that would continue a journal here.
    fn next(&self, journal: &PublicKey) -> Seq {
        let tip = self.journals.tip(self.ledger, journal);
        tip.map_or(Seq::FIRST, |tip| tip.next)
    }

    fn sealed(&self, journal: &PublicKey) -> Seq {
        self.ledger.journal_tip(journal).next
    }
}

/// Why a peer was asked.
#[derive(Clone, Debug)]
enum Asked {
    Push(Vec<PublicKey>),
    Announce(Vec<PublicKey>),
    Want {
        gaps: Vec<Gap>,
        /// Whether a proposal covers them.
        covered: bool,
    },
    Log,
}

/// What the node knows of the others.
#[derive(Debug)]
pub struct Replicas {
    me: MemberId,
    peers: BTreeMap<MemberId, Peer>,
    under_way: BTreeMap<Ticket, (MemberId, Asked)>,
    last_ticket: u64,
    /// Entries that came through this node's doors, durable, to be pushed.
    fresh: Vec<VerifiedEntry>,
    replicated: Replicated,
    asking: Asking,
    catching_up: CatchingUp,
    begun: Height,
}

/// Entries that were asked for.
#[derive(Debug)]
pub struct Arrived {
    /// Whether a proposed or decided block covers them, by a peer's account.
    pub covered: bool,
    /// The entries.
    pub entries: Vec<VerifiedEntry>,
}

impl Replicas {
    /// Nobody is connected.
    #[must_use]
    pub fn new(me: MemberId) -> Self {
        Self {
            me,
            peers: BTreeMap::new(),
            under_way: BTreeMap::new(),
            last_ticket: 0,
            fresh: Vec::new(),
            replicated: Replicated::default(),
            asking: Asking::default(),
            catching_up: CatchingUp::new(),
            begun: Height::GENESIS,
        }
    }

    /// How far each journal is held by a quorum, beyond what is sealed.
    #[must_use]
    pub fn replicated(&self) -> &Replicated {
        &self.replicated
    }

    /// How many entries others have announced or proposed that are not here.
    #[must_use]
    pub fn missing(&self, view: View<'_>) -> u64 {
        self.asking.missing(&self.peers, view)
    }

    /// The members whose nodes are connected; sorted.
    pub fn connected(&self) -> impl Iterator<Item = MemberId> {
        self.peers.keys().copied()
    }

    /// Whether the connected nodes, this one among them, have a quorum of the power.
    #[must_use]
    pub fn has_quorum(&self, ledger: &Ledger) -> bool {
        let voters = ledger.voters();
        voters.is_quorum(voters.power_of(self.connected().chain([self.me])))
    }

    /// A member's node is connected: it is told everything.
    pub fn up(&mut self, member: MemberId, view: View<'_>) {
        let had_quorum = self.has_quorum(view.ledger);
        let untold = view.journals.ahead().collect();
        self.peers.insert(member, Peer::new(untold));
        if !had_quorum && self.has_quorum(view.ledger) {
            self.replicated.connected(view.now);
        }
    }

    /// It no longer is. What it was asked fails by its own event.
    pub fn down(&mut self, member: MemberId) {
        self.peers.remove(&member);
    }

    /// The engine has begun a height.
    pub fn begun(&mut self, height: Height) {
        if height > self.begun {
            self.begun = height;
            self.peers.values_mut().for_each(|peer| peer.untold_height = true);
        }
    }

    /// Whether connected nodes with more than a third of the power have decided or begun a
    /// height, by their own account: then one that does not lie has.
    #[must_use]
    pub fn have_reached(&self, height: Height, ledger: &Ledger) -> bool {
        let there = self.peers.iter().filter(|(_, peer)| peer.height.max(peer.begun) >= height);
        let (voters, members) = (ledger.voters(), there.map(|(member, _)| *member));
        u128::from(voters.power_of(members)) * 3 > u128::from(voters.total_power())
    }

    /// Entries came through this node's doors and are durable.
    pub fn fresh(&mut self, entries: Vec<VerifiedEntry>) {
        self.fresh.extend(entries);
    }

    /// Journals have grown durably here.
    pub fn grown(&mut self, journals: &[PublicKey], view: View<'_>) {
        for journal in journals {
            self.peers.values_mut().for_each(|peer| _ = peer.untold.insert(*journal));
            self.asking.grown(journal, view.now);
            self.count(journal, view);
        }
    }

    /// A node says how far it is.
    pub fn announced(&mut self, from: MemberId, holdings: &Holdings, view: View<'_>) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.height = peer.height.max(holdings.height);
        peer.begun = peer.begun.max(holdings.begun);
        peer.log_size = peer.log_size.max(holdings.log_size);
        self.catching_up.heard(holdings.height, view);
        for point in &holdings.points {
            // Journals of unknown keys would be unbounded; they are announced again.
            let known = view.ledger.keys.contains(&point.journal);
            if !known || point.seq < view.sealed(&point.journal) {
                continue;
            }
            if let Some(peer) = self.peers.get_mut(&from) {
                peer.held.insert(point.journal, *point);
            }
            self.asking.heard(point, view);
            self.count(&point.journal, view);
        }
    }

    /// Counts anew how far a quorum holds a journal.
    fn count(&mut self, journal: &PublicKey, view: View<'_>) {
        let sealed = view.sealed(journal);
        let mine = view.journals.durable_end(journal).and_then(|end| end.seq.next()).unwrap_or(sealed);
        for peer in self.peers.values_mut() {
            let points = [peer.awaited.get(journal), peer.held.get(journal)];
            for point in points.into_iter().flatten() {
                let here = view.journals.durable_at(journal, point.seq);
                if here.is_some_and(|entry| entry.id() == point.entry)
                    && let Some(next) = point.seq.next()
                {
                    peer.supports.insert(*journal, next);
                }
            }
            if peer.awaited.get(journal).is_none_or(|point| point.seq < mine) {
                peer.awaited.remove(journal);
                let beyond = peer.held.get(journal).filter(|point| point.seq >= mine);
                beyond.map(|point| peer.awaited.insert(*journal, *point));
            }
        }
        let voters = view.ledger.voters();
        let next_of = |member: MemberId| {
            if member == self.me {
                return mine;
            }
            let peer = self.peers.get(&member);
            peer.and_then(|peer| peer.supports.get(journal)).copied().unwrap_or(sealed)
        };
        let mut holders: Vec<_> =
            voters.voters().iter().map(|voter| (next_of(voter.member), voter.power)).collect();
        holders.sort_unstable_by(|a, b| b.cmp(a));
        let mut power = 0_u64;
        let held = holders.into_iter().find(|(_, more)| {
            power = power.saturating_add(*more);
            voters.is_quorum(power)
        });
        if let Some((next, _)) = held.filter(|(next, _)| *next > sealed) {
            self.replicated.reached(*journal, next, view.now);
        }
    }

    /// A journal's run gave way to another branch: nobody is known to hold that.
    pub fn overtaken(&mut self, journal: &PublicKey) {
        self.peers.values_mut().for_each(|peer| _ = peer.supports.remove(journal));
        self.replicated.forget(journal);
    }

    /// A block was decided and stored.
    pub fn sealed(&mut self, cut: &Cut, entries: &[VerifiedEntry], view: View<'_>) {
        for CutPoint { journal, .. } in &cut.points {
            let next = view.sealed(journal);
            for peer in self.peers.values_mut() {
                if peer.held.get(journal).is_some_and(|point| point.seq < next) {
                    peer.held.remove(journal);
                }
                if peer.awaited.get(journal).is_some_and(|point| point.seq < next) {
                    peer.awaited.remove(journal);
                }
                if peer.supports.get(journal).is_some_and(|held| *held <= next) {
                    peer.supports.remove(journal);
                }
                if peer.pushed.get(journal).is_some_and(|pushed| *pushed <= next) {
                    peer.pushed.remove(journal);
                }
            }
            self.replicated.sealed(journal, next);
        }
        self.asking.sealed();
        self.catching_up.sealed(entries, &self.peers, view);
        self.peers.values_mut().for_each(|peer| peer.untold_height = true);
    }

    /// A block cannot be judged yet for want of these.
    pub fn want(&mut self, proposed: (BlockId, MemberId), missing: &[CutPoint], view: View<'_>) {
        self.asking.want(proposed, missing, view);
    }

    /// A synchronised block cannot be judged yet: its entries are sealed elsewhere.
    pub fn hurry(&mut self, view: View<'_>) {
        self.catching_up.hurry(view);
    }

    /// A journal's held run and what a peer sent do not fit together.
    pub fn diverged(&mut self, journal: PublicKey) {
        self.asking.diverged(journal);
    }

    /// A peer has answered, or never will.
    pub fn response(
        &mut self,
        from: MemberId,
        ticket: Ticket,
        response: Option<Response>,
        view: View<'_>,
    ) -> Option<Arrived> {
        let (to, asked) = self.under_way.remove(&ticket)?;
        if to != from {
            return None;
        }
        let failed = !matches!(response, Some(Response::Taken | Response::Entries(_)));
        match asked {
            Asked::Push(journals) => self.push_ended(from, &journals, failed),
            Asked::Announce(journals) => self.announce_ended(from, journals, failed, view),
            Asked::Want { gaps, covered } => {
                let entries = within(response, &gaps);
                self.asking.answered(ticket, !entries.is_empty(), view.now);
                return (!entries.is_empty()).then_some(Arrived { covered, entries });
            }
            Asked::Log => {
                self.catching_up.answered(from, response.as_ref(), view);
                if let Some(Response::Entries(entries)) = response {
                    return Some(Arrived { covered: true, entries });
                }
            }
        }
        None
    }

    fn announce_ended(&mut self, to: MemberId, journals: Vec<PublicKey>, failed: bool, view: View<'_>) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        peer.announcing = false;
        if failed {
            peer.untold.extend(journals);
            peer.untold_height = true;
            peer.told_again = Some(view.now + REST);
        }
    }

    fn push_ended(&mut self, to: MemberId, journals: &[PublicKey], failed: bool) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        peer.pushes = peer.pushes.saturating_sub(1);
        if failed {
            // It asks for them once it has room.
            journals.iter().for_each(|journal| _ = peer.pushed.remove(journal));
        }
    }

    /// The requests that are due, and for which there is room.
    pub fn flush(&mut self, view: View<'_>) -> Vec<Ask> {
        let mut asks = Vec::new();
        self.push(view, &mut asks);
        self.announce(view, &mut asks);
        for Want { to, gaps, journals } in self.asking.due(&self.peers, view) {
            let covered = journals.is_empty();
            let ask = self.ask(to, Asked::Want { gaps: gaps.clone(), covered }, Request::Want(gaps));
            self.asking.asked(ask.ticket, to, journals);
            asks.push(ask);
        }
        if let Some((to, from)) = self.catching_up.due(&self.peers, view) {
            asks.push(self.ask(to, Asked::Log, Request::Log { from }));
        }
        asks
    }

    /// When [`Self::flush`] has something to do although nothing happens.
    #[must_use]
    pub fn wake_at(&self, view: View<'_>) -> Option<Instant> {
        let behind = self.catching_up.wake_at(&self.peers, view);
        let untold = self.peers.values().filter_map(|peer| peer.told_again);
        self.asking.wake_at().into_iter().chain(behind).chain(untold).min()
    }

    fn ask(&mut self, to: MemberId, asked: Asked, request: Request) -> Ask {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.under_way.insert(ticket, (to, asked));
        Ask { to, ticket, request }
    }

    fn push(&mut self, view: View<'_>, asks: &mut Vec<Ask>) {
        let fresh = std::mem::take(&mut self.fresh);
        if fresh.is_empty() {
            return;
        }
        for to in self.peers.keys().copied().collect::<Vec<_>>() {
            let mut rest = fresh.as_slice();
            while let Some(peer) = self.peers.get_mut(&to).filter(|peer| peer.pushes < PUSHES_MAX) {
                let entries = peer.next_push(&mut rest, view);
                if entries.is_empty() {
                    break;
                }
                let journals = entries.iter().map(|entry| entry.head().journal).collect();
                asks.push(self.ask(to, Asked::Push(journals), Request::Push(entries)));
            }
        }
    }

    fn announce(&mut self, view: View<'_>, asks: &mut Vec<Ask>) {
        for to in self.peers.keys().copied().collect::<Vec<_>>() {
            let Some(peer) = self.peers.get_mut(&to).filter(|peer| peer.has_to_be_told(view.now)) else {
                continue;
            };
            let mut points = Vec::new();
            while points.len() < POINTS_MAX
                && let Some(journal) = peer.untold.pop_first()
            {
                points.extend(view.journals.durable_end(&journal));
            }
            peer.told_again = None;
            peer.untold_height = false;
            peer.announcing = true;
            let (height, log_size) = (view.ledger.height(), view.ledger.log_size());
            let holdings = Holdings { height, log_size, begun: self.begun, points };
            let told = holdings.points.iter().map(|point| point.journal).collect();
            asks.push(self.ask(to, Asked::Announce(told), Request::Holdings(holdings)));
        }
    }
}

/// Where the oldest of those stands of whom there are most, so that one proposer keeps out
/// only itself.
pub(crate) fn oldest_of_most(proposers: impl Iterator<Item = MemberId> + Clone) -> usize {
    let count = |who: MemberId| proposers.clone().filter(|other| *other == who).count();
    let crowded = proposers.clone().enumerate().max_by_key(|(at, who)| (count(*who), Reverse(*at)));
    crowded.map_or(0, |(at, _)| at)
}
