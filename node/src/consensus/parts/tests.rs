use super::*;
use crate::consensus::tests::{block, peer, roster, voters};
use arc_malachitebft_app::streaming::StreamContent;
use bytes::Bytes;
use syngraph_protocol::block::{Cut, CutPoint};
use syngraph_protocol::ids::{EntryId, PublicKey, Seq};

/// Whose turn it is at height 7 in round 2, of four voters.
const PROPOSER: MemberId = MemberId::new(1);
/// Its node.
fn proposer() -> PeerId {
    peer(PROPOSER.get())
}

/// A block of the longest cut, more than one slice long.
fn long_block(height: Height) -> Block {
    let point = |n: u16| {
        let mut journal = [0xff; 32];
        journal[..2].copy_from_slice(&n.to_be_bytes());
        let journal = PublicKey::from_bytes(journal);
        CutPoint { journal, seq: Seq::new(u64::MAX), entry: EntryId::from_bytes([0xff; 32]) }
    };
    let cut = Cut::new((0..1_024).map(point).collect());
    let mut block = block(height);
    block.header.cut_root = cut.root();
    Block { cut, ..block }
}

fn message(stream: &'static [u8], sequence: u64, part: Part) -> StreamMessage<Part> {
    StreamMessage::new(StreamId::new(Bytes::from_static(stream)), sequence, StreamContent::Data(part))
}

/// Streams at height 7, and a long block for it, in parts.
fn setting() -> (PartStreams, Block, Vec<Part>) {
    let height = Height::new(7);
    let roster = roster(&[0, 1, 2, 3, 4]);
    roster.begin(height, &voters(4));
    let mut streams = PartStreams::new(roster);
    streams.advance(height, 0);
    let block = long_block(height);
    let parts = cut(height, 2, PROPOSER, &block);
    assert_eq!(parts.len() as u64, PARTS_MAX, "the longest cut takes all the parts there may be");
    (streams, block, parts)
}

/// Sends parts as (place, part) from one publisher in one stream and gives the last answer.
fn send(
    streams: &mut PartStreams,
    parts: impl IntoIterator<Item = (u64, Part)>,
) -> Result<Option<Whole>, PartError> {
    let mut last = Ok(None);
    for (sequence, part) in parts {
        last = streams.receive(peer(2), Some(proposer()), message(b"s", sequence, part));
    }
    last
}

fn place(parts: &[Part], order: &[usize]) -> Vec<(u64, Part)> {
    order.iter().map(|&at| (at as u64, parts[at].clone())).collect()
}

#[test]
fn parts_in_any_order_and_repeated_make_the_block_once() {
    for order in [&[0, 1, 2, 3][..], &[3, 2, 1, 0], &[2, 0, 3, 1], &[1, 1, 0, 3, 3, 1, 0, 2]] {
        let (mut streams, block, parts) = setting();
        let whole = Whole { height: Height::new(7), round: 2, proposer: PROPOSER, block };
        assert_eq!(send(&mut streams, place(&parts, order)), Ok(Some(whole)), "{order:?}");
        assert!(streams.streams.is_empty());
    }
}

#[test]
fn parts_may_come_through_different_neighbours_but_from_one_publisher() {
    let (mut streams, block, parts) = setting();
    for (at, part) in parts.iter().enumerate() {
        let neighbour = peer(10 + at as u32);
        let got = streams.receive(neighbour, Some(proposer()), message(b"s", at as u64, part.clone()));
        assert_eq!(got.map(|whole| whole.map(|w| w.block.id())), Ok((at == 3).then(|| block.id())));
    }
    let (mut streams, ..) = setting();
    for (at, part) in parts.iter().enumerate().skip(1) {
        let publisher = Some(peer(at as u32));
        let got = streams.receive(peer(1), publisher, message(b"s", at as u64, part.clone()));
        assert_eq!(got, Ok(None), "parts from three publishers are no block");
    }
    let first = streams.receive(peer(1), Some(peer(2)), message(b"s", 0, parts[0].clone()));
    let turn = TurnError::InAnothersName { publisher: MemberId::new(2), proposer: PROPOSER };
    assert_eq!(first, Err(turn.into()), "nobody speaks for another");
}

#[test]
fn nothing_of_a_stranger_is_kept_and_nothing_out_of_turn() {
    let (mut streams, _, parts) = setting();
    for (at, part) in parts.iter().enumerate() {
        let refused = streams.receive(peer(1), Some(peer(9)), message(b"s", at as u64, part.clone()));
        assert_eq!(refused, Err(TurnError::Stranger.into()));
    }
    let elsewhere = Part::Init { height: Height::new(7), round: 1, proposer: PROPOSER };
    let refused = streams.receive(peer(1), Some(proposer()), message(b"s", 0, elsewhere));
    assert_eq!(refused, Err(TurnError::OutOfTurn(PROPOSER).into()));
    let member = MemberId::new(4);
    let voteless = Part::Init { height: Height::new(8), round: 0, proposer: member };
    let refused = streams.receive(peer(4), None, message(b"s", 0, voteless));
    assert_eq!(refused, Err(TurnError::NoVoter(member).into()));
    assert!(streams.streams.is_empty());
}

