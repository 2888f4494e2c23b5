//! Replaying a history: what a node does at start-up and in sync, and an auditor does
//! offline. Nothing is trusted but the state it starts from.

use std::collections::BTreeMap;

use crate::block::{Block, Cut, CutError, CutPoint, Header};
use crate::certificate::{Certificate, CertificateError};
use crate::entry::VerifiedEntry;
use crate::ids::PublicKey;
use crate::ledger::{BlockError, Executed, Ledger, Plan};
use crate::refusal::{any_refusal, refusals};

refusals! {
    /// Why a block does not follow from a state and its entries.
    MismatchError {
        Header { field: &'static str } = "RPL-HEADER": "the header's {field} is not what replaying gives",
        Cut = "RPL-CUT": "the cut is not the one that the entries make",
    }
}

any_refusal! {
    /// Why a step of a history is refused.
    ReplayError {
        Mismatch(MismatchError),
        Cut(CutError),
        Certificate(CertificateError),
        Block(BlockError),
    }
}

/// Executes a proposed block and compares every field with what its header claims.
///
/// # Errors
/// [`ReplayError`] naming the first that differs.
pub fn judge(ledger: &Ledger, block: &Block, entries: Vec<VerifiedEntry>) -> Result<Executed, ReplayError> {
    block.cut.check()?;
    let plan = Plan { time: block.header.time, built_by: block.header.built_by };
    let executed = ledger.execute(&plan, entries)?;
    if executed.block.cut != block.cut {
        return Err(MismatchError::Cut.into());
    }
    compare(&executed.block.header, &block.header)?;
    Ok(executed)
}

/// Verifies one decided block: its certificate against the members that vote at its
/// height, and everything that [`judge`] does.
///
/// # Errors
/// [`ReplayError`] naming the first that is wrong.
pub fn step(
    ledger: &Ledger,
    block: &Block,
    certificate: &Certificate,
    entries: Vec<VerifiedEntry>,
) -> Result<Executed, ReplayError> {
    certificate.verify(ledger.network(), block.header.height, block.id(), ledger.voters())?;
    judge(ledger, block, entries)
}

fn compare(ours: &Header, theirs: &Header) -> Result<(), MismatchError> {
    let fields = [
        ("version", ours.version == theirs.version),
        ("network", ours.network == theirs.network),
        ("height", ours.height == theirs.height),
        ("time", ours.time == theirs.time),
        ("parent", ours.parent == theirs.parent),
        ("built_by", ours.built_by == theirs.built_by),
        ("cut_root", ours.cut_root == theirs.cut_root),
        ("log_size", ours.log_size == theirs.log_size),
        ("log_root", ours.log_root == theirs.log_root),
        ("outcomes_root", ours.outcomes_root == theirs.outcomes_root),
        ("state_root", ours.state_root == theirs.state_root),
        ("members_hash", ours.members_hash == theirs.members_hash),
        ("next_members_hash", ours.next_members_hash == theirs.next_members_hash),
        ("rules_version", ours.rules_version == theirs.rules_version),
    ];
    match fields.into_iter().find(|(_, same)| !same) {
        Some((field, _)) => Err(MismatchError::Header { field }),
        None => Ok(()),
    }
}

/// The cut that some entries make: for each journal the last of them.
#[must_use]
pub fn cut_of(entries: &[VerifiedEntry]) -> Cut {
    let mut points: BTreeMap<PublicKey, CutPoint> = BTreeMap::new();
    for entry in entries {
        let head = entry.head();
        let point = CutPoint { journal: head.journal, seq: head.seq, entry: entry.id() };
        let last = points.entry(head.journal).or_insert(point);
        if last.seq < point.seq {
            *last = point;
        }
    }
    Cut::new(points.into_values().collect())
}
