//! Blocks and their certificates.

use serde::Serialize;
use syngraph_protocol::block::{Block, CutPoint, Header};
use syngraph_protocol::certificate::{Certificate, CommitSignature};
use syngraph_protocol::ids::{BlockId, Signature};
use syngraph_protocol::ledger::Ledger;

use super::{MemberRef, member_name};

/// A block: its header's fields, its cut and the proof that it was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct BlockView {
    id: BlockId,
    #[serde(flatten)]
    header: Header,
    built_by_name: String,
    cut: Vec<CutPoint>,
    certificate: CertificateView,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct CertificateView {
    round: u32,
    signatures: Vec<SignatureView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct SignatureView {
    #[serde(flatten)]
    member: MemberRef,
    signature: Signature,
}

/// Shows a block. The header is shown as it is: its JSON is part of the protocol.
pub(in crate::http) fn block(ledger: &Ledger, block: &Block, certificate: &Certificate) -> BlockView {
    BlockView {
        id: block.id(),
        header: block.header.clone(),
        built_by_name: member_name(ledger, block.header.built_by),
        cut: block.cut.points.clone(),
        certificate: CertificateView {
            round: certificate.round,
            signatures: certificate.signatures.iter().map(|commit| signature(ledger, commit)).collect(),
        },
    }
}

fn signature(ledger: &Ledger, commit: &CommitSignature) -> SignatureView {
    SignatureView { member: MemberRef::new(ledger, commit.member), signature: commit.signature }
}
