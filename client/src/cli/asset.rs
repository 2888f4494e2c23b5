//! Assets and their versions.

pub(crate) mod args;
mod content;
pub(crate) mod lineage;

use serde_json::Value;
use syngraph_protocol::entry::Deed;
use syngraph_protocol::ids::Id;
use syngraph_protocol::ledger::asset::{Owner, PublishVersion, RegisterAsset};
use syngraph_protocol::money::Weight;
use syngraph_protocol::name::Name;

use super::names::{AssetOrVersion, Found, Noun};
use super::session::{Session, now};
use super::view::{self, Column};
use super::{CliError, split};
use crate::args::AsOf;
use crate::output::{Answer, Table};
use args::{AssetCommand, PublishArgs, Register};

const ASSETS: &[Column] = &[
    ("id", "/id"),
    ("title", "/title"),
    ("class", "/class"),
    ("controller", "/controller_name"),
    ("licence", "/licence"),
    ("since block", "/since"),
];
const VERSIONS: &[Column] =
    &[("version", "/id"), ("label", "/label"), ("released", "/released"), ("bytes", "/size_bytes")];
const OWNERS: &[Column] = &[("owner", "/member_name"), ("weight", "/weight")];
const VERSION: &[Column] = &[
    ("version", "/id"),
    ("label", "/label"),
    ("asset", "/asset_name"),
    ("asset id", "/asset"),
    ("content", "/content"),
    ("bytes", "/size_bytes"),
    ("released", "/released"),
    ("risk", "/risk"),
    ("metered", "/metered"),
];
const PARENTS: &[Column] = &[
    ("parent", "/version"),
    ("label", "/version_name"),
    ("asset", "/asset_name"),
    ("relation", "/relation"),
    ("royalty", "/royalty"),
];

/// Does what the command line asks for.
///
/// # Errors
/// As the node refuses.
pub(super) async fn run(session: &Session, command: AssetCommand) -> Result<Answer, CliError> {
    match command {
        AssetCommand::Register(asset) => register(session, asset).await,
        AssetCommand::Version(version) => publish(session, version).await,
        AssetCommand::Lineage(lineage) => lineage::declare(session, lineage).await,
        AssetCommand::Show { asset, as_of } => show(session, &asset, as_of).await,
        AssetCommand::List => view::list(session, "/v1/assets", ASSETS, "no assets").await,
    }
}

async fn register(session: &Session, asset: Register) -> Result<Answer, CliError> {
    let owners = match asset.owners.as_slice() {
        [] => vec![Owner { member: session.own_member().await?, weight: Weight::new(1) }],
        named => split::owners(session, named).await?,
    };
    let deed = RegisterAsset {
        class: asset.class,
        title: Name::new(asset.title),
        owners,
        licence: asset.licence,
        confidentiality: asset.confidentiality,
        jurisdiction: asset.jurisdiction,
    };
    session.act(Deed::RegisterAsset(deed), "the asset is registered").await
}

async fn publish(session: &Session, version: PublishArgs) -> Result<Answer, CliError> {
    let asset = session.asset(&version.asset).await?;
    let deed = publication(asset, version)?;
    session.act(Deed::PublishVersion(deed), "the version is published").await
}

fn publication(asset: Id, version: PublishArgs) -> Result<PublishVersion, CliError> {
    let (content, size_bytes) = match (&version.file, version.content, version.size_bytes) {
        (Some(file), ..) => content::measure(file)?,
        (None, content, size_bytes) => {
            content.zip(size_bytes).expect("without --file the command line requires both")
        }
    };
    Ok(PublishVersion {
        asset,
        label: Name::new(version.label),
        content,
        size_bytes,
        released: version.released.map_or_else(now, Ok)?,
        risk: version.risk,
        training_flop_log2: version.training_flop_log2,
    })
}

async fn show(session: &Session, name: &AssetOrVersion, as_of: AsOf) -> Result<Answer, CliError> {
    let node = session.node()?;
    match session.directory([Noun::Asset, Noun::Version]).await?.asset_or_version(name)? {
        Found::Asset(id) => {
            let asset: Value = node.get(&view::as_of(format!("/v1/assets/{id}"), as_of)).await?;
            Ok(asset_answer(&asset))
        }
        Found::Version(id) => {
            let version: Value = node.get(&view::as_of(format!("/v1/versions/{id}"), as_of)).await?;
            Ok(version_answer(&version))
        }
    }
}

fn asset_answer(asset: &Value) -> Answer {
    let more = [("confidentiality", "/confidentiality"), ("jurisdiction", "/jurisdiction")];
    let all: Vec<Column> = ASSETS.iter().copied().chain(more).collect();
    let shown = view::items(asset, "/versions");
    let total = asset["versions_total"].as_u64().unwrap_or(0);
    let answer = Answer::new(asset)
        .text(view::fields(asset, &all))
        .text("")
        .table(part(asset, "/owners", OWNERS), "no owners")
        .text("")
        .table(part(asset, "/versions", VERSIONS), "no versions");
    if total > shown.len() as u64 { answer.text(format!("… of {total} versions")) } else { answer }
}

fn version_answer(version: &Value) -> Answer {
    Answer::new(version)
        .text(view::fields(version, VERSION))
        .text("")
        .table(part(version, "/parents", PARENTS), "no declared parents")
}

fn part(value: &Value, pointer: &str, columns: &[Column]) -> Table {
    view::table(view::items(value, pointer), columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::names::tests::id;
    use serde_json::json;
    use syngraph_protocol::ids::Hash;
    use syngraph_protocol::time::UtcMs;

    fn version() -> PublishArgs {
        PublishArgs {
            asset: "Corpus".parse().expect("a name"),
            label: "1.0".into(),
            file: None,
            content: Some(Hash::from_bytes([7; 32])),
            size_bytes: Some(12),
            released: Some(UtcMs::from_ms(5)),
            risk: None,
            training_flop_log2: Some(70),
        }
    }

    #[test]
    fn a_publication_says_what_the_command_line_says() {
        let published = publication(id(1), version()).expect("complete");
        assert_eq!((published.content, published.size_bytes), (Hash::from_bytes([7; 32]), 12));
        assert_eq!((published.released, published.training_flop_log2), (UtcMs::from_ms(5), Some(70)));
        let now = publication(id(1), PublishArgs { released: None, ..version() }).expect("complete");
        assert!(now.released > UtcMs::from_ms(1_600_000_000_000));
    }

    #[test]
    fn the_content_of_a_file_is_measured() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model");
        std::fs::write(&path, "abc").expect("written");
        let published = publication(id(1), PublishArgs { file: Some(path), ..version() }).expect("readable");
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((published.content.to_string().as_str(), published.size_bytes), (abc, 3));
        let missing = PublishArgs { file: Some(folder.path().join("none")), ..version() };
        assert_eq!(publication(id(1), missing).expect_err("no file").rule(), "CFG-READ");
    }

    #[test]
    fn an_asset_shows_owners_and_versions() {
        let asset = json!({"id": "a", "title": "Base", "owners": [{"member_name": "Aster", "weight": "2"}],
            "versions": [], "versions_total": 0});
        let plain = asset_answer(&asset).plain();
        assert!(plain.contains("Aster  2") && plain.contains("no versions"), "{plain}");
    }
}
