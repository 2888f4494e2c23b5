//! A connected node, and what it lacks.
//!
//! *Invariant.* It is pushed only what continues what it has announced or been pushed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use syngraph_protocol::block::CutPoint;
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{Height, PublicKey, Seq};

use super::View;
use super::message::PUSH_BYTES_MAX;

/// A connected node, as it describes itself.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its last announcement of each journal, beyond what is sealed here.
    pub(super) held: BTreeMap<PublicKey, CutPoint>,
    /// An announcement that led beyond what is held here, of each journal, until that is
    /// reached: the last one may stay ahead for ever.
    pub(super) awaited: BTreeMap<PublicKey, CutPoint>,
    /// How far it is known to hold the branches held here: the first number it lacks.
    pub(super) supports: BTreeMap<PublicKey, Seq>,
    /// The next number to push to it, of journals that it is being pushed.
    pub(super) pushed: BTreeMap<PublicKey, Seq>,
    pub(super) pushes: usize,
    /// Journals that it has yet to be told about.
    pub(super) untold: BTreeSet<PublicKey>,
    /// Whether it has yet to be told how far the chain is.
    pub(super) untold_height: bool,
    pub(super) announcing: bool,
    /// Until when it is told nothing, since it did not take what it was told.
    pub(super) told_again: Option<Instant>,
    pub(super) height: Height,
    pub(super) begun: Height,
    pub(super) log_size: u64,
}

impl Peer {
    pub(super) const fn new(untold: BTreeSet<PublicKey>) -> Self {
        Self {
            held: BTreeMap::new(),
            awaited: BTreeMap::new(),
            supports: BTreeMap::new(),
            pushed: BTreeMap::new(),
            pushes: 0,
            untold,
            untold_height: true,
            announcing: false,
            told_again: None,
            height: Height::GENESIS,
            begun: Height::GENESIS,
            log_size: 0,
        }
    }

    pub(super) fn has_to_be_told(&self, now: Instant) -> bool {
        let rests = self.told_again.is_some_and(|until| until > now);
        !self.announcing && !rests && (self.untold_height || !self.untold.is_empty())
    }

    /// The next of `rest` that this node lacks and can take, up to the size of a push.
    pub(super) fn next_push(&mut self, rest: &mut &[VerifiedEntry], view: View<'_>) -> Vec<VerifiedEntry> {
        let (mut entries, mut bytes) = (Vec::new(), 0_usize);
        while let Some((entry, after)) = rest.split_first() {
            let size = entry.bytes().len();
            if bytes.saturating_add(size) > PUSH_BYTES_MAX {
                break;
            }
            *rest = after;
            let head = entry.head();
            if self.expects(&head.journal, view) == head.seq
                && let Some(next) = head.seq.next()
            {
                self.pushed.insert(head.journal, next);
                bytes = bytes.saturating_add(size);
                entries.push(entry.clone());
            }
        }
        entries
    }

    /// The next number of a journal that this node can take.
    fn expects(&self, journal: &PublicKey, view: View<'_>) -> Seq {
        let announced = self.held.get(journal).and_then(|point| point.seq.next());
        let pushed = self.pushed.get(journal).copied();
        announced.max(pushed).unwrap_or_else(|| view.sealed(journal))
    }
}
