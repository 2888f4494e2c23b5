//! A member's card: what others must know to found a network with it and to reach its
//! node. Nothing in it is secret.
//!
//! ```toml
//! version = 1
//!
//! [profile]                    # as it will stand in the genesis
//! name = "Birch"
//! jurisdiction = "FR"
//! root = "…64 hex digits…"
//! [profile.node]
//! validator = "…"
//! transport = "…"
//! journal = "…"
//!
//! [reach]                      # of its node, if it runs one
//! peers = "node.birch.example:8442"
//! consensus = "node.birch.example:8441"
//! ```
//!
//! *Invariants.* A card that was read is sound in itself: its keys may be registered, and
//! a node has addresses that can be dialled.
//!
//! *Deliberately absent:* proof of whose card it is. Members get each other's cards by a
//! way they trust, and `genesis sign` compares the genesis with the signer's own.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use syngraph_protocol::ledger::member::{MemberProfile, ProfileError};

use crate::file::{self, ConfigError};
use crate::node::{PeerConfig, address};

/// The version of the file that this code writes and reads.
pub const CARD_VERSION: u16 = 1;

/// What stands above a card.
const HEADER: &str = "\
# The card of a member of a Syngraph network: nothing in it is secret. Whoever writes the
# genesis adds it (`syngraphd genesis add`); every other member adds it to its node's
# peers (`syngraphd peer add`).
";

/// A member's card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberCard {
    /// [`CARD_VERSION`].
    pub version: u16,
    /// Who it is, as it will stand in the genesis.
    pub profile: MemberProfile,
    /// Where its node is reached; none for a member that runs no node.
    pub reach: Option<Reach>,
}

/// Where a member's node is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reach {
    /// Its peer port, `host:port`.
    pub peers: String,
    /// Its consensus port, `host:port`.
    pub consensus: String,
}

/// Why a card is refused.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// A version that this code doesn't know.
    #[error("{}: cards of version {got} are not known here", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        got: u16,
    },
    /// Its profile could not be registered.
    #[error("{}: profile: {source}", path.display())]
    Profile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ProfileError,
    },
    /// It has keys of a node without addresses, or the reverse.
    #[error("{}: [profile.node] and [reach] stand together or not at all", path.display())]
    Halves {
        /// The file.
        path: PathBuf,
    },
    /// An address that nobody can dial.
    #[error("{}:{line}: reach.{field}: {text:?} is no host:port that can be dialled", path.display())]
    Address {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The field.
        field: &'static str,
        /// What stands there.
        text: String,
    },
}

impl CardError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::File(error) => error.rule(),
            Self::Version { .. } => "CARD-VERSION",
            Self::Profile { source, .. } => source.rule(),
            Self::Halves { .. } => "CARD-HALVES",
            Self::Address { .. } => "CFG-ADDRESS",
        }
    }
}

impl MemberCard {
    /// The card of a member.
    #[must_use]
    pub const fn new(profile: MemberProfile, reach: Option<Reach>) -> Self {
        Self { version: CARD_VERSION, profile, reach }
    }

    /// Reads and checks a card.
    ///
    /// # Errors
    /// [`CardError`] naming the file and what is wrong.
    pub fn load(path: &Path) -> Result<Self, CardError> {
        Self::parse(&file::read_text(path)?, path)
    }

    /// Reads a card from the text of a file; `path` only names it in errors.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, CardError> {
        let card: Self = file::parse(text, path)?;
        let path = || path.to_owned();
        if card.version != CARD_VERSION {
            return Err(CardError::Version { path: path(), got: card.version });
        }
        card.profile.check().map_err(|source| CardError::Profile { path: path(), source })?;
        if card.profile.node.is_some() != card.reach.is_some() {
            return Err(CardError::Halves { path: path() });
        }
        let reach = card.reach.iter();
        for (field, address) in
            reach.flat_map(|reach| [("peers", &reach.peers), ("consensus", &reach.consensus)])
        {
            if address::parse(address).is_none() {
                let line = file::line_of(text, "reach", 0, field);
                return Err(CardError::Address { path: path(), line, field, text: address.clone() });
            }
        }
        Ok(card)
    }

    /// The text of the file.
    ///
    /// # Errors
    /// `CFG-UNWRITABLE`, which no card of known types meets.
    pub fn to_text(&self) -> Result<String, ConfigError> {
        Ok(format!("{HEADER}{}", file::to_toml(self)?))
    }

    /// The node as a peer of other nodes; none for a member that runs no node.
    #[must_use]
    pub fn peer(&self) -> Option<PeerConfig> {
        let (node, reach) = (self.profile.node?, self.reach.as_ref()?);
        Some(PeerConfig {
            name: self.profile.name.as_str().to_owned(),
            transport: node.transport,
            peers: reach.peers.clone(),
            consensus: reach.consensus.clone(),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use syngraph_protocol::codes::Place;
    use syngraph_protocol::crypto::SecretKey;
    use syngraph_protocol::ledger::member::NodeKeys;
    use syngraph_protocol::name::Name;

    /// A card whose keys come from `seed`, `seed + 1`…
    pub(crate) fn card(name: &str, seed: u8) -> MemberCard {
        let public = |offset: u8| SecretKey::from_seed(&[seed + offset; 32]).public();
        let node = NodeKeys { validator: public(1), transport: public(2), journal: public(3) };
        let profile = MemberProfile {
            name: Name::new(name),
            jurisdiction: Place::new("DE"),
            root: public(0),
            node: Some(node),
        };
        let reach = Reach { peers: format!("host-{seed}:8442"), consensus: format!("host-{seed}:8441") };
        MemberCard::new(profile, Some(reach))
    }

    #[test]
    fn a_card_reads_back_and_becomes_a_peer() {
        let card = card("Birch \"B\"", 10);
        let text = card.to_text().expect("writable");
        assert_eq!(MemberCard::parse(&text, Path::new("member.toml")).expect("own text"), card);
        let peer = card.peer().expect("it runs a node");
        assert_eq!((peer.name.as_str(), peer.peers.as_str()), ("Birch \"B\"", "host-10:8442"));
        let mut without = card;
        (without.profile.node, without.reach) = (None, None);
        let text = without.to_text().expect("writable");
        let without = MemberCard::parse(&text, Path::new("member.toml")).expect("a member without a node");
        assert_eq!(without.peer(), None);
    }

    #[test]
    fn a_card_that_cannot_be_used_is_refused() {
        let text = card("Birch", 10).to_text().expect("writable");
        for (from, to, rule) in [
            ("version = 1", "version = 2", "CARD-VERSION"),
            ("\"DE\"", "\"XX\"", "CODE-UNKNOWN"),
            ("\"Birch\"", "\"\"", "NAME-FORM"),
            ("host-10:8441", "host-10:0", "CFG-ADDRESS"),
            ("[reach]\npeers = \"host-10:8442\"\nconsensus = \"host-10:8441\"\n", "", "CARD-HALVES"),
            ("[reach]", "[rich]", "CFG-SYNTAX"),
        ] {
            assert!(text.contains(from), "{from} in {text}");
            let error = MemberCard::parse(&text.replace(from, to), Path::new("member.toml")).expect_err(to);
            assert_eq!(error.rule(), rule, "{error}");
            assert!(error.to_string().starts_with("member.toml"), "{error}");
        }
    }
}
