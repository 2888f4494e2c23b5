//! Where the node stands.

use super::CliError;
use super::session::Session;
use crate::output::Answer;

/// Shows where the node stands.
///
/// # Errors
/// As the node refuses.
pub(super) async fn show(session: &Session) -> Result<Answer, CliError> {
    let node = session.node()?;
    let status = node.status().await?;
    let readiness = if status.ready { "ready" } else { "not ready to take entries" };
    let text = format!(
        "{} of {} ({}): {readiness}\nnetwork     {}\nheight      {} at {}\nblock       {}\nstate root  {}\n\
         sealed      {} entries, {} usage rows",
        node.url(),
        status.name,
        status.member,
        status.network,
        status.height,
        status.time,
        status.block,
        status.state_root,
        status.log_size,
        status.rows_sealed,
    );
    Ok(Answer::new(&status).text(text))
}
