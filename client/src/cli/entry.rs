//! What was signed.

pub(crate) mod args;

use serde_json::Value;
use syngraph_protocol::ids::EntryId;

use super::CliError;
use super::session::Session;
use super::view::{self, Column};
use crate::output::Answer;
use args::EntryCommand;

const FIELDS: &[Column] = &[
    ("entry", "/id"),
    ("state", "/state"),
    ("block", "/height"),
    ("log index", "/index"),
    ("member", "/entry/head/member"),
    ("journal", "/entry/head/journal"),
    ("number", "/entry/head/seq"),
    ("signed at", "/entry/head/claimed_at"),
    ("outcome", "/outcome"),
    ("rule", "/rule"),
];

/// Does what the command line asks for.
///
/// # Errors
/// As the node refuses.
pub(super) async fn run(session: &Session, command: EntryCommand) -> Result<Answer, CliError> {
    let EntryCommand::Show { entry, brief } = command;
    let found = get(session, &entry, !brief).await?;
    Ok(answer(&found))
}

/// An entry as the node shows it, with what it says or without.
///
/// # Errors
/// As the node refuses.
pub(super) async fn get(session: &Session, entry: &EntryId, body: bool) -> Result<Value, CliError> {
    Ok(session.node()?.get(&format!("/v1/entries/{entry}?body={body}")).await?)
}

fn answer(found: &Value) -> Answer {
    let answer = Answer::new(found).text(view::fields(found, FIELDS));
    match found.pointer("/entry/body") {
        Some(body) => answer.text(format!("says\n{body:#}")),
        None => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_entry_shows_where_it_stands_and_what_it_says() {
        let found = json!({
            "id": "ab", "state": "sealed", "height": 4, "index": 9, "outcome": "applied",
            "entry": {"head": {"member": 1, "journal": "cd", "seq": 2, "claimed_at": "t"}, "signature": "ef",
                "body": {"deed": {"idem": "00", "deed": {"close_period": {"month": "2026-10"}}}}},
        });
        let plain = answer(&found).plain();
        assert!(plain.contains("block      4\nlog index  9\nmember     1"), "{plain}");
        assert!(plain.contains("\"month\": \"2026-10\""), "{plain}");
    }
}
