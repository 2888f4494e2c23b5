//! Fetching what is sealed elsewhere, ahead of the engine.
//!
//! *Invariants.* One request at a time, in the order of the log, from where the last one
//! ended; at most [`AHEAD_BYTES_MAX`] beyond the last block. If blocks do not follow what
//! was fetched, it begins again where the chain is, at another node.

use std::collections::BTreeMap;
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

/// How far the log was fetched.
#[derive(Debug)]
pub(super) struct CatchingUp {
    /// Since when others are ahead.
    since: Option<Instant>,
    /// The highest height anybody has announced.
    highest: Height,
    asked: bool,
    /// The next index to fetch, if it is beyond the chain's.
    next: u64,
    ahead_bytes: usize,
    /// When something was last fetched or sealed.
    progress: Option<Instant>,
    /// The last one that was of no help.
    tried: Option<MemberId>,
}

impl CatchingUp {
    pub(super) const fn new() -> Self {
        Self {
            since: None,
            highest: Height::GENESIS,
            asked: false,
            next: 0,
            ahead_bytes: 0,
            progress: None,
            tried: None,
        }
    }

    /// A node has decided a height.
    pub(super) fn heard(&mut self, height: Height, view: View<'_>) {
        self.highest = self.highest.max(height);
        if self.highest > view.ledger.height() {
            self.since.get_or_insert(view.now);
        }
    }

    /// A decided block waits for its entries.
    pub(super) fn hurry(&mut self, view: View<'_>) {
        let long_ago = view.now.checked_sub(SKEW).unwrap_or(view.now);
        self.since = Some(self.since.map_or(long_ago, |since| since.min(long_ago)));
    }

    /// A block was stored.
    pub(super) fn sealed(&mut self, entries: &[VerifiedEntry], view: View<'_>) {
        let used: usize = entries.iter().map(|entry| entry.bytes().len()).sum();
        self.ahead_bytes = self.ahead_bytes.saturating_sub(used);
        self.progress = Some(view.now);
        if view.ledger.height() >= self.highest {
            self.since = None;
            self.ahead_bytes = 0;
        } else if self.since.is_some() {
            self.since = Some(view.now);
            // Far behind, every block is late.
            if self.highest.since(view.ledger.height()).is_some_and(|heights| heights > 1) {
                self.hurry(view);
            }
        }
    }

    pub(super) fn answered(&mut self, from: MemberId, response: Option<&Response>, view: View<'_>) {
        self.asked = false;
        match response {
            Some(Response::Entries(entries)) if !entries.is_empty() => {
                let bytes: usize = entries.iter().map(|entry| entry.bytes().len()).sum();
                self.ahead_bytes = self.ahead_bytes.saturating_add(bytes);
                self.next = self.next.saturating_add(entries.len() as u64);
                self.progress = Some(view.now);
                self.tried = None;
            }
            _ => {
                self.tried = Some(from);
                self.progress = Some(view.now);
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
        if self.asked || self.wake_at(peers, view)? > view.now {
            return None;
        }
        let size = view.ledger.log_size();
        if self.is_stalled(view) || self.next < size {
            (self.next, self.ahead_bytes, self.progress) = (size, 0, Some(view.now));
        }
        let to = self.helper(peers)?;
        self.asked = true;
        Some((to, self.next))
    }

    fn is_stalled(&self, view: View<'_>) -> bool {
        self.progress.is_none_or(|last| view.now.duration_since(last) >= STALLED)
    }

    /// One that has more of the log; another than the last that was of no help.
    fn helper(&self, peers: &BTreeMap<MemberId, Peer>) -> Option<MemberId> {
        let has_more = |peer: &Peer| peer.log_size > self.next;
        let mut able = peers.iter().filter(|(_, peer)| has_more(peer)).map(|(member, _)| *member);
        let after = able.clone().find(|member| Some(*member) > self.tried);
        after.or_else(|| able.next())
    }

    pub(super) fn wake_at(&self, peers: &BTreeMap<MemberId, Peer>, view: View<'_>) -> Option<Instant> {
        let since = self.since.filter(|_| !self.asked)?;
        let size = view.ledger.log_size();
        let next = self.next.max(size);
        let useful = peers.values().any(|peer| peer.log_size > next);
        if useful && self.ahead_bytes < AHEAD_BYTES_MAX {
            return Some(since + SKEW);
        }
        // Everything was fetched: unless blocks follow, begin again.
        let useful = peers.values().any(|peer| peer.log_size > size);
        useful.then(|| self.progress.unwrap_or(since) + STALLED)
    }
}
