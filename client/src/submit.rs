//! Submitting: what is handed in here reaches the ledger, once, in order.
//!
//! ```text
//! Client ─queue (bounded)─▶ Sender ─outbox: fsync─▶ ticket ─▶ POST ─▶ accepted ─▶ replicated ─▶ sealed
//! ```
//!
//! A [`Client`] is one key's mouth: it owns the key's outbox and a thread that sends what
//! is in it, in order, many entries with one request, and asks how far they have come.
//! After a restart it goes on with what waits.
//!
//! *Invariants.* [`Client::queue`] answers once the intent is on the platter. A retry
//! sends the same bytes; one request is under way at a time, so entries never overtake
//! each other. What waits is bounded: beyond the bound callers wait. An entry that one node
//! may have taken is never signed anew because another refuses it.
//!
//! *Deliberately absent:* what entries mean. Bodies are checked as far as that is possible
//! without state, so that nothing that no node would take gets into the outbox.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use syngraph_protocol::codec;
use syngraph_protocol::entry::{Body, Deed};
use syngraph_protocol::ids::{EntryId, Height, Idem, PublicKey, Seq};
use syngraph_protocol::ledger::Outcome;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::api::{Node, State, Wait};
use crate::key::Key;
use crate::outbox::{BODY_BYTES_MAX, Outbox, OutboxError};

mod backoff;
mod nodes;
mod pending;
mod sender;
mod view;

use nodes::Nodes;
use sender::{Command, Sender};

/// Most submissions on their way to the sender's thread.
const COMMANDS_MAX: usize = 256;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the outbox is.
    pub outbox: PathBuf,
    /// How long nothing may move before tickets fail with `SUBMIT-UNAVAILABLE`. What they
    /// stand for stays in the outbox. None waits for ever.
    pub patience: Option<Duration>,
    /// Other nodes of the network, to go on with when the one before cannot be reached.
    pub others: Vec<Node>,
}

impl Options {
    /// The outbox beside a key file, no end to patience, and no other nodes.
    #[must_use]
    pub fn beside(key_file: &Path) -> Self {
        let mut outbox = key_file.as_os_str().to_owned();
        outbox.push(".outbox");
        Self { outbox: outbox.into(), patience: None, others: Vec::new() }
    }
}

/// Why something was not submitted, or nothing is known of it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SubmitError {
    /// It can never stand; nothing was kept.
    #[error("{detail}")]
    Refused {
        /// The rule.
        rule: String,
        /// The same in words.
        detail: String,
    },
    /// The outbox cannot be used.
    #[error(transparent)]
    Outbox(#[from] Arc<OutboxError>),
    /// Nothing has moved for as long as the caller's patience lasted. What was taken is
    /// still in the outbox and will be sent.
    #[error("{reason}; the entry stays in the outbox and is sent by the next command with this key")]
    Unavailable {
        /// What was in the way.
        reason: String,
        /// The rule id of what was in the way.
        rule: String,
    },
    /// No block will ever cover it: its key has forked its journal, was revoked below it or
    /// ended, or another entry was sealed in its place.
    #[error("the entry has lapsed by {rule}: no block will ever cover it")]
    Lapsed {
        /// The rule.
        rule: String,
    },
    /// The client was closed, or its thread ended. What was taken is in the outbox.
    #[error("the client was closed before it was known what became of the entry")]
    Closed,
    /// The system gives no randomness, or no thread.
    #[error("{0}")]
    System(String),
}

impl SubmitError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub fn rule(&self) -> &str {
        match self {
            Self::Refused { rule, .. } | Self::Unavailable { rule, .. } | Self::Lapsed { rule } => rule,
            Self::Outbox(error) => error.rule(),
            Self::Closed => "SUBMIT-CLOSED",
            Self::System(_) => "SUBMIT-SYSTEM",
        }
    }
}

