//! Members and their keys: who may speak, and with which key.
//!
//! A member has a root key (kept offline, it admits the others), its node's three keys
//! (validator, transport, journal) and any number of app keys with a scope. A key is
//! registered once and for all: nobody can take over another's.
//!
//! *Deliberately absent:* how a journal comes to be frozen (`equivocation`), and replacing
//! a root key or the keys of a node.

mod revocation;

use serde::{Deserialize, Serialize};

use super::table::Record;
use super::{At, Ledger, Refusal};
use crate::codec;
use crate::codes::{Place, UnknownCode};
use crate::crypto::{self, CryptoError, Domain, SecretKey};
use crate::entry::{BodyKind, VerifiedEntry};
use crate::ids::{Height, Id, MemberId, NetworkId, PublicKey, Seq, Signature};
use crate::journal::Tip;
use crate::ledger::Event;
use crate::ledger::proposal::Change;
use crate::limits::{KEYS_PER_MEMBER_MAX, MEMBERS_MAX, SCOPE_LIST_MAX};
use crate::name::{Name, NameError};
use crate::refusal::refusals;
use crate::time::UtcMs;

pub use revocation::RevokeKey;
pub(super) use revocation::revoke;

/// Who a member is, and the keys it starts with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberProfile {
    /// Its name.
    pub name: Name,
    /// The place whose law it is under.
    pub jurisdiction: Place,
    /// Its root key.
    pub root: PublicKey,
    /// Its node's keys; none for a member that runs no node.
    pub node: Option<NodeKeys>,
}

/// The three keys of a node, separate so that one lost costs only its purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeKeys {
    /// Signs votes.
    pub validator: PublicKey,
    /// The node's libp2p identity.
    pub transport: PublicKey,
    /// Signs the node's own entries.
    pub journal: PublicKey,
}

/// What a key is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPurpose {
    /// Admits and revokes the member's other keys; may sign anything.
    Root,
    /// Signs votes; never entries.
    Validator,
    /// Identifies the node to its peers; never signs entries.
    Transport,
    /// The node's own journal; signs anything but key acts.
    Journal,
    /// An application's journal, within its scope.
    App(Scope),
}

/// What an app key may sign.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The bodies it may sign, sorted; none for all but key acts.
    pub bodies: Option<Vec<BodyKind>>,
    /// The agreements it may report usage on, sorted; none for all.
    pub agreements: Option<Vec<Id>>,
}

/// Proposes to admit a member; it takes effect when a quorum of the power approves. The
/// new member has no voting power.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmitMember {
    /// Who is to be admitted.
    pub profile: MemberProfile,
    /// Proof that each key of the profile, in the order of [`MemberProfile::keys`], is in
    /// the hands of whoever holds the root key.
    pub possession: Vec<Signature>,
}

/// Admits a key of the signer's own member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmitKey {
    /// The key.
    pub key: PublicKey,
    /// What it may sign.
    pub scope: Scope,
    /// When it ends, if ever; block time.
    pub until: Option<UtcMs>,
    /// Proof that the new key is in the member's hands.
    pub possession: Signature,
}

/// A member as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who it is.
    pub profile: MemberProfile,
    /// Its voting power.
    pub power: u64,
    /// Whether it takes part.
    pub status: MemberStatus,
    /// Since when it is a member.
    pub since: Height,
    /// How many keys it has admitted, over all time.
    pub keys_admitted: u32,
}

/// Whether a member takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberStatus {
    /// Takes part.
    Active,
    /// Was suspended; signs nothing.
    Suspended,
    /// Was removed for good.
    Removed,
}

impl Record for Member {
    type Key = MemberId;
    const KIND: u8 = 0x10;
}

/// A registered key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Whose it is.
    pub member: MemberId,
    /// What it is for.
    pub purpose: KeyPurpose,
    /// The block that registered it.
    pub since: Height,
    /// When it ends, if ever.
    pub until: Option<UtcMs>,
    /// Where its journal ends, once it is revoked: the entries before that count.
    pub revoked: Option<Tip>,
    /// The block that froze its journal, if it was proved to have forked.
    pub frozen: Option<Height>,
}

