//! Start-up: what a crash, a full disk or a careless copy left, and what is made of it.
//!
//! 1. Both logs are inspected. Damage in them ends the start with its place.
//! 2. `state/` is believed if it opens, belongs to these logs, every row that never changes
//!    is there, and the state it holds has the root that the block of its height certifies.
//!    Otherwise it is discarded and begun again from genesis.
//! 3. If `state/` has seen more of a log than there is now, the log has lost acknowledged
//!    bytes: that ends the start too.
//! 4. Torn tails are cut, and what is left is synced: whoever was killed between a write and
//!    its sync has left it in memory only.
//! 5. The blocks above the state are replayed, certificates, entries and roots verified, with
//!    the code that an auditor uses.
//! 6. What is left of the entries is pending; what is left in `undecided/` is undecided.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;

use syngraph_protocol::block::{Block, Cut, NO_BLOCK};
use syngraph_protocol::entry::{EntryError, VerifiedEntry};
use syngraph_protocol::genesis::{Charter, Genesis};
use syngraph_protocol::ids::{Height, NetworkId, Seq};
use syngraph_protocol::ledger::Ledger;
use syngraph_protocol::limits::ENTRY_BYTES_MAX;
use syngraph_protocol::replay;

use super::commit::Flushes;
use super::error::StoreError;
use super::lock::DirLock;
use super::log::{FoundLog, Location, Log, LogConfig, LogReader, Position, Scan};
use super::reader::{BLOCK_RECORD_BYTES_MAX, BlockRecord, Reader, StoreTip, decode_block, read_block};
use super::state::{LogEnds, Mark, Owner, Rows, State};
use super::undecided::{Kept, Undecided};
use super::unsealed::{EntryKey, Unsealed, key_of, keys_up_to, lapsed_from};
use super::{Store, files};

/// How many entries are verified together.
const ENTRIES_PER_PULL: usize = 512;

/// What start-up found.
pub(crate) struct Recovered {
    /// The state after the last decided block.
    pub(crate) ledger: Ledger,
    /// Durable entries that no block covers, in order of arrival.
    pub(crate) pending: Vec<VerifiedEntry>,
    /// Blocks above the last decided height that this node judged, or proposed in a round.
    pub(crate) undecided: Vec<Kept>,
    /// Whether `state/` was of no use although there are blocks.
    pub(crate) rebuilt: bool,
    /// How many blocks were replayed.
    pub(crate) replayed_blocks: u64,
}

impl Store {
    /// Opens a data directory, or begins one, for a genesis that was verified.
    ///
    /// # Errors
    /// `STORE-LOCKED`; `STORE-NETWORK` if it holds another network's history;
    /// `STORE-CORRUPT` if a log is damaged; `STORE-REPLAY` if a decided block does not
    /// replay; `STORE-STATE`, `STORE-IO`.
    pub(crate) fn open(dir: &Path, genesis: &Genesis) -> Result<(Self, Recovered), StoreError> {
        files::create_dir(dir)?;
        let lock = DirLock::take(dir)?;
        files::create_dir(&dir.join("wal"))?;
        let found = Found::open(dir, genesis.charter.network())?;
        let blocks_tip = Height::new(found.blocks.records());
        let kept = found.state()?;
        let entries = found.entries.into_log()?;
        let blocks = found.blocks.into_log()?;
        let kept = kept.and_then(|state| resume(state, blocks.reader(), &genesis.charter).transpose());
        let resumed = kept.is_some();
        let start =
            kept.unwrap_or_else(|| begin_again(&found.state_path, &entries, &blocks, &genesis.charter))?;
        let Start { state, ledger, replay_from, watermark } = start;
        let tip = tip_of(&ledger);
        tracing::info!(from = %tip.height, to = %blocks_tip, resumed, "replaying decided blocks");
        let (undecided, undecided_blocks) = Undecided::open(&dir.join("undecided"), blocks_tip)?;
        // The names of all of these: the run that made them may have been killed before it
        // had synced them.
        files::sync_dir(dir)?;
        let reader = Reader::new(entries.reader(), blocks.reader(), state.reader(), tip);
        let mut store = Self {
            dir: dir.to_path_buf(),
            entries,
            blocks,
            state,
            undecided,
            unsealed: Unsealed::default(),
            flushes: Flushes::new(),
            reader,
            broken: false,
            _lock: lock,
        };
        let mut arrivals = Arrivals::from(&store.entries, watermark)?;
        let ledger = store.replay(ledger, replay_from, &mut arrivals)?;
        let pending = arrivals.rest(&ledger, &mut store.unsealed)?;
        store.mark_ends(ledger.height())?;
        let replayed_blocks = ledger.height().since(tip.height).unwrap_or(0);
        let rebuilt = !resumed && blocks_tip > Height::GENESIS;
        Ok((store, Recovered { ledger, pending, undecided: undecided_blocks, rebuilt, replayed_blocks }))
    }

