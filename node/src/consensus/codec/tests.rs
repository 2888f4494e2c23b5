use super::*;
use crate::consensus::context::{Address, Height as H, Proposal, Value, Vote};
use crate::consensus::tests::peer;
use arc_malachitebft_app::streaming::{StreamContent, StreamId};
use arc_malachitebft_core_types::{self as core, NilOrVal, RoundCertificate, RoundCertificateType};
use arc_malachitebft_core_types::{SignedMessage, Validity, VoteType};
use arc_malachitebft_sync::{ValueRequest, ValueResponse};
use std::fmt::Debug;
use syngraph_protocol::certificate::{Certificate, CommitSignature};
use syngraph_protocol::ids::{BlockId, MemberId, Signature};

const BLOCK: BlockId = BlockId::from_bytes([3; 32]);
const SIGNATURE: Signature = Signature::from_bytes([9; 64]);

fn height(number: u64) -> H {
    H(ids::Height::new(number))
}

fn member(number: u32) -> Address {
    Address(MemberId::new(number))
}

fn vote(value: NilOrVal<Value>) -> SignedMessage<Context, Vote> {
    let vote =
        Vote { kind: VoteType::Precommit, height: height(7), round: Round::new(2), value, voter: member(4) };
    SignedMessage::new(vote, SIGNATURE)
}

fn proposal(valid_round: Round) -> SignedMessage<Context, Proposal> {
    let (height, round, value, proposer) = (height(7), Round::new(2), Value(BLOCK), member(4));
    SignedMessage::new(Proposal { height, round, value, valid_round, proposer }, SIGNATURE)
}

fn polka() -> PolkaCertificate<Context> {
    let polka_signatures = (0..4).map(|m| core::PolkaSignature::new(member(m), SIGNATURE)).collect();
    PolkaCertificate { height: height(7), round: Round::new(2), value_id: Value(BLOCK), polka_signatures }
}

fn round_certificate(cert_type: RoundCertificateType) -> RoundCertificate<Context> {
    let signature = |(kind, value)| core::RoundSignature::new(kind, value, member(1), SIGNATURE);
    let votes = [(VoteType::Prevote, NilOrVal::Nil), (VoteType::Precommit, NilOrVal::Val(Value(BLOCK)))];
    let round_signatures = votes.into_iter().map(signature).collect();
    RoundCertificate { height: height(7), round: Round::new(2), cert_type, round_signatures }
}

fn certificate() -> Certificate {
    let commit = |m| CommitSignature { member: MemberId::new(m), signature: SIGNATURE };
    Certificate {
        height: ids::Height::new(7),
        round: 2,
        block: BLOCK,
        signatures: (0..3).map(commit).collect(),
    }
}

fn response(blocks: usize) -> Response<Context> {
    let value = decided_value(Bytes::from_static(b"a block"), &certificate());
    Response::ValueResponse(ValueResponse::new(height(7), vec![value; blocks]))
}

fn proposed(valid_round: Round, validity: Validity) -> ProposedValue<Context> {
    let (height, round, proposer, value) = (height(7), Round::new(2), member(4), Value(BLOCK));
    ProposedValue { height, round, valid_round, proposer, value, validity }
}

fn stream(sequence: u64, content: StreamContent<Part>) -> StreamMessage<Part> {
    StreamMessage::new(StreamId::new(Bytes::from_static(&[1; STREAM_ID_BYTES])), sequence, content)
}

/// What every message must do: come back as it was; be refused when it is cut short anywhere, has
/// something behind it, or is longer than its limit.
fn check<T: Debug + PartialEq>(message: T)
where
    WireCodec: Codec<T, Error = CodecError>,
{
    let encode = |message: &T| Codec::<T>::encode(&WireCodec, message).expect("within limits");
    let decode = |bytes: Bytes| Codec::<T>::decode(&WireCodec, bytes);
    let bytes = encode(&message);
    assert_eq!(decode(bytes.clone()).as_ref(), Ok(&message));
    for len in 0..bytes.len() {
        assert!(decode(bytes.slice(..len)).is_err(), "cut to {len} of {message:?}");
    }
    let longer = [&bytes[..], &[0]].concat();
    let refused = decode(longer.into()).expect_err("trailing byte");
    assert!(matches!(refused, CodecError::Decode(DecodeError::NotCanonical { .. })), "{refused}");
    let flood = [&bytes[..], &vec![0; SYNC_BYTES_MAX]].concat();
    let refused = decode(flood.into()).expect_err("too long");
    assert!(matches!(refused, CodecError::Decode(DecodeError::TooLong { .. })), "{refused}");
}