impl Record for Key {
    type Key = PublicKey;
    const KIND: u8 = 0x11;
}

refusals! {
    /// Why an act on members or keys is refused, or an entry's key may not sign it.
    MemberError {
        Unknown { member: MemberId } = "MEM-UNKNOWN": "there is no member {member}",
        Inactive { member: MemberId } = "MEM-INACTIVE": "member {member} is suspended or removed",
        TooMany = "MEM-TOO-MANY": "the consortium has 1,024 members, the most it can have",
        NeedsNode { name: Name } = "MEM-NEEDS-NODE": "{name} has voting power and names no node keys",
        KeyUnknown { key: PublicKey } = "KEY-UNKNOWN": "key {key} is not registered",
        KeyTaken { key: PublicKey } = "KEY-TAKEN": "key {key} is already registered",
        KeyShared { key: PublicKey } = "KEY-SHARED": "key {key} is named twice; every purpose needs its own",
        KeyPossession { key: PublicKey } = "KEY-POSSESSION": "no valid proof that key {key} is held by its member",
        KeyMember { member: MemberId } = "KEY-MEMBER": "the key belongs to member {member}",
        KeyPurpose { kind: BodyKind } = "KEY-PURPOSE": "this key may not sign {kind:?}",
        KeyEnded { until: UtcMs } = "KEY-ENDED": "the key ended at {until}",
        KeyRevoked = "KEY-REVOKED": "the key is revoked",
        KeyFrozen { since: Height } = "KEY-FROZEN": "the key has signed two entries with one number; its journal is frozen since height {since}",
        KeyLast { seq: Seq } = "KEY-LAST": "no journal has an entry with number {seq}",
        KeyNoJournal { key: PublicKey } = "KEY-NO-JOURNAL": "key {key} votes or identifies a node; it has no journal to revoke",
        KeyTooMany = "KEY-TOO-MANY": "the member has admitted 4,096 keys, the most it can",
        Scope = "KEY-SCOPE-FORM": "the lists of a scope must be sorted, distinct, and at most 64 long",
    }
}

impl MemberProfile {
    /// Every key with its purpose, the root first.
    pub fn keys(&self) -> impl Iterator<Item = (PublicKey, KeyPurpose)> {
        let node = self.node.map(|node| {
            [
                (node.validator, KeyPurpose::Validator),
                (node.transport, KeyPurpose::Transport),
                (node.journal, KeyPurpose::Journal),
            ]
        });
        std::iter::once((self.root, KeyPurpose::Root)).chain(node.into_iter().flatten())
    }

    /// Checks names and keys.
    ///
    /// # Errors
    /// `NAME-FORM`, `CODE-UNKNOWN`, `KEY-INVALID`.
    pub fn check(&self) -> Result<(), ProfileError> {
        self.name.check()?;
        self.jurisdiction.check()?;
        self.keys().try_for_each(|(key, _)| Ok(crypto::check_key(&key)?))
    }
}

crate::refusal::any_refusal! {
    /// Why a profile is refused.
    ProfileError {
        Name(NameError),
        Place(UnknownCode),
        Key(KeyForm),
    }
}

/// A key that may never be registered. A type of its own, so that the refusal converts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct KeyForm(CryptoError);

impl KeyForm {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        self.0.rule()
    }
}

impl From<CryptoError> for ProfileError {
    fn from(error: CryptoError) -> Self {
        Self::Key(KeyForm(error))
    }
}

/// A member with power must run a node.
///
/// # Errors
/// `MEM-NEEDS-NODE`.
pub fn check_node_keys(power: u64, profile: &MemberProfile) -> Result<(), MemberError> {
    if power > 0 && profile.node.is_none() {
        return Err(MemberError::NeedsNode { name: profile.name.clone() });
    }
    Ok(())
}

/// What a key signs to prove that whoever holds `root` holds it too.
fn possession_bytes(network: NetworkId, root: &PublicKey, key: &PublicKey) -> Vec<u8> {
    codec::encode(&(network, root, key))
}

