//! What a `node.toml` may not say, though it reads: the rules between its fields.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;

use syngraph_protocol::crypto::{CryptoError, check_key};
use syngraph_protocol::ids::PublicKey;
use syngraph_protocol::limits::MEMBERS_MAX;
use syngraph_protocol::name::{Name, NameError};

use super::{NodeConfig, NodeFilesError, PeerConfig, Transport, address};
use crate::file;

/// Most `[[peer]]` sections of a node: every other member's node.
pub const NODE_PEERS_MAX: usize = MEMBERS_MAX;

/// How long a round may wait for its proposal, in milliseconds. A proposer with nothing to
/// seal yet holds its proposal back for a moment; the engine waits no longer than the most.
pub const PROPOSE_TIMEOUT_MS: RangeInclusive<u64> = 300..=10_000;

/// How long a round may wait for votes, in milliseconds.
pub const VOTE_TIMEOUT_MS: RangeInclusive<u64> = 100..=10_000;

/// Why a node cannot run with what its configuration says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeConfigError {
    /// An address that nobody can dial.
    #[error("{text:?} is no host:port that can be dialled")]
    Address {
        /// What stands there.
        text: String,
    },
    /// Two doors on one port.
    #[error("{address} is where [{other}] listens; every door needs a port of its own")]
    PortClash {
        /// The address.
        address: SocketAddr,
        /// The section that has it already.
        other: &'static str,
    },
    /// A peer that is this node.
    #[error("{key} is this node's own transport key; only other members' nodes are peers")]
    Own {
        /// The key.
        key: PublicKey,
    },
    /// The same thing in two sections, or two addresses that are one.
    #[error("{value} stands in another field of [[peer]] already")]
    Twice {
        /// The name, key or address.
        value: String,
    },
    /// More peers than there can be members.
    #[error("{count} peers are more than the {NODE_PEERS_MAX} that a network can have")]
    Count {
        /// How many.
        count: usize,
    },
    /// A timeout that the node would not keep, or with which rounds fail.
    #[error("{ms} ms is not between {} and {} ms", range.start(), range.end())]
    Timeout {
        /// What stands there.
        ms: u64,
        /// What may.
        range: RangeInclusive<u64>,
    },
    /// No key.
    #[error(transparent)]
    Key(#[from] CryptoError),
    /// No name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl NodeConfigError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Address { .. } => "CFG-ADDRESS",
            Self::PortClash { .. } => "CFG-PORT-CLASH",
            Self::Own { .. } => "CFG-PEER-SELF",
            Self::Twice { .. } => "CFG-PEER-TWICE",
            Self::Count { .. } => "CFG-PEER-COUNT",
            Self::Timeout { .. } => "CFG-TIMEOUT",
            Self::Key(error) => error.rule(),
            Self::Name(error) => error.rule(),
        }
    }
}

/// A refusal and the field it is about.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) table: &'static str,
    nth: usize,
    key: &'static str,
    pub(super) source: NodeConfigError,
}

impl Found {
    /// The refusal with its place in the file's text.
    pub(super) fn within(self, text: &str, path: &Path) -> NodeFilesError {
        let Self { table, nth, key, source } = self;
        let line = file::line_of(text, table, nth, key);
        NodeFilesError::Config { path: path.to_owned(), line, field: format!("{table}.{key}"), source }
    }
}

/// Checks what the types cannot.
pub(super) fn check(config: &NodeConfig, own: PublicKey) -> Result<(), Found> {
    check_listeners(config)?;
    check_timeouts(config)?;
    if config.peer.len() > NODE_PEERS_MAX {
        let source = NodeConfigError::Count { count: config.peer.len() };
        return Err(Found { table: "peer", nth: NODE_PEERS_MAX, key: "name", source });
    }
    for (nth, peer) in config.peer.iter().enumerate() {
        let earlier = config.peer.get(..nth).unwrap_or_default();
        check_peer(peer, earlier, own).map_err(|(key, source)| Found { table: "peer", nth, key, source })?;
    }
    Ok(())
}

