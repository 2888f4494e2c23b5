//! Founding the demo's consortium: keys, genesis, and a directory for each node.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use syngraph_config::genesis::to_toml;
use syngraph_config::key::Key;
use syngraph_config::node::{
    ConsensusConfig, HttpConfig, NodeConfig, NodeDir, PeerConfig, PeersConfig, commented,
};
use syngraph_protocol::codes::Place;
use syngraph_protocol::genesis::{Charter, Founder, GENESIS_VERSION, Genesis};
use syngraph_protocol::ids::{MemberId, PublicKey};
use syngraph_protocol::ledger::member::{MemberProfile, NodeKeys};
use syngraph_protocol::ledger::params::{Fee, Params};
use syngraph_protocol::money::Ppm;
use syngraph_protocol::name::Name;
use syngraph_protocol::time::{DAY_MS, UtcMs};

use super::DemoError;

/// The consortium keeps 2.5 % of each charge.
const FEE: Ppm = Ppm::new(25_000);

/// Usage up to ten years old is admitted, so that historic traces can be shown.
const USAGE_GRACE_MS: i64 = 3_653 * DAY_MS;

/// The cast, in order of their ids, and where they live.
pub(super) const CAST: [(&str, &str); 4] =
    [("Consortium", "DE"), ("Aster", "DE"), ("Birch", "FR"), ("Cedar", "NL")];

/// Keeps the consortium's fee.
const CONSORTIUM: MemberId = MemberId::new(0);
/// Owns the model.
pub(super) const ASTER: MemberId = MemberId::new(1);
/// Owns the training data.
pub(super) const BIRCH: MemberId = MemberId::new(2);
/// Uses the model.
pub(super) const CEDAR: MemberId = MemberId::new(3);

/// Who runs a node, if not everybody does.
const HOSTS: [MemberId; 4] = [ASTER, CEDAR, BIRCH, CONSORTIUM];

/// What founding leaves on disk.
#[derive(Debug)]
pub(super) struct Founded {
    /// The founding document, signed by all.
    pub(super) genesis: Genesis,
    /// Its file.
    pub(super) genesis_path: PathBuf,
    /// The nodes to start.
    pub(super) nodes: Vec<NodePlan>,
    /// Everybody's root keys, by member id.
    pub(super) roots: Vec<PathBuf>,
    /// The root keys of those who run no node.
    pub(super) guests: Vec<PathBuf>,
}

/// A node that is ready to be started.
#[derive(Clone, Debug)]
pub(super) struct NodePlan {
    /// Whose node.
    pub(super) member: MemberId,
    /// Its name.
    pub(super) name: String,
    /// Its directory.
    pub(super) dir: PathBuf,
    /// Where its API will listen.
    pub(super) http: SocketAddr,
    /// Where its peer port will listen.
    pub(super) peer: SocketAddr,
    /// Where its engine will listen.
    pub(super) consensus: SocketAddr,
    /// Its identity on both.
    pub(super) transport: PublicKey,
    /// Its member's keys.
    pub(super) key_files: Vec<PathBuf>,
}

/// The directory of a member.
fn home(dir: &Path, name: &str) -> PathBuf {
    dir.join(name.to_lowercase())
}

/// Makes everybody's keys, the genesis, and the directories of this many nodes.
pub(super) fn found(dir: &Path, members: u8) -> Result<Founded, DemoError> {
    let hosts = HOSTS.get(..usize::from(members)).unwrap_or(&HOSTS);
    let (mut founders, mut roots, mut hosted) = (Vec::new(), Vec::new(), Vec::new());
    for (id, (name, place)) in (0..).map(MemberId::new).zip(CAST) {
        let home = NodeDir::new(home(dir, name));
        let root = new_key(&home, "root")?;
        let node = if hosts.contains(&id) { Some(node_keys(&home)?) } else { None };
        hosted.extend(node.map(|keys| (id, name, keys.transport)));
        let jurisdiction = Place::new(place);
        let profile = MemberProfile { name: Name::new(name), jurisdiction, root: root.public(), node };
        founders.push(Founder { power: u64::from(node.is_some()), profile });
        roots.push(root);
    }
    let genesis = sign(founders, &roots);
    let nodes = plan_nodes(dir, &hosted)?;
    let genesis_path = write_files(dir, &genesis, &nodes)?;
    let root_of = |(name, _): (&str, &str)| NodeDir::new(home(dir, name)).key("root");
    let roots: Vec<PathBuf> = CAST.into_iter().map(root_of).collect();
    let guests = (0..).map(MemberId::new).zip(&roots).filter(|(id, _)| !hosts.contains(id));
    let guests = guests.map(|(_, root)| root.clone()).collect();
    Ok(Founded { genesis, genesis_path, nodes, roots, guests })
}

