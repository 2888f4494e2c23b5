//! Founding the demo's consortium: keys, genesis, and a directory for each node.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use syngraph_config::genesis::to_toml;
use syngraph_config::key::Key;
use syngraph_config::node::{ConsensusConfig, HttpConfig, NodeConfig, NodeDir, PeersConfig, commented};
use syngraph_protocol::codes::Place;
use syngraph_protocol::genesis::{Charter, Founder, GENESIS_VERSION, Genesis};
use syngraph_protocol::ids::MemberId;
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

/// The member that runs the node.
pub(super) const ASTER: MemberId = MemberId::new(1);
/// Owns the training data.
pub(super) const BIRCH: MemberId = MemberId::new(2);
/// Uses the model.
pub(super) const CEDAR: MemberId = MemberId::new(3);

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
    /// Where its engine will listen.
    pub(super) consensus: SocketAddr,
}

/// The directory of a member.
fn home(dir: &Path, name: &str) -> PathBuf {
    dir.join(name.to_lowercase())
}

/// Makes everybody's keys, the genesis, and Aster's node.
pub(super) fn found(dir: &Path) -> Result<Founded, DemoError> {
    let mut founders = Vec::new();
    let mut roots = Vec::new();
    for (position, (name, place)) in CAST.iter().enumerate() {
        let home = NodeDir::new(home(dir, name));
        let runs_node = position == usize::try_from(ASTER.get()).unwrap_or(usize::MAX);
        let root = new_key(&home, "root")?;
        let node = if runs_node { Some(node_keys(&home)?) } else { None };
        let jurisdiction = Place::new(*place);
        let profile = MemberProfile { name: Name::new(*name), jurisdiction, root: root.public(), node };
        founders.push(Founder { power: u64::from(node.is_some()), profile });
        roots.push(root);
    }
    let genesis = sign(founders, &roots);
    let node = plan_node(dir)?;
    let genesis_path = write_files(dir, &genesis, &node)?;
    let roots = CAST.iter().map(|(name, _)| NodeDir::new(home(dir, name)).key("root")).collect();
    Ok(Founded { genesis, genesis_path, nodes: vec![node], roots })
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
    let fee = Some(Fee { member: MemberId::new(0), ppm: FEE });
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

fn plan_node(dir: &Path) -> Result<NodePlan, DemoError> {
    let (name, _) = CAST[1];
    // Both are held while the other is chosen, so that they differ.
    let (http, consensus) = (free_port()?, free_port()?);
    let address = |held: &TcpListener| held.local_addr().map_err(DemoError::Port);
    Ok(NodePlan {
        member: ASTER,
        name: name.to_owned(),
        dir: home(dir, name),
        http: address(&http)?,
        consensus: address(&consensus)?,
    })
}

fn free_port() -> Result<TcpListener, DemoError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(DemoError::Port)
}

fn write_files(dir: &Path, genesis: &Genesis, node: &NodePlan) -> Result<PathBuf, DemoError> {
    let text = to_toml(genesis)?;
    let home = NodeDir::new(&node.dir);
    let config = NodeConfig {
        name: node.name.clone(),
        http: HttpConfig { listen: node.http },
        consensus: ConsensusConfig { listen: node.consensus, ..ConsensusConfig::default() },
        peers: PeersConfig::default(),
        peer: Vec::new(),
    };
    let genesis_path = dir.join("genesis.toml");
    for (path, text) in
        [(&genesis_path, &text), (&home.genesis(), &text), (&home.config(), &commented(&config))]
    {
        std::fs::write(path, text).map_err(|source| DemoError::File { path: path.clone(), source })?;
    }
    Ok(genesis_path)
}

/// The clock of whoever founds and signs.
pub(super) fn now() -> UtcMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcMs::from_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
