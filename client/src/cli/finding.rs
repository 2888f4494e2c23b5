//! What the ledger noticed.

pub(crate) mod args;

use serde_json::Value;

use super::CliError;
use super::session::Session;
use super::view::{self, Column};
use crate::output::Answer;
use args::FindingCommand;

const COLUMNS: &[Column] = &[
    ("id", "/id"),
    ("severity", "/severity"),
    ("rule", "/rule"),
    ("agreement", "/subject/agreement_name"),
    ("grant", "/subject/grant"),
    ("member", "/subject/member_name"),
    ("month", "/subject/month"),
    ("offence", "/subject/offence"),
    ("rows", "/rows"),
    ("quantity", "/quantity"),
];

/// Does what the command line asks for.
///
/// # Errors
/// As the node refuses.
pub(super) async fn run(session: &Session, command: FindingCommand) -> Result<Answer, CliError> {
    match command {
        FindingCommand::List => view::list(session, "/v1/findings", COLUMNS, "no findings").await,
        FindingCommand::Show { finding, as_of } => {
            let path = view::as_of(format!("/v1/findings/{finding}"), as_of);
            let found: Value = session.node()?.get(&path).await?;
            let more = [("first block", "/first"), ("last block", "/last")];
            let all: Vec<Column> = COLUMNS.iter().copied().chain(more).collect();
            Ok(Answer::new(&found).text(view::fields(&found, &all)))
        }
    }
}
