//! The files of an outbox: numbered segments, appended to and dropped from the front.
//!
//! *Invariants.* Each segment opens with a checkpoint, so the ones before it may go. They
//! go in order only: what a later segment says about an earlier one never outlives it.
//! After a failed write nothing more is written: what the file then holds is unknown.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::OutboxError;
use super::record::{self, Checkpoint, Record};

/// A segment is closed once it is this long, in bytes.
pub(super) const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// Appends to the newest segment and knows the older ones.
pub(super) struct Segments {
    dir: PathBuf,
    /// Numbers of all segments, rising; the last is written to.
    numbers: VecDeque<u64>,
    file: File,
    len_bytes: u64,
    buffer: Vec<u8>,
    is_broken: bool,
}

fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.log"))
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> OutboxError {
    |source| OutboxError::Io { path: path.to_owned(), source }
}

/// Makes the entries of a folder durable.
fn sync_dir(dir: &Path) -> Result<(), OutboxError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir))
}

fn numbers_in(dir: &Path) -> Result<VecDeque<u64>, OutboxError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let name = entry.map_err(at(dir))?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".log"));
        numbers.extend(stem.and_then(|stem| stem.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers.into())
}

/// What start-up found, in order: each segment's number and records.
pub(super) type Found = Vec<(u64, Vec<Record>)>;

impl Segments {
    /// Opens the segments of a folder, or starts the first with `fresh`.
    pub(super) fn open(dir: &Path, fresh: Checkpoint) -> Result<(Self, Found), OutboxError> {
        let mut numbers = numbers_in(dir)?;
        // A crash between making a segment and syncing its checkpoint leaves a newest one
        // without a sound record; nothing was acknowledged from it.
        let mut found = Vec::new();
        for (position, number) in numbers.clone().into_iter().enumerate() {
            let is_last = position + 1 == numbers.len();
            let records = read_segment(&path_of(dir, number), is_last)?;
            if records.is_empty() && is_last {
                fs::remove_file(path_of(dir, number)).map_err(at(dir))?;
                numbers.pop_back();
            } else {
                found.push((number, records));
            }
        }
        let Some(&last) = numbers.back() else {
            let (file, len_bytes) = create(dir, 0, fresh)?;
            let numbers = VecDeque::from([0]);
            let segments =
                Self { dir: dir.to_owned(), numbers, file, len_bytes, buffer: Vec::new(), is_broken: false };
            return Ok((segments, vec![(0, vec![Record::Checkpoint(fresh)])]));
        };
        let path = path_of(dir, last);
        let mut file = OpenOptions::new().write(true).open(&path).map_err(at(&path))?;
        let len_bytes = file.seek(SeekFrom::End(0)).map_err(at(&path))?;
        let dir = dir.to_owned();
        Ok((Self { dir, numbers, file, len_bytes, buffer: Vec::new(), is_broken: false }, found))
    }

    /// The number of the segment that is written to.
    pub(super) fn current(&self) -> u64 {
        self.numbers.back().copied().unwrap_or(0)
    }

    /// Takes a record; it is durable after [`Self::sync`].
    pub(super) fn append(&mut self, record: &Record) {
        record::push(&mut self.buffer, record);
    }

    /// Puts everything taken on the platter.
    pub(super) fn sync(&mut self) -> Result<(), OutboxError> {
        if self.buffer.is_empty() && !self.is_broken {
            return Ok(());
        }
        let path = path_of(&self.dir, self.current());
        if self.is_broken {
            return Err(at(&path)(std::io::Error::other("an earlier write failed")));
        }
        // A crash before the sync returns leaves any part of the buffer behind; start-up
        // cuts what is torn, and the caller was told nothing yet.
        self.is_broken = true;
        self.file.write_all(&self.buffer).and_then(|()| self.file.sync_data()).map_err(at(&path))?;
        self.is_broken = false;
        self.len_bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Whether it is time for a new segment.
    pub(super) fn is_full(&self) -> bool {
        self.len_bytes >= SEGMENT_BYTES
    }

    /// Starts a new segment.
    pub(super) fn roll(&mut self, checkpoint: Checkpoint) -> Result<(), OutboxError> {
        self.sync()?;
        let number = self.current() + 1;
        (self.file, self.len_bytes) = create(&self.dir, number, checkpoint)?;
        self.numbers.push_back(number);
        Ok(())
    }

    /// Drops the segments before the first that is still needed.
    pub(super) fn drop_before(&mut self, first_needed: u64) -> Result<(), OutboxError> {
        while self.numbers.len() > 1
            && let Some(&oldest) = self.numbers.front()
            && oldest < first_needed
        {
            let path = path_of(&self.dir, oldest);
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(at(&path)(error)),
            }
            // In order on the platter too, or a crash could bring back an old segment
            // without the one that says what became of it.
            sync_dir(&self.dir)?;
            self.numbers.pop_front();
        }
        Ok(())
    }
}

fn create(dir: &Path, number: u64, checkpoint: Checkpoint) -> Result<(File, u64), OutboxError> {
    let path = path_of(dir, number);
    let mut buffer = Vec::new();
    record::push(&mut buffer, &Record::Checkpoint(checkpoint));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(at(&path))?;
    file.write_all(&buffer).and_then(|()| file.sync_all()).map_err(at(&path))?;
    sync_dir(dir)?;
    Ok((file, buffer.len() as u64))
}

/// Reads a segment; cuts the torn tail of the last one.
fn read_segment(path: &Path, is_last: bool) -> Result<Vec<Record>, OutboxError> {
    let mut bytes = Vec::new();
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(at(path))?;
    file.read_to_end(&mut bytes).map_err(at(path))?;
    let scanned = record::scan(&bytes);
    let offset = scanned.sound_bytes as u64;
    if scanned.sound_bytes == bytes.len() {
        return Ok(scanned.records);
    }
    if scanned.is_corrupt || !is_last {
        return Err(OutboxError::Corrupt { path: path.to_owned(), offset });
    }
    file.set_len(offset).and_then(|()| file.sync_all()).map_err(at(path))?;
    Ok(scanned.records)
}
