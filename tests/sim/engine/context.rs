//! The published core's vocabulary, spelled in protocol types, as the node spells it.
//!
//! *Deliberately absent:* vote extensions; their type is `()`.

use std::fmt;
use std::sync::Arc;

use arc_malachitebft_core_types as core;
use core::{LinearTimeouts, NilOrVal, Round, SignedExtension, VoteType, VotingPower};
use syngraph_protocol::certificate::{self, MemberSet, VoteKind, Voter};
use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::ids::{self, BlockId, MemberId, NetworkId, PublicKey, Signature};

/// A position in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Height(pub(crate) ids::Height);

impl Default for Height {
    fn default() -> Self {
        Self(ids::Height::GENESIS)
    }
}

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::Height for Height {
    const ZERO: Self = Self(ids::Height::GENESIS);
    const INITIAL: Self = Self(ids::Height::new(1));

    fn increment_by(&self, n: u64) -> Self {
        Self(ids::Height::new(self.0.get().saturating_add(n)))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.get().checked_sub(n).map(|height| Self(ids::Height::new(height)))
    }

    fn as_u64(&self) -> u64 {
        self.0.get()
    }
}

/// Who votes or proposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address(pub(crate) MemberId);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member-{}", self.0)
    }
}

impl core::Address for Address {}

/// What is decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Value(pub(crate) BlockId);

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::Value for Value {
    type Id = Self;

    fn id(&self) -> Self {
        *self
    }
}

/// Ed25519 through `syngraph_protocol::crypto`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ed25519;

impl core::SigningScheme for Ed25519 {
    type DecodingError = std::array::TryFromSliceError;
    type Signature = Signature;
    type PublicKey = PublicKey;
    type PrivateKey = SecretKey;

    fn decode_signature(bytes: &[u8]) -> Result<Signature, Self::DecodingError> {
        Ok(Signature::from_bytes(bytes.try_into()?))
    }

    fn encode_signature(signature: &Signature) -> Vec<u8> {
        signature.as_bytes().to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<PublicKey, Self::DecodingError> {
        Ok(PublicKey::from_bytes(bytes.try_into()?))
    }

    fn encode_public_key(key: &PublicKey) -> Vec<u8> {
        key.as_bytes().to_vec()
    }
}

/// A vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vote {
    pub(crate) kind: VoteType,
    pub(crate) height: Height,
    pub(crate) round: Round,
    pub(crate) value: NilOrVal<Value>,
    pub(crate) voter: Address,
}

impl Vote {
    /// What is signed.
    pub(crate) fn signed_form(&self, network: NetworkId) -> certificate::Vote {
        let kind = match self.kind {
            VoteType::Prevote => VoteKind::Prevote,
            VoteType::Precommit => VoteKind::Precommit,
        };
        let block = match self.value {
            NilOrVal::Val(Value(block)) => Some(block),
            NilOrVal::Nil => None,
        };
        let (height, round, member) = (self.height.0, number(self.round), self.voter.0);
        certificate::Vote { network, kind, height, round, block, member }
    }
}

/// The number of a round that was begun.
pub(crate) fn number(round: Round) -> u32 {
    round.as_u32().expect("the core speaks of rounds that it has begun")
}

impl core::Vote<Context> for Vote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<Value> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<Value> {
        self.value
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &Address {
        &self.voter
    }

    fn extension(&self) -> Option<&SignedExtension<Context>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedExtension<Context>> {
        None
    }

    fn extend(self, _: SignedExtension<Context>) -> Self {
        self
    }
}

/// A proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) height: Height,
    pub(crate) round: Round,
    pub(crate) value: Value,
    pub(crate) valid_round: Round,
    pub(crate) proposer: Address,
}

impl Proposal {
    /// What is signed.
    pub(crate) fn signed_form(&self, network: NetworkId) -> certificate::Proposal {
        certificate::Proposal {
            network,
            height: self.height.0,
            round: number(self.round),
            block: self.value.0,
            valid_round: self.valid_round.as_u32(),
            member: self.proposer.0,
        }
    }
}

impl core::Proposal<Context> for Proposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &Value {
        &self.value
    }

    fn take_value(self) -> Value {
        self.value
    }

    fn pol_round(&self) -> Round {
        self.valid_round
    }

    fn validator_address(&self) -> &Address {
        &self.proposer
    }
}

/// A piece of a block. Blocks travel whole here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part;

impl core::ProposalPart<Context> for Part {
    fn is_first(&self) -> bool {
        true
    }

    fn is_last(&self) -> bool {
        true
    }
}

/// A voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Validator {
    address: Address,
    key: PublicKey,
    power: VotingPower,
}

impl core::Validator<Context> for Validator {
    fn address(&self) -> &Address {
        &self.address
    }

    fn public_key(&self) -> &PublicKey {
        &self.key
    }

    fn voting_power(&self) -> VotingPower {
        self.power
    }
}

/// The voters of one height, sorted by member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValidatorSet {
    validators: Arc<[Validator]>,
    total: VotingPower,
}

impl From<&MemberSet> for ValidatorSet {
    fn from(members: &MemberSet) -> Self {
        let validator =
            |voter: &Voter| Validator { address: Address(voter.member), key: voter.key, power: voter.power };
        Self { validators: members.voters().iter().map(validator).collect(), total: members.total_power() }
    }
}

impl core::ValidatorSet<Context> for ValidatorSet {
    fn count(&self) -> usize {
        self.validators.len()
    }

    fn total_voting_power(&self) -> VotingPower {
        self.total
    }

    fn get_by_address(&self, address: &Address) -> Option<&Validator> {
        self.validators.iter().find(|validator| validator.address == *address)
    }

    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.validators.get(index)
    }
}

/// The types above as one.
#[derive(Clone, Debug)]
pub(crate) struct Context;

impl core::Context for Context {
    type Address = Address;
    type Height = Height;
    type ProposalPart = Part;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = ValidatorSet;
    type Timeouts = LinearTimeouts;
    type Value = Value;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = Ed25519;

    /// Voters take turns, as in the node.
    fn select_proposer<'a>(&self, voters: &'a ValidatorSet, height: Height, round: Round) -> &'a Validator {
        let turn = u128::from(height.0.get()) + u128::from(round.as_u32().unwrap_or(0));
        let position = turn.checked_rem(voters.validators.len() as u128).unwrap_or(0) as usize;
        voters.validators.get(position).expect("no height begins without voters")
    }

    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        value: Value,
        valid_round: Round,
        proposer: Address,
    ) -> Proposal {
        Proposal { height, round, value, valid_round, proposer }
    }

    fn new_prevote(&self, height: Height, round: Round, value: NilOrVal<Value>, voter: Address) -> Vote {
        Vote { kind: VoteType::Prevote, height, round, value, voter }
    }

    fn new_precommit(&self, height: Height, round: Round, value: NilOrVal<Value>, voter: Address) -> Vote {
        Vote { kind: VoteType::Precommit, height, round, value, voter }
    }
}
