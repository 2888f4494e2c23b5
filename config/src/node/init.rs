//! Making the directory of a new node: its keys, its configuration, its member's card.
//!
//! *Invariants.* Nothing that is there is overwritten, and what is asked for is checked
//! before anything is made. When making fails, what was made is taken away again, so that
//! the same command can be given again. A crash in between leaves files, and the next
//! attempt names the first of them; none of their keys has been seen by anybody.
//!
//! *Deliberately absent:* the genesis, which the founders write together.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use syngraph_protocol::codes::Place;
use syngraph_protocol::ids::PublicKey;
use syngraph_protocol::ledger::member::{MemberProfile, NodeKeys, ProfileError};
use syngraph_protocol::name::Name;

use super::{ConsensusConfig, HttpConfig, NodeConfig, NodeConfigError, NodeDir, PeersConfig};
use super::{address, check, commented};
use crate::card::{MemberCard, Reach};
use crate::file::{self, ConfigError};
use crate::key::{Key, KeyError};

/// The keys that a node starts with, and the root key that admits its member's others.
const PURPOSES: [&str; 4] = ["root", "validator", "transport", "journal"];

/// What a new node is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNode {
    /// The member's name.
    pub name: String,
    /// The place whose law the member is under.
    pub jurisdiction: String,
    /// Where the HTTP door listens; the default if none.
    pub http: Option<SocketAddr>,
    /// Where the peer port listens; the default if none.
    pub peers: Option<SocketAddr>,
    /// Where the consensus port listens; the default if none.
    pub consensus: Option<SocketAddr>,
    /// The host at which others reach both ports; the address listened on if none.
    pub advertise: Option<String>,
}

/// Why a node's directory cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A name or place that no member can have.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Addresses that cannot be.
    #[error("[{section}] listen: {source}")]
    Listen {
        /// The section of the configuration.
        section: &'static str,
        /// What is wrong.
        source: NodeConfigError,
    },
    /// Others could not reach the node.
    #[error("others cannot reach this node at {text:?}; --advertise names its host, and no port may be 0")]
    Advertise {
        /// What others would be told.
        text: String,
    },
    /// A file is there already, or cannot be written.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// A key file is there already, or cannot be written.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl InitError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Profile(error) => error.rule(),
            Self::Listen { source, .. } => source.rule(),
            Self::Advertise { .. } => "CFG-ADVERTISE",
            Self::File(error) => error.rule(),
            Self::Key(error) => error.rule(),
        }
    }
}

/// Makes the directory of a new node and gives its member's card.
///
/// # Errors
/// [`InitError`]; nothing is made then.
pub fn init(dir: &NodeDir, new: &NewNode) -> Result<MemberCard, InitError> {
    let (name, jurisdiction) = (Name::new(new.name.as_str()), Place::new(new.jurisdiction.as_str()));
    name.check().map_err(ProfileError::from)?;
    jurisdiction.check().map_err(ProfileError::from)?;
    let config = config(new)?;
    let reach = reach(&config, new.advertise.as_deref())?;
    refuse_existing(dir)?;
    let mut made = Made::default();
    let result = make(dir, &config, &mut made, |root, node| {
        MemberCard::new(MemberProfile { name, jurisdiction, root, node: Some(node) }, Some(reach))
    });
    if result.is_err() {
        made.undo();
    }
    result
}

fn config(new: &NewNode) -> Result<NodeConfig, InitError> {
    let (http, peers, consensus) =
        (HttpConfig::default(), PeersConfig::default(), ConsensusConfig::default());
    let config = NodeConfig {
        name: new.name.clone(),
        http: HttpConfig { listen: new.http.unwrap_or(http.listen) },
        consensus: ConsensusConfig { listen: new.consensus.unwrap_or(consensus.listen), ..consensus },
        peers: PeersConfig { listen: new.peers.unwrap_or(peers.listen), ..peers },
        peer: Vec::new(),
    };
    check::check_listeners(&config)
        .map_err(|found| InitError::Listen { section: found.table, source: found.source })?;
    Ok(config)
}

