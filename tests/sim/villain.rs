//! A member that does not do as it should. There is at most one: fewer than a third.

use arc_malachitebft_core_consensus::SignedConsensusMsg;
use arc_malachitebft_core_types::NilOrVal;
use syngraph_node::replicas::message::{Request, Response};
use syngraph_protocol::ids::BlockId;
use syngraph_tests::random::Random;

use crate::engine::context::Value;
use crate::engine::votes::Notary;
use crate::net::{NodeId, Packet};

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Gives its entries to nobody, and proposes blocks that cover them.
    Withholder,
    /// Tells some nodes another vote than it tells the rest.
    DoubleVoter,
}

/// Who does not do as it should.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Villain {
    pub(crate) node: NodeId,
    pub(crate) kind: Kind,
}

impl Villain {
    /// A seed's villain, if it has one.
    pub(crate) fn of(random: &mut Random, nodes: usize) -> Option<Self> {
        let (chance, which, node) = (random.below(4), random.below(2), random.below(nodes as u64));
        let kind = if which == 0 { Kind::Withholder } else { Kind::DoubleVoter };
        (chance == 0 && nodes > 3).then_some(Self { node: node as NodeId, kind })
    }

    /// What it sends instead of a packet: nothing, the same, or another.
    pub(crate) fn sends(self, random: &mut Random, notary: &Notary, packet: &Packet) -> Option<Packet> {
        match (self.kind, packet) {
            (Kind::Withholder, Packet::Ask { request: Request::Push(_), .. }) => None,
            (Kind::Withholder, Packet::Answer { ticket, response: Response::Entries(_) }) => {
                Some(Packet::Answer { ticket: *ticket, response: Response::Entries(Vec::new()) })
            }
            (Kind::DoubleVoter, Packet::Consensus(SignedConsensusMsg::Vote(vote)))
                if random.below(3) == 0 =>
            {
                let mut other = vote.message.clone();
                other.value = match other.value {
                    NilOrVal::Val(_) => NilOrVal::Nil,
                    NilOrVal::Nil => NilOrVal::Val(Value(BlockId::from_bytes([7; 32]))),
                };
                Some(Packet::Consensus(SignedConsensusMsg::Vote(notary.sign_vote(other))))
            }
            _ => Some(packet.clone()),
        }
    }
}
