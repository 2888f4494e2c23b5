//! Everything that a node reads before it starts, looked at as a whole.
//!
//! Unlike [`load_node`](super::load_node), which stops at the first thing that is wrong, a
//! survey names all of them, and also what is sound and yet looks like a mistake.
//!
//! *Deliberately absent:* the ledger's state. Members and keys change after the founding,
//! so what the genesis alone says about them is worth a warning and no more.

use std::path::PathBuf;

use syngraph_protocol::genesis::{Founder, Genesis};
use syngraph_protocol::ids::{NetworkId, PublicKey};
use syngraph_protocol::ledger::member::NodeKeys;

use super::{NodeConfig, NodeDir, NodeFilesError, Overrides, load_config};
use crate::file;
use crate::genesis::parse_genesis;
use crate::key::Key;

/// What a survey found.
#[derive(Debug)]
pub struct Survey {
    /// The network, if the genesis founds one.
    pub network: Option<NetworkId>,
    /// The name of the founder whose node this is, if it is a founder's.
    pub member: Option<String>,
    /// What keeps the node from starting.
    pub problems: Vec<NodeFilesError>,
    /// What looks like a mistake.
    pub warnings: Vec<Warning>,
}

/// Something that looks like a mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// A founder whose vote counts is not among the peers.
    #[error("founder {name} has voting power and no [[peer]] section; add its card: syngraphd peer add")]
    FounderUnknown {
        /// Its name.
        name: String,
    },
    /// A peer that no founder runs.
    #[error(
        "peer {name}: its transport key is no founder's; the network knows it only if it was admitted later"
    )]
    PeerNoFounder {
        /// Its name.
        name: String,
    },
    /// The node votes with a key of no founder.
    #[error("this node's validator key is no founder's; it starts only once the ledger knows the key")]
    Stranger,
    /// The node's keys are not those of its founder.
    #[error("keys/{purpose}.toml is not the key that founder {name} has in the genesis")]
    KeyDiffers {
        /// The founder.
        name: String,
        /// Which key.
        purpose: &'static str,
    },
    /// The root key lies with the node.
    #[error("{}: the root key can admit every other key; move it to where no network reaches", path.display())]
    RootKeyHere {
        /// Its file.
        path: PathBuf,
    },
}

impl Warning {
    /// The stable rule id of this warning.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::FounderUnknown { .. } => "CFG-FOUNDER-UNKNOWN",
            Self::PeerNoFounder { .. } => "CFG-PEER-NO-FOUNDER",
            Self::Stranger => "CFG-STRANGER",
            Self::KeyDiffers { .. } => "CFG-KEY-DIFFERS",
            Self::RootKeyHere { .. } => "CFG-ROOT-KEY-HERE",
        }
    }
}

/// Looks at everything that the node of a directory reads.
#[must_use]
pub fn survey(dir: &NodeDir, overrides: &Overrides) -> Survey {
    let mut problems = Vec::new();
    let keys = load_keys(dir, &mut problems);
    // Without an own key, anybody else's will do to compare the others with.
    let own = keys.map_or(PublicKey::from_bytes([0; 32]), |keys| keys.transport);
    let config = keep(load_config(&dir.config(), overrides, own), &mut problems);
    let genesis = keep(load_genesis(dir), &mut problems);
    let network = genesis.as_ref().map(|genesis| genesis.charter.network());
    let mut warnings = Vec::new();
    let mut member = None;
    if let (Some(genesis), Some(keys)) = (&genesis, keys) {
        let own = own_founder(genesis, &keys);
        member = own.map(|founder| founder.profile.name.as_str().to_owned());
        warnings.extend(own_warnings(own, &keys));
        warnings.extend(config.iter().flat_map(|config| peer_warnings(genesis, config, own)));
    }
    let root = dir.key("root");
    warnings.extend(root.exists().then_some(Warning::RootKeyHere { path: root }));
    Survey { network, member, problems, warnings }
}

fn keep<T>(result: Result<T, NodeFilesError>, problems: &mut Vec<NodeFilesError>) -> Option<T> {
    result.map_err(|error| problems.push(error)).ok()
}

fn load_keys(dir: &NodeDir, problems: &mut Vec<NodeFilesError>) -> Option<NodeKeys> {
    let [validator, transport, journal] = ["validator", "transport", "journal"].map(|purpose| {
        let key = Key::load(&dir.key(purpose)).map_err(NodeFilesError::from);
        keep(key, problems).map(|key| key.public())
    });
    Some(NodeKeys { validator: validator?, transport: transport?, journal: journal? })
}

fn load_genesis(dir: &NodeDir) -> Result<Genesis, NodeFilesError> {
    let path = dir.genesis();
    let genesis = parse_genesis(&file::read_text(&path)?, &path)?;
    genesis.verify().map_err(|source| NodeFilesError::Genesis { path, source })?;
    Ok(genesis)
}

/// The founder that has the node's validator key.
fn own_founder<'a>(genesis: &'a Genesis, keys: &NodeKeys) -> Option<&'a Founder> {
    let votes_with =
        |founder: &&Founder| founder.profile.node.is_some_and(|theirs| theirs.validator == keys.validator);
    genesis.charter.members.iter().find(votes_with)
}