    /// Replays the blocks from a position of the blocks log.
    fn replay(
        &mut self,
        mut ledger: Ledger,
        from: Position,
        arrivals: &mut Arrivals,
    ) -> Result<Ledger, StoreError> {
        let blocks = self.blocks.reader().clone();
        for record in blocks.scan(from, self.blocks.end())? {
            let (location, bytes) = record?;
            let record = decode_block(&blocks, location, &bytes)?;
            let height = record.block.header.height;
            if ledger.height().next() != Some(height) {
                let (path, offset) = blocks.place(location.position());
                let problem = format!("height {height} follows height {}", ledger.height());
                return Err(StoreError::corrupt(&path, offset, problem));
            }
            let entries = arrivals.under(&record.block, &ledger, &mut self.unsealed)?;
            let executed = replay::step(&ledger, &record.block, &record.certificate, entries)
                .map_err(|source| StoreError::Replay { height, source: Box::new(source) })?;
            let locations = self.locate(&executed)?;
            self.index(&executed, location, &locations)?;
            arrivals.cover(&record.block.cut);
            ledger = executed.ledger;
        }
        Ok(ledger)
    }
}

fn tip_of(ledger: &Ledger) -> StoreTip {
    StoreTip { height: ledger.height(), block: ledger.block_id(), log_size: ledger.log_size() }
}

/// The logs before anything is changed.
struct Found {
    entries: FoundLog,
    blocks: FoundLog,
    network: NetworkId,
    state_path: PathBuf,
}

impl Found {
    fn open(dir: &Path, network: NetworkId) -> Result<Self, StoreError> {
        let config = |bytes_max: usize| {
            LogConfig::new(network, u32::try_from(bytes_max).expect("the limits of records have few digits"))
        };
        let entries = FoundLog::open(&dir.join("entries"), config(ENTRY_BYTES_MAX))?;
        let blocks = FoundLog::open(&dir.join("blocks"), config(BLOCK_RECORD_BYTES_MAX))?;
        Ok(Self { entries, blocks, network, state_path: dir.join("state") })
    }

    /// The state directory, if it belongs to these logs.
    fn state(&self) -> Result<Option<State>, StoreError> {
        if !self.state_path.exists() {
            return Ok(None);
        }
        let identities = [self.entries.identity()?, self.blocks.identity()?];
        let owner = Owner { network: self.network, logs: identities.map(Option::unwrap_or_default) };
        let state = match State::open(&self.state_path, owner) {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(%error, "state/ does not open");
                return Ok(None);
            }
        };
        // Where a log is gone or empty nobody can tell whose the state is. If it has seen
        // records, they are lost: beginning again would found another history.
        let mark = if identities.contains(&None) { state.mark_of_network() } else { state.mark() };
        match mark {
            Some(mark) => self.check_ends(mark)?,
            None => {
                tracing::warn!("state/ is empty or was made for other logs");
                return Ok(None);
            }
        }
        Ok(state.mark().is_some().then_some(state))
    }

    /// Whether the logs still have everything that was durable when the mark was written.
    fn check_ends(&self, mark: &Mark) -> Result<(), StoreError> {
        for (log, was) in [(&self.entries, mark.entries_end), (&self.blocks, mark.blocks_end)] {
            if log.end() < was {
                let (path, offset) = log.reader().place(log.end());
                let (lost, until) = log.reader().place(was);
                let problem =
                    format!("whole records end here and once went on to byte {until} of {}", lost.display());
                return Err(StoreError::corrupt(&path, offset, problem));
            }
        }
        Ok(())
    }
}

