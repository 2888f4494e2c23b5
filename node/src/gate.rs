//! The gate between the outside doors and the core thread: what a door may ask, and
//! what it may read.
//!
//! ```text
//! http ──Command──▶ bounded channel ──▶ core thread (journals, chain, store)
//! http ◀─Snapshot── watch ◀──────────── core thread
//! http ◀─bytes───── store::Reader       (history; blocking reads)
//! ```
//!
//! *Invariants.* Entries arrive at the core already verified, so that a signature is
//! checked once per node and never on the core thread. The channel is bounded; a full
//! one is answered at once (`GateError::Busy`) and nothing is queued elsewhere. Each
//! command carries the one-shot channel of its answer; the core answers a submission
//! only after its entries are durable. A snapshot is published after its block is in
//! the store, so that what a snapshot covers, the reader finds.
//!
//! *Deliberately absent:* any rule on entries. Who may sign what is the journals' and
//! the ledger's business.

use std::sync::Arc;
use std::time::Duration;

use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{EntryId, MemberId, NetworkId, PublicKey, Seq};
use syngraph_protocol::journal::Tip;
use syngraph_protocol::ledger::Ledger;
use tokio::sync::{mpsc, oneshot, watch};

use crate::consensus::Progress;
use crate::store;

/// Most commands that may wait for the core thread. Their bytes are bounded by the door.
pub(crate) const COMMANDS_MAX: usize = 256;

/// How long a door that found the channel full is asked to stay away.
pub(crate) const BUSY_RETRY: Duration = Duration::from_secs(1);

/// What outside doors may ask of the core thread.
#[derive(Debug)]
pub enum Command {
    /// Take these entries into their journals, in this order. The answer has one
    /// admission per entry, in the same order, sent once the new ones are durable.
    Submit {
        /// Verified entries, at most the door's limit.
        entries: Vec<VerifiedEntry>,
        /// Where the answer goes.
        reply: oneshot::Sender<Vec<Admission>>,
    },
    /// How far is this node's copy of a journal? None if the key is unknown here.
    Tip {
        /// The journal's key.
        journal: PublicKey,
        /// Where the answer goes.
        reply: oneshot::Sender<Option<JournalEnd>>,
    },
    /// What does the node hold beyond the last block, and what does it lack?
    Standing {
        /// Where the answer goes.
        reply: oneshot::Sender<Standing>,
    },
    /// Tell me when a quorum holds a place in a journal, or a block covers it.
    Replicated {
        /// The journal's key.
        journal: PublicKey,
        /// The place.
        seq: Seq,
        /// Answered then, and not before.
        reply: oneshot::Sender<()>,
    },
    /// An entry that this node holds and no block covers yet, or that is parked.
    Find {
        /// The entry.
        id: EntryId,
        /// Where the answer goes.
        reply: oneshot::Sender<Option<Held>>,
    },
}

/// How far this node's copy of a journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalEnd {
    /// Where it ends.
    pub tip: Tip,
    /// The first number that no quorum is known to hold and no block covers.
    pub replicated: Seq,
}

/// What a node holds beyond the last block, and what it lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Entries that are held, that no block covers, and that one may.
    pub unsealed: u64,
    /// Entries that others have announced or proposed and that are not here.
    pub missing: u64,
}

/// An entry that is held and not sealed.
#[derive(Clone, Debug)]
pub struct Held {
    /// The entry.
    pub entry: VerifiedEntry,
    /// Whether it is only parked: its key is not known yet and nothing is promised.
    pub parked: bool,
    /// Whether nodes with a quorum of the power have it on disk.
    pub replicated: bool,
}

/// What became of one submitted entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Taken and durable here.
    New {
        /// The entry.
        id: EntryId,
    },
    /// Already held or sealed here.
    Known {
        /// The entry.
        id: EntryId,
    },
    /// Kept in a bounded buffer because its key is not known yet; promises nothing.
    Parked {
        /// The entry.
        id: EntryId,
    },
    /// Another entry stands at its place in the journal: equivocation.
    Fork {
        /// The entry.
        id: EntryId,
        /// Stable rule id.
        rule: &'static str,
        /// What stands there.
        detail: String,
    },
    /// Not taken, and would not be if it came again unchanged in this state.
    Refused {
        /// The entry.
        id: EntryId,
        /// Stable rule id.
        rule: &'static str,
        /// What is wrong and what to do.
        detail: String,
    },
    /// Not taken for want of room; the same entry may come again.
    Busy {
        /// The entry.
        id: EntryId,
        /// After how long it is worth trying.
        retry_after: Duration,
    },
}

/// The latest decided state, as readers see it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The ledger after the last block that the store holds.
    pub ledger: Ledger,
    /// Whether the node takes part.
    pub readiness: Readiness,
    /// The members whose nodes are connected to this one; sorted.
    pub connected: Vec<MemberId>,
}

/// Whether the node takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Recovered, the engine not yet started.
    Starting,
    /// Recovered, and the engine runs.
    Ready,
    /// Going down, or stopped by an error that is named here.
    Stopping {
        /// Why, for whoever asks.
        reason: String,
    },
}

