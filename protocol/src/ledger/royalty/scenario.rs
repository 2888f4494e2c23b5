//! Scenario files: the ledger's own royalty code on inputs written by hand.
//!
//! [`compute`] calls exactly the functions that close a period, so that anybody can check
//! an agreement's arithmetic without a node, or the code against independent figures.
//! Ids of assets are the scenario's names; everybody takes part in netting.
//!
//! *Invariants.* Unknown fields, negative numbers, fractions and repeated names are
//! refused; a refusal says where in the file. Numbers are plain integers, in and out.
//!
//! *Deliberately absent:* reading and printing the file; every state of the ledger.

mod input;
mod report;

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::MemberId;
use crate::money::{Currency, Micro, Minor, MoneyError, Ppm, Weight};

use super::graph::{Edge, GraphError, Lineage};
use super::netting::{self, Obligation};
use super::rating::{Adjustments, RatingError, Segment, rate};
use super::terms::{Price, TermError};
use super::waterfall::{self, Distribution, Fee, Owner, Rules, Share, WaterfallError};

pub use input::{Asset, Correction, Line, OwnerWeight, RoyaltyEdge, Scenario, Term, TermTier};
pub use report::{
    BilateralDebt, CarryOver, CorrectionReport, LineReport, NetPayment, NetPosition, Report, SelfLeg,
};

/// Why a scenario has no result, and where in the file the reason stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {problem}")]
pub struct ScenarioError {
    /// A path such as `lines[3].term.tiers[1]` or `assets.M1.owners`.
    pub location: String,
    /// What is wrong there.
    pub problem: Problem,
}

impl ScenarioError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        self.problem.rule()
    }
}

/// What can be wrong with a scenario that could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// An edge or a line on an asset that `assets` doesn't have.
    #[error("there is no asset {name:?}")]
    UnknownAsset {
        /// The name.
        name: String,
    },
    /// A correction of a line that `lines` doesn't have.
    #[error("there is no line {id:?}")]
    UnknownLine {
        /// The id.
        id: String,
    },
    /// Two lines of one id.
    #[error("there is another line {id:?}")]
    DuplicateLine {
        /// The id.
        id: String,
    },
    /// A metered term without a quantity.
    #[error("this kind of term needs a quantity")]
    NoQuantity,
    /// A term that cannot be rated.
    #[error(transparent)]
    Term(#[from] TermError),
    /// An amount, rate or split that cannot be.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// Rating failed.
    #[error(transparent)]
    Rating(#[from] RatingError),
    /// Edges that are no lineage.
    #[error(transparent)]
    Graph(#[from] GraphError<String>),
    /// Distribution failed.
    #[error(transparent)]
    Waterfall(#[from] WaterfallError<String>),
}

impl Problem {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::UnknownAsset { .. } => "SCENARIO-ASSET-UNKNOWN",
            Self::UnknownLine { .. } => "SCENARIO-LINE-UNKNOWN",
            Self::DuplicateLine { .. } => "SCENARIO-LINE-DUPLICATE",
            Self::NoQuantity => "SCENARIO-NO-QUANTITY",
            Self::Term(error) => error.rule(),
            Self::Money(error) => error.rule(),
            Self::Rating(error) => error.rule(),
            Self::Graph(error) => error.rule(),
            Self::Waterfall(error) => error.rule(),
        }
    }

    fn at(self, location: impl Into<String>) -> ScenarioError {
        ScenarioError { location: location.into(), problem: self }
    }
}

/// Gives the error of a step its place in the file.
trait At<T> {
    fn at(self, location: impl Fn() -> String) -> Result<T, ScenarioError>;
}

impl<T, E: Into<Problem>> At<T> for Result<T, E> {
    fn at(self, location: impl Fn() -> String) -> Result<T, ScenarioError> {
        self.map_err(|error| error.into().at(location()))
    }
}

/// Computes everything a period's close would: charges, distributions, netting, and what
/// the corrections change. A line that is corrected twice is corrected from where the
/// first correction left it.
///
/// # Errors
/// [`ScenarioError`] with the place of the first thing that is wrong.
pub fn compute(scenario: &Scenario) -> Result<Report, ScenarioError> {
    let book = Book::new(scenario)?;
    let mut positions = BTreeMap::new();
    let mut standing = Vec::new();
    for (position, line) in scenario.lines.iter().enumerate() {
        let place = || format!("lines[{position}]");
        if positions.insert(line.id.as_str(), position).is_some() {
            return Err(Problem::DuplicateLine { id: line.id.clone() }.at(format!("{}.id", place())));
        }
        standing.push(book.distribute(line, line.quantity, &place)?);
    }
    let mut report = settle(&scenario.lines, &standing).at(|| "lines".into())?;
    report.lines = scenario.lines.iter().zip(&standing).map(|(line, of)| LineReport::new(line, of)).collect();
    for (position, correction) in scenario.corrections.iter().enumerate() {
        let place = || format!("corrections[{position}]");
        let found = positions.get(correction.line.as_str());
        let pair = found.and_then(|&line| scenario.lines.get(line).zip(standing.get_mut(line)));
        let unknown = || Problem::UnknownLine { id: correction.line.clone() }.at(format!("{}.line", place()));
        let (line, old) = pair.ok_or_else(unknown)?;
        let new = book.distribute(line, Some(correction.quantity), &place)?;
        report.corrections.push(CorrectionReport::new(line, &new, old).at(place)?);
        *old = new;
    }
    Ok(report)
}

/// The parts of a scenario that all lines share, checked.
struct Book<'a> {
    scenario: &'a Scenario,
    lineage: Lineage<String>,
    fee: Fee,
}

