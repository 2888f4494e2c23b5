//! Why an outbox cannot be used.

use std::path::PathBuf;

use syngraph_protocol::ids::Seq;

use super::Binding;

/// Why an outbox cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// Another process holds it.
    #[error("{}: another process ({holder}) is using this outbox", dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// Its process id, as far as it is known.
        holder: String,
    },
    /// Files cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Bytes that were durable have changed, or another version wrote them.
    #[error("{}: the record at byte {offset} is damaged; sound records follow", path.display())]
    Corrupt {
        /// The segment.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
    },
    /// Records that cannot follow from each other.
    #[error("{}: {what}", dir.display())]
    Inconsistent {
        /// The folder.
        dir: PathBuf,
        /// What does not fit.
        what: &'static str,
    },
    /// The node is of another network or knows the key as another member's.
    #[error("this outbox is bound to network {} as member {}", bound.network, bound.member)]
    OtherNetwork {
        /// What it is bound to.
        bound: Binding,
    },
    /// The journal has an entry that was not signed here, in the place of one that was.
    #[error(
        "the node's journal has another entry at {seq} than this outbox signed: the key is used elsewhere"
    )]
    Forked {
        /// The place.
        seq: Seq,
    },
}

impl OutboxError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "OUTBOX-LOCKED",
            Self::Io { .. } => "OUTBOX-IO",
            Self::Corrupt { .. } => "OUTBOX-CORRUPT",
            Self::Inconsistent { .. } => "OUTBOX-INCONSISTENT",
            Self::OtherNetwork { .. } => "OUTBOX-NETWORK",
            Self::Forked { .. } => "OUTBOX-FORKED",
        }
    }
}
