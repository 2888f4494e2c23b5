//! The consensus step: our host actor around the published Tendermint engine.
//!
//! This is the only room that knows the engine (`arc-malachitebft-*`) and its actor library. It
//! translates the engine's questions into [`Event`]s of protocol types and the answers back, and holds no
//! rule: what a block may contain, when a height begins and who votes is the chain's business.
//!
//! *Invariants.*
//! - What the engine decides on is a [`BlockId`](syngraph_protocol::ids::BlockId). Header and cut travel
//!   beside it as parts, and reach the application only if they are exactly what that id binds, so that a
//!   verdict on an id can never be poisoned by other bytes.
//! - Votes are signed over [`Vote::signing_bytes`](syngraph_protocol::certificate::Vote::signing_bytes),
//!   nothing else: the signatures of a decision are, as they are, a
//!   [`Certificate`](syngraph_protocol::certificate::Certificate) that an auditor checks without this
//!   room.
//! - The host actor never waits. Every question leaves as an event that carries its own [`Reply`], so an
//!   answer that is held back blocks nothing behind it.
//! - Everything from the wire is canonical, bounded before it is decoded, and refused without a panic.
//!
//! - Peers are members, named by their transport keys ([`PeerAddress`]); whoever else connects is cut off
//!   as soon as it has said who it is. What a member can make this node keep is bounded: unfinished
//!   blocks to 16 MiB of all together (`parts`), whole ones to 128 that the application hasn't taken
//!   (`host`), messages by size (`codec`), heights ahead to 10 and rounds ahead to 10 by the engine and
//!   here. Votes that wait to be verified are not: the engine's queues between its own parts have no
//!   end, and a member that floods them costs memory until they are drained.
//!
//! *Deliberately absent:* any judgement of a block, storage (the engine's write-ahead log excepted, at
//! the path it is given), and peers other than the engine's own: bulk data has a port of its own.

mod address;
mod codec;
mod context;
mod convert;
mod engine;
mod event;
mod host;
mod parts;
mod roster;
mod settings;
mod signer;
#[cfg(test)]
mod tests;
mod view;
mod wal;

pub(crate) use address::{PeerAddress, Transport};
pub(crate) use engine::{ConsensusError, Engine, Identity, Started, export_metrics, start};
pub use event::{Event, Evidence, Judged, Reply, Signed, Start, SyncVerdict};
pub(crate) use settings::Settings;
pub(crate) use view::Progress;
