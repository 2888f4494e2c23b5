//! Ports, names, restarts, and who is let in.

use std::time::Duration;

use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::ids::{MemberId, PublicKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::world::{World, brisk, holdings, report, seed_of, soon, until};
use crate::peers::bounds::Timing;
use crate::peers::{PeerAddress, Transport, contacts, is_address};
use crate::replicas::message::{PeerEvent, Request};

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_found() {
    let world = World::new();
    for transport in [Transport::Tcp, Transport::Quic] {
        let first = world.node_at(0, "127.0.0.1:0", transport, brisk()).await.expect("a free port");
        let taken = first.started.address.to_string();
        let second = world.node_at(1, &taken, transport, brisk()).await;
        assert_eq!(second.err().map(|error| error.rule()), Some("PEER-LISTEN"));
        first.stop().await;
        // QUIC's sockets are closed by a task of their own.
        soon(async { while world.node_at(1, &taken, transport, brisk()).await.is_err() {} }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_restarts_is_found_again() {
    let world = World::new();
    let (mut a, b) = world.pair().await;
    let port = b.started.address.to_string();
    let pending = a.ask(b.member, Request::Holdings(holdings(1)));
    let member = b.member;
    b.stop().await;
    // Down, and the ask came to nothing, in whichever order.
    let (mut is_down, mut failed) = (false, None);
    while !is_down || failed.is_none() {
        match a.next().await {
            PeerEvent::Down { .. } => is_down = true,
            PeerEvent::Response { ticket, response, .. } => {
                assert!(response.is_none());
                failed = Some(ticket);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(failed, Some(pending));
    let ticket = a.ask(member, Request::Holdings(holdings(2)));
    let (refused, response) = a.response().await;
    assert_eq!((refused, response.is_none()), (ticket, true), "nothing waits for a peer that is down");
    let mut b = world.node_at(1, &port, Transport::Tcp, brisk()).await.expect("its port is free");
    b.admit(&[&a]);
    a.until_up(&b).await;
    b.until_up(&a).await;
    a.greet(&mut b).await;
    b.greet(&mut a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_cut_off() {
    let world = World::new();
    let (mut a, mut b) = world.pair().await;
    let mut stranger = world.node(2).await;
    stranger.admit(&[&a]);
    until(|| a.metrics.refused.get() > 2).await;
    // It gets as far as its own end of the connection.
    assert!(stranger.started.events.is_empty());
    let ticket = stranger.ask(a.member, Request::Log { from: 0 });
    let (failed, response) = stranger.response().await;
    assert_eq!((failed, response.is_none()), (ticket, true));
    a.greet(&mut b).await;
    assert_eq!((a.metrics.connected.get(), a.started.events.is_empty()), (1, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_peers_can_be_replaced() {
    let world = World::new();
    let (mut a, mut b) = world.pair().await;
    a.admit(&[]);
    a.until_down(&b).await;
    b.until_down(&a).await;
    until(|| a.metrics.refused.get() > 0).await;
    a.admit(&[&b]);
    a.until_up(&b).await;
    b.until_up(&a).await;
    a.greet(&mut b).await;
    // The member goes on under another key: the node with the old one is out.
    let other = world.node_at(3, "127.0.0.1:0", Transport::Tcp, brisk()).await.expect("a port");
    let rotated = PeerAddress { member: b.member, ..other.contact() };
    a.started.peers.admit(vec![rotated]).expect("a sound list");
    other.admit(&[&a]);
    a.until_link(b.member, false).await;
    a.until_link(b.member, true).await;
    b.until_down(&a).await;
}

#[test]
fn lists_are_checked_before_anything_changes() {
    let public = |member| SecretKey::from_seed(&seed_of(member)).public();
    let peer = |member: u32, address: &str| PeerAddress {
        member: MemberId::new(member),
        transport: public(member),
        address: address.to_owned(),
    };
    let rule = |list: Vec<PeerAddress>| contacts(list, MemberId::new(0)).map_err(|error| error.rule());
    let sound = rule(vec![peer(0, "10.0.0.1:8442"), peer(1, "node.example:8442")]).expect("sound");
    assert_eq!(sound.iter().map(|contact| contact.member.get()).collect::<Vec<_>>(), [1]);
    assert_eq!(rule(vec![peer(1, "a:1"), peer(1, "b:1")]), Err("PEER-TWICE"));
    let same_key = PeerAddress { transport: public(1), ..peer(2, "b:1") };
    assert_eq!(rule(vec![peer(1, "a:1"), same_key]), Err("PEER-TWICE"));
    let no_key = PeerAddress { transport: PublicKey::from_bytes([2; 32]), ..peer(1, "a:1") };
    assert_eq!(rule(vec![no_key]), Err("PEER-KEY"));
    assert_eq!(rule(vec![peer(1, "a"); 2000]), Err("PEER-COUNT"));
    for text in ["10.0.0.1:1", "[::1]:8442", "node-1.example.org:65535"] {
        assert!(is_address(text), "{text}");
    }
    for text in
        ["10.0.0.1", ":8442", "a:0", "a:65536", "a b:1", "::1:80", "[::1:80", "/ip4/1.1.1.1/tcp/1", ""]
    {
        assert!(!is_address(text), "{text}");
        assert_eq!(rule(vec![peer(1, text)]), Err("PEER-ADDRESS"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_looked_up() {
    let world = World::new();
    let (mut a, b) = (world.node(0).await, world.node(1).await);
    let port = b.started.address.port();
    let by_name = PeerAddress { address: format!("localhost:{port}"), ..b.contact() };
    a.started.peers.admit(vec![by_name]).expect("a sound list");
    // Only a dials.
    let unreachable = PeerAddress { address: "127.0.0.1:1".into(), ..a.contact() };
    b.started.peers.admit(vec![unreachable]).expect("a sound list");
    a.until_up(&b).await;
}

/// Passes bytes on between a node and whoever connects, until it is told to fall silent.
async fn pass_on(listener: TcpListener, to: std::net::SocketAddr, open: watch::Receiver<bool>) {
    while let Ok((inward, _)) = listener.accept().await {
        let outward = TcpStream::connect(to).await.expect("the node listens");
        let (in_read, in_write) = inward.into_split();
        let (out_read, out_write) = outward.into_split();
        tokio::spawn(copy(in_read, out_write, open.clone()));
        tokio::spawn(copy(out_read, in_write, open.clone()));
    }
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut open: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if open.wait_for(|open| *open).await.is_err() {
            return;
        }
        match from.read(&mut buffer).await {
            Ok(count) if count > 0 => {
                if open.wait_for(|open| *open).await.is_err() || to.write_all(&buffer[..count]).await.is_err()
                {
                    return;
                }
            }
            _ => return,
        }
    }
}

/// The path dies without a word, with more on its way than the system buffers.
#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_a_connection_and_a_new_one_is_made() {
    let world = World::new();
    let timing = Timing {
        ping: Duration::from_millis(100),
        silence: Duration::from_millis(1_500),
        goodbye: Duration::from_millis(200),
        ..brisk()
    };
    let node = |member| world.node_at(member, "127.0.0.1:0", Transport::Tcp, timing);
    let (mut a, mut b) = (node(0).await.expect("a port"), node(1).await.expect("a port"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let between = listener.local_addr().expect("bound").to_string();
    let (gate, open) = watch::channel(true);
    tokio::spawn(pass_on(listener, b.started.address, open));
    let by_proxy = PeerAddress { address: between, ..b.contact() };
    a.started.peers.admit(vec![by_proxy]).expect("a sound list");
    let unreachable = PeerAddress { address: "127.0.0.1:1".into(), ..a.contact() };
    b.started.peers.admit(vec![unreachable]).expect("a sound list");
    a.until_up(&b).await;
    b.until_up(&a).await;
    a.greet(&mut b).await;
    gate.send_replace(false);
    let full: Vec<_> = (0..17).map(|seq| report(9, world.network, seq, 2_900)).collect();
    for _ in 0..20 {
        a.ask(b.member, Request::Push(full.clone()));
    }
    let (mut failed, mut is_down) = (0, false);
    while failed < 20 || !is_down {
        match a.next().await {
            PeerEvent::Down { .. } => is_down = true,
            PeerEvent::Response { response: None, .. } => failed += 1,
            other => panic!("{other:?}"),
        }
    }
    b.until_down(&a).await;
    gate.send_replace(true);
    a.until_up(&b).await;
    b.until_up(&a).await;
}
