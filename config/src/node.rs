//! A node's configuration and the layout of its data directory.
//!
//! Precedence: flag > environment (`SYNGRAPH_…`, both read by the binary) > this file >
//! default. Addresses bind to loopback unless the file says otherwise.
//!
//! *Invariants.* What [`load_node`] gives is checked as far as files can say: addresses
//! are addresses, no port is listened on twice, no peer is named twice, and none is the
//! node itself.
//!
//! *Deliberately absent:* whether a peer is a member. The ledger's state says, and changes.

pub mod address;
mod check;
pub mod init;
pub mod introduce;
pub mod survey;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use syngraph_protocol::genesis::{Genesis, GenesisError};
use syngraph_protocol::ids::PublicKey;

pub use self::check::{NODE_PEERS_MAX, NodeConfigError, PROPOSE_TIMEOUT_MS, VOTE_TIMEOUT_MS};

use crate::file::{self, ConfigError};
use crate::genesis::parse_genesis;
use crate::key::{Key, KeyError};

/// What `node.toml` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// What the node is called in logs and views.
    pub name: String,
    /// The HTTP door.
    #[serde(default)]
    pub http: HttpConfig,
    /// The consensus port.
    #[serde(default)]
    pub consensus: ConsensusConfig,
    /// The peer port.
    #[serde(default)]
    pub peers: PeersConfig,
    /// The other members' nodes: one `[[peer]]` each.
    #[serde(default)]
    pub peer: Vec<PeerConfig>,
}

/// The HTTP door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Where it listens.
    pub listen: SocketAddr,
}

/// The consensus port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsensusConfig {
    /// Where it listens, over what the peer port speaks.
    pub listen: SocketAddr,
    /// How long the first round waits for its proposal, in milliseconds; within
    /// [`PROPOSE_TIMEOUT_MS`].
    pub propose_timeout_ms: u64,
    /// How long the first round waits for votes, in milliseconds; within [`VOTE_TIMEOUT_MS`].
    pub vote_timeout_ms: u64,
}

/// The peer port: journals and blocks travel between members' nodes here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeersConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What it and the consensus port speak, the same for all members.
    pub transport: Transport,
}

/// What the peer port and the consensus port speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP with Noise and Yamux.
    #[default]
    Tcp,
    /// QUIC, over UDP.
    Quic,
}

/// Another member's node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerConfig {
    /// What it is called in logs and views.
    pub name: String,
    /// Its transport key: its identity on both ports.
    pub transport: PublicKey,
    /// Its peer port, `host:port`; see [`address::parse`].
    pub peers: String,
    /// Its consensus port, `host:port`.
    pub consensus: String,
}

/// What flags and environment say instead of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Where the HTTP door listens.
    pub http: Option<SocketAddr>,
    /// Where the peer port listens.
    pub peers: Option<SocketAddr>,
    /// Where the consensus port listens.
    pub consensus: Option<SocketAddr>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8440)) }
    }
}

impl Default for ConsensusConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8441)),
            propose_timeout_ms: 1_000,
            vote_timeout_ms: 250,
        }
    }
}

impl Default for PeersConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8442)), transport: Transport::Tcp }
    }
}

impl Transport {
    /// As the file says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
        }
    }
}

impl NodeConfig {
    /// The same with what flags and environment say instead.
    #[must_use]
    pub fn overridden(mut self, by: &Overrides) -> Self {
        self.http.listen = by.http.unwrap_or(self.http.listen);
        self.peers.listen = by.peers.unwrap_or(self.peers.listen);
        self.consensus.listen = by.consensus.unwrap_or(self.consensus.listen);
        self
    }
}

/// Where things lie in a node's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDir(PathBuf);

