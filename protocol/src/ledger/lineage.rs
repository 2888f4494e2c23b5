//! Lineage: what a version was made from, and what its origins are owed.
//!
//! Anybody may state what its versions were made from. A statement burdens nobody: rules
//! follow a link only if its parent's side licensed it, or if both sides have one
//! controller.
//!
//! *Invariants.* Binding links have no cycle. No link takes a share from an owner who has
//! not approved, nor anything new from those who built on the child before. A member's
//! declarations cost a bounded number of steps in each block.
//!
//! *Deliberately absent:* taking a link back, and whether a royalty is enough.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::agreement::{self, GrantRef, Royalty};
use super::asset::{self, Asset, AssetError};
use super::proposal::{self, Change};
use super::royalty::{Edge, EdgeMode};
use super::table::Record;
use super::{At, Event, Ledger, Refusal};
use crate::ids::{Height, Id, MemberId};
use crate::limits::{
    LINEAGE_DEPTH_MAX, LINEAGE_LINKS_MAX, LINEAGE_NODES_MAX, LINEAGE_STEPS_PER_BLOCK_MAX, PARENTS_MAX,
    PARENTS_PER_ENTRY_MAX,
};
use crate::money::Ppm;
use crate::refusal::refusals;
use crate::time::Month;

/// How a version came from its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the relation of its name")]
pub enum Relation {
    TrainedOn,
    FineTunedFrom,
    MergedFrom,
    DistilledFrom,
    AdapterOf,
    QuantizedFrom,
    EvaluatedOn,
    Contains,
}

/// One parent of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// The version it came from.
    pub version: Id,
    /// How.
    pub relation: Relation,
    /// How much of the child it makes up, if known.
    pub material: Option<Ppm>,
    /// The grant relied on, if any; its terms decide what the parent is owed.
    pub grant: Option<GrantRef>,
}

/// Declares parents of a version; several declarations add up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclareLineage {
    /// The version that was made.
    pub child: Id,
    /// What it was made from, sorted by version.
    pub parents: Vec<Parent>,
}

/// One declared parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// As it was declared.
    pub parent: Parent,
    /// What the parent is owed.
    pub royalty: Royalty,
    /// The first month for which it is owed; none for the beginning.
    pub from: Option<Month>,
    /// The block that declared it.
    pub since: Height,
    /// Whether rules follow it: the parent is the child's controller's own, or licensed
    /// to it by a grant. Else it is a statement, which burdens nobody.
    pub binds: bool,
}

/// A declaration that waits for those who lose by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineageChange {
    /// As it was declared.
    pub declared: DeclareLineage,
    /// What each parent was to be owed when it was proposed.
    pub royalties: Vec<Royalty>,
    /// What absolute edges that are new to the child were to take in all.
    pub absolute: Ppm,
}

impl Record for Link {
    /// (child version, parent version).
    type Key = (Id, Id);
    const KIND: u8 = 0x22;
}

refusals! {
    /// Why a declaration of lineage is refused.
    LineageError {
        Parents = "LIN-PARENTS": "a declaration names 1 to 512 parents, sorted by version, each once",
        Itself = "LIN-ITSELF": "a version cannot be its own parent",
        Declared { parent: Id } = "LIN-DECLARED": "parent {parent} is already declared",
        TooMany = "LIN-TOO-MANY": "a version has at most 10,000 parents, and a walk sees at most 10,000 versions and 20,000 links",
        TooDeep = "LIN-DEPTH": "the lineage would be more than 64 deep",
        Grant { parent: Id } = "LIN-GRANT": "the grant named for parent {parent} does not license it to the child's controller",
        Descendants { parent: Id } = "LIN-DESCENDANTS": "others have built on the child, so parent {parent} cannot bring it absolute royalties any more",
        Stack = "LIN-STACK": "the royalties take more than all that is earned",
        Changed = "LIN-CHANGED": "the royalties are not those that were proposed; declare it again",
        Busy = "LIN-BUSY": "the member's declarations have walked through as much lineage as they may in one block; declare it again",
        Cycle { parent: Id } = "LIN-CYCLE": "parent {parent} descends from the child",
    }
}

impl DeclareLineage {
    /// Stateless check.
    ///
    /// # Errors
    /// `LIN-PARENTS`, `LIN-ITSELF`.
    pub fn check(&self) -> Result<(), Refusal> {
        let sorted = self.parents.is_sorted_by(|a, b| a.version < b.version);
        if self.parents.is_empty() || self.parents.len() > PARENTS_PER_ENTRY_MAX || !sorted {
            return Err(LineageError::Parents.into());
        }
        if self.parents.iter().any(|parent| parent.version == self.child) {
            return Err(LineageError::Itself.into());
        }
        Ok(())
    }
}

