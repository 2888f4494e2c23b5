//! The core's ports: what it needs of the world, and what the world may tell it.
//!
//! ```text
//!          Input ─▶ ┌──────┐ ─▶ Disk     (store)
//!  (doors, peers,   │ core │ ─▶ Voting   (consensus)
//!   engine, time)   └──────┘ ─▶ Peers    (peers)
//! ```
//!
//! The node's rooms implement them; so does the simulator, in memory.

use std::time::Instant;

use syngraph_protocol::block::Block;
use syngraph_protocol::certificate::Certificate;
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{EntryId, Height, MemberId};
use syngraph_protocol::ledger::Executed;
use syngraph_protocol::time::UtcMs;

use crate::consensus::Engine;
pub use crate::consensus::{Event, Evidence, Judged, Reply, Signed, Start, SyncVerdict};
use crate::gate::Command;
use crate::replicas::message::PeerEvent;
pub use crate::replicas::message::Peers;
use crate::store::Store;
pub use crate::store::StoreError;
pub use crate::telemetry::Metrics;

/// The time, read once per step.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The wall clock, for block times.
    pub wall: UtcMs,
    /// The steady clock, for waiting.
    pub instant: Instant,
}

/// What the core is told.
#[derive(Debug)]
pub enum Input {
    /// A door asks.
    Command(Command),
    /// The engine asks or tells.
    Event(Event),
    /// A peer asks or answers.
    Peer(PeerEvent),
}

/// What is kept. Whatever fails is final: nothing may be acknowledged after it.
pub trait Disk {
    /// Appends an entry; durable after the next [`Self::sync`].
    ///
    /// # Errors
    /// [`StoreError`], as for all of these.
    fn append_entry(&mut self, entry: &VerifiedEntry) -> Result<(), StoreError>;
    /// Makes all entries appended so far durable.
    ///
    /// # Errors
    /// [`StoreError`].
    fn sync(&mut self) -> Result<(), StoreError>;
    /// Keeps a block until its height is decided, and in which round it was proposed here,
    /// if it was. Durable when this returns; false if there is no room.
    ///
    /// # Errors
    /// [`StoreError`].
    fn keep_undecided(&mut self, block: &Block, proposed_in: Option<u32>) -> Result<bool, StoreError>;
    /// Writes a decided block. Durable when this returns.
    ///
    /// # Errors
    /// [`StoreError`].
    fn commit(&mut self, executed: &Executed, certificate: &Certificate) -> Result<(), StoreError>;
    /// Decided blocks from a height on, as many as there are up to another.
    ///
    /// # Errors
    /// [`StoreError`].
    fn decided(&self, from: Height, to: Height) -> Result<Vec<(Block, Certificate)>, StoreError>;
    /// Whether a block covers this entry.
    ///
    /// # Errors
    /// [`StoreError`].
    fn is_sealed(&self, id: &EntryId) -> Result<bool, StoreError>;
    /// Ends cleanly.
    ///
    /// # Errors
    /// [`StoreError`].
    fn close(self) -> Result<(), StoreError>;
}

/// What decides.
pub trait Voting {
    /// Gives the verdict on a proposed block.
    fn judged(&mut self, judged: Judged);
    /// Sends a block to all peers, as proposed for a height and round by a member.
    fn publish(&mut self, height: Height, round: u32, proposer: MemberId, block: &Block);
    /// Whether it has given up for safety's sake.
    fn is_halted(&self) -> bool;
}

impl Disk for Store {
    fn append_entry(&mut self, entry: &VerifiedEntry) -> Result<(), StoreError> {
        Self::append_entry(self, entry).map(|_| ())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        Self::sync(self).map(|_| ())
    }

    fn keep_undecided(&mut self, block: &Block, proposed_in: Option<u32>) -> Result<bool, StoreError> {
        Self::keep_undecided(self, block, proposed_in)
    }

    fn commit(&mut self, executed: &Executed, certificate: &Certificate) -> Result<(), StoreError> {
        Self::commit(self, executed, certificate)
    }

    fn decided(&self, from: Height, to: Height) -> Result<Vec<(Block, Certificate)>, StoreError> {
        let reader = self.reader();
        let mut blocks = Vec::new();
        let mut height = from;
        while height <= to {
            let Some(record) = reader.block(height)? else { break };
            blocks.push((record.block, record.certificate));
            let Some(next) = height.next() else { break };
            height = next;
        }
        Ok(blocks)
    }

    fn is_sealed(&self, id: &EntryId) -> Result<bool, StoreError> {
        Ok(self.reader().find(id)?.is_some())
    }

    fn close(self) -> Result<(), StoreError> {
        Self::close(self)
    }
}

impl Voting for Engine {
    fn judged(&mut self, judged: Judged) {
        Self::judged(self, judged);
    }

    fn publish(&mut self, height: Height, round: u32, proposer: MemberId, block: &Block) {
        Self::publish(self, height, round, proposer, block);
    }

    fn is_halted(&self) -> bool {
        Self::is_halted(self)
    }
}
