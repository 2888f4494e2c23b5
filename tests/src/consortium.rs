//! Founding a small consortium: its keys, its genesis and the directory of its one node.

use std::fs;
use std::path::{Path, PathBuf};

use syngraph_config::genesis::to_toml;
use syngraph_config::key::Key;
use syngraph_config::node::{ConsensusConfig, HttpConfig, NodeConfig, NodeDir, PeersConfig, commented};
use syngraph_protocol::codes::Place;
use syngraph_protocol::entry::Deed;
use syngraph_protocol::genesis::{Charter, Founder, GENESIS_VERSION, Genesis};
use syngraph_protocol::ids::{MemberId, NetworkId};
use syngraph_protocol::ledger::member::{AdmitKey, MemberProfile, NodeKeys, Scope, prove_possession};
use syngraph_protocol::ledger::params::Params;
use syngraph_protocol::name::Name;
use syngraph_protocol::time::DAY_MS;
use tempfile::TempDir;

use crate::node::Node;
use crate::ports;
use crate::signer::{Signer, now};

/// Runs the node and holds all voting power; licenses its model to others.
pub const ASTER: MemberId = MemberId::new(0);
/// A member.
pub const BIRCH: MemberId = MemberId::new(1);
/// A member that uses the model of Aster.
pub const CEDAR: MemberId = MemberId::new(2);

/// Their names, in order of their ids.
const CAST: [&str; 3] = ["Aster", "Birch", "Cedar"];

/// A founded consortium in a temporary folder.
#[derive(Debug)]
pub struct Consortium {
    folder: TempDir,
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

    /// Founds a consortium with these parameters.
    ///
    /// # Panics
    /// If its files cannot be written.
    #[must_use]
    pub fn found_with(params: Params) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let roots = CAST.map(|name| new_key(&home(folder.path(), name), "root"));
        let node = node_keys(&home(folder.path(), CAST[0]));
        let founder = |(name, root): (&str, &Key)| {
            let node = (name == CAST[0]).then_some(node);
            let (name, jurisdiction) = (Name::new(name), Place::new("DE"));
            let profile = MemberProfile { name, jurisdiction, root: root.public(), node };
            Founder { power: u64::from(node.is_some()), profile }
        };
        let charter = Charter {
            version: GENESIS_VERSION,
            name: Name::new("Test consortium"),
            time: now(),
            params,
            members: CAST.into_iter().zip(&roots).map(founder).collect(),
        };
        let signatures = roots.iter().map(|root| charter.sign(root.secret())).collect();
        let consortium = Self { folder, genesis: Genesis { charter, signatures } };
        consortium.write();
        consortium
    }

    fn write(&self) {
        let [http, consensus] = ports::free();
        let config = NodeConfig {
            name: "aster-1".into(),
            http: HttpConfig { listen: http },
            consensus: ConsensusConfig { listen: consensus, ..ConsensusConfig::default() },
            peers: PeersConfig::default(),
            peer: Vec::new(),
        };
        let node = NodeDir::new(self.dir());
        let genesis = to_toml(&self.genesis).expect("a genesis of known types");
        let files = [
            (node.config(), commented(&config)),
            (node.genesis(), genesis.clone()),
            (self.genesis_path(), genesis),
        ];
        for (path, text) in files {
            fs::write(path, text).expect("a file is written");
        }
    }

    /// The temporary folder, for a test's own files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data directory of the node.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        home(self.folder(), CAST[0]).path().to_owned()
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
        let position = usize::try_from(member.get()).expect("few members");
        home(self.folder(), CAST[position]).key(purpose)
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
