//! The genesis file: the founding document as people write, sign and hand it on.
//!
//! ```toml
//! [charter]
//! version = 1
//! name = "Example consortium"
//! time = "2026-01-01T00:00:00.000Z"
//!
//! [charter.params]              # what is left out has its default
//! usage_grace_ms = 7776000000
//!
//! [[charter.members]]
//! power = 1
//! [charter.members.profile]
//! name = "Aster"
//! jurisdiction = "DE"
//! root = "…64 hex digits…"
//! [charter.members.profile.node]
//! validator = "…"
//! transport = "…"
//! journal = "…"
//!
//! [[signatures]]
//! root = "…"
//! signature = "…128 hex digits…"
//! ```
//!
//! *Invariants.* Formatting, comments and order of fields change neither the network's
//! id nor any signature: both are over the canonical encoding of the charter.
//!
//! *Deliberately absent:* whether the document founds anything; `Genesis::verify` says.

use std::path::Path;

use syngraph_protocol::genesis::Genesis;

use crate::file::{self, ConfigError};

/// Reads a genesis file. Signatures and keys are not checked here.
///
/// # Errors
/// [`ConfigError`] naming file, line and field.
pub fn load_genesis(path: &Path) -> Result<Genesis, ConfigError> {
    parse_genesis(&file::read_text(path)?, path)
}

/// Reads a genesis from the text of a file; `path` only names it in errors.
///
/// # Errors
/// `CFG-SYNTAX` with line and field.
pub fn parse_genesis(text: &str, path: &Path) -> Result<Genesis, ConfigError> {
    file::parse(text, path)
}

/// What stands above a genesis that the ceremony writes.
const HEADER: &str = "\
# The founding document of a Syngraph network. What the founders sign is its [charter]:
# whoever changes a value there must have it signed again by all. Comments don't count.
";

/// Writes a genesis into a file that is not there yet.
///
/// # Errors
/// `CFG-EXISTS`, `CFG-WRITE`.
pub fn create_genesis(path: &Path, genesis: &Genesis) -> Result<(), ConfigError> {
    file::create(path, &format!("{HEADER}{}", to_toml(genesis)?))
}

/// Writes a genesis in place of the one that a file has.
///
/// # Errors
/// `CFG-WRITE`; the file is then as it was.
pub fn replace_genesis(path: &Path, genesis: &Genesis) -> Result<(), ConfigError> {
    file::replace(path, &format!("{HEADER}{}", to_toml(genesis)?))
}

/// The text of a genesis file.
///
/// # Errors
/// `CFG-UNWRITABLE`, which no genesis of known types meets.
pub fn to_toml(genesis: &Genesis) -> Result<String, ConfigError> {
    file::to_toml(genesis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use syngraph_protocol::codes::Place;
    use syngraph_protocol::crypto::SecretKey;
    use syngraph_protocol::genesis::{Charter, Founder, GENESIS_VERSION};
    use syngraph_protocol::ids::MemberId;
    use syngraph_protocol::ledger::member::{MemberProfile, NodeKeys};
    use syngraph_protocol::ledger::params::{Fee, Params};
    use syngraph_protocol::money::Ppm;
    use syngraph_protocol::name::Name;
    use syngraph_protocol::time::UtcMs;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    fn founder(name: &str, seed: u8, runs_node: bool) -> Founder {
        let public = |offset: u8| key(seed + offset).public();
        let node = NodeKeys { validator: public(1), transport: public(2), journal: public(3) };
        let node = runs_node.then_some(node);
        let profile =
            MemberProfile { name: Name::new(name), jurisdiction: Place::new("DE"), root: public(0), node };
        let power = u64::from(profile.node.is_some());
        Founder { profile, power }
    }

    fn genesis() -> Genesis {
        let fee = Fee { member: MemberId::new(0), ppm: Ppm::new(25_000) };
        let charter = Charter {
            version: GENESIS_VERSION,
            name: Name::new("Example \"consortium\""),
            time: UtcMs::from_ms(1_700_000_000_000),
            params: Params { fee: Some(fee), ..Params::default() },
            members: vec![founder("Aster", 10, true), founder("Birch", 20, false)],
        };
        let signatures = vec![charter.sign(&key(10)), charter.sign(&key(20))];
        Genesis { charter, signatures }
    }

    #[test]
    fn a_genesis_round_trips_and_stays_signed() {
        let genesis = genesis();
        let network = genesis.verify().expect("signed by both");
        let text = to_toml(&genesis).expect("writable");
        let read = parse_genesis(&text, Path::new("genesis.toml")).expect("own text");
        assert_eq!(read, genesis);
        let reformatted = format!("# a comment\n{}", text.replace(" = ", "   =   "));
        let read = parse_genesis(&reformatted, Path::new("genesis.toml")).expect("the same text");
        assert_eq!(read.verify(), Ok(network));
    }

    #[test]
    fn unknown_fields_and_bad_keys_are_named() {
        let text = to_toml(&genesis()).expect("writable");
        for (from, to, expected) in [
            ("jurisdiction", "juristiction", "charter.members.profile.juristiction: unknown field"),
            ("power = 0", "power = \"0\"", "charter.members.power: invalid type"),
            (
                "[[signatures]]\nroot = \"",
                "[[signatures]]\nroot = \"XX",
                "signatures.root: expected 32 bytes",
            ),
        ] {
            let broken = text.replacen(from, to, 1);
            let error = parse_genesis(&broken, Path::new("genesis.toml")).expect_err(from);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn the_largest_figures_survive() {
        let mut genesis = genesis();
        genesis.charter.params.rows_per_member_day_max = u64::MAX;
        let text = to_toml(&genesis).expect("writable");
        assert_eq!(parse_genesis(&text, Path::new("genesis.toml")).expect("own text"), genesis);
    }
}