fn new_key(home: &NodeDir, purpose: &str) -> Result<Key, DemoError> {
    let path = home.key(purpose);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)
            .map_err(|source| DemoError::File { path: parent.to_owned(), source })?;
    }
    let key = Key::generate(purpose)?;
    key.save(&path)?;
    Ok(key)
}

fn node_keys(home: &NodeDir) -> Result<NodeKeys, DemoError> {
    let public = |purpose| Ok::<_, DemoError>(new_key(home, purpose)?.public());
    Ok(NodeKeys {
        validator: public("validator")?,
        transport: public("transport")?,
        journal: public("journal")?,
    })
}

fn sign(members: Vec<Founder>, roots: &[Key]) -> Genesis {
    let fee = Some(Fee { member: CONSORTIUM, ppm: FEE });
    let params = Params { usage_grace_ms: USAGE_GRACE_MS, fee, ..Params::default() };
    let charter = Charter {
        version: GENESIS_VERSION,
        name: Name::new("Demo consortium"),
        time: now(),
        params,
        members,
    };
    let signatures = roots.iter().map(|root| charter.sign(root.secret())).collect();
    Genesis { charter, signatures }
}

fn plan_nodes(dir: &Path, hosted: &[(MemberId, &str, PublicKey)]) -> Result<Vec<NodePlan>, DemoError> {
    // All are held while others are chosen, so that they differ.
    let ports = hosted.iter().map(|_| Ok([free_port()?, free_port()?, free_port()?]));
    let ports = ports.collect::<Result<Vec<_>, DemoError>>()?;
    let address = |held: &TcpListener| held.local_addr().map_err(DemoError::Port);
    let plan = |(&(member, name, transport), [http, peer, consensus]): (
        &(MemberId, &str, PublicKey),
        &[TcpListener; 3],
    )| {
        let home = NodeDir::new(home(dir, name));
        Ok(NodePlan {
            member,
            name: name.to_owned(),
            dir: home.path().to_owned(),
            http: address(http)?,
            peer: address(peer)?,
            consensus: address(consensus)?,
            transport,
            key_files: ["root", "validator", "transport", "journal"].map(|purpose| home.key(purpose)).into(),
        })
    };
    hosted.iter().zip(&ports).map(plan).collect()
}

fn free_port() -> Result<TcpListener, DemoError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(DemoError::Port)
}

/// Writes the genesis, for everybody and into each node's directory, and each node's
/// configuration, which names the others.
fn write_files(dir: &Path, genesis: &Genesis, nodes: &[NodePlan]) -> Result<PathBuf, DemoError> {
    let text = to_toml(genesis)?;
    let write = |path: PathBuf, text: &str| {
        std::fs::write(&path, text).map_err(|source| DemoError::File { path: path.clone(), source })?;
        Ok::<_, DemoError>(path)
    };
    for node in nodes {
        let home = NodeDir::new(&node.dir);
        write(home.genesis(), &text)?;
        write(home.config(), &commented(&configure(node, nodes)))?;
    }
    write(dir.join("genesis.toml"), &text)
}

fn configure(node: &NodePlan, all: &[NodePlan]) -> NodeConfig {
    let others = all.iter().filter(|other| other.member != node.member);
    let peer = others.map(|other| PeerConfig {
        name: other.name.clone(),
        transport: other.transport,
        peers: other.peer.to_string(),
        consensus: other.consensus.to_string(),
    });
    NodeConfig {
        name: node.name.clone(),
        http: HttpConfig { listen: node.http },
        consensus: ConsensusConfig { listen: node.consensus, ..ConsensusConfig::default() },
        peers: PeersConfig { listen: node.peer, ..PeersConfig::default() },
        peer: peer.collect(),
    }
}

/// The clock of whoever founds and signs.
pub(super) fn now() -> UtcMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcMs::from_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
