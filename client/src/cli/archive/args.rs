//! `syngraph archive …`

use std::path::PathBuf;

use clap::Subcommand;

/// What to do with archives.
#[derive(Debug, Subcommand)]
pub(crate) enum ArchiveCommand {
    /// Fetches the whole history from the node. Nothing is verified: `audit replay` does.
    #[command(after_help = "Example:\n  syngraph archive export --out history.tar.zst\n  \
            syngraph archive export --out history/")]
    Export {
        /// A file if it ends in .tar.zst, else a folder; never overwrites.
        #[arg(long, value_name = "DIR|FILE")]
        out: PathBuf,
        /// The last height; the newest if none.
        #[arg(long, value_name = "HEIGHT")]
        to: Option<u64>,
    },
}
