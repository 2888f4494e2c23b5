//! What peers ask and answer.
//!
//! *Invariant.* Whatever a peer is told to be taken, or is announced to it, is durable:
//! answers wait for the sync.

use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::Height;
use syngraph_protocol::journal::LinkError;

use super::ports::{Disk, Now, Peers, Voting};
use super::{Core, CoreError};
use crate::journals::{Admitted, Refused, Via};
use crate::replicas::message::{PeerEvent, Request, Response};
use crate::replicas::{self, Arrived, View};

impl<D: Disk, V: Voting, P: Peers> Core<D, V, P> {
    pub(super) fn on_peer(&mut self, now: Now, event: PeerEvent) -> Result<(), CoreError> {
        let view = View { ledger: self.chain.ledger(), journals: &self.journals, now: now.instant };
        match event {
            PeerEvent::Up { member } => {
                tracing::info!(%member, "a member's node is connected");
                self.replicas.up(member, view);
                self.publish_connected();
            }
            PeerEvent::Down { member } => {
                tracing::info!(%member, "a member's node is no longer connected");
                self.replicas.down(member);
                self.publish_connected();
            }
            PeerEvent::Request { from, ticket, request } => {
                let response = match request {
                    Request::Push(entries) => self.pushed(now, entries)?,
                    Request::Holdings(holdings) => {
                        self.replicas.announced(from, &holdings, view);
                        self.begin_with(holdings.begun);
                        Response::Taken
                    }
                    Request::Want(gaps) => Response::Entries(replicas::answer(&gaps, view)),
                    // The store's reader answers it.
                    Request::Log { .. } => Response::Later,
                };
                self.owed.push((from, ticket, response));
            }
            PeerEvent::Response { from, ticket, response } => {
                if let Some(arrived) = self.replicas.response(from, ticket, response, view) {
                    self.arrived(now, arrived)?;
                }
            }
        }
        Ok(())
    }

    /// A node has begun a height. If it is the next one, there is something to seal.
    pub(super) fn begin_with(&mut self, begun: Height) {
        if Some(begun) == self.chain.next_height() {
            self.pace.urge();
        }
    }

    /// Entries that came through another node's door.
    pub(super) fn pushed(&mut self, now: Now, entries: Vec<VerifiedEntry>) -> Result<Response, CoreError> {
        let mut response = Response::Taken;
        for entry in entries {
            let admitted = self.journals.admit(self.chain.ledger(), entry.clone(), Via::Peer, now.instant);
            match self.keep(&entry, admitted)? {
                Admitted::Busy => response = Response::Later,
                // Until it has what lies between, or a block covers this branch, it is no promise.
                Admitted::Refused(_) | Admitted::Parked | Admitted::Fork { .. } => response = Response::Later,
                _ => {}
            }
        }
        Ok(response)
    }

    /// Entries that were asked for.
    fn arrived(&mut self, now: Now, arrived: Arrived) -> Result<(), CoreError> {
        for entry in arrived.entries {
            let ledger = self.chain.ledger();
            // Other branches are kept only as far as a block may cover them.
            let admitted = if arrived.covered {
                self.journals.stage(ledger, entry.clone(), now.instant)
            } else {
                self.journals.admit(ledger, entry.clone(), Via::Peer, now.instant)
            };
            self.keep(&entry, admitted)?;
        }
        Ok(())
    }

    fn keep(&mut self, entry: &VerifiedEntry, admitted: Admitted) -> Result<Admitted, CoreError> {
        match &admitted {
            Admitted::New => self.write(entry)?,
            Admitted::Refused(why) => {
                if matches!(**why, Refused::Link(LinkError::Prev { .. })) {
                    self.replicas.diverged(entry.head().journal);
                }
                tracing::debug!(entry = %entry.id(), rule = why.rule(), "a peer's entry is not taken");
            }
            _ => {}
        }
        Ok(admitted)
    }
}