/// The proof that `key` is held by the member whose root key is `root`.
#[must_use]
pub fn prove_possession(network: NetworkId, root: &PublicKey, key: &SecretKey) -> Signature {
    key.sign(Domain::POSSESSION, &possession_bytes(network, root, &key.public()))
}

fn check_possession(
    network: NetworkId,
    root: &PublicKey,
    key: &PublicKey,
    proof: &Signature,
) -> Result<(), MemberError> {
    crypto::verify(key, Domain::POSSESSION, &possession_bytes(network, root, key), proof)
        .map_err(|_| MemberError::KeyPossession { key: *key })
}

impl AdmitMember {
    /// Stateless check.
    ///
    /// # Errors
    /// As [`MemberProfile::check`]; `KEY-POSSESSION` if proofs are missing.
    pub fn check(&self) -> Result<(), Refusal> {
        self.profile.check()?;
        let mut keys: Vec<_> = self.profile.keys().map(|(key, _)| key).collect();
        keys.sort_unstable();
        if let Some(&key) = keys.windows(2).find(|pair| pair.first() == pair.last()).and_then(<[_]>::first) {
            return Err(MemberError::KeyShared { key }.into());
        }
        if self.possession.len() != self.profile.keys().count() {
            return Err(MemberError::KeyPossession { key: self.profile.root }.into());
        }
        Ok(())
    }
}

impl AdmitKey {
    /// Stateless check.
    ///
    /// # Errors
    /// `KEY-INVALID`, `KEY-SCOPE-FORM`.
    pub fn check(&self) -> Result<(), Refusal> {
        crypto::check_key(&self.key).map_err(ProfileError::from)?;
        Ok(self.scope.check()?)
    }
}

impl Scope {
    fn check(&self) -> Result<(), MemberError> {
        fn sorted<T: Ord>(list: Option<&Vec<T>>) -> bool {
            list.is_none_or(|list| list.len() <= SCOPE_LIST_MAX && list.is_sorted_by(|a, b| a < b))
        }
        let fine = sorted(self.bodies.as_ref()) && sorted(self.agreements.as_ref());
        if fine { Ok(()) } else { Err(MemberError::Scope) }
    }
}

impl KeyPurpose {
    /// Whether a key of this purpose may sign a body of this kind.
    #[must_use]
    pub fn may_sign(&self, kind: BodyKind) -> bool {
        let key_act = matches!(kind, BodyKind::AdmitKey);
        match self {
            Self::Root => true,
            Self::Validator | Self::Transport => false,
            // Whoever holds a key may give it up.
            Self::Journal | Self::App(_) if kind == BodyKind::RevokeKey => true,
            Self::Journal => !key_act,
            Self::App(scope) => {
                !key_act && scope.bodies.as_ref().is_none_or(|list| list.binary_search(&kind).is_ok())
            }
        }
    }
}

/// Applies `AdmitMember`: checks it as far as the state allows and opens a proposal.
pub(super) fn admit_member(ledger: &mut Ledger, at: &At, deed: &AdmitMember) -> Result<(), Refusal> {
    check_newcomer(ledger, &deed.profile)?;
    let network = ledger.network();
    for ((key, _), proof) in deed.profile.keys().zip(&deed.possession) {
        check_possession(network, &deed.profile.root, &key, proof)?;
    }
    super::proposal::open(ledger, at, Change::AdmitMember(deed.profile.clone()))
}

fn check_newcomer(ledger: &Ledger, profile: &MemberProfile) -> Result<(), MemberError> {
    if ledger.members.len() >= MEMBERS_MAX {
        return Err(MemberError::TooMany);
    }
    match profile.keys().find(|(key, _)| ledger.keys.contains(key)) {
        Some((key, _)) => Err(MemberError::KeyTaken { key }),
        None => Ok(()),
    }
}

