//! Assets, their versions, and who owns them in which shares.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::member;
use super::proposal::{self, Change};
pub use super::royalty::waterfall::Owner;
use super::table::Record;
use super::{At, Event, Ledger, Refusal};
use crate::codec;
use crate::codes::Place;
use crate::ids::{Hash, Height, Id, MemberId};
use crate::limits::{LICENCE_BYTES_MAX, OWNERS_MAX, STATE_VALUE_BYTES_MAX};
use crate::money::Weight;
use crate::name::Name;
use crate::refusal::refusals;
use crate::time::{Month, UtcMs};

/// What kind of thing an asset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the class of its name")]
pub enum AssetClass {
    Dataset,
    Algorithm,
    Model,
    Adapter,
    Pool,
    Output,
    EvaluationSet,
    TrainingProcedure,
    Document,
}

/// How widely facts about an asset may be told (Traffic Light Protocol 2.0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the level of its name")]
pub enum Confidentiality {
    Clear,
    Green,
    Amber,
    Red,
}

/// Registers an asset. Its controller is the signer's member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterAsset {
    /// What it is.
    pub class: AssetClass,
    /// Its title.
    pub title: Name,
    /// Its owners, sorted by member. Others than the signer hold once all have approved;
    /// until then the signer holds everything.
    pub owners: Vec<Owner>,
    /// SPDX expression, or `LicenseRef-…`.
    pub licence: String,
    /// How widely facts about it may be told.
    pub confidentiality: Confidentiality,
    /// The place whose law it is under.
    pub jurisdiction: Place,
}

/// The EU AI Act's classes of risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the class of its name")]
pub enum RiskClass {
    Minimal,
    Limited,
    High,
    Prohibited,
    GeneralPurpose,
    GeneralPurposeSystemic,
}

/// Publishes a version of an asset; only its controller may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishVersion {
    /// The asset.
    pub asset: Id,
    /// What people call the version.
    pub label: Name,
    /// SHA-256 of its content.
    pub content: Hash,
    /// Size of its content, in bytes.
    #[serde(with = "crate::money::decimal")]
    pub size_bytes: u64,
    /// When it was released.
    pub released: UtcMs,
    /// Its class of risk, if it was classified.
    pub risk: Option<RiskClass>,
    /// Binary logarithm of the floating point operations spent on training it.
    pub training_flop_log2: Option<u8>,
}

/// Proposes other owners for an asset. Needs the approval of every member whose share
/// falls and of every new one; holds for money from the next month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetSplit {
    /// The asset.
    pub asset: Id,
    /// Its owners, sorted by member.
    pub owners: Vec<Owner>,
}

/// A registered asset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asset {
    /// What it is.
    pub class: AssetClass,
    /// Its title.
    pub title: Name,
    /// Who registered it and speaks for it.
    pub controller: MemberId,
    /// SPDX expression, or `LicenseRef-…`.
    pub licence: String,
    /// How widely facts about it may be told.
    pub confidentiality: Confidentiality,
    /// The place whose law it is under.
    pub jurisdiction: Place,
    /// The block that registered it.
    pub since: Height,
    /// Who owns it from which month on, in order; the first from the beginning.
    pub splits: Vec<Split>,
}

/// Who owns an asset from some month on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// The first month; none for the beginning.
    pub from: Option<Month>,
    /// The owners, sorted by member.
    pub owners: Vec<Owner>,
}

/// A proposed change of owners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitChange {
    /// The asset.
    pub asset: Id,
    /// Its new owners.
    pub owners: Vec<Owner>,
    /// Whether these are the owners it was registered with, which hold from the
    /// beginning.
    pub initial: bool,
}

/// A published version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// As it was published.
    pub published: PublishVersion,
    /// The block that published it.
    pub since: Height,
    /// Whether use of it was ever charged for; later lineage then holds from the next
    /// month.
    pub metered: bool,
}

impl Record for Asset {
    type Key = Id;
    const KIND: u8 = 0x20;
}

impl Record for Version {
    type Key = Id;
    const KIND: u8 = 0x21;
}

refusals! {
    /// Why an act on an asset is refused.
    AssetError {
        Unknown { asset: Id } = "AST-UNKNOWN": "there is no asset {asset}",
        VersionUnknown { version: Id } = "AST-VERSION-UNKNOWN": "there is no asset version {version}",
        NotController { asset: Id } = "AST-NOT-CONTROLLER": "only its controller may do this to asset {asset}",
        NotOwner { asset: Id } = "AST-NOT-OWNER": "only an owner may propose other owners of asset {asset}",
        Licence = "AST-LICENCE": "a licence is 1 to 1,024 bytes of printable ASCII",
        Owners = "AST-OWNERS": "owners must be 1 to 1,024, sorted by member, each once",
        Weight = "AST-WEIGHT": "every owner needs a weight above 0",
        Splits = "AST-SPLITS": "the asset's owners have changed too often to record more",
        Date = "AST-DATE": "the date is outside the years 0 to 9999",
    }
}

