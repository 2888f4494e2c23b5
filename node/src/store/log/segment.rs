//! One segment file: its header, its frames, and where the whole ones end.
//!
//! ```text
//! header   magic 8 ‖ salt 8 ‖ network 32 ‖ CRC-32C u32 LE of these
//! frame    length u32 LE (top bit: first of its batch) ‖ CRC-32C u32 LE ‖ bytes
//! ```
//!
//! A frame's checksum covers salt, length and bytes. The salt is random for each segment, so
//! that nobody who gets bytes into a record can make them look like a frame. The header has
//! a checksum of its own: with another salt no frame would be whole, and a whole log would
//! look like a torn tail.
//!
//! *Batches.* All frames between two fsyncs are a batch, and the first of each is marked.
//! A marked frame therefore proves that everything before it was once durable. Inside the
//! last batch a power cut may have kept later pages and lost earlier ones.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use syngraph_protocol::ids::NetworkId;

use super::{Location, LogConfig};
use crate::store::error::{Context, StoreError};
use crate::store::files::sync_dir;

const MAGIC: [u8; 8] = *b"SYNGLOG1";
/// Bytes before the first frame.
pub(super) const HEADER_BYTES: u64 = 52;
/// Bytes of the header that its checksum covers.
const HEADER_COVERED: usize = 48;
/// Bytes of a frame before the record's own.
pub(super) const FRAME_BYTES: u64 = 8;
const BATCH_START: u32 = 1 << 31;
const READ_AHEAD_BYTES: usize = 256 * 1024;

/// An open segment. Reads are positional, so that any number of readers share it.
#[derive(Debug)]
pub(super) struct Segment {
    /// Number of its first record in the log.
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) salt: [u8; 8],
}

/// Salt and network of a header, if it is one.
fn checked(header: &[u8; HEADER_BYTES as usize]) -> Option<([u8; 8], [u8; 32])> {
    let (covered, checksum) = header.split_at(HEADER_COVERED);
    let (magic, rest) = covered.split_first_chunk()?;
    let (salt, owner) = rest.split_first_chunk()?;
    let sound = *magic == MAGIC && crc32c::crc32c(covered).to_le_bytes() == *checksum;
    sound.then_some((*salt, *owner.first_chunk()?))
}

/// What opening the last segment can find.
pub(super) enum Opened {
    Whole(Segment),
    /// A crash came before the header was durable; no record was ever in it.
    Unborn,
}

impl Segment {
    pub(super) fn path_of(dir: &Path, number: u64) -> PathBuf {
        dir.join(format!("{number:020}.seg"))
    }

    /// Creates an empty segment, durably.
    ///
    /// A crash in here leaves no file or one without a whole header, which start-up
    /// creates again. No record is written before this returns.
    pub(super) fn create(dir: &Path, number: u64, network: NetworkId) -> Result<Self, StoreError> {
        let path = Self::path_of(dir, number);
        let mut salt = [0; 8];
        getrandom::fill(&mut salt).map_err(io::Error::other).context("draw the salt of", &path)?;
        let mut header = [&MAGIC[..], &salt, network.as_bytes()].concat();
        header.extend(crc32c::crc32c(&header).to_le_bytes());
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let mut file = open.context("create", &path)?;
        file.write_all(&header).and_then(|()| file.sync_all()).context("write", &path)?;
        sync_dir(dir)?;
        Ok(Self { number, path, file, salt })
    }

    /// Opens a segment and checks its header.
    pub(super) fn open(dir: &Path, number: u64, network: NetworkId) -> Result<Opened, StoreError> {
        let path = Self::path_of(dir, number);
        let file = OpenOptions::new().read(true).write(true).open(&path).context("open", &path)?;
        let file_bytes = file.metadata().context("measure", &path)?.len();
        if file_bytes < HEADER_BYTES {
            return Ok(Opened::Unborn);
        }
        let mut header = [0; HEADER_BYTES as usize];
        file.read_exact_at(&mut header, 0).context("read", &path)?;
        let Some((salt, owner)) = checked(&header) else {
            // The header is durable before there is any record.
            return match file_bytes {
                HEADER_BYTES => Ok(Opened::Unborn),
                _ => Err(StoreError::corrupt(&path, 0, "not the header of a log segment")),
            };
        };
        let got = NetworkId::from_bytes(owner);
        if got != network {
            return Err(StoreError::OtherNetwork { path, expected: network, got });
        }
        Ok(Opened::Whole(Self { number, path, file, salt }))
    }

    /// The same for a segment that later ones follow, or that holds a known record.
    pub(super) fn open_whole(dir: &Path, number: u64, network: NetworkId) -> Result<Self, StoreError> {
        match Self::open(dir, number, network)? {
            Opened::Whole(segment) => Ok(segment),
            Opened::Unborn => {
                Err(StoreError::corrupt(&Self::path_of(dir, number), 0, "the header is incomplete"))
            }
        }
    }

