//! Votes, proposals, member sets and certificates: who may decide, and the proof that they
//! did.
//!
//! *Quorum* means strictly more than 2/3 of the voting power: 3·power > 2·total.

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::crypto::{self, CryptoError, Domain};
use crate::ids::{BlockId, Hash, Height, MemberId, NetworkId, PublicKey, Signature};
use crate::refusal::refusals;

/// Which of the two votes of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoteKind {
    /// The first vote.
    Prevote,
    /// The second, which decides.
    Precommit,
}

/// What a voter signs, in [`Domain::VOTE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// The network.
    pub network: NetworkId,
    /// Which vote.
    pub kind: VoteKind,
    /// The height.
    pub height: Height,
    /// The round.
    pub round: u32,
    /// The block; none to vote for no block in this round.
    pub block: Option<BlockId>,
    /// Who votes.
    pub member: MemberId,
}

impl Vote {
    /// The bytes that are signed.
    #[must_use]
    pub fn signing_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Of what a member votes at most once.
    pub(crate) fn place(&self) -> (NetworkId, MemberId, Height, u32, VoteKind) {
        (self.network, self.member, self.height, self.round, self.kind)
    }
}

/// A vote and its signature, which is whatever came with it, until [`Self::verify`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedVote {
    /// What is signed.
    pub vote: Vote,
    /// Ed25519 over the signing bytes in [`Domain::VOTE`].
    pub signature: Signature,
}

impl SignedVote {
    /// Checks that this validator key signed the vote.
    ///
    /// # Errors
    /// `SIG-INVALID`, `KEY-INVALID`.
    pub fn verify(&self, key: &PublicKey) -> Result<(), CryptoError> {
        crypto::verify(key, Domain::VOTE, &self.vote.signing_bytes(), &self.signature)
    }
}

/// What a proposer signs, in [`Domain::PROPOSAL`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// The network.
    pub network: NetworkId,
    /// The height.
    pub height: Height,
    /// The round.
    pub round: u32,
    /// The block.
    pub block: BlockId,
    /// The earlier round in which a quorum prevoted for the block, if there was one.
    pub valid_round: Option<u32>,
    /// Who proposes.
    pub member: MemberId,
}

impl Proposal {
    /// The bytes that are signed.
    #[must_use]
    pub fn signing_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Of what a member proposes at most once.
    pub(crate) fn place(&self) -> (NetworkId, MemberId, Height, u32) {
        (self.network, self.member, self.height, self.round)
    }

    /// What it proposes there.
    pub(crate) fn says(&self) -> (BlockId, Option<u32>) {
        (self.block, self.valid_round)
    }
}

/// A proposal and its signature, which is whatever came with it, until [`Self::verify`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedProposal {
    /// What is signed.
    pub proposal: Proposal,
    /// Ed25519 over the signing bytes in [`Domain::PROPOSAL`].
    pub signature: Signature,
}

impl SignedProposal {
    /// Checks that this validator key signed the proposal.
    ///
    /// # Errors
    /// `SIG-INVALID`, `KEY-INVALID`.
    pub fn verify(&self, key: &PublicKey) -> Result<(), CryptoError> {
        crypto::verify(key, Domain::PROPOSAL, &self.proposal.signing_bytes(), &self.signature)
    }
}

/// A member that votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voter {
    /// The member.
    pub member: MemberId,
    /// The key that signs its votes.
    pub key: PublicKey,
    /// Its voting power, above 0.
    pub power: u64,
}

/// The members that vote at one height, sorted by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberSet {
    voters: Vec<Voter>,
}

impl MemberSet {
    /// The set of these voters, put in order. Those without power are left out.
    #[must_use]
    pub fn new(mut voters: Vec<Voter>) -> Self {
        voters.retain(|voter| voter.power > 0);
        voters.sort_unstable_by_key(|voter| voter.member);
        Self { voters }
    }

    /// The voters, sorted by member.
    #[must_use]
    pub fn voters(&self) -> &[Voter] {
        &self.voters
    }

    /// The voter of a member, if it votes.
    #[must_use]
    pub fn get(&self, member: MemberId) -> Option<&Voter> {
        let position = self.voters.binary_search_by_key(&member, |voter| voter.member).ok()?;
        self.voters.get(position)
    }

    /// All voting power together.
    #[must_use]
    pub fn total_power(&self) -> u64 {
        self.power_of(self.voters.iter().map(|voter| voter.member))
    }

    /// The power of some members together; each is to be named once.
    pub fn power_of(&self, members: impl IntoIterator<Item = MemberId>) -> u64 {
        let powers = members.into_iter().filter_map(|member| self.get(member)).map(|voter| voter.power);
        powers.fold(0, u64::saturating_add)
    }

    /// Whether this much power is a quorum: 3·power > 2·total.
    #[must_use]
    pub fn is_quorum(&self, power: u64) -> bool {
        u128::from(power).saturating_mul(3) > u128::from(self.total_power()).saturating_mul(2)
    }

    /// The hash that headers bind.
    #[must_use]
    pub fn hash(&self) -> Hash {
        crypto::hash(Domain::MEMBERS, &[&codec::encode(self)])
    }
}

