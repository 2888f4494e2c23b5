//! `syngraph period …`

use clap::Subcommand;
use syngraph_protocol::time::Month;

/// What to do with months.
#[derive(Debug, Subcommand)]
pub(crate) enum PeriodCommand {
    /// Closes a month: every line is rated and distributed once.
    #[command(after_help = "Example:\n  syngraph period close 2026-10 --key app.key")]
    Close {
        /// The month.
        month: Month,
    },
    /// Nets a closed month into payments.
    #[command(after_help = "Example:\n  syngraph period settle 2026-10 --key app.key")]
    Settle {
        /// The month.
        month: Month,
    },
}
