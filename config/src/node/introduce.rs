//! Telling a node of the other members' nodes, from their cards.
//!
//! *Invariants.* Sections are appended to `node.toml`; what people wrote there stays as it
//! is, comments included. The new text is checked as the node will check it, and replaces
//! the old in one step. A card that is refused changes nothing.

use std::path::{Path, PathBuf};

use super::check::check_peer;
use super::{NodeConfig, NodeDir, NodeFilesError, commented_peer};
use crate::card::{CardError, MemberCard};
use crate::file::{self, ConfigError};
use crate::key::{Key, KeyError};

/// Why nodes are not introduced.
#[derive(Debug, thiserror::Error)]
pub enum IntroduceError {
    /// A card cannot be used.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The card's member runs no node.
    #[error("{}: this member runs no node", path.display())]
    NoNode {
        /// The card.
        path: PathBuf,
    },
    /// The configuration is unsound, or would be.
    #[error(transparent)]
    Node(#[from] NodeFilesError),
    /// The configuration cannot be read or written.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// The node's own key cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl IntroduceError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Card(error) => error.rule(),
            Self::NoNode { .. } => "CARD-NO-NODE",
            Self::Node(error) => error.rule(),
            Self::File(error) => error.rule(),
            Self::Key(error) => error.rule(),
        }
    }
}

/// Appends a `[[peer]]` section for each card to a node's configuration, and gives their
/// names in order.
///
/// # Errors
/// [`IntroduceError`]; nothing is written then.
pub fn introduce(dir: &NodeDir, cards: &[PathBuf]) -> Result<Vec<String>, IntroduceError> {
    let own = Key::load(&dir.key("transport"))?.public();
    let path = dir.config();
    let mut text = file::read_text(&path)?;
    let mut config: NodeConfig = file::parse(&text, &path)?;
    super::check::check(&config, own).map_err(|found| found.within(&text, &path))?;
    let before = config.peer.len();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    for card_path in cards {
        let card_text = file::read_text(card_path)?;
        let card = MemberCard::parse(&card_text, card_path)?;
        let peer = card.peer().ok_or_else(|| IntroduceError::NoNode { path: card_path.clone() })?;
        check_peer(&peer, &config.peer, own)
            .map_err(|(key, source)| in_card(card_path, &card_text, key, source))?;
        text.push_str(&commented_peer(&peer));
        config.peer.push(peer);
    }
    // A file may be written in a way that sections cannot follow: `peer = []`.
    let written: NodeConfig = file::parse(&text, &path)?;
    super::check::check(&written, own).map_err(|found| found.within(&text, &path))?;
    if before < written.peer.len() {
        file::replace(&path, &text)?;
    }
    Ok(written.peer.into_iter().skip(before).map(|peer| peer.name).collect())
}

/// A refusal of a peer with its place in the card that it came from.
fn in_card(path: &Path, text: &str, key: &str, source: super::NodeConfigError) -> NodeFilesError {
    let (table, key) = match key {
        "name" => ("profile", "name"),
        "transport" => ("profile.node", "transport"),
        address => ("reach", address),
    };
    let line = file::line_of(text, table, 0, key);
    NodeFilesError::Config { path: path.to_owned(), line, field: format!("{table}.{key}"), source }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::card::tests::card;
    use crate::node::init::{NewNode, init};
    use crate::node::{Overrides, load_config};

    fn node(folder: &Path) -> NodeDir {
        let dir = NodeDir::new(folder.join("aster"));
        let (name, jurisdiction) = ("Aster".to_owned(), "DE".to_owned());
        let new = NewNode { name, jurisdiction, http: None, peers: None, consensus: None, advertise: None };
        init(&dir, &new).expect("nothing is there");
        dir
    }

    fn write(folder: &Path, card: &MemberCard) -> PathBuf {
        let path = folder.join(format!("{}.toml", card.profile.name));
        fs::write(&path, card.to_text().expect("writable")).expect("written");
        path
    }

    #[test]
    fn sections_are_appended_and_the_rest_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = node(folder.path());
        let before =
            format!("{}# mine, without an end of line", fs::read_to_string(dir.config()).expect("there"));
        fs::write(dir.config(), &before).expect("written");
        let cards =
            [("Birch", 20), ("Cedar", 30)].map(|(name, seed)| write(folder.path(), &card(name, seed)));
        assert_eq!(introduce(&dir, &cards[..1]).expect("new"), ["Birch"]);
        assert_eq!(introduce(&dir, &cards[1..]).expect("new"), ["Cedar"]);
        let after = fs::read_to_string(dir.config()).expect("there");
        assert!(after.starts_with(&before), "{after}");
        let own = Key::load(&dir.key("transport")).expect("own key").public();
        let config = load_config(&dir.config(), &Overrides::default(), own).expect("sound");
        assert_eq!(
            config.peer,
            [card("Birch", 20), card("Cedar", 30)].map(|card| card.peer().expect("a node"))
        );
    }

    #[test]
    fn a_refused_card_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = node(folder.path());
        let birch = write(folder.path(), &card("Birch", 20));
        let mut without = card("Dill", 40);
        (without.profile.node, without.reach) = (None, None);
        let without = write(folder.path(), &without);
        let same_key = write(folder.path(), &card("Elder", 20));
        introduce(&dir, std::slice::from_ref(&birch)).expect("new");
        let before = fs::read_to_string(dir.config()).expect("there");
        let cedar = write(folder.path(), &card("Cedar", 30));
        for (refused, rule, place) in [
            (&birch, "CFG-PEER-TWICE", "Birch.toml:7: profile.name: "),
            (&same_key, "CFG-PEER-TWICE", "Elder.toml:13: profile.node.transport: "),
            (&dir.card(), "CFG-PEER-SELF", "member.toml:13: profile.node.transport: "),
            (&without, "CARD-NO-NODE", "Dill.toml: "),
        ] {
            let error = introduce(&dir, &[cedar.clone(), refused.clone()]).expect_err(rule);
            assert_eq!(error.rule(), rule, "{error}");
            assert!(error.to_string().contains(place), "{error}");
            assert_eq!(fs::read_to_string(dir.config()).expect("there"), before);
        }
        fs::write(dir.config(), "name = \"Aster\"\npeer = []\n").expect("written");
        assert_eq!(introduce(&dir, &[cedar]).map_err(|error| error.rule()), Err("CFG-SYNTAX"));
    }
}
