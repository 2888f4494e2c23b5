//! Payment terms as the parties sign them.
//!
//! *Invariants.* The types are canonical on the wire: no maps, no floats, no optional
//! layout. A term that passes [`PaymentTerm::check`] can be rated for any quantity.
//!
//! *Deliberately absent:* which grant, meter, payer and period a term belongs to (the
//! agreement says), and the multiplier's value (observations say, at rating time).

use serde::{Deserialize, Serialize};

use crate::ids::MemberId;
use crate::limits::{CODE_BYTES_MAX, PARTIES_MAX, TIERS_MAX};
use crate::money::{Currency, Minor, Ppm, Rate, decimal};

/// What a licensee pays for a line: one price and its adjustments, in one currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentTerm {
    /// Currency of every amount in this term.
    pub currency: Currency,
    /// How use becomes an amount.
    pub price: Price,
    /// Raises or lowers the amount by an observed metric; before minimum and cap.
    pub multiplier: Option<Multiplier>,
    /// Least amount due, even without a row; minor units, not negative.
    pub minimum: Option<Minor>,
    /// Most that is due; wins over the minimum; minor units, not negative.
    pub cap: Option<Minor>,
    /// Recoupment: paid up front, and used up by charges before anything else falls due;
    /// minor units, not negative.
    pub advance: Option<Minor>,
    /// What minimum and cap are counted over.
    pub scope: Scope,
}

/// How measured use becomes an amount. Every [`Rate`] is in minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Price {
    /// Nothing.
    Free,
    /// A fixed amount a period: `minor` ÷ `per`, so that a price of JPY 333,333 a
    /// quarter is (333,333, 3) a month.
    Flat(Rate),
    /// `minor` for every `per` units, in proportion.
    PerUnit(Rate),
    /// `minor` for every package of `per` units begun.
    Package(Rate),
    /// A rate that depends on the quantity of the period.
    Tiered {
        /// Whether a tier prices its own units or all of them.
        mode: TierMode,
        /// In rising order of `up_to`, the last without one.
        tiers: Vec<Tier>,
    },
    /// A share of reported revenue.
    Revenue {
        /// The share, at most 100 %.
        share: Ppm,
        /// What it is a share of.
        base: RevenueBase,
    },
}

/// Whether a tier prices its own units or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TierMode {
    /// Each unit at the rate of the tier it falls into.
    Graduated,
    /// All units at the rate of the tier that the total falls into.
    Volume,
}

/// One step of a tiered price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Last unit of the tier, inclusive; `None` for the last tier.
    #[serde(with = "decimal::option", default)]
    pub up_to: Option<u64>,
    /// Price of the tier.
    pub rate: Rate,
}

/// What a share of revenue is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RevenueBase {
    /// Gross revenue; deductions are reported and change nothing.
    Gross,
    /// Gross revenue less deductions.
    Net {
        /// Most that may be deducted, as a share of gross; what exceeds it is lost.
        /// Without one, deductions above gross are carried into the next period.
        deduction_cap: Option<Ppm>,
    },
}

/// What minimum and cap are counted over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Each period by itself.
    Period,
    /// All periods of the term together: the cap is used up once, and what is missing
    /// from the minimum falls due in the last period.
    Lifetime,
}

/// A dynamic term: the value of an observed metric decides a factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Multiplier {
    /// Code of the metric, printable ASCII.
    pub metric: String,
    /// The factor for values below the first step.
    pub below: Ppm,
    /// In rising order of `from`; the last one that a value reaches decides.
    pub steps: Vec<Step>,
    /// How the observers' values become one.
    pub aggregation: Aggregation,
    /// The observers that count (n), in rising order.
    pub observers: Vec<MemberId>,
    /// How many of them must have observed (k), at least 1.
    pub quorum: u16,
}

/// One threshold of a [`Multiplier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Least value of the metric, in its own unit, inclusive.
    #[serde(with = "decimal")]
    pub from: i64,
    /// The factor from there on.
    pub ppm: Ppm,
}

/// How several observers' values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// The middle value; of an even number the lower of the two, so that it is always a
    /// value that somebody observed.
    Median,
    /// The lowest value.
    Min,
    /// The value observed last.
    Last,
}

