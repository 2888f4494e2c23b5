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
//! stored. A failure of the store is final: nothing is acknowledged after it.
//!
//! *Deliberately absent:* any rule. It carries questions to `chain` and `journals` and
//! their answers to the disk, the engine and the doors.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use syngraph_protocol::block::Block;
use syngraph_protocol::certificate::Certificate;
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{EntryId, Height, MemberId};
use syngraph_protocol::ledger::BlockError;
use syngraph_protocol::time::UtcMs;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;

use crate::chain::{Chain, DecideError, Verdict};
use crate::consensus::{Engine, Event, Judged, Reply, Start, SyncVerdict};
use crate::gate::{self, Admission, Command, Held, Readiness, Snapshot};
use crate::journals::{Admitted, Journals};
use crate::store::{Reader, Store, StoreError};
use crate::telemetry::Metrics;

/// Most commands that are taken together before their entries are synced.
const BATCH_MAX: usize = 64;

/// Most proposals that wait for their entries or their time; the oldest goes first, and
/// comes again by sync if it is decided.
const UNJUDGED_MAX: usize = 16;

/// How often the engine is asked whether it has halted.
const HALT_CHECK: Duration = Duration::from_secs(5);

/// How long a door without room asks to be left alone.
const NO_ROOM_RETRY: Duration = Duration::from_secs(1);

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

/// The engine waits to be told that the next height may begin.
struct Waiting {
    reply: Reply<Start>,
    not_before: Instant,
    at_latest: Instant,
}

