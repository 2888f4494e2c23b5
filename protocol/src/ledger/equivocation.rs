//! Equivocation: proof that the holder of a key has signed two statements of which an
//! honest one signs at most one.
//!
//! Whoever holds such a pair may report it. The ledger keeps who it was, where, and the
//! hash of the evidence; the log keeps the evidence itself, in the entry that reports it.
//! A journal that forked is frozen: nothing more of it is sealed, whichever branch it is
//! on. Votes and proposals are a finding against the member, and take no power from it:
//! that is for the other members to decide.
//!
//! *Invariants.* Each offence is recorded once. The two statements stand in one order, so
//! that one pair has one encoding. A frozen journal stays frozen, and nothing else of its
//! member is: its other keys sign, and its votes count.
//!
//! *Deliberately absent:* which branch of a fork is the right one: whichever a quorum has
//! sealed. A way to thaw a journal: its member admits another key. A member whose *root*
//! journal is frozen can admit and revoke no keys any more; those it has go on, and a new
//! root is for the other members to grant.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::finding::{self, Severity, Subject};
use super::member::KeyPurpose;
use super::table::Record;
use super::{At, Event, Ledger, Refusal};
use crate::certificate::{SignedProposal, SignedVote, VoteKind};
use crate::codec;
use crate::crypto::{self, Domain};
use crate::entry::SignedHead;
use crate::ids::{Hash, Height, Id, MemberId, NetworkId, PublicKey};
use crate::refusal::refusals;

/// Reports that a key has signed two statements that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportEquivocation {
    /// The two statements.
    pub evidence: Evidence,
}

/// Two signed statements that contradict each other, the lesser first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// Two entries of one journal with one number, by entry id. Their heads may be the
    /// same: the id covers the signature, and an honest key signs a head in one way only.
    Entries(Box<(SignedHead, SignedHead)>),
    /// Two votes of one kind by one member in one round, by block, none first.
    Votes(Box<(SignedVote, SignedVote)>),
    /// Two proposals by one member in one round, by block, then by valid round.
    Proposals(Box<(SignedProposal, SignedProposal)>),
}

/// What was signed twice. With its member it names an offence for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offence {
    /// One number of this journal, whichever: a journal forks once.
    Journal(PublicKey),
    /// A vote.
    Vote {
        /// The height.
        height: Height,
        /// The round.
        round: u32,
        /// Which vote of the round.
        kind: VoteKind,
    },
    /// A proposal.
    Proposal {
        /// The height.
        height: Height,
        /// The round.
        round: u32,
    },
}

/// An offence that was proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equivocation {
    /// The block that recorded it.
    pub since: Height,
    /// Who reported it first.
    pub reported_by: MemberId,
    /// The entry that reported it, which holds the evidence.
    pub report: Id,
    /// [`Evidence::hash`].
    pub evidence: Hash,
}

impl Record for Equivocation {
    type Key = (MemberId, Offence);
    const KIND: u8 = 0x61;
}

refusals! {
    /// Why a report of equivocation is refused.
    EquivocationError {
        NoConflict = "EQV-NO-CONFLICT": "the two statements are about different things, or say the same",
        Order = "EQV-ORDER": "the two statements must stand in order, the lesser first",
        Network { got: NetworkId } = "EQV-NETWORK": "the statements were made for network {got}",
        Stranger = "EQV-STRANGER": "no member has registered the key that would have to be theirs",
        Known { since: Height } = "EQV-KNOWN": "the ledger has recorded this at height {since}",
        Signature = "EQV-SIGNATURE": "a signature does not verify",
    }
}

impl Offence {
    /// The rule that an offence of this kind breaks.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Journal(_) => "EQV-JOURNAL",
            Self::Vote { .. } => "EQV-VOTE",
            Self::Proposal { .. } => "EQV-PROPOSAL",
        }
    }
}

impl Evidence {
    /// Two entries in order; none if they do not contradict each other.
    #[must_use]
    pub fn entries(one: SignedHead, other: SignedHead) -> Option<Self> {
        let pair = if one.id() <= other.id() { (one, other) } else { (other, one) };
        Self::Entries(Box::new(pair)).conflicting()
    }

    /// Two votes in order; none if they do not contradict each other.
    #[must_use]
    pub fn votes(one: SignedVote, other: SignedVote) -> Option<Self> {
        let pair = if one.vote.block <= other.vote.block { (one, other) } else { (other, one) };
        Self::Votes(Box::new(pair)).conflicting()
    }

    /// Two proposals in order; none if they do not contradict each other.
    #[must_use]
    pub fn proposals(one: SignedProposal, other: SignedProposal) -> Option<Self> {
        let pair = if one.proposal.says() <= other.proposal.says() { (one, other) } else { (other, one) };
        Self::Proposals(Box::new(pair)).conflicting()
    }

    fn conflicting(self) -> Option<Self> {
        self.check().is_ok().then_some(self)
    }

