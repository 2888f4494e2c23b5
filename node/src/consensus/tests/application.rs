//! The least application.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use syngraph_protocol::block::{Block, NO_BLOCK};
use syngraph_protocol::certificate::{Certificate, MemberSet};
use syngraph_protocol::ids::{BlockId, Height, MemberId};
use syngraph_protocol::time::UtcMs;
use tokio::sync::mpsc;

use super::block;
use crate::consensus::event::Evidence;
use crate::consensus::{Engine, Event, Judged, Reply, Start, SyncVerdict};

/// Builds a block when asked, and finds every block valid.
pub(in crate::consensus) struct Application {
    pub(super) member: MemberId,
    pub(super) voters: MemberSet,
    pub(super) engine: Engine,
    pub(super) blocks: BTreeMap<BlockId, Block>,
    pub(super) judged: Vec<Judged>,
    pub(super) chain: Vec<(Block, Certificate)>,
    /// How many blocks came by sync.
    pub(super) synced: usize,
    /// How many answers to blocks that come by sync are "not yet".
    pub(super) not_yet: usize,
    /// Whether it begins a height only when peers have.
    pub(super) is_lazy: bool,
    pub(super) held: Option<Reply<Start>>,
    pub(super) evidence: Vec<Evidence>,
    /// How many pieces of it have been found; may be shared.
    pub(super) found: Arc<AtomicUsize>,
    /// The time of the blocks it builds, in milliseconds.
    pub(super) block_time: i64,
    /// Rounds that began without an earlier one of the height deciding.
    pub(super) failed_rounds: usize,
    /// Tells every decided height.
    pub(super) decided: mpsc::UnboundedSender<(MemberId, Height)>,
}

impl Application {
    pub(super) fn new(
        member: MemberId,
        voters: MemberSet,
        engine: Engine,
        decided: mpsc::UnboundedSender<(MemberId, Height)>,
    ) -> Self {
        Self {
            member,
            voters,
            engine,
            blocks: BTreeMap::new(),
            judged: Vec::new(),
            chain: Vec::new(),
            synced: 0,
            not_yet: 0,
            is_lazy: false,
            held: None,
            evidence: Vec::new(),
            found: Arc::default(),
            block_time: 0,
            failed_rounds: 0,
            decided,
        }
    }

    fn begin(&mut self, reply: Reply<Start>) {
        if self.is_lazy {
            self.held = Some(reply);
        } else {
            reply.send(self.start());
        }
    }

    fn start(&self) -> Start {
        let height = self.height().next().expect("a low height");
        Start { height, voters: self.voters.clone() }
    }

    pub(super) fn height(&self) -> Height {
        self.chain.last().map_or(Height::GENESIS, |(block, _)| block.header.height)
    }

    /// The same block however often it is asked.
    fn build(&mut self, height: Height) -> Block {
        let parent = self.chain.last().map_or(NO_BLOCK, |(block, _)| block.id());
        let mut block = block(height);
        block.header.parent = parent;
        block.header.built_by = self.member;
        block.header.time = UtcMs::from_ms(self.block_time);
        self.blocks.insert(block.id(), block.clone());
        block
    }

    pub(super) fn handle(&mut self, event: Event) {
        match event {
            Event::Ready { reply } => self.begin(reply),
            Event::RoundStarted { height, round, reply, .. } => {
                self.failed_rounds += usize::from(round > 0);
                reply.send(self.judged.iter().filter(|judged| judged.height == height).copied().collect());
            }
            Event::Build { height, round, reply } => {
                let block = self.build(height);
                reply.send(block.id());
                self.engine.publish(height, round, self.member, &block);
            }
            Event::Restream { height, round, proposer, block } => {
                if let Some(block) = self.blocks.get(&block) {
                    self.engine.publish(height, round, proposer, block);
                }
            }
            Event::Proposal { height, round, proposer, block } => {
                let judged = Judged { height, round, proposer, block: block.id(), valid: true };
                self.blocks.insert(block.id(), *block);
                self.judged.push(judged);
                self.engine.judged(judged);
            }
            Event::PeerStarted { height } => {
                if let Some(reply) = self.held.take() {
                    assert_eq!(Some(height), self.height().next());
                    reply.send(self.start());
                }
            }
            Event::Decided { certificate, reply } => {
                self.decide(certificate);
                reply.send(());
            }
            Event::Finalized { evidence, reply } => {
                self.found.fetch_add(evidence.len(), Ordering::Relaxed);
                self.evidence.extend(evidence);
                self.begin(reply);
            }
            Event::HistoryMin { reply } => reply.send(Height::new(1)),
            Event::DecidedRange { from, to, reply } => {
                let wanted = |(block, _): &&(Block, Certificate)| (from..=to).contains(&block.header.height);
                reply.send(self.chain.iter().filter(wanted).cloned().collect());
            }
            Event::Synced { block, reply } => reply.send(self.take(*block)),
        }
    }

    fn decide(&mut self, certificate: Certificate) {
        let height = certificate.height;
        if height <= self.height() {
            // Told again after a restart.
            return;
        }
        assert_eq!(height.since(self.height()), Some(1), "no height is left out");
        let block = self.blocks.get(&certificate.block).expect("decided only what was judged").clone();
        self.blocks.retain(|_, block| block.header.height > height);
        self.judged.retain(|judged| judged.height > height);
        self.chain.push((block, certificate));
        // The test may have ended.
        self.decided.send((self.member, height)).ok();
    }

    fn take(&mut self, block: Block) -> SyncVerdict {
        if self.not_yet > 0 {
            self.not_yet -= 1;
            return SyncVerdict::NotYet;
        }
        self.synced += 1;
        self.blocks.insert(block.id(), block);
        SyncVerdict::Valid
    }
}
