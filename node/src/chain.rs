//! The chain: the decided state, and the blocks that may follow it.
//!
//! Sans-I/O: it is told what the engine asks and what the time is, and gives blocks and
//! verdicts; callers keep them on disk and carry them to the engine.
//!
//! *Invariants.* A candidate is executed on the state of the last decided block and on
//! nothing else; deciding one drops the others. What was once proposed or judged valid at
//! a height is proposed again rather than something new, so that a judged block can be
//! re-proposed in a later round. Clock rules concern live proposals only and never answer
//! *invalid*.

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

/// Most candidates of one height that are kept executed. Beyond, the oldest is set aside,
/// and executed again if it is decided.
const CANDIDATES_MAX: usize = 8;

/// What a proposed block comes to.
#[derive(Debug)]
pub(crate) enum Verdict {
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
pub(crate) enum DecideError {
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
pub(crate) struct Chain {
    me: MemberId,
    ledger: Ledger,
    /// In the order in which they were executed.
    candidates: Vec<Executed>,
    /// Candidates that had to make room. The store, which keeps them too, bounds their
    /// number.
    aside: Vec<Block>,
    /// The candidate that this node proposes; never set aside.
    proposal: Option<BlockId>,
}

impl Chain {
    /// The chain after its last decided block.
    pub(crate) fn new(me: MemberId, ledger: Ledger) -> Self {
        Self { me, ledger, candidates: Vec::new(), aside: Vec::new(), proposal: None }
    }

    /// The state after the last decided block.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The height that is decided next; none after the last.
    pub(crate) fn next_height(&self) -> Option<Height> {
        self.ledger.height().next()
    }

    /// The block that this node proposes now. `entries` is asked only if there is none
    /// yet. The caller makes it durable before it is proposed, or a restart would
    /// propose another.
    ///
    /// # Errors
    /// [`BlockError`] if the entries cannot be a block.
    pub(crate) fn propose(
        &mut self,
        now: UtcMs,
        entries: impl FnOnce(&Ledger) -> Vec<VerifiedEntry>,
    ) -> Result<&Executed, BlockError> {
        let known = self.proposal.filter(|id| self.candidate(id).is_some());
        let id = match known {
            Some(id) => id,
            None => {
                let time = now.max(self.ledger.time().plus_ms(1));
                let plan = Plan { time, built_by: self.me };
                let executed = self.ledger.execute(&plan, entries(&self.ledger))?;
                self.keep(executed)
            }
        };
        self.proposal = Some(id);
        Ok(self.candidate(&id).expect("the candidate was found or just kept"))
    }

    fn keep(&mut self, executed: Executed) -> BlockId {
        let id = executed.block.id();
        let evictable = |known: &Executed| Some(known.block.id()) != self.proposal;
        if self.candidates.len() >= CANDIDATES_MAX
            && let Some(oldest) = self.candidates.iter().position(evictable)
        {
            self.aside.push(self.candidates.remove(oldest).block);
        }
        self.candidates.push(executed);
        id
    }

    /// Judges a block that was proposed in a live round.
    pub(crate) fn judge_live(&mut self, now: UtcMs, block: &Block, entries: Vec<VerifiedEntry>) -> Verdict {
        let time = block.header.time;
        let latest = self.ledger.time().plus_ms(1).max(now.plus_ms(AHEAD_MS));
        if time > latest {
            return Verdict::Early { until: time.minus_ms(AHEAD_MS) };
        }
        if time < now.minus_ms(BEHIND_MS) {
            return Verdict::Stale;
        }
        self.judge(block, entries)
    }

    /// Judges a block apart from any clock: one that was synced, or found after a
    /// restart.
    pub(crate) fn judge(&mut self, block: &Block, entries: Vec<VerifiedEntry>) -> Verdict {
        if Some(block.header.height) != self.next_height() {
            return Verdict::OtherHeight;
        }
        if self.block(&block.id()).is_some() {
            return Verdict::Valid;
        }
        match replay::judge(&self.ledger, block, entries) {
            Err(error) => Verdict::Invalid(error),
            Ok(executed) => {
                let id = self.keep(executed);
                if block.header.built_by == self.me {
                    self.proposal.get_or_insert(id);
                }
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
    pub(crate) fn block(&self, id: &BlockId) -> Option<&Block> {
        self.blocks().find(|block| block.id() == *id)
    }

    /// The blocks that were found valid for a height.
    pub(crate) fn candidates_at(&self, height: Height) -> impl Iterator<Item = BlockId> {
        let next = Some(height) == self.next_height();
        self.blocks().map(Block::id).filter(move |_| next)
    }

    /// Takes a block back that had to make room; it must be judged anew to be decided.
    pub(crate) fn take_aside(&mut self, id: &BlockId) -> Option<Block> {
        let position = self.aside.iter().position(|block| block.id() == *id)?;
        Some(self.aside.remove(position))
    }

    /// Takes the executed block that a certificate decides. The state is still the one
    /// before: the caller stores the block and then calls [`Self::advance`].
    ///
    /// # Errors
    /// [`DecideError`].
    pub(crate) fn decide(&mut self, certificate: &Certificate) -> Result<Executed, DecideError> {
        let (block, height) = (certificate.block, certificate.height);
        let position = self.candidates.iter().position(|known| known.block.id() == block);
        let position = position.ok_or(DecideError::Unknown { block, height })?;
        let next = self.next_height().unwrap_or(height);
        certificate.verify(self.ledger.network(), next, block, self.ledger.voters())?;
        Ok(self.candidates.remove(position))
    }

    /// The decided block is stored: its state is the chain's state.
    pub(crate) fn advance(&mut self, ledger: Ledger) {
        self.ledger = ledger;
        self.candidates.clear();
        self.aside.clear();
        self.proposal = None;
    }
}

#[cfg(test)]
pub(crate) mod tests;
