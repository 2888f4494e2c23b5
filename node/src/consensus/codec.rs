//! The engine's messages as bytes: what its peers send, and what its write-ahead log holds.
//!
//! *Invariants.* Every message has one canonical encoding (`syngraph_protocol::codec`) and a size limit
//! of its own, checked before anything is decoded; what exceeds it is not encoded either. Heights and
//! rounds near the end of their range are refused, so that the engine's arithmetic on them cannot
//! overflow.
//!
//! *Deliberately absent:* signature checks. The engine asks the verifier.

mod part;
mod sync;
#[cfg(test)]
mod tests;
mod vote;

use arc_malachitebft_app::consensus::{LivenessMsg, ProposedValue, SignedConsensusMsg};
use arc_malachitebft_app::streaming::StreamMessage;
use arc_malachitebft_app::types::codec::{Codec, HasEncodedLen};
use arc_malachitebft_core_types::{PolkaCertificate, Round, ValidatorProof};
use arc_malachitebft_sync::{Request, Response, Status};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use syngraph_protocol::codec::{self, DecodeError};
use syngraph_protocol::ids;
use syngraph_protocol::limits::{BLOCK_BODY_BYTES_MAX, CERTIFICATE_BYTES_MAX};

use super::context::{Context, Height, Part};
use super::convert::NoRound;
use part::{WirePart, WireStream};
pub(super) use sync::decided_value;
use sync::{WireRequest, WireResponse, WireStatus};
use vote::{WireLiveness, WireMessage, WirePolka, WireProof, WireProposed};

/// Highest height that is read or written, half the range.
const HEIGHT_MAX: ids::Height = ids::Height::new(u64::MAX / 2);
/// Highest round that is read or written, half the range.
const ROUND_MAX: u32 = u32::MAX / 2;

/// Most bytes of a block in one part.
pub(super) const PART_BYTES_MAX: usize = 64 * 1024;
/// Length of the name of a stream of parts, in bytes.
pub(super) const STREAM_ID_BYTES: usize = 16;
/// Longest vote or proposal, in bytes.
const MESSAGE_BYTES_MAX: usize = 256;
/// Longest part with its frame, in bytes.
const PART_MESSAGE_BYTES_MAX: usize = PART_BYTES_MAX + 128;
/// Longest proof of votes, in bytes: two votes of about 100 bytes by each of 1,024 members.
pub(super) const LIVENESS_BYTES_MAX: usize = 256 * 1024;
/// Longest validator proof, tip announcement or request for blocks, in bytes.
const NOTE_BYTES_MAX: usize = 256;
/// Most blocks in one answer to a peer that catches up.
pub(super) const SYNC_BLOCKS_MAX: usize = 5;
/// Longest such answer, in bytes.
pub(super) const SYNC_BYTES_MAX: usize =
    SYNC_BLOCKS_MAX * (BLOCK_BODY_BYTES_MAX + CERTIFICATE_BYTES_MAX) + NOTE_BYTES_MAX;

/// Why a message cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CodecError {
    /// Not the canonical encoding of a message of this kind.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Longer than its reader would accept.
    #[error("a message of {len} bytes is longer than the {max} allowed")]
    TooLong { len: usize, max: usize },
    /// A height past [`HEIGHT_MAX`].
    #[error("height {0} is out of range")]
    Height(ids::Height),
    /// A round past [`ROUND_MAX`].
    #[error("round {0} is out of range")]
    Round(u32),
    /// No round where there must be one.
    #[error(transparent)]
    NoRound(#[from] NoRound),
    /// Not the identity of a peer.
    #[error("{0} bytes are not the id of a peer")]
    Peer(usize),
    /// A stream whose name has another length than ours.
    #[error("{0} bytes are not the id of a stream of parts")]
    Stream(usize),
    /// The engine's own mark at the end of a stream; ours end with their last part.
    #[error("a stream of parts ends with its last part")]
    StreamEnd,
    /// More blocks than one answer may hold.
    #[error("{0} blocks are more than an answer may hold")]
    TooManyBlocks(usize),
}

/// The form in which messages of type `T` are encoded.
trait Wire<T>: Serialize + DeserializeOwned {
    const BYTES_MAX: usize;

    fn of(message: &T) -> Result<Self, CodecError>;
    fn open(self) -> Result<T, CodecError>;
}

fn encode<T, W: Wire<T>>(message: &T) -> Result<Bytes, CodecError> {
    let bytes = codec::encode(&W::of(message)?);
    if bytes.len() > W::BYTES_MAX {
        return Err(CodecError::TooLong { len: bytes.len(), max: W::BYTES_MAX });
    }
    Ok(bytes.into())
}

fn decode<T, W: Wire<T>>(bytes: &[u8]) -> Result<T, CodecError> {
    codec::decode::<W>(bytes, W::BYTES_MAX)?.open()
}

/// Reads and writes every message of the engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct WireCodec;

macro_rules! codecs {
    ($($message:ty => $wire:ty),+ $(,)?) => {
        $(impl Codec<$message> for WireCodec {
            type Error = CodecError;

            fn encode(&self, message: &$message) -> Result<Bytes, CodecError> {
                encode::<$message, $wire>(message)
            }

            fn decode(&self, bytes: Bytes) -> Result<$message, CodecError> {
                decode::<$message, $wire>(&bytes)
            }
        })+
    };
}

codecs! {
    Part => WirePart,
    StreamMessage<Part> => WireStream,
    SignedConsensusMsg<Context> => WireMessage,
    LivenessMsg<Context> => WireLiveness,
    ValidatorProof<Context> => WireProof,
    ProposedValue<Context> => WireProposed,
    PolkaCertificate<Context> => WirePolka,
    Status<Context> => WireStatus,
    Request<Context> => WireRequest,
    Response<Context> => WireResponse,
}

impl HasEncodedLen<Response<Context>> for WireCodec {
    fn encoded_len(&self, message: &Response<Context>) -> Result<usize, CodecError> {
        Ok(encode::<_, WireResponse>(message)?.len())
    }
}

fn height(height: ids::Height) -> Result<Height, CodecError> {
    if height > HEIGHT_MAX { Err(CodecError::Height(height)) } else { Ok(Height(height)) }
}

fn round(round: u32) -> Result<Round, CodecError> {
    if round > ROUND_MAX { Err(CodecError::Round(round)) } else { Ok(Round::new(round)) }
}

fn optional_round(optional: Option<u32>) -> Result<Round, CodecError> {
    optional.map_or(Ok(Round::Nil), round)
}
