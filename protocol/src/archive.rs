//! The archive: names and framing of the files that an auditor is handed.
//!
//! ```text
//! genesis.toml                the founding document, as text
//! blocks/000                  heights 1 to 256; the next 256 in blocks/001; then x001/000 after 999
//! entries/000                 log entries 0 to 255 (a C2SP tlog-tiles entry bundle); …
//! statements/…                as published
//! manifest.json               what there is, with sizes and hashes
//! ```
//!
//! The last file of each kind has `.p/W` after its number if it holds only `W` of 256.
//! A record of `blocks/` is a header and its certificate, each canonical and prefixed by
//! its length as u32 big-endian; one of `entries/` is a canonical signed entry prefixed by
//! its length as u16 big-endian. Cuts are not stored: the cut of a block is the last entry
//! of each journal between two log sizes.
//!
//! In a stream the files stand so that a reader never holds more than one file of each
//! kind: `genesis.toml`; then for each file of blocks that file and, after it, every
//! bundle not yet sent that begins below the log size of its last block; then the
//! statements; `manifest.json` last, so that a writer needs one pass. [`FileOrder`] says
//! it in code. The manifest lists the files in this order, without itself.
//!
//! *Invariants.* A history has one archive: names, framing, order and manifest text are
//! functions of it.
//!
//! *Deliberately absent:* reading and writing files, and any check of what is inside.
//!
//! Source: C2SP tlog-tiles (c2sp.org/tlog-tiles), "Entry bundles" and tile paths.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::block::Header;
use crate::certificate::Certificate;
use crate::codec::{self, DecodeError};
use crate::ids::{BlockId, Hash, Height, NetworkId};
use crate::limits::{BLOCK_BODY_BYTES_MAX, CERTIFICATE_BYTES_MAX, ENTRY_BYTES_MAX};
use crate::refusal::refusals;

/// Entries in a full bundle.
pub const ENTRIES_PER_BUNDLE: u64 = 256;
/// Blocks in a full file of blocks.
pub const BLOCKS_PER_FILE: u64 = 256;
/// The version of [`Manifest`] that this code writes and reads.
pub const MANIFEST_VERSION: u16 = 1;
/// Name of the founding document.
pub const GENESIS_PATH: &str = "genesis.toml";
/// Name of the manifest.
pub const MANIFEST_PATH: &str = "manifest.json";
/// Folder of the published statements.
pub const STATEMENTS_FOLDER: &str = "statements/";
/// Longest bundle, in bytes: 256 of the longest entries with their prefixes.
pub const BUNDLE_BYTES_MAX: usize = 256 * (2 + ENTRY_BYTES_MAX);
/// Longest file of blocks, in bytes.
pub const BLOCKS_BYTES_MAX: usize = 256 * (8 + BLOCK_BODY_BYTES_MAX + CERTIFICATE_BYTES_MAX);

refusals! {
    /// Why bytes are no file of an archive.
    FrameError {
        Truncated { offset: usize } = "ARC-TRUNCATED": "the record at byte {offset} is cut off",
        EntryLength { len: usize } = "ARC-ENTRY-LENGTH": "an entry of {len} bytes does not fit a bundle",
        BlockLength { offset: usize, len: u32 } = "ARC-BLOCK-LENGTH": "the record at byte {offset} claims {len} bytes",
    }
}

/// Why a record of `blocks/` is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockRecordError {
    /// Badly framed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Not canonical bytes.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl BlockRecordError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Frame(error) => error.rule(),
            Self::Decode(error) => error.rule(),
        }
    }
}

/// A number as tlog-tiles writes it: groups of three digits, all but the last marked
/// with an `x`. 1234067 is `x001/x234/067`.
#[must_use]
pub fn tile_number(number: u64) -> String {
    let digits = number.to_string();
    let padded = format!("{digits:0>width$}", width = digits.len().next_multiple_of(3));
    let groups = padded.len().div_euclid(3);
    let mut path = String::new();
    for (position, digit) in padded.chars().enumerate() {
        let (group, within) = (position.div_euclid(3), position.rem_euclid(3));
        if within == 0 {
            path.push_str(if group == 0 { "" } else { "/" });
            path.push_str(if group.saturating_add(1) == groups { "" } else { "x" });
        }
        path.push(digit);
    }
    path
}