/// What is known of a submitted entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its id.
    pub id: EntryId,
    /// Its number in the key's journal.
    pub seq: Seq,
    /// How far it has come.
    pub state: State,
    /// The block that covers it, once it is sealed.
    pub height: Option<Height>,
    /// Its position in the log, once it is sealed.
    pub index: Option<u64>,
    /// What became of it, once it is sealed.
    pub outcome: Option<Outcome>,
}

/// How far an entry has come, as its ticket sees it.
#[derive(Clone, Debug)]
enum Progress {
    Queued,
    /// Accepted, replicated or sealed, as the receipt says.
    Held(Receipt),
    Failed(SubmitError),
}

/// What tickets ask of the sender beyond the seal, which it follows in any case.
#[derive(Debug, Default)]
struct Wishes {
    /// Whether somebody wants to know when entries are replicated.
    replicated: AtomicBool,
    /// Told when that changes.
    changed: Notify,
}

/// Stands for an entry that is in the outbox.
#[derive(Debug)]
pub struct Ticket {
    progress: watch::Receiver<Progress>,
    wishes: Arc<Wishes>,
}

impl Ticket {
    async fn wait(&mut self, is_enough: impl Fn(&Progress) -> bool) -> Result<Receipt, SubmitError> {
        let enough = |progress: &Progress| matches!(progress, Progress::Failed(_)) || is_enough(progress);
        let progress = self.progress.wait_for(enough).await.map_err(|_| SubmitError::Closed)?.clone();
        match progress {
            Progress::Held(receipt) => Ok(receipt),
            Progress::Failed(error) => Err(error),
            Progress::Queued => Err(SubmitError::Closed),
        }
    }

    /// How far the entry has come, as far as is known here; none while it is only in the
    /// outbox, or if it failed. [`State::Replicated`] is looked for once somebody has asked
    /// for it with [`Self::replicated`].
    #[must_use]
    pub fn state(&self) -> Option<State> {
        match &*self.progress.borrow() {
            Progress::Held(receipt) => Some(receipt.state),
            Progress::Failed(SubmitError::Lapsed { .. }) => Some(State::Lapsed),
            Progress::Queued | Progress::Failed(_) => None,
        }
    }

    /// Waits until the entry has come so far.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn reached(&mut self, wait: Wait) -> Result<Receipt, SubmitError> {
        if wait == Wait::Replicated && !self.wishes.replicated.swap(true, Ordering::Relaxed) {
            self.wishes.changed.notify_one();
        }
        self.wait(|progress| matches!(progress, Progress::Held(receipt) if receipt.state >= wait.state()))
            .await
    }

    /// Waits until a node has acknowledged the entry as durable.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn accepted(&mut self) -> Result<Receipt, SubmitError> {
        self.reached(Wait::Accepted).await
    }

    /// Waits until nodes with a quorum of the voting power have the entry on disk.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn replicated(&mut self) -> Result<Receipt, SubmitError> {
        self.reached(Wait::Replicated).await
    }

    /// Waits until a block covers the entry; the receipt then has its outcome.
    ///
    /// # Errors
    /// [`SubmitError`]. An entry that the ledger refused is no error here: the outcome says.
    pub async fn sealed(&mut self) -> Result<Receipt, SubmitError> {
        self.reached(Wait::Sealed).await
    }
}

/// Submits entries with one key. Dropping it stops sending; what waits is sent when the
/// outbox is opened again.
pub struct Client {
    commands: mpsc::Sender<Command>,
    /// The thread ends when this is told or dropped.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
    wishes: Arc<Wishes>,
    node: Node,
    key: PublicKey,
}

