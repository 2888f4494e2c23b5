//! Entries: the only thing anyone signs into the ledger.
//!
//! *Invariants.* [`VerifiedEntry`] exists only for entries whose bytes are canonical,
//! whose network and signature are right and whose body passes its stateless check;
//! [`VerifiedEntry::decode`] is the only door. The id covers the signature, so that every node's
//! log leaf has the same bytes.
//!
//! *Deliberately absent:* whether the entry continues its journal (`journal`) and what
//! it does (`ledger`).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::codec::{self, DecodeError};
use crate::crypto::{self, CryptoError, Domain, SecretKey};
use crate::ids::{EntryId, Hash, Idem, MemberId, NetworkId, PublicKey, Seq, Signature};
use crate::ledger::Refusal;
use crate::ledger::agreement::{Amend, Countersign, Propose};
use crate::ledger::asset::{PublishVersion, RegisterAsset, SetSplit};
use crate::ledger::equivocation::ReportEquivocation;
use crate::ledger::lineage::DeclareLineage;
use crate::ledger::member::{AdmitKey, AdmitMember, RevokeKey};
use crate::ledger::period::{ClosePeriod, Settle};
use crate::ledger::proposal::Approve;
use crate::ledger::usage::ReportUsage;
use crate::limits::ENTRY_BYTES_MAX;
use crate::merkle;
use crate::refusal::refusals;
use crate::time::UtcMs;

/// The version of [`Head`] that this code writes and reads.
pub const ENTRY_VERSION: u16 = 1;

/// What is signed: who says it, where in whose journal, and the hash of what is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// [`ENTRY_VERSION`].
    pub version: u16,
    /// The network it is meant for.
    pub network: NetworkId,
    /// The signing key, whose journal this is.
    pub journal: PublicKey,
    /// The member that the key belongs to.
    pub member: MemberId,
    /// Position in the journal.
    pub seq: Seq,
    /// The entry before; [`crate::journal::NO_ENTRY`] for the first.
    pub prev: EntryId,
    /// When the signer says it signed. Information only: no rule reads it.
    pub claimed_at: UtcMs,
    /// Hash of the canonical body.
    pub body_hash: Hash,
}

impl Head {
    /// The id of the entry with this head and signature.
    #[must_use]
    pub fn entry_id(&self, signature: &Signature) -> EntryId {
        let id = crypto::hash(Domain::ENTRY_ID, &[&codec::encode(self), signature.as_bytes()]);
        EntryId::from_bytes(*id.as_bytes())
    }
}

/// A head and its signature: all that says which entry stands where in a journal. The
/// signature is whatever came with it, until [`Self::verify`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedHead {
    /// What is signed.
    pub head: Head,
    /// Ed25519 over the canonical head in [`Domain::ENTRY`].
    pub signature: Signature,
}

impl SignedHead {
    /// The id of the entry.
    #[must_use]
    pub fn id(&self) -> EntryId {
        self.head.entry_id(&self.signature)
    }

    /// Checks that the journal's key signed the head.
    ///
    /// # Errors
    /// `SIG-INVALID`, `KEY-INVALID`.
    pub fn verify(&self) -> Result<(), CryptoError> {
        crypto::verify(&self.head.journal, Domain::ENTRY, &codec::encode(&self.head), &self.signature)
    }
}

/// A head, its signature, and the body it binds. In JSON the same fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedEntry {
    /// What is signed.
    pub head: Head,
    /// Ed25519 over the canonical head in [`Domain::ENTRY`].
    pub signature: Signature,
    /// What is said.
    pub body: Body,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "an entry holds one body, and lives behind a pointer")]
pub enum Body {
    /// Metered use; each row carries its own id for ever.
    ReportUsage(ReportUsage),
    /// Anything else, with its idempotency key.
    Deed {
        /// The same (journal, idem) gives back the first outcome within a window.
        idem: Idem,
        /// What is done.
        deed: Deed,
    },
}

