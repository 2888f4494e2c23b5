//! The chain: the decided state, and the blocks that may follow it.
//!
//! Sans-I/O: it is told what the engine asks and what the time is, and gives blocks and
//! verdicts; callers keep them on disk and carry them to the engine.
//!
//! *Invariants.* A candidate is executed on the state of the last decided block and on
//! nothing else; deciding one drops the others. What was proposed is proposed again
//! rather than something new, while it is fresh, so that a judged block can be
//! re-proposed in a later round; in one round, nothing else is ever. Clock rules concern live proposals only and never answer
//! *invalid*.

use std::collections::BTreeMap;
use std::time::Duration;

use syngraph_protocol::block::Block;
use syngraph_protocol::certificate::{Certificate, CertificateError};
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{BlockId, Height, MemberId};
use syngraph_protocol::ledger::{BlockError, Executed, Ledger, Plan};
use syngraph_protocol::replay::{self, ReplayError};
use syngraph_protocol::time::UtcMs;

/// How far ahead of our clock a proposed block's time may be.
const AHEAD_MS: i64 = 500;

/// How far behind our clock a proposed block's time may be.
const BEHIND_MS: i64 = 30_000;

/// How old a block may be to be proposed again. Beyond, a new one is built: by
/// the time that others judge the old one, it may be stale.
const PROPOSE_AGAIN_MS: i64 = 10_000;

/// How long a height may take before a block's age says nothing any more. A block that a
/// quorum found timely may have to be voted for by a node that comes later.
const TROUBLE: Duration = Duration::from_secs(60);

/// Most candidates of one height that are kept executed. Beyond, the oldest is set aside,
/// and executed again if it is decided.
const CANDIDATES_MAX: usize = 8;

/// What judging a live proposal depends on, beside the state.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Our clock.
    pub wall: UtcMs,
    /// How long the engine has been at this height.
    pub height_for: Duration,
}

/// The block to propose.
#[derive(Debug)]
pub struct Proposed<'a> {
    /// The block, executed.
    pub executed: &'a Executed,
    /// Whether it was built just now.
    pub new: bool,
}

/// What a proposed block comes to.
#[derive(Debug)]
pub enum Verdict {
    /// Executed, and every root is what its header claims.
    Valid,
    /// It cannot follow the state.
    Invalid(ReplayError),
    /// Its time is ahead of our clock: ask again then.
    Early {
        /// When its time comes.
        until: UtcMs,
    },
    /// Its time is so far behind that it is not prevoted; it is not invalid either.
    Stale,
    /// It is not for the next height.
    OtherHeight,
}

/// Why a decision cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// The engine decided a block that was never executed here.
    #[error("block {block} was decided at height {height} and is not known here")]
    Unknown {
        /// The block.
        block: BlockId,
        /// Its height.
        height: Height,
    },
    /// The certificate proves nothing: the engine is broken.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// The decided state and its candidates.
#[derive(Debug)]
pub struct Chain {
    me: MemberId,
    ledger: Ledger,
    /// In the order in which they were executed.
    candidates: Vec<Executed>,
    /// Candidates that had to make room. The store, which keeps them too, bounds their
    /// number.
    aside: Vec<Block>,
    /// What this node has proposed, by round; never set aside.
    proposals: BTreeMap<u32, BlockId>,
}

impl Chain {
    /// The chain after its last decided block.
    pub fn new(me: MemberId, ledger: Ledger) -> Self {
        Self { me, ledger, candidates: Vec::new(), aside: Vec::new(), proposals: BTreeMap::new() }
    }

    /// The state after the last decided block.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The height that is decided next; none after the last.
    pub fn next_height(&self) -> Option<Height> {
        self.ledger.height().next()
    }

