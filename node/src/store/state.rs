//! What can be rebuilt from the logs, kept in sled so that it need not be: the state, its
//! history, and the indexes over entries and blocks. The only module that knows the `sled`
//! package; [`rows`] draws its tables.
//!
//! *Invariants.* Each block's rows and the [`Mark`] that vouches for them are one atomic
//! batch. What start-up uses was checked before: the state against the certified root, event
//! ids against the state, all other rows against the mark's count and sum. Whatever sled
//! does (errors, panics, rows that are gone) becomes a [`StoreError::State`], never a panic
//! here and never a wrong answer that start-up would believe.
//!
//! *Durability.* sled's `flush` doesn't call fsync on Linux; [`State::flush`] syncs sled's
//! file through a handle of its own. Between flushes a crash may lose the newest batches,
//! which are then replayed from the logs.
//!
//! *Deliberately absent:* anything that exists only here; when to flush.

mod rows;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use syngraph_protocol::codec;
use syngraph_protocol::ids::{BlockId, EntryId, EventId, Height, NetworkId};
use syngraph_protocol::ledger::{EventRun, Ledger, Outcome};

pub(crate) use self::rows::{BlockRow, Mark, Rows};
use self::rows::{Digest, EventRunKey, SealedChunk, TABLES_VERSION, VALUE_BYTES_MAX};
use super::error::{Context, StoreError};
use super::files;
use super::log::{Location, Position};

/// Memory for sled's cache, in bytes. Only indexes are read from it; the state that blocks
/// are executed on is in the ledger.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// How often sled is tried while its file is locked, and how long between.
const OPEN_ATTEMPTS_MAX: u32 = 250;
const OPEN_RETRY: Duration = Duration::from_millis(20);

/// What the mark is to say about the logs, apart from the height.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogEnds {
    /// Every entry that lies before it is sealed or can never be.
    pub(crate) watermark: Position,
    /// Everything before it is durable in the entries log.
    pub(crate) entries: Position,
    /// Everything before it is durable in the blocks log.
    pub(crate) blocks: Position,
}

/// Whose rows they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The network.
    pub(crate) network: NetworkId,
    /// The identities of the entries and the blocks log.
    pub(crate) logs: [u64; 2],
}

/// The writer.
pub(crate) struct State {
    reader: StateReader,
    db: sled::Db,
    /// sled's own file, for syncing it.
    file: File,
    owner: Owner,
    mark: Option<Mark>,
}

/// A cloneable reader.
#[derive(Clone)]
pub(crate) struct StateReader {
    tree: sled::Tree,
    path: Arc<PathBuf>,
}

impl State {
    /// Opens the tables, or creates empty ones. What they say is not to be believed before
    /// [`Self::load`].
    ///
    /// # Errors
    /// `STORE-STATE`, `STORE-IO`.
    pub(crate) fn open(path: &Path, owner: Owner) -> Result<Self, StoreError> {
        let (db, tree) = open_tree(path)?;
        let file_path = path.join("db");
        let file = File::open(&file_path).context("open", &file_path)?;
        // sled creates its files without syncing their names.
        files::sync_dir(path)?;
        let reader = StateReader { tree, path: Arc::new(path.to_path_buf()) };
        let mark = reader.mark()?;
        Ok(Self { reader, db, file, owner, mark })
    }

