//! Members, their keys, and changes that wait for approval.

use serde::Serialize;
use syngraph_protocol::codes::Place;
use syngraph_protocol::ids::{EntryId, Height, Id, MemberId, PublicKey, Seq};
use syngraph_protocol::ledger::Ledger;
use syngraph_protocol::ledger::agreement::Royalty;
use syngraph_protocol::ledger::lineage::Parent;
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Revoked {
    seq: Seq,
    entry: EntryId,
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
    let revoked = key.revoked.map(|(seq, entry)| Revoked { seq, entry });
    KeyView { key: id, purpose, scope, since: key.since, until: key.until, revoked }
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
    Lineage { child: Id, parents: Vec<Parent>, royalties: Vec<Royalty>, absolute_ppm: Ppm },
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
        Change::Lineage(change) => ChangeView::Lineage {
            child: change.declared.child,
            parents: change.declared.parents.clone(),
            royalties: change.royalties.clone(),
            absolute_ppm: change.absolute,
        },
    };
    let approvals = proposal.approvals.iter().map(|member| MemberRef::new(ledger, *member));
    ProposalView { id, change, approvals: approvals.collect(), enacted: proposal.enacted }
}