/// Where others reach the node.
fn reach(config: &NodeConfig, host: Option<&str>) -> Result<Reach, InitError> {
    let at = |listen: SocketAddr| {
        let text = match host.map(|host| (host, host.parse::<IpAddr>())) {
            // An address of IPv6 may come without its brackets.
            Some((_, Ok(ip))) => SocketAddr::new(ip, listen.port()).to_string(),
            Some((host, Err(_))) => format!("{host}:{}", listen.port()),
            None => listen.to_string(),
        };
        match address::parse(&text) {
            Some(_) => Ok(text),
            None => Err(InitError::Advertise { text }),
        }
    };
    Ok(Reach { peers: at(config.peers.listen)?, consensus: at(config.consensus.listen)? })
}

/// Every file is looked for before the first is made.
fn refuse_existing(dir: &NodeDir) -> Result<(), InitError> {
    let there = |path: &Path| path.symlink_metadata().is_ok();
    if let Some(path) = PURPOSES.map(|purpose| dir.key(purpose)).into_iter().find(|path| there(path)) {
        return Err(KeyError::Exists { path }.into());
    }
    match [dir.config(), dir.card(), dir.genesis()].into_iter().find(|path| there(path)) {
        Some(path) => Err(ConfigError::Exists { path }.into()),
        None => Ok(()),
    }
}

fn make(
    dir: &NodeDir,
    config: &NodeConfig,
    made: &mut Made,
    card: impl FnOnce(PublicKey, NodeKeys) -> MemberCard,
) -> Result<MemberCard, InitError> {
    made.folder(dir.path(), 0o755)?;
    made.folder(&dir.keys(), 0o700)?;
    let mut key = |purpose| {
        let key = Key::generate(purpose)?;
        let path = dir.key(purpose);
        key.save(&path)?;
        made.0.push(path);
        Ok::<_, InitError>(key.public())
    };
    let [root, validator, transport, journal] = PURPOSES;
    let (root, validator) = (key(root)?, key(validator)?);
    let node = NodeKeys { validator, transport: key(transport)?, journal: key(journal)? };
    let card = card(root, node);
    for (path, text) in [(dir.config(), commented(config)), (dir.card(), card.to_text()?)] {
        file::create(&path, &text)?;
        made.0.push(path);
    }
    Ok(card)
}

/// What was made so far, in order.
#[derive(Default)]
struct Made(Vec<PathBuf>);

impl Made {
    /// Makes a folder, and those above it, unless it is there.
    fn folder(&mut self, path: &Path, mode: u32) -> Result<(), ConfigError> {
        let write_error = |source| ConfigError::Write { path: path.to_owned(), source };
        let missing: Vec<&Path> = path
            .ancestors()
            .filter(|folder| !folder.as_os_str().is_empty())
            .take_while(|f| !f.exists())
            .collect();
        for folder in missing.into_iter().rev() {
            let mode = if folder == path { mode } else { 0o755 };
            match DirBuilder::new().mode(mode).create(folder) {
                Ok(()) => self.0.push(folder.to_owned()),
                // Somebody else was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(write_error(error)),
            }
            let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
            File::open(above.unwrap_or(Path::new(".")))
                .and_then(|above| above.sync_all())
                .map_err(write_error)?;
        }
        Ok(())
    }

    /// Takes everything away again, the last first. What cannot be removed is named by
    /// the next attempt.
    fn undo(self) {
        for path in self.0.into_iter().rev() {
            let removed = if path.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) };
            removed.ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::node::{Overrides, load_config};

    fn new() -> NewNode {
        NewNode {
            name: "Birch".into(),
            jurisdiction: "FR".into(),
            http: None,
            peers: None,
            consensus: None,
            advertise: None,
        }
    }

