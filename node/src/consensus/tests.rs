//! Engines that really run, and the seams between them and the application.

mod application;
mod catching_up;
mod faults;
mod letting_in;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use application::Application;
use arc_malachitebft_app::consensus::SignedConsensusMsg;
use arc_malachitebft_app::types::{Keypair, PeerId};
use arc_malachitebft_core_types::{NilOrVal, Round, SignedMessage, VoteType};
use syngraph_protocol::block::{BLOCK_VERSION, Block, Cut, Header, NO_BLOCK};
use syngraph_protocol::certificate::{Certificate, MemberSet, Voter};
use syngraph_protocol::crypto::{Domain, SecretKey};
use syngraph_protocol::ids::{Hash, Height, MemberId, NetworkId};
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

/// A member's node at a plain address.
pub(super) fn peer_address(member: u32, address: &str) -> PeerAddress {
    let transport = SecretKey::from_seed(&transport_seed(member)).public();
    PeerAddress { member: MemberId::new(member), transport, address: address.to_owned() }
}

/// Members' nodes, somewhere.
pub(super) fn peers(members: &[u32]) -> Vec<address::Peer> {
    let peer = |&m: &u32| address::peer(Transport::Tcp, &peer_address(m, &format!("h:{}", m + 1)));
    members.iter().map(peer).collect::<Result<_, _>>().expect("addresses")
}

/// Members' nodes that are let in; nobody votes yet.
pub(super) fn roster(members: &[u32]) -> roster::Roster {
    let roster = roster::Roster::default();
    roster.admit(peers(members));
    roster
}

/// A member's prevote for no block.
pub(super) fn vote(member: u32, height: u64, round: u32) -> SignedConsensusMsg<context::Context> {
    let vote = context::Vote {
        kind: VoteType::Prevote,
        height: context::Height(Height::new(height)),
        round: Round::new(round),
        value: NilOrVal::Nil,
        voter: context::Address(MemberId::new(member)),
    };
    let form = vote.signed_form(NETWORK).expect("its round is defined");
    let signature = key(member).sign(Domain::VOTE, &form.signing_bytes());
    SignedConsensusMsg::Vote(SignedMessage::new(vote, signature))
}

fn settings(member: u32, dir: &Path, listen: SocketAddr, peers: Vec<PeerAddress>) -> Settings {
    Settings {
        moniker: format!("test-{member}"),
        listen,
        transport: Transport::Tcp,
        peers,
        decided: Height::GENESIS,
        propose_timeout: Duration::from_millis(400),
        vote_timeout: Duration::from_millis(200),
        wal: dir.join(format!("wal-{member}")),
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn validator(member: u32) -> Identity {
    let (network, transport_seed) = (NETWORK, transport_seed(member));
    Identity { member: MemberId::new(member), network, validator: Some(key(member)), transport_seed }
}

/// As a restored node runs: its member is a voter, and it does not vote.
fn follower(member: u32) -> Identity {
    Identity { validator: None, ..validator(member) }
}

/// Starts an engine and its application, which ends when its engine has stopped.
async fn run(
    identity: Identity,
    settings: Settings,
    prepare: impl FnOnce(Engine) -> Application,
) -> (Engine, JoinHandle<Application>) {
    let Started { engine, mut events, ended } = start(settings, identity).await.expect("starts");
    let mut application = prepare(engine.clone());
    let task = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            application.handle(event);
        }
        ended.await.expect("the supervisor does not panic");
        application
    });
    (engine, task)
}

/// What decided heights are told through.
type Told = mpsc::UnboundedReceiver<(MemberId, Height)>;

/// Nodes of one network, each at a port of its own.
pub(super) struct Cluster {
    dir: tempfile::TempDir,
    ports: Vec<u16>,
    voters: MemberSet,
    transport: Transport,
    sender: mpsc::UnboundedSender<(MemberId, Height)>,
    decided: Told,
    nodes: BTreeMap<u32, (Engine, JoinHandle<Application>)>,
}

impl Cluster {
    /// As many members, none of which runs yet; the first `voters` of them vote.
    pub(super) fn new(members: usize, voting: u32) -> Self {
        let (sender, decided) = mpsc::unbounded_channel();
        let dir = tempfile::tempdir().expect("a directory");
        let (ports, voters, nodes) = (free_ports(members), voters(voting), BTreeMap::new());
        Self { dir, ports, voters, transport: Transport::Tcp, sender, decided, nodes }
    }

    fn addresses(&self, members: impl IntoIterator<Item = u32>) -> Vec<PeerAddress> {
        let address = |m: u32| peer_address(m, &loopback(self.ports[m as usize]).to_string());
        members.into_iter().map(address).collect()
    }

    fn all(&self) -> std::ops::Range<u32> {
        0..self.ports.len() as u32
    }

    pub(super) fn settings(&self, member: u32) -> Settings {
        let (listen, peers) = (loopback(self.ports[member as usize]), self.addresses(self.all()));
        let transport = self.transport;
        Settings { transport, ..settings(member, self.dir.path(), listen, peers) }
    }

    fn application(&self, member: u32, engine: Engine) -> Application {
        Application::new(MemberId::new(member), self.voters.clone(), engine, self.sender.clone())
    }

    /// Starts a member's node, with what it had decided before.
    pub(super) async fn start(&mut self, member: u32, before: Option<Application>) {
        let decided = before.as_ref().map_or(Height::GENESIS, Application::height);
        let application = |engine: Engine| match before {
            Some(application) => Application { engine, ..application },
            None => self.application(member, engine),
        };
        let settings = Settings { decided, ..self.settings(member) };
        let node = run(validator(member), settings, application).await;
        self.nodes.insert(member, node);
    }

