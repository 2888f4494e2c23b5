//! Members that send what no node sends: cut off, kept away, without harm to others.

use std::time::Duration;

use syngraph_protocol::codec;
use syngraph_protocol::ids::NetworkId;

use super::rogue::{Rogue, Words};
use super::world::{Node, World, brisk, holdings, report};
use crate::peers::Transport;
use crate::peers::bounds::{REQUEST_BYTES_MAX, REQUESTS_PER_PEER_MAX, RESPONSE_BYTES_MAX, Timing};
use crate::peers::network::protocol;
use crate::peers::wire;
use crate::replicas::message::{Gap, PeerEvent, Request, Response};

/// A frame around bytes.
fn framed(body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("small");
    [&len.to_be_bytes(), body].concat()
}

fn pushed(world: &World) -> Vec<u8> {
    let push = Request::Push(vec![report(9, world.network, 0, 3)]);
    wire::request_bytes(&push).expect("small")
}

/// Every kind of words that a node does not say, and the rule that each breaks.
fn offences(world: &World) -> Vec<(&'static str, Words)> {
    let good = pushed(world);
    let mut forged = good.clone();
    // The last byte of the last row's quantity is signed for through the body's hash.
    *forged.last_mut().expect("not empty") ^= 1;
    let mut unsigned = good.clone();
    let signature = *report(9, world.network, 0, 3).entry().signature.as_bytes();
    let at = unsigned.windows(64).position(|window| window == signature).expect("the signature");
    unsigned[at] ^= 1;
    let elsewhere = Request::Push(vec![report(9, NetworkId::from_bytes([5; 32]), 0, 3)]);
    let elsewhere = wire::request_bytes(&elsewhere).expect("small");
    let gap = Gap {
        journal: report(9, world.network, 0, 1).head().journal,
        from: syngraph_protocol::ids::Seq::new(2),
        to: syngraph_protocol::ids::Seq::new(1),
        last: report(9, world.network, 0, 1).id(),
    };
    let backwards = wire::request_bytes(&Request::Want(vec![gap])).expect("small");
    let huge = u32::try_from(REQUEST_BYTES_MAX + 1).expect("small").to_be_bytes().to_vec();
    // Want, with more runs than may be, each of them the shortest there is.
    let many = [&[2, 251][..], &1025_u16.to_le_bytes(), &[0; 1025 * 66]].concat();
    let hollow = [&[0, 252][..], &1_000_000_u32.to_le_bytes(), &[0; 1_000_000]].concat();
    vec![
        ("ENC-MALFORMED", Words::Some(framed(b"\xffjunk"))),
        ("ENC-MALFORMED", Words::Some(framed(&hollow))),
        ("ENC-NOT-CANONICAL", Words::Some(framed(&[&good[..], &[0]].concat()))),
        ("ENTRY-BODY-HASH", Words::Some(framed(&forged))),
        ("SIG-INVALID", Words::Some(framed(&unsigned))),
        ("ENTRY-NETWORK", Words::Some(framed(&elsewhere))),
        ("PEER-GAP", Words::Some(framed(&backwards))),
        ("PEER-TOO-MUCH", Words::Some(framed(&many))),
        ("PEER-FRAME-LENGTH", Words::Some(huge.clone())),
        ("PEER-FRAME-LENGTH", Words::Endless(u32::MAX.to_be_bytes().to_vec())),
        ("PEER-FRAME-TRAILING", Words::Endless(framed(&good))),
    ]
}

/// A node with an honest peer and a rogue that is about to connect.
async fn beset(world: &World, timing: Timing, answer: Words) -> (Node, Node, Rogue) {
    let node = |member| world.node_at(member, "127.0.0.1:0", Transport::Tcp, timing);
    let (mut a, mut b) = (node(0).await.expect("a port"), node(1).await.expect("a port"));
    let rogue = Rogue::new(2, protocol(world.network), answer);
    a.started.peers.admit(vec![b.contact(), rogue.contact.clone()]).expect("a sound list");
    b.admit(&[&a]);
    a.until_up(&b).await;
    b.until_up(&a).await;
    rogue.connect(&a);
    a.until_link(rogue.contact.member, true).await;
    (a, b, rogue)
}

