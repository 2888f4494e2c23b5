//! Changes that need several members: proposed by one, approved by the others.
//!
//! A proposal takes effect in the block that seals the last approval it needs. Nothing
//! else activates it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::asset::SplitChange;
use super::lineage::{self, LineageChange};
use super::member::{self, MemberProfile};
use super::table::Record;
use super::{At, Event, Ledger, Refusal};
use crate::ids::{Height, Id, MemberId};
use crate::refusal::refusals;

/// Approves an open proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// The entry that proposed it.
    pub proposal: Id,
}

/// What is proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A new member; needs a quorum of the voting power.
    AdmitMember(MemberProfile),
    /// New owners of an asset; needs every member that loses a share or gains one.
    Split(SplitChange),
    /// Lineage with royalties; needs every member that loses by them.
    Lineage(LineageChange),
}

/// A proposal, open or done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// What is proposed.
    pub change: Change,
    /// Who approved, sorted; the proposer first of all.
    pub approvals: Vec<MemberId>,
    /// The block that carried it out, once done.
    pub enacted: Option<Height>,
}

impl Record for Proposal {
    type Key = Id;
    const KIND: u8 = 0x13;
}

refusals! {
    /// Why an approval is refused.
    ProposalError {
        Unknown { proposal: Id } = "PRO-UNKNOWN": "there is no proposal {proposal}",
        Done = "PRO-DONE": "the proposal has already taken effect",
        Twice { member: MemberId } = "PRO-TWICE": "member {member} has already approved",
        NoSay { member: MemberId } = "PRO-NO-SAY": "the proposal does not need the approval of member {member}",
    }
}

/// Opens a proposal with its proposer's approval.
pub(super) fn open(ledger: &mut Ledger, at: &At, change: Change) -> Result<(), Refusal> {
    let proposal = Proposal { change, approvals: vec![at.member], enacted: None };
    let needed = Needed::by(ledger, at, &proposal.change)?;
    settle(ledger, at, at.id(), proposal, &needed)?;
    ledger.emit(Event::ChangeProposed { proposal: at.id() });
    Ok(())
}

/// Applies `Approve`.
pub(super) fn approve(ledger: &mut Ledger, at: &At, deed: Approve) -> Result<(), Refusal> {
    let id = deed.proposal;
    let mut proposal = ledger.proposals.get(&id).ok_or(ProposalError::Unknown { proposal: id })?.clone();
    if proposal.enacted.is_some() {
        return Err(ProposalError::Done.into());
    }
    if matches!(proposal.change, Change::Lineage(_)) {
        lineage::check_share(ledger, at)?;
    }
    let needed = Needed::by(ledger, at, &proposal.change)?;
    if !needed.has_say(ledger, at.member) {
        return Err(ProposalError::NoSay { member: at.member }.into());
    }
    match proposal.approvals.binary_search(&at.member) {
        Ok(_) => return Err(ProposalError::Twice { member: at.member }.into()),
        Err(position) => proposal.approvals.insert(position, at.member),
    }
    settle(ledger, at, id, proposal, &needed)
}

/// Stores a proposal, and carries it out once it has every approval it needs.
fn settle(
    ledger: &mut Ledger,
    at: &At,
    id: Id,
    mut proposal: Proposal,
    needed: &Needed,
) -> Result<(), Refusal> {
    if needed.are_met(ledger, &proposal.approvals) {
        match &proposal.change {
            Change::AdmitMember(profile) => member::enact_admission(ledger, at, profile)?,
            Change::Split(change) => super::asset::enact_split(ledger, at, change)?,
            Change::Lineage(change) => lineage::enact(ledger, at, change)?,
        }
        proposal.enacted = Some(at.height);
        ledger.emit(Event::Enacted { proposal: id });
    }
    ledger.proposals.put(id, proposal);
    Ok(())
}

/// Whose approvals a change needs, as things stand now.
enum Needed {
    /// A quorum of the voting power.
    Quorum,
    /// All of these.
    All(BTreeSet<MemberId>),
}

impl Needed {
    fn by(ledger: &mut Ledger, at: &At, change: &Change) -> Result<Self, Refusal> {
        Ok(match change {
            Change::AdmitMember(_) => Self::Quorum,
            Change::Split(change) => Self::All(change.needed(ledger)),
            Change::Lineage(change) => Self::All(lineage::needed(ledger, at, change)?),
        })
    }

    fn has_say(&self, ledger: &Ledger, member: MemberId) -> bool {
        match self {
            Self::Quorum => ledger.voters().get(member).is_some(),
            Self::All(needed) => needed.contains(&member),
        }
    }

    fn are_met(&self, ledger: &Ledger, approvals: &[MemberId]) -> bool {
        match self {
            Self::Quorum => {
                let voters = ledger.voters();
                voters.is_quorum(voters.power_of(approvals.iter().copied()))
            }
            Self::All(needed) => needed.iter().all(|member| approvals.contains(member)),
        }
    }
}
