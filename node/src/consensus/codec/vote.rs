//! Votes, proposals, and what is made of them.

use arc_malachitebft_app::consensus::{LivenessMsg, ProposedValue, SignedConsensusMsg};
use arc_malachitebft_core_types::{self as core, PolkaCertificate, RoundCertificate, RoundCertificateType};
use arc_malachitebft_core_types::{SignedMessage, ValidatorProof, Validity};
use serde::{Deserialize, Serialize};
use syngraph_protocol::certificate::{CommitSignature, VoteKind};
use syngraph_protocol::ids::{self, BlockId, MemberId, Signature};
use syngraph_protocol::limits::CERTIFICATE_BYTES_MAX;

use super::super::context::{Address, Context, Proposal, Value, Vote};
use super::super::context::{nil_or_block, optional_block, vote_kind, vote_type};
use super::super::convert;
use super::{CodecError, LIVENESS_BYTES_MAX, MESSAGE_BYTES_MAX, NOTE_BYTES_MAX, Wire};
use super::{height, optional_round, round};

#[derive(Serialize, Deserialize)]
pub(super) struct WireVote {
    kind: VoteKind,
    height: ids::Height,
    round: u32,
    block: Option<BlockId>,
    voter: MemberId,
    signature: Signature,
}

impl WireVote {
    fn of(vote: &SignedMessage<Context, Vote>) -> Result<Self, CodecError> {
        Ok(Self {
            kind: vote_kind(vote.message.kind),
            height: vote.message.height.0,
            round: convert::defined(vote.message.round, vote.message.height)?,
            block: optional_block(vote.message.value),
            voter: vote.message.voter.0,
            signature: vote.signature,
        })
    }

