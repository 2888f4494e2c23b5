//! Whoever is no member's node, or behaves like none, is cut off on both ports.

mod rogue;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use syngraph_config::key::Key;
use syngraph_protocol::ids::MemberId;
use syngraph_tests::cluster::Cluster;
use syngraph_tests::consortium::{ASTER, BIRCH, CEDAR, DAHLIA};
use syngraph_tests::load::deed;
use syngraph_tests::node::{Node, config};
use syngraph_tests::random::Random;
use syngraph_tests::scale::tell;
use syngraph_tests::signer::Signer;
use syngraph_tests::wait::{PATIENCE, until};

use rogue::{Rogue, Words};

/// Most memory, in bytes, that all rogues together may make a node take: what the peer port
/// promises for one member, and as much again for what allocators keep.
const GROWTH_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Connections of somebody who never says what he wants.
const IDLE_CONNECTIONS: usize = 300;
/// Streams on which a rogue speaks at the same time.
const STREAMS: usize = 12;

/// A node's ports for other nodes: for entries and for consensus.
fn ports(node: &Node) -> [SocketAddr; 2] {
    let config = config(node.dir());
    [config.peers.listen, config.consensus.listen]
}

/// What is spoken on the ports, and how nodes introduce themselves on the second.
struct Spoken {
    entries: String,
    sync: String,
    introduction: String,
}

fn spoken(cluster: &Cluster) -> Spoken {
    let network: String = cluster.consortium.network().to_string().chars().take(16).collect();
    let name = |what: &str| format!("/syngraph/{network}/{what}/v1");
    Spoken { entries: name("entries"), sync: name("sync"), introduction: name("consensus") }
}

/// Members' business goes on.
#[track_caller]
fn goes_on(cluster: &Cluster, aster: &mut Signer) {
    for _ in 0..4 {
        let next = aster.tip().next.get();
        cluster.node(ASTER).act(aster, deed(next));
    }
}

#[test]
fn a_stranger_is_cut_off_on_both_ports() {
    let mut cluster = Cluster::start();
    let mut aster = cluster.consortium.root(ASTER);
    let Spoken { entries, sync, introduction } = spoken(&cluster);
    let [for_entries, for_consensus] = ports(cluster.node(BIRCH));
    for (port, protocol, introduction) in [
        (for_entries, &entries, None),
        (for_consensus, &sync, Some("/rogue/v1")),
        (for_consensus, &sync, Some(introduction.as_str())),
        (for_consensus, &sync, None),
    ] {
        let stranger = Rogue::new([77; 32], protocol, introduction);
        // Again and again, which changes nothing.
        for times in 1..10 {
            stranger.connect(port);
            stranger.say(Words::Some(vec![0; 64]));
            until("the stranger is cut off", || (stranger.lost() >= times).then_some(()));
        }
        assert_eq!(stranger.answered(), 0);
        goes_on(&cluster, &mut aster);
    }
    assert!(cluster.node(BIRCH).metric("syngraph_peer_connections_refused_total") >= 1.0);
    cluster.until_alike();
    cluster.stop_all();
}

#[test]
fn connections_without_a_handshake_keep_nobody_out() {
    let mut cluster = Cluster::start();
    let mut aster = cluster.consortium.root(ASTER);
    let birch = cluster.node(BIRCH);
    let before = birch.resident_bytes();
    let mut idle = Vec::new();
    for port in ports(birch) {
        idle.extend((0..IDLE_CONNECTIONS).filter_map(|_| TcpStream::connect(port).ok()));
        garbage_before_any_handshake(port);
    }
    goes_on(&cluster, &mut aster);
    // A member whose node starts anew comes in all the same.
    cluster.kill(&[DAHLIA]);
    cluster.restart(&[DAHLIA]);
    let height = cluster.node(ASTER).status().height;
    cluster.until_height(DAHLIA, height);
    goes_on(&cluster, &mut aster);
    cluster.until_alike();
    stays_small(cluster.node(BIRCH), before);
    drop(idle);
    cluster.stop_all();
}

/// What no libp2p node says first.
fn garbage_before_any_handshake(port: SocketAddr) {
    let mut random = Random::new(51);
    for len in [1, 100, 65_536, 4 * 1024 * 1024] {
        let Ok(mut stream) = TcpStream::connect(port) else { continue };
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout above 0");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above 0");
        // The node closes in the middle of it, or waits for more.
        if stream.write_all(&random.bytes(len)).is_ok() && stream.shutdown(Shutdown::Write).is_ok() {
            let mut answer = Vec::new();
            stream.take(1024 * 1024).read_to_end(&mut answer).ok();
            assert!(answer.len() < 4_096, "{} bytes for nothing", answer.len());
        }
    }
}

#[track_caller]
fn stays_small(node: &Node, before: Option<u64>) {
    let (Some(before), Some(after)) = (before, node.resident_bytes()) else { return };
    let grown = after.saturating_sub(before);
    tell("MiB that a node under attack has grown by", grown / 1024 / 1024);
    assert!(grown <= GROWTH_BYTES_MAX, "from {before} to {after} bytes");
}

