//! From the engine's records to the protocol's.
//!
//! *Invariants.* A conversion adds nothing and loses nothing that a signature covers. A record that the
//! engine could only have made in error (an undefined round) is an error here, not a panic.

use std::cmp::Ordering;

use arc_malachitebft_app::types::{MisbehaviorEvidence, ProposedValue};
use arc_malachitebft_core_types::{self as core, CommitCertificate, Round, SignedMessage, Validity};
use syngraph_protocol::block::{Block, CutError};
use syngraph_protocol::certificate::{self, Certificate};
use syngraph_protocol::codec::{self, DecodeError};
use syngraph_protocol::ids::{Height, NetworkId};
use syngraph_protocol::limits::BLOCK_BODY_BYTES_MAX;

use super::context::{self, Address, Context, Value};
use super::event::{Evidence, Judged, Signed};

/// The engine spoke of a round before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine named no round at height {height}")]
pub(super) struct NoRound {
    pub(super) height: Height,
}

/// The number of a round that the engine has begun.
pub(super) fn defined(round: Round, height: context::Height) -> Result<u32, NoRound> {
    round.as_u32().ok_or(NoRound { height: height.0 })
}

/// The protocol's certificate of a decision: the same signatures, sorted by member, each member once.
pub(super) fn certificate(from: &CommitCertificate<Context>) -> Result<Certificate, NoRound> {
    let commit = |s: &core::CommitSignature<Context>| certificate::CommitSignature {
        member: s.address.0,
        signature: s.signature,
    };
    let mut signatures: Vec<_> = from.commit_signatures.iter().map(commit).collect();
    signatures.sort_unstable_by_key(|commit| commit.member);
    signatures.dedup_by_key(|commit| commit.member);
    let round = defined(from.round, from.height)?;
    Ok(Certificate { height: from.height.0, round, block: from.value_id.0, signatures })
}

/// The engine's form of a certificate.
pub(super) fn commit_certificate(from: &Certificate) -> CommitCertificate<Context> {
    let commit =
        |s: &certificate::CommitSignature| core::CommitSignature::new(Address(s.member), s.signature);
    CommitCertificate {
        height: context::Height(from.height),
        round: Round::new(from.round),
        value_id: Value(from.block),
        commit_signatures: from.signatures.iter().map(commit).collect(),
    }
}

/// The engine's form of a verdict.
pub(super) fn proposed_value(from: Judged) -> ProposedValue<Context> {
    ProposedValue {
        height: context::Height(from.height),
        round: Round::new(from.round),
        // The signed proposal carries the round that counts; values are matched by id alone.
        valid_round: Round::Nil,
        proposer: Address(from.proposer),
        value: Value(from.block),
        validity: Validity::from_bool(from.valid),
    }
}

/// Everything the engine has seen signed twice. Each pair is in canonical order, so that all nodes make
/// the same evidence of it: the smaller block first (none before any), of proposals for one block the
/// smaller valid round. A pair that says the same twice proves nothing and is left out.
pub(super) fn evidence(
    from: &MisbehaviorEvidence<Context>,
    network: NetworkId,
) -> Result<Vec<Evidence>, NoRound> {
    let mut all = Vec::new();
    for (first, second) in from.votes.iter().flat_map(|(_, pairs)| pairs) {
        let pair = (vote(first, network)?, vote(second, network)?);
        all.extend(ordered(pair, |vote| vote.block).map(Evidence::Votes));
    }
    for (first, second) in from.proposals.iter().flat_map(|(_, pairs)| pairs) {
        let pair = (proposal(first, network)?, proposal(second, network)?);
        all.extend(ordered(pair, |proposal| (proposal.block, proposal.valid_round)).map(Evidence::Proposals));
    }
    Ok(all)
}

fn ordered<T, K: Ord>(
    (first, second): (Signed<T>, Signed<T>),
    key: impl Fn(&T) -> K,
) -> Option<Box<(Signed<T>, Signed<T>)>> {
    match key(&first.message).cmp(&key(&second.message)) {
        Ordering::Less => Some(Box::new((first, second))),
        Ordering::Greater => Some(Box::new((second, first))),
        Ordering::Equal => None,
    }
}

fn vote(
    from: &SignedMessage<Context, context::Vote>,
    network: NetworkId,
) -> Result<Signed<certificate::Vote>, NoRound> {
    let message = from.message.signed_form(network).ok_or(NoRound { height: from.message.height.0 })?;
    Ok(Signed { message, signature: from.signature })
}

fn proposal(
    from: &SignedMessage<Context, context::Proposal>,
    network: NetworkId,
) -> Result<Signed<super::event::Proposal>, NoRound> {
    let message = from.message.signed_form(network).ok_or(NoRound { height: from.message.height.0 })?;
    Ok(Signed { message, signature: from.signature })
}

/// Why bytes are not the block they are said to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BlockFormError {
    /// Not the canonical encoding of a block.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The cut is malformed.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// The cut is not the one the header binds, so the id says nothing about it.
    #[error("the cut is not the one that the header binds")]
    OtherCut,
    /// The header is for another height.
    #[error("the header is for height {got}, not {expected}")]
    OtherHeight {
        /// The height it was sent for.
        expected: Height,
        /// The height in the header.
        got: Height,
    },
}

