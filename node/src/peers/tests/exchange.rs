//! Every message between nodes that keep to the rules.

use syngraph_protocol::block::CutPoint;
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{EntryId, MemberId, PublicKey, Seq};

use super::world::{Node, World, brisk, holdings, report, until};
use crate::peers::Transport;
use crate::peers::bounds::{
    ASKS_IN_FLIGHT_MAX, ASKS_WAITING_MAX, EVENTS_MAX, LOG_BYTES_MAX, REQUESTS_PER_PEER_MAX,
};
use crate::replicas::message::{
    ANSWER_BYTES_MAX, Gap, Holdings, POINTS_MAX, PUSH_BYTES_MAX, PeerEvent, Request, Response,
};

fn ids(entries: &[VerifiedEntry]) -> Vec<EntryId> {
    entries.iter().map(VerifiedEntry::id).collect()
}

/// Entries of about this many bytes in all, and not more.
fn entries(world: &World, bytes_max: usize) -> Vec<VerifiedEntry> {
    let (mut entries, mut bytes) = (Vec::new(), 0);
    for seq in 0.. {
        let entry = report(9, world.network, seq, 2_900);
        bytes += entry.bytes().len();
        if bytes > bytes_max {
            break;
        }
        entries.push(entry);
    }
    entries
}

async fn push(a: &mut Node, b: &mut Node, entries: Vec<VerifiedEntry>) {
    let sent = ids(&entries);
    let ticket = a.ask(b.member, Request::Push(entries));
    let (from, asked, request) = b.request().await;
    let Request::Push(got) = request else { panic!("{request:?}") };
    assert_eq!((from, ids(&got)), (a.member, sent));
    b.answer(from, asked, Response::Later);
    let (answered, response) = a.response().await;
    assert_eq!(answered, ticket);
    assert!(matches!(response, Some(Response::Later)));
}

async fn announce(a: &mut Node, b: &mut Node) {
    let point = |byte: u16| CutPoint {
        journal: PublicKey::from_bytes([byte.to_be_bytes()[1]; 32]),
        seq: Seq::new(byte.into()),
        entry: EntryId::from_bytes([7; 32]),
    };
    let points = (0..u16::try_from(POINTS_MAX).expect("a thousand")).map(point).collect();
    let announced = Holdings { points, ..holdings(5) };
    a.ask(b.member, Request::Holdings(announced.clone()));
    let (from, asked, request) = b.request().await;
    assert!(matches!(request, Request::Holdings(got) if got == announced));
    b.answer(from, asked, Response::Taken);
    assert!(matches!(a.response().await.1, Some(Response::Taken)));
}

async fn fetch(a: &mut Node, b: &mut Node, entries: Vec<VerifiedEntry>) {
    let journal = entries[0].head().journal;
    let gap = Gap { journal, from: Seq::new(0), to: Seq::new(1), last: entries[0].id() };
    a.ask(b.member, Request::Want(vec![gap.clone()]));
    let (from, asked, request) = b.request().await;
    assert!(matches!(request, Request::Want(gaps) if gaps == [gap]));
    b.answer(from, asked, Response::Entries(entries.clone()));
    let (_, response) = a.response().await;
    let Some(Response::Entries(got)) = response else { panic!("{response:?}") };
    assert_eq!(ids(&got), ids(&entries));
}

