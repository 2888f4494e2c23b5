//! Names of things: hashes, keys, members, heights.
//!
//! *Invariants.* Every id is a type of its own and none converts silently from an
//! integer or from another id. In the canonical encoding an id is its raw bytes; in
//! human-readable formats (JSON, TOML) it is lowercase hex.
//!
//! *Deliberately absent:* any way to compute an id. Hashing lives in `crypto`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Text that is not the lowercase hex of the expected number of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected_bytes} bytes as lowercase hex, got {got:?}")]
pub struct ParseIdError {
    /// Length the id must have.
    pub expected_bytes: usize,
    /// The text that was given, cut to 80 characters.
    pub got: String,
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseIdError> {
    let mut bytes = [0; N];
    let lowercase = !text.bytes().any(|b| b.is_ascii_uppercase());
    match hex::decode_to_slice(text, &mut bytes) {
        Ok(()) if lowercase => Ok(bytes),
        _ => Err(ParseIdError { expected_bytes: N, got: text.chars().take(80).collect() }),
    }
}

/// Serde for fixed byte arrays: hex for people, raw bytes for the wire.
mod bytes_serde {
    use super::*;

    pub(super) fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return to.serialize_str(&hex::encode(bytes));
        }
        use serde::ser::SerializeTuple;
        let mut tuple = to.serialize_tuple(N)?;
        for byte in bytes {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }

    struct Raw<const N: usize>;

    impl<'de, const N: usize> de::Visitor<'de> for Raw<N> {
        type Value = [u8; N];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{N} bytes")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<[u8; N], A::Error> {
            let mut bytes = [0; N];
            for (position, slot) in bytes.iter_mut().enumerate() {
                *slot = seq.next_element()?.ok_or_else(|| de::Error::invalid_length(position, &self))?;
            }
            Ok(bytes)
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        from: D,
    ) -> Result<[u8; N], D::Error> {
        if from.is_human_readable() {
            let text = String::deserialize(from)?;
            return parse_hex(&text).map_err(de::Error::custom);
        }
        from.deserialize_tuple(N, Raw)
    }
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Takes the raw bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                bytes_serde::serialize(&self.0, to)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                bytes_serde::deserialize(from).map(Self)
            }
        }
    };
}

byte_id! {
    /// A SHA-256 digest without a more precise meaning.
    Hash, 32
}
byte_id! {
    /// Identifies a signed entry; covers its signature (design §3).
    EntryId, 32
}
byte_id! {
    /// Identifies an object of the ledger: the id of the entry that created it, so
    /// that references can only point backwards.
    Id, 32
}
byte_id! {
    /// Identifies a block: the hash of its canonical header.
    BlockId, 32
}
byte_id! {
    /// Identifies a network: the hash of its genesis without signatures.
    NetworkId, 32
}
byte_id! {
    /// A raw Ed25519 public key (RFC 8032). That it is canonical, not weak and
    /// torsion-free is proved when the ledger registers it, not by this type.
    PublicKey, 32
}
byte_id! {
    /// A raw Ed25519 signature (RFC 8032).
    Signature, 64
}
byte_id! {
    /// Identifies one metered event for ever: a UUIDv7 (RFC 9562 §5.7) whose embedded
    /// millisecond is the moment of use.
    EventId, 16
}
byte_id! {
    /// Makes an entry idempotent within a window: the same (journal, idem) gives back
    /// the first outcome.
    Idem, 16
}
byte_id! {
    /// Salt of a committed value or of a leaf of the terms tree.
    Salt, 32
}

impl From<EntryId> for Id {
    /// An object's id *is* the id of the entry that created it.
    fn from(entry: EntryId) -> Self {
        Self(entry.0)
    }
}

impl Id {
    /// The entry that created this object.
    #[must_use]
    pub const fn entry(&self) -> EntryId {
        EntryId(self.0)
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name($int);

        impl $name {
            /// Names the given number.
            #[must_use]
            pub const fn new(number: $int) -> Self {
                Self(number)
            }

            /// The number itself.
            #[must_use]
            pub const fn get(self) -> $int {
                self.0
            }

            /// The one that follows; `None` past the end of the range.
            #[must_use]
            pub const fn next(self) -> Option<Self> {
                match self.0.checked_add(1) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id! {
    /// A member of the consortium, numbered in order of admission.
    MemberId, u32
}
number_id! {
    /// Position of a block in the chain. Genesis is 0, the first block 1.
    Height, u64
}
number_id! {
    /// Position of an entry in its journal, from 0.
    Seq, u64
}

impl Height {
    /// The state that the genesis file describes; no block has this height.
    pub const GENESIS: Self = Self(0);

    /// How many blocks lie between `earlier` and this one; `None` if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }

    /// The one before; `None` for genesis.
    #[must_use]
    pub const fn prev(self) -> Option<Self> {
        match self.0.checked_sub(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

impl Seq {
    /// The first entry of a journal.
    pub const FIRST: Self = Self(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_lowercase_and_exact() {
        let id = Hash::from_bytes([0xab; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().to_uppercase().parse::<Hash>().is_err());
        assert!("ab".parse::<Hash>().is_err());
        assert!("zz".repeat(32).parse::<Hash>().is_err());
    }

    #[test]
    fn json_is_hex_and_round_trips() {
        let id = EventId::from_bytes(*b"0123456789abcdef");
        let json = serde_json::to_string(&id).expect("ids serialize to a string");
        assert_eq!(json, "\"30313233343536373839616263646566\"");
        assert_eq!(serde_json::from_str::<EventId>(&json).expect("own output"), id);
        assert!(serde_json::from_str::<EventId>("\"00\"").is_err());
    }

    #[test]
    fn numbers_end_without_wrapping() {
        assert_eq!(Height::new(u64::MAX).next(), None);
        assert_eq!(Height::GENESIS.prev(), None);
        assert_eq!(Height::new(5).since(Height::new(3)), Some(2));
        assert_eq!(Height::new(3).since(Height::new(5)), None);
    }
}
