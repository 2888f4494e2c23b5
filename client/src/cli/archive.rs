//! Fetching the history.

pub(crate) mod args;

use serde_json::json;
use syngraph_client::archive::export;

use super::CliError;
use super::progress::Progress;
use super::session::Session;
use crate::output::Answer;
use args::ArchiveCommand;

/// Does what the command line asks for.
///
/// # Errors
/// As the node refuses, and if it cannot be written.
pub(super) async fn run(session: &Session, command: ArchiveCommand) -> Result<Answer, CliError> {
    let ArchiveCommand::Export { out, to } = command;
    let progress = Progress::start();
    let node = session.node()?;
    let mut told = |bytes: u64| progress.say(format!("{} KiB", bytes / 1024));
    let exported = export(&node, &out, to, &mut told).await?;
    drop(progress);
    let (path, bytes) = (exported.path, exported.bytes);
    let text = format!(
        "{bytes} bytes of history in {}; verify them with: syngraph audit replay {} --genesis FILE",
        path.display(),
        path.display()
    );
    Ok(Answer::new(&json!({ "path": path, "bytes": bytes.to_string() })).text(text))
}
