//! The file in which the consensus engine logs its votes: made and cut here, written by the engine.
//!
//! *Invariants.* The file's name is durable before the engine puts a vote in it, and what the engine reads
//! is durable before it does: from what it reads it derives votes again and sends them without a sync, so
//! a record that only a killed run's memory had must not be lost after that.
//!
//! *Deliberately absent:* what is in it. The consensus room knows the engine's format.

use std::fs::OpenOptions;
use std::io::Read;
use std::path::Path;

use super::error::{Context, StoreError};
use super::files::{sync_dir, sync_found};

/// Everything in the log of votes, made durable. If there is none, makes an empty one: the engine would
/// make it without syncing its directory, and a power cut could take the whole log back after votes were
/// sent. The log is read whole, as the engine does when it replays it.
///
/// # Errors
/// `STORE-IO`.
pub(crate) fn read_votes(path: &Path) -> Result<Vec<u8>, StoreError> {
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let mut file = open.context("open", path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).context("read", path)?;
    sync_found(&file, path)?;
    path.parent().map_or(Ok(()), sync_dir)?;
    Ok(bytes)
}

/// Cuts the log of votes to `len` bytes, durably. After a crash amidst it the log is as it was, or cut.
///
/// # Errors
/// `STORE-IO`.
pub(crate) fn cut_votes(path: &Path, len: u64) -> Result<(), StoreError> {
    let file = OpenOptions::new().write(true).open(path).context("open", path)?;
    file.set_len(len).and_then(|()| file.sync_all()).context("cut", path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::files::tests::take_synced;
    use super::*;

    #[test]
    fn a_log_is_made_read_and_cut() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("votes");
        assert_eq!(read_votes(&path).expect("made"), b"");
        fs::write(&path, b"abc").expect("written");
        assert_eq!(read_votes(&path).expect("read"), b"abc");
        take_synced();
        assert_eq!(read_votes(&path).expect("read"), b"abc");
        assert_eq!(take_synced(), [path.as_path(), dir.path()], "the engine builds on what is read");
        cut_votes(&path, 2).expect("cut");
        assert_eq!(read_votes(&path).expect("read"), b"ab");
        let missing = dir.path().join("nowhere").join("votes");
        assert!(read_votes(&missing).is_err() && cut_votes(&missing, 0).is_err());
    }
}
