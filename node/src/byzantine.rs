//! A node that lies, for tests of the others: built only with the feature `byzantine`.
//!
//! `SYNGRAPH_BYZANTINE=withhold`: what comes through its doors it shows to nobody, and
//! proposes to seal it all the same. Everything else it does honestly.

use std::collections::BTreeSet;

use syngraph_protocol::ids::{MemberId, PublicKey};

use crate::peers::Handle;
use crate::replicas::message::{Peers, Request, Response, Ticket};

/// The way to the peers, of a node that may lie.
#[derive(Clone)]
pub(crate) struct Liar {
    peers: Handle,
    withholds: bool,
    /// The journals whose entries came through its doors.
    own: BTreeSet<PublicKey>,
}

impl Liar {
    /// Lies as the environment says.
    pub(crate) fn new(peers: Handle) -> Self {
        let withholds = std::env::var("SYNGRAPH_BYZANTINE").is_ok_and(|how| how == "withhold");
        if withholds {
            tracing::warn!("this node withholds what comes through its doors");
        }
        Self { peers, withholds, own: BTreeSet::new() }
    }
}

impl Peers for Liar {
    fn ask(&mut self, to: MemberId, ticket: Ticket, mut request: Request) {
        if self.withholds {
            match &mut request {
                Request::Push(entries) => {
                    self.own.extend(entries.iter().map(|entry| entry.head().journal));
                    return;
                }
                Request::Holdings(holdings) => {
                    holdings.points.retain(|point| !self.own.contains(&point.journal));
                }
                Request::Want(_) | Request::Log { .. } => {}
            }
        }
        self.peers.ask(to, ticket, request);
    }

    fn answer(&mut self, to: MemberId, ticket: Ticket, mut response: Response) {
        if let Response::Entries(entries) = &mut response {
            entries.retain(|entry| !self.own.contains(&entry.head().journal));
        }
        self.peers.answer(to, ticket, response);
    }
}
