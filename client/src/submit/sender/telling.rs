//! Telling those who wait how far their entries have come, and letting go of what is told.
//!
//! *Invariant.* An entry stays in the outbox until a node has acknowledged it and whoever
//! waits for its outcome was told.

use std::time::Duration;

use syngraph_protocol::ids::Seq;
use tokio::time::Instant;

use super::super::view::View;
use super::super::{Progress, Receipt, SubmitError};
use super::{POLL, POLL_IDLE_MAX, Sender};
use crate::api::{JournalEnd, Sealed, State};
use crate::outbox::Place;

impl Sender {
    /// After a comparison, tells those whose entries the node turned out to have.
    pub(super) fn tell_accepted(&mut self) {
        for place in self.outbox.unsealed() {
            let Some(waiter) = self.waiters.get(&place.number) else { continue };
            waiter.send_if_modified(|progress| {
                let is_news = matches!(progress, Progress::Queued);
                if is_news {
                    *progress = Progress::Held(receipt(place, State::Accepted));
                }
                is_news
            });
        }
    }

    /// Tells how far entries are, and lets go of what is sealed or has lapsed, and told.
    pub(super) fn on_sealed(&mut self, view: View) {
        let View { journal, outcomes, .. } = view;
        let was_replicated = std::mem::replace(&mut self.replicated, journal.replicated_next_seq);
        self.tell_replicated();
        outcomes.into_iter().for_each(|(number, sealed)| self.tell_outcome(number, sealed));
        let mut below = journal.sealed_next_seq;
        if let Some(end) = &journal.ends {
            below = self.tell_lapsed(end, below);
        }
        let untold = self.outbox.unsealed().find(|place| self.is_awaited(place));
        // What is being sent may be sealed before its acknowledgement is here, or without it:
        // it stays until a node has acknowledged it, and whoever waits was told.
        for kept in untold.map(|place| place.seq).into_iter().chain(self.outbox.first_unaccepted()) {
            below = below.min(kept);
        }
        let before = self.outbox.len();
        self.outbox.sealed(below);
        if self.outbox.len() < before {
            self.moved();
            self.waiters.retain(|_, waiter| !waiter.is_closed());
            self.nodes.forget(|number| self.outbox.place(number).is_some());
        }
        let is_news = self.outbox.len() < before || self.replicated != was_replicated;
        // Outcomes that wait to be fetched need no pause.
        let is_behind = untold.is_some_and(|untold| untold.seq < journal.sealed_next_seq);
        self.poll = if is_news { POLL } else { (self.poll * 2).min(POLL_IDLE_MAX) };
        self.view_at = Instant::now() + if is_news || is_behind { Duration::ZERO } else { self.poll };
    }

    fn tell_replicated(&self) {
        for place in self.outbox.unsealed().take_while(|place| place.seq < self.replicated) {
            let Some(waiter) = self.waiters.get(&place.number) else { continue };
            waiter.send_if_modified(|progress| match progress {
                Progress::Held(receipt) if receipt.state < State::Replicated => {
                    receipt.state = State::Replicated;
                    true
                }
                _ => false,
            });
        }
    }

    fn tell_outcome(&mut self, number: u64, sealed: Option<Sealed>) {
        let (Some(place), Some(waiter)) = (self.outbox.place(number), self.waiters.remove(&number)) else {
            return;
        };
        waiter.send_replace(match sealed {
            Some(Sealed { height, index, outcome, .. }) => Progress::Held(Receipt {
                height: Some(height),
                index: Some(index),
                outcome: Some(outcome),
                ..receipt(place, State::Sealed)
            }),
            None => Progress::Failed(SubmitError::Lapsed { rule: "JRN-FORK".to_owned() }),
        });
    }

    /// Tells those whose entries no block will ever cover. Gives the number below which
    /// nothing is to be waited for.
    fn tell_lapsed(&mut self, end: &JournalEnd, sealed: Seq) -> Seq {
        let lapsed: Vec<Place> = self.outbox.unsealed().filter(|place| place.seq >= end.seq).collect();
        for place in &lapsed {
            if let Some(waiter) = self.waiters.remove(&place.number) {
                waiter.send_replace(Progress::Failed(SubmitError::Lapsed { rule: end.rule.clone() }));
            }
        }
        // Those before the end can still be sealed.
        let last = lapsed.last().filter(|_| sealed >= end.seq);
        last.and_then(|place| place.seq.next()).unwrap_or(sealed)
    }
}

pub(super) fn receipt(place: Place, state: State) -> Receipt {
    Receipt { id: place.id, seq: place.seq, state, height: None, index: None, outcome: None }
}
