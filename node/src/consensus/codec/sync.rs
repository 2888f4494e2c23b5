//! What nodes that catch up ask and are told.

use arc_malachitebft_app::types::PeerId;
use arc_malachitebft_core_types::{ExtendedCommitCertificate, VoteExtensions};
use arc_malachitebft_sync::{RawDecidedValue, Request, Response, Status, ValueRequest, ValueResponse};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syngraph_protocol::certificate::Certificate;
use syngraph_protocol::ids;

use super::super::context::Context;
use super::super::convert;
use super::{CodecError, NOTE_BYTES_MAX, SYNC_BLOCKS_MAX, SYNC_BYTES_MAX, Wire, height, round};

#[derive(Serialize, Deserialize)]
pub(super) struct WireStatus {
    peer: Vec<u8>,
    tip: ids::Height,
    oldest: ids::Height,
}

impl Wire<Status<Context>> for WireStatus {
    const BYTES_MAX: usize = NOTE_BYTES_MAX;

    fn of(status: &Status<Context>) -> Result<Self, CodecError> {
        let (tip, oldest) = (status.tip_height.0, status.history_min_height.0);
        Ok(Self { peer: status.peer_id.to_bytes(), tip, oldest })
    }

    fn open(self) -> Result<Status<Context>, CodecError> {
        let peer_id = PeerId::from_bytes(&self.peer).map_err(|_| CodecError::Peer(self.peer.len()))?;
        Ok(Status { peer_id, tip_height: height(self.tip)?, history_min_height: height(self.oldest)? })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireRequest {
    from: ids::Height,
    to: ids::Height,
}

impl Wire<Request<Context>> for WireRequest {
    const BYTES_MAX: usize = NOTE_BYTES_MAX;

    fn of(request: &Request<Context>) -> Result<Self, CodecError> {
        let Request::ValueRequest(request) = request;
        Ok(Self { from: request.range.start().0, to: request.range.end().0 })
    }

    fn open(self) -> Result<Request<Context>, CodecError> {
        Ok(Request::ValueRequest(ValueRequest::new(height(self.from)?..=height(self.to)?)))
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireDecided {
    block: Vec<u8>,
    certificate: Certificate,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireResponse {
    start: ids::Height,
    blocks: Vec<WireDecided>,
}

impl Wire<Response<Context>> for WireResponse {
    const BYTES_MAX: usize = SYNC_BYTES_MAX;

    fn of(response: &Response<Context>) -> Result<Self, CodecError> {
        let Response::ValueResponse(response) = response;
        let decided = |value: &RawDecidedValue<Context>| {
            let certificate = convert::certificate(&value.certificate.trim_vote_extensions())?;
            Ok(WireDecided { block: value.value_bytes.to_vec(), certificate })
        };
        let blocks = response.values.iter().map(decided).collect::<Result<_, CodecError>>()?;
        Ok(Self { start: response.start_height.0, blocks })
    }

    fn open(self) -> Result<Response<Context>, CodecError> {
        if self.blocks.len() > SYNC_BLOCKS_MAX {
            return Err(CodecError::TooManyBlocks(self.blocks.len()));
        }
        let start = height(self.start)?;
        let values = self.blocks.into_iter().map(open_decided).collect::<Result<_, _>>()?;
        Ok(Response::ValueResponse(ValueResponse::new(start, values)))
    }
}

fn open_decided(decided: WireDecided) -> Result<RawDecidedValue<Context>, CodecError> {
    height(decided.certificate.height)?;
    round(decided.certificate.round)?;
    Ok(decided_value(decided.block.into(), &decided.certificate))
}

/// A decided block as the engine hands it to peers.
pub(in super::super) fn decided_value(block: Bytes, certificate: &Certificate) -> RawDecidedValue<Context> {
    let commit = convert::commit_certificate(certificate);
    let none = VoteExtensions::new(Vec::new());
    RawDecidedValue::new(
        block,
        ExtendedCommitCertificate::from_commit_certificate_and_extensions(commit, none),
    )
}