    pub(super) fn file_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.file.metadata().context("measure", &self.path)?.len())
    }

    /// Appends a frame to a buffer that is written to this segment.
    pub(super) fn frame(&self, batch_start: bool, bytes: &[u8], into: &mut Vec<u8>) {
        let len = u32::try_from(bytes.len()).expect("the log checks the length of records");
        let word = (if batch_start { len | BATCH_START } else { len }).to_le_bytes();
        into.extend(word);
        into.extend(self.checksum(word, bytes).to_le_bytes());
        into.extend(bytes);
    }

    fn checksum(&self, word: [u8; 4], bytes: &[u8]) -> u32 {
        let salted = crc32c::crc32c_append(crc32c::crc32c(&self.salt), &word);
        crc32c::crc32c_append(salted, bytes)
    }

    /// Reads one record whose place is known.
    pub(super) fn read(&self, location: Location) -> Result<Vec<u8>, StoreError> {
        let corrupt = || StoreError::corrupt(&self.path, location.offset, "the record fails its checksum");
        let (mut head, mut bytes) = ([0; FRAME_BYTES as usize], vec![0; location.len as usize]);
        let at = |io: io::Result<()>| match io {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(corrupt()),
            other => other.context("read", &self.path),
        };
        at(self.file.read_exact_at(&mut head, location.offset))?;
        at(self.file.read_exact_at(&mut bytes, location.offset.saturating_add(FRAME_BYTES)))?;
        let head = Head::of(head);
        let good = head.len == location.len && head.crc == self.checksum(head.word, &bytes);
        if good { Ok(bytes) } else { Err(corrupt()) }
    }

    /// Whether a frame that starts a batch lies anywhere after `from`, and where.
    pub(super) fn find_batch_start(
        self: &Arc<Self>,
        from: u64,
        bytes_max: u32,
    ) -> Result<Option<u64>, StoreError> {
        let mut tail = Vec::new();
        let mut input = Sequential { segment: Arc::clone(self), position: from };
        input.read_to_end(&mut tail).context("read", &self.path)?;
        let starts_batch = |rest: &[u8]| {
            let (head, rest) = rest.split_first_chunk()?;
            let head = Head::of(*head);
            let bytes = rest.get(..head.len as usize)?;
            let plausible = head.batch_start && (1..=bytes_max).contains(&head.len);
            (plausible && head.crc == self.checksum(head.word, bytes)).then_some(())
        };
        let found = (0..tail.len()).find(|&start| tail.get(start..).and_then(starts_batch).is_some());
        Ok(found.and_then(|start| from.checked_add(u64::try_from(start).ok()?)))
    }
}

struct Head {
    word: [u8; 4],
    len: u32,
    batch_start: bool,
    crc: u32,
}

impl Head {
    fn of(bytes: [u8; FRAME_BYTES as usize]) -> Self {
        let [a, b, c, d, w, x, y, z] = bytes;
        let (word, crc) = ([a, b, c, d], u32::from_le_bytes([w, x, y, z]));
        let number = u32::from_le_bytes(word);
        Self { word, len: number & !BATCH_START, batch_start: number & BATCH_START != 0, crc }
    }
}

/// Sequential reading from a shared file.
struct Sequential {
    segment: Arc<Segment>,
    position: u64,
}

impl Read for Sequential {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.segment.file.read_at(into, self.position)?;
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}

/// What stands at the next place of a walk.
pub(super) enum Step {
    Record(Location, Vec<u8>),
    /// The end was reached exactly.
    End,
    /// No whole frame starts at this offset.
    Broken(u64),
}

/// Walks over the frames of a segment.
pub(super) struct Walk {
    input: BufReader<Sequential>,
    segment: Arc<Segment>,
    offset: u64,
    end: u64,
    bytes_max: u32,
}

impl Walk {
    /// A walk over the frames in `[from, end)`.
    pub(super) fn new(segment: Arc<Segment>, from: u64, end: u64, config: &LogConfig) -> Self {
        let input = Sequential { segment: Arc::clone(&segment), position: from };
        let input = BufReader::with_capacity(READ_AHEAD_BYTES, input);
        Self { input, segment, offset: from, end, bytes_max: config.record_bytes_max }
    }

    pub(super) fn path(&self) -> &Path {
        &self.segment.path
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn step(&mut self) -> Result<Step, StoreError> {
        if self.offset == self.end {
            return Ok(Step::End);
        }
        match self.frame() {
            Ok(Some(bytes)) => {
                let len = u32::try_from(bytes.len()).expect("read with a length of 31 bits");
                let location = Location { segment: self.segment.number, offset: self.offset, len };
                self.offset = location.next_offset();
                Ok(Step::Record(location, bytes))
            }
            Ok(None) => Ok(Step::Broken(self.offset)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Step::Broken(self.offset)),
            Err(error) => Err(error).context("read", &self.segment.path),
        }
    }

    fn frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        let left = self.end.saturating_sub(self.offset);
        if left < FRAME_BYTES || self.input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut head = [0; FRAME_BYTES as usize];
        self.input.read_exact(&mut head)?;
        let head = Head::of(head);
        if head.len == 0 || head.len > self.bytes_max || left - FRAME_BYTES < u64::from(head.len) {
            return Ok(None);
        }
        let mut bytes = vec![0; head.len as usize];
        self.input.read_exact(&mut bytes)?;
        Ok((head.crc == self.segment.checksum(head.word, &bytes)).then_some(bytes))
    }
}