#[test]
fn a_proposer_has_one_block_for_a_round() {
    let (mut streams, block, parts) = setting();
    let publish = |streams: &mut PartStreams, stream: &'static [u8], block: &Block| {
        for (sequence, part) in (0..).zip(cut(Height::new(7), 2, PROPOSER, block)) {
            let got = streams.receive(proposer(), None, message(stream, sequence, part))?;
            if let Some(whole) = got {
                return Ok(Some(whole.block.id()));
            }
        }
        Ok(None)
    };
    let second = Err(PartError::Second { height: Height::new(7), round: 2 });
    let other = crate::consensus::tests::block(Height::new(7));
    assert_eq!(publish(&mut streams, b"a", &block), Ok(Some(block.id())));
    assert_eq!(publish(&mut streams, b"b", &other), second);
    streams.forget(Height::new(7), 2, block.id());
    assert_eq!(publish(&mut streams, b"c", &block), Ok(Some(block.id())), "nobody had taken it");
    assert_eq!(publish(&mut streams, b"d", &block), second);
    streams.advance(Height::new(7), 3 + ROUNDS_AWAY_MAX);
    assert!(streams.done.is_empty());
    assert_eq!(send(&mut streams, place(&parts, &[0])), Err(PartError::OtherRound { current: 13, got: 2 }));
}

#[test]
fn in_late_rounds_every_voter_may_publish_a_block_and_it_comes_once() {
    let (mut streams, block, _) = setting();
    let (height, round) = (Height::new(7), 10);
    streams.advance(height, round);
    let proposer = streams.roster.proposer(height, round).expect("a height has begun");
    for (publisher, expected) in [(0, Some(block.id())), (2, None), (3, None)] {
        let mut last = Ok(None);
        for (sequence, part) in (0..).zip(cut(height, round, proposer, &block)) {
            last = streams.receive(peer(publisher), None, message(b"s", sequence, part));
        }
        let second = PartError::Second { height, round };
        assert_eq!(last.map(|whole| whole.map(|whole| whole.block.id())), expected.map(Some).ok_or(second));
    }
}

#[test]
fn a_missing_part_makes_no_block() {
    for missing in 0..4 {
        let (mut streams, _, parts) = setting();
        let order: Vec<usize> = (0..4).filter(|&at| at != missing).collect();
        assert_eq!(send(&mut streams, place(&parts, &order)), Ok(None));
        assert_eq!(streams.streams.len(), 1);
    }
}

#[test]
fn parts_out_of_place_or_in_two_versions_drop_their_stream() {
    let (_, _, parts) = setting();
    let [first, slice, _, last] = &parts[..] else { unreachable!("four parts") };
    let other = Part::Init { height: Height::new(7), round: 3, proposer: PROPOSER };
    let cases = [
        ("two beginnings in two places", vec![(0, first.clone()), (1, first.clone())], 1),
        ("no beginning at the beginning", vec![(0, slice.clone())], 0),
        ("two ends", vec![(2, last.clone()), (3, last.clone())], 3),
        ("something after the end", vec![(2, last.clone()), (3, slice.clone())], 3),
        ("an end before something", vec![(3, slice.clone()), (2, last.clone())], 2),
        ("more parts than a block has", vec![(PARTS_MAX, slice.clone())], PARTS_MAX),
        ("a place beyond all", vec![(u64::MAX, last.clone())], u64::MAX),
    ];
    for (what, sent, sequence) in cases {
        let (mut streams, ..) = setting();
        assert_eq!(send(&mut streams, sent), Err(PartError::OutOfPlace { sequence }), "{what}");
        assert!(streams.streams.is_empty(), "{what}");
    }
    let (mut streams, ..) = setting();
    let sent = [(0, first.clone()), (0, other)];
    assert_eq!(send(&mut streams, sent), Err(PartError::Conflict { sequence: 0 }));
    let end = StreamMessage::new(StreamId::new(Bytes::from_static(b"s")), 1, StreamContent::Fin);
    assert_eq!(streams.receive(peer(1), None, end), Err(PartError::OutOfPlace { sequence: 1 }));
}

#[test]
fn slices_longer_than_a_block_are_refused_as_soon_as_they_are() {
    let (mut streams, ..) = setting();
    let slice = |fill| Part::Data(vec![fill; BLOCK_BODY_BYTES_MAX / 2 + 1]);
    assert_eq!(send(&mut streams, [(1, slice(1))]), Ok(None));
    assert_eq!(send(&mut streams, [(2, slice(2))]), Err(PartError::TooLong));
    assert!(streams.streams.is_empty());
}