/// One member's precommit for the block of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitSignature {
    /// Who voted.
    pub member: MemberId,
    /// Its signature over the vote.
    pub signature: Signature,
}

/// The proof that a quorum decided for a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The height.
    pub height: Height,
    /// The round in which it was decided.
    pub round: u32,
    /// The block.
    pub block: BlockId,
    /// Precommits, sorted by member, each member once.
    pub signatures: Vec<CommitSignature>,
}

refusals! {
    /// Why a certificate proves nothing.
    CertificateError {
        OtherBlock { expected: BlockId, got: BlockId } = "CERT-BLOCK": "it is for block {got}, not {expected}",
        OtherHeight { expected: Height, got: Height } = "CERT-HEIGHT": "it is for height {got}, not {expected}",
        Order = "CERT-ORDER": "its signatures must be sorted by member, each member once",
        Stranger { member: MemberId } = "CERT-STRANGER": "member {member} does not vote at this height",
        Signature { member: MemberId } = "CERT-SIGNATURE": "the signature of member {member} does not verify",
        NoQuorum { power: u64, total: u64 } = "CERT-NO-QUORUM": "{power} of {total} voting power is no quorum",
    }
}

impl Certificate {
    /// Checks that a quorum of `members` precommitted to `block` at `height`.
    ///
    /// # Errors
    /// [`CertificateError`], naming what is wrong.
    pub fn verify(
        &self,
        network: NetworkId,
        height: Height,
        block: BlockId,
        members: &MemberSet,
    ) -> Result<(), CertificateError> {
        if self.block != block {
            return Err(CertificateError::OtherBlock { expected: block, got: self.block });
        }
        if self.height != height {
            return Err(CertificateError::OtherHeight { expected: height, got: self.height });
        }
        if !self.signatures.is_sorted_by(|a, b| a.member < b.member) {
            return Err(CertificateError::Order);
        }
        for commit in &self.signatures {
            self.verify_one(network, commit, members)?;
        }
        let power = members.power_of(self.signatures.iter().map(|commit| commit.member));
        if members.is_quorum(power) {
            return Ok(());
        }
        Err(CertificateError::NoQuorum { power, total: members.total_power() })
    }

    fn verify_one(
        &self,
        network: NetworkId,
        commit: &CommitSignature,
        members: &MemberSet,
    ) -> Result<(), CertificateError> {
        let member = commit.member;
        let voter = members.get(member).ok_or(CertificateError::Stranger { member })?;
        let vote = Vote {
            network,
            kind: VoteKind::Precommit,
            height: self.height,
            round: self.round,
            block: Some(self.block),
            member,
        };
        crypto::verify(&voter.key, Domain::VOTE, &vote.signing_bytes(), &commit.signature)
            .map_err(|_| CertificateError::Signature { member })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SecretKey;

    const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);
    const BLOCK: BlockId = BlockId::from_bytes([2; 32]);

    fn key(member: u32) -> SecretKey {
        SecretKey::from_seed(&[u8::try_from(member).expect("small"); 32])
    }

    fn members(count: u32) -> MemberSet {
        let voter = |m| Voter { member: MemberId::new(m), key: key(m).public(), power: 1 };
        MemberSet::new((0..count).map(voter).collect())
    }

    fn certificate(signers: &[u32]) -> Certificate {
        let height = Height::new(7);
        let sign = |&m: &u32| {
            let member = MemberId::new(m);
            let kind = VoteKind::Precommit;
            let vote = Vote { network: NETWORK, kind, height, round: 3, block: Some(BLOCK), member };
            CommitSignature { member, signature: key(m).sign(Domain::VOTE, &vote.signing_bytes()) }
        };
        Certificate { height, round: 3, block: BLOCK, signatures: signers.iter().map(sign).collect() }
    }

    #[test]
    fn a_quorum_is_strictly_more_than_two_thirds() {
        for (of, least) in [(1, 1), (2, 2), (3, 3), (4, 3), (6, 5), (7, 5), (10, 7)] {
            let set = members(of);
            assert!(set.is_quorum(least) && !set.is_quorum(least - 1), "{least} of {of}");
        }
        assert!(!MemberSet::default().is_quorum(0));
    }

    #[test]
    fn a_certificate_binds_everything_it_says() {
        let set = members(4);
        let verify = |certificate: &Certificate| {
            certificate.verify(NETWORK, Height::new(7), BLOCK, &set).map_err(|e| e.rule())
        };
        let good = certificate(&[0, 1, 3]);
        assert_eq!(verify(&good), Ok(()));
        let cases: [(Certificate, &str); 7] = [
            (certificate(&[0, 1]), "CERT-NO-QUORUM"),
            (certificate(&[0, 1, 1]), "CERT-ORDER"),
            (certificate(&[1, 0, 3]), "CERT-ORDER"),
            (certificate(&[0, 1, 9]), "CERT-STRANGER"),
            (Certificate { round: 4, ..good.clone() }, "CERT-SIGNATURE"),
            (Certificate { height: Height::new(8), ..good.clone() }, "CERT-HEIGHT"),
            (Certificate { block: BlockId::from_bytes([3; 32]), ..good }, "CERT-BLOCK"),
        ];
        for (certificate, rule) in cases {
            assert_eq!(verify(&certificate), Err(rule));
        }
    }
}