impl NodeDir {
    /// The directory at this path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("node.toml")
    }

    /// The founding document.
    #[must_use]
    pub fn genesis(&self) -> PathBuf {
        self.0.join("genesis.toml")
    }

    /// A key: `root`, `validator`, `transport` or `journal`.
    #[must_use]
    pub fn key(&self, purpose: &str) -> PathBuf {
        self.keys().join(format!("{purpose}.toml"))
    }

    /// The folder of keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// The card of the node's member.
    #[must_use]
    pub fn card(&self) -> PathBuf {
        self.0.join("member.toml")
    }

    /// The engine's write-ahead log.
    #[must_use]
    pub fn wal(&self) -> PathBuf {
        self.0.join("wal").join("consensus.wal")
    }
}

/// Everything that a node reads before it starts.
#[derive(Debug)]
pub struct NodeFiles {
    /// `node.toml`.
    pub config: NodeConfig,
    /// The founding document, verified.
    pub genesis: Genesis,
    /// Its text, as it was read.
    pub genesis_toml: String,
    /// Signs votes.
    pub validator: Key,
    /// The node's libp2p identity.
    pub transport: Key,
    /// Signs the node's own entries.
    pub journal: Key,
}

/// Why a node cannot start from its files.
#[derive(Debug, thiserror::Error)]
pub enum NodeFilesError {
    /// A file is missing or malformed.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// A key file is missing or malformed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The configuration says what cannot be.
    #[error("{}:{line}: {field}: {source}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The field: `peer.transport`.
        field: String,
        /// What is wrong.
        source: NodeConfigError,
    },
    /// The genesis founds nothing.
    #[error("{}: {source}", path.display())]
    Genesis {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: GenesisError,
    },
}

impl NodeFilesError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::File(error) => error.rule(),
            Self::Key(error) => error.rule(),
            Self::Config { source, .. } => source.rule(),
            Self::Genesis { source, .. } => source.rule(),
        }
    }
}

/// Reads and verifies a node's files.
///
/// # Errors
/// [`NodeFilesError`] naming file, line, field and rule.
pub fn load_node(dir: &NodeDir, overrides: &Overrides) -> Result<NodeFiles, NodeFilesError> {
    let config_path = dir.config();
    let (text, config) = read_config(&config_path, overrides)?;
    let transport = Key::load(&dir.key("transport"))?;
    check::check(&config, transport.public()).map_err(|found| found.within(&text, &config_path))?;
    let path = dir.genesis();
    let genesis_toml = file::read_text(&path)?;
    let genesis = parse_genesis(&genesis_toml, &path)?;
    genesis.verify().map_err(|source| NodeFilesError::Genesis { path, source })?;
    let validator = Key::load(&dir.key("validator"))?;
    let journal = Key::load(&dir.key("journal"))?;
    Ok(NodeFiles { config, genesis, genesis_toml, validator, transport, journal })
}

/// Reads and checks a `node.toml`. `own` is the transport key of the node whose it is.
///
/// # Errors
/// [`NodeFilesError`] naming file, line, field and rule.
pub fn load_config(path: &Path, overrides: &Overrides, own: PublicKey) -> Result<NodeConfig, NodeFilesError> {
    let (text, config) = read_config(path, overrides)?;
    check::check(&config, own).map_err(|found| found.within(&text, path))?;
    Ok(config)
}

/// A configuration with its text, not yet checked.
fn read_config(path: &Path, overrides: &Overrides) -> Result<(String, NodeConfig), ConfigError> {
    let text = file::read_text(path)?;
    let config = file::parse::<NodeConfig>(&text, path)?.overridden(overrides);
    Ok((text, config))
}