/// Every port is listened on once. Port 0 is a new one each time. QUIC is on UDP, and the
/// peer and consensus ports speak the same.
pub(super) fn check_listeners(config: &NodeConfig) -> Result<(), Found> {
    let quic = config.peers.transport == Transport::Quic;
    let http = (!quic).then_some(("http", config.http.listen));
    let nodes = [("consensus", config.consensus.listen), ("peers", config.peers.listen)];
    let ports: Vec<_> = http.into_iter().chain(nodes).collect();
    for (nth, &(table, address)) in ports.iter().enumerate() {
        let mut earlier = ports.iter().take(nth);
        if let Some(&(other, _)) = earlier.find(|(_, other)| clash(*other, address)) {
            let source = NodeConfigError::PortClash { address, other };
            return Err(Found { table, nth: 0, key: "listen", source });
        }
    }
    Ok(())
}

fn check_timeouts(config: &NodeConfig) -> Result<(), Found> {
    let consensus = &config.consensus;
    let timeouts = [
        ("propose_timeout_ms", consensus.propose_timeout_ms, PROPOSE_TIMEOUT_MS),
        ("vote_timeout_ms", consensus.vote_timeout_ms, VOTE_TIMEOUT_MS),
    ];
    match timeouts.into_iter().find(|(_, ms, range)| !range.contains(ms)) {
        Some((key, ms, range)) => {
            Err(Found { table: "consensus", nth: 0, key, source: NodeConfigError::Timeout { ms, range } })
        }
        None => Ok(()),
    }
}

fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && (everywhere || one.ip() == other.ip())
}

