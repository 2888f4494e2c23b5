//! Append-only logs in segment files: the truth of this node.
//!
//! A log is a directory of files `<number of the first record, 20 digits>.seg`
//! ([`segment`] draws their bytes). Records are appended to the last one, which is closed
//! at [`LogConfig::segment_bytes_max`].
//!
//! *Invariants.* [`Log::sync`] returns only when every record appended before is on disk,
//! names included. A segment is durable as a whole before the next exists, so only the last
//! one can end in a torn tail. After a failed write or fsync the log takes nothing more: the
//! kernel may have dropped the pages and report the next fsync as done (Rebello et al., "Can
//! Applications Recover from fsync Failures?", ATC 2020).
//!
//! *What a crash leaves.* Up to a batch (everything appended since the last `sync`) in any
//! condition; none of it was acknowledged. [`FoundLog::open`] finds where the whole records
//! end; a broken one with a later batch behind it is damage, not a crash, and is refused.
//!
//! *Deliberately absent:* what the records mean; deletion.

mod reader;
mod segment;
#[cfg(test)]
mod tests;

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syngraph_protocol::ids::NetworkId;

pub(crate) use self::reader::{LogReader, Scan};
use self::segment::{HEADER_BYTES, Opened, Segment, Step, Walk};
use super::error::{Context, StoreError};
use super::files;

/// When a segment is closed, in bytes.
const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most bytes that wait in memory; beyond, they are written without being synced.
const BUFFER_BYTES_MAX: usize = 1024 * 1024;

/// What tells one log from another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogConfig {
    /// Whose history it holds.
    pub(crate) network: NetworkId,
    /// Longest record, in bytes; under 2³¹.
    pub(crate) record_bytes_max: u32,
    /// A segment that would grow beyond this is closed, in bytes.
    pub(crate) segment_bytes_max: u64,
}

impl LogConfig {
    /// A log with segments of the usual size.
    pub(crate) const fn new(network: NetworkId, record_bytes_max: u32) -> Self {
        Self { network, record_bytes_max, segment_bytes_max: SEGMENT_BYTES_MAX }
    }
}

/// A place between records. Later records lie at greater positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Number of the first record of the segment.
    pub(crate) segment: u64,
    /// Bytes from the start of the file.
    pub(crate) offset: u64,
}

impl Position {
    /// Before the first record.
    pub(crate) const START: Self = Self { segment: 0, offset: HEADER_BYTES };
}

/// Where a record lies. Later records compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Location {
    segment: u64,
    offset: u64,
    len: u32,
}

impl Location {
    /// Where its frame begins.
    pub(crate) const fn position(self) -> Position {
        Position { segment: self.segment, offset: self.offset }
    }

    /// Where its frame ends.
    pub(crate) fn end(self) -> Position {
        Position { segment: self.segment, offset: self.next_offset() }
    }
}

/// A log as start-up finds it: inspected, not changed.
pub(crate) struct FoundLog {
    reader: LogReader,
    last: Option<Found>,
}

struct Found {
    number: u64,
    /// None if its header never became durable.
    segment: Option<Arc<Segment>>,
    /// Where its whole records end.
    end: u64,
    file_bytes: u64,
    records: u64,
}

impl FoundLog {
    /// Looks at a log. A directory that does not exist is an empty log.
    ///
    /// # Errors
    /// `STORE-CORRUPT` if a broken record in the last segment is not a torn tail,
    /// `STORE-NETWORK`, `STORE-IO`.
    pub(crate) fn open(dir: &Path, config: LogConfig) -> Result<Self, StoreError> {
        files::create_dir(dir)?;
        let reader = LogReader::new(dir, config);
        let last =
            reader::segment_numbers(dir)?.last().map(|&number| inspect(&reader, number)).transpose()?;
        Ok(Self { reader, last })
    }

    /// Where the whole records end.
    pub(crate) fn end(&self) -> Position {
        self.last.as_ref().map_or(Position::START, |f| Position { segment: f.number, offset: f.end })
    }

    /// How many whole records there are.
    pub(crate) fn records(&self) -> u64 {
        self.last.as_ref().map_or(0, |found| found.number.saturating_add(found.records))
    }

    /// How to read it.
    pub(crate) fn reader(&self) -> &LogReader {
        &self.reader
    }

    /// Identifies this log among all logs: the salt of its first segment. None before
    /// there is one.
    ///
    /// # Errors
    /// `STORE-CORRUPT`, `STORE-IO`.
    pub(crate) fn identity(&self) -> Result<Option<u64>, StoreError> {
        match &self.last {
            None | Some(Found { number: 0, segment: None, .. }) => Ok(None),
            Some(_) => self.reader.identity().map(Some),
        }
    }

    /// Cuts the torn tail and goes on from there. What is left is durable when this returns,
    /// whatever the run before had synced.
    ///
    /// # Errors
    /// `STORE-IO`.
    pub(crate) fn into_log(self) -> Result<Log, StoreError> {
        let Self { reader, last } = self;
        let (segment, end, records) = match last {
            Some(Found { segment: Some(segment), end, file_bytes, records, number }) => {
                if end < file_bytes {
                    cut(&segment, end, file_bytes)?;
                }
                files::sync_found(&segment.file, &segment.path)?;
                files::sync_dir(&reader.dir)?;
                (segment, end, number.saturating_add(records))
            }
            unborn => {
                let number = unborn.map_or(0, |found| found.number);
                let segment = Segment::create(&reader.dir, number, reader.config.network)?;
                (Arc::new(segment), HEADER_BYTES, number)
            }
        };
        reader.keep(&segment);
        let durable = Position { segment: segment.number, offset: end };
        let (buffer, in_batch, poisoned) = (Vec::new(), false, false);
        Ok(Log { reader, segment, end, durable, records, buffer, in_batch, poisoned })
    }
}