/// Facts and acts other than usage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Proposes to admit a member.
    AdmitMember(AdmitMember),
    /// Admits a key of the signer's own member.
    AdmitKey(AdmitKey),
    /// Approves an open proposal.
    Approve(Approve),
    /// Registers an asset.
    RegisterAsset(RegisterAsset),
    /// Publishes a version of an asset.
    PublishVersion(PublishVersion),
    /// Declares what a version was made from.
    DeclareLineage(DeclareLineage),
    /// Proposes to change who owns an asset in which shares.
    SetSplit(SetSplit),
    /// Proposes an agreement.
    Propose(Propose),
    /// Signs a proposed agreement or amendment.
    Countersign(Countersign),
    /// Proposes the next version of an agreement.
    Amend(Amend),
    /// Closes a calendar month.
    ClosePeriod(ClosePeriod),
    /// Nets a closed month into payments.
    Settle(Settle),
    /// Reports that a key has signed two statements that contradict each other.
    ReportEquivocation(ReportEquivocation),
    /// Revokes a key of the signer's own member.
    RevokeKey(RevokeKey),
}

/// Names the kinds of bodies, for scopes, metrics and listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the body of its name")]
pub enum BodyKind {
    ReportUsage,
    AdmitMember,
    AdmitKey,
    Approve,
    RegisterAsset,
    PublishVersion,
    DeclareLineage,
    SetSplit,
    Propose,
    Countersign,
    Amend,
    ClosePeriod,
    Settle,
    ReportEquivocation,
    RevokeKey,
}

impl Body {
    /// The kind of this body.
    #[must_use]
    pub const fn kind(&self) -> BodyKind {
        match self {
            Self::ReportUsage(_) => BodyKind::ReportUsage,
            Self::Deed { deed, .. } => deed.kind(),
        }
    }

    /// How many usage rows it carries.
    #[must_use]
    pub const fn rows(&self) -> usize {
        match self {
            Self::ReportUsage(report) => report.rows.len(),
            Self::Deed { .. } => 0,
        }
    }

    /// The hash that a head binds.
    #[must_use]
    pub fn hash(&self) -> Hash {
        crypto::hash(Domain::BODY, &[&codec::encode(self)])
    }

    /// What can be said of the body without any state.
    ///
    /// # Errors
    /// The refusal of the noun it belongs to.
    pub fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::ReportUsage(report) => Ok(report.check()?),
            Self::Deed { deed, .. } => deed.check(),
        }
    }
}

impl Deed {
    const fn kind(&self) -> BodyKind {
        match self {
            Self::AdmitMember(_) => BodyKind::AdmitMember,
            Self::AdmitKey(_) => BodyKind::AdmitKey,
            Self::Approve(_) => BodyKind::Approve,
            Self::RegisterAsset(_) => BodyKind::RegisterAsset,
            Self::PublishVersion(_) => BodyKind::PublishVersion,
            Self::DeclareLineage(_) => BodyKind::DeclareLineage,
            Self::SetSplit(_) => BodyKind::SetSplit,
            Self::Propose(_) => BodyKind::Propose,
            Self::Countersign(_) => BodyKind::Countersign,
            Self::Amend(_) => BodyKind::Amend,
            Self::ClosePeriod(_) => BodyKind::ClosePeriod,
            Self::Settle(_) => BodyKind::Settle,
            Self::ReportEquivocation(_) => BodyKind::ReportEquivocation,
            Self::RevokeKey(_) => BodyKind::RevokeKey,
        }
    }

    fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::AdmitMember(deed) => Ok(deed.check()?),
            Self::AdmitKey(deed) => Ok(deed.check()?),
            Self::RegisterAsset(deed) => Ok(deed.check()?),
            Self::PublishVersion(deed) => Ok(deed.check()?),
            Self::DeclareLineage(deed) => Ok(deed.check()?),
            Self::SetSplit(deed) => Ok(deed.check()?),
            Self::Propose(deed) => Ok(deed.terms.check()?),
            Self::Amend(deed) => Ok(deed.terms.check()?),
            Self::ReportEquivocation(deed) => Ok(deed.check()?),
            Self::RevokeKey(deed) => Ok(deed.check()?),
            Self::Approve(_) | Self::Countersign(_) | Self::ClosePeriod(_) | Self::Settle(_) => Ok(()),
        }
    }
}

refusals! {
    /// Why bytes are not an entry that any node may take.
    FormError {
        Version { got: u16 } = "ENTRY-VERSION": "entries of version {got} are not known here",
        Network { got: NetworkId } = "ENTRY-NETWORK": "the entry is meant for network {got}",
        BodyHash = "ENTRY-BODY-HASH": "the body is not the one that was signed",
    }
}

