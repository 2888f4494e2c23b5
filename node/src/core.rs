//! The core: the one owner of what changes, between the node's ports.
//!
//! ```text
//! doors  ──Command──▶ ┐                          ┌─▶ Disk (write, fsync)
//! peers  ──PeerEvent─▶├─▶ journals ─▶ chain ─────┼─▶ Voting (verdicts, proposals)
//! engine ──Event────▶ ┘   └─▶ replicas           └─▶ Peers (pushes, announcements, asks)
//! ```
//!
//! Sans-I/O: `handle` takes one input, `settle` makes what was taken durable and then
//! answers, asks and goes on. `run` drives it on a thread of its own, so that its writes
//! block nobody else; the simulator drives it in memory.
//!
//! *Invariants.* Inputs that come together share one fsync; whoever gave them is answered
//! after it. A block is acknowledged to the engine, and published to readers, after it is
//! stored. A failure of the disk is final: nothing is acknowledged after it. What time
//! brings is looked at in every `settle`, so that nobody's busyness puts it off.
//!
//! *Deliberately absent:* any rule. It carries questions to `chain`, `journals` and
//! `replicas` and their answers to the ports.

mod doors;
mod evidence;
pub mod ports;
mod proposals;
mod replication;
mod restore;
mod run;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use syngraph_protocol::certificate::Certificate;
use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{Height, MemberId};
use syngraph_protocol::ledger::BlockError;
use syngraph_protocol::time::UtcMs;
use tokio::sync::watch;

use self::doors::Awaiting;
use self::evidence::Reported;
use self::ports::{Disk, Input, Now, Peers, Voting};
use self::proposals::{Asked, Unjudged};
pub use self::restore::restore;
pub(crate) use self::run::{Sources, run};
use crate::chain::{Chain, DecideError};
use crate::consensus::{Event, Reply, Start};
use crate::gate::{Readiness, Snapshot};
use crate::journals::{Cuttable, Journals};
use crate::pace::Pace;
use crate::replicas::message::{Response, Ticket};
use crate::replicas::{Ask, Replicas, View};
use crate::store::StoreError;
use crate::telemetry::Metrics;

/// Why the core stops.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
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
    /// The peer port has closed.
    #[error("the peer port has closed")]
    Peers,
}

impl CoreError {
    /// The stable rule id.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Store(error) => error.rule(),
            Self::Decide(DecideError::Unknown { .. }) => "NODE-DECIDED-UNKNOWN",
            Self::Decide(DecideError::Certificate(error)) => error.rule(),
            Self::Build(error) => error.rule(),
            Self::Full => "NODE-CHAIN-FULL",
            Self::Engine => "NODE-ENGINE-STOPPED",
            Self::Halted => "NODE-ENGINE-HALTED",
            Self::Peers => "NODE-PEERS-STOPPED",
        }
    }
}

/// Whose node it is.
#[derive(Debug)]
pub struct Own {
    /// The member.
    pub member: MemberId,
    /// Signs what the node itself has to say, such as evidence.
    pub journal: SecretKey,
}

/// The owner of everything that changes.
pub struct Core<D, V, P> {
    own: Own,
    chain: Chain,
    journals: Journals,
    replicas: Replicas,
    disk: D,
    voting: V,
    peers: P,
    snapshot: watch::Sender<Arc<Snapshot>>,
    metrics: Metrics,
    pace: Pace<Reply<Start>>,
    /// The engine's question for a block, while there is nothing to seal.
    asked: Option<Asked>,
    unjudged: Vec<Unjudged>,
    /// When the time of the first unjudged proposal that is ahead of our clock comes.
    early: Option<UtcMs>,
    /// When the engine began the height that is under way.
    height_began: Option<(Height, Instant)>,
    reported: Reported,
    /// Whether entries were written since the last sync.
    unsynced: bool,
    /// Entries that came through our doors since the last sync.
    fresh: Vec<VerifiedEntry>,
    /// Answers that wait for the next sync.
    unanswered: Vec<Box<dyn FnOnce() + Send>>,
    /// Answers to peers that do.
    owed: Vec<(MemberId, Ticket, Response)>,
    /// Doors that wait for a quorum to hold an entry.
    awaiting: Vec<Awaiting>,
}