/// Checks a list of owners.
fn check_owners(owners: &[Owner]) -> Result<(), AssetError> {
    let sorted = owners.is_sorted_by(|a, b| a.member < b.member);
    if owners.is_empty() || owners.len() > OWNERS_MAX || !sorted {
        return Err(AssetError::Owners);
    }
    if owners.iter().any(|owner| owner.weight.get() == 0) { Err(AssetError::Weight) } else { Ok(()) }
}

impl RegisterAsset {
    /// Stateless check.
    ///
    /// # Errors
    /// `NAME-FORM`, `CODE-UNKNOWN`, `AST-LICENCE`, `AST-OWNERS`, `AST-WEIGHT`.
    pub fn check(&self) -> Result<(), Refusal> {
        self.title.check()?;
        self.jurisdiction.check()?;
        let printable = self.licence.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if !(1..=LICENCE_BYTES_MAX).contains(&self.licence.len()) || !printable {
            return Err(AssetError::Licence.into());
        }
        Ok(check_owners(&self.owners)?)
    }
}

impl PublishVersion {
    /// Stateless check.
    ///
    /// # Errors
    /// `NAME-FORM`, `AST-DATE`.
    pub fn check(&self) -> Result<(), Refusal> {
        self.label.check()?;
        if Month::of(self.released).is_none() {
            return Err(AssetError::Date.into());
        }
        Ok(())
    }
}

impl SetSplit {
    /// Stateless check.
    ///
    /// # Errors
    /// `AST-OWNERS`, `AST-WEIGHT`.
    pub fn check(&self) -> Result<(), Refusal> {
        Ok(check_owners(&self.owners)?)
    }
}

impl Asset {
    /// The owners who hold in a month.
    #[must_use]
    pub fn owners_in(&self, month: Month) -> &[Owner] {
        let held = self.splits.iter().rev().find(|split| split.from.is_none_or(|from| from <= month));
        held.map_or(&[], |split| &split.owners)
    }

    /// The owners who were last agreed on.
    #[must_use]
    pub fn owners(&self) -> &[Owner] {
        self.splits.last().map_or(&[], |split| &split.owners)
    }
}

impl SplitChange {
    /// The members that must approve: those whose share falls, and those that are new.
    #[must_use]
    pub fn needed(&self, ledger: &Ledger) -> BTreeSet<MemberId> {
        let current = ledger.assets.get(&self.asset).map_or(&[][..], Asset::owners);
        let share_falls = |owner: &&Owner| share_is_less(&self.owners, current, owner.member);
        let is_new = |owner: &&Owner| weight_in(current, owner.member) == 0;
        let losers = current.iter().filter(share_falls);
        losers.chain(self.owners.iter().filter(is_new)).map(|owner| owner.member).collect()
    }
}

fn weight_in(owners: &[Owner], member: MemberId) -> u64 {
    owners.iter().find(|owner| owner.member == member).map_or(0, |owner| owner.weight.get())
}

/// Whether a member's share in `new` is less than in `old`, compared exactly.
fn share_is_less(new: &[Owner], old: &[Owner], member: MemberId) -> bool {
    use ethnum::U256;
    let total =
        |owners: &[Owner]| owners.iter().fold(U256::ZERO, |sum, o| sum.saturating_add(o.weight.get().into()));
    // 64 bits by 74 bits: far below 256.
    let new_scaled = U256::from(weight_in(new, member)).saturating_mul(total(old));
    let old_scaled = U256::from(weight_in(old, member)).saturating_mul(total(new));
    new_scaled < old_scaled
}

/// Applies `RegisterAsset`.
pub(super) fn register(ledger: &mut Ledger, at: &At, deed: &RegisterAsset) -> Result<(), Refusal> {
    check_members(ledger, &deed.owners)?;
    let alone = Owner { member: at.member, weight: Weight::new(1) };
    ledger.assets.put(
        at.id(),
        Asset {
            class: deed.class,
            title: deed.title.clone(),
            controller: at.member,
            licence: deed.licence.clone(),
            confidentiality: deed.confidentiality,
            jurisdiction: deed.jurisdiction.clone(),
            since: at.height,
            splits: vec![Split { from: None, owners: vec![alone] }],
        },
    );
    ledger.emit(Event::AssetRegistered { asset: at.id() });
    let owners = deed.owners.clone();
    let change = SplitChange { asset: at.id(), owners, initial: true };
    if change.owners == [alone] { Ok(()) } else { proposal::open(ledger, at, Change::Split(change)) }
}

fn check_members(ledger: &Ledger, owners: &[Owner]) -> Result<(), Refusal> {
    owners.iter().try_for_each(|owner| member::active(ledger, owner.member).map(|_| ()))?;
    Ok(())
}

