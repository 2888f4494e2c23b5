//! Entries and how far they have come.

use serde::Serialize;
use syngraph_protocol::entry::SignedEntry;
use syngraph_protocol::ids::{EntryId, Height};
use syngraph_protocol::ledger::Outcome;

/// How far an entry has come (design §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum State {
    /// Kept in a bounded buffer; promises nothing.
    Parked,
    /// Durable on this node.
    Accepted,
    /// Durable on nodes with a quorum of the voting power.
    Replicated,
    /// Covered by a committed block.
    Sealed,
}

/// Where a sealed entry stands and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct Sealed {
    /// The block that covers it.
    pub(in crate::http) height: Height,
    /// Its position in the log.
    pub(in crate::http) index: u64,
    /// What became of it.
    pub(in crate::http) outcome: Outcome,
}

/// An entry that this node holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct EntryView {
    pub(in crate::http) id: EntryId,
    pub(in crate::http) state: State,
    pub(in crate::http) height: Option<Height>,
    pub(in crate::http) index: Option<u64>,
    pub(in crate::http) outcome: Option<Outcome>,
    pub(in crate::http) entry: SignedEntry,
}
