//! `syngraph proposal …`

use clap::Subcommand;
use syngraph_protocol::ids::Id;

use crate::args::AsOf;

/// What to do with proposals.
#[derive(Debug, Subcommand)]
pub(crate) enum ProposalCommand {
    /// Shows all proposals.
    #[command(after_help = "Example:\n  syngraph proposal list --open")]
    List {
        /// Only those that wait for approvals.
        #[arg(long)]
        open: bool,
    },
    /// Shows a proposal and who has approved it.
    #[command(after_help = "Example:\n  syngraph proposal show \
            9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    Show {
        /// The proposal.
        proposal: Id,
        /// As of when.
        #[command(flatten)]
        as_of: AsOf,
    },
    /// Approves a proposal.
    #[command(after_help = "Example:\n  syngraph proposal approve \
            9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --key journal.key")]
    Approve {
        /// The proposal.
        proposal: Id,
    },
}