/// Applies `PublishVersion`.
pub(super) fn publish(ledger: &mut Ledger, at: &At, deed: &PublishVersion) -> Result<(), Refusal> {
    controlled(ledger, at.member, deed.asset)?;
    let version = Version { published: deed.clone(), since: at.height, metered: false };
    ledger.publish(at.id(), version);
    ledger.emit(Event::VersionPublished { version: at.id() });
    Ok(())
}

/// The versions of an asset, in order.
pub(super) fn versions_of(ledger: &Ledger, asset: Id) -> impl Iterator<Item = Id> + use<'_> {
    let (first, last) = (Id::from_bytes([0; 32]), Id::from_bytes([0xff; 32]));
    ledger.versions_of.range((asset, first)..=(asset, last)).map(|(_, version)| *version)
}

/// The asset, if this member controls it.
///
/// # Errors
/// `AST-UNKNOWN`, `AST-NOT-CONTROLLER`.
pub fn controlled(ledger: &Ledger, member: MemberId, id: Id) -> Result<&Asset, AssetError> {
    let asset = ledger.assets.get(&id).ok_or(AssetError::Unknown { asset: id })?;
    if asset.controller == member { Ok(asset) } else { Err(AssetError::NotController { asset: id }) }
}

/// Applies `SetSplit`.
pub(super) fn set_split(ledger: &mut Ledger, at: &At, deed: &SetSplit) -> Result<(), Refusal> {
    let asset = ledger.assets.get(&deed.asset).ok_or(AssetError::Unknown { asset: deed.asset })?;
    let is_owner = weight_in(asset.owners(), at.member) > 0;
    if !is_owner && asset.controller != at.member {
        return Err(AssetError::NotOwner { asset: deed.asset }.into());
    }
    check_members(ledger, &deed.owners)?;
    let change = SplitChange { asset: deed.asset, owners: deed.owners.clone(), initial: false };
    proposal::open(ledger, at, Change::Split(change))
}

/// Carries out an approved change of owners.
pub(super) fn enact_split(ledger: &mut Ledger, at: &At, change: &SplitChange) -> Result<(), Refusal> {
    let next_month = Month::of(at.time).ok_or(AssetError::Date)?.next();
    let asset = ledger.assets.get(&change.asset).ok_or(AssetError::Unknown { asset: change.asset })?;
    let mut asset = asset.clone();
    let owners = change.owners.clone();
    if change.initial {
        // Registered owners hold from the beginning, whenever the last one approves.
        if let Some(first) = asset.splits.first_mut() {
            first.owners = owners;
        }
    } else {
        let from = Some(next_month);
        asset.splits.retain(|split| split.from != from);
        asset.splits.push(Split { from, owners });
    }
    if codec::encode(&asset).len() > STATE_VALUE_BYTES_MAX {
        return Err(AssetError::Splits.into());
    }
    ledger.assets.put(change.asset, asset);
    ledger.emit(Event::SplitChanged { asset: change.asset });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(list: &[(u32, u64)]) -> Vec<Owner> {
        let owner = |&(m, w)| Owner { member: MemberId::new(m), weight: Weight::new(w) };
        list.iter().map(owner).collect()
    }

    #[test]
    fn shares_are_compared_exactly() {
        let less = |new: &[(u32, u64)], old: &[(u32, u64)]| {
            share_is_less(&owners(new), &owners(old), MemberId::new(1))
        };
        assert!(!less(&[(1, 2), (2, 2)], &[(1, 1), (2, 1)]), "the same share in other weights");
        assert!(less(&[(1, 1), (2, 2)], &[(1, 1), (2, 1)]));
        assert!(less(&[(2, 1)], &[(1, 1)]), "dropped");
        assert!(!less(&[(1, u64::MAX), (2, 1)], &[(1, u64::MAX - 1), (2, 1)]));
    }

    #[test]
    fn owners_are_sorted_distinct_and_weighty() {
        for (list, rule) in [
            (&[][..], "AST-OWNERS"),
            (&[(2, 1), (1, 1)], "AST-OWNERS"),
            (&[(1, 1), (1, 1)], "AST-OWNERS"),
            (&[(1, 1), (2, 0)], "AST-WEIGHT"),
        ] {
            assert_eq!(check_owners(&owners(list)).map_err(|e| e.rule()), Err(rule));
        }
    }

    #[test]
    fn a_month_has_the_owners_agreed_before_it() {
        let month = |text: &str| text.parse().expect("a month");
        let split = |from: Option<&str>, list| Split { from: from.map(month), owners: owners(list) };
        let asset = Asset {
            class: AssetClass::Model,
            title: Name::new("M1"),
            controller: MemberId::new(1),
            licence: "MIT".into(),
            confidentiality: Confidentiality::Clear,
            jurisdiction: Place::new("DE"),
            since: Height::new(1),
            splits: vec![split(None, &[(1, 1)]), split(Some("2026-03"), &[(2, 1)])],
        };
        assert_eq!(asset.owners_in(month("2026-02")), owners(&[(1, 1)]));
        assert_eq!(asset.owners_in(month("2026-03")), owners(&[(2, 1)]));
    }
}