async fn is_cut_off(rule: &'static str, words: Words, timing: Timing) {
    let world = World::new();
    let (mut a, mut b, mut rogue) = beset(&world, timing, Words::Some(Vec::new())).await;
    rogue.say(&a, words);
    // Nothing but the end of the link reaches the core.
    match a.next().await {
        PeerEvent::Down { member } => assert_eq!(member, rogue.contact.member),
        other => panic!("{rule}: {other:?}"),
    }
    rogue.until_closed(1).await;
    assert_eq!(a.metrics.cut_offs(rule), 1, "{rule}");
    assert_eq!(a.metrics.bytes_held.get(), 0, "{rule}");
    // It is kept away for a while, and others notice nothing.
    rogue.connect(&a);
    rogue.until_closed(2).await;
    assert!(a.metrics.refused.get() > 0);
    a.greet(&mut b).await;
    b.greet(&mut a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_what_no_node_sends_is_cut_off() {
    let world = World::new();
    let timing = Timing { away: (Duration::from_secs(60), Duration::from_secs(60)), ..brisk() };
    for (rule, words) in offences(&world) {
        is_cut_off(rule, words, timing).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_never_ends_a_frame_is_cut_off() {
    let world = World::new();
    let away = Duration::from_secs(60);
    let timing = Timing { response: Duration::from_millis(200), away: (away, away), ..brisk() };
    let begun = framed(&pushed(&world));
    let words = Words::Halting(begun[..begun.len() - 1].to_vec());
    is_cut_off("PEER-FRAME-SLOW", words, timing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offender_may_come_back_after_its_time() {
    let world = World::new();
    let (mut a, mut b, mut rogue) = beset(&world, brisk(), Words::Some(Vec::new())).await;
    rogue.say(&a, Words::Some(framed(b"\xff")));
    a.until_link(rogue.contact.member, false).await;
    // It tries until it is let in, to no avail at first.
    let mut closed = 1;
    loop {
        rogue.until_closed(closed).await;
        rogue.connect(&a);
        tokio::select! {
            () = rogue.until_closed(closed + 1) => closed += 1,
            event = a.next() => match event {
                PeerEvent::Up { member } => break assert_eq!(member, rogue.contact.member),
                other => panic!("{other:?}"),
            },
        }
    }
    assert!(closed > 1, "it was kept away");
    assert_eq!(a.metrics.cut_offs("ENC-MALFORMED"), 1);
    a.greet(&mut b).await;
}

/// Answers are checked like requests: the ask fails, the rest of them too, the peer is gone.
#[tokio::test(flavor = "multi_thread")]
async fn bad_answers_fail_their_asks_and_end_the_link() {
    let world = World::new();
    let entries = Response::Entries(vec![report(9, world.network, 0, 1)]);
    let entries = wire::response_bytes(&entries).expect("small");
    let misfit = wire::response_bytes(&Response::Taken).expect("small");
    let huge = u32::try_from(RESPONSE_BYTES_MAX + 1).expect("small").to_be_bytes().to_vec();
    let mut forged = entries.clone();
    *forged.last_mut().expect("not empty") ^= 1;
    let fetch = || Request::Log { from: 0 };
    let tell = || Request::Holdings(holdings(0));
    let cases = [
        ("PEER-ANSWER", fetch(), framed(&misfit)),
        ("PEER-ANSWER", tell(), framed(&entries)),
        ("ENTRY-BODY-HASH", fetch(), framed(&forged)),
        ("PEER-FRAME-LENGTH", fetch(), huge),
        ("ENC-MALFORMED", tell(), framed(&codec::encode(&77_u64))),
    ];
    for (rule, request, answer) in cases {
        let away = Duration::from_secs(60);
        let timing = Timing { away: (away, away), ..brisk() };
        let (mut a, mut b, mut rogue) = beset(&world, timing, Words::Some(answer)).await;
        let asks: Vec<_> = (0..9).map(|_| a.ask(rogue.contact.member, request.clone())).collect();
        let (mut failed, mut is_down) = (Vec::new(), false);
        while failed.len() < asks.len() || !is_down {
            match a.next().await {
                PeerEvent::Response { ticket, response: None, .. } => failed.push(ticket),
                PeerEvent::Down { .. } => is_down = true,
                other => panic!("{rule}: {other:?}"),
            }
        }
        failed.sort_unstable();
        assert_eq!(failed, asks, "{rule}");
        rogue.until_closed(1).await;
        assert_eq!((a.metrics.cut_offs(rule), a.metrics.bytes_held.get()), (1, 0), "{rule}");
        a.greet(&mut b).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_network_is_cut_off() {
    let world = World::new();
    let mut a = world.node(0).await;
    let other = protocol(NetworkId::from_bytes([5; 32]));
    let mut rogue = Rogue::new(2, other, Words::Some(Vec::new()));
    a.started.peers.admit(vec![rogue.contact.clone()]).expect("a sound list");
    rogue.connect(&a);
    a.until_link(rogue.contact.member, true).await;
    let ticket = a.ask(rogue.contact.member, Request::Log { from: 0 });
    rogue.until_closed(1).await;
    let mut failed = None;
    while failed.is_none() {
        if let PeerEvent::Response { ticket, response: None, .. } = a.next().await {
            failed = Some(ticket);
        }
    }
    assert_eq!((failed, a.metrics.cut_offs("PEER-PROTOCOL")), (Some(ticket), 1));
}

/// More requests than may be, all at once: what is held stays within its bound, and whoever
/// keeps to the rules is served.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_sound_requests_is_held_within_bounds() {
    let world = World::new();
    let (mut a, mut b, rogue) = beset(&world, brisk(), Words::Some(Vec::new())).await;
    let push = Request::Push((0..17).map(|seq| report(9, world.network, seq, 2_900)).collect());
    let words = Words::Some(framed(&wire::request_bytes(&push).expect("a megabyte")));
    // More streams than a connection may have would end it.
    for _ in 0..20 {
        rogue.say(&a, words.clone());
    }
    b.ask(a.member, Request::Holdings(holdings(0)));
    // The rogue's requests, one that is being decoded, and the little one of b.
    let bound = (REQUEST_BYTES_MAX * (REQUESTS_PER_PEER_MAX + 1)) as i64 + 100;
    loop {
        assert!(a.metrics.bytes_held.get() <= bound);
        let (from, ticket, _) = a.request().await;
        a.answer(from, ticket, Response::Taken);
        if from == b.member {
            break;
        }
    }
    assert!(matches!(b.response().await.1, Some(Response::Taken)));
}