/// What a core is made of.
pub struct Parts<D, V, P> {
    /// Whose node it is.
    pub own: Own,
    /// The decided state, and the candidates that were kept.
    pub chain: Chain,
    /// What was held.
    pub journals: Journals,
    /// Where things are kept.
    pub disk: D,
    /// What decides.
    pub voting: V,
    /// The other nodes.
    pub peers: P,
    /// Where each new state is published, after it is stored.
    pub snapshot: watch::Sender<Arc<Snapshot>>,
    /// What is counted.
    pub metrics: Metrics,
}

impl<D: Disk, V: Voting, P: Peers> Core<D, V, P> {
    /// Puts the parts together.
    pub fn new(parts: Parts<D, V, P>, now: Now) -> Self {
        let Parts { own, chain, journals, disk, voting, peers, snapshot, metrics } = parts;
        Self {
            replicas: Replicas::new(own.member),
            own,
            chain,
            journals,
            disk,
            voting,
            peers,
            snapshot,
            metrics,
            pace: Pace::new(now.instant),
            asked: None,
            unjudged: Vec::new(),
            early: None,
            height_began: None,
            reported: Reported::default(),
            unsynced: false,
            fresh: Vec::new(),
            unanswered: Vec::new(),
            owed: Vec::new(),
            awaiting: Vec::new(),
        }
    }

    /// Takes an input. Nothing is answered before [`Self::settle`], but to the engine.
    ///
    /// # Errors
    /// [`CoreError`] if it cannot go on.
    pub fn handle(&mut self, now: Now, input: Input) -> Result<(), CoreError> {
        match input {
            Input::Command(command) => self.on_command(now, command),
            Input::Event(event) => self.on_event(now, event),
            Input::Peer(event) => self.on_peer(now, event),
        }
    }

    /// Makes what was taken durable, then answers; asks peers for what is due; goes on to
    /// the next height if it is time. To be called after inputs and at [`Self::wake_at`].
    ///
    /// A crash before the sync leaves entries that nobody was promised; start-up keeps
    /// those that are whole. A crash after it loses nothing: start-up finds them in the log
    /// and seals them.
    ///
    /// # Errors
    /// [`CoreError`] if it cannot go on.
    pub fn settle(&mut self, now: Now) -> Result<(), CoreError> {
        self.report_forks(now)?;
        self.sync(now)?;
        self.tend(now)?;
        // What time has brought may have been written too.
        self.sync(now)?;
        self.unanswered.drain(..).for_each(|answer| answer());
        for (to, ticket, response) in self.owed.drain(..) {
            self.peers.answer(to, ticket, response);
        }
        self.answer_replicated();
        let view = View { ledger: self.chain.ledger(), journals: &self.journals, now: now.instant };
        for Ask { to, ticket, request } in self.replicas.flush(view) {
            self.peers.ask(to, ticket, request);
        }
        Ok(())
    }

    fn sync(&mut self, now: Now) -> Result<(), CoreError> {
        if !std::mem::take(&mut self.unsynced) {
            return Ok(());
        }
        let began = Instant::now();
        self.disk.sync()?;
        self.metrics.fsynced("entries", began.elapsed().as_secs_f64());
        let grown = self.journals.synced();
        self.replicas.fresh(std::mem::take(&mut self.fresh));
        let view = View { ledger: self.chain.ledger(), journals: &self.journals, now: now.instant };
        self.replicas.grown(&grown, view);
        self.judge_again(now)
    }

    /// What is due: proposals whose time has come, the next height.
    fn tend(&mut self, now: Now) -> Result<(), CoreError> {
        if self.early.is_some_and(|until| until <= now.wall) {
            self.judge_again(now)?;
        }
        self.build_if_due(now)?;
        match self.next_start() {
            Some(due) if due <= now.instant => self.start_next(),
            _ => Ok(()),
        }
    }

    /// When [`Self::settle`] has something to do although nothing happens.
    pub fn wake_at(&self, now: Now) -> Option<Instant> {
        let early = self.early.map(|until| now.instant + wait_ms(until.since_ms(now.wall)));
        let view = View { ledger: self.chain.ledger(), journals: &self.journals, now: now.instant };
        let own = early.into_iter().chain(self.next_start()).chain(self.build_at());
        own.chain(self.replicas.wake_at(view)).min()
    }

    /// When the next height may begin; none while one is under way, or while no quorum is
    /// connected and nobody has begun: rounds that nobody can decide would only fail.
    fn next_start(&self) -> Option<Instant> {
        let ledger = self.chain.ledger();
        // A height that an honest node among the others has begun, or decided, is not waited for.
        if self.chain.next_height().is_some_and(|next| self.replicas.have_reached(next, ledger)) {
            return self.pace.overdue();
        }
        if !self.replicas.has_quorum(ledger) && !self.pace.is_urged() {
            return None;
        }
        let cuttable = Cuttable { ledger, replicated: self.replicas.replicated() };
        self.pace.due(ledger.params(), || self.journals.ready_at(cuttable))
    }

