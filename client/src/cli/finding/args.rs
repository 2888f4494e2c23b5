//! `syngraph finding …`

use clap::Subcommand;
use syngraph_protocol::ids::Id;

use crate::args::AsOf;

/// Which findings to show.
#[derive(Debug, Subcommand)]
pub(crate) enum FindingCommand {
    /// Shows all findings.
    #[command(after_help = "Example:\n  syngraph finding list")]
    List,
    /// Shows a finding.
    #[command(after_help = "Example:\n  syngraph finding show \
            9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    Show {
        /// The finding.
        finding: Id,
        /// As of when.
        #[command(flatten)]
        as_of: AsOf,
    },
}
