//! The engine's vocabulary, spelled in protocol types.
//!
//! *Invariants.* Heights, addresses and values are newtypes around protocol ids and convert without loss.
//! A vote or proposal of this context has exactly one signed form, [`Vote::signed_form`] and
//! [`Proposal::signed_form`].
//!
//! *Deliberately absent:* vote extensions; their type is `()`.

use std::fmt;
use std::sync::Arc;

use arc_malachitebft_core_types as core;
use core::{LinearTimeouts, NilOrVal, Round, SignedExtension, VoteType, VotingPower};
use syngraph_protocol::certificate::{self, MemberSet, VoteKind};
use syngraph_protocol::ids::{self, BlockId, MemberId, NetworkId, PublicKey, Signature};

use super::event;

/// The engine's position in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Height(pub(super) ids::Height);

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

    /// Saturates: the wire codec lets no height near the end of the range in.
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

/// Who votes or proposes: a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address(pub(super) MemberId);

impl Address {
    /// The address of a node that follows without voting. No member has this number, so the engine never
    /// takes the node for a validator, not even while its member is in the voting set.
    pub(super) const FOLLOWER: Self = Self(MemberId::new(u32::MAX));
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member-{}", self.0)
    }
}

impl core::Address for Address {}

/// What is decided on: the id of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Value(pub(super) BlockId);

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
pub(super) struct Ed25519;

/// Bytes that have not the length of a key or signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{got} bytes are not an Ed25519 key or signature")]
pub(super) struct WrongLength {
    got: usize,
}

impl core::SigningScheme for Ed25519 {
    type DecodingError = WrongLength;
    type Signature = Signature;
    type PublicKey = PublicKey;
    type PrivateKey = syngraph_protocol::crypto::SecretKey;

    fn decode_signature(bytes: &[u8]) -> Result<Signature, WrongLength> {
        let exact = bytes.try_into().map_err(|_| WrongLength { got: bytes.len() })?;
        Ok(Signature::from_bytes(exact))
    }

    fn encode_signature(signature: &Signature) -> Vec<u8> {
        signature.as_bytes().to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<PublicKey, WrongLength> {
        let exact = bytes.try_into().map_err(|_| WrongLength { got: bytes.len() })?;
        Ok(PublicKey::from_bytes(exact))
    }

    fn encode_public_key(key: &PublicKey) -> Vec<u8> {
        key.as_bytes().to_vec()
    }
}

/// A vote as the engine passes it around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vote {
    pub(super) kind: VoteType,
    pub(super) height: Height,
    pub(super) round: Round,
    pub(super) value: NilOrVal<Value>,
    pub(super) voter: Address,
}

impl Vote {
    /// What is signed; `None` if the round is undefined, which no vote of a running engine has.
    pub(super) fn signed_form(&self, network: NetworkId) -> Option<certificate::Vote> {
        let kind = vote_kind(self.kind);
        let block = optional_block(self.value);
        let round = self.round.as_u32()?;
        Some(certificate::Vote { network, kind, height: self.height.0, round, block, member: self.voter.0 })
    }
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

/// A proposal as the engine passes it around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) height: Height,
    pub(super) round: Round,
    pub(super) value: Value,
    pub(super) valid_round: Round,
    pub(super) proposer: Address,
}

impl Proposal {
    /// What is signed; `None` if the round is undefined, which no proposal of a running engine has.
    pub(super) fn signed_form(&self, network: NetworkId) -> Option<event::Proposal> {
        Some(event::Proposal {
            network,
            height: self.height.0,
            round: self.round.as_u32()?,
            block: self.value.0,
            valid_round: self.valid_round.as_u32(),
            member: self.proposer.0,
        })
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

/// A piece of a block on its way from the proposer. Unsigned: the signed proposal binds the id that the
/// pieces must add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The first part: what the block is proposed for.
    Init { height: ids::Height, round: u32, proposer: MemberId },
    /// A slice of the canonical block.
    Data(Vec<u8>),
    /// The last part: the id the slices must hash to.
    Fin { block: BlockId },
}

impl core::ProposalPart<Context> for Part {
    fn is_first(&self) -> bool {
        matches!(self, Self::Init { .. })
    }