impl<'a> Book<'a> {
    fn new(scenario: &'a Scenario) -> Result<Self, ScenarioError> {
        let fee = Fee { ppm: Ppm::new(scenario.fee_ppm), member: scenario.fee_member };
        if fee.ppm.rest().is_none() {
            return Err(Problem::from(WaterfallError::FeeOver100 { ppm: scenario.fee_ppm }).at("fee_ppm"));
        }
        for (name, asset) in &scenario.assets {
            check_owners(name, asset).at(|| format!("assets.{name}.owners"))?;
        }
        for (position, edge) in scenario.edges.iter().enumerate() {
            for (end, name) in [("child", &edge.child), ("parent", &edge.parent)] {
                known(scenario, name).at(|| format!("edges[{position}].{end}"))?;
            }
        }
        let edges = scenario.edges.iter().map(|edge| Edge {
            child: edge.child.clone(),
            parent: edge.parent.clone(),
            mode: edge.mode,
            ppm: Ppm::new(edge.ppm),
        });
        let lineage = Lineage::new(edges).at(|| "edges".into())?;
        lineage.check_absolute_stacks().at(|| "edges".into())?;
        Ok(Self { scenario, lineage, fee })
    }

    /// Rates a line and distributes its charge.
    fn distribute(
        &self,
        line: &Line,
        quantity: Option<u64>,
        place: &impl Fn() -> String,
    ) -> Result<Distribution<String>, ScenarioError> {
        known(self.scenario, &line.asset).at(|| format!("{}.asset", place()))?;
        let price = line.term.price().at(|| format!("{}.term", place()))?;
        price.check().at(|| format!("{}.term", place()))?;
        let quantity = match (quantity, &price) {
            (Some(quantity), _) => quantity,
            (None, Price::Flat(_) | Price::Free) => 0,
            (None, _) => return Err(Problem::NoQuantity.at(format!("{}.quantity", place()))),
        };
        let bound = |minor: Option<u64>| minor.map(|minor| Minor::new(minor.into()));
        let adjustments = Adjustments {
            multiplier: line.multiplier_ppm.map_or(Ppm::ONE, Ppm::new),
            minimum: bound(line.min_minor),
            cap: bound(line.cap_minor),
            ..Adjustments::NONE
        };
        let charge = rate(&[Segment::new(&price, quantity)], &adjustments).at(place)?;
        let rules =
            Rules { lineage: &self.lineage, owners: |name: &String| self.owners(name), fee: self.fee };
        waterfall::distribute(line.payer, charge.due, &[(line.asset.clone(), quantity)], &rules).at(place)
    }

    fn owners(&self, name: &String) -> Vec<Owner> {
        let owner = |owner: &OwnerWeight| Owner { member: owner.member, weight: Weight::new(owner.weight) };
        self.scenario.assets.get(name).map_or(Vec::new(), |asset| asset.owners.iter().map(owner).collect())
    }
}

fn known(scenario: &Scenario, name: &str) -> Result<(), Problem> {
    let is_known = scenario.assets.contains_key(name);
    if is_known { Ok(()) } else { Err(Problem::UnknownAsset { name: name.to_owned() }) }
}

/// Refuses a split that could not be made, even if no line reaches it.
fn check_owners(name: &str, asset: &Asset) -> Result<(), WaterfallError<String>> {
    if asset.owners.iter().all(|owner| owner.weight == 0) {
        return Err(WaterfallError::Orphan { asset: name.to_owned() });
    }
    let mut seen = BTreeSet::new();
    match asset.owners.iter().find(|owner| !seen.insert(owner.member)) {
        Some(owner) => Err(WaterfallError::DuplicateOwner { asset: name.to_owned(), member: owner.member }),
        None => Ok(()),
    }
}

/// Self legs and netting of all lines; leaves the lists per line empty.
fn settle(lines: &[Line], distributions: &[Distribution<String>]) -> Result<Report, MoneyError> {
    let mut self_legs: BTreeMap<(MemberId, Currency), Micro> = BTreeMap::new();
    let mut obligations = Vec::new();
    for (line, distribution) in lines.iter().zip(distributions) {
        let currency = line.currency;
        let own = self_legs.entry((distribution.payer, currency)).or_default();
        *own = own.checked_add(distribution.self_leg())?;
        let owed = distribution.receivables().map(|&Share { member, micros }| Obligation {
            from: distribution.payer,
            to: member,
            currency,
            micros,
        });
        obligations.extend(owed);
    }
    let netted = netting::bilateral(obligations, &[])?;
    let everybody = netted.debts.iter().flat_map(|debt| [debt.from, debt.to]).collect();
    let net = netting::positions(&netted.debts)?;
    let payments = netting::payments(&netted.debts, &everybody)?;
    Ok(Report::of_netting(self_legs, &netted, &net, &payments))
}

#[cfg(test)]
mod tests;