/// The text of a `node.toml`, every field commented.
#[must_use]
pub fn commented(config: &NodeConfig) -> String {
    let NodeConfig { name, http, consensus, peers, peer } = config;
    let peer: String = peer.iter().map(commented_peer).collect();
    let name = quoted(name);
    format!(
        "# What the node is called in logs and views.\n\
         name = {name}\n\n\
         [http]\n\
         # Where the HTTP API listens. Loopback unless a proxy or firewall guards it.\n\
         listen = \"{}\"\n\n\
         [consensus]\n\
         # Where other members' nodes reach the consensus engine.\n\
         listen = \"{}\"\n\
         # How long the first round waits for its proposal and for votes, in milliseconds; at\n\
         # most 10000. Later rounds wait longer.\n\
         propose_timeout_ms = {}\n\
         vote_timeout_ms = {}\n\n\
         [peers]\n\
         # Where other members' nodes bring and fetch entries and blocks.\n\
         listen = \"{}\"\n\
         # \"tcp\", or \"quic\" over UDP, here and for consensus: the same for all members.\n\
         transport = \"{}\"\n\
         {peer}",
        http.listen,
        consensus.listen,
        consensus.propose_timeout_ms,
        consensus.vote_timeout_ms,
        peers.listen,
        peers.transport.as_str(),
    )
}

/// The section of another member's node in a `node.toml`, every field commented, with an
/// empty line before it.
#[must_use]
pub fn commented_peer(peer: &PeerConfig) -> String {
    let PeerConfig { name, transport, peers, consensus } = peer;
    format!(
        "\n[[peer]]\n\
         # What this member's node is called in logs and views.\n\
         name = {}\n\
         # Its transport key: its identity on both ports.\n\
         transport = \"{transport}\"\n\
         # Where it is reached for entries and blocks, and for consensus: host:port.\n\
         peers = {}\n\
         consensus = {}\n",
        quoted(name),
        quoted(peers),
        quoted(consensus),
    )
}

/// Text as a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use syngraph_protocol::crypto::SecretKey;

    #[test]
    fn the_commented_file_reads_back() {
        let peer = |seed: u8, name: &str| PeerConfig {
            name: name.into(),
            transport: SecretKey::from_seed(&[seed; 32]).public(),
            peers: format!("birch.example:{seed}"),
            consensus: "[::1]:9".into(),
        };
        let config = NodeConfig {
            name: "Aster \"north\" \u{7f} \u{e9}".into(),
            http: HttpConfig::default(),
            consensus: ConsensusConfig { vote_timeout_ms: 7, ..ConsensusConfig::default() },
            peers: PeersConfig { transport: Transport::Quic, ..PeersConfig::default() },
            peer: vec![peer(1, "Birch"), peer(2, "C\"edar\n")],
        };
        let text = commented(&config);
        assert_eq!(file::parse::<NodeConfig>(&text, Path::new("node.toml")).expect("own text"), config);
        let values = text.lines().filter(|line| line.contains('=') && !line.starts_with('#')).count();
        assert_eq!(values, 7 + 2 * 4, "every field is written: {text}");
    }

    #[test]
    fn what_is_left_out_has_its_default_and_unknown_fields_are_named() {
        let path = Path::new("node.toml");
        let config: NodeConfig = file::parse("name = \"a\"", path).expect("enough");
        assert_eq!((config.http, config.peers), (HttpConfig::default(), PeersConfig::default()));
        assert_eq!(config.peer, []);
        for (text, expected) in [
            ("[http]\nport = 1", "node.toml:3: http.port: unknown field"),
            ("[peers]\ntransport = \"udp\"", "node.toml:3: peers.transport: unknown variant `udp`"),
            ("[[peer]]\ntransport = \"00\"", "node.toml:3: peer.transport: "),
        ] {
            let error = file::parse::<NodeConfig>(&format!("name = \"a\"\n{text}"), path).expect_err(text);
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }

    #[test]
    fn flags_go_before_the_file() {
        let path = Path::new("node.toml");
        let config: NodeConfig = file::parse("name = \"a\"", path).expect("enough");
        let other = "10.0.0.1:1".parse().expect("an address");
        let peers = Overrides { peers: Some(other), ..Overrides::default() };
        let overridden = config.clone().overridden(&peers);
        assert_eq!(overridden.peers.listen, other);
        assert_eq!((&overridden.http, &overridden.consensus), (&config.http, &config.consensus));
        assert_eq!(config.clone().overridden(&Overrides::default()), config);
    }
}
