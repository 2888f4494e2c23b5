//! Rating: from measured use to one charge per line.
//!
//! Steps 2 to 5 of domain §6: an exact fraction, the dynamic multiplier, the minimum, the
//! cap (which wins), and **one** rounding, half to even, to micros. A line may be made of
//! several [`Segment`]s, one for each term version in force in the period: quantity and
//! tier position run on through them, in order of event time.
//!
//! *Invariants.* No intermediate overflows, whatever the u64s; only a result outside i128
//! micros is refused (`MONEY-RANGE`). A charge is never negative.
//!
//! *Deliberately absent:* rows, duplicates, voids and periods; they are a quantity by now.

use std::num::NonZeroU64;

use crate::money::{Micro, Minor, MoneyError, Ppm, Rate};

use super::exact::Exact;
use super::terms::{PaymentTerm, Price, RevenueBase, Scope, TermError, Tier, TierMode};

/// Why a line has no charge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RatingError {
    /// The charge, or a sum on the way to it, is out of range.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// The term never passed its check, and leaves this quantity without a price.
    #[error(transparent)]
    Term(#[from] TermError),
    /// A portion of nothing, or of more than all.
    #[error("{part} of {whole} is no portion of a period")]
    Portion {
        /// Milliseconds in force.
        part: u64,
        /// Milliseconds of the period.
        whole: u64,
    },
}

impl RatingError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Money(error) => error.rule(),
            Self::Term(error) => error.rule(),
            Self::Portion { .. } => "RATE-PORTION",
        }
    }
}

/// How much of a period a version of a flat term was in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portion {
    part: u64,
    whole: NonZeroU64,
}

impl Portion {
    /// All of it.
    pub const ALL: Self = Self { part: 1, whole: NonZeroU64::MIN };

    /// `part` of `whole`, both in milliseconds.
    ///
    /// # Errors
    /// [`RatingError::Portion`] if `whole` is 0 or `part` is more than it.
    pub fn new(part: u64, whole: u64) -> Result<Self, RatingError> {
        match NonZeroU64::new(whole) {
            Some(nonzero) if part <= whole => Ok(Self { part, whole: nonzero }),
            _ => Err(RatingError::Portion { part, whole }),
        }
    }
}

/// What was measured of a line while one version of its term was in force.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The price of that version.
    pub price: &'a Price,
    /// Units of the meter; for a share of revenue, gross revenue in minor units of the
    /// currency it was reported in.
    pub quantity: u64,
    /// Deductions from revenue, those carried in included; minor units of the same
    /// currency. Other prices ignore them.
    pub deductions: u64,
    /// From the currency of the revenue to that of the term: minor units of the term's
    /// per minor units reported. `None` if they are the same.
    pub exchange: Option<Rate>,
    /// How much of the period the version was in force. Only flat prices read it.
    pub portion: Portion,
}

impl<'a> Segment<'a> {
    /// A whole period under one version, without deductions or exchange.
    #[must_use]
    pub const fn new(price: &'a Price, quantity: u64) -> Self {
        Self { price, quantity, deductions: 0, exchange: None, portion: Portion::ALL }
    }

    /// Deductions above gross, minor units of the reported currency, which the agreement
    /// carries into its next period. 0 for a capped deduction: what exceeds a cap is lost.
    #[must_use]
    pub const fn deductions_carried(&self) -> u64 {
        match self.price {
            Price::Revenue { base: RevenueBase::Net { deduction_cap: None }, .. } => {
                self.deductions.saturating_sub(self.quantity)
            }
            _ => 0,
        }
    }
}

/// What a lifetime term has seen in earlier periods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Accrued before, after corrections. Read if the scope is [`Scope::Lifetime`].
    pub accrued: Micro,
    /// Of the advance, used up before.
    pub recouped: Micro,
    /// Whether no period follows, so that a lifetime minimum falls due.
    pub last_period: bool,
}

/// What stands between the price and the charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adjustments {
    /// The dynamic factor; [`Ppm::ONE`] if there is none.
    pub multiplier: Ppm,
    /// Least charge; minor units.
    pub minimum: Option<Minor>,
    /// Greatest charge; minor units. Wins over the minimum.
    pub cap: Option<Minor>,
    /// Paid up front, used up by charges first; minor units.
    pub advance: Option<Minor>,
    /// What minimum and cap are counted over.
    pub scope: Scope,
    /// Earlier periods.
    pub history: History,
}

impl Adjustments {
    /// None at all.
    pub const NONE: Self = Self {
        multiplier: Ppm::ONE,
        minimum: None,
        cap: None,
        advance: None,
        scope: Scope::Period,
        history: History { accrued: Micro::ZERO, recouped: Micro::ZERO, last_period: false },
    };

    /// Those of a term, with the factor its multiplier read and its earlier periods.
    #[must_use]
    pub const fn of(term: &PaymentTerm, multiplier: Ppm, history: History) -> Self {
        let PaymentTerm { minimum, cap, advance, scope, .. } = term;
        Self { multiplier, minimum: *minimum, cap: *cap, advance: *advance, scope: *scope, history }
    }
}

/// What a line costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// After multiplier, minimum and cap, rounded.
    pub accrued: Micro,
    /// Of it, set off against the advance.
    pub recouped: Micro,
    /// The rest: what the waterfall distributes.
    pub due: Micro,
}

