//! `syngraph royalty …`

use std::path::PathBuf;

use clap::Subcommand;

/// What to calculate.
#[derive(Debug, Subcommand)]
pub(crate) enum RoyaltyCommand {
    /// Runs the ledger's own royalty code on a scenario file and prints what it comes to.
    #[command(after_help = "Example:\n  syngraph royalty compute --scenario scenario.json --json")]
    Compute {
        /// The scenario: JSON, by itself or as `scenario` beside what is `expected`.
        #[arg(long, value_name = "FILE")]
        scenario: PathBuf,
    },
}