/// Carries out an approved admission. Keys may have been taken since it was proposed.
pub(super) fn enact_admission(ledger: &mut Ledger, at: &At, profile: &MemberProfile) -> Result<(), Refusal> {
    check_newcomer(ledger, profile)?;
    let last = ledger.members.iter().next_back().map(|(id, _)| *id);
    let id = last.map_or(Some(MemberId::new(0)), MemberId::next).ok_or(MemberError::TooMany)?;
    register(ledger, at.height, id, profile.clone(), 0);
    ledger.emit(Event::MemberAdmitted { member: id });
    Ok(())
}

/// Puts a member and its keys into the state.
pub(super) fn register(ledger: &mut Ledger, since: Height, id: MemberId, profile: MemberProfile, power: u64) {
    for (key, purpose) in profile.keys() {
        ledger.keys.put(key, Key { member: id, purpose, since, until: None, revoked: None, frozen: None });
    }
    let status = MemberStatus::Active;
    ledger.members.put(id, Member { profile, power, status, since, keys_admitted: 0 });
}

/// Applies `AdmitKey`.
pub(super) fn admit_key(ledger: &mut Ledger, at: &At, deed: &AdmitKey) -> Result<(), Refusal> {
    let member = active(ledger, at.member)?.clone();
    if ledger.keys.contains(&deed.key) {
        return Err(MemberError::KeyTaken { key: deed.key }.into());
    }
    check_possession(ledger.network(), &member.profile.root, &deed.key, &deed.possession)?;
    let admitted = member.keys_admitted.checked_add(1).filter(|count| *count <= KEYS_PER_MEMBER_MAX);
    let keys_admitted = admitted.ok_or(MemberError::KeyTooMany)?;
    ledger.members.put(at.member, Member { keys_admitted, ..member });
    let purpose = KeyPurpose::App(deed.scope.clone());
    let until = deed.until;
    let key = Key { member: at.member, purpose, since: at.height, until, revoked: None, frozen: None };
    ledger.keys.put(deed.key, key);
    ledger.emit(Event::KeyAdmitted { member: at.member, key: deed.key });
    Ok(())
}

/// Freezes the journal of a key from this height on.
pub(super) fn freeze(ledger: &mut Ledger, journal: &PublicKey, since: Height) {
    if let Some(key) = ledger.keys.get_mut(journal) {
        key.frozen = Some(since);
    }
}

/// The member of this id, if it takes part.
///
/// # Errors
/// `MEM-UNKNOWN`, `MEM-INACTIVE`.
pub fn active(ledger: &Ledger, id: MemberId) -> Result<&Member, MemberError> {
    let member = ledger.members.get(&id).ok_or(MemberError::Unknown { member: id })?;
    match member.status {
        MemberStatus::Active => Ok(member),
        MemberStatus::Suspended | MemberStatus::Removed => Err(MemberError::Inactive { member: id }),
    }
}

/// Whether its key may sign an entry: what doors ask before they take it, and `apply`
/// asks again.
///
/// # Errors
/// The `KEY-…` and `MEM-…` refusals.
pub fn may_sign(ledger: &Ledger, entry: &VerifiedEntry) -> Result<(), MemberError> {
    let (head, kind) = (entry.head(), entry.body().kind());
    let key = ledger.keys.get(&head.journal).ok_or(MemberError::KeyUnknown { key: head.journal })?;
    if key.member != head.member {
        return Err(MemberError::KeyMember { member: key.member });
    }
    key.counts(head.seq, entry.id())?;
    if !key.purpose.may_sign(kind) {
        return Err(MemberError::KeyPurpose { kind });
    }
    active(ledger, head.member).map(|_| ())
}

/// Whether a key still takes new entries at doors, at this time.
///
/// # Errors
/// `KEY-FROZEN`, `KEY-ENDED`.
pub fn still_open(key: &Key, now: UtcMs) -> Result<(), MemberError> {
    if let Some(since) = key.frozen {
        return Err(MemberError::KeyFrozen { since });
    }
    match key.until {
        Some(until) if now >= until => Err(MemberError::KeyEnded { until }),
        _ => Ok(()),
    }
}
