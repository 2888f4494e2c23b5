//! The network: what travels, how long it takes, and what becomes of it on the way.
//!
//! *Invariants.* Two nodes have a session of the peer port, or none; both are told of its
//! beginning and of its end, in order. What is asked over a session is answered, or fails.
//! Consensus messages are told to all and may get lost, doubled and overtaken.

use std::collections::{BTreeMap, BTreeSet};

use arc_malachitebft_core_consensus::{LivenessMsg, SignedConsensusMsg};
use syngraph_node::replicas::message::{Request, Response, Ticket};
use syngraph_protocol::block::Block;
use syngraph_protocol::certificate::Certificate;
use syngraph_protocol::ids::{Height, MemberId};
use syngraph_tests::random::Random;

use crate::engine::context::Context;
use crate::time::{MS, Virtual};

/// Number of a node: its member's.
pub(crate) type NodeId = usize;

/// What travels between two nodes.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Consensus(SignedConsensusMsg<Context>),
    Liveness(LivenessMsg<Context>),
    Body { height: Height, round: u32, proposer: MemberId, block: Box<Block> },
    Status(Height),
    BlocksWanted { request: u64, from: Height, to: Height },
    Blocks { request: u64, blocks: Vec<(Block, Certificate)> },
    Ask { ticket: Ticket, request: Request },
    Answer { ticket: Ticket, response: Response },
}

impl Packet {
    /// In few words, for the trace.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Consensus(SignedConsensusMsg::Vote(vote)) => {
                let vote = &vote.message;
                format!("{:?} h{} r{} {:?}", vote.kind, vote.height, vote.round, vote.value)
            }
            Self::Consensus(SignedConsensusMsg::Proposal(proposal)) => {
                let proposal = &proposal.message;
                format!("proposal h{} r{} {}", proposal.height, proposal.round, proposal.value)
            }
            Self::Liveness(LivenessMsg::Vote(vote)) => {
                let vote = &vote.message;
                format!("again {:?} h{} r{} {:?}", vote.kind, vote.height, vote.round, vote.value)
            }
            Self::Liveness(LivenessMsg::PolkaCertificate(polka)) => {
                format!("polka h{} r{}", polka.height, polka.round)
            }
            Self::Liveness(LivenessMsg::SkipRoundCertificate(skip)) => {
                format!("skip h{} r{}", skip.height, skip.round)
            }
            Self::Body { height, round, block, .. } => format!("body h{height} r{round} {}", block.id()),
            Self::Status(height) => format!("status h{height}"),
            Self::BlocksWanted { request, from, to } => format!("blocks wanted #{request} h{from}..{to}"),
            Self::Blocks { request, blocks } => format!("blocks #{request} {}", blocks.len()),
            Self::Ask { ticket, request } => format!("ask #{} {}", ticket.0, describe_request(request)),
            Self::Answer { ticket, response } => {
                format!("answer #{} {}", ticket.0, describe_response(response))
            }
        }
    }
}

pub(crate) fn describe_request(request: &Request) -> String {
    match request {
        Request::Push(entries) => format!("push {}", entries.len()),
        Request::Holdings(held) => {
            format!("holdings h{} begun {} points {}", held.height, held.begun, held.points.len())
        }
        Request::Want(gaps) => format!("want {}", gaps.len()),
        Request::Log { from } => format!("log from {from}"),
    }
}

pub(crate) fn describe_response(response: &Response) -> String {
    match response {
        Response::Taken => "taken".to_owned(),
        Response::Later => "later".to_owned(),
        Response::Entries(entries) => format!("entries {}", entries.len()),
    }
}

/// How the network behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Of a thousand packets, how many get lost.
    pub(crate) loss: u64,
    /// Of a thousand packets, how many come twice.
    pub(crate) doubling: u64,
    /// The longest way.
    pub(crate) delay_max: Virtual,
}

impl Weather {
    /// No packet is lost and none is slow.
    pub(crate) const CALM: Self = Self { loss: 0, doubling: 0, delay_max: 20 * MS };

    /// A seed's troubles.
    pub(crate) fn of(random: &mut Random) -> Self {
        let delays = [20, 50, 150, 400];
        let delay_max = delays[random.below(4) as usize] * MS;
        Self { loss: random.below(200), doubling: random.below(150), delay_max }
    }
}

/// The state of the network.
pub(crate) struct Net {
    pub(crate) weather: Weather,
    /// On which side of a partition each node is.
    sides: Vec<u8>,
    /// Sessions of the peer port.
    sessions: BTreeSet<(NodeId, NodeId)>,
    /// Requests under way: who asked, in which life, with which ticket; and whom.
    asked: BTreeMap<(NodeId, u64, Ticket), NodeId>,
    /// Requests to be answered, by the ticket that the answering node knows.
    owed: BTreeMap<(NodeId, Ticket), (NodeId, u64, Ticket)>,
    last_owed: u64,
}

