//! The consensus engine of a simulated node: the published core, with a log of votes, timers
//! and catching up, as the engine's own actors give them to it.
//!
//! *Invariants.* It waits for nothing: what it asks of the application leaves as [`News`] and
//! comes back as [`Heard`]. Its log is synced before anything is published, before a round
//! begins and before a decision is told.

pub(crate) mod context;
pub(crate) mod effects;
pub(crate) mod sync;
pub(crate) mod votes;
pub(crate) mod wal;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use arc_malachitebft_core_consensus::{
    Error, Input, LivenessMsg, LocallyProposedValue, Params, ProposedValue, SignedConsensusMsg, State,
    process,
};
use arc_malachitebft_core_types::{
    LinearTimeouts, Round, Timeout, Validity, ValueOrigin, ValuePayload, ValueResponse, VoteExtensionPolicy,
};
use arc_malachitebft_metrics::Metrics;
use syngraph_node::core::ports::{Evidence, Judged, Start};
use syngraph_protocol::block::Block;
use syngraph_protocol::certificate::Certificate;
use syngraph_protocol::ids::{self, BlockId, MemberId};

use self::context::{Address, Context, Height, ValidatorSet, Value};
use self::effects::Hand;
use self::sync::Sync;
use self::votes::Notary;
use self::wal::Wal;
use crate::net::Packet;

/// Most messages that wait for a height to begin, as in the engine.
const WAITING_MAX: usize = 1_024;
/// How many future heights the core keeps inputs for, and how many of each: its defaults.
const QUEUE_HEIGHTS: usize = 10;
const QUEUE_PER_HEIGHT: usize = 500;

/// How long steps take: the node's defaults.
pub(crate) const TIMEOUTS: LinearTimeouts = LinearTimeouts {
    propose: Duration::from_millis(1_000),
    propose_delta: Duration::from_millis(500),
    prevote: Duration::from_millis(500),
    prevote_delta: Duration::from_millis(500),
    precommit: Duration::from_millis(500),
    precommit_delta: Duration::from_millis(500),
    rebroadcast: Duration::from_millis(2_000),
    max_timeout: Duration::from_secs(10),
};

/// What the engine tells or asks the application.
#[derive(Debug)]
pub(crate) enum News {
    Ready,
    RoundStarted { height: ids::Height, round: u32, proposer: MemberId },
    Build { height: ids::Height, round: u32 },
    Restream { height: ids::Height, round: u32, proposer: MemberId, block: BlockId },
    Proposal { height: ids::Height, round: u32, proposer: MemberId, block: Box<Block> },
    PeerStarted { height: ids::Height },
    Decided { certificate: Certificate },
    Finalized { evidence: Vec<Evidence> },
    BlocksWanted { by: MemberId, request: u64, from: ids::Height, to: ids::Height },
    Synced { height: ids::Height, round: u32, proposer: MemberId, block: Box<Block> },
}

/// What comes of an input.
#[derive(Debug)]
pub(crate) enum Out {
    News(News),
    Broadcast(Packet),
    Send(MemberId, Packet),
    Timer { timeout: Timeout, number: u64, after: Duration },
}

/// What the engine is told.
#[derive(Debug)]
pub(crate) enum Heard {
    Start(Start),
    Propose { height: ids::Height, round: u32, block: BlockId },
    Judged(Judged, ValueOrigin),
    Consensus(SignedConsensusMsg<Context>),
    Liveness(LivenessMsg<Context>),
    Timeout(Timeout, u64),
    Decided(ValueResponse<Context>),
}

/// Whether a height is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Waiting,
    Recovering,
    Running,
}

/// A node's engine. It dies with the node; its log does not.
pub(crate) struct Engine {
    me: MemberId,
    notary: Notary,
    state: Option<State<Context>>,
    phase: Phase,
    waiting: VecDeque<Heard>,
    timers: BTreeMap<(u8, i64), u64>,
    last_timer: u64,
    /// The height whose round was begun last.
    begun: ids::Height,
    told: ids::Height,
    metrics: Metrics,
    pub(crate) sync: Sync,
}

impl Engine {
    pub(crate) fn new(me: MemberId, notary: Notary, tip: ids::Height) -> Self {
        Self {
            me,
            notary,
            state: None,
            phase: Phase::Waiting,
            waiting: VecDeque::new(),
            timers: BTreeMap::new(),
            last_timer: 0,
            begun: ids::Height::GENESIS,
            told: ids::Height::GENESIS,
            metrics: Metrics::new(),
            sync: Sync::new(tip),
        }
    }

    /// Where it is, for people.
    pub(crate) fn place(&self) -> String {
        let state = self.state.as_ref().map(|state| (state.height(), state.round()));
        format!("{:?} {:?} {state:?} {:?}", self.phase, self.begun, self.sync)
    }

