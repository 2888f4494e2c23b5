//! Changes that need several members: proposed by one, approved by the others.
//!
//! A proposal takes effect in the block that seals the last approval it needs. Nothing
//! else activates it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::asset::SplitChange;
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
    settle(ledger, at, at.id(), proposal)?;
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
    if !has_say(ledger, &proposal.change, at.member) {
        return Err(ProposalError::NoSay { member: at.member }.into());
    }
    match proposal.approvals.binary_search(&at.member) {
        Ok(_) => return Err(ProposalError::Twice { member: at.member }.into()),
        Err(position) => proposal.approvals.insert(position, at.member),
    }
    settle(ledger, at, id, proposal)
}

/// Stores a proposal, and carries it out once it has every approval it needs.
fn settle(ledger: &mut Ledger, at: &At, id: Id, mut proposal: Proposal) -> Result<(), Refusal> {
    if is_approved(ledger, &proposal) {
        match &proposal.change {
            Change::AdmitMember(profile) => member::enact_admission(ledger, at, profile)?,
            Change::Split(change) => super::asset::enact_split(ledger, at, change)?,
        }
        proposal.enacted = Some(at.height);
        ledger.emit(Event::Enacted { proposal: id });
    }
    ledger.proposals.put(id, proposal);
    Ok(())
}

fn has_say(ledger: &Ledger, change: &Change, member: MemberId) -> bool {
    match change {
        Change::AdmitMember(_) => ledger.voters().get(member).is_some(),
        Change::Split(change) => change.needed(ledger).contains(&member),
    }
}

fn is_approved(ledger: &Ledger, proposal: &Proposal) -> bool {
    match &proposal.change {
        Change::AdmitMember(_) => {
            let voters = ledger.voters();
            voters.is_quorum(voters.power_of(proposal.approvals.iter().copied()))
        }
        Change::Split(change) => {
            let approvals: BTreeSet<_> = proposal.approvals.iter().copied().collect();
            change.needed(ledger).is_subset(&approvals)
        }
    }
}
