//! Blocks that may be decided: built here, or proposed by peers and judged.
//!
//! *Invariants.* A block is durable, with all its entries, before the engine hears that it
//! was built or found valid: after a crash start-up executes it again, so that the node
//! proposes no other and can carry out what it voted for. A verdict that cannot be given
//! yet is withheld, never *invalid*.

use std::time::{Duration, Instant};

use syngraph_protocol::block::{Block, CutPoint};
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{BlockId, Height, MemberId};

use super::ports::{Disk, Now, Peers, Voting};
use super::{Core, CoreError};
use crate::chain::{Moment, Proposed, Verdict};
use crate::consensus::{Judged, Reply, SyncVerdict};
use crate::journals::Cuttable;
use crate::replicas::{View, oldest_of_most};

/// Most proposals that wait for their entries, their time or their height; the oldest
/// of whoever has most goes first, and comes again by sync if it is decided.
const UNJUDGED_MAX: usize = 16;

/// How long the engine's question for a block is held while there is nothing to seal; well
/// below the time that others wait for a proposal.
const EMPTY_PATIENCE: Duration = Duration::from_millis(200);

/// The engine's question for a block.
pub(super) struct Asked {
    height: Height,
    round: u32,
    reply: Reply<BlockId>,
    until: Instant,
}

/// A proposal without a verdict yet.
pub(super) struct Unjudged {
    pub(super) height: Height,
    pub(super) round: u32,
    pub(super) proposer: MemberId,
    pub(super) block: Box<Block>,
}

impl<D: Disk, V: Voting, P: Peers> Core<D, V, P> {
    /// Builds a block, or proposes again the one that was built; in a moment, if there is
    /// nothing to seal yet: whoever has begun the height has seen something coming.
    pub(super) fn build(
        &mut self,
        now: Now,
        height: Height,
        round: u32,
        reply: Reply<BlockId>,
    ) -> Result<(), CoreError> {
        self.asked = Some(Asked { height, round, reply, until: now.instant + EMPTY_PATIENCE });
        self.build_if_due(now)
    }

    /// When the block that the engine has asked for is built.
    pub(super) fn build_at(&self) -> Option<Instant> {
        let asked = self.asked.as_ref()?;
        let cuttable = Cuttable { ledger: self.chain.ledger(), replicated: self.replicas.replicated() };
        Some(self.journals.ready_at(cuttable).map_or(asked.until, |ready| ready.min(asked.until)))
    }

    pub(super) fn build_if_due(&mut self, now: Now) -> Result<(), CoreError> {
        let due = self.build_at().is_some_and(|at| at <= now.instant);
        match self.asked.take_if(|_| due) {
            Some(Asked { height, round, reply, .. }) if Some(height) == self.chain.next_height() => {
                self.propose(now, height, round, reply)
            }
            _ => Ok(()),
        }
    }

    fn propose(
        &mut self,
        now: Now,
        height: Height,
        round: u32,
        reply: Reply<BlockId>,
    ) -> Result<(), CoreError> {
        let began = Instant::now();
        let (journals, replicated) = (&self.journals, self.replicas.replicated());
        let entries = |ledger: &_| journals.select(Cuttable { ledger, replicated }, now.instant);
        let Proposed { executed, new } = self.chain.propose(now.wall, round, entries)?;
        if new {
            let entries = u32::try_from(executed.entries.len()).unwrap_or(u32::MAX);
            self.metrics.block_executed(entries, began.elapsed().as_secs_f64());
        }
        // A crash before this is durable: nobody has heard of the block. After it: the
        // restarted node proposes the same in this round.
        if !self.disk.keep_undecided(&executed.block, Some(round))? {
            tracing::warn!(%height, round, "no room for another undecided block: this round is passed");
            return Ok(());
        }
        self.voting.publish(height, round, self.own.member, &executed.block);
        reply.send(executed.block.id());
        Ok(())
    }

    /// Judges a peer's proposal. Without all its entries, before its time or before its
    /// height there is no verdict yet: it is judged again when that may have changed.
    pub(super) fn judge(&mut self, now: Now, proposal: Unjudged) -> Result<(), CoreError> {
        let Unjudged { height, round, proposer, ref block } = proposal;
        if Some(height) > self.chain.next_height() {
            self.judge_later(proposal);
            return Ok(());
        }
        let entries = match self.entries_under(block) {
            Ok(entries) => entries,
            Err(missing) => {
                let view = View { ledger: self.chain.ledger(), journals: &self.journals, now: now.instant };
                self.replicas.want((block.id(), proposer), &missing, view);
                self.judge_later(proposal);
                return Ok(());
            }
        };
        let moment = Moment { wall: now.wall, height_for: self.height_for(now, height) };
        let valid = match self.chain.judge_live(moment, block, entries) {
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
        if valid && !self.disk.keep_undecided(block, None)? {
            tracing::warn!(%height, round, %proposer, "no room for another undecided block: no verdict");
            return Ok(());
        }
        self.voting.judged(Judged { height, round, proposer, block: block.id(), valid });
        Ok(())
    }

    /// How long the engine has been at this height.
    fn height_for(&self, now: Now, height: Height) -> Duration {
        let began = self.height_began.filter(|(begun, _)| *begun == height).map(|(_, at)| at);
        began.map(|at| now.instant.saturating_duration_since(at)).unwrap_or_default()
    }

    fn judge_later(&mut self, proposal: Unjudged) {
        if self.unjudged.len() >= UNJUDGED_MAX {
            let first = oldest_of_most(self.unjudged.iter().map(|waiting| waiting.proposer));
            self.unjudged.remove(first);
        }
        self.unjudged.push(proposal);
    }

    /// Judges what has waited: entries have come, or a time, or a height.
    pub(super) fn judge_again(&mut self, now: Now) -> Result<(), CoreError> {
        self.early = None;
        let next = self.chain.next_height();
        let waiting = std::mem::take(&mut self.unjudged).into_iter();
        waiting
            .filter(|proposal| Some(proposal.height) >= next)
            .try_for_each(|proposal| self.judge(now, proposal))
    }

    /// Judges a block that others have decided.
    pub(super) fn judge_synced(&mut self, now: Now, block: &Block) -> Result<SyncVerdict, CoreError> {
        let Ok(entries) = self.entries_under(block) else {
            let view = View { ledger: self.chain.ledger(), journals: &self.journals, now: now.instant };
            self.replicas.hurry(view);
            return Ok(SyncVerdict::NotYet);
        };
        Ok(match self.chain.judge(block, entries) {
            Verdict::Valid if self.disk.keep_undecided(block, None)? => SyncVerdict::Valid,
            Verdict::Valid => SyncVerdict::NotYet,
            Verdict::Invalid(error) => {
                let height = block.header.height;
                tracing::error!(%height, rule = error.rule(), %error, "a decided block is invalid here");
                SyncVerdict::Invalid
            }
            Verdict::Early { .. } | Verdict::Stale | Verdict::OtherHeight => SyncVerdict::NotYet,
        })
    }

    /// Executes a block again that had to make room for other candidates.
    pub(super) fn recall(&mut self, id: &BlockId) {
        let Some(block) = self.chain.take_aside(id) else { return };
        if let Ok(entries) = self.entries_under(&block) {
            self.chain.judge(&block, entries);
        }
    }

    /// The entries under a block's cut, if all are held and durable; else what is missing.
    fn entries_under(&self, block: &Block) -> Result<Vec<VerifiedEntry>, Vec<CutPoint>> {
        self.journals.under(self.chain.ledger(), &block.cut)
    }
}