/// The declared parents of a version, in order.
pub fn parents_of(ledger: &Ledger, child: Id) -> impl Iterator<Item = &Link> {
    let (first, last) = (Id::from_bytes([0; 32]), Id::from_bytes([0xff; 32]));
    ledger.lineage.range((child, first)..=(child, last)).map(|(_, link)| link)
}

/// The versions that were made from this one with a right to it, in order.
fn children_of(ledger: &Ledger, parent: Id) -> impl Iterator<Item = Id> + use<'_> {
    let (first, last) = (Id::from_bytes([0; 32]), Id::from_bytes([0xff; 32]));
    ledger.children.range((parent, first)..=(parent, last)).map(|(_, child)| *child)
}

/// Applies `DeclareLineage`. Who loses by it must approve.
pub(super) fn declare(ledger: &mut Ledger, at: &At, deed: &DeclareLineage) -> Result<(), Refusal> {
    let asset = version(ledger, deed.child)?.published.asset;
    asset::controlled(ledger, at.member, asset)?;
    check_share(ledger, at)?;
    let effect = weigh(ledger, at, deed)?;
    if effect.needed.iter().all(|member| *member == at.member) {
        return bind(ledger, deed.child, effect);
    }
    let royalties = effect.links.iter().map(|link| link.royalty).collect();
    let change = LineageChange { declared: deed.clone(), royalties, absolute: effect.absolute };
    proposal::open(ledger, at, Change::Lineage(change))
}

/// The members that must approve a declaration that was proposed.
pub(super) fn needed(
    ledger: &mut Ledger,
    at: &At,
    change: &LineageChange,
) -> Result<BTreeSet<MemberId>, Refusal> {
    Ok(reweigh(ledger, at, change)?.needed)
}

/// Carries out a declaration that those who lose by it approved.
pub(super) fn enact(ledger: &mut Ledger, at: &At, change: &LineageChange) -> Result<(), Refusal> {
    let effect = reweigh(ledger, at, change)?;
    bind(ledger, change.declared.child, effect)
}

fn bind(ledger: &mut Ledger, child: Id, effect: Effect) -> Result<(), Refusal> {
    for link in effect.links {
        ledger.put_link(child, link);
    }
    ledger.emit(Event::LineageDeclared { version: child });
    Ok(())
}

/// What a declaration does as things stand now.
struct Effect {
    links: Vec<Link>,
    /// What absolute edges that are new to the child take in all.
    absolute: Ppm,
    needed: BTreeSet<MemberId>,
}

/// Weighs what was proposed once more: it must be what was approved.
fn reweigh(ledger: &mut Ledger, at: &At, change: &LineageChange) -> Result<Effect, Refusal> {
    let effect = weigh(ledger, at, &change.declared)?;
    let royalties = effect.links.iter().map(|link| link.royalty);
    if effect.absolute > change.absolute || !royalties.eq(change.royalties.iter().copied()) {
        return Err(LineageError::Changed.into());
    }
    Ok(effect)
}

/// Whether a member may begin to weigh a declaration in this block. Asked once for each
/// entry, which then ends what it began: no declaration is too large for its share.
pub(super) fn check_share(ledger: &Ledger, at: &At) -> Result<(), LineageError> {
    let members = ledger.members.len().max(1);
    let share = LINEAGE_STEPS_PER_BLOCK_MAX.checked_div(members).unwrap_or(0).max(1);
    let spent = ledger.lineage_steps.get(&at.member).copied().unwrap_or(0);
    if spent < share { Ok(()) } else { Err(LineageError::Busy) }
}

/// Weighs a declaration, and counts the work as that of the member that asks for it.
fn weigh(ledger: &mut Ledger, at: &At, deed: &DeclareLineage) -> Result<Effect, Refusal> {
    let mut steps = 0;
    let effect = effect_of(ledger, at, deed, &mut steps);
    let spent = ledger.lineage_steps.entry(at.member).or_default();
    *spent = spent.saturating_add(steps);
    effect
}