    /// Throws away everything in this place, whatever it is.
    ///
    /// # Errors
    /// `STORE-IO`.
    pub(crate) fn discard(path: &Path) -> Result<(), StoreError> {
        let gone = match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => Err(error),
        };
        gone.context("remove", path)?;
        path.parent().map_or(Ok(()), files::sync_dir)
    }

    /// What the rows reflect, if they are this owner's.
    pub(crate) fn mark(&self) -> Option<&Mark> {
        self.mark_of_network().filter(|mark| mark.logs == self.owner.logs)
    }

    /// What the rows reflect, if they are of this owner's network.
    pub(crate) fn mark_of_network(&self) -> Option<&Mark> {
        let known = |mark: &&Mark| mark.version == TABLES_VERSION && mark.network == self.owner.network;
        self.mark.as_ref().filter(known)
    }

    /// How to read the tables.
    pub(crate) fn reader(&self) -> &StateReader {
        &self.reader
    }

    /// Adds the rows of the block at this height, all or none of them.
    ///
    /// # Errors
    /// `STORE-STATE`.
    pub(crate) fn apply(&mut self, mut rows: Rows, height: Height, ends: LogEnds) -> Result<(), StoreError> {
        for &(member, day) in &rows.dropped_days {
            for row in self.reader.rows(&rows::day_key(member, day)) {
                rows.batch.remove(row?.0);
            }
        }
        let mut fixed = self.mark.as_ref().map_or(Digest::default(), |mark| mark.fixed);
        fixed.join(rows.fixed);
        let mark = Mark {
            version: TABLES_VERSION,
            network: self.owner.network,
            logs: self.owner.logs,
            height,
            watermark: ends.watermark,
            entries_end: ends.entries,
            blocks_end: ends.blocks,
            fixed,
        };
        rows.batch.insert(&[rows::MARK], codec::encode(&mark));
        guarded(&self.reader.path, || self.reader.tree.apply_batch(rows.batch))?;
        self.mark = Some(mark);
        Ok(())
    }

    /// Makes everything applied so far durable.
    ///
    /// # Errors
    /// `STORE-STATE`, `STORE-IO`.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        guarded(&self.reader.path, || self.db.flush())?;
        self.file.sync_data().context("sync", &self.reader.path)
    }

    /// The ledger at the mark, from rows that are checked but for the root of the state:
    /// comparing that with the certified one is up to the caller.
    ///
    /// # Errors
    /// `STORE-STATE` naming what does not fit.
    pub(crate) fn load(&self, block: BlockId) -> Result<Ledger, StoreError> {
        let failed = RefCell::new(None);
        let values = catching(&failed, self.reader.rows(&[rows::STATE]));
        let values = values.filter_map(|(key, value)| Some((key.split_first()?.1.to_vec(), value.to_vec())));
        let runs = Runs { rows: catching(&failed, self.reader.rows(&[rows::RUNS])), held: None };
        let ledger = Ledger::load(block, values, runs);
        if let Some(error) = failed.into_inner() {
            return Err(error);
        }
        self.check_fixed()?;
        ledger.map_err(|error| self.reader.problem(error))
    }

    /// Whether every row that never changes is there, unchanged.
    fn check_fixed(&self) -> Result<(), StoreError> {
        let mut found = Digest::default();
        for table in rows::FIXED {
            for row in self.reader.rows(&[table]) {
                let (key, value) = row?;
                found.add(&key, &value);
            }
        }
        let expected = self.mark.as_ref().map(|mark| mark.fixed);
        if expected == Some(found) {
            Ok(())
        } else {
            Err(self.reader.problem("rows of the indexes are missing"))
        }
    }
}

type Row = (sled::IVec, sled::IVec);

/// Opens sled. The caller holds the lock of the data directory, so if sled finds its file
/// locked, that is by an instance of this process which was dropped: it closes the file
/// when it next collects garbage.
fn open_tree(path: &Path) -> Result<(sled::Db, sled::Tree), StoreError> {
    let open = || {
        let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let db = config.open()?;
        let tree = db.open_tree("tables")?;
        Ok((db, tree))
    };
    let mut attempts = 1..OPEN_ATTEMPTS_MAX;
    loop {
        match guarded(path, open) {
            Err(StoreError::State { problem, .. })
                if problem.contains("could not acquire lock") && attempts.next().is_some() =>
            {
                thread::sleep(OPEN_RETRY);
            }
            result => return result,
        }
    }
}

/// Runs an action of sled; errors and panics are its failure, not ours.
fn guarded<T>(path: &Path, action: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    let problem = match catch_unwind(AssertUnwindSafe(action)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "sled panicked".to_owned(),
    };
    Err(StoreError::State { path: path.to_path_buf(), problem })
}

/// The rows up to the first error, which goes to `failed`.
fn catching<'a, T>(
    failed: &'a RefCell<Option<StoreError>>,
    rows: impl Iterator<Item = Result<T, StoreError>> + 'a,
) -> impl Iterator<Item = T> + 'a {
    rows.map_while(|row| match row {
        Ok(row) => Some(row),
        Err(error) => {
            failed.borrow_mut().get_or_insert(error);
            None
        }
    })
}

/// Puts the rows of each run together.
struct Runs<I> {
    rows: I,
    held: Option<(EventRunKey, Vec<EventId>)>,
}

impl<I: Iterator<Item = Row>> Iterator for Runs<I> {
    type Item = EventRun;

    fn next(&mut self) -> Option<EventRun> {
        // Rows of another form are left out: then the ids do not match the state.
        for (key, ids) in self.rows.by_ref().filter_map(|(key, value)| rows::run_of(&key, &value)) {
            match &mut self.held {
                Some((held, more)) if *held == key => more.extend(ids),
                held => {
                    if let Some(run) = held.replace((key, ids)) {
                        return Some(run_from(run));
                    }
                }
            }
        }
        self.held.take().map(run_from)
    }
}

