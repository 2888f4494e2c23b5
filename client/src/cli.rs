//! The commands, a room for each noun. Each computes an [`Answer`] or says why not.
//!
//! *Invariants.* Nothing here prints or ends the process. What signs goes through the
//! key's outbox; everything else reads.
//!
//! *Deliberately absent:* any rule of the ledger, and any figure that the ledger or the
//! SDK did not compute.

pub(crate) mod agreement;
pub(crate) mod archive;
pub(crate) mod asset;
pub(crate) mod audit;
pub(crate) mod entry;
mod error;
mod file;
pub(crate) mod finding;
pub(crate) mod key;
pub(crate) mod member;
pub(crate) mod names;
pub(crate) mod period;
mod progress;
pub(crate) mod proposal;
pub(crate) mod royalty;
mod session;
pub(crate) mod split;
pub(crate) mod statement;
mod status;
pub(crate) mod usage;
mod view;

pub(crate) use error::CliError;
use session::Session;

use crate::args::{Command, SessionArgs, completions, man_page, man_pages};
use crate::output::Answer;

/// Does what the command line asks for.
///
/// # Errors
/// [`CliError`].
pub(crate) async fn run(args: SessionArgs, command: Command) -> Result<Answer, CliError> {
    let session = Session::new(args);
    match command {
        Command::Status => status::show(&session).await,
        Command::Key(command) => key::run(&session, command).await,
        Command::Member(command) => member::run(&session, command).await,
        Command::Proposal(command) => proposal::run(&session, command).await,
        Command::Asset(command) => asset::run(&session, command).await,
        Command::Split(command) => split::run(&session, command).await,
        Command::Agreement(command) => agreement::run(&session, command).await,
        Command::Usage(command) => usage::run(&session, command).await,
        Command::Period(command) => period::run(&session, command).await,
        Command::Statement(command) => statement::run(&session, command).await,
        Command::Finding(command) => finding::run(&session, command).await,
        Command::Entry(command) => entry::run(&session, command).await,
        Command::Archive(command) => archive::run(&session, command).await,
        Command::Audit(command) => audit::run(command).await,
        Command::Royalty(command) => royalty::run(&command),
        Command::Completions { shell } => Ok(Answer::document(completions(shell))),
        Command::Man { out } => man(out),
    }
}

fn man(out: Option<std::path::PathBuf>) -> Result<Answer, CliError> {
    match out {
        None => man_page()
            .map(Answer::document)
            .map_err(|source| CliError::Write { path: "the manual page".into(), source }),
        Some(folder) => match man_pages(&folder) {
            Ok(()) => Ok(Answer::new(&serde_json::json!({ "folder": folder }))
                .text(format!("manual pages written into {}", folder.display()))),
            Err(source) => Err(CliError::Write { path: folder, source }),
        },
    }
}
