//! Genesis: the founding document of a network, signed by every founding member.
//!
//! People write it as TOML (`config` reads it); what is signed and named is its canonical
//! encoding, so neither signing nor reformatting the file changes the network's id.

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::crypto::{self, Domain, SecretKey};
use crate::ids::{MemberId, NetworkId, PublicKey, Signature};
use crate::ledger::member::{MemberError, MemberProfile, ProfileError, check_node_keys};
use crate::ledger::params::{Params, ParamsError};
use crate::limits::{GENESIS_BYTES_MAX, MEMBERS_MAX, POWER_TOTAL_MAX};
use crate::name::{Name, NameError};
use crate::refusal::refusals;
use crate::time::UtcMs;

/// The version of [`Charter`] that this code writes and reads.
pub const GENESIS_VERSION: u16 = 1;

/// What the founders agree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Charter {
    /// [`GENESIS_VERSION`].
    pub version: u16,
    /// Name of the consortium.
    pub name: Name,
    /// When the network begins; every block is later.
    pub time: UtcMs,
    /// The parameters that hold from the first block.
    pub params: Params,
    /// The founding members; a member's id is its position.
    pub members: Vec<Founder>,
}

/// A founding member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Founder {
    /// Who it is and which keys it uses.
    pub profile: MemberProfile,
    /// Its voting power; 0 for a member that runs no voting node.
    pub power: u64,
}

/// A founder's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FounderSignature {
    /// The founder's root key.
    pub root: PublicKey,
    /// Ed25519 over the canonical charter in [`Domain::GENESIS`].
    pub signature: Signature,
}

/// A charter and the signatures under it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// What the founders agree on.
    pub charter: Charter,
    /// Their signatures.
    #[serde(default)]
    pub signatures: Vec<FounderSignature>,
}

refusals! {
    /// Why a genesis founds nothing.
    CharterError {
        Version { got: u16 } = "GEN-VERSION": "genesis files of version {got} are not known here",
        Members { count: usize } = "GEN-MEMBERS": "{count} founding members; there must be 1 to 1024",
        SharedKey { key: PublicKey } = "GEN-KEY-SHARED": "key {key} is named twice; every purpose needs its own",
        Power { total: u64 } = "GEN-POWER": "a total voting power of {total}; it must be 1 to 2^32",
        FeeMember { member: MemberId } = "GEN-FEE-MEMBER": "the fee goes to member {member}, who is no founder",
        TooLong { bytes: usize } = "GEN-TOO-LONG": "{bytes} bytes are more than a founding document may have",
        Unsigned { root: PublicKey } = "GEN-UNSIGNED": "the founder with root key {root} has not signed",
        Stranger { root: PublicKey } = "GEN-STRANGER": "a signature by {root}, who is no founder or signed twice",
        Signature { root: PublicKey } = "GEN-SIGNATURE": "the signature of founder {root} does not verify",
    }
}

crate::refusal::any_refusal! {
    /// Why a genesis is refused.
    GenesisError {
        Charter(CharterError),
        Name(NameError),
        Params(ParamsError),
        Member(MemberError),
        Profile(ProfileError),
    }
}

impl Charter {
    /// The id of the network that this charter founds.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        NetworkId::from_bytes(*crypto::hash(Domain::GENESIS, &[&codec::encode(self)]).as_bytes())
    }

    /// A founder's signature under this charter.
    #[must_use]
    pub fn sign(&self, root: &SecretKey) -> FounderSignature {
        FounderSignature { root: root.public(), signature: root.sign(Domain::GENESIS, &codec::encode(self)) }
    }

    /// The founders with the ids they get.
    pub fn numbered(&self) -> impl Iterator<Item = (MemberId, &Founder)> {
        (0_u32..).map(MemberId::new).zip(&self.members)
    }

    /// Checks everything but the signatures.
    ///
    /// # Errors
    /// [`GenesisError`] naming the rule.
    pub fn check(&self) -> Result<(), GenesisError> {
        if self.version != GENESIS_VERSION {
            return Err(CharterError::Version { got: self.version }.into());
        }
        if self.members.is_empty() || self.members.len() > MEMBERS_MAX {
            return Err(CharterError::Members { count: self.members.len() }.into());
        }
        let bytes = codec::encode(self).len();
        if bytes > GENESIS_BYTES_MAX {
            return Err(CharterError::TooLong { bytes }.into());
        }
        self.name.check()?;
        self.params.check()?;
        if let Some(fee) = self.params.fee.filter(|fee| self.numbered().all(|(id, _)| id != fee.member)) {
            return Err(CharterError::FeeMember { member: fee.member }.into());
        }
        let total = self.members.iter().fold(0_u64, |sum, founder| sum.saturating_add(founder.power));
        if total == 0 || total > POWER_TOTAL_MAX {
            return Err(CharterError::Power { total }.into());
        }
        let mut keys = Vec::new();
        for founder in &self.members {
            founder.profile.check()?;
            check_node_keys(founder.power, &founder.profile)?;
            keys.extend(founder.profile.keys().map(|(key, _)| key));
        }
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair.first() == pair.last()).and_then(<[_]>::first) {
            Some(&key) => Err(CharterError::SharedKey { key }.into()),
            None => Ok(()),
        }
    }
}

impl Genesis {
    /// Checks the charter and that exactly the founders signed it.
    ///
    /// # Errors
    /// [`GenesisError`] naming the rule.
    pub fn verify(&self) -> Result<NetworkId, GenesisError> {
        self.charter.check()?;
        let mut unsigned: Vec<_> = self.charter.members.iter().map(|f| f.profile.root).collect();
        let message = codec::encode(&self.charter);
        for FounderSignature { root, signature } in &self.signatures {
            let position = unsigned.iter().position(|founder| founder == root);
            let position = position.ok_or(CharterError::Stranger { root: *root })?;
            crypto::verify(root, Domain::GENESIS, &message, signature)
                .map_err(|_| CharterError::Signature { root: *root })?;
            unsigned.swap_remove(position);
        }
        match unsigned.first() {
            Some(&root) => Err(CharterError::Unsigned { root }.into()),
            None => Ok(self.charter.network()),
        }
    }
}