async fn every_message(transport: Transport, answer_bytes: usize) {
    let world = World::new();
    let node = |member| world.node_at(member, "127.0.0.1:0", transport, brisk());
    let (mut a, mut b) = (node(0).await.expect("a port"), node(1).await.expect("a port"));
    a.admit(&[&b]);
    b.admit(&[&a]);
    a.until_up(&b).await;
    b.until_up(&a).await;
    push(&mut a, &mut b, entries(&world, PUSH_BYTES_MAX)).await;
    push(&mut b, &mut a, vec![report(9, world.network, 0, 1)]).await;
    announce(&mut a, &mut b).await;
    fetch(&mut b, &mut a, entries(&world, answer_bytes)).await;
    assert_eq!((a.metrics.bytes_held.get(), b.metrics.bytes_held.get()), (0, 0));
    assert_eq!(a.metrics.bytes_sent.get(), b.metrics.bytes_received.get());
    assert_eq!(a.metrics.entries_sent.get(), b.metrics.entries_received.get());
    assert_eq!((a.metrics.connected.get(), b.metrics.connected.get()), (1, 1));
    a.stop().await;
    b.until_link(MemberId::new(0), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_exchanged_over_tcp() {
    every_message(Transport::Tcp, ANSWER_BYTES_MAX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_exchanged_over_quic() {
    every_message(Transport::Quic, PUSH_BYTES_MAX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_answered_without_the_core() {
    let world = World::with_log(75);
    let bytes: usize = world.sealed.iter().map(|entry| entry.bytes().len()).sum();
    assert!(bytes > LOG_BYTES_MAX, "more than one answer takes");
    let (mut a, b) = world.pair().await;
    let mut got = Vec::new();
    loop {
        let from = u64::try_from(got.len()).expect("few");
        a.ask(b.member, Request::Log { from });
        let (_, response) = a.response().await;
        let Some(Response::Entries(entries)) = response else { panic!("{response:?}") };
        if entries.is_empty() {
            break;
        }
        assert!(entries.iter().map(|entry| entry.bytes().len()).sum::<usize>() <= LOG_BYTES_MAX);
        got.extend(ids(&entries));
    }
    assert_eq!(got, ids(&world.sealed));
    a.ask(b.member, Request::Log { from: u64::MAX });
    assert!(matches!(a.response().await.1, Some(Response::Entries(entries)) if entries.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn asks_beyond_the_bound_fail_at_once() {
    let world = World::new();
    let (mut a, mut b) = world.pair().await;
    let room = ASKS_IN_FLIGHT_MAX + ASKS_WAITING_MAX;
    let tickets: Vec<_> =
        (0..room + 3).map(|n| a.ask(b.member, Request::Holdings(holdings(n as u64)))).collect();
    for beyond in &tickets[room..] {
        let (ticket, response) = a.response().await;
        assert_eq!((ticket, response.is_none()), (*beyond, true));
    }
    let mut answered = Vec::new();
    for _ in 0..room {
        let (from, ticket, _) = b.request().await;
        b.answer(from, ticket, Response::Taken);
        let (ticket, response) = a.response().await;
        assert!(matches!(response, Some(Response::Taken)));
        answered.push(ticket);
    }
    answered.sort_unstable();
    assert_eq!(answered, tickets[..room], "each ask has one outcome");
    a.greet(&mut b).await;
    // Nobody is there: that is an outcome as well.
    let ticket = a.ask(MemberId::new(77), Request::Log { from: 0 });
    let (failed, response) = a.response().await;
    assert_eq!((failed, response.is_none()), (ticket, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_not_sent() {
    let world = World::new();
    let (mut a, mut b) = world.pair().await;
    let ticket = a.ask(b.member, Request::Push(entries(&world, PUSH_BYTES_MAX + 65_535)));
    let (failed, response) = a.response().await;
    assert_eq!((failed, response.is_none()), (ticket, true));
    a.greet(&mut b).await;
}

/// The core of `b` takes nothing for a while, with its channel full.
#[tokio::test(flavor = "multi_thread")]
async fn a_core_that_takes_nothing_stalls_its_peers_and_loses_nothing() {
    let world = World::new();
    let (mut a, mut b) = world.pair().await;
    for _ in 0..EVENTS_MAX {
        b.ask(MemberId::new(77), Request::Log { from: 0 });
    }
    until(|| b.started.events.len() == EVENTS_MAX).await;
    let pushed = entries(&world, PUSH_BYTES_MAX / 8);
    let tickets: Vec<_> = (0..ASKS_IN_FLIGHT_MAX + ASKS_WAITING_MAX)
        .map(|_| a.ask(b.member, Request::Push(pushed.clone())))
        .collect();
    // As much as may come has come, and is held.
    let one: usize = pushed.iter().map(|entry| entry.bytes().len()).sum();
    let full = i64::try_from(one * REQUESTS_PER_PEER_MAX).expect("half a megabyte");
    until(|| b.metrics.bytes_held.get() >= full).await;
    assert!(b.metrics.bytes_held.get() < full + full / 4, "and no fifth");
    assert!(a.started.events.is_empty(), "nothing was answered");
    for _ in 0..EVENTS_MAX {
        assert!(b.response().await.1.is_none());
    }
    let mut done = Vec::new();
    for _ in &tickets {
        let (from, ticket, request) = b.request().await;
        assert!(matches!(request, Request::Push(got) if got.len() == pushed.len()));
        b.answer(from, ticket, Response::Taken);
        let (ticket, response) = a.response().await;
        assert!(matches!(response, Some(Response::Taken)), "{response:?}");
        done.push(ticket);
    }
    done.sort_unstable();
    assert_eq!(done, tickets);
    assert_eq!(b.metrics.bytes_held.get(), 0);
}

/// Four members, each pair dialling each other at the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn all_who_dial_each_other_meet_once() {
    let world = World::new();
    let mut nodes = Vec::new();
    for member in 0..4 {
        nodes.push(world.node(member).await);
    }
    let all: Vec<_> = nodes.iter().map(Node::contact).collect();
    for node in &nodes {
        node.started.peers.admit(all.clone()).expect("a sound list");
    }
    for node in &mut nodes {
        let mut up = Vec::new();
        for _ in 0..3 {
            match node.next().await {
                PeerEvent::Up { member } => up.push(member.get()),
                other => panic!("{other:?}"),
            }
        }
        up.push(node.member.get());
        up.sort_unstable();
        assert_eq!(up, [0, 1, 2, 3], "itself is passed over, everybody else is up once");
    }
    let [a, b, c, d] = &mut nodes[..] else { panic!("four") };
    a.greet(b).await;
    b.greet(c).await;
    c.greet(d).await;
    d.greet(a).await;
    assert!(nodes.iter().all(|node| node.metrics.connected.get() == 3 && node.started.events.is_empty()));
}