/// Reads the canonical bytes of a block for `height` and checks that its id binds every one of them.
pub(super) fn read_block(bytes: &[u8], height: Height) -> Result<Block, BlockFormError> {
    let block: Block = codec::decode(bytes, BLOCK_BODY_BYTES_MAX)?;
    block.cut.check()?;
    if block.cut.root() != block.header.cut_root {
        return Err(BlockFormError::OtherCut);
    }
    if block.header.height != height {
        return Err(BlockFormError::OtherHeight { expected: height, got: block.header.height });
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::signer::{VoteSigner, VoteVerifier};
    use crate::consensus::tests::{NETWORK, block, key, voters};
    use arc_malachitebft_app::consensus::ProposedValue as EngineValue;
    use arc_malachitebft_core_types::{Context as _, NilOrVal, SignedVote, ThresholdParams};
    use arc_malachitebft_signing::{Signer as _, Verifier as _, VerifierExt as _};
    use syngraph_protocol::crypto::{self, Domain};
    use syngraph_protocol::ids::{BlockId, MemberId};

    const BLOCK: Value = Value(BlockId::from_bytes([3; 32]));

    /// Two votes, signed or not, as the engine pairs them.
    fn misbehavior(first: SignedVote<Context>, second: SignedVote<Context>) -> MisbehaviorEvidence<Context> {
        let mut all = MisbehaviorEvidence { votes: Default::default(), proposals: Default::default() };
        all.votes.add(first, second);
        all
    }

    async fn precommit(member: u32, round: Round, value: NilOrVal<Value>) -> SignedVote<Context> {
        let vote = Context.new_precommit(
            context::Height(Height::new(7)),
            round,
            value,
            Address(MemberId::new(member)),
        );
        let signer = VoteSigner { network: NETWORK, key: key(member) };
        signer.sign_vote(vote).await.expect("its round is defined")
    }

    async fn decision(members: &[u32]) -> CommitCertificate<Context> {
        let mut votes = Vec::new();
        for &member in members {
            votes.push(precommit(member, Round::new(2), NilOrVal::Val(BLOCK)).await);
        }
        CommitCertificate::new(context::Height(Height::new(7)), Round::new(2), BLOCK, votes)
    }

    #[tokio::test]
    async fn a_decision_is_a_certificate_as_it_is() {
        let set = voters(4);
        let decided = decision(&[3, 0, 2, 0]).await;
        let proof = certificate(&decided).expect("its round is defined");
        let signers: Vec<u32> = proof.signatures.iter().map(|commit| commit.member.get()).collect();
        assert_eq!(signers, [0, 2, 3], "sorted, each member once");
        assert_eq!(proof.verify(NETWORK, Height::new(7), BLOCK.0, &set), Ok(()));

        let back = commit_certificate(&proof);
        assert_eq!(certificate(&back), Ok(proof));
        let verifier = VoteVerifier { network: NETWORK };
        let engine_set = context::ValidatorSet::from(&set);
        let verdict =
            verifier.verify_commit_certificate(&Context, &back, &engine_set, ThresholdParams::default());
        assert!(verdict.await.is_ok());
    }

    #[tokio::test]
    async fn the_engine_and_the_certificate_agree_on_what_is_too_little() {
        let (set, verifier) = (voters(4), VoteVerifier { network: NETWORK });
        let few = decision(&[0, 1]).await;
        let proof = certificate(&few).expect("its round is defined");
        let refused = proof.verify(NETWORK, Height::new(7), BLOCK.0, &set).map_err(|e| e.rule());
        assert_eq!(refused, Err("CERT-NO-QUORUM"));
        let engine_set = context::ValidatorSet::from(&set);
        let verdict =
            verifier.verify_commit_certificate(&Context, &few, &engine_set, ThresholdParams::default());
        assert!(verdict.await.is_err());
    }

    #[tokio::test]
    async fn a_vote_verifies_for_its_network_key_and_content_only() {
        let vote = precommit(1, Round::new(2), NilOrVal::Val(BLOCK)).await;
        let check = async |network, message: &context::Vote, signer: u32| {
            let verifier = VoteVerifier { network };
            let result = verifier.verify_signed_vote(message, &vote.signature, &key(signer).public()).await;
            result.expect("no device to fail").is_valid()
        };
        assert!(check(NETWORK, &vote.message, 1).await);
        assert!(!check(NetworkId::from_bytes([9; 32]), &vote.message, 1).await);
        assert!(!check(NETWORK, &vote.message, 2).await);
        let other = context::Vote { value: NilOrVal::Nil, ..vote.message.clone() };
        assert!(!check(NETWORK, &other, 1).await);
        let nowhere = context::Vote { round: Round::Nil, ..vote.message.clone() };
        assert!(!check(NETWORK, &nowhere, 1).await);
        assert!(VoteSigner { network: NETWORK, key: key(1) }.sign_vote(nowhere).await.is_err());
    }

    #[tokio::test]
    async fn proposals_and_validator_proofs_have_domains_of_their_own() {
        let signer = VoteSigner { network: NETWORK, key: key(1) };
        let (verifier, public) = (VoteVerifier { network: NETWORK }, key(1).public());
        let (height, proposer) = (context::Height(Height::new(7)), Address(MemberId::new(1)));
        let proposal = Context.new_proposal(height, Round::new(2), BLOCK, Round::Nil, proposer);
        let signed = signer.sign_proposal(proposal.clone()).await.expect("its round is defined");
        let form = proposal.signed_form(NETWORK).expect("its round is defined").signing_bytes();
        assert_eq!(crypto::verify(&public, Domain::PROPOSAL, &form, &signed.signature), Ok(()));
        let repeated = context::Proposal { valid_round: Round::new(0), ..proposal.clone() };
        for (message, valid) in [(&proposal, true), (&repeated, false)] {
            let verdict = verifier.verify_signed_proposal(message, &signed.signature, &public).await;
            assert_eq!(verdict.expect("no device to fail").is_valid(), valid);
        }
        let mut proof = signer.prove(vec![1, 2, 3]);
        assert!(verifier.verify_validator_proof(&proof).await.expect("no device to fail").is_valid());
        proof.peer_id = vec![3, 2, 1];
        assert!(!verifier.verify_validator_proof(&proof).await.expect("no device to fail").is_valid());
        proof.public_key.pop();
        assert!(!verifier.verify_validator_proof(&proof).await.expect("no device to fail").is_valid());
    }

    #[tokio::test]
    async fn evidence_is_two_signed_statements_that_anyone_can_check() {
        let first = precommit(1, Round::new(2), NilOrVal::Val(BLOCK)).await;
        let second = precommit(1, Round::new(2), NilOrVal::Nil).await;
        let mut seen =
            MisbehaviorEvidence::<Context> { proposals: Default::default(), votes: Default::default() };
        seen.votes.add(first, second);
        let all = evidence(&seen, NETWORK).expect("their rounds are defined");
        let [Evidence::Votes(pair)] = &all[..] else { panic!("one pair of votes, not {all:?}") };
        let blocks = [&pair.0, &pair.1].map(|signed| {
            let bytes = signed.message.signing_bytes();
            assert_eq!(crypto::verify(&key(1).public(), Domain::VOTE, &bytes, &signed.signature), Ok(()));
            signed.message.block
        });
        assert_eq!(blocks, [None, Some(BLOCK.0)]);
    }

    #[test]
    fn a_verdict_keeps_what_it_says() {
        let (height, proposer) = (Height::new(7), MemberId::new(1));
        let judged = Judged { height, round: 2, proposer, block: BLOCK.0, valid: false };
        let EngineValue { height, round, proposer, value, validity, .. } = proposed_value(judged);
        assert_eq!((height.0.get(), round, proposer.0.get(), value), (7, Round::new(2), 1, BLOCK));
        assert!(validity.is_invalid());
    }

    #[tokio::test]
    async fn evidence_is_the_same_whoever_saw_which_vote_first() {
        let none = precommit(1, Round::new(2), NilOrVal::Nil).await;
        let small = precommit(1, Round::new(2), NilOrVal::Val(Value(BlockId::from_bytes([2; 32])))).await;
        let large = precommit(1, Round::new(2), NilOrVal::Val(BLOCK)).await;
        for (first, second) in [(&none, &small), (&small, &large), (&none, &large)] {
            let seen = |a: &SignedVote<Context>, b: &SignedVote<Context>| {
                evidence(&misbehavior(a.clone(), b.clone()), NETWORK).expect("their rounds are defined")
            };
            let found = seen(first, second);
            assert_eq!(found, seen(second, first));
            let [Evidence::Votes(pair)] = &found[..] else { panic!("{found:?}") };
            assert!(pair.0.message.block < pair.1.message.block);
            for vote in [&pair.0, &pair.1] {
                let (bytes, key) = (vote.message.signing_bytes(), key(1).public());
                assert_eq!(crypto::verify(&key, Domain::VOTE, &bytes, &vote.signature), Ok(()));
            }
        }
        assert_eq!(evidence(&misbehavior(large.clone(), large), NETWORK), Ok(Vec::new()));
    }

    #[test]
    fn a_record_without_a_round_is_an_error() {
        let height = context::Height(Height::new(7));
        let nowhere = CommitCertificate::<Context>::new(height, Round::Nil, BLOCK, Vec::new());
        assert_eq!(certificate(&nowhere), Err(NoRound { height: Height::new(7) }));
        assert_eq!(defined(Round::new(4), height), Ok(4));
    }

    #[test]
    fn a_block_is_read_only_for_its_own_height() {
        let block = block(Height::new(7));
        let bytes = codec::encode(&block);
        assert_eq!(read_block(&bytes, Height::new(7)), Ok(block));
        assert!(read_block(&bytes, Height::new(8)).is_err());
        assert!(read_block(&bytes[1..], Height::new(7)).is_err());
        let flood = vec![0; BLOCK_BODY_BYTES_MAX + 1];
        assert!(matches!(read_block(&flood, Height::new(7)), Err(BlockFormError::Decode(_))));
    }
}
