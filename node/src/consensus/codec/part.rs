//! Parts of a proposed block.

use arc_malachitebft_app::streaming::{StreamContent, StreamId, StreamMessage};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syngraph_protocol::ids::{self, BlockId, MemberId};

use super::super::context::Part;
use super::{CodecError, PART_MESSAGE_BYTES_MAX, STREAM_ID_BYTES, Wire, height, round};

#[derive(Serialize, Deserialize)]
pub(super) enum WirePart {
    Init { height: ids::Height, round: u32, proposer: MemberId },
    Data(Vec<u8>),
    Fin { block: BlockId },
}

impl Wire<Part> for WirePart {
    const BYTES_MAX: usize = PART_MESSAGE_BYTES_MAX;

    fn of(part: &Part) -> Result<Self, CodecError> {
        Ok(match part {
            Part::Init { height, round, proposer } => {
                Self::Init { height: *height, round: *round, proposer: *proposer }
            }
            Part::Data(bytes) => Self::Data(bytes.clone()),
            Part::Fin { block } => Self::Fin { block: *block },
        })
    }

    fn open(self) -> Result<Part, CodecError> {
        Ok(match self {
            Self::Init { height: h, round: r, proposer } => {
                height(h)?;
                round(r)?;
                Part::Init { height: h, round: r, proposer }
            }
            Self::Data(bytes) => Part::Data(bytes),
            Self::Fin { block } => Part::Fin { block },
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireStream {
    stream: [u8; STREAM_ID_BYTES],
    sequence: u64,
    part: WirePart,
}

impl Wire<StreamMessage<Part>> for WireStream {
    const BYTES_MAX: usize = PART_MESSAGE_BYTES_MAX;

    fn of(message: &StreamMessage<Part>) -> Result<Self, CodecError> {
        let stream = message.stream_id.to_bytes();
        let part = message.content.as_data().ok_or(CodecError::StreamEnd)?;
        Ok(Self {
            stream: stream.as_ref().try_into().map_err(|_| CodecError::Stream(stream.len()))?,
            sequence: message.sequence,
            part: WirePart::of(part)?,
        })
    }

    fn open(self) -> Result<StreamMessage<Part>, CodecError> {
        let stream = StreamId::new(Bytes::copy_from_slice(&self.stream));
        Ok(StreamMessage::new(stream, self.sequence, StreamContent::Data(self.part.open()?)))
    }
}