fn effect_of(ledger: &Ledger, at: &At, deed: &DeclareLineage, steps: &mut usize) -> Result<Effect, Refusal> {
    let child = deed.child;
    let asset = version(ledger, child)?.published.asset;
    let asset = ledger.assets.get(&asset).ok_or(AssetError::Unknown { asset })?;
    let known = parents_of(ledger, child).count();
    *steps = steps.saturating_add(known).saturating_add(deed.parents.len());
    if known.saturating_add(deed.parents.len()) > PARENTS_MAX {
        return Err(LineageError::TooMany.into());
    }
    let below = walk([child], steps, |id| children_of(ledger, id).map(Some))?;
    let from = first_month(ledger, at, &below);
    let links = deed.parents.iter().map(|parent| link(ledger, at, child, asset, parent, from));
    let links = links.collect::<Result<Vec<_>, Refusal>>()?;
    if let Some(looped) = deed.parents.iter().find(|parent| below.seen.contains(&parent.version)) {
        return Err(LineageError::Cycle { parent: looped.version }.into());
    }
    let taken = taken(ledger, child, &links, &below, steps)?;
    let mut losing = BTreeSet::new();
    if taken.relative || taken.absolute > Ppm::ZERO {
        losing.insert(child);
    }
    if taken.absolute > Ppm::ZERO {
        // An absolute share is taken before the relative ones.
        losing = walk(losing, steps, |id| earning(ledger, id))?.seen;
    }
    let losing = losing.iter().filter_map(|id| Some(ledger.versions.get(id)?.published.asset));
    let owners = losing.collect::<BTreeSet<_>>().into_iter().flat_map(|id| owners_of(ledger, id, from));
    let needed = owners.chain([asset.controller]).collect();
    Ok(Effect { links, absolute: taken.absolute, needed })
}

/// The owners of an asset that a change from some month on concerns; one that reaches
/// back concerns all there ever were.
fn owners_of(ledger: &Ledger, asset: Id, from: Option<Month>) -> Vec<MemberId> {
    let Some(asset) = ledger.assets.get(&asset) else { return Vec::new() };
    let members = |split: &asset::Split| split.owners.iter().map(|owner| owner.member).collect::<Vec<_>>();
    match from {
        None => asset.splits.iter().flat_map(members).collect(),
        Some(_) => asset.owners().iter().map(|owner| owner.member).collect(),
    }
}

fn version(ledger: &Ledger, id: Id) -> Result<&asset::Version, AssetError> {
    ledger.versions.get(&id).ok_or(AssetError::VersionUnknown { version: id })
}

/// What was already metered, of the child or of what was made from it, keeps its
/// distribution within the month.
fn first_month(ledger: &Ledger, at: &At, below: &Walk) -> Option<Month> {
    let metered = |id: &Id| ledger.versions.get(id).is_some_and(|version| version.metered);
    if below.seen.iter().any(metered) { Month::of(at.time).map(Month::next) } else { None }
}

fn link(
    ledger: &Ledger,
    at: &At,
    child: Id,
    asset: &Asset,
    parent: &Parent,
    from: Option<Month>,
) -> Result<Link, Refusal> {
    let id = parent.version;
    let parent_asset = version(ledger, id)?.published.asset;
    let controller = asset.controller;
    let is_own = ledger.assets.get(&parent_asset).is_some_and(|parent| parent.controller == controller);
    let binds = is_own || parent.grant.is_some();
    if ledger.lineage.get(&(child, id)).is_some_and(|known| known.binds || !binds) {
        return Err(LineageError::Declared { parent: id }.into());
    }
    let royalty = match &parent.grant {
        None => Royalty::None,
        Some(grant) => agreement::grant_on(ledger, grant, id, controller)
            .map(|grant| grant.derivatives)
            .ok_or(LineageError::Grant { parent: id })?,
    };
    Ok(Link { parent: parent.clone(), royalty, from, since: at.height, binds })
}

/// What a walk through lineage found.
struct Walk {
    /// Every version on the way, those it began with included.
    seen: BTreeSet<Id>,
    /// How many steps the furthest is away.
    depth: usize,
}

/// Walks level by level, within bounds. Counts every link it comes across; those that
/// are given as none are not followed.
fn walk<I: IntoIterator<Item = Option<Id>>>(
    from: impl IntoIterator<Item = Id>,
    steps: &mut usize,
    mut next: impl FnMut(Id) -> I,
) -> Result<Walk, LineageError> {
    let mut level: Vec<Id> = from.into_iter().collect();
    let mut seen: BTreeSet<Id> = level.iter().copied().collect();
    let mut followed = 0_usize;
    for depth in 0..=LINEAGE_DEPTH_MAX {
        let mut found = Vec::new();
        for id in level.into_iter().flat_map(&mut next) {
            *steps = steps.saturating_add(1);
            let Some(id) = id else { continue };
            followed = followed.saturating_add(1);
            if seen.insert(id) {
                found.push(id);
            }
            if followed > LINEAGE_LINKS_MAX || seen.len() > LINEAGE_NODES_MAX {
                return Err(LineageError::TooMany);
            }
        }
        if found.is_empty() {
            return Ok(Walk { seen, depth });
        }
        level = found;
    }
    Err(LineageError::TooDeep)
}

