//! Fetching what is sealed elsewhere, ahead of the engine.
//!
//! *Invariants.* One request at a time, in the order of the log, from where the last one
//! ended; at most [`AHEAD_BYTES_MAX`] beyond the last block. If blocks do not follow what
//! was fetched, it begins again where the chain is, at another node. What a node claims or
//! withholds that was of no help keeps nobody from asking the others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{Height, MemberId};

use super::message::Response;
use super::{Peer, View};

/// Most bytes fetched beyond the last block.
const AHEAD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long being behind may be the ordinary difference between nodes.
const SKEW: Duration = Duration::from_millis(300);

/// How long what was fetched may remain unused.
const STALLED: Duration = Duration::from_secs(3);

/// An answer of this many bytes is a step ahead. A shorter one is the end of a node's log,
/// or a way to bring the log in drops without end.
const STEP_BYTES: usize = 1024 * 1024;

/// How long a node may take to answer while another could.
const OVERDUE: Duration = Duration::from_secs(20);

/// How far the log was fetched.
#[derive(Debug)]
pub(super) struct CatchingUp {
    /// Since when others are ahead.
    since: Option<Instant>,
    /// Who was asked, and when.
    asked: Option<(MemberId, Instant)>,
    /// The next index to fetch, if it is beyond the chain's.
    next: u64,
    ahead_bytes: usize,
    /// When something was last fetched or sealed.
    progress: Option<Instant>,
    /// Who is asked until it is of no help.
    helper: Option<MemberId>,
    /// Those that were of no help.
    useless: BTreeSet<MemberId>,
}

impl CatchingUp {
    pub(super) const fn new() -> Self {
        Self {
            since: None,
            asked: None,
            next: 0,
            ahead_bytes: 0,
            progress: None,
            helper: None,
            useless: BTreeSet::new(),
        }
    }

    /// A node has decided a height.
    pub(super) fn heard(&mut self, height: Height, view: View<'_>) {
        if height > view.ledger.height() {
            self.since.get_or_insert(view.now);
        }
    }

    /// A decided block waits for its entries.
    pub(super) fn hurry(&mut self, view: View<'_>) {
        let long_ago = view.now.checked_sub(SKEW).unwrap_or(view.now);
        self.since = Some(self.since.map_or(long_ago, |since| since.min(long_ago)));
    }

    /// A block was stored.
    pub(super) fn sealed(
        &mut self,
        entries: &[VerifiedEntry],
        peers: &BTreeMap<MemberId, Peer>,
        view: View<'_>,
    ) {
        let used: usize = entries.iter().map(|entry| entry.bytes().len()).sum();
        self.ahead_bytes = self.ahead_bytes.saturating_sub(used);
        self.progress = Some(view.now);
        if self.asked.is_none() {
            self.helper.map(|helper| self.useless.remove(&helper));
        }
        // Of those that were of no help, only if there is nobody else.
        let claim = |(member, peer): (&MemberId, &Peer)| (!self.useless.contains(member), peer.height);
        let highest = peers.iter().map(claim).max().map(|(_, height)| height);
        let behind = highest.and_then(|highest| highest.since(view.ledger.height())).unwrap_or(0);
        if behind == 0 {
            self.since = None;
            self.ahead_bytes = 0;
        } else if self.since.is_some() {
            self.since = Some(view.now);
            // Far behind, every block is late.
            if behind > 1 {
                self.hurry(view);
            }
        }
    }

    pub(super) fn answered(&mut self, from: MemberId, response: Option<&Response>, view: View<'_>) {
        if self.asked.take_if(|(asked, _)| *asked == from).is_none() {
            // Another was asked meanwhile.
            return;
        }
        match response {
            Some(Response::Entries(entries)) if !entries.is_empty() => {
                let bytes: usize = entries.iter().map(|entry| entry.bytes().len()).sum();
                self.ahead_bytes = self.ahead_bytes.saturating_add(bytes);
                self.next = self.next.saturating_add(entries.len() as u64);
                if bytes >= STEP_BYTES {
                    self.progress = Some(view.now);
                }
            }
            _ => {
                self.useless.insert(from);
                // Ask again after a while.
                self.since = Some(view.now);
            }
        }
    }

    /// Whom to ask for the log from where, if it is time.
    pub(super) fn due(
        &mut self,
        peers: &BTreeMap<MemberId, Peer>,
        view: View<'_>,
    ) -> Option<(MemberId, u64)> {
        if self.wake_at(peers, view)? > view.now {
            return None;
        }
        if let Some((late, _)) = self.asked.take() {
            self.useless.insert(late);
        }
        let size = view.ledger.log_size();
        if self.is_stalled(view) || self.next < size {
            if self.next > size {
                self.useless.extend(self.helper);
            }
            (self.next, self.ahead_bytes, self.progress) = (size, 0, Some(view.now));
        }
        let to = self.choose(peers)?;
        self.asked = Some((to, view.now));
        self.helper = Some(to);
        Some((to, self.next))
    }

    fn is_stalled(&self, view: View<'_>) -> bool {
        self.progress.is_none_or(|last| view.now.duration_since(last) >= STALLED)
    }

    /// One that has more of the log: the same as long as it is of help, then another that
    /// may be, then those that were not, in turn.
    fn choose(&self, peers: &BTreeMap<MemberId, Peer>) -> Option<MemberId> {
        let able = peers.iter().filter(|(_, peer)| peer.log_size > self.next).map(|(member, _)| *member);
        let order = |member: &MemberId| {
            let useless = self.useless.contains(member);
            let other = useless == (Some(*member) == self.helper);
            (useless, other, Some(*member) <= self.helper, *member)
        };
        able.min_by_key(order)
    }

    pub(super) fn wake_at(&self, peers: &BTreeMap<MemberId, Peer>, view: View<'_>) -> Option<Instant> {
        let size = view.ledger.log_size();
        let next = self.next.max(size);
        let since = self.since?;
        if let Some((asked, at)) = self.asked {
            // Of a useless one nothing is expected.
            let other = peers.iter().any(|(member, peer)| {
                *member != asked && peer.log_size > next && !self.useless.contains(member)
            });
            let patience = if self.useless.contains(&asked) { SKEW } else { OVERDUE };
            return other.then(|| at + patience);
        }
        let useful = peers.values().any(|peer| peer.log_size > next);
        if useful && self.ahead_bytes < AHEAD_BYTES_MAX {
            return Some(since + SKEW);
        }
        // Everything was fetched: unless blocks follow, begin again.
        let useful = peers.values().any(|peer| peer.log_size > size);
        useful.then(|| self.progress.unwrap_or(since) + STALLED)
    }
}
