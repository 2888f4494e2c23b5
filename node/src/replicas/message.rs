//! What members' nodes say to each other.
//!
//! *Invariants.* Everything here is decoded and verified: an entry exists only as a
//! [`VerifiedEntry`], and every list is within its bound when it comes from a peer. A
//! [`Ticket`] gets at most one answer from the core, and exactly one from the network.
//!
//! *Deliberately absent:* bytes, connections and time. They belong to the port that
//! implements [`Peers`].

use serde::{Deserialize, Serialize};
use syngraph_protocol::block::CutPoint;
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{EntryId, Height, MemberId, PublicKey, Seq};
use syngraph_protocol::limits::{BLOCK_BYTES_MAX, CUT_JOURNALS_MAX};

/// Most bytes of entries in one [`Request::Push`].
pub const PUSH_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes of entries in one [`Response::Entries`]: everything under one block, and one
/// entry more.
pub const ANSWER_BYTES_MAX: usize = BLOCK_BYTES_MAX + 64 * 1024;
/// Most journals in one [`Holdings`].
pub const POINTS_MAX: usize = CUT_JOURNALS_MAX;
/// Most runs in one [`Request::Want`].
pub const GAPS_MAX: usize = CUT_JOURNALS_MAX;

/// What a node has, as it announces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdings {
    /// The last height decided there, durable.
    pub height: Height,
    /// How many entries are sealed under it.
    pub log_size: u64,
    /// The height that its engine has begun.
    pub begun: Height,
    /// Durable ends of journals, at most [`POINTS_MAX`].
    pub points: Vec<CutPoint>,
}

/// A run of entries of one journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The journal.
    pub journal: PublicKey,
    /// The first entry wanted.
    pub from: Seq,
    /// The last entry wanted; not before `from`.
    pub to: Seq,
    /// The id of the entry at `to`: it says which branch.
    pub last: EntryId,
}

/// What one node asks of another.
#[derive(Clone, Debug)]
pub enum Request {
    /// Take these entries, at most [`PUSH_BYTES_MAX`] of them in bytes.
    Push(Vec<VerifiedEntry>),
    /// Know what is held here.
    Holdings(Holdings),
    /// Give these runs, at most [`GAPS_MAX`].
    Want(Vec<Gap>),
    /// Give sealed entries in the order of the log.
    Log {
        /// Index of the first, from 0.
        from: u64,
    },
}

/// What it is answered.
#[derive(Clone, Debug)]
pub enum Response {
    /// To [`Request::Push`]: durable. To [`Request::Holdings`]: known.
    Taken,
    /// No room now.
    Later,
    /// To [`Request::Want`]: whole runs, oldest first within a journal. To
    /// [`Request::Log`]: in the order of the log; none if it ends before. As far as they
    /// fit into [`ANSWER_BYTES_MAX`].
    Entries(Vec<VerifiedEntry>),
}

/// Names an exchange: for asks, whatever the core has chosen; for requests of peers,
/// whatever the port has chosen. The two are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What the network tells the core.
#[derive(Clone, Debug)]
pub enum PeerEvent {
    /// A member's node can be reached.
    Up {
        /// Whose.
        member: MemberId,
    },
    /// It no longer can; its unanswered requests are forgotten.
    Down {
        /// Whose.
        member: MemberId,
    },
    /// It asks for something. Never [`Request::Log`], which the port answers itself.
    Request {
        /// Who asks.
        from: MemberId,
        /// Names the answer.
        ticket: Ticket,
        /// What is asked.
        request: Request,
    },
    /// It has answered, or never will.
    Response {
        /// Who was asked.
        from: MemberId,
        /// Which ask.
        ticket: Ticket,
        /// None: it was not sent, failed, timed out, or the answer was refused.
        response: Option<Response>,
    },
}

/// The port to the other members' nodes.
pub trait Peers {
    /// Asks a member. Each ask gets exactly one [`PeerEvent::Response`].
    fn ask(&mut self, to: MemberId, ticket: Ticket, request: Request);

    /// Answers a member's request. Forgotten if nobody waits for it any more.
    fn answer(&mut self, to: MemberId, ticket: Ticket, response: Response);
}
