//! Founding a small consortium: its keys, its genesis and the directories of its nodes.
//!
//! *Deliberately absent:* processes. `node` runs one of the nodes, `cluster` all of them.

use std::fs;
use std::path::{Path, PathBuf};

use syngraph_config::genesis::to_toml;
use syngraph_config::key::Key;
use syngraph_config::node::{
    ConsensusConfig, HttpConfig, NodeConfig, NodeDir, PeerConfig, PeersConfig, commented,
};
use syngraph_protocol::codes::Place;
use syngraph_protocol::entry::Deed;
use syngraph_protocol::genesis::{Charter, Founder, GENESIS_VERSION, Genesis};
use syngraph_protocol::ids::{MemberId, NetworkId};
use syngraph_protocol::ledger::member::{AdmitKey, MemberProfile, NodeKeys, Scope, prove_possession};
use syngraph_protocol::ledger::params::Params;
use syngraph_protocol::name::Name;
use syngraph_protocol::time::DAY_MS;
use tempfile::TempDir;

use crate::node::{Node, config};
use crate::ports;
use crate::signer::{Signer, now};

/// Runs the node and holds all voting power where there is one node; licenses its model to
/// others.
pub const ASTER: MemberId = MemberId::new(0);
/// A member.
pub const BIRCH: MemberId = MemberId::new(1);
/// A member that uses the model of Aster.
pub const CEDAR: MemberId = MemberId::new(2);
/// A member where there are four nodes.
pub const DAHLIA: MemberId = MemberId::new(3);

/// Who runs nodes where there are four.
pub const FOUR: [MemberId; 4] = [ASTER, BIRCH, CEDAR, DAHLIA];

/// Their names, in order of their ids.
const CAST: [&str; 4] = ["Aster", "Birch", "Cedar", "Dahlia"];

/// A founded consortium in a temporary folder.
#[derive(Debug)]
pub struct Consortium {
    folder: TempDir,
    /// How many members run a node: the first ones.
    nodes: usize,
    /// The founding document, signed by all.
    pub genesis: Genesis,
}

/// Parameters for tests: use of the last ten years is admitted, and without work there
/// are no blocks, so that a state stays what it is.
#[must_use]
pub fn params() -> Params {
    Params { usage_grace_ms: 3_653 * DAY_MS, heartbeat_ms: 3_600_000, ..Params::default() }
}

impl Consortium {
    /// Founds a consortium.
    ///
    /// # Panics
    /// If its files cannot be written.
    #[must_use]
    pub fn found() -> Self {
        Self::found_with(params())
    }

    /// Founds a consortium of three members with these parameters; the first has a node.
    ///
    /// # Panics
    /// If its files cannot be written.
    #[must_use]
    pub fn found_with(params: Params) -> Self {
        Self::found_of(3, 1, params)
    }

    /// Founds a consortium of four members that have a node and one vote each.
    ///
    /// # Panics
    /// If its files cannot be written.
    #[must_use]
    pub fn found_four(params: Params) -> Self {
        Self::found_of(4, 4, params)
    }