impl Net {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            weather: Weather::CALM,
            sides: vec![0; nodes],
            sessions: BTreeSet::new(),
            asked: BTreeMap::new(),
            owed: BTreeMap::new(),
            last_owed: 0,
        }
    }

    /// Separates the nodes whose bit is set from the others; none to heal.
    pub(crate) fn partition(&mut self, one_side: u64) {
        for (node, side) in self.sides.iter_mut().enumerate() {
            *side = u8::from(one_side >> node & 1 == 1);
        }
    }

    /// Whether packets can go between two nodes, if both run.
    pub(crate) fn reaches(&self, a: NodeId, b: NodeId) -> bool {
        self.sides[a] == self.sides[b]
    }

    /// The ways of one packet: none, one or two.
    pub(crate) fn ways(&self, random: &mut Random, from: NodeId, to: NodeId) -> Vec<Virtual> {
        let lost = random.below(1_000) < self.weather.loss;
        let twice = random.below(1_000) < self.weather.doubling;
        let mut way = || MS / 5 + random.below(self.weather.delay_max);
        let ways = [way(), way()];
        match (lost || !self.reaches(from, to), twice) {
            (true, _) => Vec::new(),
            (false, false) => vec![ways[0]],
            (false, true) => ways.to_vec(),
        }
    }

    /// Begins a session. False if there is one.
    pub(crate) fn meet(&mut self, a: NodeId, b: NodeId) -> bool {
        self.sessions.insert((a.min(b), a.max(b)))
    }

    /// Ends a session. False if there was none.
    pub(crate) fn part(&mut self, a: NodeId, b: NodeId) -> bool {
        self.sessions.remove(&(a.min(b), a.max(b)))
    }

    pub(crate) fn has_session(&self, a: NodeId, b: NodeId) -> bool {
        self.sessions.contains(&(a.min(b), a.max(b)))
    }

    pub(crate) fn asks(&mut self, from: NodeId, life: u64, ticket: Ticket, to: NodeId) {
        self.asked.insert((from, life, ticket), to);
    }

    /// Whom an open request was sent to.
    pub(crate) fn asked_of(&self, from: NodeId, life: u64, ticket: Ticket) -> Option<NodeId> {
        self.asked.get(&(from, life, ticket)).copied()
    }

    /// An answer, or the failure, of a request: true the first time.
    pub(crate) fn answered(&mut self, from: NodeId, life: u64, ticket: Ticket) -> bool {
        self.asked.remove(&(from, life, ticket)).is_some()
    }

    /// The requests of one node to another that are still open.
    pub(crate) fn open(&self, from: NodeId, life: u64, to: NodeId) -> Vec<Ticket> {
        let open =
            self.asked.iter().filter(|((by, lived, _), at)| *by == from && *lived == life && **at == to);
        open.map(|((.., ticket), _)| *ticket).collect()
    }

    /// A request has come: the ticket by which the answering node knows it.
    pub(crate) fn owe(&mut self, by: NodeId, to: NodeId, life: u64, ticket: Ticket) -> Ticket {
        self.last_owed += 1;
        let own = Ticket(self.last_owed);
        self.owed.insert((by, own), (to, life, ticket));
        own
    }

    /// Whose request a ticket names.
    pub(crate) fn owed(&mut self, by: NodeId, ticket: Ticket) -> Option<(NodeId, u64, Ticket)> {
        self.owed.remove(&(by, ticket))
    }

    /// A node has died: nobody waits for it, and it waits for nobody.
    pub(crate) fn died(&mut self, node: NodeId) {
        self.asked.retain(|(by, ..), _| *by != node);
        self.owed.retain(|(by, _), _| *by != node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_lets_nothing_through_and_calm_everything() {
        let (mut net, mut random) = (Net::new(4), Random::new(1));
        net.partition(0b0011);
        for (from, to, reaches) in [(0, 1, true), (2, 3, true), (1, 2, false), (3, 0, false)] {
            assert_eq!(net.reaches(from, to), reaches);
            assert_eq!(net.ways(&mut random, from, to).len(), usize::from(reaches));
        }
        net.partition(0);
        assert!(net.reaches(1, 2));
        net.weather = Weather { loss: 1_000, doubling: 0, delay_max: MS };
        assert!(net.ways(&mut random, 0, 1).is_empty());
        net.weather = Weather { loss: 0, doubling: 1_000, delay_max: MS };
        assert_eq!(net.ways(&mut random, 0, 1).len(), 2);
    }

    #[test]
    fn a_request_is_answered_once_and_in_the_life_that_asked() {
        let mut net = Net::new(2);
        net.asks(0, 1, Ticket(5), 1);
        assert_eq!(net.open(0, 1, 1), [Ticket(5)]);
        assert!(!net.answered(0, 2, Ticket(5)), "another life");
        assert!(net.answered(0, 1, Ticket(5)));
        assert!(!net.answered(0, 1, Ticket(5)), "twice");
        let owed = net.owe(1, 0, 1, Ticket(6));
        assert_eq!(net.owed(1, owed), Some((0, 1, Ticket(6))));
        assert_eq!(net.owed(1, owed), None);
        assert!(net.meet(0, 1) && !net.meet(1, 0) && net.part(1, 0) && !net.has_session(0, 1));
    }
}
