//! What members' nodes say to each other about entries, decoded and verified.
//!
//! *Deliberately absent:* how it travels; see `peers`.

use syngraph_protocol::block::CutPoint;
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{EntryId, Height, MemberId, PublicKey, Seq};

/// Most bytes of entries in one [`Request::Push`].
pub const PUSH_BYTES_MAX: usize = 1024 * 1024;

/// Most bytes of entries in one [`Response::Entries`]: those of a whole block.
pub const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most points or gaps in one request: as many as a block may have.
pub const POINTS_MAX: usize = 1_024;

/// How far a node has come, and where journals end in its log, fsynced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// The last height that is decided and stored there.
    pub height: Height,
    /// How many entries are sealed by then.
    pub log_size: u64,
    /// The height that its engine has begun.
    pub begun: Height,
    /// Durable ends of journals that have moved; at most [`POINTS_MAX`].
    pub points: Vec<CutPoint>,
}

/// A run of a journal that somebody lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The journal.
    pub journal: PublicKey,
    /// The first number that is wanted.
    pub from: Seq,
    /// The last.
    pub to: Seq,
    /// The id of the entry at `to`.
    pub last: EntryId,
}

/// What a node asks of another.
#[derive(Clone, Debug)]
pub enum Request {
    /// Takes these entries, oldest first within a journal; at most [`PUSH_BYTES_MAX`].
    /// Answered by [`Response::Taken`] once they are durable, or [`Response::Later`].
    Push(Vec<VerifiedEntry>),
    /// Hear how far I am. Answered by [`Response::Taken`].
    Holdings(Holdings),
    /// Give me these runs of unsealed entries; at most [`POINTS_MAX`] gaps. Answered by
    /// [`Response::Entries`]: of each gap that is held its beginning, oldest first.
    Want(Vec<Gap>),
    /// Give me sealed entries. Answered by [`Response::Entries`] in the order of the log.
    Log {
        /// The index of the first.
        from: u64,
    },
}

/// What a node answers.
#[derive(Clone, Debug)]
pub enum Response {
    /// Heard, and durable.
    Taken,
    /// No room now.
    Later,
    /// What was asked for, as far as it fits; at most [`ANSWER_BYTES_MAX`].
    Entries(Vec<VerifiedEntry>),
}

/// Names a request while it is under way, for whoever has to answer it or waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What comes from the peers.
#[derive(Clone, Debug)]
pub enum PeerEvent {
    /// A member's node is connected.
    Up {
        /// The member.
        member: MemberId,
    },
    /// It no longer is.
    Down {
        /// The member.
        member: MemberId,
    },
    /// It asks; to be answered with the same ticket.
    Request {
        /// The member.
        from: MemberId,
        /// Names the request.
        ticket: Ticket,
        /// Never [`Request::Log`]: the store's reader answers that.
        request: Request,
    },
    /// It has answered, or never will.
    Response {
        /// The member.
        from: MemberId,
        /// The ticket it was asked with.
        ticket: Ticket,
        /// None: it failed, timed out, is gone, or its answer was refused.
        response: Option<Response>,
    },
}