    fn found_of(members: usize, nodes: usize, params: Params) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cast = &CAST[..members];
        let roots: Vec<_> = cast.iter().map(|name| new_key(&home(folder.path(), name), "root")).collect();
        let founder = |(position, root): (usize, &Key)| {
            let node = (position < nodes).then(|| node_keys(&home(folder.path(), cast[position])));
            let (name, jurisdiction) = (Name::new(cast[position]), Place::new("DE"));
            let profile = MemberProfile { name, jurisdiction, root: root.public(), node };
            Founder { power: u64::from(node.is_some()), profile }
        };
        let charter = Charter {
            version: GENESIS_VERSION,
            name: Name::new("Test consortium"),
            time: now(),
            params,
            members: roots.iter().enumerate().map(founder).collect(),
        };
        let signatures = roots.iter().map(|root| charter.sign(root.secret())).collect();
        let consortium = Self { folder, nodes, genesis: Genesis { charter, signatures } };
        consortium.write();
        consortium
    }

    fn write(&self) {
        let genesis = to_toml(&self.genesis).expect("a genesis of known types");
        let write = |path: PathBuf, text: &str| fs::write(path, text).expect("a file is written");
        write(self.genesis_path(), &genesis);
        for (dir, config) in self.dirs().into_iter().zip(self.configs()) {
            let node = NodeDir::new(dir);
            write(node.config(), &commented(&config));
            write(node.genesis(), &genesis);
        }
    }

    /// Changes every node's configuration, before it is started.
    ///
    /// # Panics
    /// If a file cannot be read or written.
    pub fn configure(&self, change: impl Fn(&mut NodeConfig)) {
        for dir in self.dirs() {
            let mut config = config(&dir);
            change(&mut config);
            fs::write(NodeDir::new(dir).config(), commented(&config)).expect("a file is written");
        }
    }

    /// Every node's configuration: it knows all others.
    fn configs(&self) -> Vec<NodeConfig> {
        let ports: Vec<[_; 3]> = (0..self.nodes).map(|_| ports::free()).collect();
        let node_of = |position: usize| {
            let profile = &self.genesis.charter.members[position].profile;
            profile.node.expect("the first members have nodes")
        };
        let peer = |position: usize| {
            let [_, consensus, peers] = ports[position].map(|address| address.to_string());
            let transport = node_of(position).transport;
            PeerConfig { name: CAST[position].into(), transport, peers, consensus }
        };
        let config = |own: usize| {
            let [http, consensus, peers] = ports[own];
            NodeConfig {
                name: format!("{}-1", CAST[own].to_lowercase()),
                http: HttpConfig { listen: http },
                consensus: ConsensusConfig { listen: consensus, ..ConsensusConfig::default() },
                peers: PeersConfig { listen: peers, ..PeersConfig::default() },
                peer: (0..self.nodes).filter(|other| *other != own).map(peer).collect(),
            }
        };
        (0..self.nodes).map(config).collect()
    }

    /// The temporary folder, for a test's own files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data directory of the first node.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.home(ASTER).path().to_owned()
    }

    /// The data directories of all nodes, by member.
    #[must_use]
    pub fn dirs(&self) -> Vec<PathBuf> {
        CAST[..self.nodes].iter().map(|name| home(self.folder(), name).path().to_owned()).collect()
    }

    /// Where a member's files lie.
    ///
    /// # Panics
    /// If there is no such member.
    #[must_use]
    pub fn home(&self, member: MemberId) -> NodeDir {
        home(self.folder(), CAST[position(member)])
    }

    /// The founding document, apart from the node's copy.
    #[must_use]
    pub fn genesis_path(&self) -> PathBuf {
        self.folder().join("genesis.toml")
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        self.genesis.charter.network()
    }

    /// Starts the node and waits until it is ready.
    ///
    /// # Panics
    /// As [`Node::start`].
    #[must_use]
    #[track_caller]
    pub fn start(&self) -> Node {
        Node::start(&self.dir())
    }

    /// A member's root key, which has signed nothing yet.
    ///
    /// # Panics
    /// If there is no such member.
    #[must_use]
    pub fn root(&self, member: MemberId) -> Signer {
        self.signer(member, "root")
    }

    /// A key of a member, which has signed nothing yet.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn signer(&self, member: MemberId, purpose: &str) -> Signer {
        let key = Key::load(&self.key_file(member, purpose)).expect("a key of a founder");
        Signer::new(key.secret().clone(), self.network(), member)
    }

    /// Where a member's keys of this purpose lie.
    ///
    /// # Panics
    /// If there is no such member.
    #[must_use]
    pub fn key_file(&self, member: MemberId, purpose: &str) -> PathBuf {
        self.home(member).key(purpose)
    }

    /// Makes an app key and has a member's root key admit it; gives its file, beside which
    /// its outbox will lie.
    ///
    /// # Panics
    /// If it is refused.
    #[track_caller]
    pub fn admit_app(&self, node: &Node, member: MemberId, root: &mut Signer) -> PathBuf {
        let path = self.key_file(member, "app");
        let key = Key::generate("app").expect("the system gives randomness");
        key.save(&path).expect("the key is stored");
        node.act(root, admission(root, &key));
        path
    }
}

/// The act by which a root key admits an app key.
#[must_use]
pub fn admission(root: &Signer, key: &Key) -> Deed {
    let possession = prove_possession(root.network(), &root.journal(), key.secret());
    Deed::AdmitKey(AdmitKey { key: key.public(), scope: Scope::default(), until: None, possession })
}

/// A member's place in lists by member.
///
/// # Panics
/// For ids that no small consortium has.
#[must_use]
pub fn position(member: MemberId) -> usize {
    usize::try_from(member.get()).expect("few members")
}

fn home(folder: &Path, name: &str) -> NodeDir {
    NodeDir::new(folder.join(name.to_lowercase()))
}

fn new_key(home: &NodeDir, purpose: &str) -> Key {
    let path = home.key(purpose);
    fs::create_dir_all(path.parent().expect("keys lie in a folder")).expect("a folder is made");
    let key = Key::generate(purpose).expect("the system gives randomness");
    key.save(&path).expect("the key is stored");
    key
}

fn node_keys(home: &NodeDir) -> NodeKeys {
    let public = |purpose| new_key(home, purpose).public();
    NodeKeys { validator: public("validator"), transport: public("transport"), journal: public("journal") }
}
