//! The core thread: the one owner of chain, journals and store.
//!
//! ```text
//! gate ──Command──▶ ┐                      ┌─▶ store (write, fsync)
//!                   ├─▶ core ─ journals ───┤
//! engine ──Event──▶ ┘        └ chain ──────┴─▶ engine, snapshot
//! ```
//!
//! *Invariants.* It runs on a thread of its own, so that its disk writes block nobody
//! else. Commands that wait are taken together and share one fsync; they are answered
//! after it. A block is acknowledged to the engine, and published to readers, after it is
//! stored. A failure of the store is final: nothing is acknowledged after it. What time
//! brings is looked at after every step, so that neither busy doors nor a busy engine can
//! put it off.
//!
//! *Deliberately absent:* any rule. It carries questions to `chain` and `journals` and
//! their answers to the disk, the engine and the doors.

mod doors;
mod proposals;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use syngraph_protocol::block::Block;
use syngraph_protocol::certificate::Certificate;
use syngraph_protocol::ids::{Height, MemberId};
use syngraph_protocol::ledger::BlockError;
use syngraph_protocol::time::UtcMs;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;

use self::proposals::Unjudged;
use crate::chain::{Chain, DecideError};
use crate::consensus::{Engine, Event, Reply, Start};
use crate::gate::{self, Command, Readiness, Snapshot};
use crate::journals::Journals;
use crate::pace::Pace;
use crate::store::{Reader, Store, StoreError};
use crate::telemetry::Metrics;

/// Longest time between two looks at whether the engine has halted.
const HALT_CHECK: Duration = Duration::from_secs(5);

/// Why the core stops.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CoreError {
    /// The disk failed, or holds what cannot be.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A decision cannot be carried out.
    #[error(transparent)]
    Decide(#[from] DecideError),
    /// The journals selected what cannot be a block: a bug.
    #[error("the next block cannot be built: {0}")]
    Build(#[from] BlockError),
    /// No height is left.
    #[error("the chain has no height left")]
    Full,
    /// The engine has stopped.
    #[error("the consensus engine has stopped")]
    Engine,
    /// The consensus engine refuses to go on, because it could sign twice.
    #[error("the consensus engine has halted for safety: its log of votes contradicts itself")]
    Halted,
}

impl CoreError {
    /// The stable rule id.
    pub(crate) fn rule(&self) -> &'static str {
        match self {
            Self::Store(error) => error.rule(),
            Self::Decide(DecideError::Unknown { .. }) => "NODE-DECIDED-UNKNOWN",
            Self::Decide(DecideError::Certificate(error)) => error.rule(),
            Self::Build(error) => error.rule(),
            Self::Full => "NODE-CHAIN-FULL",
            Self::Engine => "NODE-ENGINE-STOPPED",
            Self::Halted => "NODE-ENGINE-HALTED",
        }
    }
}

/// The owner of everything that changes.
pub(crate) struct Core {
    me: MemberId,
    chain: Chain,
    journals: Journals,
    store: Store,
    reader: Reader,
    engine: Engine,
    commands: mpsc::Receiver<Command>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    metrics: Metrics,
    pace: Pace<Reply<Start>>,
    unjudged: Vec<Unjudged>,
    /// When the time of the first unjudged proposal that is ahead of our clock comes.
    early: Option<UtcMs>,
    /// Whether entries were written since the last sync.
    unsynced: bool,
    /// Answers that wait for the next sync.
    unanswered: Vec<Box<dyn FnOnce() + Send>>,
}

impl Core {
    /// Puts the parts together. `journals` holds what was recovered.
    pub(crate) fn new(
        me: MemberId,
        chain: Chain,
        journals: Journals,
        store: Store,
        engine: Engine,
        doors: gate::Core,
        metrics: Metrics,
    ) -> Self {
        Self {
            me,
            chain,
            journals,
            reader: store.reader(),
            store,
            engine,
            commands: doors.commands,
            snapshot: doors.snapshot,
            metrics,
            pace: Pace::new(Instant::now()),
            unjudged: Vec::new(),
            early: None,
            unsynced: false,
            unanswered: Vec::new(),
        }
    }

