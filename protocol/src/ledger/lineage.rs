//! Lineage: what a version was made from, and what its origins are owed.
//!
//! References point backwards only (an id is the hash of an entry that exists), so
//! lineage has no cycles by construction.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::agreement::{self, GrantRef, Royalty};
use super::asset::{self, AssetError};
use super::royalty::{Edge, EdgeMode, Lineage};
use super::table::Record;
use super::{At, Event, Ledger, Refusal};
use crate::ids::{Height, Id};
use crate::limits::{LINEAGE_DEPTH_MAX, LINEAGE_NODES_MAX, PARENTS_MAX, PARENTS_PER_ENTRY_MAX};
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
        TooMany = "LIN-TOO-MANY": "a version has at most 10,000 parents",
        TooDeep = "LIN-DEPTH": "the lineage would be more than 64 deep",
        Grant { parent: Id } = "LIN-GRANT": "the grant named for parent {parent} does not license it to the child's controller",
        Descendants { parent: Id } = "LIN-DESCENDANTS": "others have built on the child, so parent {parent} cannot bring it absolute royalties any more",
        Stack { rule: &'static str } = "LIN-STACK": "the royalties cannot be distributed: {rule}",
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

/// The versions that name this one as a parent, in order.
fn children_of(ledger: &Ledger, parent: Id) -> impl Iterator<Item = Id> + use<'_> {
    let (first, last) = (Id::from_bytes([0; 32]), Id::from_bytes([0xff; 32]));
    ledger.children.range((parent, first)..=(parent, last)).map(|(_, child)| *child)
}

/// Applies `DeclareLineage`.
pub(super) fn declare(ledger: &mut Ledger, at: &At, deed: &DeclareLineage) -> Result<(), Refusal> {
    let child = deed.child;
    let asset = version(ledger, child)?.published.asset;
    asset::controlled(ledger, at.member, asset)?;
    let known = parents_of(ledger, child).count();
    if known.saturating_add(deed.parents.len()) > PARENTS_MAX {
        return Err(LineageError::TooMany.into());
    }
    let below = walk([child], |id| children_of(ledger, id).collect())?;
    let from = first_month(ledger, at, &below);
    let links = deed.parents.iter().map(|parent| link(ledger, at, child, parent, from));
    let links = links.collect::<Result<Vec<_>, Refusal>>()?;
    check_ancestry(ledger, child, &links, &below)?;
    check_royalties(ledger, child, &links, &below)?;
    for link in links {
        ledger.put_link(child, link);
    }
    ledger.emit(Event::LineageDeclared { version: child });
    Ok(())
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

fn link(ledger: &Ledger, at: &At, child: Id, parent: &Parent, from: Option<Month>) -> Result<Link, Refusal> {
    let id = parent.version;
    version(ledger, id)?;
    if ledger.lineage.contains(&(child, id)) {
        return Err(LineageError::Declared { parent: id }.into());
    }
    let royalty = match &parent.grant {
        None => Royalty::None,
        Some(grant) => agreement::grant_on(ledger, grant, id, at.member)
            .map(|grant| grant.derivatives)
            .ok_or(LineageError::Grant { parent: id })?,
    };
    Ok(Link { parent: parent.clone(), royalty, from, since: at.height })
}

/// What a walk through lineage found.
struct Walk {
    /// Every version on the way, those it began with included.
    seen: BTreeSet<Id>,
    /// How many steps the furthest is away.
    depth: usize,
}

/// Walks level by level, within bounds.
fn walk(from: impl IntoIterator<Item = Id>, next: impl Fn(Id) -> Vec<Id>) -> Result<Walk, LineageError> {
    let mut level: Vec<Id> = from.into_iter().collect();
    let mut seen: BTreeSet<Id> = level.iter().copied().collect();
    for depth in 0..=LINEAGE_DEPTH_MAX {
        level = level.into_iter().flat_map(&next).filter(|id| seen.insert(*id)).collect();
        if level.is_empty() {
            return Ok(Walk { seen, depth });
        }
        if seen.len() > LINEAGE_NODES_MAX {
            return Err(LineageError::TooMany);
        }
    }
    Err(LineageError::TooDeep)
}

/// The child must not be among the ancestors of its new parents (a later declaration
/// could name a descendant), nor the whole be too deep.
fn check_ancestry(ledger: &Ledger, child: Id, links: &[Link], below: &Walk) -> Result<(), LineageError> {
    let parents = || links.iter().map(|link| link.parent.version);
    if let Some(parent) = parents().find(|parent| below.seen.contains(parent)) {
        return Err(LineageError::Cycle { parent });
    }
    let above = walk(parents(), |id| parents_of(ledger, id).map(|link| link.parent.version).collect())?;
    if above.seen.contains(&child) {
        return Err(LineageError::Cycle { parent: child });
    }
    // The new links themselves are one step more.
    if above.depth.saturating_add(below.depth) >= LINEAGE_DEPTH_MAX {
        return Err(LineageError::TooDeep);
    }
    Ok(())
}

/// The child's royalties must be possible to distribute, and what others built on it
/// before must not owe anything new: an absolute share falls on all descendants.
fn check_royalties(ledger: &Ledger, child: Id, links: &[Link], below: &Walk) -> Result<(), LineageError> {
    let new = links.iter().map(|link| edge(child, link));
    let above = closure(ledger, None, links.iter().map(|link| link.parent.version));
    let edges: Vec<_> = new.chain(above).collect();
    let brings_absolute = edges.iter().any(|edge| edge.mode == EdgeMode::Absolute);
    if below.seen.len() > 1 && brings_absolute {
        let parent = links.first().map_or(child, |link| link.parent.version);
        return Err(LineageError::Descendants { parent });
    }
    let all: BTreeMap<_, _> = edges
        .into_iter()
        .chain(closure(ledger, None, [child]))
        .map(|edge| ((edge.child, edge.parent), edge))
        .collect();
    let lineage =
        Lineage::new(all.into_values()).map_err(|error| LineageError::Stack { rule: error.rule() })?;
    lineage.absolute(&child).map_err(|error| LineageError::Stack { rule: error.rule() })?;
    Ok(())
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

/// The royalty edges above some versions, as they hold in a month, or all of them.
pub(super) fn closure(
    ledger: &Ledger,
    month: Option<Month>,
    from: impl IntoIterator<Item = Id>,
) -> Vec<Edge<Id>> {
    let mut open: Vec<Id> = from.into_iter().collect();
    let mut seen: BTreeSet<Id> = open.iter().copied().collect();
    let mut edges = Vec::new();
    let holds = |link: &&Link| month.is_none_or(|month| link.from.is_none_or(|from| from <= month));
    while let Some(child) = open.pop() {
        for link in parents_of(ledger, child).filter(holds) {
            let parent = link.parent.version;
            if seen.insert(parent) {
                open.push(parent);
            }
            edges.push(edge(child, link));
        }
    }
    edges
}
