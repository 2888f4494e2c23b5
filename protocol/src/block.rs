//! Blocks: what consensus orders.
//!
//! A block fixes how far it covers each journal (the cut) and what results from applying
//! the entries under it (the roots). It names neither the round nor the round's proposer,
//! so that a judged block can be proposed again in a later round.

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::crypto::{self, Domain};
use crate::ids::{BlockId, EntryId, Hash, Height, MemberId, NetworkId, PublicKey, Seq};
use crate::limits::CUT_JOURNALS_MAX;
use crate::refusal::refusals;
use crate::time::UtcMs;

/// The version of [`Header`] that this code writes and reads.
pub const BLOCK_VERSION: u16 = 1;

/// What the first block names as its parent.
pub const NO_BLOCK: BlockId = BlockId::from_bytes([0; 32]);

/// Everything that a block's id covers. The roots are of the state after the block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`BLOCK_VERSION`].
    pub version: u16,
    /// The network it belongs to.
    pub network: NetworkId,
    /// Its position in the chain, from 1.
    pub height: Height,
    /// Block time; later than the parent's.
    pub time: UtcMs,
    /// The block before; [`NO_BLOCK`] for the first.
    pub parent: BlockId,
    /// Who assembled it.
    pub built_by: MemberId,
    /// Hash of the cut.
    pub cut_root: Hash,
    /// How many entries the log holds after it.
    pub log_size: u64,
    /// RFC 6962 root over all canonical signed entries, in order.
    pub log_root: Hash,
    /// RFC 6962 root over the canonical outcomes of this block's entries, in order.
    pub outcomes_root: Hash,
    /// Root of the state tree.
    pub state_root: Hash,
    /// Hash of the member set that votes on this block.
    pub members_hash: Hash,
    /// Hash of the member set that votes on the next one.
    pub next_members_hash: Hash,
    /// Which edition of the rules applied.
    pub rules_version: u32,
}

impl Header {
    /// The block's id.
    #[must_use]
    pub fn id(&self) -> BlockId {
        BlockId::from_bytes(*crypto::hash(Domain::BLOCK, &[&codec::encode(self)]).as_bytes())
    }
}

/// How far a block covers one journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CutPoint {
    /// The journal.
    pub journal: PublicKey,
    /// Its last entry under the block.
    pub seq: Seq,
    /// The id of that entry.
    pub entry: EntryId,
}

/// How far a block covers the journals that advance in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cut {
    /// Sorted by journal, each journal once.
    pub points: Vec<CutPoint>,
}

refusals! {
    /// Why a cut is malformed.
    CutError {
        TooLong { count: usize } = "CUT-TOO-LONG": "{count} journals are more than a cut may name",
        Order = "CUT-ORDER": "the journals of a cut must be sorted and distinct",
    }
}

impl Cut {
    /// The cut through these points, put in order.
    #[must_use]
    pub fn new(mut points: Vec<CutPoint>) -> Self {
        points.sort_unstable();
        Self { points }
    }

    /// The hash that a header binds.
    #[must_use]
    pub fn root(&self) -> Hash {
        crypto::hash(Domain::CUT, &[&codec::encode(self)])
    }

    /// Checks length and order.
    ///
    /// # Errors
    /// `CUT-TOO-LONG`, `CUT-ORDER`.
    pub fn check(&self) -> Result<(), CutError> {
        if self.points.len() > CUT_JOURNALS_MAX {
            return Err(CutError::TooLong { count: self.points.len() });
        }
        if self.points.is_sorted_by(|a, b| a.journal < b.journal) { Ok(()) } else { Err(CutError::Order) }
    }
}

/// A header and the cut it binds: what a proposer sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// The cut under its `cut_root`.
    pub cut: Cut,
}

impl Block {
    /// The block's id.
    #[must_use]
    pub fn id(&self) -> BlockId {
        self.header.id()
    }
}

/// Sorts journals inside a block by SHA-256(parent ‖ journal), so that no key can be
/// ground that always comes first.
#[must_use]
pub fn order_key(parent: &BlockId, journal: &PublicKey) -> Hash {
    crypto::hash(Domain::ORDER, &[parent.as_bytes(), journal.as_bytes()])
}