#[test]
fn a_member_that_sends_garbage_is_cut_off_and_comes_back_when_it_behaves() {
    let mut cluster = Cluster::start();
    let mut aster = cluster.consortium.root(ASTER);
    cluster.stop(&[DAHLIA]);
    let Spoken { entries, .. } = spoken(&cluster);
    // Whoever is cut off is kept away for a while, by each node for itself.
    for ((what, words), victim) in attacks().into_iter().zip([ASTER, BIRCH, CEDAR].into_iter().cycle()) {
        let before = cluster.node(victim).resident_bytes();
        let rogue = Rogue::new(transport_seed(&cluster, DAHLIA), &entries, None);
        attack(cluster.node(victim), what, &words, &rogue);
        goes_on(&cluster, &mut aster);
        stays_small(cluster.node(victim), before);
    }
    cluster.restart(&[DAHLIA]);
    goes_on(&cluster, &mut aster);
    cluster.until_alike();
    // The honest node is let in again.
    for victim in [ASTER, BIRCH, CEDAR] {
        until("all members' nodes are connected", || {
            (cluster.node(victim).metric("syngraph_peers_connected") >= 3.0).then_some(())
        });
    }
    cluster.stop_all();
}

/// Speaks on many streams until the node has had enough.
#[track_caller]
fn attack(victim: &Node, what: &str, words: &Words, rogue: &Rogue) {
    let cut_off = || victim.metric("syngraph_peers_cut_off_total");
    let (before, [port, _]) = (cut_off(), ports(victim));
    let mut tried = 0;
    until(&format!("whoever sends {what} is cut off"), || {
        if rogue.lost() >= tried {
            rogue.connect(port);
            (0..STREAMS).for_each(|_| rogue.say(words.clone()));
            tried += 1;
        }
        (cut_off() > before).then_some(())
    });
    until("its connection is closed", || (rogue.lost() >= 1).then_some(()));
    assert_eq!(rogue.answered(), 0, "{what} has no answer");
}

/// What no honest node sends on the peer port.
fn attacks() -> Vec<(&'static str, Words)> {
    let mut random = Random::new(53);
    let framed = |bytes: Vec<u8>| {
        let len = u32::try_from(bytes.len()).expect("short");
        [&len.to_be_bytes()[..], &bytes].concat()
    };
    vec![
        ("garbage", Words::Some(framed(random.bytes(500)))),
        ("a huge frame", Words::Endless(vec![0xff; 4])),
        ("an endless stream", Words::Endless(framed(vec![3, 0]))),
        ("no message", Words::Some(framed(vec![0xff; 64]))),
        ("a long frame without an end", Words::Endless((1024_u32 * 1024).to_be_bytes().to_vec())),
    ]
}

fn transport_seed(cluster: &Cluster, member: MemberId) -> [u8; 32] {
    let key = Key::load(&cluster.consortium.key_file(member, "transport")).expect("a key of a founder");
    key.secret().to_seed()
}

#[test]
fn a_member_that_floods_the_consensus_port_stops_nobody() {
    let mut cluster = Cluster::start();
    let mut aster = cluster.consortium.root(ASTER);
    cluster.stop(&[DAHLIA]);
    let before = [BIRCH, CEDAR].map(|member| cluster.node(member).resident_bytes());
    let Spoken { sync, introduction, .. } = spoken(&cluster);
    for (protocol, words) in [sync.as_str(), "/meshsub/1.1.0"].into_iter().flat_map(floods) {
        let rogue = Rogue::new(transport_seed(&cluster, DAHLIA), protocol, Some(&introduction));
        let [_, port] = ports(cluster.node(BIRCH));
        rogue.connect(port);
        (0..STREAMS).for_each(|_| rogue.say(words.clone()));
        goes_on(&cluster, &mut aster);
        until("whoever floods is cut off", || (rogue.lost() >= 1).then_some(()));
        tell("bytes that the consensus port took of a flood", rogue.written());
    }
    for (member, before) in [BIRCH, CEDAR].into_iter().zip(before) {
        stays_small(cluster.node(member), before);
    }
    cluster.restart(&[DAHLIA]);
    goes_on(&cluster, &mut aster);
    cluster.until_alike();
    cluster.never_differed();
    cluster.stop_all();
}

/// What no honest node sends on a protocol of the consensus port. Each comes in several
/// streams at once, which no honest node opens either.
fn floods(protocol: &str) -> impl Iterator<Item = (&str, Words)> {
    let floods = [
        Words::Some(vec![0xff; 4_096]),
        Words::Endless(vec![0xff, 0xff, 0xff, 0xff, 0x0f]),
        Words::Endless(Vec::new()),
        Words::Halting(vec![0x80, 0x80, 0x40]),
    ];
    floods.into_iter().map(move |words| (protocol, words))
}
