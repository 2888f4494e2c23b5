//! `syngraph member …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use syngraph_protocol::codes::Place;
use syngraph_protocol::ids::Id;

use crate::args::AsOf;
use crate::cli::names::MemberName;

/// What to do with members.
#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Shows all members.
    #[command(after_help = "Example:\n  syngraph member list")]
    List,
    /// Shows a member and its keys.
    #[command(after_help = "Example:\n  syngraph member show Aster")]
    Show {
        /// The member, by name or id.
        member: MemberName,
        /// As of when.
        #[command(flatten)]
        as_of: AsOf,
    },
    /// Writes a newcomer's application, with proof that its keys are in its hands.
    #[command(
        after_help = "Example:\n  syngraph member apply --name Cedar --jurisdiction FR --root root.key \
            --out cedar.json"
    )]
    Apply(Apply),
    /// Proposes to admit the member of an application.
    #[command(after_help = "Example:\n  syngraph member admit cedar.json --key journal.key")]
    Admit {
        /// The application.
        file: PathBuf,
    },
    /// Approves the admission of a member.
    #[command(after_help = "Example:\n  syngraph member approve \
            9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --key journal.key")]
    Approve {
        /// The proposal, as `proposal list` shows it.
        proposal: Id,
    },
}

/// A newcomer.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// Its name.
    #[arg(long)]
    pub(crate) name: String,
    /// The place whose law it is under, as in DE or DE-BY.
    #[arg(long, value_parser = place)]
    pub(crate) jurisdiction: Place,
    /// Its root key's file.
    #[arg(long, value_name = "FILE")]
    pub(crate) root: PathBuf,
    /// Its node's validator key's file; with it the two others.
    #[arg(long, value_name = "FILE", requires = "transport", requires = "journal")]
    pub(crate) validator: Option<PathBuf>,
    /// Its node's transport key's file.
    #[arg(long, value_name = "FILE", requires = "validator")]
    pub(crate) transport: Option<PathBuf>,
    /// Its node's journal key's file.
    #[arg(long, value_name = "FILE", requires = "validator")]
    pub(crate) journal: Option<PathBuf>,
    /// The network's genesis file; without one the node is asked which network it is.
    #[arg(long, value_name = "FILE")]
    pub(crate) genesis: Option<PathBuf>,
    /// Where to put the application; never overwrites.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// Reads a place that the protocol knows.
pub(crate) fn place(text: &str) -> Result<Place, String> {
    let place = Place::new(text);
    place.check().map(|()| place).map_err(|error| error.to_string())
}