fn run_from((key, ids): (EventRunKey, Vec<EventId>)) -> EventRun {
    EventRun { member: key.member, day: key.day, height: key.height, ids: ids.into() }
}

impl StateReader {
    pub(super) fn problem(&self, problem: impl ToString) -> StoreError {
        StoreError::State { path: PathBuf::clone(&self.path), problem: problem.to_string() }
    }

    fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        guarded(&self.path, || self.tree.get(key))
    }

    /// The last row at or before a key, if its key begins with `prefix`.
    fn at_or_before(&self, key: &[u8], prefix: &[u8]) -> Result<Option<Row>, StoreError> {
        let row = guarded(&self.path, || self.tree.range(..=key).next_back().transpose())?;
        Ok(row.filter(|(found, _)| found.starts_with(prefix)))
    }

    /// All rows whose keys begin with these bytes, in order.
    fn rows(&self, prefix: &[u8]) -> impl Iterator<Item = Result<Row, StoreError>> + use<> {
        let (mut rows, path) = (self.tree.scan_prefix(prefix), Arc::clone(&self.path));
        std::iter::from_fn(move || guarded(&path, || rows.next().transpose()).transpose())
    }

    fn decode<T: Serialize + DeserializeOwned>(&self, value: &[u8]) -> Result<T, StoreError> {
        codec::decode(value, VALUE_BYTES_MAX).map_err(|error| self.problem(error))
    }

    /// What the rows reflect; none if there is no mark of this version.
    fn mark(&self) -> Result<Option<Mark>, StoreError> {
        Ok(self.get(&[rows::MARK])?.and_then(|value| codec::decode(&value, VALUE_BYTES_MAX).ok()))
    }

    /// Where a block lies.
    ///
    /// # Errors
    /// `STORE-STATE`; so for all reads.
    pub(crate) fn block(&self, height: Height) -> Result<Option<BlockRow>, StoreError> {
        let value = self.get(&rows::index_key(rows::BLOCKS, height.get()))?;
        value.map(|value| self.decode(&value)).transpose()
    }

    /// Height, id and place of the entry at a log index.
    pub(crate) fn sealed(&self, index: u64) -> Result<Option<(Height, EntryId, Location)>, StoreError> {
        let Some((within, value)) = self.chunk(rows::SEALED, index)? else { return Ok(None) };
        let chunk: SealedChunk = self.decode(&value)?;
        Ok(chunk.entries.get(within).map(|(id, location)| (chunk.height, *id, *location)))
    }

    /// The outcome of the entry at a log index.
    pub(crate) fn outcome(&self, index: u64) -> Result<Option<Outcome>, StoreError> {
        let Some((within, value)) = self.chunk(rows::OUTCOMES, index)? else { return Ok(None) };
        let outcomes: Vec<Outcome> = self.decode(&value)?;
        Ok(outcomes.into_iter().nth(within))
    }

    /// The row that would have this index, and its position in there.
    fn chunk(&self, table: u8, index: u64) -> Result<Option<(usize, sled::IVec)>, StoreError> {
        let Some((key, value)) = self.at_or_before(&rows::index_key(table, index), &[table])? else {
            return Ok(None);
        };
        let first = key.split_first().and_then(|(_, first)| <[u8; 8]>::try_from(first).ok());
        let within = first.and_then(|first| index.checked_sub(u64::from_be_bytes(first)));
        Ok(within.and_then(|within| Some((usize::try_from(within).ok()?, value))))
    }

    /// The log index of an entry.
    pub(crate) fn index_of(&self, id: &EntryId) -> Result<Option<u64>, StoreError> {
        let value = self.get(&rows::id_key(id))?;
        let index = |value: sled::IVec| <[u8; 8]>::try_from(value.as_ref()).map(u64::from_be_bytes);
        value.map(index).transpose().map_err(|_| self.problem("a row of ids is malformed"))
    }

    /// A state value as it was after the block at `height` (the newest, if that is later
    /// than all blocks). None if there was none.
    pub(crate) fn value_at(&self, key: &[u8], height: Height) -> Result<Option<Vec<u8>>, StoreError> {
        let last = rows::history_key(key, height);
        let prefix = last.get(..last.len().saturating_sub(8)).unwrap_or_default();
        let Some((found, value)) = self.at_or_before(&last, prefix)? else { return Ok(None) };
        match value.split_first() {
            Some((1, value)) if found.len() == last.len() => Ok(Some(value.to_vec())),
            Some((0, [])) if found.len() == last.len() => Ok(None),
            _ => Err(self.problem("a row of history is malformed")),
        }
    }
}