/// A state and where the logs go on from it.
struct Start {
    state: State,
    ledger: Ledger,
    replay_from: Position,
    watermark: Position,
}

/// Goes on from the state that was kept. None, with the reason in the log, if it is not
/// what the blocks certify.
fn resume(state: State, blocks: &LogReader, charter: &Charter) -> Result<Option<Start>, StoreError> {
    match proved(&state, blocks, charter) {
        Ok((ledger, replay_from, watermark)) => Ok(Some(Start { state, ledger, replay_from, watermark })),
        Err(error @ StoreError::State { .. }) => {
            tracing::warn!(%error, "state/ cannot be believed");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The ledger at the mark, proved by the block of its height, and where the blocks after it
/// and the entries not before it begin.
fn proved(
    state: &State,
    blocks: &LogReader,
    charter: &Charter,
) -> Result<(Ledger, Position, Position), StoreError> {
    let problem = |what: &str| state.reader().problem(what);
    let mark = state.mark().ok_or_else(|| problem("there is no mark"))?;
    if mark.height == Height::GENESIS {
        let ledger = state.load(NO_BLOCK)?;
        let founded = ledger.state_root() == Ledger::genesis(charter).state_root();
        return if founded {
            Ok((ledger, Position::START, mark.watermark))
        } else {
            Err(problem("it is not what the genesis file founds"))
        };
    }
    let row = state.reader().block(mark.height)?.ok_or_else(|| problem("its block is missing"))?;
    let ledger = state.load(row.id)?;
    let BlockRecord { block, .. } = read_block(blocks, row.location)?;
    let certified = block.id() == row.id
        && block.header.height == mark.height
        && block.header.state_root == ledger.state_root();
    if certified {
        Ok((ledger, row.location.end(), mark.watermark))
    } else {
        Err(problem("its root is not the one that its block certifies"))
    }
}

/// Begins from genesis. A crash in here leaves a state directory without a mark, or one at
/// some height that was replayed.
fn begin_again(path: &Path, entries: &Log, blocks: &Log, charter: &Charter) -> Result<Start, StoreError> {
    State::discard(path)?;
    let ledger = Ledger::genesis(charter);
    let logs = [entries.reader().identity()?, blocks.reader().identity()?];
    let mut state = State::open(path, Owner { network: ledger.network(), logs })?;
    let watermark = Position::START;
    let ends = LogEnds { watermark, entries: entries.durable(), blocks: blocks.durable() };
    state.apply(Rows::genesis(&ledger.dump()), Height::GENESIS, ends)?;
    Ok(Start { state, ledger, replay_from: Position::START, watermark })
}

/// The entries log, read once from front to back.
struct Arrivals {
    scan: Scan,
    reader: LogReader,
    end: Position,
    /// Read and not yet under a block.
    waiting: BTreeMap<EntryKey, (Location, VerifiedEntry)>,
}

impl Arrivals {
    fn from(entries: &Log, watermark: Position) -> Result<Self, StoreError> {
        let (reader, end) = (entries.reader().clone(), entries.end());
        Ok(Self { scan: reader.scan(watermark, end)?, reader, end, waiting: BTreeMap::new() })
    }

    /// The entries that a block covers.
    fn under(
        &mut self,
        block: &Block,
        ledger: &Ledger,
        unsealed: &mut Unsealed,
    ) -> Result<Vec<VerifiedEntry>, StoreError> {
        let mut entries = Vec::new();
        for point in &block.cut.points {
            let first = ledger.journal_tip(&point.journal).next;
            let (mut seq, mut id) = (point.seq, point.entry);
            // From the cut backwards, since each entry names the one before.
            while seq >= first {
                let entry = self.find(&(point.journal, seq, id), block, ledger, unsealed)?;
                id = entry.head().prev;
                entries.push(entry);
                match seq.get().checked_sub(1) {
                    Some(before) => seq = Seq::new(before),
                    None => break,
                }
            }
        }
        Ok(entries)
    }

    fn find(
        &mut self,
        key: &EntryKey,
        block: &Block,
        ledger: &Ledger,
        unsealed: &mut Unsealed,
    ) -> Result<VerifiedEntry, StoreError> {
        loop {
            if let Some((_, entry)) = self.waiting.get(key) {
                return Ok(entry.clone());
            }
            if !self.pull(ledger, unsealed)? {
                let (path, offset) = self.reader.place(self.end);
                let (journal, seq, id) = key;
                let height = block.header.height;
                let problem = format!(
                    "block {height} covers entry {id} ({seq} of journal {journal}), which is not here"
                );
                return Err(StoreError::corrupt(&path, offset, problem));
            }
        }
    }

    /// Reads on. False at the end of the log.
    fn pull(&mut self, ledger: &Ledger, unsealed: &mut Unsealed) -> Result<bool, StoreError> {
        let records = self.scan.by_ref().take(ENTRIES_PER_PULL).collect::<Result<Vec<_>, _>>()?;
        for ((location, _), entry) in records.iter().zip(verify_all(&records, ledger.network())) {
            let entry = entry.map_err(|error| {
                let (path, offset) = self.reader.place(location.position());
                StoreError::bad_entry(&path, offset, &error)
            })?;
            // What lies below the tip of its journal is sealed, or a branch that can't be.
            if entry.head().seq >= ledger.journal_tip(&entry.head().journal).next {
                unsealed.insert(&entry, *location);
                self.waiting.entry(key_of(&entry)).or_insert((*location, entry));
            }
        }
        Ok(!records.is_empty())
    }

    /// Forgets what a cut covers.
    fn cover(&mut self, cut: &Cut) {
        for point in &cut.points {
            let covered = self.waiting.range(keys_up_to(point.journal, point.seq));
            for key in covered.map(|(key, _)| *key).collect::<Vec<_>>() {
                self.waiting.remove(&key);
            }
        }
    }

    /// Everything that no block covers and one may, in order of arrival.
    fn rest(mut self, ledger: &Ledger, unsealed: &mut Unsealed) -> Result<Vec<VerifiedEntry>, StoreError> {
        while self.pull(ledger, unsealed)? {}
        unsealed.lapse(ledger);
        let mut rest: Vec<_> = self.waiting.into_values().collect();
        rest.retain(|(_, entry)| {
            let end = lapsed_from(ledger, &entry.head().journal);
            end.is_none_or(|end| entry.head().seq < end)
        });
        rest.sort_unstable_by_key(|(location, _)| *location);
        Ok(rest.into_iter().map(|(_, entry)| entry).collect())
    }
}

/// Verifies entries on all cores: signatures are nearly all of the work.
fn verify_all(records: &[(Location, Vec<u8>)], network: NetworkId) -> Vec<Result<VerifiedEntry, EntryError>> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let verify = move |part: &[(Location, Vec<u8>)]| -> Vec<_> {
        part.iter().map(|(_, bytes)| VerifiedEntry::decode(bytes, network)).collect()
    };
    thread::scope(|scope| {
        let parts = records.chunks(records.len().div_ceil(threads).max(1));
        let parts: Vec<_> = parts.map(|part| scope.spawn(move || verify(part))).collect();
        parts.into_iter().flat_map(|part| part.join().expect("decoding never panics")).collect()
    })
}
