//! Engines that really run, and the seams between them and the application.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use arc_malachitebft_app::types::{Keypair, PeerId};
use syngraph_protocol::block::{BLOCK_VERSION, Block, Cut, Header, NO_BLOCK};
use syngraph_protocol::certificate::{Certificate, MemberSet, Voter};
use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::ids::{BlockId, Hash, Height, MemberId, NetworkId};
use syngraph_protocol::time::UtcMs;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;

pub(super) const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);
/// Far longer than anything here takes: only a hang reaches it.
const HANG: Duration = Duration::from_secs(120);

pub(super) fn key(member: u32) -> SecretKey {
    SecretKey::from_seed(&[member as u8 + 1; 32])
}

pub(super) fn voters(count: u32) -> MemberSet {
    let voter = |m| Voter { member: MemberId::new(m), key: key(m).public(), power: 1 };
    MemberSet::new((0..count).map(voter).collect())
}

fn transport_seed(member: u32) -> [u8; 32] {
    [member as u8 + 101; 32]
}

pub(super) fn peer(member: u32) -> PeerId {
    let keypair = Keypair::ed25519_from_bytes(transport_seed(member)).expect("32 bytes are a seed");
    PeerId::from_bytes(&keypair.public().to_peer_id().to_bytes()).expect("an id of a key")
}

/// A block that is in form and says nothing.
pub(super) fn block(height: Height) -> Block {
    let cut = Cut::default();
    let nothing = Hash::from_bytes([0; 32]);
    let header = Header {
        version: BLOCK_VERSION,
        network: NETWORK,
        height,
        time: UtcMs::from_ms(0),
        parent: NO_BLOCK,
        built_by: MemberId::new(0),
        cut_root: cut.root(),
        log_size: 0,
        log_root: nothing,
        outcomes_root: nothing,
        state_root: nothing,
        members_hash: nothing,
        next_members_hash: nothing,
        rules_version: 1,
    };
    Block { header, cut }
}

fn settings(member: u32, dir: &Path, listen: &str, peers: Vec<String>) -> Settings {
    Settings {
        moniker: format!("test-{member}"),
        listen: listen.to_owned(),
        peers,
        propose_timeout: Duration::from_millis(1_000),
        vote_timeout: Duration::from_millis(300),
        wal: dir.join(format!("wal-{member}")),
    }
}

fn validator(member: u32) -> Identity {
    let (network, transport_seed) = (NETWORK, transport_seed(member));
    Identity { member: MemberId::new(member), network, validator: Some(key(member)), transport_seed }
}

/// As a restored node runs: its member is a voter, and it does not vote.
fn follower(member: u32) -> Identity {
    Identity { validator: None, ..validator(member) }
}

/// The least application: builds a block when asked, finds every block of its parent valid, decides up to
/// a height.
struct Application {
    member: MemberId,
    voters: MemberSet,
    engine: Engine,
    last: Height,
    blocks: BTreeMap<BlockId, Block>,
    chain: Vec<(Block, Certificate)>,
    synced: usize,
    /// Tells every decided height.
    decided: mpsc::UnboundedSender<(MemberId, Height)>,
}

impl Application {
    fn start(&self) -> Start {
        let height = self.height().next().expect("a low height");
        Start { height, voters: self.voters.clone() }
    }

    fn height(&self) -> Height {
        self.chain.last().map_or(Height::GENESIS, |(block, _)| block.header.height)
    }

    fn build(&mut self, height: Height) -> Block {
        let parent = self.chain.last().map_or(NO_BLOCK, |(block, _)| block.id());
        let mut block = block(height);
        block.header.parent = parent;
        block.header.built_by = self.member;
        self.blocks.insert(block.id(), block.clone());
        block
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Ready { reply } => reply.send(self.start()),
            Event::RoundStarted { reply, .. } => reply.send(Vec::new()),
            Event::Build { height, round, reply } => {
                let block = self.build(height);
                reply.send(block.id());
                self.engine.publish(height, round, self.member, &block);
            }
            Event::Restream { height, round, proposer, block } => {
                if let Some(block) = self.blocks.get(&block) {
                    self.engine.publish(height, round, proposer, block);
                }
            }
            Event::Proposal { height, round, proposer, block } => {
                let id = block.id();
                self.blocks.insert(id, *block);
                self.engine.judged(Judged { height, round, proposer, block: id, valid: true });
            }
            Event::PeerStarted { .. } => {}
            Event::Decided { certificate, reply } => {
                let block =
                    self.blocks.get(&certificate.block).expect("decided only what was judged").clone();
                assert_eq!(certificate.height.since(self.height()), Some(1), "no height is left out");
                self.decided.send((self.member, certificate.height)).expect("the test listens");
                self.chain.push((block, certificate));
                reply.send(());
            }
            Event::Finalized { evidence, reply } => {
                assert_eq!(evidence, []);
                if self.height() < self.last {
                    reply.send(self.start());
                }
            }
            Event::HistoryMin { reply } => reply.send(Height::new(1)),
            Event::DecidedRange { from, to, reply } => {
                let wanted = |(block, _): &&(Block, Certificate)| (from..=to).contains(&block.header.height);
                reply.send(self.chain.iter().filter(wanted).cloned().collect());
            }
            Event::Synced { block, reply } => {
                self.synced += 1;
                self.blocks.insert(block.id(), *block);
                reply.send(SyncVerdict::Valid);
            }
        }
    }
}

