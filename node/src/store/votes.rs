//! The file in which the consensus engine logs its votes: made and cut here, written by the engine.
//!
//! *Invariants.* The file's name is durable before the engine puts a vote in it, and a cut is durable
//! before the engine reads what is left.
//!
//! *Deliberately absent:* what is in it. The consensus room knows the engine's format.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

use super::error::{Context, StoreError};
use super::files::sync_dir;

/// Everything in the log of votes. If there is none, makes an empty one: the engine would make it without
/// syncing its directory, and a power cut could take the whole log back after votes were sent. The log
/// is read whole, as the engine does when it replays it.
///
/// # Errors
/// `STORE-IO`.
pub(crate) fn read_votes(path: &Path) -> Result<Vec<u8>, StoreError> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            File::create(path).and_then(|file| file.sync_all()).context("create", path)?;
            path.parent().map_or(Ok(()), sync_dir)?;
            Ok(Vec::new())
        }
        read => read.context("read", path),
    }
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
    use super::*;

    #[test]
    fn a_log_is_made_read_and_cut() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("votes");
        assert_eq!(read_votes(&path).expect("made"), b"");
        fs::write(&path, b"abc").expect("written");
        assert_eq!(read_votes(&path).expect("read"), b"abc");
        cut_votes(&path, 2).expect("cut");
        assert_eq!(read_votes(&path).expect("read"), b"ab");
        let missing = dir.path().join("nowhere").join("votes");
        assert!(read_votes(&missing).is_err() && cut_votes(&missing, 0).is_err());
    }
}