fn path(folder: &str, number: u64, holds: u64, full: u64) -> String {
    let name = tile_number(number);
    if holds == full { format!("{folder}/{name}") } else { format!("{folder}/{name}.p/{holds}") }
}

/// Name of bundle `number`, which holds `entries` of 256 entries.
#[must_use]
pub fn bundle_path(number: u64, entries: u64) -> String {
    path("entries", number, entries, ENTRIES_PER_BUNDLE)
}

/// Name of file of blocks `number`, which holds `blocks` of 256 heights.
#[must_use]
pub fn blocks_path(number: u64, blocks: u64) -> String {
    path("blocks", number, blocks, BLOCKS_PER_FILE)
}

/// Which part of a history a file of the archive holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Heights `first` to `first + count − 1`.
    Blocks {
        /// Number of the file, from 0.
        number: u64,
        /// Its first height.
        first: Height,
        /// How many heights it holds, 1 to 256.
        count: u64,
    },
    /// Log entries `first` to `first + count − 1`.
    Entries {
        /// Number of the bundle, from 0.
        number: u64,
        /// Index of its first entry.
        first: u64,
        /// How many entries it holds, 1 to 256.
        count: u64,
    },
}

impl Part {
    /// The file's name.
    #[must_use]
    pub fn path(&self) -> String {
        match *self {
            Self::Blocks { number, count, .. } => blocks_path(number, count),
            Self::Entries { number, count, .. } => bundle_path(number, count),
        }
    }
}

/// The order of the files of blocks and entries for a history of known length.
#[derive(Clone, Copy, Debug)]
pub struct FileOrder {
    blocks: u64,
    entries: u64,
    blocks_named: u64,
    entries_named: u64,
    entries_due: u64,
}

impl FileOrder {
    /// The order for heights 1 to `last`, the last of which has `log_size`.
    #[must_use]
    pub const fn new(last: Height, log_size: u64) -> Self {
        Self { blocks: last.get(), entries: log_size, blocks_named: 0, entries_named: 0, entries_due: 0 }
    }

    /// The next file. After a file of blocks, [`Self::blocks_end`] must be told the log
    /// size of the last block in it; otherwise its bundles are named too late.
    pub fn next_part(&mut self) -> Option<Part> {
        let bundle_is_due = self.entries_named < self.entries_due.min(self.entries);
        if bundle_is_due || (self.blocks_named == self.blocks && self.entries_named < self.entries) {
            let first = self.entries_named;
            let count = self.entries.saturating_sub(first).min(ENTRIES_PER_BUNDLE);
            self.entries_named = first.saturating_add(count);
            return Some(Part::Entries { number: first.div_euclid(ENTRIES_PER_BUNDLE), first, count });
        }
        let before = self.blocks_named;
        let count = self.blocks.saturating_sub(before).min(BLOCKS_PER_FILE);
        self.blocks_named = before.saturating_add(count);
        let first = Height::new(before.saturating_add(1));
        (count > 0).then(|| Part::Blocks { number: before.div_euclid(BLOCKS_PER_FILE), first, count })
    }

    /// Says how many entries the log holds after the last block of the file just named.
    pub fn blocks_end(&mut self, log_size: u64) {
        self.entries_due = log_size;
    }
}

/// Appends an entry to a bundle.
///
/// # Errors
/// `ARC-ENTRY-LENGTH` if it is longer than 65,535 bytes, which no verified entry is.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), FrameError> {
    let len = u16::try_from(entry.len()).map_err(|_| FrameError::EntryLength { len: entry.len() })?;
    bundle.extend(len.to_be_bytes());
    bundle.extend(entry);
    Ok(())
}

/// Appends a block to a file of blocks.
///
/// # Panics
/// If the header or the certificate is longer than 4 GiB, which limits exclude.
pub fn push_block(file: &mut Vec<u8>, header: &Header, certificate: &Certificate) {
    for bytes in [codec::encode(header), codec::encode(certificate)] {
        let len = u32::try_from(bytes.len()).expect("headers and certificates are below 128 KiB");
        file.extend(len.to_be_bytes());
        file.extend(bytes);
    }
}