#[test]
fn votes_and_what_is_made_of_them_round_trip() {
    for value in [NilOrVal::Nil, NilOrVal::Val(Value(BLOCK))] {
        check(SignedConsensusMsg::Vote(vote(value)));
        check(LivenessMsg::Vote(vote(value)));
    }
    for valid_round in [Round::Nil, Round::new(1)] {
        check(SignedConsensusMsg::Proposal(proposal(valid_round)));
        check(proposed(valid_round, Validity::Valid));
        check(proposed(valid_round, Validity::Invalid));
    }
    check(polka());
    check(LivenessMsg::PolkaCertificate(polka()));
    for kind in [RoundCertificateType::Skip, RoundCertificateType::Precommit] {
        check(LivenessMsg::SkipRoundCertificate(round_certificate(kind)));
    }
    check(ValidatorProof::<Context>::new(vec![1; 32], peer(1).to_bytes(), SIGNATURE));
}

#[test]
fn parts_and_sync_round_trip() {
    let first = Part::Init { height: ids::Height::new(7), round: 2, proposer: MemberId::new(4) };
    for part in [first, Part::Data(vec![8; 300]), Part::Fin { block: BLOCK }] {
        check(part.clone());
        check(stream(3, StreamContent::Data(part)));
    }
    check(Status::<Context> { peer_id: peer(1), tip_height: height(9), history_min_height: height(1) });
    check(Request::<Context>::ValueRequest(ValueRequest::new(height(3)..=height(5))));
    check(response(0));
    check(response(SYNC_BLOCKS_MAX));
    let bytes = WireCodec.encode(&response(2)).expect("within limits");
    assert_eq!(WireCodec.encoded_len(&response(2)), Ok(bytes.len()));
}

#[test]
fn the_longest_honest_messages_fit() {
    let slice = Part::Data(vec![0xff; PART_BYTES_MAX]);
    assert!(WireCodec.encode(&stream(u64::MAX, StreamContent::Data(slice))).is_ok());
    let voters = syngraph_protocol::limits::MEMBERS_MAX as u32;
    let (far, late) = (H(HEIGHT_MAX), Round::new(ROUND_MAX));
    let prevotes = (0..voters).map(|m| core::PolkaSignature::new(member(m), SIGNATURE)).collect();
    let polka =
        PolkaCertificate { height: far, round: late, value_id: Value(BLOCK), polka_signatures: prevotes };
    assert!(Codec::<PolkaCertificate<Context>>::encode(&WireCodec, &polka).is_ok());
    let kinds = [VoteType::Prevote, VoteType::Precommit];
    let votes = (0..voters).flat_map(|m| kinds.map(|kind| (m, kind)));
    let value = NilOrVal::Val(Value(BLOCK));
    let votes = votes.map(|(m, kind)| core::RoundSignature::new(kind, value, member(m), SIGNATURE)).collect();
    let cert_type = RoundCertificateType::Skip;
    let skip = RoundCertificate { height: far, round: late, cert_type, round_signatures: votes };
    assert!(WireCodec.encode(&LivenessMsg::SkipRoundCertificate(skip)).is_ok());
}

#[test]
fn what_no_reader_would_accept_is_not_written() {
    let refused = |message| Codec::<StreamMessage<Part>>::encode(&WireCodec, &message).expect_err("refused");
    let long = Part::Data(vec![0; PART_BYTES_MAX + 200]);
    assert!(matches!(refused(stream(1, StreamContent::Data(long))), CodecError::TooLong { .. }));
    assert_eq!(refused(stream(1, StreamContent::Fin)), CodecError::StreamEnd);
    let other = StreamId::new(Bytes::from_static(b"short"));
    let message = StreamMessage::new(other, 0, StreamContent::Data(Part::Fin { block: BLOCK }));
    assert_eq!(refused(message), CodecError::Stream(5));
    let mut nowhere = vote(NilOrVal::Nil);
    nowhere.message.round = Round::Nil;
    let refused = WireCodec.encode(&SignedConsensusMsg::Vote(nowhere));
    assert!(matches!(refused, Err(CodecError::NoRound(_))));
}

#[test]
fn heights_rounds_and_counts_at_the_end_of_their_range_are_refused() {
    let mut far = vote(NilOrVal::Nil);
    far.message.height = height(u64::MAX);
    let bytes = WireCodec.encode(&SignedConsensusMsg::Vote(far)).expect("short enough");
    let refused: Result<SignedConsensusMsg<Context>, _> = WireCodec.decode(bytes);
    assert_eq!(refused, Err(CodecError::Height(ids::Height::new(u64::MAX))));

    let mut late = proposal(Round::Nil);
    late.message.valid_round = Round::new(u32::MAX);
    let bytes = WireCodec.encode(&SignedConsensusMsg::Proposal(late)).expect("short enough");
    let refused: Result<SignedConsensusMsg<Context>, _> = WireCodec.decode(bytes);
    assert_eq!(refused, Err(CodecError::Round(u32::MAX)));

    let bytes = WireCodec.encode(&response(SYNC_BLOCKS_MAX + 1)).expect("short enough");
    let refused: Result<Response<Context>, _> = WireCodec.decode(bytes);
    assert_eq!(refused, Err(CodecError::TooManyBlocks(SYNC_BLOCKS_MAX + 1)));
}