/// What does not change while a node runs.
#[derive(Clone, Debug)]
pub(crate) struct NodeInfo {
    /// The member whose node this is.
    pub(crate) member: MemberId,
    /// The node's name in its configuration.
    pub(crate) name: String,
    /// The network.
    pub(crate) network: NetworkId,
    /// The genesis file as it was read.
    pub(crate) genesis_toml: String,
}

/// Why a command was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GateError {
    /// The channel is full.
    #[error("{COMMANDS_MAX} requests are already waiting for the ledger")]
    Busy,
    /// The core thread is gone or dropped the command: the node is stopping.
    #[error("the node is stopping")]
    Closed,
}

impl GateError {
    /// The stable rule id of this refusal.
    pub(crate) const fn rule(self) -> &'static str {
        match self {
            Self::Busy => "NODE-BUSY",
            Self::Closed => "NODE-STOPPING",
        }
    }
}

/// Tells how far the consensus step is. It never waits for the engine.
pub(crate) type Watch = Arc<dyn Fn() -> Progress + Send + Sync>;

/// The doors' side.
#[derive(Clone)]
pub(crate) struct Gate {
    commands: mpsc::Sender<Command>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    reader: store::Reader,
    info: Arc<NodeInfo>,
    step: Watch,
}

/// The core's side.
pub(crate) struct Core {
    /// What was asked, oldest first. Draining it into one batch shares one fsync.
    pub(crate) commands: mpsc::Receiver<Command>,
    /// Where each new state is published, after it is in the store.
    pub(crate) snapshot: watch::Sender<Arc<Snapshot>>,
}

/// Makes both sides. `step` tells how far the consensus step is.
pub(crate) fn open(first: Snapshot, reader: store::Reader, info: NodeInfo, step: Watch) -> (Gate, Core) {
    let (ask, commands) = mpsc::channel(COMMANDS_MAX);
    let (publish, snapshot) = watch::channel(Arc::new(first));
    let gate = Gate { commands: ask, snapshot, reader, info: Arc::new(info), step };
    (gate, Core { commands, snapshot: publish })
}

impl Gate {
    /// What does not change.
    pub(crate) fn info(&self) -> &NodeInfo {
        &self.info
    }

    /// The latest decided state.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.borrow().clone()
    }

    /// History; its reads block.
    pub(crate) fn reader(&self) -> &store::Reader {
        &self.reader
    }

    /// How far the consensus step is.
    pub(crate) fn progress(&self) -> Progress {
        (self.step)()
    }

    /// How many commands wait for the core.
    pub(crate) fn waiting(&self) -> usize {
        self.commands.max_capacity().saturating_sub(self.commands.capacity())
    }

    /// Hands in verified entries.
    ///
    /// # Errors
    /// [`GateError`]; then nothing is known about the entries, and sending the same
    /// again is safe.
    pub(crate) async fn submit(&self, entries: Vec<VerifiedEntry>) -> Result<Vec<Admission>, GateError> {
        self.ask(|reply| Command::Submit { entries, reply }).await
    }

    /// How far this node's copy of a journal is; none if the key is unknown.
    ///
    /// # Errors
    /// [`GateError`].
    pub(crate) async fn tip(&self, journal: PublicKey) -> Result<Option<JournalEnd>, GateError> {
        self.ask(|reply| Command::Tip { journal, reply }).await
    }

    /// What the node holds beyond the last block, and what it lacks.
    ///
    /// # Errors
    /// [`GateError`].
    pub(crate) async fn standing(&self) -> Result<Standing, GateError> {
        self.ask(|reply| Command::Standing { reply }).await
    }

    /// An entry that is held here and not sealed.
    ///
    /// # Errors
    /// [`GateError`].
    pub(crate) async fn find(&self, id: EntryId) -> Result<Option<Held>, GateError> {
        self.ask(|reply| Command::Find { id, reply }).await
    }

    /// Waits until a block covers a place in a journal, or none ever will.
    ///
    /// # Errors
    /// [`GateError::Closed`] if the core ends before.
    pub(crate) async fn covered(&self, journal: PublicKey, seq: Seq) -> Result<(), GateError> {
        let covers = |snapshot: &Arc<Snapshot>| {
            let ledger = &snapshot.ledger;
            ledger.journal_tip(&journal).next > seq
                || ledger.journal_ends(&journal).is_some_and(|(end, _)| end <= seq)
        };
        let mut snapshot = self.snapshot.clone();
        snapshot.wait_for(covers).await.map(|_| ()).map_err(|_| GateError::Closed)
    }

    /// Waits until nodes with a quorum of the voting power have a place in a journal on
    /// disk, or a block covers it, or none ever will.
    ///
    /// # Errors
    /// [`GateError`].
    pub(crate) async fn replicated(&self, journal: PublicKey, seq: Seq) -> Result<(), GateError> {
        tokio::select! {
            replicated = self.ask(|reply| Command::Replicated { journal, seq, reply }) => replicated,
            covered = self.covered(journal, seq) => covered,
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, GateError> {
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(command(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => GateError::Busy,
            mpsc::error::TrySendError::Closed(_) => GateError::Closed,
        })?;
        answer.await.map_err(|_| GateError::Closed)
    }
}