/// Walks over the records of one file; after an error it ends.
#[derive(Clone, Debug)]
struct Cursor<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    const fn is_done(&self) -> bool {
        self.offset >= self.bytes.len()
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.offset.checked_add(len)?;
        let taken = self.bytes.get(self.offset..end)?;
        self.offset = end;
        Some(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// Ends the walk and says where.
    fn stop(&mut self, offset: usize) -> FrameError {
        self.offset = self.bytes.len();
        FrameError::Truncated { offset }
    }
}

/// The entries of a bundle, each as its canonical bytes.
#[derive(Clone, Debug)]
pub struct BundleEntries<'a>(Cursor<'a>);

/// Walks over a bundle.
#[must_use]
pub const fn bundle_entries(bundle: &[u8]) -> BundleEntries<'_> {
    BundleEntries(Cursor::new(bundle))
}

impl<'a> Iterator for BundleEntries<'a> {
    type Item = Result<&'a [u8], FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_done() {
            return None;
        }
        let start = self.0.offset;
        let len = self.0.take_array().map(u16::from_be_bytes);
        let entry = len.and_then(|len| self.0.take(usize::from(len)));
        Some(entry.ok_or_else(|| self.0.stop(start)))
    }
}

/// The records of a file of blocks.
#[derive(Clone, Debug)]
pub struct BlockRecords<'a>(Cursor<'a>);

/// Walks over a file of blocks.
#[must_use]
pub const fn block_records(file: &[u8]) -> BlockRecords<'_> {
    BlockRecords(Cursor::new(file))
}

impl<'a> BlockRecords<'a> {
    fn part(&mut self, len_max: usize) -> Result<&'a [u8], FrameError> {
        let start = self.0.offset;
        let len = self.0.take_array().map(u32::from_be_bytes).ok_or_else(|| self.0.stop(start))?;
        let bytes = usize::try_from(len).ok().filter(|len| *len <= len_max);
        let Some(bytes) = bytes else {
            self.0.stop(start);
            return Err(FrameError::BlockLength { offset: start, len });
        };
        self.0.take(bytes).ok_or_else(|| self.0.stop(start))
    }

    fn record(&mut self) -> Result<(Header, Certificate), BlockRecordError> {
        let header = codec::decode(self.part(BLOCK_BODY_BYTES_MAX)?, BLOCK_BODY_BYTES_MAX)?;
        let certificate = codec::decode(self.part(CERTIFICATE_BYTES_MAX)?, CERTIFICATE_BYTES_MAX)?;
        Ok((header, certificate))
    }
}

impl Iterator for BlockRecords<'_> {
    type Item = Result<(Header, Certificate), BlockRecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_done() {
            return None;
        }
        let record = self.record();
        if record.is_err() {
            self.0.offset = self.0.bytes.len();
        }
        Some(record)
    }
}

/// What an archive holds. Its text is [`fmt::Display`]'s, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub version: u16,
    /// The network.
    pub network: NetworkId,
    /// The first height; 1.
    pub first_height: Height,
    /// The last height; 0 for a network without blocks.
    pub last_height: Height,
    /// Id of the last block; [`crate::block::NO_BLOCK`] if there is none.
    pub block: BlockId,
    /// Root of the state after the last block.
    pub state_root: Hash,
    /// How many entries there are.
    pub log_size: u64,
    /// Every other file, in the order of the stream.
    pub files: Vec<ManifestFile>,
}

/// One file of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// Its name: lowercase ASCII letters, digits and `.-_/`.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: Hash,
}

impl fmt::Display for Manifest {
    /// The manifest's one text: JSON, two spaces deep, a line for each file, ended by a
    /// line feed. Names need no escapes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{{\n  \"version\": {},\n  \"network\": \"{}\",", self.version, self.network)?;
        writeln!(f, "  \"first_height\": {},\n  \"last_height\": {},", self.first_height, self.last_height)?;
        writeln!(f, "  \"block\": \"{}\",\n  \"state_root\": \"{}\",", self.block, self.state_root)?;
        write!(f, "  \"log_size\": {},\n  \"files\": [", self.log_size)?;
        for (position, ManifestFile { path, size, sha256 }) in self.files.iter().enumerate() {
            f.write_str(if position == 0 { "\n" } else { ",\n" })?;
            write!(f, "    {{\"path\": \"{path}\", \"size\": {size}, \"sha256\": \"{sha256}\"}}")?;
        }
        f.write_str(if self.files.is_empty() { "]" } else { "\n  ]" })?;
        f.write_str("\n}")?;
        f.write_char('\n')
    }
}

#[cfg(test)]
mod tests;
