//! The store: everything of this node that survives it.
//!
//! ```text
//! lock         one directory, one process
//! entries/     log: canonical signed entries in order of arrival    } the truth: fsynced
//! blocks/      log: decided blocks with their certificates          } before anyone is told
//! undecided/   blocks proposed or judged, until their height is decided
//! wal/         the consensus engine's own log of votes; only the directory is made here
//! state/       sled: the state and indexes, rebuilt from the two logs whenever in doubt
//! ```
//!
//! [`Store`] is the one writer; [`Reader`]s are cloned from it. [`Store::open`] finds out
//! what a crash left.
//!
//! *Invariants.* Nothing is acknowledged before its log is synced. A block in the blocks log
//! has all its entries in the entries log. `state/` never reflects more than the logs hold,
//! and what it reflects is checked before it is used. Damage to a log is an error that names
//! file and offset; damage to `state/` is repaired unattended.
//!
//! *Deliberately absent:* judgement. Entries and blocks come here verified; which of them to
//! take is up to the journals and the chain.

mod commit;
mod error;
mod files;
mod lock;
mod log;
mod reader;
mod recovery;
mod state;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod undecided;
mod unsealed;
mod votes;

use std::path::PathBuf;

use self::commit::Flushes;
pub use self::error::StoreError;
use self::lock::DirLock;
use self::log::Log;
pub(crate) use self::reader::Reader;
pub(crate) use self::recovery::Recovered;
use self::state::State;
use self::undecided::Undecided;
use self::unsealed::Unsealed;
pub(crate) use self::votes::{cut_votes, read_votes};

/// The writer of a data directory.
pub(crate) struct Store {
    dir: PathBuf,
    entries: Log,
    blocks: Log,
    state: State,
    undecided: Undecided,
    unsealed: Unsealed,
    flushes: Flushes,
    reader: Reader,
    /// Set while a decision is being written: if that ends early, nobody knows how far it got.
    broken: bool,
    /// Dropped last.
    _lock: DirLock,
}

impl Store {
    /// A reader of what is sealed.
    pub(crate) fn reader(&self) -> Reader {
        self.reader.clone()
    }
}