/// A proposal without a verdict yet: entries are missing, or its time has not come.
struct Unjudged {
    height: Height,
    round: u32,
    proposer: MemberId,
    block: Box<Block>,
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
    waiting: Option<Waiting>,
    unjudged: Vec<Unjudged>,
    /// When the time of the first unjudged proposal that is ahead of our clock comes.
    early: Option<UtcMs>,
    last_block: Instant,
    /// Whether entries were written since the last sync.
    unsynced: bool,
    /// Admissions since the last sync, by where their answers go.
    unanswered: Vec<(oneshot::Sender<Vec<Admission>>, Vec<Admission>)>,
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
            waiting: None,
            unjudged: Vec::new(),
            early: None,
            last_block: Instant::now(),
            unsynced: false,
            unanswered: Vec::new(),
        }
    }

    /// Runs until it is told to stop or cannot go on. The store is closed in order in
    /// either case.
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
                    None => Err(CoreError::Engine),
                },
                Some(command) = self.commands.recv() => self.on_commands(command),
                () = sleep_until(wake.into()) => self.on_wake(),
            };
            if let Err(error) = step.and_then(|()| self.start_if_due()) {
                break Err(error);
            }
        };
        let reason = match &ended {
            Ok(()) => "the node was asked to stop".to_owned(),
            Err(error) => error.to_string(),
        };
        self.publish(Readiness::Stopping { reason });
        match ended {
            Ok(()) => Ok(self.store.close()?),
            Err(error) => Err(error),
        }
    }

    /// When there is something to do even if nothing is heard.
    fn wake_at(&self) -> Instant {
        let retry = self.early.map(|until| Instant::now() + wait_ms(until.since_ms(now())));
        let times = [self.next_start(), retry, Some(Instant::now() + HALT_CHECK)];
        times.into_iter().flatten().min().unwrap_or_else(Instant::now)
    }

    /// When the next height may begin: soon if there is something to seal, else at the
    /// heartbeat. None while a height is under way.
    fn next_start(&self) -> Option<Instant> {
        let waiting = self.waiting.as_ref()?;
        let work = self.journals.has_work(self.chain.ledger());
        Some(if work { waiting.not_before } else { waiting.at_latest })
    }

    fn on_wake(&mut self) -> Result<(), CoreError> {
        if self.engine.is_halted() {
            return Err(CoreError::Halted);
        }
        if self.early.is_some_and(|until| until <= now()) { self.judge_again() } else { Ok(()) }
    }

    fn start_if_due(&mut self) -> Result<(), CoreError> {
        match self.next_start() {
            Some(due) if due <= Instant::now() => self.start_next(),
            _ => Ok(()),
        }
    }

    fn start_next(&mut self) -> Result<(), CoreError> {
        let Some(waiting) = self.waiting.take() else { return Ok(()) };
        let height = self.chain.next_height().ok_or(CoreError::Full)?;
        let voters = self.chain.ledger().voters().clone();
        waiting.reply.send(Start { height, voters });
        Ok(())
    }

    /// Holds the engine back until the next height is due.
    fn wait(&mut self, reply: Reply<Start>) {
        let params = self.chain.ledger().params();
        let after = |ms: u32| self.last_block + Duration::from_millis(ms.into());
        let waiting = Waiting {
            reply,
            not_before: after(params.block_interval_ms_min),
            at_latest: after(params.heartbeat_ms),
        };
        self.waiting = Some(waiting);
    }

    // ------------------------------------------------------------------ the doors

    /// Takes a command and those that wait behind it, syncs once, then answers.
    fn on_commands(&mut self, first: Command) -> Result<(), CoreError> {
        self.on_command(first)?;
        for _ in 1..BATCH_MAX {
            let Ok(next) = self.commands.try_recv() else { break };
            self.on_command(next)?;
        }
        self.sync_and_answer()
    }

    fn on_command(&mut self, command: Command) -> Result<(), CoreError> {
        match command {
            Command::Submit { entries, reply } => {
                let admissions = entries.into_iter().map(|entry| self.take(entry));
                let admissions = admissions.collect::<Result<Vec<_>, CoreError>>()?;
                self.unanswered.push((reply, admissions));
            }
            Command::Tip { journal, reply } => {
                // Whoever asked may have gone: nothing is lost with the answer.
                reply.send(self.journals.tip(self.chain.ledger(), &journal)).ok();
            }
            Command::Find { id, reply } => {
                let found = self.journals.find(&id);
                reply.send(found.map(|(entry, parked)| Held { entry: entry.clone(), parked })).ok();
            }
        }
        Ok(())
    }

    /// Hands an entry to the journals and, if it is new, to the log. It counts only
    /// after the next sync.
    fn take(&mut self, entry: VerifiedEntry) -> Result<Admission, CoreError> {
        let id = entry.id();
        let admitted = self.journals.admit(self.chain.ledger(), entry.clone());
        if admitted == Admitted::New {
            self.store.append_entry(&entry)?;
            self.unsynced = true;
        }
        let admission = self.admission(id, admitted)?;
        match &admission {
            Admission::New { .. } => self.metrics.entry_accepted(),
            Admission::Fork { rule, .. } | Admission::Refused { rule, .. } => self.metrics.entry_refused(rule),
            Admission::Known { .. } | Admission::Parked { .. } | Admission::Busy { .. } => {}
        }
        Ok(admission)
    }

    fn admission(&self, id: EntryId, admitted: Admitted) -> Result<Admission, CoreError> {
        Ok(match admitted {
            Admitted::New => Admission::New { id },
            Admitted::Held => Admission::Known { id },
            Admitted::Parked => Admission::Parked { id },
            Admitted::Busy => Admission::Busy { id, retry_after: NO_ROOM_RETRY },
            Admitted::Sealed if self.reader.find(&id)?.is_some() => Admission::Known { id },
            Admitted::Sealed => fork(id, "another entry is sealed at its place in the journal".to_owned()),
            Admitted::Fork { other } => fork(id, format!("entry {other} stands at its place in the journal")),
            Admitted::Refused(why) => Admission::Refused { id, rule: why.rule(), detail: why.to_string() },
        })
    }

    /// A crash before the sync leaves entries that nobody was promised; start-up keeps
    /// those that are whole. A crash after it loses nothing: start-up finds them in the
    /// log and seals them.
    fn sync_and_answer(&mut self) -> Result<(), CoreError> {
        if std::mem::take(&mut self.unsynced) {
            let began = Instant::now();
            self.store.sync()?;
            self.metrics.fsynced("entries", began.elapsed().as_secs_f64());
            self.journals.synced();
            self.judge_again()?;
        }
        for (reply, admissions) in self.unanswered.drain(..) {
            // A door that gave up meanwhile finds the entries known when it asks again.
            reply.send(admissions).ok();
        }
        Ok(())
    }

    // ----------------------------------------------------------------- the engine

    fn on_event(&mut self, event: Event) -> Result<(), CoreError> {
        match event {
            Event::Ready { reply } => {
                self.publish(Readiness::Ready);
                self.wait(reply);
            }
            Event::RoundStarted { height, round, proposer, reply } => {
                reply.send(self.verdicts(height, round, proposer));
            }
            Event::Build { height, round, reply, .. } => self.build(height, round, reply)?,
            Event::Restream { height, round, proposer, block } => {
                if let Some(known) = self.chain.candidate(&block) {
                    self.engine.publish(height, round, proposer, &known.block);
                }
            }
            Event::Proposal { height, round, proposer, block } => {
                self.judge(Unjudged { height, round, proposer, block })?;
            }
            Event::PeerStarted { height } if Some(height) == self.chain.next_height() => self.start_next()?,
            Event::PeerStarted { .. } => {}
            Event::Decided { certificate, reply } => self.decide(&certificate, reply)?,
            Event::Finalized { evidence, reply, .. } => {
                if !evidence.is_empty() {
                    tracing::warn!(?evidence, "members were seen to sign twice");
                }
                self.wait(reply);
            }
            Event::HistoryMin { reply } => reply.send(Height::new(1)),
            Event::DecidedRange { from, to, reply } => reply.send(self.decided(from, to)?),
            Event::Synced { block, reply, .. } => reply.send(self.judge_synced(&block)?),
        }
        Ok(())
    }

    /// What is already known about blocks of this height.
    fn verdicts(&self, height: Height, round: u32, proposer: MemberId) -> Vec<Judged> {
        let known = self.chain.candidates_at(height);
        known.map(|block| Judged { height, round, proposer, block, valid: true }).collect()
    }

    /// Builds a block, or proposes again the one that was built. It is durable before
    /// the engine hears of it: after a crash start-up executes it again, so that the
    /// node never proposes two.
    fn build(&mut self, height: Height, round: u32, reply: Reply<syngraph_protocol::ids::BlockId>) -> Result<(), CoreError> {
        if Some(height) != self.chain.next_height() {
            return Ok(());
        }
        let began = Instant::now();
        let journals = &self.journals;
        let executed = self.chain.propose(now(), |ledger| journals.select(ledger))?;
        let entries = u32::try_from(executed.entries.len()).unwrap_or(u32::MAX);
        self.metrics.block_executed(entries, began.elapsed().as_secs_f64());
        self.store.keep_undecided(&executed.block)?;
        self.engine.publish(height, round, self.me, &executed.block);
        reply.send(executed.block.id());
        Ok(())
    }

    /// Judges a peer's proposal. Without all its entries, or before its time, there is
    /// no verdict yet: it is judged again when entries arrive or its time comes.
    fn judge(&mut self, proposal: Unjudged) -> Result<(), CoreError> {
        let Unjudged { height, round, proposer, ref block } = proposal;
        let Some(entries) = self.entries_under(block) else {
            self.judge_later(proposal);
            return Ok(());
        };
        let valid = match self.chain.judge_live(now(), block, entries) {
            Verdict::Valid => true,
            Verdict::Invalid(error) => {
                tracing::warn!(%height, %proposer, rule = error.rule(), %error, "invalid proposal");
                false
            }
            Verdict::Early { until } => {
                self.early = Some(self.early.map_or(until, |first| first.min(until)));
                self.judge_later(proposal);
                return Ok(());
            }
            Verdict::Stale | Verdict::OtherHeight => return Ok(()),
        };
        if valid {
            self.store.keep_undecided(block)?;
        }
        self.engine.judged(Judged { height, round, proposer, block: block.id(), valid });
        Ok(())
    }

    fn judge_later(&mut self, proposal: Unjudged) {
        if self.unjudged.len() >= UNJUDGED_MAX {
            self.unjudged.remove(0);
        }
        self.unjudged.push(proposal);
    }

    fn judge_again(&mut self) -> Result<(), CoreError> {
        self.early = None;
        std::mem::take(&mut self.unjudged).into_iter().try_for_each(|proposal| self.judge(proposal))
    }

    fn judge_synced(&mut self, block: &Block) -> Result<SyncVerdict, CoreError> {
        let Some(entries) = self.entries_under(block) else { return Ok(SyncVerdict::NotYet) };
        Ok(match self.chain.judge(block, entries) {
            Verdict::Valid => {
                self.store.keep_undecided(block)?;
                SyncVerdict::Valid
            }
            Verdict::Invalid(error) => {
                tracing::error!(height = %block.header.height, rule = error.rule(), %error, "a decided block is invalid here");
                SyncVerdict::Invalid
            }
            Verdict::Early { .. } | Verdict::Stale | Verdict::OtherHeight => SyncVerdict::NotYet,
        })
    }

    /// The entries under a block's cut, if all are held and durable.
    fn entries_under(&self, block: &Block) -> Option<Vec<VerifiedEntry>> {
        self.journals.under(self.chain.ledger(), &block.cut).ok()
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

    /// Carries out a decision: store, then move on, then acknowledge and publish. A
    /// crash before the store's sync leaves the decision to the engine's log, which
    /// tells it again; a crash after it leaves a block that start-up replays.
    fn decide(&mut self, certificate: &Certificate, reply: Reply<()>) -> Result<(), CoreError> {
        if certificate.height <= self.chain.ledger().height() {
            // Told again after a restart.
            reply.send(());
            return Ok(());
        }
        let executed = self.chain.decide(certificate)?;
        let began = Instant::now();
        self.store.commit(&executed, certificate)?;
        self.metrics.fsynced("blocks", began.elapsed().as_secs_f64());
        for event in &executed.events {
            tracing::debug!(height = %certificate.height, ?event, "event");
        }
        self.chain.advance(executed.ledger);
        self.journals.sealed(self.chain.ledger(), &executed.entries);
        self.last_block = Instant::now();
        let next = self.chain.next_height();
        self.unjudged.retain(|proposal| Some(proposal.height) >= next);
        reply.send(());
        self.publish(Readiness::Ready);
        self.readmit()
    }

    /// Entries whose key was unknown may now be taken; nobody waits for an answer.
    fn readmit(&mut self) -> Result<(), CoreError> {
        for entry in self.journals.unpark(self.chain.ledger()) {
            self.take(entry)?;
        }
        self.sync_and_answer()
    }

    fn publish(&self, readiness: Readiness) {
        let ready = readiness == Readiness::Ready;
        let ledger = self.chain.ledger().clone();
        self.metrics.observe(&ledger, ready, self.commands.len());
        self.snapshot.send_replace(Arc::new(Snapshot { ledger, readiness }));
    }
}

fn fork(id: EntryId, detail: String) -> Admission {
    Admission::Fork { id, rule: "JRN-FORK", detail }
}

fn wait_ms(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// The clock: the only place where the node reads it for the chain.
fn now() -> UtcMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcMs::from_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
