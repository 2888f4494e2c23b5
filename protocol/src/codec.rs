//! The canonical encoding: one value, one sequence of bytes.
//!
//! The format is bincode 2, `standard` configuration (little endian, variable-length
//! integers), through serde. bincode itself accepts non-minimal integers and trailing
//! bytes, which would make signatures malleable; [`decode`] therefore encodes what it
//! read and compares. This is the only module that knows the `bincode` package.
//!
//! *Deliberately absent:* maps. Canonical types hold sorted lists, whose order their
//! stateless check proves.

use bincode::config::{Configuration, Limit, LittleEndian, Varint, standard};
use serde::{Serialize, de::DeserializeOwned};

/// bincode counts the memory a message claims, not the bytes it has. No message within
/// the limits of this protocol reaches this figure; a lying length prefix does.
const CLAIM_BYTES_MAX: usize = 64 * 1024 * 1024;

const CONFIG: Configuration<LittleEndian, Varint, Limit<CLAIM_BYTES_MAX>> =
    standard().with_limit::<CLAIM_BYTES_MAX>();

/// Why bytes are not the canonical encoding of a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than the caller's limit; nothing was decoded.
    #[error("{len} bytes are more than the {max} allowed here")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Not a value of this type at all: truncated, an unknown tag, bad UTF-8…
    #[error("malformed {kind}: {reason}")]
    Malformed {
        /// The Rust type that was expected.
        kind: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// A value, but not in its one encoding: trailing bytes or a non-minimal integer.
    #[error("not the canonical encoding of {kind}")]
    NotCanonical {
        /// The Rust type that was expected.
        kind: &'static str,
    },
}

impl DecodeError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "ENC-TOO-LONG",
            Self::Malformed { .. } => "ENC-MALFORMED",
            Self::NotCanonical { .. } => "ENC-NOT-CANONICAL",
        }
    }
}

/// The canonical bytes of a value.
///
/// # Panics
/// Never for the types of this crate: they hold nothing that bincode cannot encode.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, CONFIG).expect("protocol types hold only what bincode encodes")
}

/// Reads a value from its canonical bytes, at most `len_max` of them.
///
/// # Errors
/// [`DecodeError`] if the bytes are too long, malformed, or not what [`encode`] gives.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], len_max: usize) -> Result<T, DecodeError> {
    let kind = std::any::type_name::<T>().rsplit("::").next().unwrap_or("value");
    if bytes.len() > len_max {
        return Err(DecodeError::TooLong { len: bytes.len(), max: len_max });
    }
    let (value, used) = bincode::serde::decode_from_slice::<T, _>(bytes, CONFIG)
        .map_err(|error| DecodeError::Malformed { kind, reason: error.to_string() })?;
    // The cheap half of the comparison first.
    if used != bytes.len() || encode(&value) != bytes {
        return Err(DecodeError::NotCanonical { kind });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_trailing_bytes_and_overlong_integers() {
        assert_eq!(decode::<u64>(&[5], 16), Ok(5));
        assert_eq!(decode::<u64>(&[5, 0], 16).map_err(|e| e.rule()), Err("ENC-NOT-CANONICAL"));
        let overlong = [0xfd, 1, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(decode::<u64>(&overlong, 16).map_err(|e| e.rule()), Err("ENC-NOT-CANONICAL"));
    }

    #[test]
    fn refuses_a_lying_length_without_allocating_it() {
        let claims_2_to_the_40 = [0xfd, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3];
        for rule in [
            decode::<Vec<u8>>(&claims_2_to_the_40, 64).map_err(|e| e.rule()).err(),
            decode::<String>(&claims_2_to_the_40, 64).map_err(|e| e.rule()).err(),
            decode::<Vec<Vec<u64>>>(&claims_2_to_the_40, 64).map_err(|e| e.rule()).err(),
        ] {
            assert_eq!(rule, Some("ENC-MALFORMED"));
        }
    }

    #[test]
    fn checks_the_length_first() {
        assert_eq!(decode::<u64>(&[0; 20], 16).map_err(|e| e.rule()), Err("ENC-TOO-LONG"));
    }
}
