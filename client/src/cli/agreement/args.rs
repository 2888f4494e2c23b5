//! `syngraph agreement …`

use std::path::PathBuf;

use clap::Subcommand;
use syngraph_protocol::ids::Hash;

use crate::args::AsOf;
use crate::cli::names::AgreementName;

/// What to do with agreements.
#[derive(Debug, Subcommand)]
pub(crate) enum AgreementCommand {
    /// Proposes an agreement, and thereby signs it.
    #[command(after_help = "Example:\n  syngraph agreement propose licence.toml --key app.key")]
    Propose {
        /// Its terms: TOML, or JSON if the name ends in .json.
        file: PathBuf,
    },
    /// Shows a proposed version, computes the hash of its terms, and signs it.
    #[command(after_help = "Example:\n  syngraph agreement sign 'Aster for Birch' --key app.key")]
    Sign {
        /// The agreement, by title or id.
        agreement: AgreementName,
        /// Which version; the newest if none.
        #[arg(long, value_name = "NUMBER")]
        version: Option<u32>,
        /// Sign only if the terms have this hash.
        #[arg(long, value_name = "HASH")]
        terms_hash: Option<Hash>,
    },
    /// Proposes the next version of an agreement, and thereby signs it.
    #[command(
        after_help = "Example:\n  syngraph agreement amend 'Aster for Birch' licence-2.toml --key app.key"
    )]
    Amend {
        /// The agreement, by title or id.
        agreement: AgreementName,
        /// The complete new terms: TOML, or JSON if the name ends in .json.
        file: PathBuf,
    },
    /// Shows an agreement's terms, versions and signatures.
    #[command(after_help = "Example:\n  syngraph agreement show 'Aster for Birch'")]
    Show {
        /// The agreement, by title or id.
        agreement: AgreementName,
        /// Which version; the current one and one that waits for signatures if none.
        #[arg(long, value_name = "NUMBER")]
        version: Option<u32>,
        /// As of when.
        #[command(flatten)]
        as_of: AsOf,
    },
    /// Shows all agreements.
    #[command(after_help = "Example:\n  syngraph agreement list")]
    List,
}
