//! Blocks that may be decided: built here, or proposed by peers and judged.
//!
//! *Invariants.* A block is durable, with all its entries, before the engine hears that it
//! was built or found valid: after a crash start-up executes it again, so that the node
//! proposes no other and can carry out what it voted for. A verdict that cannot be given
//! yet is withheld, never *invalid*.

use std::time::Instant;

use syngraph_protocol::block::Block;
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{BlockId, Height, MemberId};

use super::{Core, CoreError, now};
use crate::chain::Verdict;
use crate::consensus::{Judged, Reply, SyncVerdict};

/// Most proposals that wait for their entries, their time or their height; the oldest goes
/// first, and comes again by sync if it is decided.
const UNJUDGED_MAX: usize = 16;

/// A proposal without a verdict yet.
pub(super) struct Unjudged {
    pub(super) height: Height,
    pub(super) round: u32,
    pub(super) proposer: MemberId,
    pub(super) block: Box<Block>,
}

impl Core {
    /// What is already known about blocks of this height.
    pub(super) fn verdicts(&self, height: Height, round: u32, proposer: MemberId) -> Vec<Judged> {
        let known = self.chain.candidates_at(height);
        known.map(|block| Judged { height, round, proposer, block, valid: true }).collect()
    }

    /// Builds a block, or proposes again the one that was built.
    pub(super) fn build(
        &mut self,
        height: Height,
        round: u32,
        reply: Reply<BlockId>,
    ) -> Result<(), CoreError> {
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

    /// Judges a peer's proposal. Without all its entries, before its time or before its
    /// height there is no verdict yet: it is judged again when that may have changed.
    pub(super) fn judge(&mut self, proposal: Unjudged) -> Result<(), CoreError> {
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
            Verdict::OtherHeight if Some(height) > self.chain.next_height() => {
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

    /// Judges what has waited: entries have come, or a time, or a height.
    pub(super) fn judge_again(&mut self) -> Result<(), CoreError> {
        self.early = None;
        let next = self.chain.next_height();
        let waiting = std::mem::take(&mut self.unjudged).into_iter();
        waiting.filter(|proposal| Some(proposal.height) >= next).try_for_each(|proposal| self.judge(proposal))
    }

    pub(super) fn judge_synced(&mut self, block: &Block) -> Result<SyncVerdict, CoreError> {
        let Some(entries) = self.entries_under(block) else { return Ok(SyncVerdict::NotYet) };
        Ok(match self.chain.judge(block, entries) {
            Verdict::Valid => {
                self.store.keep_undecided(block)?;
                SyncVerdict::Valid
            }
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
        if let Some(entries) = self.entries_under(&block) {
            self.chain.judge(&block, entries);
        }
    }

    /// The entries under a block's cut, if all are held and durable.
    fn entries_under(&self, block: &Block) -> Option<Vec<VerifiedEntry>> {
        self.journals.under(self.chain.ledger(), &block.cut).ok()
    }
}
