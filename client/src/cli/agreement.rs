//! Agreements: proposed from files, signed by whoever has seen what they say.
//!
//! *Invariants.* What is signed is the hash that this program computed from the whole
//! terms, never one that a node told. The salt of a proposal is random.

mod amount;
pub(crate) mod args;
mod file;
mod price;
mod sign;
mod summary;

use std::path::Path;

use serde_json::Value;
use syngraph_client::api::VersionView;
use syngraph_protocol::entry::Deed;
use syngraph_protocol::ids::{Id, Salt};
use syngraph_protocol::ledger::agreement::{Amend, Propose};

use super::CliError;
use super::names::Noun;
use super::session::Session;
use super::view::{self, Column};
use crate::args::AsOf;
use crate::output::{Answer, Table, commas, or_dash};
use args::AgreementCommand;
use file::{AgreementFile, Draft};

const AGREEMENTS: &[Column] = &[
    ("id", "/id"),
    ("title", "/title"),
    ("kind", "/kind"),
    ("status", "/status"),
    ("version", "/current"),
    ("of", "/versions"),
];

/// Does what the command line asks for.
///
/// # Errors
/// What is wrong with a file, and as the node refuses.
pub(super) async fn run(session: &Session, command: AgreementCommand) -> Result<Answer, CliError> {
    match command {
        AgreementCommand::Propose { file } => propose(session, &file).await,
        AgreementCommand::Sign { agreement, version, terms_hash } => {
            let agreement = session.agreement(&agreement).await?;
            sign::sign(session, agreement, version, terms_hash).await
        }
        AgreementCommand::Amend { agreement, file } => {
            let agreement = session.agreement(&agreement).await?;
            amend(session, agreement, &file).await
        }
        AgreementCommand::Show { agreement, version, as_of } => {
            let agreement = session.agreement(&agreement).await?;
            show(session, agreement, version, as_of).await
        }
        AgreementCommand::List => view::list(session, "/v1/agreements", AGREEMENTS, "no agreements").await,
    }
}

/// Reads a file and finds the ids of what it names.
async fn draft(session: &Session, path: &Path) -> Result<Draft, CliError> {
    let file: AgreementFile = super::file::read(path)?;
    let directory = session.directory(file.needs()).await?;
    file.resolve(&directory, path)
}

fn salt() -> Result<Salt, CliError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| CliError::System { what: error.to_string() })?;
    Ok(Salt::from_bytes(bytes))
}

async fn propose(session: &Session, path: &Path) -> Result<Answer, CliError> {
    let Draft { terms, deadline } = draft(session, path).await?;
    let deed = Propose { terms, salt: salt()?, deadline };
    session.act(Deed::Propose(deed), "the agreement is proposed and signed").await
}

async fn amend(session: &Session, agreement: Id, path: &Path) -> Result<Answer, CliError> {
    let Draft { terms, deadline } = draft(session, path).await?;
    let node = session.node()?;
    let number = current(&node.get(&format!("/v1/agreements/{agreement}")).await?);
    let current = node.agreement_version(&agreement, number).await?;
    let previous = sign::computed_hash(&current)?;
    let deed = Amend { agreement, previous, terms, salt: salt()?, deadline };
    let done = format!("the amendment of version {number} is proposed and signed");
    session.act(Deed::Amend(deed), &done).await
}

/// The version that is in force or was last; the first one of a new agreement.
fn current(agreement: &Value) -> u32 {
    agreement["current"].as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(1)
}

async fn show(
    session: &Session,
    agreement: Id,
    version: Option<u32>,
    as_of: AsOf,
) -> Result<Answer, CliError> {
    let node = session.node()?;
    let path = match version {
        Some(number) => format!("/v1/agreements/{agreement}/versions/{number}"),
        None => format!("/v1/agreements/{agreement}"),
    };
    let found: Value = node.get(&view::as_of(path, as_of)).await?;
    let directory = session.directory([Noun::Member, Noun::Asset, Noun::Version]).await?;
    let mut answer = Answer::new(&found);
    let versions = match version {
        Some(_) => vec![&found],
        None => vec![&found["version"], &found["proposed"]],
    };
    for version in versions.into_iter().filter(|version| !version.is_null()) {
        let read: VersionView = serde_json::from_value(version.clone()).map_err(|error| {
            CliError::Answer { what: format!("version of agreement {agreement}: {error}") }
        })?;
        sign::computed_hash(&read)?;
        answer = answer.text(summary::describe(&read, &directory)).text(signatures(version)).text("");
    }
    Ok(match version {
        Some(_) => answer,
        None => answer.table(history(&found), "no versions"),
    })
}

fn signatures(version: &Value) -> String {
    let names = |pointer| {
        let members = view::items(version, pointer).iter();
        commas(members.map(|member| view::text(member, "/member_name")))
    };
    let missing = names("/missing");
    let missing = if missing.is_empty() { "nobody".to_owned() } else { missing };
    format!("signed by {}; missing: {missing}", names("/signed_by"))
}

fn history(agreement: &Value) -> Table {
    let mut table = Table::new(["version", "status", "proposed in block", "signed by", "terms hash"]);
    for version in view::items(agreement, "/history") {
        let signed = view::items(version, "/signed_by").len();
        let parties = signed + view::items(version, "/missing").len();
        table.push([
            view::text(version, "/version"),
            view::text(version, "/status"),
            or_dash(version["since"].as_u64()),
            format!("{signed} of {parties}"),
            view::text(version, "/terms_hash"),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn history_counts_signatures() {
        let agreement = json!({"current": 2, "history": [
            {"version": 1, "status": "active", "since": 4, "terms_hash": "ab",
             "signed_by": [{"member_name": "Aster"}], "missing": [{"member_name": "Birch"}]}]});
        let plain = Answer::new(&()).table(history(&agreement), "none").plain();
        assert!(plain.contains("1        active  4                  1 of 2     ab"), "{plain}");
        assert_eq!(signatures(&agreement["history"][0]), "signed by Aster; missing: Birch");
        assert_eq!((current(&agreement), current(&json!({}))), (2, 1));
    }

    #[test]
    fn salts_are_random() {
        assert_ne!(salt().expect("randomness"), salt().expect("randomness"));
    }
}