/// Why a payment term cannot stand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TermError {
    /// A tiered price without tiers.
    #[error("a tiered price needs at least one tier")]
    TierNone,
    /// More tiers or steps than [`TIERS_MAX`].
    #[error("{count} tiers or steps are more than {TIERS_MAX}")]
    TierTooMany {
        /// How many there are.
        count: usize,
    },
    /// A tier that does not end above the one before.
    #[error("tier {position} must end above the one before it")]
    TierOrder {
        /// Position in the list, from 0.
        position: usize,
    },
    /// The last tier has an end, so that a quantity could have no price.
    #[error("the last tier must be open (no up_to)")]
    TierLastOpen,
    /// A tier before the last without an end.
    #[error("tier {position} is open, and only the last may be")]
    TierOpenEarly {
        /// Position in the list, from 0.
        position: usize,
    },
    /// A share of revenue, or a deduction cap, above 100 %.
    #[error("{ppm} ppm are more than 100 %")]
    ShareOver100 {
        /// The share.
        ppm: u32,
    },
    /// A negative minimum, cap or advance.
    #[error("{field} is negative: {minor} minor units")]
    Negative {
        /// `minimum`, `cap` or `advance`.
        field: &'static str,
        /// Its value in minor units.
        minor: Minor,
    },
    /// A minimum, cap or advance that leaves i128 in micros.
    #[error("{field} is out of range: {minor} minor units")]
    Range {
        /// `minimum`, `cap` or `advance`.
        field: &'static str,
        /// Its value in minor units.
        minor: Minor,
    },
    /// A minimum that the cap would always cut.
    #[error("the minimum of {minimum} minor units is above the cap of {cap}")]
    MinGtCap {
        /// Minor units.
        minimum: Minor,
        /// Minor units.
        cap: Minor,
    },
    /// Not a code: empty, too long, or not printable ASCII.
    #[error("{metric:?} is no code of a metric")]
    DynMetric {
        /// The text, cut to 80 characters.
        metric: String,
    },
    /// Steps that do not rise.
    #[error("step {position} must start above the one before it")]
    DynOrder {
        /// Position in the list, from 0.
        position: usize,
    },
    /// Observers that are not distinct and in rising order, or more than [`PARTIES_MAX`].
    #[error("observers must be distinct, in rising order, and at most {PARTIES_MAX}")]
    DynObservers,
    /// A quorum of 0, or of more observers than there are.
    #[error("a quorum of {quorum} among {observers} observers can never decide")]
    DynQuorum {
        /// k.
        quorum: u16,
        /// n.
        observers: usize,
    },
}

impl TermError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::TierNone => "TIER-NONE",
            Self::TierTooMany { .. } => "TIER-TOO-MANY",
            Self::TierOrder { .. } => "TIER-ORDER",
            Self::TierLastOpen | Self::TierOpenEarly { .. } => "TIER-OPEN",
            Self::ShareOver100 { .. } => "SHARE-OVER-100",
            Self::Negative { .. } => "TERM-NEGATIVE",
            Self::Range { .. } => "MONEY-RANGE",
            Self::MinGtCap { .. } => "MIN-GT-CAP",
            Self::DynMetric { .. } => "DYN-METRIC",
            Self::DynOrder { .. } => "DYN-ORDER",
            Self::DynObservers => "DYN-OBSERVERS",
            Self::DynQuorum { .. } => "DYN-QUORUM",
        }
    }
}

impl PaymentTerm {
    /// Whether the term can be rated at all, whatever anyone may waive.
    ///
    /// # Errors
    /// Every [`TermError`] but [`TermError::MinGtCap`].
    pub fn check_shape(&self) -> Result<(), TermError> {
        self.price.check()?;
        self.multiplier.as_ref().map_or(Ok(()), Multiplier::check)?;
        for (field, amount) in [("minimum", self.minimum), ("cap", self.cap), ("advance", self.advance)] {
            let Some(minor) = amount else { continue };
            if minor < Minor::ZERO {
                return Err(TermError::Negative { field, minor });
            }
            minor.to_micro().map_err(|_| TermError::Range { field, minor })?;
        }
        Ok(())
    }

