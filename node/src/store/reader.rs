//! Reading what is sealed, beside the writer: for the HTTP API and for export. All calls
//! read files and may block.
//!
//! *Invariants.* Bytes pass their checksum before they are returned. What the tip covers is
//! found; if not, that is an error and never "there is none".
//!
//! *Deliberately absent:* entries that no block covers yet.

use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use syngraph_protocol::block::Block;
use syngraph_protocol::certificate::Certificate;
use syngraph_protocol::codec;
use syngraph_protocol::ids::{BlockId, EntryId, Height};
use syngraph_protocol::ledger::Outcome;
use syngraph_protocol::limits::{BLOCK_BODY_BYTES_MAX, CERTIFICATE_BYTES_MAX};

use super::error::StoreError;
use super::log::{Location, LogReader};
use super::state::StateReader;

/// Longest canonical [`BlockRecord`], in bytes.
pub(super) const BLOCK_RECORD_BYTES_MAX: usize = BLOCK_BODY_BYTES_MAX + CERTIFICATE_BYTES_MAX;

/// A decided block and the proof that it was decided: one record of the blocks log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockRecord {
    /// The block.
    pub(crate) block: Block,
    /// The precommits of a quorum.
    pub(crate) certificate: Certificate,
}

/// How far the store has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreTip {
    /// Height of the last block; 0 if there is none.
    pub(crate) height: Height,
    /// Its id, or that of no block.
    pub(crate) block: BlockId,
    /// How many entries are sealed.
    pub(crate) log_size: u64,
}

/// An entry with its place in the order of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SealedEntry {
    /// Its index in the log of all entries, from 0.
    pub(crate) index: u64,
    /// The block that covers it.
    pub(crate) height: Height,
    /// Its id.
    pub(crate) id: EntryId,
    /// Its canonical bytes.
    pub(crate) bytes: Vec<u8>,
}

/// A cloneable reader.
#[derive(Clone)]
pub(crate) struct Reader {
    entries: LogReader,
    blocks: LogReader,
    state: StateReader,
    tip: Arc<RwLock<StoreTip>>,
}

impl Reader {
    pub(super) fn new(entries: &LogReader, blocks: &LogReader, state: &StateReader, tip: StoreTip) -> Self {
        let (entries, blocks, state) = (entries.clone(), blocks.clone(), state.clone());
        Self { entries, blocks, state, tip: Arc::new(RwLock::new(tip)) }
    }

    /// How far the store has come.
    pub(crate) fn tip(&self) -> StoreTip {
        *self.tip.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn advance(&self, tip: StoreTip) {
        *self.tip.write().unwrap_or_else(PoisonError::into_inner) = tip;
    }

    /// The block at a height; none above the tip and at 0.
    ///
    /// # Errors
    /// `STORE-CORRUPT`, `STORE-STATE`, `STORE-IO`; so for all reads.
    pub(crate) fn block(&self, height: Height) -> Result<Option<BlockRecord>, StoreError> {
        if height == Height::GENESIS || height > self.tip().height {
            return Ok(None);
        }
        let row = self.state.block(height)?;
        let row = row.ok_or_else(|| self.state.problem(format_args!("block {height} is missing")))?;
        read_block(&self.blocks, row.location).map(Some)
    }

    /// The entry at a log index; none at or above the log's size.
    pub(crate) fn entry_at(&self, index: u64) -> Result<Option<SealedEntry>, StoreError> {
        if index >= self.tip().log_size {
            return Ok(None);
        }
        let row = self.state.sealed(index)?;
        let (height, id, location) = row.ok_or_else(|| self.missing(index))?;
        Ok(Some(SealedEntry { index, height, id, bytes: self.entries.read(location)? }))
    }

    /// The outcome of the entry at a log index; none at or above the log's size.
    pub(crate) fn outcome(&self, index: u64) -> Result<Option<Outcome>, StoreError> {
        if index >= self.tip().log_size {
            return Ok(None);
        }
        let outcome = self.state.outcome(index)?;
        outcome.ok_or_else(|| self.missing(index)).map(Some)
    }

    /// The block that covers the entry at a log index; none at or above the log's size.
    pub(crate) fn height_of(&self, index: u64) -> Result<Option<Height>, StoreError> {
        if index >= self.tip().log_size {
            return Ok(None);
        }
        let row = self.state.sealed(index)?;
        row.map(|(height, ..)| height).ok_or_else(|| self.missing(index)).map(Some)
    }

    fn missing(&self, index: u64) -> StoreError {
        self.state.problem(format_args!("entry {index} of the log is missing"))
    }

    /// The log index of an entry, if it is sealed.
    pub(crate) fn find(&self, id: &EntryId) -> Result<Option<u64>, StoreError> {
        let index = self.state.index_of(id)?;
        // A block whose rows are just being written is not there yet.
        Ok(index.filter(|index| *index < self.tip().log_size))
    }

    /// A state value as it was after the block at `height`, by its state key (see
    /// `syngraph_protocol::ledger::state_key`). Above the tip: as it is now.
    pub(crate) fn value_at(&self, key: &[u8], height: Height) -> Result<Option<Vec<u8>>, StoreError> {
        self.state.value_at(key, height)
    }
}

/// Reads a record of the blocks log.
pub(super) fn read_block(blocks: &LogReader, location: Location) -> Result<BlockRecord, StoreError> {
    decode_block(blocks, location, &blocks.read(location)?)
}

/// Decodes a record of the blocks log.
pub(super) fn decode_block(
    blocks: &LogReader,
    location: Location,
    bytes: &[u8],
) -> Result<BlockRecord, StoreError> {
    codec::decode(bytes, BLOCK_RECORD_BYTES_MAX).map_err(|error| {
        let (path, offset) = blocks.place(location.position());
        StoreError::corrupt(&path, offset, error)
    })
}