/// A refusal and the field of `[[peer]]` that it is about.
type FieldError = (&'static str, NodeConfigError);

pub(super) fn check_peer(
    peer: &PeerConfig,
    earlier: &[PeerConfig],
    own: PublicKey,
) -> Result<(), FieldError> {
    Name::new(peer.name.as_str()).check().map_err(|error| ("name", error.into()))?;
    check_key(&peer.transport).map_err(|error| ("transport", error.into()))?;
    if peer.transport == own {
        return Err(("transport", NodeConfigError::Own { key: own }));
    }
    for (field, text) in [("peers", &peer.peers), ("consensus", &peer.consensus)] {
        let refused = || (field, NodeConfigError::Address { text: text.clone() });
        address::parse(text).ok_or_else(refused)?;
    }
    let twice = |field, value: String| Err((field, NodeConfigError::Twice { value }));
    if earlier.iter().any(|other| other.name == peer.name) {
        return twice("name", peer.name.clone());
    }
    if earlier.iter().any(|other| other.transport == peer.transport) {
        return twice("transport", peer.transport.to_string());
    }
    if earlier.iter().any(|other| other.peers == peer.peers) {
        return twice("peers", peer.peers.clone());
    }
    if peer.consensus == peer.peers || earlier.iter().any(|other| other.consensus == peer.consensus) {
        return twice("consensus", peer.consensus.clone());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use syngraph_protocol::crypto::SecretKey;

    use super::*;

    fn key(seed: u8) -> PublicKey {
        SecretKey::from_seed(&[seed; 32]).public()
    }

    fn text(addition: &str) -> String {
        let peer = |name: &str, seed: u8| {
            let key = key(seed);
            format!(
                "[[peer]]\nname = \"{name}\"\ntransport = \"{key}\"\n\
                 peers = \"{name}:2\"\nconsensus = \"{name}:1\"\n"
            )
        };
        format!("name = \"Aster\"\n{addition}\n{}{}", peer("birch", 2), peer("cedar", 3))
    }

    /// The rule that a file breaks and the beginning of what is said.
    fn refused(text: &str) -> (&'static str, String) {
        let path = Path::new("node.toml");
        let config: NodeConfig = file::parse(text, path).expect("it reads");
        let error = check(&config, key(1)).map_err(|found| found.within(text, path)).expect_err(text);
        (error.rule(), error.to_string())
    }

    #[test]
    fn a_sound_file_passes() {
        for addition in ["", "[peers]\nlisten = \"127.0.0.1:8440\"\ntransport = \"quic\"\n"] {
            let config: NodeConfig = file::parse(&text(addition), Path::new("node.toml")).expect("it reads");
            check(&config, key(1)).expect("sound");
        }
    }

    #[test]
    fn each_rule_names_line_and_field() {
        let key = |seed: u8| key(seed).to_string();
        let zeros = "0".repeat(64);
        for (from, to, rule, place) in [
            ("cedar:1", "cedar", "CFG-ADDRESS", "node.toml:12: peer.consensus: \"cedar\""),
            ("birch:2", "0.0.0.0:2", "CFG-ADDRESS", "node.toml:6: peer.peers: "),
            (&key(3), &key(1), "CFG-PEER-SELF", "node.toml:10: peer.transport: "),
            (&key(3), &key(2), "CFG-PEER-TWICE", "node.toml:10: peer.transport: "),
            (&key(2), &zeros, "KEY-INVALID", "node.toml:5: peer.transport: "),
            ("\"cedar\"", "\"birch\"", "CFG-PEER-TWICE", "node.toml:9: peer.name: birch"),
            ("\"cedar\"", "\" \"", "NAME-FORM", "node.toml:9: peer.name: "),
            ("cedar:2", "birch:2", "CFG-PEER-TWICE", "node.toml:11: peer.peers: "),
            ("cedar:1", "birch:1", "CFG-PEER-TWICE", "node.toml:12: peer.consensus: "),
            ("cedar:1", "cedar:2", "CFG-PEER-TWICE", "node.toml:12: peer.consensus: "),
        ] {
            let (got, said) = refused(&text("").replace(from, to));
            assert_eq!(got, rule, "{said}");
            assert!(said.starts_with(place), "{said}");
        }
    }

    #[test]
    fn a_port_is_listened_on_once() {
        for (addition, place) in [
            ("[http]\nlisten = \"0.0.0.0:8441\"", "node.toml:1: consensus.listen: "),
            ("[peers]\nlisten = \"127.0.0.1:8440\"", "node.toml:3: peers.listen: "),
            ("[peers]\n# here\nlisten = \"[::]:8441\"", "node.toml:4: peers.listen: "),
            ("[peers]\ntransport = \"quic\"\nlisten = \"127.0.0.1:8441\"", "node.toml:4: peers.listen: "),
        ] {
            let (rule, said) = refused(&text(addition));
            assert_eq!(rule, "CFG-PORT-CLASH", "{said}");
            assert!(said.starts_with(place), "{said}");
        }
    }

    #[test]
    fn rounds_wait_no_longer_than_the_engine_does_and_long_enough() {
        for (addition, place) in [
            (
                "[consensus]\npropose_timeout_ms = 60000",
                "node.toml:3: consensus.propose_timeout_ms: 60000 ms",
            ),
            ("[consensus]\n\nvote_timeout_ms = 0", "node.toml:4: consensus.vote_timeout_ms: 0 ms"),
        ] {
            let (rule, said) = refused(&text(addition));
            assert!(rule == "CFG-TIMEOUT" && said.starts_with(place), "{said}");
        }
    }

    #[test]
    fn there_are_no_more_peers_than_members() {
        let mut config: NodeConfig = file::parse(&text(""), Path::new("node.toml")).expect("it reads");
        let peer = config.peer.pop().expect("there are two");
        config.peer = vec![peer; NODE_PEERS_MAX + 1];
        let found = check(&config, key(1)).expect_err("too many");
        assert_eq!(found.source.rule(), "CFG-PEER-COUNT");
    }
}
