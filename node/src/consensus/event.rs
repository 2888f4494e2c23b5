//! What the engine asks and tells, and what it may be answered, in protocol types.
//!
//! *Deliberately absent:* any type of the engine.

use std::fmt;

use syngraph_protocol::block::Block;
pub(crate) use syngraph_protocol::certificate::Proposal;
use syngraph_protocol::certificate::{Certificate, MemberSet, Vote};
use syngraph_protocol::ids::{BlockId, Height, MemberId, Signature};

/// An answer that may be given at any later time, from any thread. Each [`Event`] says what dropping it
/// means.
pub struct Reply<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Reply<T> {
    /// An answer that goes here.
    pub fn new(answer: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(answer))
    }

    /// Gives the answer. If the engine has gone on, or away, meanwhile, the answer is without effect.
    pub fn send(self, answer: T) {
        (self.0)(answer);
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

/// Where to begin.
#[derive(Clone, Debug)]
pub struct Start {
    /// The height to decide next.
    pub height: Height,
    /// Who votes on it. An empty set stops the engine.
    pub voters: MemberSet,
}

/// The verdict on a proposed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The height it was proposed for.
    pub height: Height,
    /// A round it was proposed in. The verdict serves every round of the height.
    pub round: u32,
    /// Who proposed it there.
    pub proposer: MemberId,
    /// The block.
    pub block: BlockId,
    /// Whether it may be voted for. *Invalid* is written to the engine's log and never taken back: data
    /// that is missing, or a clock that disagrees, is no reason for it. Withhold the verdict instead.
    pub valid: bool,
}

/// The verdict on a block that others have decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncVerdict {
    /// Executed and durable: it may be decided here too.
    Valid,
    /// It breaks a rule although a quorum has signed it: this node or they run other rules.
    Invalid,
    /// Not judged yet. The engine asks again after 0.1, 0.2, 0.4, 0.8, 1, 1 … s.
    NotYet,
}

/// A statement of the consensus step with the signature that the engine has verified over its signing bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    /// What was said.
    pub message: T,
    /// By whom: the validator key of the member that the message names.
    pub signature: Signature,
}

/// Two signed statements of one member of which an honest one makes at most one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Two votes of one kind in one round, for different blocks.
    Votes(Box<(Signed<Vote>, Signed<Vote>)>),
    /// Two proposals in one round.
    Proposals(Box<(Signed<Proposal>, Signed<Proposal>)>),
}

/// What the engine asks or tells the application; each says how soon its answer is due.
#[derive(Debug)]
pub enum Event {
    /// The engine listens. Answer at any time: consensus starts only then, so recover first, and let
    /// peers connect.
    Ready {
        /// Where to begin. Dropped: consensus never starts.
        reply: Reply<Start>,
    },
    /// A round has begun. Answer **at once**: the engine does nothing else meanwhile.
    RoundStarted {
        /// The height.
        height: Height,
        /// The round.
        round: u32,
        /// Whose turn it is to propose.
        proposer: MemberId,
        /// The verdicts that are known for this height (all of them, after a crash). Dropped: the engine
        /// stops.
        reply: Reply<Vec<Judged>>,
    },
    /// It is this node's turn: build a block, or propose again one that was judged valid in an earlier
    /// round. It must be durable before it is named here, since the engine's log holds only its id. Then
    /// `Voting::publish` it.
    Build {
        /// The height.
        height: Height,
        /// The round.
        round: u32,
        /// The block. Later than others wait for a proposal, or dropped: the round passes without a block.
        reply: Reply<BlockId>,
    },
    /// A block proposed again from an earlier round: `Voting::publish` it once more, for those who have missed it.
    Restream {
        /// The height.
        height: Height,
        /// The round it is proposed in now.
        round: u32,
        /// Who proposes it.
        proposer: MemberId,
        /// The block.
        block: BlockId,
    },
    /// A peer has sent a whole block. Its header is for `height`, its cut is the one the header binds, and
    /// it came from the node of `proposer`, whose turn it was (in rounds from the tenth on, from any
    /// voter's). Everything else is for the application to judge. Whenever it has, it calls
    /// `Voting::judged`.
    ///
    /// Comes once for each height, round and proposer. May concern a later height than the current one, up
    /// to ten; then the turn is not checked, only that the proposer has a vote now. Dropped by this room when the application falls
    /// far behind; the block then comes by sync.
    Proposal {
        /// The height.
        height: Height,
        /// The round.
        round: u32,
        /// Who proposes it.
        proposer: MemberId,
        /// The block.
        block: Box<Block>,
    },
    /// Peers have begun, or decided, the height that the engine has asked for last ([`Event::Ready`],
    /// [`Event::Finalized`]) and that is being held back, for want of work perhaps: it is time to begin.
    /// Comes after the question, and once. One peer's vote or proposal in that height is enough, by its
    /// own account; that it is decided must be told by more than a third of the voting power.
    PeerStarted {
        /// The height.
        height: Height,
    },
    /// A quorum has decided. Answer once the block is durable; until then its height is not offered to peers.
    /// [`Event::Finalized`] may follow before the answer.
    Decided {
        /// The proof.
        certificate: Certificate,
        /// Dropped: this height is never offered to peers.
        reply: Reply<()>,
    },
    /// The height is closed. Answer when the commit has ended and there is work for the next height:
    /// blocks are made on demand.
    Finalized {
        /// Who was seen to sign twice during this height.
        evidence: Vec<Evidence>,
        /// Where to go on. Dropped: there is no next height.
        reply: Reply<Start>,
    },
    /// The lowest height whose block can be served to peers, asked about once a second and after every
    /// decision. Answer **at once**: nothing is synchronised meanwhile.
    HistoryMin {
        /// Dropped: the engine stops.
        reply: Reply<Height>,
    },
    /// A peer asks for decided blocks. Answer within 10 s.
    DecidedRange {
        /// The first wanted.
        from: Height,
        /// The last wanted; not before `from`.
        to: Height,
        /// Consecutive blocks from `from` on, as many as there are. Dropped: the peer gets no answer.
        reply: Reply<Vec<(Block, Certificate)>>,
    },
    /// A peer has sent a block whose certificate the engine has verified against the voters of its
    /// height. Its cut is the one its header binds. Answer at any time, but have a deadline: until the
    /// answer, the engine neither asks again nor turns to another peer.
    Synced {
        /// The block.
        block: Box<Block>,
        /// Dropped: as [`SyncVerdict::NotYet`].
        reply: Reply<SyncVerdict>,
    },
}
