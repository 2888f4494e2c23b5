//! The engine's log of votes, looked over before the engine opens it.
//!
//! ```text
//! log     version: u32 = 1, height: u64, records                        integers big-endian
//! record  compressed: u8 = 0, len: u64, CRC-32 of the data: u32, data   13 + len bytes
//! ```
//!
//! The engine appends records, and syncs the file before it sends a vote that is in it. When it begins a
//! height it writes that height over the last one, cuts the records off and syncs. It takes thirteen zero
//! bytes for an empty record, on which it halts at every start; it drops whatever follows a length that
//! reaches beyond the file, without a word; and it halts on a wrong checksum once, and drops the rest then.
//!
//! *Invariants.* What a crash leaves at the end without ever having been synced is cut off, durably:
//! nothing that was sent depends on it. What no crash explains is refused, at every start, with its place:
//! it may have been a vote that was sent. Sound logs aren't touched.
//!
//! *Deliberately absent:* what the records mean.

use std::path::Path;

use crate::store::{cut_votes, read_votes};

use super::engine::ConsensusError;

const VERSION: [u8; 4] = 1_u32.to_be_bytes();
const HEADER_BYTES: usize = 12;
const RECORD_HEADER_BYTES: usize = 13;
/// Longest data of a record: the longest message that the codec encodes, its tag and its length.
const DATA_BYTES_MAX: usize = super::codec::LIVENESS_BYTES_MAX + 9;
/// What a disk writes whole: the end of what a cut reached, when a crash stops it.
const SECTOR_BYTES: usize = 512;

/// A place that no crash explains.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Damage {
    offset: usize,
    reason: &'static str,
}

/// Cuts off what a crash has left unfinished at the end of the log, if anything. Makes the log if there
/// is none.
///
/// # Errors
/// `CONS-LOG` if the file cannot be read or cut, `CONS-LOG-DAMAGED` if it is damaged otherwise.
pub(super) fn repair(path: &Path) -> Result<(), ConsensusError> {
    let failed = |error: crate::store::StoreError| ConsensusError::Log {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let bytes = read_votes(path).map_err(failed)?;
    let sound = sound_len(&bytes).map_err(|Damage { offset, reason }| ConsensusError::LogDamaged {
        path: path.to_owned(),
        offset,
        reason: reason.to_owned(),
    })?;
    if sound == bytes.len() {
        return Ok(());
    }
    let cut = bytes.len() - sound;
    tracing::warn!(path = %path.display(), offset = sound, bytes = cut, "cut off what a crash left unfinished");
    cut_votes(path, sound as u64).map_err(failed)
}

/// How many bytes of the log are sound; the rest, if any, was never synced.
fn sound_len(log: &[u8]) -> Result<usize, Damage> {
    // A new log is synced with its header before it takes a record.
    if log.len() < HEADER_BYTES || is_zero(log) {
        return Ok(0);
    }
    if !log.starts_with(&VERSION) {
        return Err(Damage { offset: 0, reason: "not a log of version 1" });
    }
    let mut at = HEADER_BYTES;
    while let Some(len) = record(&log[at..]) {
        at += len;
    }
    match damage(&log[at..], at) {
        None => Ok(at),
        Some(reason) => Err(Damage { offset: at, reason }),
    }
}

/// What is wrong with the bytes after the last sound record, which stand at `offset`, if no crash explains
/// them.
fn damage(tail: &[u8], offset: usize) -> Option<&'static str> {
    // The file had grown, and its bytes had not reached the disk.
    if is_zero(tail) {
        return None;
    }
    // The height had been written and the records overwritten by a cut, which was not complete: it was
    // never synced, hence no record of this height either.
    let sector = SECTOR_BYTES - HEADER_BYTES;
    if offset == HEADER_BYTES && tail.len() >= sector && is_zero(&tail[..sector]) {
        return None;
    }
    if (1..tail.len()).any(|at| record(&tail[at..]).is_some()) {
        return Some("a bad record with a good one behind it");
    }
    // The last record is there in part.
    if tail.len() < RECORD_HEADER_BYTES {
        return None;
    }
    let Some(len) = data_len(tail) else { return Some("not the beginning of a record") };
    let is_torn = tail.len() < RECORD_HEADER_BYTES + len;
    // It is there in whole, its first bytes reached the disk and its last did not.
    let is_zero_filled =
        tail.last() == Some(&0) && is_zero(&tail[tail.len().min(RECORD_HEADER_BYTES + len)..]);
    if is_torn || is_zero_filled { None } else { Some("the last record fails its checksum") }
}

/// The length of the record that stands at the beginning, if it is sound.
fn record(bytes: &[u8]) -> Option<usize> {
    let len = data_len(bytes).filter(|&len| len > 0)?;
    let checksum = bytes.get(9..RECORD_HEADER_BYTES)?;
    let data = bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + len)?;
    (crc32fast::hash(data).to_be_bytes() == checksum).then_some(RECORD_HEADER_BYTES + len)
}

/// How long the data of the record is that stands at the beginning, by its own account.
fn data_len(bytes: &[u8]) -> Option<usize> {
    let (&[0], rest) = bytes.split_first_chunk()? else { return None };
    let len = u64::from_be_bytes(*rest.first_chunk()?);
    usize::try_from(len).ok().filter(|&len| len <= DATA_BYTES_MAX)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests;
