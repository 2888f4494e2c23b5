//! Changes that need several members.

pub(crate) mod args;

use serde_json::Value;
use syngraph_protocol::entry::Deed;
use syngraph_protocol::ids::Id;
use syngraph_protocol::ledger::proposal::Approve;

use super::CliError;
use super::session::Session;
use super::view;
use crate::output::{Answer, Table, commas, or_dash};
use args::ProposalCommand;

/// Does what the command line asks for.
///
/// # Errors
/// As the node refuses.
pub(super) async fn run(session: &Session, command: ProposalCommand) -> Result<Answer, CliError> {
    match command {
        ProposalCommand::List { open } => {
            let mut proposals: Vec<Value> = session.node()?.list("/v1/proposals").await?;
            proposals.retain(|proposal| !open || proposal["enacted"].is_null());
            Ok(Answer::new(&proposals).table(table(&proposals), "no proposals"))
        }
        ProposalCommand::Show { proposal, as_of } => {
            let path = view::as_of(format!("/v1/proposals/{proposal}"), as_of);
            let found: Value = session.node()?.get(&path).await?;
            let answer = Answer::new(&found);
            Ok(answer.table(table([&found]), "").text(owners(&found)))
        }
        ProposalCommand::Approve { proposal } => approve(session, proposal).await,
    }
}

/// Approves a proposal of any kind.
///
/// # Errors
/// As the node refuses.
pub(super) async fn approve(session: &Session, proposal: Id) -> Result<Answer, CliError> {
    session.act(Deed::Approve(Approve { proposal }), &format!("proposal {proposal} is approved")).await
}

/// Proposals as rows.
pub(super) fn table<'a>(proposals: impl IntoIterator<Item = &'a Value>) -> Table {
    let mut table = Table::new(["id", "change", "of", "approved by", "done in block"]);
    for proposal in proposals {
        let subject = match proposal["change"]["kind"].as_str() {
            Some("admit_member") => view::text(proposal, "/change/profile/name"),
            Some("lineage") => view::text(proposal, "/change/child_asset"),
            _ => view::text(proposal, "/change/asset_name"),
        };
        let approvals = view::items(proposal, "/approvals").iter();
        let approvals = commas(approvals.map(|member| view::text(member, "/member_name")));
        let enacted = or_dash(proposal["enacted"].as_u64());
        table.push([
            view::text(proposal, "/id"),
            view::text(proposal, "/change/kind"),
            subject,
            approvals,
            enacted,
        ]);
    }
    table
}

/// The owners that a split proposes.
fn owners(proposal: &Value) -> String {
    let owner =
        |owner: &Value| format!("{}: {}", view::text(owner, "/member_name"), view::text(owner, "/weight"));
    let owners = view::items(proposal, "/change/owners");
    if owners.is_empty() {
        String::new()
    } else {
        format!("proposed owners: {}", commas(owners.iter().map(owner)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_kind_of_change_names_its_subject() {
        let approvals = json!([{"member": 0, "member_name": "Aster"}]);
        let proposals = [
            json!({"id": "a", "change": {"kind": "admit_member", "profile": {"name": "Cedar"}},
                "approvals": approvals, "enacted": 9}),
            json!({"id": "b", "change": {"kind": "split", "asset_name": "Base",
                "owners": [{"member_name": "Birch", "weight": "2"}]}, "approvals": approvals, "enacted": null}),
        ];
        let plain = Answer::new(&()).table(table(&proposals), "none").plain();
        assert!(plain.contains("admit_member  Cedar  Aster        9"), "{plain}");
        assert!(plain.contains("split         Base   Aster        –"), "{plain}");
        assert_eq!(owners(&proposals[1]), "proposed owners: Birch: 2");
        assert_eq!(owners(&proposals[0]), "");
    }
}
