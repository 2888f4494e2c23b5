//! Signatures and certificates of the consensus step: real ones.

use arc_malachitebft_core_consensus::{ConsensusMsg, MisbehaviorEvidence};
use arc_malachitebft_core_types::{
    CertificateError, CommitCertificate, CommitSignature, Context as _, NilOrVal, PolkaCertificate,
    RoundCertificate, RoundCertificateType, SignedMessage, ThresholdParams, Validator as _,
    ValidatorSet as _,
};
use syngraph_node::core::ports::{Evidence, Signed};
use syngraph_protocol::certificate::{self, Certificate};
use syngraph_protocol::crypto::{self, Domain, SecretKey};
use syngraph_protocol::ids::{NetworkId, PublicKey, Signature};

use super::context::{Address, Context, Height, Proposal, ValidatorSet, Value, Vote, number};

type Checked = Result<(), CertificateError<Context>>;

/// Signs and checks for one network.
#[derive(Clone)]
pub(crate) struct Notary {
    pub(crate) network: NetworkId,
    pub(crate) key: SecretKey,
}

impl Notary {
    pub(crate) fn sign_vote(&self, vote: Vote) -> SignedMessage<Context, Vote> {
        let signature = self.key.sign(Domain::VOTE, &vote.signed_form(self.network).signing_bytes());
        SignedMessage::new(vote, signature)
    }

    pub(crate) fn sign_proposal(&self, proposal: Proposal) -> SignedMessage<Context, Proposal> {
        let form = proposal.signed_form(self.network).signing_bytes();
        let signature = self.key.sign(Domain::PROPOSAL, &form);
        SignedMessage::new(proposal, signature)
    }

    pub(crate) fn holds(
        &self,
        signed: &SignedMessage<Context, ConsensusMsg<Context>>,
        key: &PublicKey,
    ) -> bool {
        match &signed.message {
            ConsensusMsg::Vote(vote) => self.voted(vote, &signed.signature, key),
            ConsensusMsg::Proposal(proposal) => {
                let form = proposal.signed_form(self.network).signing_bytes();
                crypto::verify(key, Domain::PROPOSAL, &form, &signed.signature).is_ok()
            }
        }
    }

    fn voted(&self, vote: &Vote, signature: &Signature, key: &PublicKey) -> bool {
        let form = vote.signed_form(self.network).signing_bytes();
        crypto::verify(key, Domain::VOTE, &form, signature).is_ok()
    }

    /// Whether more than `thirds` of three of the power, each voter once, signed these votes.
    fn together<'a>(
        &self,
        voters: &ValidatorSet,
        votes: impl Iterator<Item = (Vote, &'a Signature)>,
        thirds: u64,
    ) -> Checked {
        let (mut seen, mut power) = (Vec::new(), 0_u64);
        for (vote, signature) in votes {
            let voter =
                voters.get_by_address(&vote.voter).ok_or(CertificateError::VerificationError(None))?;
            let twice = seen.contains(&vote.voter);
            if twice || !self.voted(&vote, signature, voter.public_key()) {
                return Err(CertificateError::VerificationError(None));
            }
            seen.push(vote.voter);
            power += voter.voting_power();
        }
        let enough = 3 * power > thirds * voters.total_voting_power();
        if enough { Ok(()) } else { Err(CertificateError::VerificationError(None)) }
    }

    pub(crate) fn check_commit(&self, from: &CommitCertificate<Context>, voters: &ValidatorSet) -> Checked {
        let value = NilOrVal::Val(from.value_id);
        let votes = from.commit_signatures.iter().map(|commit| {
            let vote = Context.new_precommit(from.height, from.round, value, commit.address);
            (vote, &commit.signature)
        });
        self.together(voters, votes, 2)
    }

    pub(crate) fn check_polka(&self, from: &PolkaCertificate<Context>, voters: &ValidatorSet) -> Checked {
        let value = NilOrVal::Val(from.value_id);
        let votes = from.polka_signatures.iter().map(|prevote| {
            let vote = Context.new_prevote(from.height, from.round, value, prevote.address);
            (vote, &prevote.signature)
        });
        self.together(voters, votes, 2)
    }

    pub(crate) fn check_round(&self, from: &RoundCertificate<Context>, voters: &ValidatorSet) -> Checked {
        let thirds = if from.cert_type == RoundCertificateType::Skip { 1 } else { 2 };
        let signed: Vec<_> = from.votes(&Context).collect();
        let votes = signed.iter().map(|signed| (signed.message.clone(), &signed.signature));
        self.together(voters, votes, thirds)
    }

    /// What was signed twice, in the words of the node.
    pub(crate) fn evidence(&self, from: &MisbehaviorEvidence<Context>) -> Vec<Evidence> {
        let votes = from.votes.iter().flat_map(|(_, pairs)| pairs).map(|(one, other)| {
            let signed = |vote: &SignedMessage<Context, Vote>| Signed {
                message: vote.message.signed_form(self.network),
                signature: vote.signature,
            };
            Evidence::Votes(Box::new((signed(one), signed(other))))
        });
        let proposals = from.proposals.iter().flat_map(|(_, pairs)| pairs).map(|(one, other)| {
            let signed = |proposal: &SignedMessage<Context, Proposal>| Signed {
                message: proposal.message.signed_form(self.network),
                signature: proposal.signature,
            };
            Evidence::Proposals(Box::new((signed(one), signed(other))))
        });
        votes.chain(proposals).collect()
    }
}

/// The protocol's certificate of a decision.
pub(crate) fn certificate(from: &CommitCertificate<Context>) -> Certificate {
    let commit = |commit: &CommitSignature<Context>| certificate::CommitSignature {
        member: commit.address.0,
        signature: commit.signature,
    };
    let mut signatures: Vec<_> = from.commit_signatures.iter().map(commit).collect();
    signatures.sort_unstable_by_key(|commit| commit.member);
    signatures.dedup_by_key(|commit| commit.member);
    Certificate { height: from.height.0, round: number(from.round), block: from.value_id.0, signatures }
}

/// The core's form of a certificate.
pub(crate) fn commit_certificate(from: &Certificate) -> CommitCertificate<Context> {
    let commit = |commit: &certificate::CommitSignature| CommitSignature {
        address: Address(commit.member),
        signature: commit.signature,
    };
    CommitCertificate {
        height: Height(from.height),
        round: from.round.into(),
        value_id: Value(from.block),
        commit_signatures: from.signatures.iter().map(commit).collect(),
    }
}

/// The thresholds that the node uses too.
pub(crate) fn thresholds() -> ThresholdParams {
    ThresholdParams::default()
}
