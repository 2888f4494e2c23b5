//! Signatures of the consensus step, over the protocol's own bytes.
//!
//! *Invariants.* Votes, proposals and validator proofs are signed in three different domains; votes and
//! proposals bind the network. Checking is `crypto::verify` (strict) and nothing else.
//!
//! *Deliberately absent:* a guard against signing twice. The engine keeps one, in its write-ahead log.

use arc_malachitebft_core_types::{SignedMessage, ValidatorProof, VoteExtensionScope};
use arc_malachitebft_signing::{Error, Signer, VerificationResult, Verifier};
use async_trait::async_trait;
use syngraph_protocol::crypto::{self, Domain, SecretKey};
use syngraph_protocol::ids::{Height, NetworkId, PublicKey, Signature};

use super::context::{Context, Proposal, Vote};
use super::convert::NoRound;

/// The validator key of this node.
#[derive(Debug)]
pub(super) struct VoteSigner {
    pub(super) network: NetworkId,
    pub(super) key: SecretKey,
}

impl VoteSigner {
    /// Proves that the validator key owns a transport identity. Binds no network: what it says is true in
    /// all.
    pub(super) fn prove(&self, peer: Vec<u8>) -> ValidatorProof<Context> {
        let key = self.key.public().as_bytes().to_vec();
        let message = ValidatorProof::<Context>::signing_bytes(&key, &peer);
        ValidatorProof::new(key, peer, self.key.sign(Domain::VALIDATOR_PROOF, &message))
    }
}

fn no_round(height: Height) -> Error {
    Error::from_source(NoRound { height })
}

#[async_trait]
impl Signer<Context> for VoteSigner {
    async fn sign_vote(&self, vote: Vote) -> Result<SignedMessage<Context, Vote>, Error> {
        let form = vote.signed_form(self.network).ok_or_else(|| no_round(vote.height.0))?;
        let signature = self.key.sign(Domain::VOTE, &form.signing_bytes());
        Ok(SignedMessage::new(vote, signature))
    }

    async fn sign_proposal(&self, proposal: Proposal) -> Result<SignedMessage<Context, Proposal>, Error> {
        let form = proposal.signed_form(self.network).ok_or_else(|| no_round(proposal.height.0))?;
        let signature = self.key.sign(Domain::PROPOSAL, &form.signing_bytes());
        Ok(SignedMessage::new(proposal, signature))
    }

    async fn sign_vote_extension(
        &self,
        _: VoteExtensionScope<Context>,
        (): (),
    ) -> Result<SignedMessage<Context, ()>, Error> {
        Err(Error::new())
    }

    async fn sign_validator_proof(
        &self,
        public_key: Vec<u8>,
        peer: Vec<u8>,
    ) -> Result<ValidatorProof<Context>, Error> {
        if public_key != self.key.public().as_bytes() {
            return Err(Error::new());
        }
        Ok(self.prove(peer))
    }
}

/// Checks what any validator of the network has signed.
#[derive(Clone, Copy, Debug)]
pub(super) struct VoteVerifier {
    pub(super) network: NetworkId,
}

fn check(key: &PublicKey, domain: Domain, message: &[u8], signature: &Signature) -> bool {
    crypto::verify(key, domain, message, signature).is_ok()
}

/// Whether a vote of this network is signed with a key.
pub(super) fn is_vote_signed(
    vote: &Vote,
    network: NetworkId,
    signature: &Signature,
    key: &PublicKey,
) -> bool {
    let form = vote.signed_form(network);
    form.is_some_and(|form| check(key, Domain::VOTE, &form.signing_bytes(), signature))
}

/// Whether a proposal of this network is signed with a key.
pub(super) fn is_proposal_signed(
    proposal: &Proposal,
    network: NetworkId,
    signature: &Signature,
    key: &PublicKey,
) -> bool {
    let form = proposal.signed_form(network);
    form.is_some_and(|form| check(key, Domain::PROPOSAL, &form.signing_bytes(), signature))
}

#[async_trait]
impl Verifier<Context> for VoteVerifier {
    async fn verify_signed_vote(
        &self,
        vote: &Vote,
        signature: &Signature,
        key: &PublicKey,
    ) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::from_bool(is_vote_signed(vote, self.network, signature, key)))
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &Proposal,
        signature: &Signature,
        key: &PublicKey,
    ) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::from_bool(is_proposal_signed(proposal, self.network, signature, key)))
    }

    async fn verify_signed_vote_extension(
        &self,
        _: &VoteExtensionScope<Context>,
        (): &(),
        _: &Signature,
        _: &PublicKey,
    ) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::Invalid)
    }

    async fn verify_validator_proof(
        &self,
        proof: &ValidatorProof<Context>,
    ) -> Result<VerificationResult, Error> {
        let Ok(key) = proof.decoded_public_key() else { return Ok(VerificationResult::Invalid) };
        let is_signed = check(&key, Domain::VALIDATOR_PROOF, &proof.preimage(), &proof.signature);
        Ok(VerificationResult::from_bool(is_signed))
    }
}