#[test]
fn only_the_bytes_that_the_named_id_binds_make_a_block() {
    let (height, wanted) = (Height::new(7), long_block(Height::new(7)));
    let with = |block: &Block, fin: BlockId| {
        let mut parts = cut(height, 2, PROPOSER, block);
        *parts.last_mut().expect("parts") = Part::Fin { block: fin };
        let (mut streams, ..) = setting();
        send(&mut streams, (0..).zip(parts))
    };
    let expected = BlockId::from_bytes([1; 32]);
    let refused = with(&wanted, expected);
    assert_eq!(refused, Err(PartError::OtherBlock { expected, got: wanted.id() }));
    // The same id with another cut: the header binds the cut, so this would poison the verdict on an
    // honest block.
    let forged = Block { cut: Cut::default(), ..wanted.clone() };
    assert_eq!(forged.id(), wanted.id());
    assert_eq!(with(&forged, wanted.id()), Err(BlockFormError::OtherCut.into()));
    let unsorted = Cut { points: wanted.cut.points.iter().rev().copied().collect() };
    let mut disordered = Block { cut: unsorted, ..wanted.clone() };
    disordered.header.cut_root = disordered.cut.root();
    assert!(matches!(with(&disordered, disordered.id()), Err(PartError::Form(BlockFormError::Cut(_)))));
    let elsewhere = block(Height::new(8));
    let (expected, got) = (height, Height::new(8));
    let refused = with(&elsewhere, elsewhere.id());
    assert_eq!(refused, Err(BlockFormError::OtherHeight { expected, got }.into()));
    let garbage =
        [(0, Part::Init { height, round: 2, proposer: PROPOSER }), (1, Part::Fin { block: wanted.id() })];
    let (mut streams, ..) = setting();
    assert!(matches!(send(&mut streams, garbage), Err(PartError::Form(BlockFormError::Decode(_)))));
}

#[test]
fn blocks_for_another_time_are_dropped_and_nobody_is_to_blame() {
    let current = Height::new(7);
    for (height, timely) in [(6, false), (7, true), (17, true), (18, false), (u64::MAX, false)] {
        let (mut streams, ..) = setting();
        let got = Height::new(height);
        let sent = send(&mut streams, [(0, Part::Init { height: got, round: 2, proposer: PROPOSER })]);
        let refused = PartError::OtherTime { current, got };
        assert!(refused.is_innocent());
        assert_eq!(sent, if timely { Ok(None) } else { Err(refused) }, "height {height}");
    }
}

#[test]
fn going_on_drops_what_is_stale() {
    let (mut streams, _, parts) = setting();
    let mut open = |stream, sequence, part| {
        assert_eq!(streams.receive(peer(2), Some(proposer()), message(stream, sequence, part)), Ok(None));
    };
    open(b"of 7", 0, parts[0].clone());
    open(b"of 8", 0, Part::Init { height: Height::new(8), round: 0, proposer: PROPOSER });
    open(b"unknown", 1, parts[1].clone());
    let mut left_at = |height| {
        streams.advance(Height::new(height), 0);
        streams.streams.iter().map(|stream| stream.id.to_bytes()).collect::<Vec<_>>()
    };
    assert_eq!(left_at(7).len(), 3);
    assert_eq!(left_at(8), [&b"of 8"[..], b"unknown"]);
    assert_eq!(left_at(9), [&b""[..]; 0]);
}

#[test]
fn streams_left_open_give_way_to_later_ones() {
    let (mut streams, block, parts) = setting();
    let name = |n: u64| StreamId::new(Bytes::copy_from_slice(&n.to_be_bytes()));
    let mut part = |neighbour, publisher, n, at: usize| {
        let message = StreamMessage::new(name(n), at as u64, StreamContent::Data(parts[at].clone()));
        streams.receive(neighbour, Some(publisher), message).map(|whole| whole.map(|w| w.block.id()))
    };
    // One publisher leaves streams open without end, another's goes through all the same.
    for at in 0..3 {
        assert_eq!(part(peer(2), proposer(), 1_000, at), Ok(None));
        for n in 0..100 {
            assert_eq!(part(peer(2), peer(3), n, at.max(1)), Ok(None));
        }
    }
    assert_eq!(part(peer(2), proposer(), 1_000, 3), Ok(Some(block.id())));
    let roster = streams.roster.clone();
    // One neighbour brings what many publish: its own share of the room is all it gets.
    let members: Vec<u32> = (10..60).collect();
    roster.admit(crate::consensus::tests::peers(&members));
    let mut streams = PartStreams::new(roster);
    let open = |streams: &mut PartStreams, neighbour, publisher, n| {
        let message = StreamMessage::new(name(n), 1, StreamContent::Data(parts[1].clone()));
        assert_eq!(streams.receive(neighbour, Some(peer(publisher)), message), Ok(None));
    };
    open(&mut streams, peer(9), 10, 1_000);
    members.iter().for_each(|&publisher| open(&mut streams, peer(1), publisher, 0));
    let brought_by = |who| streams.streams.iter().filter(|stream| stream.neighbour == who).count();
    assert_eq!((brought_by(peer(1)), brought_by(peer(9))), (STREAMS_PER_NEIGHBOUR_MAX, 1));
    for &publisher in &members {
        (0..10).for_each(|n| open(&mut streams, peer(60 + publisher), publisher, n));
    }
    assert_eq!(streams.streams.len(), STREAMS_MAX);
}