/// Starts an engine and an application, which ends when its engine has stopped.
async fn run(
    identity: Identity,
    settings: Settings,
    voters: MemberSet,
    last: u64,
    decided: mpsc::UnboundedSender<(MemberId, Height)>,
) -> (Engine, JoinHandle<Application>) {
    let member = identity.member;
    let Started { engine, mut events, ended } = start(settings, identity).await.expect("starts");
    let mut application = Application {
        member,
        voters,
        engine: engine.clone(),
        last: Height::new(last),
        blocks: BTreeMap::new(),
        chain: Vec::new(),
        synced: 0,
        decided,
    };
    let task = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            application.handle(event);
        }
        ended.await.expect("the supervisor does not panic");
        application
    });
    (engine, task)
}

async fn wait_for(decided: &mut mpsc::UnboundedReceiver<(MemberId, Height)>, height: u64, nodes: usize) {
    let wanted = Height::new(height);
    for _ in 0..nodes {
        let next = async { while decided.recv().await.expect("applications run").1 != wanted {} };
        tokio::time::timeout(HANG, next).await.expect("decides");
    }
}

async fn stop(engine: Engine, application: JoinHandle<Application>) -> Application {
    assert!(!engine.is_halted());
    engine.stop().await;
    tokio::time::timeout(HANG, application).await.expect("stops").expect("does not panic")
}

/// Every certificate proves its block to somebody who knows nothing but the voters.
fn verify_chain(chain: &[(Block, Certificate)], voters: &MemberSet, length: usize) {
    assert_eq!(chain.len(), length);
    let mut parent = NO_BLOCK;
    for (height, (block, certificate)) in (1..).zip(chain) {
        assert_eq!(block.header.parent, parent);
        parent = block.id();
        let height = Height::new(height);
        assert_eq!(certificate.verify(NETWORK, height, parent, voters), Ok(()));
        let elsewhere = NetworkId::from_bytes([2; 32]);
        let refused = certificate.verify(elsewhere, height, parent, voters).map_err(|e| e.rule());
        assert_eq!(refused, Err("CERT-SIGNATURE"));
    }
}

#[tokio::test]
async fn one_validator_decides_alone_and_its_certificates_verify() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = settings(0, dir.path(), "/ip4/127.0.0.1/tcp/0", Vec::new());
    let (sender, mut decided) = mpsc::unbounded_channel();
    let (engine, application) = run(validator(0), settings, voters(1), 3, sender).await;
    wait_for(&mut decided, 3, 1).await;
    let application = stop(engine, application).await;
    verify_chain(&application.chain, &voters(1), 3);
}

/// Ports that were free a moment ago.
fn free_ports(count: usize) -> Vec<u16> {
    let bind = |_| TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let listeners: Vec<_> = (0..count).map(bind).collect();
    listeners.iter().map(|l| l.local_addr().expect("bound").port()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_of_four_decide_and_the_fourth_follows() {
    let dir = tempfile::tempdir().expect("a directory");
    let ports = free_ports(4);
    let address = |m: u32| format!("/ip4/127.0.0.1/tcp/{}", ports[m as usize]);
    let settings = |m: u32| {
        let others = (0..4).filter(|&other| other != m);
        let peers = others.map(|other| format!("{}/p2p/{}", address(other), peer(other))).collect();
        settings(m, dir.path(), &address(m), peers)
    };
    let (sender, mut decided) = mpsc::unbounded_channel();
    let mut nodes = Vec::new();
    for member in 0..3 {
        nodes.push(run(validator(member), settings(member), voters(4), 4, sender.clone()).await);
    }
    wait_for(&mut decided, 4, 3).await;
    nodes.push(run(follower(3), settings(3), voters(4), 4, sender).await);
    wait_for(&mut decided, 4, 1).await;
    let mut chains = Vec::new();
    for (engine, application) in nodes {
        let application = stop(engine, application).await;
        verify_chain(&application.chain, &voters(4), 4);
        assert!(
            application.member.get() < 3 || application.synced >= 4,
            "it was not there when they decided"
        );
        chains.push(application.chain.into_iter().map(|(block, _)| block).collect::<Vec<_>>());
    }
    assert!(chains.windows(2).all(|pair| pair[0] == pair[1]), "everybody has decided the same blocks");
}

#[tokio::test]
async fn the_engine_stops_when_the_application_is_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = settings(0, dir.path(), "/ip4/127.0.0.1/tcp/0", Vec::new());
    let Started { engine, events, ended } = start(settings, validator(0)).await.expect("starts");
    drop(events);
    tokio::time::timeout(HANG, ended).await.expect("stops").expect("the supervisor does not panic");
    assert!(!engine.is_halted(), "a failure that endangers nothing");
}

#[tokio::test]
async fn unusable_settings_are_refused_by_name() {
    let other = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let taken = format!("/ip4/127.0.0.1/tcp/{}", other.local_addr().expect("bound").port());
    let loopback = "/ip4/127.0.0.1/tcp/0";
    let unnamed = "/ip4/127.0.0.1/tcp/7";
    for (listen, peers, rule) in [
        ("127.0.0.1:8440", &[][..], "CONS-ADDRESS"),
        ("/ip4/127.0.0.1/udp/8440", &[], "CONS-ADDRESS"),
        (loopback, &["/ip4/127.0.0.1"], "CONS-ADDRESS"),
        (loopback, &[unnamed], "CONS-PEER-UNNAMED"),
        (&taken, &[], "CONS-LISTEN"),
        ("/ip4/192.0.2.1/tcp/8440", &[], "CONS-LISTEN"),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let peers = peers.iter().map(|&peer| peer.to_owned()).collect();
        let refused = start(settings(0, dir.path(), listen, peers), validator(0)).await.err();
        assert_eq!(refused.map(|error| error.rule()), Some(rule), "{listen}");
    }
}