    fn start_next(&mut self) -> Result<(), CoreError> {
        let Some(reply) = self.pace.release() else { return Ok(()) };
        let height = self.chain.next_height().ok_or(CoreError::Full)?;
        let voters = self.chain.ledger().voters().clone();
        reply.send(Start { height, voters });
        Ok(())
    }

    fn on_event(&mut self, now: Now, event: Event) -> Result<(), CoreError> {
        match event {
            Event::Ready { reply } => {
                self.publish(Readiness::Ready);
                self.pace.hold(reply);
            }
            Event::RoundStarted { height, reply, .. } => {
                self.round_started(now, height);
                // The engine's own log has what was proposed in this round before a crash. It
                // keeps two values of a round: blocks of earlier rounds, told as this round's,
                // would leave no room for its proposal.
                reply.send(Vec::new());
            }
            Event::Build { height, round, reply } => self.build(now, height, round, reply)?,
            Event::Restream { height, round, proposer, block } => {
                if let Some(known) = self.chain.block(&block) {
                    self.voting.publish(height, round, proposer, known);
                }
            }
            Event::Proposal { height, round, proposer, block } => {
                self.judge(now, Unjudged { height, round, proposer, block })?;
            }
            Event::PeerStarted { height } => self.begin_with(height),
            Event::Decided { certificate, reply } => {
                self.decide(now, &certificate)?;
                reply.send(());
            }
            Event::Finalized { evidence, reply } => {
                self.report_double_signers(now, evidence)?;
                self.pace.hold(reply);
            }
            Event::HistoryMin { reply } => reply.send(Height::new(1)),
            Event::DecidedRange { from, to, reply } => reply.send(self.disk.decided(from, to)?),
            Event::Synced { block, reply } => {
                let verdict = self.judge_synced(now, &block)?;
                reply.send(verdict);
            }
        }
        Ok(())
    }

    fn round_started(&mut self, now: Now, height: Height) {
        // Whatever was asked for an earlier round is of no use any more.
        self.asked = None;
        if self.height_began.is_none_or(|(begun, _)| begun != height) {
            self.height_began = Some((height, now.instant));
        }
        self.replicas.begun(height);
    }

    /// Carries out a decision: store, then move on, then publish; the caller acknowledges
    /// it. A crash before the store's sync leaves the decision to the engine's log, which
    /// tells it again; a crash after it leaves a block that start-up replays.
    fn decide(&mut self, now: Now, certificate: &Certificate) -> Result<(), CoreError> {
        if certificate.height <= self.chain.ledger().height() {
            // Told again after a restart.
            return Ok(());
        }
        self.recall(&certificate.block);
        let executed = self.chain.decide(certificate)?;
        let began = Instant::now();
        self.disk.commit(&executed, certificate)?;
        self.metrics.fsynced("blocks", began.elapsed().as_secs_f64());
        for event in &executed.events {
            tracing::debug!(height = %certificate.height, ?event, "event");
        }
        self.chain.advance(executed.ledger);
        let overtaken = self.journals.sealed(self.chain.ledger(), &executed.block.cut, now.instant);
        overtaken.iter().for_each(|journal| self.replicas.overtaken(journal));
        let view = View { ledger: self.chain.ledger(), journals: &self.journals, now: now.instant };
        self.replicas.sealed(&executed.block.cut, &executed.entries, view);
        self.pace.stored(now.instant);
        self.publish(Readiness::Ready);
        self.readmit(now)?;
        self.judge_again(now)
    }

    fn publish(&self, readiness: Readiness) {
        let ready = readiness == Readiness::Ready;
        let ledger = self.chain.ledger().clone();
        self.metrics.observe(&ledger, ready);
        let connected = self.replicas.connected().collect();
        self.snapshot.send_replace(Arc::new(Snapshot { ledger, readiness, connected }));
    }

    /// Publishes whose nodes are connected, when that has changed.
    fn publish_connected(&self) {
        let connected = self.replicas.connected().collect();
        self.snapshot.send_modify(|snapshot| Arc::make_mut(snapshot).connected = connected);
    }
}

fn wait_ms(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