    fn open(self) -> Result<SignedMessage<Context, Vote>, CodecError> {
        let vote = Vote {
            kind: vote_type(self.kind),
            height: height(self.height)?,
            round: round(self.round)?,
            value: nil_or_block(self.block),
            voter: Address(self.voter),
        };
        Ok(SignedMessage::new(vote, self.signature))
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireProposal {
    height: ids::Height,
    round: u32,
    block: BlockId,
    valid_round: Option<u32>,
    proposer: MemberId,
    signature: Signature,
}

impl WireProposal {
    fn of(proposal: &SignedMessage<Context, Proposal>) -> Result<Self, CodecError> {
        Ok(Self {
            height: proposal.message.height.0,
            round: convert::defined(proposal.message.round, proposal.message.height)?,
            block: proposal.message.value.0,
            valid_round: proposal.message.valid_round.as_u32(),
            proposer: proposal.message.proposer.0,
            signature: proposal.signature,
        })
    }

    fn open(self) -> Result<SignedMessage<Context, Proposal>, CodecError> {
        let proposal = Proposal {
            height: height(self.height)?,
            round: round(self.round)?,
            value: Value(self.block),
            valid_round: optional_round(self.valid_round)?,
            proposer: Address(self.proposer),
        };
        Ok(SignedMessage::new(proposal, self.signature))
    }
}

#[derive(Serialize, Deserialize)]
pub(super) enum WireMessage {
    Vote(WireVote),
    Proposal(WireProposal),
}

impl Wire<SignedConsensusMsg<Context>> for WireMessage {
    const BYTES_MAX: usize = MESSAGE_BYTES_MAX;

    fn of(message: &SignedConsensusMsg<Context>) -> Result<Self, CodecError> {
        Ok(match message {
            SignedConsensusMsg::Vote(vote) => Self::Vote(WireVote::of(vote)?),
            SignedConsensusMsg::Proposal(proposal) => Self::Proposal(WireProposal::of(proposal)?),
        })
    }

    fn open(self) -> Result<SignedConsensusMsg<Context>, CodecError> {
        Ok(match self {
            Self::Vote(vote) => SignedConsensusMsg::Vote(vote.open()?),
            Self::Proposal(proposal) => SignedConsensusMsg::Proposal(proposal.open()?),
        })
    }
}

/// Prevotes of a quorum for one block.
#[derive(Serialize, Deserialize)]
pub(super) struct WirePolka {
    height: ids::Height,
    round: u32,
    block: BlockId,
    signatures: Vec<CommitSignature>,
}

impl Wire<PolkaCertificate<Context>> for WirePolka {
    const BYTES_MAX: usize = CERTIFICATE_BYTES_MAX;

    fn of(polka: &PolkaCertificate<Context>) -> Result<Self, CodecError> {
        let prevote = |s: &core::PolkaSignature<Context>| CommitSignature {
            member: s.address.0,
            signature: s.signature,
        };
        Ok(Self {
            height: polka.height.0,
            round: convert::defined(polka.round, polka.height)?,
            block: polka.value_id.0,
            signatures: polka.polka_signatures.iter().map(prevote).collect(),
        })
    }

    fn open(self) -> Result<PolkaCertificate<Context>, CodecError> {
        let prevote = |s: CommitSignature| core::PolkaSignature::new(Address(s.member), s.signature);
        Ok(PolkaCertificate {
            height: height(self.height)?,
            round: round(self.round)?,
            value_id: Value(self.block),
            polka_signatures: self.signatures.into_iter().map(prevote).collect(),
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) enum WireRoundKind {
    Skip,
    Precommit,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireRoundSignature {
    kind: VoteKind,
    block: Option<BlockId>,
    voter: MemberId,
    signature: Signature,
}

/// Votes that justify going on to a round.
#[derive(Serialize, Deserialize)]
pub(super) struct WireRound {
    height: ids::Height,
    round: u32,
    kind: WireRoundKind,
    signatures: Vec<WireRoundSignature>,
}

impl WireRound {
    fn of(from: &RoundCertificate<Context>) -> Result<Self, CodecError> {
        let signature = |s: &core::RoundSignature<Context>| WireRoundSignature {
            kind: vote_kind(s.vote_type),
            block: optional_block(s.value_id),
            voter: s.address.0,
            signature: s.signature,
        };
        Ok(Self {
            height: from.height.0,
            round: convert::defined(from.round, from.height)?,
            kind: match from.cert_type {
                RoundCertificateType::Skip => WireRoundKind::Skip,
                RoundCertificateType::Precommit => WireRoundKind::Precommit,
            },
            signatures: from.round_signatures.iter().map(signature).collect(),
        })
    }

    fn open(self) -> Result<RoundCertificate<Context>, CodecError> {
        let signature = |s: WireRoundSignature| {
            core::RoundSignature::new(vote_type(s.kind), nil_or_block(s.block), Address(s.voter), s.signature)
        };
        Ok(RoundCertificate {
            height: height(self.height)?,
            round: round(self.round)?,
            cert_type: match self.kind {
                WireRoundKind::Skip => RoundCertificateType::Skip,
                WireRoundKind::Precommit => RoundCertificateType::Precommit,
            },
            round_signatures: self.signatures.into_iter().map(signature).collect(),
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) enum WireLiveness {
    Vote(WireVote),
    Polka(WirePolka),
    Round(WireRound),
}

impl Wire<LivenessMsg<Context>> for WireLiveness {
    const BYTES_MAX: usize = LIVENESS_BYTES_MAX;

    fn of(message: &LivenessMsg<Context>) -> Result<Self, CodecError> {
        Ok(match message {
            LivenessMsg::Vote(vote) => Self::Vote(WireVote::of(vote)?),
            LivenessMsg::PolkaCertificate(polka) => Self::Polka(WirePolka::of(polka)?),
            LivenessMsg::SkipRoundCertificate(round) => Self::Round(WireRound::of(round)?),
        })
    }

    fn open(self) -> Result<LivenessMsg<Context>, CodecError> {
        Ok(match self {
            Self::Vote(vote) => LivenessMsg::Vote(vote.open()?),
            Self::Polka(polka) => LivenessMsg::PolkaCertificate(polka.open()?),
            Self::Round(round) => LivenessMsg::SkipRoundCertificate(round.open()?),
        })
    }
}

/// A verdict, for the write-ahead log.
#[derive(Serialize, Deserialize)]
pub(super) struct WireProposed {
    height: ids::Height,
    round: u32,
    valid_round: Option<u32>,
    proposer: MemberId,
    block: BlockId,
    valid: bool,
}

impl Wire<ProposedValue<Context>> for WireProposed {
    const BYTES_MAX: usize = MESSAGE_BYTES_MAX;

    fn of(value: &ProposedValue<Context>) -> Result<Self, CodecError> {
        Ok(Self {
            height: value.height.0,
            round: convert::defined(value.round, value.height)?,
            valid_round: value.valid_round.as_u32(),
            proposer: value.proposer.0,
            block: value.value.0,
            valid: value.validity.is_valid(),
        })
    }

    fn open(self) -> Result<ProposedValue<Context>, CodecError> {
        Ok(ProposedValue {
            height: height(self.height)?,
            round: round(self.round)?,
            valid_round: optional_round(self.valid_round)?,
            proposer: Address(self.proposer),
            value: Value(self.block),
            validity: Validity::from_bool(self.valid),
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireProof {
    key: Vec<u8>,
    peer: Vec<u8>,
    signature: Signature,
}

impl Wire<ValidatorProof<Context>> for WireProof {
    const BYTES_MAX: usize = NOTE_BYTES_MAX;

    fn of(proof: &ValidatorProof<Context>) -> Result<Self, CodecError> {
        let (key, peer) = (proof.public_key.clone(), proof.peer_id.clone());
        Ok(Self { key, peer, signature: proof.signature })
    }

    fn open(self) -> Result<ValidatorProof<Context>, CodecError> {
        Ok(ValidatorProof::new(self.key, self.peer, self.signature))
    }
}
