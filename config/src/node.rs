//! A node's configuration and the layout of its data directory.
//!
//! Precedence: flag > environment (`SYNGRAPH_…`, read by the binary) > this file >
//! default. Addresses bind to loopback unless the file says otherwise.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use syngraph_protocol::genesis::{Genesis, GenesisError};

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
    /// Where it listens: a TCP address of this machine.
    pub listen: SocketAddr,
    /// How long a round waits for its proposal, in milliseconds.
    pub propose_timeout_ms: u64,
    /// How long a round waits for votes, in milliseconds.
    pub vote_timeout_ms: u64,
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
            vote_timeout_ms: 500,
        }
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
        self.0.join("keys").join(format!("{purpose}.toml"))
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
            Self::Genesis { source, .. } => source.rule(),
        }
    }
}

/// Reads and verifies a node's files.
///
/// # Errors
/// [`NodeFilesError`] naming file, line, field and rule.
pub fn load_node(dir: &NodeDir) -> Result<NodeFiles, NodeFilesError> {
    let config_path = dir.config();
    let config = file::parse(&file::read_text(&config_path)?, &config_path)?;
    let path = dir.genesis();
    let genesis_toml = file::read_text(&path)?;
    let genesis = parse_genesis(&genesis_toml, &path)?;
    genesis.verify().map_err(|source| NodeFilesError::Genesis { path, source })?;
    let validator = Key::load(&dir.key("validator"))?;
    let transport = Key::load(&dir.key("transport"))?;
    Ok(NodeFiles { config, genesis, genesis_toml, validator, transport })
}

/// The text of a `node.toml`, every field commented.
#[must_use]
pub fn commented(config: &NodeConfig) -> String {
    let NodeConfig { name, http, consensus } = config;
    format!(
        "# What the node is called in logs and views.\n\
         name = {name:?}\n\n\
         [http]\n\
         # Where the HTTP API listens. Loopback unless a proxy or firewall guards it.\n\
         listen = \"{}\"\n\n\
         [consensus]\n\
         # Where other members' nodes reach the consensus engine.\n\
         listen = \"{}\"\n\
         # How long a round waits for its proposal and for votes, in milliseconds.\n\
         propose_timeout_ms = {}\n\
         vote_timeout_ms = {}\n",
        http.listen, consensus.listen, consensus.propose_timeout_ms, consensus.vote_timeout_ms
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_file_reads_back() {
        let config = NodeConfig {
            name: "Aster \"north\"".into(),
            http: HttpConfig::default(),
            consensus: ConsensusConfig { vote_timeout_ms: 7, ..ConsensusConfig::default() },
        };
        let text = commented(&config);
        assert_eq!(file::parse::<NodeConfig>(&text, Path::new("node.toml")).expect("own text"), config);
    }

    #[test]
    fn what_is_left_out_has_its_default_and_unknown_fields_are_named() {
        let path = Path::new("node.toml");
        let config: NodeConfig = file::parse("name = \"a\"", path).expect("enough");
        assert_eq!(config.http, HttpConfig::default());
        let error = file::parse::<NodeConfig>("name = \"a\"\n[http]\nport = 1", path).expect_err("unknown");
        assert!(error.to_string().contains("node.toml:3: http.port: unknown field"), "{error}");
    }
}
