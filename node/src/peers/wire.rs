//! Messages as bytes: the canonical encoding of two enums, entries as they were signed.
//!
//! *Invariants.* What comes out of [`request`] and [`response`] is within every bound and
//! every signature in it was verified. Decoding is the work of seconds at worst: callers run
//! it beside the network.
//!
//! *Deliberately absent:* lengths of frames (`frame`) and what to do with a bad message
//! (`task`).

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use syngraph_protocol::codec::{self, DecodeError};
use syngraph_protocol::entry::{EntryError, VerifiedEntry};
use syngraph_protocol::ids::{NetworkId, Seq};

use super::bounds::{REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};
use super::frame::FrameError;
use crate::replicas::message::{
    ANSWER_BYTES_MAX, GAPS_MAX, Gap, Holdings, POINTS_MAX, PUSH_BYTES_MAX, Request, Response,
};

/// Most entries in one message: the shortest has more than 200 bytes.
const ENTRIES_MAX: usize = ANSWER_BYTES_MAX / 200;

/// Bytes of one entry: a length and the bytes, in one piece.
struct Blob<B>(B);

impl<B: AsRef<[u8]>> Serialize for Blob<B> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0.as_ref())
    }
}

impl<'de> Deserialize<'de> for Blob<Vec<u8>> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_byte_buf(BlobVisitor).map(Self)
    }
}

struct BlobVisitor;

impl Visitor<'_> for BlobVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an entry")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }
}

/// Bytes of several entries.
struct Blobs<B>(Vec<Blob<B>>);

impl<B: AsRef<[u8]>> Serialize for Blobs<B> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Blobs<Vec<u8>> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(BlobsVisitor).map(Self)
    }
}

struct BlobsVisitor;

impl<'de> Visitor<'de> for BlobsVisitor {
    type Value = Vec<Blob<Vec<u8>>>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "at most {ENTRIES_MAX} entries")
    }

    /// Counts while it reads: a frame of empty entries would take many times its bytes.
    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut blobs = Vec::new();
        while let Some(blob) = from.next_element()? {
            if blobs.len() == ENTRIES_MAX {
                return Err(serde::de::Error::custom("more entries than fit"));
            }
            blobs.push(blob);
        }
        Ok(blobs)
    }
}

/// A request on the wire. Tags are positions and never change.
#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "Blobs<B>: Deserialize<'de>", serialize = "B: AsRef<[u8]>"))]
enum Asked<B> {
    Push(Blobs<B>),
    Holdings(Holdings),
    Want(Vec<Gap>),
    Log { from: u64 },
}

/// A response on the wire. Tags are positions and never change.
#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "Blobs<B>: Deserialize<'de>", serialize = "B: AsRef<[u8]>"))]
enum Answered<B> {
    Taken,
    Later,
    Entries(Blobs<B>),
}

/// What kind of request a response must fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something is told: `Taken` fits.
    Tell,
    /// Entries are asked for: `Entries` fits.
    Fetch,
}

impl Kind {
    pub(super) const fn of(request: &Request) -> Self {
        match request {
            Request::Push(_) | Request::Holdings(_) => Self::Tell,
            Request::Want(_) | Request::Log { .. } => Self::Fetch,
        }
    }
}

/// Why a message is refused, or not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// What came is no message.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// What came as an entry is none.
    #[error("entry {position} of the message: {error}")]
    Entry {
        /// Its position in the message, from 0.
        position: usize,
        /// What is wrong with it.
        error: EntryError,
    },
    /// `PEER-TOO-MUCH`: more than a message may hold.
    #[error("{got} {what}, where {max} are allowed")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How many.
        got: usize,
        /// How many are allowed.
        max: usize,
    },
    /// `PEER-GAP`: a run that ends before it begins.
    #[error("entries from {from} to {to} are asked for")]
    Gap {
        /// The first.
        from: Seq,
        /// The last.
        to: Seq,
    },
    /// `PEER-ANSWER`: a response that does not fit its request.
    #[error("a response that does not fit the request")]
    Misfit,
    /// `PEER-PROTOCOL`: another network's node, or another version's.
    #[error("it does not speak {protocol}")]
    Protocol {
        /// The protocol of this network.
        protocol: String,
    },
}

impl WireError {
    /// The stable rule id of this refusal.
    pub(super) fn rule(&self) -> &'static str {
        match self {
            Self::Frame(error) => error.rule(),
            Self::Message(error) => error.rule(),
            Self::Entry { error, .. } => error.rule(),
            Self::TooMuch { .. } => "PEER-TOO-MUCH",
            Self::Gap { .. } => "PEER-GAP",
            Self::Misfit => "PEER-ANSWER",
            Self::Protocol { .. } => "PEER-PROTOCOL",
        }
    }
}