    fn is_last(&self) -> bool {
        matches!(self, Self::Fin { .. })
    }
}

/// A voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validator {
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

/// The voters of one height, sorted by member. Cloned by the engine at every step, hence shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ValidatorSet {
    validators: Arc<[Validator]>,
    total: VotingPower,
}

impl From<&MemberSet> for ValidatorSet {
    fn from(members: &MemberSet) -> Self {
        let validator = |voter: &certificate::Voter| Validator {
            address: Address(voter.member),
            key: voter.key,
            power: voter.power,
        };
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
        let position = self.validators.binary_search_by_key(address, |validator| validator.address).ok()?;
        self.validators.get(position)
    }

    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.validators.get(index)
    }
}

/// The types above as one.
#[derive(Clone, Debug)]
pub(super) struct Context;

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

    /// Voters take turns: number `(height + round) mod n` in order of member. Power does not weigh here:
    /// a proposer orders what others have written and cannot leave it out for longer than its turn.
    fn select_proposer<'a>(&self, voters: &'a ValidatorSet, height: Height, round: Round) -> &'a Validator {
        let turn = u128::from(height.0.get()) + u128::from(round.as_u32().unwrap_or(0));
        let position = turn.checked_rem(voters.validators.len() as u128).unwrap_or(0) as usize;
        voters.validators.get(position).expect("the engine starts no height without voters")
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

/// The protocol's name of a kind of vote.
pub(super) const fn vote_kind(kind: VoteType) -> VoteKind {
    match kind {
        VoteType::Prevote => VoteKind::Prevote,
        VoteType::Precommit => VoteKind::Precommit,
    }
}

/// The engine's name of a kind of vote.
pub(super) const fn vote_type(kind: VoteKind) -> VoteType {
    match kind {
        VoteKind::Prevote => VoteType::Prevote,
        VoteKind::Precommit => VoteType::Precommit,
    }
}

/// The block a vote is for, if it is for one.
pub(super) const fn optional_block(value: NilOrVal<Value>) -> Option<BlockId> {
    match value {
        NilOrVal::Val(Value(block)) => Some(block),
        NilOrVal::Nil => None,
    }
}

/// The engine's form of an optional block.
pub(super) const fn nil_or_block(block: Option<BlockId>) -> NilOrVal<Value> {
    match block {
        Some(block) => NilOrVal::Val(Value(block)),
        None => NilOrVal::Nil,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arc_malachitebft_core_types::{Context as _, Validator as _, ValidatorSet as _};
    use syngraph_protocol::certificate::Voter;

    fn set(members: &[u32]) -> ValidatorSet {
        let voter = |&m: &u32| Voter {
            member: MemberId::new(m),
            key: PublicKey::from_bytes([m as u8; 32]),
            power: u64::from(m) + 1,
        };
        ValidatorSet::from(&MemberSet::new(members.iter().map(voter).collect()))
    }

    #[test]
    fn voters_take_turns_by_height_and_round() {
        let set = set(&[7, 2, 5]);
        let proposer = |height, round| {
            let height = Height(ids::Height::new(height));
            Context.select_proposer(&set, height, Round::new(round)).address().0.get()
        };
        assert_eq!([proposer(0, 0), proposer(1, 0), proposer(2, 0), proposer(3, 0)], [2, 5, 7, 2]);
        assert_eq!([proposer(1, 1), proposer(1, 2)], [7, 2]);
        assert_eq!(proposer(u64::MAX, u32::MAX), 2, "no overflow: (2^64 - 1 + 2^32 - 1) mod 3 = 0");
    }

    #[test]
    fn voters_are_found_by_member_and_followers_never() {
        let set = set(&[7, 2, 5]);
        assert_eq!(set.count(), 3);
        assert_eq!(set.total_voting_power(), 3 + 6 + 8);
        let found =
            set.get_by_address(&Address(MemberId::new(5))).map(core::Validator::<Context>::voting_power);
        assert_eq!(found, Some(6));
        assert_eq!(set.get_by_address(&Address(MemberId::new(3))), None);
        assert_eq!(set.get_by_address(&Address::FOLLOWER), None);
    }

    #[test]
    fn heights_end_without_wrapping() {
        use arc_malachitebft_core_types::Height as _;
        let last = Height(ids::Height::new(u64::MAX));
        assert_eq!(last.increment(), last);
        assert_eq!(Height::ZERO.decrement(), None);
        assert_eq!(Height::INITIAL.as_u64(), 1);
    }
}