    /// Whether the ledger has recorded the offence that this proves.
    #[must_use]
    pub fn is_known(&self, ledger: &Ledger) -> bool {
        let known = |Accused { member, offence, .. }| ledger.equivocations.contains(&(member, offence));
        accused(ledger, self).is_ok_and(known)
    }

    /// The hash that the ledger keeps.
    #[must_use]
    pub fn hash(&self) -> Hash {
        crypto::hash(Domain::EVIDENCE, &[&codec::encode(self)])
    }

    fn check(&self) -> Result<(), EquivocationError> {
        let (one_place, order) = match self {
            Self::Entries(pair) => {
                let place = |signed: &SignedHead| (signed.head.network, signed.head.journal, signed.head.seq);
                (place(&pair.0) == place(&pair.1), pair.0.id().cmp(&pair.1.id()))
            }
            Self::Votes(pair) => {
                let (one, other) = (&pair.0.vote, &pair.1.vote);
                (one.place() == other.place(), one.block.cmp(&other.block))
            }
            Self::Proposals(pair) => {
                let (one, other) = (&pair.0.proposal, &pair.1.proposal);
                (one.place() == other.place(), one.says().cmp(&other.says()))
            }
        };
        match order {
            Ordering::Less if one_place => Ok(()),
            Ordering::Greater if one_place => Err(EquivocationError::Order),
            _ => Err(EquivocationError::NoConflict),
        }
    }

    /// The network that both statements name.
    fn network(&self) -> NetworkId {
        match self {
            Self::Entries(pair) => pair.0.head.network,
            Self::Votes(pair) => pair.0.vote.network,
            Self::Proposals(pair) => pair.0.proposal.network,
        }
    }

    fn verify(&self, key: &PublicKey) -> Result<(), EquivocationError> {
        let verified = match self {
            Self::Entries(pair) => pair.0.verify().and_then(|()| pair.1.verify()),
            Self::Votes(pair) => pair.0.verify(key).and_then(|()| pair.1.verify(key)),
            Self::Proposals(pair) => pair.0.verify(key).and_then(|()| pair.1.verify(key)),
        };
        verified.map_err(|_| EquivocationError::Signature)
    }
}

impl ReportEquivocation {
    /// Stateless check.
    ///
    /// # Errors
    /// `EQV-NO-CONFLICT`, `EQV-ORDER`.
    pub fn check(&self) -> Result<(), EquivocationError> {
        self.evidence.check()
    }
}

/// Who must have signed the evidence if it is true.
struct Accused {
    member: MemberId,
    key: PublicKey,
    offence: Offence,
}

/// Finds the accused: the owner of a journal, or the voter that the statements name.
fn accused(ledger: &Ledger, evidence: &Evidence) -> Result<Accused, EquivocationError> {
    match evidence {
        Evidence::Entries(pair) => {
            let key = pair.0.head.journal;
            // Whose journal it is says the ledger; a head may claim another member.
            let record = ledger.keys.get(&key).ok_or(EquivocationError::Stranger)?;
            if matches!(record.purpose, KeyPurpose::Validator | KeyPurpose::Transport) {
                return Err(EquivocationError::Stranger);
            }
            Ok(Accused { member: record.member, key, offence: Offence::Journal(key) })
        }
        Evidence::Votes(pair) => {
            let vote = &pair.0.vote;
            let offence = Offence::Vote { height: vote.height, round: vote.round, kind: vote.kind };
            Ok(Accused { member: vote.member, key: validator(ledger, vote.member)?, offence })
        }
        Evidence::Proposals(pair) => {
            let proposal = &pair.0.proposal;
            let offence = Offence::Proposal { height: proposal.height, round: proposal.round };
            Ok(Accused { member: proposal.member, key: validator(ledger, proposal.member)?, offence })
        }
    }
}

fn validator(ledger: &Ledger, member: MemberId) -> Result<PublicKey, EquivocationError> {
    let node = ledger.members.get(&member).and_then(|member| member.profile.node);
    node.map(|node| node.validator).ok_or(EquivocationError::Stranger)
}

/// Applies `ReportEquivocation`.
pub(super) fn report(ledger: &mut Ledger, at: &At, deed: &ReportEquivocation) -> Result<(), Refusal> {
    let evidence = &deed.evidence;
    if evidence.network() != ledger.network() {
        return Err(EquivocationError::Network { got: evidence.network() }.into());
    }
    let Accused { member, key, offence } = accused(ledger, evidence)?;
    if let Some(known) = ledger.equivocations.get(&(member, offence)) {
        return Err(EquivocationError::Known { since: known.since }.into());
    }
    evidence.verify(&key)?;
    if let Offence::Journal(journal) = offence {
        super::member::freeze(ledger, &journal, at.height);
    }
    let record =
        Equivocation { since: at.height, reported_by: at.member, report: at.id(), evidence: evidence.hash() };
    ledger.equivocations.put((member, offence), record);
    ledger.emit(Event::Equivocated { member, offence });
    finding::record(ledger, offence.rule(), Severity::E, Subject::Conduct { member, offence }, 0, 0);
    Ok(())
}
