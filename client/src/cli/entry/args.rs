//! `syngraph entry …`

use clap::Subcommand;
use syngraph_protocol::ids::EntryId;

/// Which entry to show.
#[derive(Debug, Subcommand)]
pub(crate) enum EntryCommand {
    /// Shows an entry, how far it has come, and what became of it.
    #[command(after_help = "Example:\n  syngraph entry show \
            9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    Show {
        /// The entry.
        entry: EntryId,
        /// Leave out what it says.
        #[arg(long)]
        brief: bool,
    },
}