/// Finds where the whole records of the last segment end.
fn inspect(reader: &LogReader, number: u64) -> Result<Found, StoreError> {
    let segment = match Segment::open(&reader.dir, number, reader.config.network)? {
        Opened::Whole(segment) => Arc::new(segment),
        Opened::Unborn => {
            return Ok(Found { number, segment: None, end: HEADER_BYTES, file_bytes: 0, records: 0 });
        }
    };
    let file_bytes = segment.file_bytes()?;
    let mut walk = Walk::new(Arc::clone(&segment), HEADER_BYTES, file_bytes, &reader.config);
    let mut records = 0_u64;
    while let Step::Record(..) = walk.step()? {
        records = records.saturating_add(1);
    }
    let end = walk.offset();
    let behind = if end < file_bytes { end.saturating_add(1) } else { end };
    if let Some(later) = segment.find_batch_start(behind, reader.config.record_bytes_max)? {
        let problem = format!("the record is broken and a later batch follows at byte {later}");
        return Err(StoreError::corrupt(&segment.path, end, problem));
    }
    Ok(Found { number, segment: Some(segment), end, file_bytes, records })
}

/// A crash in here leaves the tail whole, cut in part, or cut: start-up finds the same end.
fn cut(segment: &Segment, end: u64, file_bytes: u64) -> Result<(), StoreError> {
    let lost = file_bytes.saturating_sub(end);
    tracing::warn!(file = %segment.path.display(), offset = end, bytes = lost, "cutting a torn tail");
    segment.file.set_len(end).context("cut", &segment.path)
}

/// The writer of a log.
pub(crate) struct Log {
    reader: LogReader,
    segment: Arc<Segment>,
    /// Where the next frame goes: the file's end plus the buffer.
    end: u64,
    /// Everything before it is on disk.
    durable: Position,
    records: u64,
    /// Frames not yet written.
    buffer: Vec<u8>,
    /// Whether a frame was appended since the last sync.
    in_batch: bool,
    poisoned: bool,
}

impl Log {
    /// How to read it. A record can be read once a `sync` after it has returned.
    pub(crate) fn reader(&self) -> &LogReader {
        &self.reader
    }

    /// Where the next record goes.
    pub(crate) fn end(&self) -> Position {
        Position { segment: self.segment.number, offset: self.end }
    }

    /// Everything before it is durable.
    pub(crate) fn durable(&self) -> Position {
        self.durable
    }

    /// Appends a record. A crash before the next [`Self::sync`] returns may lose it.
    ///
    /// # Errors
    /// `STORE-RECORD-LENGTH`, and nothing changes; `STORE-POISONED`, `STORE-IO`.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<Location, StoreError> {
        self.check_sound()?;
        let max = self.reader.config.record_bytes_max;
        let len = u32::try_from(bytes.len()).ok().filter(|len| (1..=max).contains(len));
        let len = len.ok_or(StoreError::RecordLength { len: bytes.len(), max: max as usize })?;
        let mut location = Location { segment: self.segment.number, offset: self.end, len };
        if location.next_offset() > self.reader.config.segment_bytes_max && self.end > HEADER_BYTES {
            self.guarded(Self::roll)?;
            location = Location { segment: self.segment.number, offset: self.end, len };
        }
        self.segment.frame(!self.in_batch, bytes, &mut self.buffer);
        self.in_batch = true;
        self.end = location.next_offset();
        self.records = self.records.saturating_add(1);
        if self.buffer.len() >= BUFFER_BYTES_MAX {
            self.guarded(Self::write)?;
        }
        Ok(location)
    }

    /// Makes everything appended so far durable. False if there was nothing new, at no cost.
    ///
    /// # Errors
    /// `STORE-POISONED`, `STORE-IO`: then nothing since the last sync may be acknowledged,
    /// and nothing ever after.
    pub(crate) fn sync(&mut self) -> Result<bool, StoreError> {
        self.check_sound()?;
        if !self.in_batch {
            return Ok(false);
        }
        self.guarded(Self::write_and_sync)?;
        Ok(true)
    }

    fn write_and_sync(&mut self) -> Result<(), StoreError> {
        self.write()?;
        // A crash before the next line returns leaves any part of the batch.
        self.segment.file.sync_data().context("sync", &self.segment.path)?;
        self.in_batch = false;
        self.durable = self.end();
        Ok(())
    }

    fn write(&mut self) -> Result<(), StoreError> {
        let at = self.end.saturating_sub(self.buffer.len() as u64);
        self.segment.file.write_all_at(&self.buffer, at).context("write", &self.segment.path)?;
        self.buffer.clear();
        Ok(())
    }

    /// Closes the segment and begins the next. A crash between the two leaves a whole
    /// segment as the last.
    fn roll(&mut self) -> Result<(), StoreError> {
        self.write_and_sync()?;
        let segment = Segment::create(&self.reader.dir, self.records, self.reader.config.network)?;
        self.segment = Arc::new(segment);
        self.reader.keep(&self.segment);
        self.end = HEADER_BYTES;
        self.durable = self.end();
        Ok(())
    }

    fn guarded(&mut self, action: fn(&mut Self) -> Result<(), StoreError>) -> Result<(), StoreError> {
        // A second failure inside must not find the log sound either.
        self.poisoned = true;
        action(self)?;
        self.poisoned = false;
        Ok(())
    }

    fn check_sound(&self) -> Result<(), StoreError> {
        if self.poisoned {
            return Err(StoreError::Poisoned { path: PathBuf::clone(&self.reader.dir) });
        }
        Ok(())
    }
}