fn at_most(what: &'static str, got: usize, max: usize) -> Result<(), WireError> {
    if got > max { Err(WireError::TooMuch { what, got, max }) } else { Ok(()) }
}

fn blobs(entries: &[VerifiedEntry], max: usize) -> Result<Blobs<&[u8]>, WireError> {
    at_most("bytes of entries", entries.iter().map(|entry| entry.bytes().len()).sum(), max)?;
    Ok(Blobs(entries.iter().map(|entry| Blob(entry.bytes())).collect()))
}

/// The bytes of a request.
///
/// # Errors
/// `PEER-TOO-MUCH`.
pub(super) fn request_bytes(request: &Request) -> Result<Vec<u8>, WireError> {
    let asked = match request {
        Request::Push(entries) => Asked::Push(blobs(entries, PUSH_BYTES_MAX)?),
        Request::Holdings(holdings) => {
            at_most("journals", holdings.points.len(), POINTS_MAX)?;
            Asked::Holdings(holdings.clone())
        }
        Request::Want(gaps) => {
            at_most("runs", gaps.len(), GAPS_MAX)?;
            Asked::Want(gaps.clone())
        }
        Request::Log { from } => Asked::Log { from: *from },
    };
    bounded(codec::encode(&asked), REQUEST_BYTES_MAX)
}

/// The bytes of a response.
///
/// # Errors
/// `PEER-TOO-MUCH`.
pub(super) fn response_bytes(response: &Response) -> Result<Vec<u8>, WireError> {
    let answered = match response {
        Response::Taken => Answered::Taken,
        Response::Later => Answered::Later,
        Response::Entries(entries) => Answered::Entries(blobs(entries, ANSWER_BYTES_MAX)?),
    };
    bounded(codec::encode(&answered), RESPONSE_BYTES_MAX)
}

/// The bytes of a response with entries that were read from the log.
///
/// # Errors
/// `PEER-TOO-MUCH`.
pub(super) fn sealed_bytes(entries: &[Vec<u8>]) -> Result<Vec<u8>, WireError> {
    let answered = Answered::Entries(Blobs(entries.iter().map(Blob).collect()));
    bounded(codec::encode(&answered), RESPONSE_BYTES_MAX)
}

fn bounded(bytes: Vec<u8>, max: usize) -> Result<Vec<u8>, WireError> {
    at_most("bytes", bytes.len(), max)?;
    Ok(bytes)
}

fn entries(
    Blobs(blobs): Blobs<Vec<u8>>,
    network: NetworkId,
    bytes_max: usize,
) -> Result<Vec<VerifiedEntry>, WireError> {
    at_most("bytes of entries", blobs.iter().map(|blob| blob.0.len()).sum(), bytes_max)?;
    let entry = |(position, Blob(bytes)): (usize, Blob<Vec<u8>>)| {
        VerifiedEntry::decode(&bytes, network).map_err(|error| WireError::Entry { position, error })
    };
    blobs.into_iter().enumerate().map(entry).collect()
}

/// A request from its bytes, verified.
///
/// # Errors
/// [`WireError`].
pub(super) fn request(bytes: Vec<u8>, network: NetworkId) -> Result<Request, WireError> {
    let asked: Asked<Vec<u8>> = codec::decode(&bytes, REQUEST_BYTES_MAX)?;
    drop(bytes);
    Ok(match asked {
        Asked::Push(blobs) => Request::Push(entries(blobs, network, PUSH_BYTES_MAX)?),
        Asked::Holdings(holdings) => {
            at_most("journals", holdings.points.len(), POINTS_MAX)?;
            Request::Holdings(holdings)
        }
        Asked::Want(gaps) => {
            at_most("runs", gaps.len(), GAPS_MAX)?;
            if let Some(&Gap { from, to, .. }) = gaps.iter().find(|gap| gap.from > gap.to) {
                return Err(WireError::Gap { from, to });
            }
            Request::Want(gaps)
        }
        Asked::Log { from } => Request::Log { from },
    })
}

/// A response from its bytes, verified, if it fits what was asked.
///
/// # Errors
/// [`WireError`].
pub(super) fn response(bytes: Vec<u8>, network: NetworkId, asked: Kind) -> Result<Response, WireError> {
    let answered: Answered<Vec<u8>> = codec::decode(&bytes, RESPONSE_BYTES_MAX)?;
    drop(bytes);
    match (answered, asked) {
        (Answered::Later, _) => Ok(Response::Later),
        (Answered::Taken, Kind::Tell) => Ok(Response::Taken),
        (Answered::Entries(blobs), Kind::Fetch) => {
            entries(blobs, network, ANSWER_BYTES_MAX).map(Response::Entries)
        }
        _ => Err(WireError::Misfit),
    }
}

#[cfg(test)]
mod tests;
