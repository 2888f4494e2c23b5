//! `syngraph statement …`

use clap::Subcommand;
use syngraph_protocol::time::Month;

/// Which statements to show.
#[derive(Debug, Subcommand)]
pub(crate) enum StatementCommand {
    /// Shows the closed months.
    #[command(after_help = "Example:\n  syngraph statement list")]
    List,
    /// Shows a month's lines, positions and payments.
    #[command(after_help = "Example:\n  syngraph statement show 2026-10 --json")]
    Show {
        /// The month.
        month: Month,
    },
}