fn own_warnings(own: Option<&Founder>, keys: &NodeKeys) -> Vec<Warning> {
    let Some((founder, theirs)) = own.and_then(|founder| Some((founder, founder.profile.node?))) else {
        return vec![Warning::Stranger];
    };
    let pairs = [("transport", theirs.transport, keys.transport), ("journal", theirs.journal, keys.journal)];
    let differing = pairs.into_iter().filter(|(_, theirs, own)| theirs != own);
    let name = founder.profile.name.as_str();
    differing.map(|(purpose, ..)| Warning::KeyDiffers { name: name.to_owned(), purpose }).collect()
}

fn peer_warnings(genesis: &Genesis, config: &NodeConfig, own: Option<&Founder>) -> Vec<Warning> {
    let founders = &genesis.charter.members;
    let transport = |founder: &Founder| founder.profile.node.map(|node| node.transport);
    let is_peer =
        |founder: &Founder| config.peer.iter().any(|peer| Some(peer.transport) == transport(founder));
    let others = founders.iter().filter(|founder| founder.power > 0 && own != Some(*founder));
    let unknown = others
        .filter(|founder| !is_peer(founder))
        .map(|founder| Warning::FounderUnknown { name: founder.profile.name.as_str().to_owned() });
    let strangers = config
        .peer
        .iter()
        .filter(|peer| founders.iter().all(|founder| transport(founder) != Some(peer.transport)));
    unknown.chain(strangers.map(|peer| Warning::PeerNoFounder { name: peer.name.clone() })).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use syngraph_protocol::crypto::SecretKey;
    use syngraph_protocol::ledger::params::Params;
    use syngraph_protocol::time::UtcMs;

    use super::*;
    use crate::card::tests::card;
    use crate::genesis::create_genesis;
    use crate::node::init::{NewNode, init};
    use crate::node::introduce::introduce;
    use crate::{card::MemberCard, ceremony};

    fn founded(dir: &NodeDir, others: &[MemberCard]) {
        let (name, jurisdiction) = ("Aster".to_owned(), "DE".to_owned());
        let new = NewNode { name, jurisdiction, http: None, peers: None, consensus: None, advertise: None };
        let own = init(dir, &new).expect("nothing is there");
        let mut genesis = ceremony::draft("Example", UtcMs::from_ms(0), Params::default()).expect("sound");
        for card in std::iter::once(&own).chain(others) {
            ceremony::add(&mut genesis, card, None).expect("new");
        }
        let root = Key::load(&dir.key("root")).expect("own key");
        ceremony::sign(&mut genesis, &root, Some(&own)).expect("a founder");
        for seed in [20, 30].iter().take(others.len()) {
            let root = Key::new(SecretKey::from_seed(&[*seed; 32]), "root");
            ceremony::sign(&mut genesis, &root, None).expect("a founder");
        }
        create_genesis(&dir.genesis(), &genesis).expect("written");
    }

    fn rules(survey: &Survey) -> (Vec<&'static str>, Vec<&'static str>) {
        let problems = survey.problems.iter().map(NodeFilesError::rule).collect();
        (problems, survey.warnings.iter().map(Warning::rule).collect())
    }

    #[test]
    fn a_founder_that_is_no_peer_is_missed() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = NodeDir::new(folder.path().join("aster"));
        let others = [card("Birch", 20), card("Cedar", 30)];
        founded(&dir, &others);
        fs::rename(dir.key("root"), folder.path().join("root.toml")).expect("moved away");
        let found = survey(&dir, &Overrides::default());
        assert_eq!(rules(&found), (vec![], vec!["CFG-FOUNDER-UNKNOWN"; 2]));
        assert_eq!(found.member.as_deref(), Some("Aster"));
        assert!(found.network.is_some());
        for card in others.iter().chain([&card("Dill", 40)]) {
            let path = folder.path().join("card.toml");
            fs::write(&path, card.to_text().expect("writable")).expect("written");
            introduce(&dir, &[path]).expect("new");
        }
        assert_eq!(rules(&survey(&dir, &Overrides::default())), (vec![], vec!["CFG-PEER-NO-FOUNDER"]));
    }

    #[test]
    fn keys_of_somebody_else_are_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = NodeDir::new(folder.path().join("aster"));
        founded(&dir, &[]);
        for (purpose, expected) in [("journal", "CFG-KEY-DIFFERS"), ("validator", "CFG-STRANGER")] {
            fs::remove_file(dir.key(purpose)).expect("removed");
            Key::generate(purpose).expect("randomness").save(&dir.key(purpose)).expect("stored");
            let (problems, warnings) = rules(&survey(&dir, &Overrides::default()));
            assert_eq!(problems, Vec::<&str>::new());
            assert!(warnings.contains(&expected) && warnings.contains(&"CFG-ROOT-KEY-HERE"), "{warnings:?}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = NodeDir::new(folder.path().join("aster"));
        let (problems, _) = rules(&survey(&dir, &Overrides::default()));
        assert_eq!(problems, ["CFG-READ"; 5]);
        founded(&dir, &[]);
        fs::write(dir.config(), "name = \"a\"\n[http]\nlisten = \"127.0.0.1:8441\"\n").expect("written");
        let genesis = fs::read_to_string(dir.genesis()).expect("there");
        fs::write(dir.genesis(), genesis.replace("Example", "Ample")).expect("written");
        fs::remove_file(dir.key("journal")).expect("removed");
        let found = survey(&dir, &Overrides::default());
        assert_eq!(rules(&found).0, ["CFG-READ", "CFG-PORT-CLASH", "GEN-SIGNATURE"]);
        let Some(NodeFilesError::Config { line, field, .. }) = found.problems.get(1) else {
            panic!("{found:?}")
        };
        assert_eq!((*line, field.as_str()), (1, "consensus.listen"));
    }
}