/// Why bytes are refused before any state is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not canonical bytes.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Not for this network or version, or head and body differ.
    #[error(transparent)]
    Form(#[from] FormError),
    /// Not signed by the key it names.
    #[error(transparent)]
    Signature(#[from] CryptoError),
    /// The body cannot stand in any state.
    #[error(transparent)]
    Body(#[from] Refusal),
}

impl EntryError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Decode(error) => error.rule(),
            Self::Form(error) => error.rule(),
            Self::Signature(error) => error.rule(),
            Self::Body(error) => error.rule(),
        }
    }
}

/// Where a new entry goes: everything of a head that signing does not compute.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// The network.
    pub network: NetworkId,
    /// The signer's member.
    pub member: MemberId,
    /// Position in the journal.
    pub seq: Seq,
    /// The entry before.
    pub prev: EntryId,
    /// The signer's clock.
    pub claimed_at: UtcMs,
}

impl SignedEntry {
    /// Signs a body into a journal.
    #[must_use]
    pub fn sign(key: &SecretKey, slot: Slot, body: Body) -> Self {
        let head = Head {
            version: ENTRY_VERSION,
            network: slot.network,
            journal: key.public(),
            member: slot.member,
            seq: slot.seq,
            prev: slot.prev,
            claimed_at: slot.claimed_at,
            body_hash: body.hash(),
        };
        let signature = key.sign(Domain::ENTRY, &codec::encode(&head));
        Self { head, signature, body }
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> EntryId {
        self.head.entry_id(&self.signature)
    }
}

/// An entry that was checked as far as that is possible without state, with its id and
/// its canonical bytes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct VerifiedEntry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    entry: SignedEntry,
    id: EntryId,
    bytes: Vec<u8>,
    leaf: Hash,
}

impl VerifiedEntry {
    /// Decodes and checks canonical bytes: form, network, body hash, body, signature; the
    /// cheap checks first.
    ///
    /// # Errors
    /// [`EntryError`] with the rule id of the first check that fails.
    pub fn decode(bytes: &[u8], network: NetworkId) -> Result<Self, EntryError> {
        let entry: SignedEntry = codec::decode(bytes, ENTRY_BYTES_MAX)?;
        Self::check(entry, bytes.to_vec(), network)
    }

    /// The same for an entry that came in another form (JSON) or was just signed.
    ///
    /// # Errors
    /// [`EntryError`] with the rule id of the first check that fails.
    pub fn verify(entry: SignedEntry, network: NetworkId) -> Result<Self, EntryError> {
        let bytes = codec::encode(&entry);
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(DecodeError::TooLong { len: bytes.len(), max: ENTRY_BYTES_MAX }.into());
        }
        Self::check(entry, bytes, network)
    }

    fn check(entry: SignedEntry, bytes: Vec<u8>, network: NetworkId) -> Result<Self, EntryError> {
        let head = &entry.head;
        if head.version != ENTRY_VERSION {
            return Err(FormError::Version { got: head.version }.into());
        }
        if head.network != network {
            return Err(FormError::Network { got: head.network }.into());
        }
        if head.body_hash != entry.body.hash() {
            return Err(FormError::BodyHash.into());
        }
        entry.body.check()?;
        crypto::verify(&head.journal, Domain::ENTRY, &codec::encode(head), &entry.signature)?;
        let (id, leaf) = (entry.id(), merkle::leaf_hash(&bytes));
        Ok(Self(Arc::new(Inner { entry, id, bytes, leaf })))
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> EntryId {
        self.0.id
    }

    /// What was signed.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.0.entry.head
    }

    /// What is said.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.0.entry.body
    }

    /// What was signed, with the signature: the half of a proof of equivocation.
    #[must_use]
    pub fn signed_head(&self) -> SignedHead {
        SignedHead { head: self.0.entry.head.clone(), signature: self.0.entry.signature }
    }

    /// The whole entry.
    #[must_use]
    pub fn entry(&self) -> &SignedEntry {
        &self.0.entry
    }

    /// Its canonical bytes: what is stored, sent, and hashed into the log.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// Its leaf in the log tree.
    #[must_use]
    pub fn leaf(&self) -> Hash {
        self.0.leaf
    }
}
