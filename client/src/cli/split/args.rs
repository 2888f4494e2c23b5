//! `syngraph split …`

use clap::Subcommand;
use syngraph_protocol::ids::Id;

use super::OwnerArg;
use crate::args::AsOf;
use crate::cli::names::AssetName;

/// What to do with splits.
#[derive(Debug, Subcommand)]
pub(crate) enum SplitCommand {
    /// Shows who owns an asset from which month on, and which changes are proposed.
    #[command(after_help = "Example:\n  syngraph split show 'Aster base'")]
    Show {
        /// The asset, by title or id.
        asset: AssetName,
        /// As of when.
        #[command(flatten)]
        as_of: AsOf,
    },
    /// Proposes other owners; holds once all have approved whose share falls or begins.
    #[command(
        after_help = "Example:\n  syngraph split set 'Aster base' --owner Aster=2 --owner Birch=1 --key app.key"
    )]
    Set {
        /// The asset, by title or id.
        asset: AssetName,
        /// An owner and its weight; repeat for all of them.
        #[arg(long = "owner", value_name = "MEMBER=WEIGHT", required = true)]
        owners: Vec<OwnerArg>,
    },
    /// Approves a proposed split.
    #[command(after_help = "Example:\n  syngraph split approve \
            9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --key app.key")]
    Approve {
        /// The proposal, as `split show` shows it.
        proposal: Id,
    },
}
