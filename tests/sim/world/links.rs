//! Sessions of the peer port, and what is asked over them.

use syngraph_node::core::ports::Input;
use syngraph_node::replicas::message::{PeerEvent, Request, Response, Ticket};
use syngraph_protocol::ids::MemberId;

use super::{Do, Item, Step, World};
use crate::net::{NodeId, Packet, describe_request};
use crate::node::node_of;
use crate::time::{MS, SECOND, Virtual};

/// How long the answer to a request may take.
const ANSWER_WAIT: Virtual = 10 * SECOND;
/// Most entries in one answer from the log, so that catching up takes several.
const LOG_ENTRIES_MAX: usize = 40;

impl World {
    fn member(&self, node: NodeId) -> MemberId {
        self.nodes[node].member
    }

    fn is_up(&self, node: NodeId) -> bool {
        self.nodes[node].running.is_some()
    }

    /// Two nodes find each other.
    pub(super) fn meet(&mut self, a: NodeId, b: NodeId) {
        if self.is_up(a) && self.is_up(b) && self.net.reaches(a, b) && self.net.meet(a, b) {
            self.note(&format!("{a} and {b} meet"));
            for (node, other) in [(a, b), (b, a)] {
                let member = self.member(other);
                self.tell(node, Input::Peer(PeerEvent::Up { member }));
            }
        }
    }

    /// Two nodes notice that they no longer reach each other, if that is so.
    pub(super) fn part(&mut self, a: NodeId, b: NodeId) {
        let alive = self.is_up(a) && self.is_up(b) && self.net.reaches(a, b);
        if !alive {
            self.end_session(a, b);
        }
    }

    fn end_session(&mut self, a: NodeId, b: NodeId) {
        if !self.net.part(a, b) {
            return;
        }
        self.note(&format!("{a} and {b} part"));
        for (node, other) in [(a, b), (b, a)] {
            if !self.is_up(node) {
                continue;
            }
            let first = self.random.below(2) == 0;
            let member = self.member(other);
            if first {
                self.tell(node, Input::Peer(PeerEvent::Down { member }));
            }
            for ticket in self.net.open(node, self.nodes[node].life, other) {
                self.ask_fails(node, other, ticket);
            }
            if !first {
                self.tell(node, Input::Peer(PeerEvent::Down { member }));
            }
        }
    }

    /// A node has died: the others notice soon.
    pub(super) fn sessions_end(&mut self, node: NodeId) {
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.end_session(node, other);
        }
    }

    /// Who reaches whom has changed: sessions end after a while, and begin after a while.
    pub(super) fn links_changed(&mut self) {
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                let (soon, late) = (self.between(50 * MS, 800 * MS), self.between(300 * MS, 3 * SECOND));
                if self.net.reaches(a, b) {
                    self.later(soon, Item::Meet(a, b));
                } else {
                    self.later(late, Item::Part(a, b));
                }
            }
        }
    }

    /// A core asks another node.
    pub(super) fn ask(&mut self, from: NodeId, to: MemberId, ticket: Ticket, request: Request) {
        let (to, life) = (node_of(to), self.nodes[from].life);
        self.note(&format!("{from} asks {to} #{} {}", ticket.0, describe_request(&request)));
        self.net.asks(from, life, ticket, to);
        if !self.net.has_session(from, to) {
            self.node_later(from, MS, Do::AskFails(ticket));
            return;
        }
        self.node_later(from, ANSWER_WAIT, Do::AskFails(ticket));
        self.send(from, to, &Packet::Ask { ticket, request });
    }

    /// A core answers another node.
    pub(super) fn reply(&mut self, from: NodeId, to: MemberId, ticket: Ticket, response: Response) -> Step {
        match self.answer(from, ticket, response) {
            Some(asker) if asker != node_of(to) => {
                Err(format!("node {from} answers member {to} what node {asker} has asked"))
            }
            _ => Ok(()),
        }
    }

    /// Sends an answer to whoever asked.
    fn answer(&mut self, from: NodeId, ticket: Ticket, response: Response) -> Option<NodeId> {
        let (to, life, ticket) = self.net.owed(from, ticket)?;
        if self.nodes[to].life == life && self.net.has_session(from, to) {
            self.send(from, to, &Packet::Answer { ticket, response });
        }
        Some(to)
    }

    /// A packet of the peer port arrives.
    pub(super) fn asked(&mut self, node: NodeId, from: NodeId, ticket: Ticket, request: Request) {
        if !self.net.has_session(from, node) {
            return;
        }
        let owed = self.net.owe(node, from, self.nodes[from].life, ticket);
        if let Request::Log { from: index } = request {
            let entries = self.nodes[node].platter.borrow().log(index, LOG_ENTRIES_MAX);
            self.answer(node, owed, Response::Entries(entries));
            return;
        }
        let from = self.member(from);
        self.tell(node, Input::Peer(PeerEvent::Request { from, ticket: owed, request }));
    }

    /// An answer arrives, the first or not.
    pub(super) fn answered(&mut self, node: NodeId, from: NodeId, ticket: Ticket, response: Response) {
        if self.net.answered(node, self.nodes[node].life, ticket) {
            let (from, response) = (self.member(from), Some(response));
            self.tell(node, Input::Peer(PeerEvent::Response { from, ticket, response }));
        }
    }

    /// No answer will come, if none has.
    pub(super) fn ask_fails(&mut self, node: NodeId, to: NodeId, ticket: Ticket) {
        if self.net.answered(node, self.nodes[node].life, ticket) {
            let from = self.member(to);
            self.tell(node, Input::Peer(PeerEvent::Response { from, ticket, response: None }));
        }
    }

    /// Sends a packet on its way, to whoever lives there now.
    pub(super) fn send(&mut self, from: NodeId, to: NodeId, packet: &Packet) {
        if !self.is_up(to) {
            return;
        }
        for way in self.net.ways(&mut self.random, from, to) {
            self.node_later(to, way, Do::Arrive(from, packet.clone()));
        }
    }
}
