//! Writing: entries as they arrive, blocks as they are judged and decided.

use std::time::{Duration, Instant};

use syngraph_protocol::block::Block;
use syngraph_protocol::certificate::Certificate;
use syngraph_protocol::codec;
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::Height;
use syngraph_protocol::ledger::Executed;

use super::Store;
use super::error::StoreError;
use super::log::Location;
use super::reader::{BlockRecord, StoreTip};
use super::state::{LogEnds, Rows};

/// Most blocks whose rows are not yet durable: what an unclean stop has to replay.
const UNFLUSHED_BLOCKS_MAX: u32 = 64;
/// Longest time between two flushes under load.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);

/// When rows are made durable.
pub(super) struct Flushes {
    blocks: u32,
    last: Instant,
}

impl Flushes {
    pub(super) fn new() -> Self {
        Self { blocks: 0, last: Instant::now() }
    }

    fn due(&self) -> bool {
        self.blocks >= UNFLUSHED_BLOCKS_MAX || self.last.elapsed() >= FLUSH_INTERVAL
    }
}

impl Store {
    /// Appends an entry in order of arrival; an unsealed one that is there already keeps its
    /// place. A crash before the next [`Self::sync`] returns may lose it: nobody may be told
    /// before.
    ///
    /// # Errors
    /// `STORE-POISONED`, `STORE-IO`.
    pub(crate) fn append_entry(&mut self, entry: &VerifiedEntry) -> Result<Location, StoreError> {
        if let Some(location) = self.unsealed.get(entry) {
            return Ok(location);
        }
        let location = self.entries.append(entry.bytes())?;
        self.unsealed.insert(entry, location);
        Ok(location)
    }

    /// Makes all entries appended so far durable. Whether there was anything to do.
    ///
    /// # Errors
    /// `STORE-POISONED`, `STORE-IO`: then none of them may be acknowledged.
    pub(crate) fn sync(&mut self) -> Result<bool, StoreError> {
        self.entries.sync()
    }

    /// Keeps a block that was proposed, in a round, or judged until its height is decided.
    /// When this returns, it is durable and so are all entries appended before. False if
    /// there is no room for it.
    ///
    /// # Errors
    /// `STORE-POISONED`, `STORE-IO`.
    pub(crate) fn keep_undecided(
        &mut self,
        block: &Block,
        proposed_in: Option<u32>,
    ) -> Result<bool, StoreError> {
        self.entries.sync()?;
        self.undecided.keep(block, proposed_in)
    }

    /// Writes a decided block. When this returns, the decision is durable and readers see it.
    ///
    /// # Errors
    /// `STORE-HEIGHT-ORDER` or `STORE-ENTRY-MISSING`, and nothing changed. Any other error
    /// ends all writing: the decision may or may not be durable, which start-up finds out.
    pub(crate) fn commit(
        &mut self,
        executed: &Executed,
        certificate: &Certificate,
    ) -> Result<(), StoreError> {
        let height = executed.block.header.height;
        let expected = self.reader.tip().height.next();
        if self.broken {
            return Err(StoreError::Poisoned { path: self.dir.clone() });
        }
        if expected != Some(height) {
            return Err(StoreError::HeightOrder { expected: expected.unwrap_or(height), got: height });
        }
        let locations = self.locate(executed)?;
        self.broken = true;
        // Entries first: a block in the log promises the entries under it. They are durable
        // since before the vote, unless nobody else votes.
        self.entries.sync()?;
        let record = BlockRecord { block: executed.block.clone(), certificate: certificate.clone() };
        let location = self.blocks.append(&codec::encode(&record))?;
        self.blocks.sync()?;
        // The moment of truth. A crash before it leaves the height undecided here: start-up
        // hands back the undecided block, and the engine decides it again from its own log
        // or from peers. A crash after it leaves a decided block whose rows may be missing
        // in `state/`: start-up replays it.
        self.index(executed, location, &locations)?;
        self.undecided.prune(height)?;
        self.broken = false;
        Ok(())
    }

    /// The places of a block's entries, in log order.
    pub(super) fn locate(&self, executed: &Executed) -> Result<Vec<Location>, StoreError> {
        let height = executed.block.header.height;
        let missing = |entry: &VerifiedEntry| StoreError::EntryMissing { height, entry: entry.id() };
        let place = |entry| self.unsealed.get(entry).ok_or_else(|| missing(entry));
        executed.entries.iter().map(place).collect()
    }

    /// Writes the rows of a block that is in the log.
    pub(super) fn index(
        &mut self,
        executed: &Executed,
        location: Location,
        locations: &[Location],
    ) -> Result<(), StoreError> {
        let header = &executed.block.header;
        self.unsealed.cover(&executed.block.cut);
        self.unsealed.lapse(&executed.ledger);
        let rows = Rows::block(executed, location, locations);
        // A crash in here leaves all rows of this block or none, and the mark says which. A
        // crash later may lose the rows of all blocks since the last flush, newest first.
        let ends = self.ends();
        self.state.apply(rows, header.height, ends)?;
        self.flushes.blocks = self.flushes.blocks.saturating_add(1);
        if self.flushes.due() {
            self.flush()?;
        }
        let (height, log_size) = (header.height, header.log_size);
        self.reader.advance(StoreTip { height, block: executed.block.id(), log_size });
        Ok(())
    }

    fn ends(&self) -> LogEnds {
        let entries = self.entries.durable();
        let watermark = self.unsealed.first().unwrap_or(entries);
        LogEnds { watermark, entries, blocks: self.blocks.durable() }
    }

    /// Makes the rows durable.
    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        self.state.flush()?;
        self.flushes = Flushes::new();
        Ok(())
    }

    /// Ends cleanly: everything is durable, and the mark says how far the logs go, so that
    /// the next start notices whatever they lose meanwhile.
    ///
    /// # Errors
    /// `STORE-POISONED`, `STORE-IO`, `STORE-STATE`.
    pub(crate) fn close(mut self) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError::Poisoned { path: self.dir });
        }
        self.entries.sync()?;
        self.mark_ends(self.reader.tip().height)
    }

    /// Writes the mark anew and makes it durable.
    pub(super) fn mark_ends(&mut self, height: Height) -> Result<(), StoreError> {
        self.state.apply(Rows::default(), height, self.ends())?;
        self.flush()
    }
}