    /// Takes one message.
    pub(crate) fn hear(
        &mut self,
        wal: &mut Wal,
        heard: Heard,
        out: &mut Vec<Out>,
    ) -> Result<(), Error<Context>> {
        match heard {
            Heard::Start(start) => self.start(wal, &start, out),
            heard if self.phase != Phase::Running => {
                if self.waiting.len() < WAITING_MAX {
                    self.waiting.push_back(heard);
                }
                Ok(())
            }
            heard => match self.input(heard, out) {
                Some(input) => self.process(wal, input, out),
                None => Ok(()),
            },
        }
    }

    fn input(&mut self, heard: Heard, out: &mut Vec<Out>) -> Option<Input<Context>> {
        Some(match heard {
            Heard::Start(_) => return None,
            Heard::Propose { height, round, block } => {
                let value = LocallyProposedValue::new(Height(height), Round::new(round), Value(block));
                Input::Propose(value)
            }
            Heard::Judged(judged, origin) => Input::ProposedValue(proposed_value(judged, origin), origin),
            Heard::Consensus(SignedConsensusMsg::Vote(vote)) | Heard::Liveness(LivenessMsg::Vote(vote)) => {
                self.watch(vote.message.height.0, out);
                Input::Vote(vote)
            }
            Heard::Consensus(SignedConsensusMsg::Proposal(proposal)) => {
                self.watch(proposal.message.height.0, out);
                Input::Proposal(proposal)
            }
            Heard::Liveness(LivenessMsg::PolkaCertificate(polka)) => Input::PolkaCertificate(polka),
            Heard::Liveness(LivenessMsg::SkipRoundCertificate(skip)) => Input::RoundCertificate(skip),
            Heard::Timeout(timeout, number) => {
                let key = effects::timer_key(timeout);
                if self.timers.get(&key) != Some(&number) {
                    return None;
                }
                self.timers.remove(&key);
                Input::TimeoutElapsed(timeout)
            }
            Heard::Decided(response) => Input::SyncValueResponse(response),
        })
    }

    /// Tells the application when a peer has gone on to the next height.
    fn watch(&mut self, height: ids::Height, out: &mut Vec<Out>) {
        if height != self.told && Some(height) == self.begun.next() {
            self.told = height;
            out.push(Out::News(News::PeerStarted { height }));
        }
    }

    fn start(&mut self, wal: &mut Wal, start: &Start, out: &mut Vec<Out>) -> Result<(), Error<Context>> {
        let (height, voters) = (Height(start.height), ValidatorSet::from(&start.voters));
        let me = Address(self.me);
        self.state.get_or_insert_with(|| {
            let params = Params {
                address: me,
                threshold_params: votes::thresholds(),
                value_payload: ValuePayload::ProposalAndParts,
                enabled: true,
            };
            State::new(Context, height, voters.clone(), params, QUEUE_HEIGHTS, QUEUE_PER_HEIGHT)
        });
        let recorded = wal.begin(start.height);
        let policy = VoteExtensionPolicy::Disabled;
        self.process(wal, Input::StartHeight(height, voters, false, None, policy), out)?;
        if !recorded.is_empty() {
            self.phase = Phase::Recovering;
            self.recover(wal, recorded, out)?;
        }
        self.phase = Phase::Running;
        self.sync.begun(start.height);
        while let Some(heard) = self.waiting.pop_front() {
            self.hear(wal, heard, out)?;
        }
        Ok(())
    }

    fn recover(
        &mut self,
        wal: &mut Wal,
        recorded: Vec<Input<Context>>,
        out: &mut Vec<Out>,
    ) -> Result<(), Error<Context>> {
        if let Some(state) = &mut self.state {
            state.index_wal_entries(recorded.iter());
        }
        for input in recorded {
            self.process(wal, input, out)?;
        }
        if let Some(state) = &mut self.state {
            state.reset_entries_index();
        }
        Ok(())
    }

    fn process(
        &mut self,
        wal: &mut Wal,
        input: Input<Context>,
        out: &mut Vec<Out>,
    ) -> Result<(), Error<Context>> {
        let Some(state) = &mut self.state else { return Ok(()) };
        let metrics = &self.metrics;
        let mut hand = Hand {
            notary: &self.notary,
            timers: &mut self.timers,
            last_timer: &mut self.last_timer,
            begun: &mut self.begun,
            recovering: self.phase == Phase::Recovering,
            wal,
            out,
            rejected: &mut self.sync.rejected,
        };
        process!(input: input, state: state, metrics: metrics, with: effect => hand.carry_out(effect))
    }
}

/// A verdict in the core's words. The signed proposal carries the round that counts, and values
/// are matched by id alone; but of one round the core keeps only two. So every block has a
/// round of its own, beyond all that are ever begun.
fn proposed_value(judged: Judged, origin: ValueOrigin) -> ProposedValue<Context> {
    let [a, b, c, d, ..] = *judged.block.as_bytes();
    let own = 1 << 30 | u32::from_be_bytes([a, b, c, d]) >> 2;
    ProposedValue {
        height: Height(judged.height),
        round: Round::new(if origin.is_consensus() { own } else { judged.round }),
        valid_round: Round::Nil,
        proposer: Address(judged.proposer),
        value: Value(judged.block),
        validity: Validity::from_bool(judged.valid),
    }
}
