//! Assets, their owners, their versions and what those were made from.

use serde::Serialize;
use syngraph_protocol::codes::Place;
use syngraph_protocol::ids::{Hash, Height, Id, MemberId};
use syngraph_protocol::ledger::Ledger;
use syngraph_protocol::ledger::agreement::{GrantRef, Royalty};
use syngraph_protocol::ledger::asset::{Asset, AssetClass, Confidentiality, Owner, RiskClass, Version};
use syngraph_protocol::ledger::lineage::{Link, Relation, parents_of};
use syngraph_protocol::money::{Ppm, Weight};
use syngraph_protocol::time::{Month, UtcMs};

use super::{MemberRef, asset_name, member_name};

/// Most versions shown with their asset; the list of versions has all.
pub(in crate::http) const VERSIONS_SHOWN_MAX: usize = 1_000;

/// An asset, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct AssetView {
    id: Id,
    class: AssetClass,
    title: String,
    controller: MemberId,
    controller_name: String,
    licence: String,
    confidentiality: Confidentiality,
    jurisdiction: Place,
    since: Height,
    /// The owners who were last agreed on.
    owners: Vec<OwnerView>,
}

/// An asset with its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct AssetDetail {
    #[serde(flatten)]
    asset: AssetView,
    /// Who owns it from which month on; the first from the beginning.
    splits: Vec<SplitView>,
    /// How many versions it has.
    versions_total: usize,
    /// Its versions, at most [`VERSIONS_SHOWN_MAX`].
    versions: Vec<VersionView>,
}

/// An owner and its share: weight over the sum of weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct OwnerView {
    #[serde(flatten)]
    member: MemberRef,
    weight: Weight,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct SplitView {
    from: Option<Month>,
    owners: Vec<OwnerView>,
}

/// A version, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct VersionView {
    id: Id,
    asset: Id,
    asset_name: String,
    label: String,
    content: Hash,
    size_bytes: String,
    released: UtcMs,
    risk: Option<RiskClass>,
    training_flop_log2: Option<u8>,
    since: Height,
    metered: bool,
}

/// A version with what it was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct VersionDetail {
    #[serde(flatten)]
    version: VersionView,
    parents: Vec<ParentView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ParentView {
    version: Id,
    version_name: String,
    asset: Option<Id>,
    asset_name: String,
    relation: Relation,
    material_ppm: Option<Ppm>,
    grant: Option<GrantRef>,
    royalty: Royalty,
    from: Option<Month>,
    since: Height,
}

/// Shows owners.
pub(super) fn owners(ledger: &Ledger, owners: &[Owner]) -> Vec<OwnerView> {
    let show =
        |owner: &Owner| OwnerView { member: MemberRef::new(ledger, owner.member), weight: owner.weight };
    owners.iter().map(show).collect()
}

/// Shows an asset.
pub(in crate::http) fn asset(ledger: &Ledger, id: Id, asset: &Asset) -> AssetView {
    AssetView {
        id,
        class: asset.class,
        title: asset.title.to_string(),
        controller: asset.controller,
        controller_name: member_name(ledger, asset.controller),
        licence: asset.licence.clone(),
        confidentiality: asset.confidentiality,
        jurisdiction: asset.jurisdiction.clone(),
        since: asset.since,
        owners: owners(ledger, asset.owners()),
    }
}

/// Shows an asset with its splits and the versions published until some height.
pub(in crate::http) fn asset_detail(ledger: &Ledger, id: Id, record: &Asset, until: Height) -> AssetDetail {
    let splits = record.splits.iter();
    let splits = splits.map(|split| SplitView { from: split.from, owners: owners(ledger, &split.owners) });
    let of_asset = |version: &Version| version.published.asset == id && version.since <= until;
    let versions = || ledger.versions.iter().filter(|(_, record)| of_asset(record));
    let shown = versions().take(VERSIONS_SHOWN_MAX).map(|(id, record)| version(ledger, *id, record));
    AssetDetail {
        asset: asset(ledger, id, record),
        splits: splits.collect(),
        versions_total: versions().count(),
        versions: shown.collect(),
    }
}

/// Shows a version.
pub(in crate::http) fn version(ledger: &Ledger, id: Id, version: &Version) -> VersionView {
    let published = &version.published;
    VersionView {
        id,
        asset: published.asset,
        asset_name: asset_name(ledger, published.asset),
        label: published.label.to_string(),
        content: published.content,
        size_bytes: published.size_bytes.to_string(),
        released: published.released,
        risk: published.risk,
        training_flop_log2: published.training_flop_log2,
        since: version.since,
        metered: version.metered,
    }
}

/// Shows a version with the parents declared until some height.
pub(in crate::http) fn version_detail(
    ledger: &Ledger,
    id: Id,
    record: &Version,
    until: Height,
) -> VersionDetail {
    let parents = parents_of(ledger, id).filter(|link| link.since <= until);
    VersionDetail {
        version: version(ledger, id, record),
        parents: parents.map(|link| parent(ledger, link)).collect(),
    }
}

fn parent(ledger: &Ledger, link: &Link) -> ParentView {
    let id = link.parent.version;
    let published = ledger.versions.get(&id).map(|version| &version.published);
    ParentView {
        version: id,
        version_name: published.map_or_else(String::new, |published| published.label.to_string()),
        asset: published.map(|published| published.asset),
        asset_name: published.map_or_else(String::new, |published| asset_name(ledger, published.asset)),
        relation: link.parent.relation,
        material_ppm: link.parent.material,
        grant: link.parent.grant,
        royalty: link.royalty,
        from: link.from,
        since: link.since,
    }
}
