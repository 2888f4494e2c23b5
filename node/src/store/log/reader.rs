//! Reading a log while its writer appends.
//!
//! *Invariant.* What is returned passed its checksum. *Deliberately absent:* knowledge of
//! what is durable; callers ask only for records whose place they were given.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::segment::{FRAME_BYTES, HEADER_BYTES, Segment, Step, Walk};
use super::{Location, LogConfig, Position};
use crate::store::error::{Context, StoreError};

/// Most segments that are kept open.
const OPEN_SEGMENTS_MAX: usize = 64;

/// A cloneable reader of one log.
#[derive(Clone, Debug)]
pub(crate) struct LogReader {
    pub(super) dir: Arc<PathBuf>,
    pub(super) config: LogConfig,
    open: Arc<Mutex<BTreeMap<u64, Arc<Segment>>>>,
}

impl LogReader {
    pub(super) fn new(dir: &Path, config: LogConfig) -> Self {
        Self { dir: Arc::new(dir.to_path_buf()), config, open: Arc::default() }
    }

    /// The record at a place.
    ///
    /// # Errors
    /// `STORE-CORRUPT` if no whole record of this length stands there, `STORE-IO`.
    pub(crate) fn read(&self, location: Location) -> Result<Vec<u8>, StoreError> {
        if location.len > self.config.record_bytes_max {
            let (path, offset) = self.place(location.position());
            return Err(StoreError::corrupt(&path, offset, "its index row names an impossible length"));
        }
        self.segment(location.segment)?.read(location)
    }

    /// The file and offset of a position, for messages.
    pub(crate) fn place(&self, position: Position) -> (PathBuf, u64) {
        (Segment::path_of(&self.dir, position.segment), position.offset)
    }

    /// Identifies this log among all logs: the salt of its first segment.
    ///
    /// # Errors
    /// `STORE-CORRUPT`, `STORE-IO`.
    pub(crate) fn identity(&self) -> Result<u64, StoreError> {
        Ok(u64::from_le_bytes(self.segment(0)?.salt))
    }

    /// The records from one position (of a record, or an end) to another, in order.
    ///
    /// # Errors
    /// `STORE-CORRUPT` if `from` lies outside the log.
    pub(crate) fn scan(&self, from: Position, until: Position) -> Result<Scan, StoreError> {
        let numbers = segment_numbers(&self.dir)?;
        let within = numbers.into_iter().filter(|n| (from.segment..=until.segment).contains(n));
        let mut scan = Scan { reader: self.clone(), left: within.collect(), walk: None, number: None, until };
        if from >= until {
            scan.left.clear();
        } else if scan.left.front() != Some(&from.segment) {
            let (path, offset) = self.place(from);
            return Err(StoreError::corrupt(&path, offset, "this segment is missing"));
        } else {
            scan.enter(from.offset)?;
        }
        Ok(scan)
    }

    pub(super) fn segment(&self, number: u64) -> Result<Arc<Segment>, StoreError> {
        if let Some(segment) = self.open_segments().get(&number) {
            return Ok(Arc::clone(segment));
        }
        let segment = Arc::new(Segment::open_whole(&self.dir, number, self.config.network)?);
        self.keep(&segment);
        Ok(segment)
    }

    /// Remembers an open segment in place of an older one.
    pub(super) fn keep(&self, segment: &Arc<Segment>) {
        let mut open = self.open_segments();
        if open.len() >= OPEN_SEGMENTS_MAX {
            open.pop_first();
        }
        open.insert(segment.number, Arc::clone(segment));
    }

    fn open_segments(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Segment>>> {
        // The map is whole after every statement, so a panic elsewhere cannot have torn it.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The numbers of the segments in a directory, ascending.
pub(super) fn segment_numbers(dir: &Path) -> Result<Vec<u64>, StoreError> {
    let mut numbers = Vec::new();
    for file in fs::read_dir(dir).context("list", dir)? {
        let name = file.context("list", dir)?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        numbers
            .extend(digits.filter(|digits| digits.len() == 20).and_then(|digits| digits.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// An iterator over records and their places. It ends after the first error.
pub(crate) struct Scan {
    reader: LogReader,
    /// Segments to walk; the front one is `walk`'s.
    left: VecDeque<u64>,
    walk: Option<Walk>,
    /// Number of the next record, once known.
    number: Option<u64>,
    until: Position,
}

impl Scan {
    /// Starts on the front segment.
    fn enter(&mut self, offset: u64) -> Result<(), StoreError> {
        let Some(&number) = self.left.front() else { return Ok(()) };
        let segment = self.reader.segment(number)?;
        if self.number.is_some_and(|expected| expected != number) {
            let problem =
                format!("record {} should be its first: a segment is missing", self.number.unwrap_or(0));
            return Err(StoreError::corrupt(&segment.path, 0, problem));
        }
        if offset == HEADER_BYTES {
            self.number = Some(number);
        }
        let end = if number == self.until.segment { self.until.offset } else { segment.file_bytes()? };
        if offset < HEADER_BYTES || offset > end {
            return Err(StoreError::corrupt(&segment.path, offset, "the log ends before this position"));
        }
        self.walk = Some(Walk::new(segment, offset, end, &self.reader.config));
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<(Location, Vec<u8>)>, StoreError> {
        while let Some(walk) = &mut self.walk {
            match walk.step()? {
                Step::Record(location, bytes) => {
                    self.number = self.number.and_then(|number| number.checked_add(1));
                    return Ok(Some((location, bytes)));
                }
                Step::Broken(offset) => {
                    return Err(StoreError::corrupt(walk.path(), offset, "no whole record starts here"));
                }
                Step::End => {
                    self.walk = None;
                    self.left.pop_front();
                    self.enter(HEADER_BYTES)?;
                }
            }
        }
        Ok(None)
    }
}

impl Iterator for Scan {
    type Item = Result<(Location, Vec<u8>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.advance().transpose();
        if matches!(step, Some(Err(_))) {
            self.walk = None;
        }
        step
    }
}

impl Location {
    /// Where the frame after this record starts.
    pub(super) fn next_offset(self) -> u64 {
        self.offset.saturating_add(FRAME_BYTES).saturating_add(u64::from(self.len))
    }
}
