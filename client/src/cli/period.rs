//! Closing and settling months.

pub(crate) mod args;

use syngraph_protocol::entry::Deed;
use syngraph_protocol::ledger::period::{ClosePeriod, Settle};

use super::CliError;
use super::session::Session;
use crate::output::Answer;
use args::PeriodCommand;

/// Does what the command line asks for.
///
/// # Errors
/// As the node refuses.
pub(super) async fn run(session: &Session, command: PeriodCommand) -> Result<Answer, CliError> {
    match command {
        PeriodCommand::Close { month } => {
            session.act(Deed::ClosePeriod(ClosePeriod { month }), &format!("{month} is closed")).await
        }
        PeriodCommand::Settle { month } => {
            session.act(Deed::Settle(Settle { month }), &format!("{month} is settled")).await
        }
    }
}