/// Rates one line. The segments are in order of event time; adjustments are those of the
/// version in force at the end of the period.
///
/// # Errors
/// [`RatingError::Money`] if the charge leaves i128 micros; [`RatingError::Term`] if a
/// tiered price that never passed its check has no tier for the quantity.
pub fn rate(segments: &[Segment<'_>], adjustments: &Adjustments) -> Result<Charge, RatingError> {
    let total = segments.iter().map(|segment| u128::from(segment.quantity)).fold(0, u128::saturating_add);
    let mut before = 0_u128;
    let mut minor = Exact::whole(0);
    for segment in segments {
        minor = minor.plus(&price_of(segment, before, total)?);
        before = before.saturating_add(u128::from(segment.quantity));
    }
    let exact = minor.times(&Exact::whole(MICROS)).times(&share(adjustments.multiplier));
    let accrued = bounded(exact, adjustments)?.round_half_even()?;
    let recouped = recoup(accrued, adjustments)?;
    Ok(Charge { accrued, recouped, due: accrued.checked_sub(recouped)? })
}

const MICROS: u128 = 1_000_000;

fn share(ppm: Ppm) -> Exact {
    Exact::fraction(u64::from(ppm.get()), u64::from(Ppm::ONE.get()))
}

fn at_rate(units: u128, rate: Rate) -> Exact {
    Exact::fraction(rate.minor(), rate.per()).times(&Exact::whole(units))
}

/// Minor units for one segment, `before` units into a period of `total` units.
fn price_of(segment: &Segment<'_>, before: u128, total: u128) -> Result<Exact, RatingError> {
    let quantity = u128::from(segment.quantity);
    let after = before.saturating_add(quantity);
    Ok(match segment.price {
        Price::Free => Exact::whole(0),
        Price::Flat(rate) => {
            let Portion { part, whole } = segment.portion;
            at_rate(1, *rate).times(&Exact::fraction(part, whole.get()))
        }
        Price::PerUnit(rate) => at_rate(quantity, *rate),
        Price::Package(rate) => {
            let begun = |units: u128| units.div_ceil(u128::from(rate.per()));
            let packages = begun(after).saturating_sub(begun(before));
            Exact::whole(packages).times(&Exact::whole(u128::from(rate.minor())))
        }
        Price::Tiered { mode: TierMode::Graduated, tiers } => graduated(tiers, before, after)?,
        Price::Tiered { mode: TierMode::Volume, tiers } => {
            let reached = |tier: &&Tier| tier.up_to.is_none_or(|last| total <= u128::from(last));
            at_rate(quantity, tiers.iter().find(reached).ok_or(TermError::TierLastOpen)?.rate)
        }
        Price::Revenue { share: of_base, base } => {
            let converted = match segment.exchange {
                Some(rate) => Exact::fraction(rate.minor(), rate.per()),
                None => Exact::whole(1),
            };
            revenue_base(*base, segment.quantity, segment.deductions)
                .times(&converted)
                .times(&share(*of_base))
        }
    })
}

/// Each unit in (`before`, `after`] at the rate of the tier it falls into.
fn graduated(tiers: &[Tier], before: u128, after: u128) -> Result<Exact, RatingError> {
    let mut sum = Exact::whole(0);
    let mut priced = before;
    for tier in tiers {
        let end = tier.up_to.map_or(after, |last| after.min(u128::from(last)));
        sum = sum.plus(&at_rate(end.saturating_sub(priced), tier.rate));
        priced = priced.max(end);
    }
    if priced < after { Err(TermError::TierLastOpen.into()) } else { Ok(sum) }
}

/// The revenue that is shared, in the currency it was reported in; never below 0.
fn revenue_base(base: RevenueBase, gross: u64, deductions: u64) -> Exact {
    let net = Exact::whole(u128::from(gross.saturating_sub(deductions)));
    match base {
        RevenueBase::Gross => Exact::whole(u128::from(gross)),
        RevenueBase::Net { deduction_cap: None } => net,
        RevenueBase::Net { deduction_cap: Some(cap) } => {
            let kept = share(cap.rest().unwrap_or(Ppm::ZERO));
            net.at_least(Exact::whole(u128::from(gross)).times(&kept))
        }
    }
}

/// Minimum, then cap. Over a lifetime both are less what accrued before.
fn bounded(exact: Exact, adjustments: &Adjustments) -> Result<Exact, RatingError> {
    let Adjustments { minimum, cap, scope, history, .. } = adjustments;
    let (before, minimum) = match scope {
        Scope::Period => (Micro::ZERO, *minimum),
        Scope::Lifetime => (history.accrued, minimum.filter(|_| history.last_period)),
    };
    let left = |bound: Minor| -> Result<Exact, MoneyError> {
        let micros = bound.to_micro()?.checked_sub(before)?.get();
        Ok(Exact::whole(u128::try_from(micros).unwrap_or(0)))
    };
    let exact = match minimum {
        Some(minimum) => exact.at_least(left(minimum)?),
        None => exact,
    };
    Ok(match cap {
        Some(cap) => exact.at_most(left(*cap)?),
        None => exact,
    })
}

/// How much of the charge the unused part of the advance covers.
fn recoup(accrued: Micro, adjustments: &Adjustments) -> Result<Micro, MoneyError> {
    let Some(advance) = adjustments.advance else { return Ok(Micro::ZERO) };
    let unused = advance.to_micro()?.checked_sub(adjustments.history.recouped)?;
    Ok(accrued.min(unused).max(Micro::ZERO))
}

#[cfg(test)]
mod tests;