    /// The block that this node proposes in a round: the one that it has proposed there, or
    /// else the first that was judged valid, unless that is old by now. `entries` is asked
    /// only if there is none. The caller makes block and round durable before it is proposed, or a restart
    /// would propose another.
    ///
    /// # Errors
    /// [`BlockError`] if the entries cannot be a block.
    pub fn propose(
        &mut self,
        now: UtcMs,
        round: u32,
        entries: impl FnOnce(&Ledger) -> Vec<VerifiedEntry>,
    ) -> Result<Proposed<'_>, BlockError> {
        let known = self.proposals.get(&round).copied().or_else(|| self.fresh_proposal(now));
        let known = known.filter(|id| self.candidate(id).is_some());
        let id = match known {
            Some(id) => id,
            None => {
                let time = now.max(self.ledger.time().plus_ms(1));
                let plan = Plan { time, built_by: self.me };
                let executed = self.ledger.execute(&plan, entries(&self.ledger))?;
                self.keep(executed)
            }
        };
        self.proposals.insert(round, id);
        let executed = self.candidate(&id).expect("the candidate was found or just kept");
        Ok(Proposed { executed, new: known.is_none() })
    }

    /// The first block that was judged valid here and is not old: others have executed it
    /// too, or are about to, where a new one would have to be executed by all.
    fn fresh_proposal(&self, now: UtcMs) -> Option<BlockId> {
        let is_fresh = |known: &&Executed| known.block.header.time >= now.minus_ms(PROPOSE_AGAIN_MS);
        self.candidates.iter().find(is_fresh).map(|known| known.block.id())
    }

    /// Takes back what this node has proposed in a round before a restart, once it was
    /// judged again.
    pub fn proposed_in(&mut self, round: u32, id: BlockId) {
        self.proposals.insert(round, id);
    }

    fn keep(&mut self, executed: Executed) -> BlockId {
        let id = executed.block.id();
        let evictable = |known: &Executed| !self.proposals.values().any(|id| *id == known.block.id());
        if self.candidates.len() >= CANDIDATES_MAX
            && let Some(oldest) = self.candidates.iter().position(evictable)
        {
            self.aside.push(self.candidates.remove(oldest).block);
        }
        self.candidates.push(executed);
        id
    }

    /// Judges a block that was proposed in a live round.
    pub fn judge_live(&mut self, moment: Moment, block: &Block, entries: Vec<VerifiedEntry>) -> Verdict {
        if self.block(&block.id()).is_some() {
            return self.judge(block, entries);
        }
        let (time, now) = (block.header.time, moment.wall);
        let latest = self.ledger.time().plus_ms(1).max(now.plus_ms(AHEAD_MS));
        if time > latest {
            return Verdict::Early { until: time.minus_ms(AHEAD_MS) };
        }
        if time < now.minus_ms(BEHIND_MS) && moment.height_for < TROUBLE {
            return Verdict::Stale;
        }
        self.judge(block, entries)
    }

    /// Judges a block apart from any clock: one that was synced, or found after a
    /// restart.
    pub fn judge(&mut self, block: &Block, entries: Vec<VerifiedEntry>) -> Verdict {
        if Some(block.header.height) != self.next_height() {
            return Verdict::OtherHeight;
        }
        if self.block(&block.id()).is_some() {
            return Verdict::Valid;
        }
        match replay::judge(&self.ledger, block, entries) {
            Err(error) => Verdict::Invalid(error),
            Ok(executed) => {
                self.keep(executed);
                Verdict::Valid
            }
        }
    }

    fn candidate(&self, id: &BlockId) -> Option<&Executed> {
        self.candidates.iter().find(|known| known.block.id() == *id)
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.candidates.iter().map(|known| &known.block).chain(&self.aside)
    }

    /// A block that was found valid for the next height.
    pub fn block(&self, id: &BlockId) -> Option<&Block> {
        self.blocks().find(|block| block.id() == *id)
    }

    /// The blocks that were found valid for a height.
    pub fn candidates_at(&self, height: Height) -> impl Iterator<Item = BlockId> {
        let next = Some(height) == self.next_height();
        self.blocks().map(Block::id).filter(move |_| next)
    }

    /// Takes a block back that had to make room; it must be judged anew to be decided.
    pub fn take_aside(&mut self, id: &BlockId) -> Option<Block> {
        let position = self.aside.iter().position(|block| block.id() == *id)?;
        Some(self.aside.remove(position))
    }

    /// Takes the executed block that a certificate decides. The state is still the one
    /// before: the caller stores the block and then calls [`Self::advance`].
    ///
    /// # Errors
    /// [`DecideError`].
    pub fn decide(&mut self, certificate: &Certificate) -> Result<Executed, DecideError> {
        let (block, height) = (certificate.block, certificate.height);
        let position = self.candidates.iter().position(|known| known.block.id() == block);
        let position = position.ok_or(DecideError::Unknown { block, height })?;
        let next = self.next_height().unwrap_or(height);
        certificate.verify(self.ledger.network(), next, block, self.ledger.voters())?;
        Ok(self.candidates.remove(position))
    }

    /// The decided block is stored: its state is the chain's state.
    pub fn advance(&mut self, ledger: Ledger) {
        self.ledger = ledger;
        self.candidates.clear();
        self.aside.clear();
        self.proposals.clear();
    }
}

#[cfg(test)]
pub(crate) mod tests;