impl Client {
    /// Opens the key's outbox and starts to send what waits in it.
    ///
    /// # Errors
    /// [`SubmitError::Outbox`], [`SubmitError::System`].
    pub fn open(node: Node, key: &Key, options: &Options) -> Result<Self, SubmitError> {
        let outbox = Outbox::open(&options.outbox).map_err(Arc::new)?;
        let public = key.public();
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let system = |error: std::io::Error| SubmitError::System(error.to_string());
        // A runtime of its own: fsync blocks, and callers may be on any runtime.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system)?;
        // Connections belong to the runtime they were made on, so the thread has its own.
        let nodes = [&node].into_iter().chain(&options.others).map(|node| Node::new(node.url()));
        let nodes =
            nodes.collect::<Result<Vec<_>, _>>().map_err(|error| SubmitError::System(error.to_string()))?;
        let wishes = Arc::new(Wishes::default());
        let sender =
            Sender::new(Nodes::new(nodes), key.secret().clone(), outbox, options.patience, wishes.clone());
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("outbox".into())
            .spawn(move || runtime.block_on(sender.run(receiver, stopped)))
            .map_err(system)?;
        Ok(Self { commands, stop, thread, wishes, node, key: public })
    }

    /// The node that it talks to first.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The key that it signs with.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.key
    }

    /// Takes a body into the outbox. It answers once that is durable, and waits while the
    /// outbox is full.
    ///
    /// # Errors
    /// [`SubmitError`]; a body that can never stand is refused here and not kept.
    pub async fn queue(&self, body: Body) -> Result<Ticket, SubmitError> {
        check(&body)?;
        let (taken, answer) = oneshot::channel();
        let (progress, watcher) = watch::channel(Progress::Queued);
        let command = Command { body, taken, progress };
        self.commands.send(command).await.map_err(|_| SubmitError::Closed)?;
        answer.await.map_err(|_| SubmitError::Closed)??;
        Ok(Ticket { progress: watcher, wishes: self.wishes.clone() })
    }

    /// Submits a body and waits until a node has acknowledged it.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn submit(&self, body: Body) -> Result<Receipt, SubmitError> {
        self.queue(body).await?.accepted().await
    }

    /// Submits a body and waits until it has come so far.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn submit_until(&self, body: Body, wait: Wait) -> Result<Receipt, SubmitError> {
        self.queue(body).await?.reached(wait).await
    }

    /// Submits a body and waits until a block covers it.
    ///
    /// # Errors
    /// [`SubmitError`]. An entry that the ledger refused is no error here: the outcome says.
    pub async fn submit_and_wait(&self, body: Body) -> Result<Receipt, SubmitError> {
        self.queue(body).await?.sealed().await
    }

    /// Submits a deed under a new idempotency key and waits until a block covers it.
    ///
    /// # Errors
    /// As [`Self::submit_and_wait`].
    pub async fn act(&self, deed: Deed) -> Result<Receipt, SubmitError> {
        self.submit_and_wait(Body::Deed { idem: new_idem()?, deed }).await
    }

    /// Stops sending and lets go of the outbox. What waits stays in it.
    pub async fn close(self) {
        let Self { stop, thread, .. } = self;
        // A thread that has ended already, or panicked, has nothing left to close.
        stop.send(()).ok();
        tokio::task::spawn_blocking(move || thread.join()).await.ok();
    }
}

/// A new random idempotency key.
///
/// # Errors
/// [`SubmitError::System`] if the system gives no randomness.
pub fn new_idem() -> Result<Idem, SubmitError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| SubmitError::System(error.to_string()))?;
    Ok(Idem::from_bytes(bytes))
}

/// Refuses what no node would take.
fn check(body: &Body) -> Result<(), SubmitError> {
    body.check().map_err(|refusal| SubmitError::Refused {
        rule: refusal.rule().to_owned(),
        detail: refusal.to_string(),
    })?;
    let len = codec::encode(body).len();
    if len > BODY_BYTES_MAX {
        let detail = format!("a body of {len} bytes; the most that fits an entry are {BODY_BYTES_MAX}");
        return Err(SubmitError::Refused { rule: "ENC-TOO-LONG".into(), detail });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