    async fn start_all(&mut self, members: impl IntoIterator<Item = u32>) {
        for member in members {
            self.start(member, None).await;
        }
    }

    pub(super) async fn stop(&mut self, member: u32) -> Application {
        let (engine, application) = self.nodes.remove(&member).expect("it runs");
        stop(engine, application).await
    }

    fn progress(&self, member: u32) -> Progress {
        self.nodes[&member].0.progress()
    }

    /// Waits until these members have each decided as many more heights.
    pub(super) async fn decide(&mut self, members: impl IntoIterator<Item = u32>, more: usize) {
        let mut left: BTreeMap<MemberId, usize> =
            members.into_iter().map(|member| (MemberId::new(member), more)).collect();
        let all = async {
            while !left.is_empty() {
                let (member, _) = self.decided.recv().await.expect("applications run");
                if let Some(heights) = left.get_mut(&member) {
                    *heights = heights.saturating_sub(1);
                    left.retain(|_, heights| *heights > 0);
                }
            }
        };
        tokio::time::timeout(HANG, all).await.expect("decides");
    }

    /// Waits until something can be seen of a member's node.
    pub(super) async fn until(&self, member: u32, seen: impl Fn(&Progress) -> bool) {
        let seen = async {
            while !seen(&self.progress(member)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let result = tokio::time::timeout(HANG, seen).await;
        assert!(result.is_ok(), "member {member}: {:?}", self.progress(member));
    }

    /// Stops all and gives their chains; each is proved, and the beginning of every longer one.
    async fn finish(mut self) -> Vec<Application> {
        let members: Vec<u32> = self.nodes.keys().copied().collect();
        let mut applications = Vec::new();
        for member in members {
            applications.push(self.stop(member).await);
        }
        for application in &applications {
            verify_chain(&application.chain, &self.voters, application.chain.len());
        }
        for pair in applications.windows(2) {
            let blocks = |a: &Application| a.chain.iter().map(|(block, _)| block.id()).collect::<Vec<_>>();
            assert!(blocks(&pair[0]).iter().zip(blocks(&pair[1])).all(|(a, b)| *a == b), "a fork");
        }
        applications
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

/// Ports that were free a moment ago.
fn free_ports(count: usize) -> Vec<u16> {
    let bind = |_| TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let listeners: Vec<_> = (0..count).map(bind).collect();
    listeners.iter().map(|l| l.local_addr().expect("bound").port()).collect()
}

#[tokio::test]
async fn one_validator_decides_alone_and_its_certificates_verify() {
    let mut cluster = Cluster::new(1, 1);
    cluster.start(0, None).await;
    cluster.decide([0], 3).await;
    let applications = cluster.finish().await;
    assert!(applications[0].chain.len() >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_of_four_decide_and_the_fourth_follows() {
    let mut cluster = Cluster::new(4, 4);
    cluster.start_all(0..3).await;
    cluster.decide(0..3, 4).await;
    let (settings, decided) = (cluster.settings(3), cluster.progress(0).height);
    let node = run(follower(3), settings, |engine| cluster.application(3, engine)).await;
    cluster.nodes.insert(3, node);
    cluster.decide([3], decided.get() as usize).await;
    let applications = cluster.finish().await;
    assert!(applications[3].synced >= 4, "it was not there when they decided");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_voters_decide_over_quic() {
    let mut cluster = Cluster { transport: Transport::Quic, ..Cluster::new(2, 2) };
    cluster.start_all(0..2).await;
    cluster.decide(0..2, 4).await;
    cluster.finish().await;
}

#[tokio::test]
async fn the_engine_stops_when_the_application_is_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = settings(0, dir.path(), loopback(0), Vec::new());
    let Started { engine, events, ended } = start(settings, validator(0)).await.expect("starts");
    drop(events);
    tokio::time::timeout(HANG, ended).await.expect("stops").expect("the supervisor does not panic");
    assert!(!engine.is_halted(), "a failure that endangers nothing");
}

#[tokio::test]
async fn unusable_settings_are_refused_by_name() {
    let other = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let taken = other.local_addr().expect("bound");
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 8440));
    for (listen, peer, rule) in [
        (loopback(0), "nowhere", "CONS-ADDRESS"),
        (loopback(0), "127.0.0.1:0", "CONS-ADDRESS"),
        (taken, "127.0.0.1:1", "CONS-LISTEN"),
        (elsewhere, "127.0.0.1:1", "CONS-LISTEN"),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = settings(0, dir.path(), listen, vec![peer_address(1, peer)]);
        let refused = start(settings, validator(0)).await.err();
        assert_eq!(refused.map(|error| error.rule()), Some(rule), "{listen} {peer}");
    }
}

#[tokio::test]
async fn a_damaged_log_of_votes_is_refused_at_every_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = settings(0, dir.path(), loopback(0), Vec::new());
    let mut log = b"\0\0\0\x01\0\0\0\0\0\0\0\x01".to_vec();
    log.extend(b"\0\0\0\0\0\0\0\0\x04\0\0\0\0vote");
    std::fs::write(&settings.wal, &log).expect("a new file");
    for _ in 0..2 {
        let refused = start(settings.clone(), validator(0)).await.err();
        assert_eq!(refused.map(|error| error.rule()), Some("CONS-LOG-DAMAGED"));
        assert_eq!(std::fs::read(&settings.wal).expect("a file"), log);
    }
}

#[tokio::test]
async fn the_engines_metrics_are_exported() {
    let mut cluster = Cluster::new(1, 1);
    cluster.start(0, None).await;
    cluster.decide([0], 1).await;
    let mut text = String::new();
    export_metrics(&mut text);
    assert!(text.contains("malachite") && text.contains("test-0"), "{text}");
    cluster.finish().await;
}
