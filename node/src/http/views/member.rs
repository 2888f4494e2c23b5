//! Members, their keys, and changes that wait for approval.

use serde::Serialize;
use syngraph_protocol::codes::Place;
use syngraph_protocol::ids::{EntryId, Height, Id, MemberId, PublicKey, Seq};
use syngraph_protocol::journal::Tip;
use syngraph_protocol::ledger::Ledger;
use syngraph_protocol::ledger::agreement::Royalty;
use syngraph_protocol::ledger::lineage::{LineageChange, Parent};
use syngraph_protocol::ledger::member::{
    Key, KeyPurpose, Member, MemberProfile, MemberStatus, NodeKeys, Scope,
};
use syngraph_protocol::ledger::proposal::{Change, Proposal};
use syngraph_protocol::money::Ppm;
use syngraph_protocol::time::UtcMs;

use super::MemberRef;
use super::asset::{OwnerView, owners};

/// A member, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct MemberView {
    id: MemberId,
    name: String,
    jurisdiction: Place,
    status: MemberStatus,
    power: u64,
    since: Height,
    root: PublicKey,
    node: Option<NodeKeys>,
}

/// A member with all its keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct MemberDetail {
    #[serde(flatten)]
    member: MemberView,
    keys: Vec<KeyView>,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct KeyView {
    key: PublicKey,
    purpose: &'static str,
    /// What it may sign; only app keys have one.
    scope: Option<Scope>,
    since: Height,
    until: Option<UtcMs>,
    /// The last entry that counts, once it is revoked.
    revoked: Option<Revoked>,
    /// The block that froze its journal, if it was proved to have forked.
    frozen: Option<Height>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Revoked {
    /// None if none of its entries counts.
    seq: Option<Seq>,
    entry: Option<EntryId>,
}

impl Revoked {
    fn at(end: Tip) -> Self {
        let last = end.next.get().checked_sub(1).map(Seq::new);
        Self { seq: last, entry: last.map(|_| end.last) }
    }
}

/// Shows a member.
pub(in crate::http) fn member(id: MemberId, member: &Member) -> MemberView {
    let Member { profile: MemberProfile { name, jurisdiction, root, node }, power, status, since, .. } =
        member;
    MemberView {
        id,
        name: name.to_string(),
        jurisdiction: jurisdiction.clone(),
        status: *status,
        power: *power,
        since: *since,
        root: *root,
        node: *node,
    }
}

/// Shows a member with its keys.
pub(in crate::http) fn detail(id: MemberId, record: &Member, keys: Vec<KeyView>) -> MemberDetail {
    MemberDetail { member: member(id, record), keys }
}

/// Shows a key.
pub(in crate::http) fn key(id: PublicKey, key: &Key) -> KeyView {
    let (purpose, scope) = match &key.purpose {
        KeyPurpose::Root => ("root", None),
        KeyPurpose::Validator => ("validator", None),
        KeyPurpose::Transport => ("transport", None),
        KeyPurpose::Journal => ("journal", None),
        KeyPurpose::App(scope) => ("app", Some(scope.clone())),
    };
    let revoked = key.revoked.map(Revoked::at);
    KeyView { key: id, purpose, scope, since: key.since, until: key.until, revoked, frozen: key.frozen }
}

/// A proposed change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct ProposalView {
    id: Id,
    change: ChangeView,
    approvals: Vec<MemberRef>,
    /// The block that carried it out; none while it is open.
    enacted: Option<Height>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum ChangeView {
    AdmitMember { profile: MemberProfile },
    Split { asset: Id, asset_name: String, owners: Vec<OwnerView>, initial: bool },
    Lineage { child: Id, child_asset: String, links: Vec<LinkView>, absolute_ppm: Ppm },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct LinkView {
    #[serde(flatten)]
    parent: Parent,
    royalty: Royalty,
}

/// Shows a proposal.
pub(in crate::http) fn proposal(ledger: &Ledger, id: Id, proposal: &Proposal) -> ProposalView {
    let change = match &proposal.change {
        Change::AdmitMember(profile) => ChangeView::AdmitMember { profile: profile.clone() },
        Change::Split(split) => ChangeView::Split {
            asset: split.asset,
            asset_name: super::asset_name(ledger, split.asset),
            owners: owners(ledger, &split.owners),
            initial: split.initial,
        },
        Change::Lineage(change) => lineage(ledger, change),
    };
    let approvals = proposal.approvals.iter().map(|member| MemberRef::new(ledger, *member));
    ProposalView { id, change, approvals: approvals.collect(), enacted: proposal.enacted }
}

fn lineage(ledger: &Ledger, change: &LineageChange) -> ChangeView {
    let LineageChange { declared, royalties, absolute } = change;
    let links = declared.parents.iter().zip(royalties);
    let links = links.map(|(parent, royalty)| LinkView { parent: parent.clone(), royalty: *royalty });
    let asset = ledger.versions.get(&declared.child).map(|version| version.published.asset);
    ChangeView::Lineage {
        child: declared.child,
        child_asset: asset.map(|asset| super::asset_name(ledger, asset)).unwrap_or_default(),
        links: links.collect(),
        absolute_ppm: *absolute,
    }
}
