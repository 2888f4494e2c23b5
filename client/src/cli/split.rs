//! Who owns an asset in which shares.

pub(crate) mod args;

use std::str::FromStr;

use serde_json::Value;
use syngraph_protocol::entry::Deed;
use syngraph_protocol::ids::Id;
use syngraph_protocol::ledger::asset::{Owner, SetSplit};
use syngraph_protocol::money::Weight;

use super::names::{AssetName, Directory, MemberName};
use super::session::Session;
use super::{CliError, proposal, view};
use crate::args::AsOf;
use crate::output::{Answer, Table};
use args::SplitCommand;

/// An owner as the command line names it: `MEMBER=WEIGHT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnerArg {
    member: MemberName,
    weight: Weight,
}

/// Not an owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not like MEMBER=WEIGHT, with a whole weight above 0")]
pub(crate) struct NoOwner(String);

impl FromStr for OwnerArg {
    type Err = NoOwner;

    fn from_str(text: &str) -> Result<Self, NoOwner> {
        let read = || {
            let (member, weight) = text.rsplit_once('=')?;
            let weight = weight.trim().parse::<u64>().ok().filter(|weight| *weight > 0)?;
            Some(Self { member: member.trim().parse().ok()?, weight: Weight::new(weight) })
        };
        read().ok_or_else(|| NoOwner(text.to_owned()))
    }
}

/// Owners by id, sorted as the protocol has them.
fn resolve(directory: &Directory, owners: &[OwnerArg]) -> Result<Vec<Owner>, CliError> {
    let owner =
        |owner: &OwnerArg| Ok(Owner { member: directory.member(&owner.member)?, weight: owner.weight });
    let mut owners = owners.iter().map(owner).collect::<Result<Vec<_>, CliError>>()?;
    owners.sort_by_key(|owner| owner.member);
    Ok(owners)
}

/// The owners that a command line names.
///
/// # Errors
/// `NAME-UNKNOWN`, `NAME-AMBIGUOUS`, and as the node refuses.
pub(super) async fn owners(session: &Session, owners: &[OwnerArg]) -> Result<Vec<Owner>, CliError> {
    let needed = owners.iter().filter_map(|owner| owner.member.needs());
    resolve(&session.directory(needed).await?, owners)
}

/// Does what the command line asks for.
///
/// # Errors
/// As the node refuses.
pub(super) async fn run(session: &Session, command: SplitCommand) -> Result<Answer, CliError> {
    match command {
        SplitCommand::Show { asset, as_of } => show(session, &asset, as_of).await,
        SplitCommand::Set { asset, owners: named } => {
            let asset = session.asset(&asset).await?;
            let owners = owners(session, &named).await?;
            session.act(Deed::SetSplit(SetSplit { asset, owners }), "the split is proposed").await
        }
        SplitCommand::Approve { proposal } => proposal::approve(session, proposal).await,
    }
}

async fn show(session: &Session, name: &AssetName, as_of: AsOf) -> Result<Answer, CliError> {
    let (id, node) = (session.asset(name).await?, session.node()?);
    let asset: Value = node.get(&view::as_of(format!("/v1/assets/{id}"), as_of)).await?;
    let mut waiting: Vec<Value> = Vec::new();
    // What waits is only known of now.
    if as_of.height.is_none() {
        waiting = node.list("/v1/proposals").await?;
        waiting.retain(|proposal| waits_for(proposal, id));
    }
    let splits = asset["splits"].clone();
    let document = serde_json::json!({
        "asset": id, "asset_name": asset["title"], "splits": splits, "proposals": waiting,
    });
    let answer = Answer::new(&document).table(table(&asset), "no owners");
    Ok(if waiting.is_empty() { answer } else { answer.text("").table(proposal::table(&waiting), "") })
}

fn waits_for(proposal: &Value, asset: Id) -> bool {
    let is_of_asset = proposal.pointer("/change/asset").and_then(Value::as_str) == Some(&asset.to_string());
    is_of_asset && proposal["enacted"].is_null()
}

fn table(asset: &Value) -> Table {
    let mut table = Table::new(["from", "owner", "weight"]);
    for split in view::items(asset, "/splits") {
        let from = split["from"].as_str().unwrap_or("the beginning");
        for owner in view::items(split, "/owners") {
            table.push([from.to_owned(), view::text(owner, "/member_name"), view::text(owner, "/weight")]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::names::tests::{directory, id};
    use serde_json::json;
    use syngraph_protocol::ids::MemberId;

    #[test]
    fn owners_are_read_and_sorted() {
        let read = |text: &str| text.parse::<OwnerArg>();
        let owners = [read("Birch=1").expect("fine"), read("0 = 2").expect("fine")];
        let owners = resolve(&directory(), &owners).expect("known");
        let expected = [(0, 2), (1, 1)]
            .map(|(member, weight)| Owner { member: MemberId::new(member), weight: Weight::new(weight) });
        assert_eq!(owners, expected);
        for wrong in ["Aster", "Aster=", "=1", "Aster=0", "Aster=-1", "Aster=1.5"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let unknown = resolve(&directory(), &[read("Cedar=1").expect("a name")]).expect_err("no Cedar");
        assert_eq!(
            (unknown.rule(), unknown.to_string().as_str()),
            ("NAME-UNKNOWN", "there is no member \"Cedar\"")
        );
    }

    #[test]
    fn only_open_proposals_of_the_asset_wait() {
        let proposal = |asset: Id, enacted: Value| json!({"change": {"asset": asset}, "enacted": enacted});
        assert!(waits_for(&proposal(id(1), Value::Null), id(1)));
        assert!(!waits_for(&proposal(id(1), json!(4)), id(1)));
        assert!(!waits_for(&proposal(id(2), Value::Null), id(1)));
    }

    #[test]
    fn the_first_owners_hold_from_the_beginning() {
        let owner = json!({"member_name": "Aster", "weight": "2"});
        let asset =
            json!({"splits": [{"from": null, "owners": [owner]}, {"from": "2026-11", "owners": [owner]}]});
        let plain = Answer::new(&()).table(table(&asset), "none").plain();
        assert!(plain.contains("the beginning  Aster  2\n2026-11        Aster  2"), "{plain}");
    }
}
