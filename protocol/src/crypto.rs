//! Hashes and signatures. The only module that knows the `ed25519-dalek` package.
//!
//! *Invariants.* Every hash and every signature is bound to a domain, unique per kind of
//! message. Signatures are checked by `verify_strict` and nothing else, one at a time:
//! dalek's other two checks accept different sets of signatures, and nodes that mixed
//! them could be forked by one crafted entry.
//!
//! Sources: RFC 8032 (Ed25519); Chalkias, Garillot, Nikolaenko, "Taming the many
//! EdDSAs" (2020) for the strict rule; FIPS 180-4 (SHA-256).

use ed25519_dalek::{Signature as DalekSignature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::ids::{Hash, PublicKey, Signature};

/// Separates kinds of messages, so that bytes signed or hashed as one kind can never be
/// taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain(&'static str);

impl Domain {
    /// Signatures of entries.
    pub const ENTRY: Self = Self("syngraph/entry/v1");
    /// Ids of entries.
    pub const ENTRY_ID: Self = Self("syngraph/entry-id/v1");
    /// Hashes of entry bodies.
    pub const BODY: Self = Self("syngraph/body/v1");
    /// Ids of networks, and what founders sign.
    pub const GENESIS: Self = Self("syngraph/genesis/v1");
    /// Ids of blocks.
    pub const BLOCK: Self = Self("syngraph/block/v1");
    /// Roots of cuts.
    pub const CUT: Self = Self("syngraph/cut/v1");
    /// Votes of the consensus step.
    pub const VOTE: Self = Self("syngraph/vote/v1");
    /// Proposals of the consensus step.
    pub const PROPOSAL: Self = Self("syngraph/proposal/v1");
    /// Hashes of member sets.
    pub const MEMBERS: Self = Self("syngraph/members/v1");
    /// Order of journals inside a block.
    pub const ORDER: Self = Self("syngraph/order/v1");
    /// Keys of the state tree.
    pub const STATE_KEY: Self = Self("syngraph/state-key/v1");
    /// Chains over the event ids of a member's day.
    pub const EVENTS: Self = Self("syngraph/events/v1");
    /// Salts of the leaves of a terms tree.
    pub const TERM_SALT: Self = Self("syngraph/term-salt/v1");
    /// Leaves of a terms tree.
    pub const TERM_LEAF: Self = Self("syngraph/term-leaf/v1");
    /// Hashes of evidence of equivocation.
    pub const EVIDENCE: Self = Self("syngraph/evidence/v1");
    /// Ids of findings.
    pub const FINDING: Self = Self("syngraph/finding/v1");
    /// Event ids derived from content.
    pub const EVENT_ID: Self = Self("syngraph/event-id/v1");
    /// Proofs that a member holds a key that it registers.
    pub const POSSESSION: Self = Self("syngraph/possession/v1");
    /// Proofs that a validator key owns a transport key.
    pub const VALIDATOR_PROOF: Self = Self("syngraph/validator-proof/v1");

    /// The bytes that stand before the message: the name and one zero byte.
    fn absorb(self, hasher: &mut Sha256) {
        hasher.update(self.0.as_bytes());
        hasher.update([0]);
    }
}

/// SHA-256 over domain, a zero byte and the parts in order. The parts are not
/// delimited: callers pass fixed-size values or a single one.
#[must_use]
pub fn hash(domain: Domain, parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    domain.absorb(&mut hasher);
    for part in parts {
        hasher.update(part);
    }
    Hash::from_bytes(hasher.finalize().into())
}

/// Plain SHA-256, for formats that others define (RFC 6962, content hashes).
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Hash::from_bytes(hasher.finalize().into())
}

/// Why a signature or key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// The signature is not one that `verify_strict` accepts.
    #[error("the signature does not verify")]
    BadSignature,
    /// The bytes are not the canonical encoding of a point of the prime-order group.
    #[error("the public key is not canonical, is weak, or has a torsion component")]
    BadKey,
}

impl CryptoError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        match self {
            Self::BadSignature => "SIG-INVALID",
            Self::BadKey => "KEY-INVALID",
        }
    }
}

/// A private key. Wiped from memory when dropped; never printed.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

impl SecretKey {
    /// The key with this 32-byte seed (RFC 8032 §5.1.5).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, for the one place that stores it.
    #[must_use]
    pub fn to_seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// Signs a message in its domain.
    #[must_use]
    pub fn sign(&self, domain: Domain, message: &[u8]) -> Signature {
        Signature::from_bytes(self.0.sign(&framed(domain, message)).to_bytes())
    }
}