/// The links of a version that rules follow.
fn binding_parents_of(ledger: &Ledger, child: Id) -> impl Iterator<Item = &Link> {
    parents_of(ledger, child).filter(|link| link.binds)
}

/// One step up, by the links that rules follow.
fn above(ledger: &Ledger, child: Id) -> impl Iterator<Item = Option<Id>> + use<'_> {
    parents_of(ledger, child).map(|link| link.binds.then_some(link.parent.version))
}

/// One step up, to the parents that have a share of what the child receives.
fn earning(ledger: &Ledger, child: Id) -> impl Iterator<Item = Option<Id>> + use<'_> {
    let earns = |link: &Link| matches!(link.royalty, Royalty::Relative(ppm) if ppm > Ppm::ZERO);
    parents_of(ledger, child).map(move |link| (link.binds && earns(link)).then_some(link.parent.version))
}

/// What new links take of what the child earns.
struct Taken {
    /// Whether they take a share of what it receives.
    relative: bool,
    /// What the absolute edges take in all that were not above it before.
    absolute: Ppm,
}

/// What absolute and relative links sum up to, in ppm.
fn sums<'a>(links: impl IntoIterator<Item = &'a Link>) -> (u64, u64) {
    let mut sums = (0_u64, 0_u64);
    for link in links {
        match link.royalty {
            Royalty::None => {}
            Royalty::Absolute(ppm) => sums.0 = sums.0.saturating_add(ppm.get().into()),
            Royalty::Relative(ppm) => sums.1 = sums.1.saturating_add(ppm.get().into()),
        }
    }
    sums
}

/// The child's royalties must be possible to distribute, the whole not be too deep, and
/// what others built on the child before must not owe anything new: an absolute share
/// falls on all descendants.
fn taken(
    ledger: &Ledger,
    child: Id,
    links: &[Link],
    below: &Walk,
    steps: &mut usize,
) -> Result<Taken, LineageError> {
    let mut known = 0_u64;
    let above_child = walk([child], steps, |id| {
        known = known.saturating_add(sums(binding_parents_of(ledger, id)).0);
        above(ledger, id)
    })?;
    let (mut brought, new_relative) = sums(links);
    let parents = links.iter().filter(|link| link.binds).map(|link| link.parent.version);
    let above_parents = walk(parents, steps, |id| {
        if !above_child.seen.contains(&id) {
            brought = brought.saturating_add(sums(binding_parents_of(ledger, id)).0);
        }
        above(ledger, id)
    })?;
    // The new links themselves are one step more.
    if above_parents.depth.saturating_add(below.depth) >= LINEAGE_DEPTH_MAX {
        return Err(LineageError::TooDeep);
    }
    if below.seen.len() > 1 && brought > 0 {
        let parent = links.first().map_or(child, |link| link.parent.version);
        return Err(LineageError::Descendants { parent });
    }
    let relative = sums(binding_parents_of(ledger, child)).1.saturating_add(new_relative);
    let all = u64::from(Ppm::ONE.get());
    if relative > all || known.saturating_add(brought) > all {
        return Err(LineageError::Stack);
    }
    let absolute = Ppm::new(u32::try_from(brought).unwrap_or(Ppm::ONE.get()));
    Ok(Taken { relative: new_relative > 0, absolute })
}

/// The royalty edge of a link. One that owes nothing still leads further up.
fn edge(child: Id, link: &Link) -> Edge<Id> {
    let (mode, ppm) = match link.royalty {
        Royalty::None => (EdgeMode::Relative, Ppm::ZERO),
        Royalty::Absolute(ppm) => (EdgeMode::Absolute, ppm),
        Royalty::Relative(ppm) => (EdgeMode::Relative, ppm),
    };
    Edge { child, parent: link.parent.version, mode, ppm }
}

/// The royalty edges above some versions, as they hold in a month.
pub(super) fn closure(ledger: &Ledger, month: Month, from: impl IntoIterator<Item = Id>) -> Vec<Edge<Id>> {
    let mut open: Vec<Id> = from.into_iter().collect();
    let mut seen: BTreeSet<Id> = open.iter().copied().collect();
    let mut edges = Vec::new();
    let holds = |link: &&Link| link.from.is_none_or(|from| from <= month);
    while let Some(child) = open.pop() {
        for link in binding_parents_of(ledger, child).filter(holds) {
            let parent = link.parent.version;
            if seen.insert(parent) {
                open.push(parent);
            }
            edges.push(edge(child, link));
        }
    }
    edges
}
