//! How the store says no.

use std::io;
use std::path::{Path, PathBuf};

use syngraph_protocol::entry::EntryError;
use syngraph_protocol::ids::{EntryId, Height, NetworkId};
use syngraph_protocol::replay::ReplayError;

/// Why the store cannot do what was asked. Whatever writes is over after the first error:
/// the node stops and start-up sorts out what is on disk.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process works on this directory.
    #[error("data directory {dir} is in use by process {pid}; one directory serves one node")]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// The process id in the lock file, or `unknown`.
        pid: String,
    },
    /// The directory holds the history of another network.
    #[error("{path} belongs to network {got}, the genesis file founds {expected}")]
    OtherNetwork {
        /// The file that says so.
        path: PathBuf,
        /// The network of the genesis file.
        expected: NetworkId,
        /// The network of the file.
        got: NetworkId,
    },
    /// Bytes that were once durable are gone or changed.
    #[error("{path} is damaged at byte {offset}: {problem}; restore this file from a backup or from a peer")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it, from its first byte.
        offset: u64,
        /// What is wrong there.
        problem: String,
    },
    /// An earlier write or fsync failed, so nobody knows what is on disk.
    #[error("an earlier write to {path} failed; nothing more is acknowledged until the node restarts")]
    Poisoned {
        /// The directory of the log.
        path: PathBuf,
    },
    /// A record that no log takes.
    #[error("a record of {len} bytes; it must have 1 to {max}")]
    RecordLength {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// sled refused, panicked, or lacks a row that it must have.
    #[error("the index in {path} failed: {problem}; it is rebuilt at the next start")]
    State {
        /// The directory of sled.
        path: PathBuf,
        /// What happened.
        problem: String,
    },
    /// A block that does not follow the last one.
    #[error("height {got} cannot be stored, the next is {expected}")]
    HeightOrder {
        /// The height that follows.
        expected: Height,
        /// The height given.
        got: Height,
    },
    /// A block covers an entry that was never appended here.
    #[error("block {height} covers entry {entry}, which is not in the entries log")]
    EntryMissing {
        /// The block.
        height: Height,
        /// The entry.
        entry: EntryId,
    },
    /// A decided block that this program does not reproduce.
    #[error("block {height} of the blocks log does not replay: {source}")]
    Replay {
        /// The block.
        height: Height,
        /// What differs.
        source: Box<ReplayError>,
    },
}

impl StoreError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Io { .. } => "STORE-IO",
            Self::Locked { .. } => "STORE-LOCKED",
            Self::OtherNetwork { .. } => "STORE-NETWORK",
            Self::Corrupt { .. } => "STORE-CORRUPT",
            Self::Poisoned { .. } => "STORE-POISONED",
            Self::RecordLength { .. } => "STORE-RECORD-LENGTH",
            Self::State { .. } => "STORE-STATE",
            Self::HeightOrder { .. } => "STORE-HEIGHT-ORDER",
            Self::EntryMissing { .. } => "STORE-ENTRY-MISSING",
            Self::Replay { .. } => "STORE-REPLAY",
        }
    }

    pub(super) fn corrupt(path: &Path, offset: u64, problem: impl ToString) -> Self {
        Self::Corrupt { path: path.to_path_buf(), offset, problem: problem.to_string() }
    }

    /// An entry in the log that its own network's rules refuse.
    pub(super) fn bad_entry(path: &Path, offset: u64, error: &EntryError) -> Self {
        Self::corrupt(path, offset, format_args!("{} ({error})", error.rule()))
    }
}

/// Adds to an I/O error what was tried and where.
pub(super) trait Context<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Io { action, path: path.to_path_buf(), source })
    }
}