#[cfg(test)]
impl SecretKey {
    /// A valid signature with another nonce than RFC 8032 derives: what a dishonest holder
    /// can make as many of as it likes, over one message.
    pub(crate) fn sign_with_nonce(&self, nonce: &Self, domain: Domain, message: &[u8]) -> Signature {
        use sha2::Sha512;
        use std::ops::{Add, Mul};

        /// A number, little endian, modulo the order of the group.
        fn reduce<S: Copy + From<u8> + From<u16> + Mul<Output = S> + Add<Output = S>>(
            bytes: &[u8],
            _: S,
        ) -> S {
            let base = S::from(256_u16);
            bytes.iter().rev().fold(S::from(0_u8), |sum, byte| sum * base + S::from(*byte))
        }

        let commitment = *nonce.public().as_bytes();
        let hasher = Sha512::new().chain_update(commitment).chain_update(self.public().as_bytes());
        let challenge: [u8; 64] = hasher.chain_update(framed(domain, message)).finalize().into();
        let secret = self.0.to_scalar();
        let answer = nonce.0.to_scalar() + reduce(&challenge, secret) * secret;
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&commitment);
        bytes[32..].copy_from_slice(answer.as_bytes());
        Signature::from_bytes(bytes)
    }
}

/// What is really signed: domain, a zero byte, SHA-256 of the message.
fn framed(domain: Domain, message: &[u8]) -> Vec<u8> {
    let digest: [u8; 32] = Sha256::digest(message).into();
    [domain.0.as_bytes(), &[0], &digest].concat()
}

/// Checks a signature made by [`SecretKey::sign`].
///
/// # Errors
/// `SIG-INVALID` if it does not verify strictly, `KEY-INVALID` if the key does not decode.
pub fn verify(
    key: &PublicKey,
    domain: Domain,
    message: &[u8],
    signature: &Signature,
) -> Result<(), CryptoError> {
    let key = VerifyingKey::from_bytes(key.as_bytes()).map_err(|_| CryptoError::BadKey)?;
    key.verify_strict(&framed(domain, message), &DalekSignature::from_bytes(signature.as_bytes()))
        .map_err(|_| CryptoError::BadSignature)
}

/// Checks that a key may be registered: canonical, not weak, torsion-free.
///
/// # Errors
/// `KEY-INVALID` otherwise.
pub fn check_key(key: &PublicKey) -> Result<(), CryptoError> {
    let decoded = VerifyingKey::from_bytes(key.as_bytes()).map_err(|_| CryptoError::BadKey)?;
    let point = decoded.to_edwards();
    let canonical = point.compress().as_bytes() == key.as_bytes();
    if canonical && !decoded.is_weak() && point.is_torsion_free() { Ok(()) } else { Err(CryptoError::BadKey) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_binds_key_domain_and_message() {
        let key = SecretKey::from_seed(&[7; 32]);
        let signature = key.sign(Domain::ENTRY, b"message");
        assert_eq!(verify(&key.public(), Domain::ENTRY, b"message", &signature), Ok(()));
        let other = SecretKey::from_seed(&[8; 32]).public();
        for refused in [
            verify(&key.public(), Domain::VOTE, b"message", &signature),
            verify(&key.public(), Domain::ENTRY, b"massage", &signature),
            verify(&other, Domain::ENTRY, b"message", &signature),
        ] {
            assert_eq!(refused, Err(CryptoError::BadSignature));
        }
    }

    #[test]
    fn weak_and_non_canonical_keys_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut non_canonical_identity = [0xff; 32];
        non_canonical_identity[0] = 0xee;
        non_canonical_identity[31] = 0x7f;
        for bytes in [identity, non_canonical_identity, [0; 32]] {
            assert_eq!(check_key(&PublicKey::from_bytes(bytes)), Err(CryptoError::BadKey));
        }
        assert_eq!(check_key(&SecretKey::from_seed(&[1; 32]).public()), Ok(()));
    }

    #[test]
    fn a_malleated_signature_is_refused() {
        // s + L is the same scalar modulo the group order; strict checking wants s < L.
        const L: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let key = SecretKey::from_seed(&[7; 32]);
        let mut bytes = *key.sign(Domain::ENTRY, b"message").as_bytes();
        let mut carry = 0_u16;
        for (byte, order) in bytes[32..].iter_mut().zip(L) {
            carry = u16::from(*byte).saturating_add(u16::from(order)).saturating_add(carry >> 8);
            *byte = carry.to_le_bytes()[0];
        }
        let malleated = Signature::from_bytes(bytes);
        assert_eq!(
            verify(&key.public(), Domain::ENTRY, b"message", &malleated),
            Err(CryptoError::BadSignature)
        );
    }
}