    /// Runs until it is told to stop or cannot go on. The store is closed in either case,
    /// unless it is what failed.
    ///
    /// # Errors
    /// [`CoreError`] if it cannot go on; the node must exit.
    pub(crate) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut stop: oneshot::Receiver<()>,
    ) -> Result<(), CoreError> {
        let ended = loop {
            let wake = self.wake_at();
            let step = tokio::select! {
                biased;
                _ = &mut stop => break Ok(()),
                event = events.recv() => match event {
                    Some(event) => self.on_event(event),
                    None if self.engine.is_halted() => Err(CoreError::Halted),
                    None => Err(CoreError::Engine),
                },
                Some(command) = self.commands.recv() => self.on_commands(command),
                () = sleep_until(wake.into()) => Ok(()),
            };
            if let Err(error) = step.and_then(|()| self.tend()) {
                break Err(error);
            }
        };
        let reason = match &ended {
            Ok(()) => "the node was asked to stop".to_owned(),
            Err(error) => error.to_string(),
        };
        self.publish(Readiness::Stopping { reason });
        let closed = self.store.close();
        // Why it ended comes first: a store that failed only repeats it.
        ended?;
        Ok(closed?)
    }

    /// When there is something to do even if nothing is heard.
    fn wake_at(&self) -> Instant {
        let retry = self.early.map(|until| Instant::now() + wait_ms(until.since_ms(now())));
        let times = [self.next_start(), retry, Some(Instant::now() + HALT_CHECK)];
        times.into_iter().flatten().min().unwrap_or_else(Instant::now)
    }

    /// Does what time has brought.
    fn tend(&mut self) -> Result<(), CoreError> {
        if self.engine.is_halted() {
            return Err(CoreError::Halted);
        }
        if self.early.is_some_and(|until| until <= now()) {
            self.judge_again()?;
        }
        match self.next_start() {
            Some(due) if due <= Instant::now() => self.start_next(),
            _ => Ok(()),
        }
    }

    /// When the next height may begin; none while a height is under way.
    fn next_start(&self) -> Option<Instant> {
        let ledger = self.chain.ledger();
        self.pace.due(ledger.params(), || self.journals.has_work(ledger))
    }

    fn start_next(&mut self) -> Result<(), CoreError> {
        let Some(reply) = self.pace.release() else { return Ok(()) };
        let height = self.chain.next_height().ok_or(CoreError::Full)?;
        let voters = self.chain.ledger().voters().clone();
        reply.send(Start { height, voters });
        Ok(())
    }

    fn on_event(&mut self, event: Event) -> Result<(), CoreError> {
        match event {
            Event::Ready { reply } => {
                self.publish(Readiness::Ready);
                self.pace.hold(reply);
            }
            Event::RoundStarted { height, round, proposer, reply } => {
                reply.send(self.verdicts(height, round, proposer));
            }
            Event::Build { height, round, reply } => self.build(height, round, reply)?,
            Event::Restream { height, round, proposer, block } => {
                if let Some(known) = self.chain.block(&block) {
                    self.engine.publish(height, round, proposer, known);
                }
            }
            Event::Proposal { height, round, proposer, block } => {
                self.judge(Unjudged { height, round, proposer, block })?;
            }
            Event::PeerStarted { height } if Some(height) == self.chain.next_height() => self.start_next()?,
            Event::PeerStarted { .. } => {}
            Event::Decided { certificate, reply } => {
                self.decide(&certificate)?;
                reply.send(());
            }
            Event::Finalized { evidence, reply } => {
                if !evidence.is_empty() {
                    tracing::warn!(?evidence, "members were seen to sign twice");
                }
                self.pace.hold(reply);
            }
            Event::HistoryMin { reply } => reply.send(Height::new(1)),
            Event::DecidedRange { from, to, reply } => reply.send(self.decided(from, to)?),
            Event::Synced { block, reply } => reply.send(self.judge_synced(&block)?),
        }
        Ok(())
    }

    fn decided(&self, from: Height, to: Height) -> Result<Vec<(Block, Certificate)>, CoreError> {
        let mut blocks = Vec::new();
        let mut height = from;
        while height <= to {
            let Some(record) = self.reader.block(height)? else { break };
            blocks.push((record.block, record.certificate));
            let Some(next) = height.next() else { break };
            height = next;
        }
        Ok(blocks)
    }

    /// Carries out a decision: store, then move on, then publish; the caller acknowledges
    /// it. A crash before the store's sync leaves the decision to the engine's log, which
    /// tells it again; a crash after it leaves a block that start-up replays.
    fn decide(&mut self, certificate: &Certificate) -> Result<(), CoreError> {
        if certificate.height <= self.chain.ledger().height() {
            // Told again after a restart.
            return Ok(());
        }
        self.recall(&certificate.block);
        let executed = self.chain.decide(certificate)?;
        let began = Instant::now();
        self.store.commit(&executed, certificate)?;
        self.metrics.fsynced("blocks", began.elapsed().as_secs_f64());
        for event in &executed.events {
            tracing::debug!(height = %certificate.height, ?event, "event");
        }
        self.chain.advance(executed.ledger);
        self.journals.sealed(self.chain.ledger(), &executed.entries);
        self.pace.stored(Instant::now());
        self.publish(Readiness::Ready);
        self.readmit()?;
        self.judge_again()
    }

    fn publish(&self, readiness: Readiness) {
        let ready = readiness == Readiness::Ready;
        let ledger = self.chain.ledger().clone();
        self.metrics.observe(&ledger, ready, self.commands.len());
        self.snapshot.send_replace(Arc::new(Snapshot { ledger, readiness }));
    }
}

fn wait_ms(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// The clock: the only place where the node reads it for the chain.
fn now() -> UtcMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcMs::from_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