    #[test]
    fn a_new_node_has_keys_a_configuration_and_a_card() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = NodeDir::new(folder.path().join("a/birch"));
        let advertise = Some("node.birch.example".to_owned());
        let card = init(&dir, &NewNode { advertise, ..new() }).expect("nothing is there");
        assert_eq!(MemberCard::load(&dir.card()).expect("own file"), card);
        let public = |purpose| Key::load(&dir.key(purpose)).expect("own key").public();
        let keys: Vec<_> = card.profile.keys().map(|(key, _)| key).collect();
        assert_eq!(keys, PURPOSES.map(public));
        let config = load_config(&dir.config(), &Overrides::default(), public("transport")).expect("sound");
        assert_eq!((config.name.as_str(), config.peer.len()), ("Birch", 0));
        let reach = card.reach.expect("it runs a node");
        assert_eq!(reach.peers, "node.birch.example:8442");
        assert_eq!(reach.consensus, "node.birch.example:8441");
        assert_eq!(fs::metadata(dir.keys()).expect("there").mode() & 0o777, 0o700);
    }

    #[test]
    fn nothing_is_overwritten() {
        for name in ["node.toml", "member.toml", "genesis.toml", "keys/journal.toml"] {
            let folder = tempfile::tempdir().expect("a folder");
            let dir = NodeDir::new(folder.path());
            fs::create_dir(dir.keys()).expect("a folder");
            fs::write(folder.path().join(name), "mine").expect("a file");
            let error = init(&dir, &new()).expect_err("it is there");
            let rule = if name.starts_with("keys") { "KEY-FILE-EXISTS" } else { "CFG-EXISTS" };
            assert!(error.rule() == rule && error.to_string().contains(name), "{error}");
            assert_eq!(
                fs::read_dir(dir.keys()).expect("there").count(),
                usize::from(name.starts_with("keys"))
            );
        }
    }

    #[test]
    fn what_cannot_be_is_refused_before_anything_is_made() {
        let listen = |text: &str| Some(text.parse::<SocketAddr>().expect("an address"));
        for (new, rule) in [
            (NewNode { name: " ".into(), ..new() }, "NAME-FORM"),
            (NewNode { jurisdiction: "Narnia".into(), ..new() }, "CODE-UNKNOWN"),
            (NewNode { peers: listen("127.0.0.1:8440"), ..new() }, "CFG-PORT-CLASH"),
            (NewNode { peers: listen("0.0.0.0:8442"), ..new() }, "CFG-ADVERTISE"),
            (NewNode { peers: listen("127.0.0.1:0"), ..new() }, "CFG-ADVERTISE"),
            (NewNode { advertise: Some("a b".into()), ..new() }, "CFG-ADVERTISE"),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let dir = NodeDir::new(folder.path().join("birch"));
            assert_eq!(init(&dir, &new).map_err(|error| error.rule()), Err(rule), "{new:?}");
            assert!(!dir.path().exists());
        }
    }

    #[test]
    fn a_failure_takes_away_what_was_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = NodeDir::new(folder.path().join("birch"));
        let config = config(&new()).expect("sound");
        let mut made = Made::default();
        let failed = make(&dir, &config, &mut made, |root, node| {
            fs::write(dir.card(), "in the way").expect("a file");
            let name = Name::new("Birch");
            MemberCard::new(
                MemberProfile { name, jurisdiction: Place::new("FR"), root, node: Some(node) },
                None,
            )
        });
        assert_eq!(failed.map_err(|error| error.rule()), Err("CFG-EXISTS"));
        made.undo();
        assert_eq!(fs::read_dir(dir.path()).expect("not empty, so it stays").count(), 1);
        assert_eq!(fs::read_to_string(dir.card()).expect("not ours"), "in the way");
    }

    #[test]
    fn ipv6_is_advertised_in_brackets() {
        let config = config(&new()).expect("sound");
        for host in ["2001:db8::1", "[2001:db8::1]"] {
            assert_eq!(reach(&config, Some(host)).expect("an address").peers, "[2001:db8::1]:8442");
        }
    }
}
