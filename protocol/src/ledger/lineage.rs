//! Lineage: what a version was made from, and what its origins are owed.
//!
//! References point backwards only (an id is the hash of an entry that exists), so
//! lineage has no cycles by construction.

use serde::{Deserialize, Serialize};

use super::agreement::{self, GrantRef, Royalty};
use super::asset::{self, AssetError};
use super::table::Record;
use super::{At, Event, Ledger, Refusal};
use crate::ids::{Height, Id};
use crate::limits::{LINEAGE_DEPTH_MAX, PARENTS_MAX, PARENTS_PER_ENTRY_MAX};
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

/// Applies `DeclareLineage`.
pub(super) fn declare(ledger: &mut Ledger, at: &At, deed: &DeclareLineage) -> Result<(), Refusal> {
    let child = version(ledger, deed.child)?;
    asset::controlled(ledger, at.member, child.published.asset)?;
    let known = parents_of(ledger, deed.child).count();
    if known.saturating_add(deed.parents.len()) > PARENTS_MAX {
        return Err(LineageError::TooMany.into());
    }
    // What was already metered keeps its distribution within the month.
    let from = if child.metered { Month::of(at.time).map(Month::next) } else { None };
    let links = deed.parents.iter().map(|parent| link(ledger, at, deed.child, parent, from));
    let links = links.collect::<Result<Vec<_>, Refusal>>()?;
    for link in links {
        ledger.lineage.put((deed.child, link.parent.version), link);
    }
    ledger.emit(Event::LineageDeclared { version: deed.child });
    Ok(())
}

fn version(ledger: &Ledger, id: Id) -> Result<&asset::Version, AssetError> {
    ledger.versions.get(&id).ok_or(AssetError::VersionUnknown { version: id })
}

fn link(ledger: &Ledger, at: &At, child: Id, parent: &Parent, from: Option<Month>) -> Result<Link, Refusal> {
    let id = parent.version;
    version(ledger, id)?;
    if ledger.lineage.contains(&(child, id)) {
        return Err(LineageError::Declared { parent: id }.into());
    }
    check_ancestry(ledger, child, id)?;
    let royalty = match &parent.grant {
        None => Royalty::None,
        Some(grant) => agreement::grant_on(ledger, grant, id, at.member)
            .map(|grant| grant.derivatives)
            .ok_or(LineageError::Grant { parent: id })?,
    };
    Ok(Link { parent: parent.clone(), royalty, from, since: at.height })
}

/// Walks up from a new parent: the child must not be among its ancestors (a later
/// declaration could name a descendant), nor the walk too deep.
fn check_ancestry(ledger: &Ledger, child: Id, parent: Id) -> Result<(), LineageError> {
    let mut seen = std::collections::BTreeSet::from([parent]);
    let mut level = vec![parent];
    for _ in 0..LINEAGE_DEPTH_MAX {
        let above = level.iter().flat_map(|id| parents_of(ledger, *id)).map(|link| link.parent.version);
        level = above.filter(|id| seen.insert(*id)).collect();
        if level.contains(&child) {
            return Err(LineageError::Cycle { parent });
        }
        if level.is_empty() {
            return Ok(());
        }
    }
    Err(LineageError::TooDeep)
}
