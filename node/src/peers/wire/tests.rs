//! The bytes of every message, and what is refused.

use syngraph_protocol::block::CutPoint;
use syngraph_protocol::codes::Place;
use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::entry::{Body, Deed, SignedEntry, Slot};
use syngraph_protocol::ids::{EntryId, Height, Idem, MemberId, PublicKey};
use syngraph_protocol::journal::NO_ENTRY;
use syngraph_protocol::ledger::asset::{AssetClass, Confidentiality, Owner, RegisterAsset};
use syngraph_protocol::ledger::period::Settle;
use syngraph_protocol::money::Weight;
use syngraph_protocol::name::Name;
use syngraph_protocol::time::UtcMs;

use super::*;
use crate::peers::bounds::LOG_BYTES_MAX;

const NETWORK: NetworkId = NetworkId::from_bytes([5; 32]);

fn entry(idem: u8) -> VerifiedEntry {
    let asset = RegisterAsset {
        class: AssetClass::Model,
        title: Name::new("M1"),
        owners: vec![Owner { member: MemberId::new(0), weight: Weight::new(1) }],
        licence: "MIT".into(),
        confidentiality: Confidentiality::Green,
        jurisdiction: Place::new("DE"),
    };
    let body = Body::Deed { idem: Idem::from_bytes([idem; 16]), deed: Deed::RegisterAsset(asset) };
    let key = SecretKey::from_seed(&[9; 32]);
    let slot = Slot {
        network: NETWORK,
        member: MemberId::new(0),
        seq: Seq::FIRST,
        prev: NO_ENTRY,
        claimed_at: UtcMs::from_ms(0),
    };
    VerifiedEntry::verify(SignedEntry::sign(&key, slot, body), NETWORK).expect("well formed")
}

fn rule<T>(result: Result<T, WireError>) -> Option<&'static str> {
    result.err().map(|error| error.rule())
}

/// A change here is a change of the protocol's version.
#[test]
fn the_bytes_of_each_message_are_these() {
    let key = PublicKey::from_bytes([0xaa; 32]);
    let id = EntryId::from_bytes([0xbb; 32]);
    let (keys, ids) = ("aa".repeat(32), "bb".repeat(32));
    let holdings = Holdings {
        height: Height::new(3),
        log_size: 300,
        begun: Height::new(4),
        points: vec![CutPoint { journal: key, seq: Seq::new(7), entry: id }],
    };
    let gap = Gap { journal: key, from: Seq::new(1), to: Seq::new(2), last: id };
    let (one, two) = (entry(1), entry(2));
    // One byte of length, up to 250.
    let blob = |entry: &VerifiedEntry| format!("{:02x}{}", entry.bytes().len(), hex::encode(entry.bytes()));
    assert!(one.bytes().len() <= 250 && two.bytes().len() <= 250);
    let pair = format!("02{}{}", blob(&one), blob(&two));
    let requests = [
        (Request::Push(vec![one.clone(), two.clone()]), format!("00{pair}")),
        (Request::Holdings(holdings), format!("0103fb2c010401{keys}07{ids}")),
        (Request::Want(vec![gap]), format!("0201{keys}0102{ids}")),
        (Request::Log { from: 250 }, "03fa".to_owned()),
    ];
    for (message, expected) in requests {
        let bytes = request_bytes(&message).expect("small");
        assert_eq!(hex::encode(&bytes), expected);
        let again = request(bytes.clone(), NETWORK).expect("our own bytes");
        assert_eq!(request_bytes(&again).expect("small"), bytes);
    }
    let responses = [
        (Response::Taken, Kind::Tell, "00".to_owned()),
        (Response::Later, Kind::Fetch, "01".to_owned()),
        (Response::Entries(vec![one.clone(), two.clone()]), Kind::Fetch, format!("02{pair}")),
    ];
    for (message, asked, expected) in responses {
        let bytes = response_bytes(&message).expect("small");
        assert_eq!(hex::encode(&bytes), expected);
        let again = response(bytes.clone(), NETWORK, asked).expect("our own bytes");
        assert_eq!(response_bytes(&again).expect("small"), bytes);
    }
    let sealed = [one.bytes().to_vec(), two.bytes().to_vec()];
    assert_eq!(hex::encode(sealed_bytes(&sealed).expect("small")), format!("02{pair}"));
}

#[test]
fn a_truncated_or_longer_message_is_refused_at_every_length() {
    let bytes = request_bytes(&Request::Push(vec![entry(1)])).expect("small");
    for len in 0..bytes.len() {
        assert_eq!(rule(request(bytes[..len].to_vec(), NETWORK)), Some("ENC-MALFORMED"), "{len}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(rule(request(longer, NETWORK)), Some("ENC-NOT-CANONICAL"));
    assert_eq!(rule(request(vec![0; REQUEST_BYTES_MAX + 1], NETWORK)), Some("ENC-TOO-LONG"));
    assert_eq!(rule(request(bytes, NetworkId::from_bytes([6; 32]))), Some("ENTRY-NETWORK"));
}

#[test]
fn empty_entries_take_no_more_memory_than_full_ones() {
    // Both claim a million entries, in as many bytes.
    let hollow = [&[2, 252][..], &1_000_000_u32.to_le_bytes(), &[0; 1_000_000]].concat();
    let Err(WireError::Message(error)) = response(hollow, NETWORK, Kind::Fetch) else { panic!("refused") };
    assert!(error.to_string().contains("more entries than fit"), "{error}");
}

#[test]
fn the_largest_messages_fit_their_frames() {
    // The shortest entry there is settles a month.
    let settle = Settle { month: "2026-10".parse().expect("a month") };
    let body = Body::Deed { idem: Idem::from_bytes([0; 16]), deed: Deed::Settle(settle) };
    let shortest = codec::encode(&SignedEntry { body, ..entry(1).entry().clone() }).len();
    assert!(shortest > 200, "{shortest}");
    assert!(LOG_BYTES_MAX + 3 * (LOG_BYTES_MAX / shortest) + 6 <= RESPONSE_BYTES_MAX);
    // Lengths take one byte up to 250 and three above.
    const { assert!(ANSWER_BYTES_MAX + 3 * (ANSWER_BYTES_MAX / 251) + 6 <= RESPONSE_BYTES_MAX) };
    assert!(ANSWER_BYTES_MAX + ANSWER_BYTES_MAX / shortest + 6 <= RESPONSE_BYTES_MAX);
    const { assert!(PUSH_BYTES_MAX + 3 * (PUSH_BYTES_MAX / 251) + 6 <= REQUEST_BYTES_MAX) };
    let id = EntryId::from_bytes([0xff; 32]);
    let journal = PublicKey::from_bytes([0xff; 32]);
    let last = Seq::new(u64::MAX);
    let points = vec![CutPoint { journal, seq: last, entry: id }; POINTS_MAX];
    let height = Height::new(u64::MAX);
    let holdings = Holdings { height, log_size: u64::MAX, begun: height, points };
    assert!(request_bytes(&Request::Holdings(holdings.clone())).is_ok());
    let gaps = vec![Gap { journal, from: last, to: last, last: id }; GAPS_MAX];
    assert!(request_bytes(&Request::Want(gaps.clone())).is_ok());
    let more = Holdings { points: vec![holdings.points[0]; POINTS_MAX + 1], ..holdings };
    assert_eq!(rule(request_bytes(&Request::Holdings(more))), Some("PEER-TOO-MUCH"));
    let more = [gaps, vec![Gap { journal, from: last, to: last, last: id }]].concat();
    assert_eq!(rule(request_bytes(&Request::Want(more))), Some("PEER-TOO-MUCH"));
}