    /// Whether the term makes sense: its shape, and a minimum that is not above the cap
    /// (which a signed waiver may accept; the cap then wins).
    ///
    /// # Errors
    /// Any [`TermError`].
    pub fn check(&self) -> Result<(), TermError> {
        self.check_shape()?;
        match (self.minimum, self.cap) {
            (Some(minimum), Some(cap)) if minimum > cap => Err(TermError::MinGtCap { minimum, cap }),
            _ => Ok(()),
        }
    }
}

impl Price {
    /// Whether every quantity has a price.
    ///
    /// # Errors
    /// The `TIER-…` and `SHARE-…` refusals of [`TermError`].
    pub fn check(&self) -> Result<(), TermError> {
        match self {
            Self::Free | Self::Flat(_) | Self::PerUnit(_) | Self::Package(_) => Ok(()),
            Self::Tiered { tiers, .. } => check_tiers(tiers),
            Self::Revenue { share, base } => {
                at_most_100(*share)?;
                match base {
                    RevenueBase::Net { deduction_cap: Some(cap) } => at_most_100(*cap),
                    RevenueBase::Net { deduction_cap: None } | RevenueBase::Gross => Ok(()),
                }
            }
        }
    }

    /// The last unit of the first volume tier at which one more unit makes the total
    /// cheaper (lint RATE-CLIFF); `None` if the total never falls.
    #[must_use]
    pub fn cliff(&self) -> Option<u64> {
        let Self::Tiered { mode: TierMode::Volume, tiers } = self else { return None };
        tiers.windows(2).find_map(|pair| match pair {
            [lower, upper] => lower.up_to.filter(|&last| falls_after(last, lower.rate, upper.rate)),
            _ => None,
        })
    }
}

/// Whether `last` units at the lower tier's rate cost more than one more at the upper's.
fn falls_after(last: u64, lower: Rate, upper: Rate) -> bool {
    use ethnum::U256;
    // Three factors of at most 65 bits each: 256 bits hold the products.
    let cost = |units: u128, rate: Rate, other: Rate| {
        U256::from(units).saturating_mul(U256::from(rate.minor())).saturating_mul(U256::from(other.per()))
    };
    let units = u128::from(last);
    cost(units, lower, upper) > cost(units.saturating_add(1), upper, lower)
}

fn at_most_100(share: Ppm) -> Result<(), TermError> {
    if share > Ppm::ONE { Err(TermError::ShareOver100 { ppm: share.get() }) } else { Ok(()) }
}

fn check_tiers(tiers: &[Tier]) -> Result<(), TermError> {
    let Some((last, earlier)) = tiers.split_last() else { return Err(TermError::TierNone) };
    if tiers.len() > TIERS_MAX {
        return Err(TermError::TierTooMany { count: tiers.len() });
    }
    let mut end = 0;
    for (position, tier) in earlier.iter().enumerate() {
        let up_to = tier.up_to.ok_or(TermError::TierOpenEarly { position })?;
        if up_to <= end {
            return Err(TermError::TierOrder { position });
        }
        end = up_to;
    }
    if last.up_to.is_some() { Err(TermError::TierLastOpen) } else { Ok(()) }
}

impl Multiplier {
    /// Whether the multiplier can decide something.
    ///
    /// # Errors
    /// The `DYN-…` refusals of [`TermError`], and [`TermError::TierTooMany`].
    pub fn check(&self) -> Result<(), TermError> {
        let printable = self.metric.bytes().all(|byte| byte.is_ascii_graphic());
        if self.metric.is_empty() || self.metric.len() > CODE_BYTES_MAX || !printable {
            return Err(TermError::DynMetric { metric: self.metric.chars().take(80).collect() });
        }
        if self.steps.len() > TIERS_MAX {
            return Err(TermError::TierTooMany { count: self.steps.len() });
        }
        if let Some(earlier) =
            self.steps.windows(2).position(|pair| !pair.is_sorted_by(|a, b| a.from < b.from))
        {
            return Err(TermError::DynOrder { position: earlier.saturating_add(1) });
        }
        let observers = self.observers.len();
        if observers > PARTIES_MAX || !self.observers.is_sorted_by(|a, b| a < b) {
            return Err(TermError::DynObservers);
        }
        if self.quorum == 0 || usize::from(self.quorum) > observers {
            return Err(TermError::DynQuorum { quorum: self.quorum, observers });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
