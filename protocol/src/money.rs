//! Amounts, rates and shares, and how an amount is split.
//!
//! *Invariants.* Every amount is an integer with its unit in its type: [`Minor`] is what
//! is paid, [`Micro`] (10⁻⁶ of a minor unit) what accrues. No operation wraps or rounds
//! in silence: what does not fit is [`MoneyError::Range`], and a split always sums to
//! what was split. In JSON, integers that can exceed 2⁵³ are decimal strings.
//!
//! *Deliberately absent:* the currency inside an amount (a posting, a line, a statement
//! has one currency and says so once), signs forced on amounts, exchange rates, and any
//! division other than [`largest_remainder`] and the one rounding of a line's charge in
//! `ledger/royalty`.

mod currency;
pub(crate) mod decimal;

use std::fmt;
use std::num::NonZeroU64;

use ethnum::U256;
use serde::{Deserialize, Serialize};

pub use currency::Currency;

/// Micros in one minor unit.
pub const MICROS_PER_MINOR: i128 = 1_000_000;

/// Why an operation on money was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// A result outside the range of its type (i128, or u64 for a weight).
    #[error("the amount is out of range")]
    Range,
    /// A split of less than nothing. Corrections split twice and subtract instead.
    #[error("cannot split a negative total: {total}")]
    NegativeTotal {
        /// What was to be split.
        total: i128,
    },
    /// A split among nobody, or among weights that are all 0.
    #[error("the weights sum to 0")]
    NoWeight,
    /// Not a code of the pinned ISO 4217 table.
    #[error("{code:?} is no ISO 4217 currency with a minor unit")]
    UnknownCurrency {
        /// The text that was given, cut to 20 characters.
        code: String,
    },
    /// A rate for 0 units.
    #[error("a rate needs a number of units above 0")]
    RatePerZero,
    /// Text that is no amount of the currency, or has more decimals than it.
    #[error("{text:?} is no amount in {currency}, which has {decimals} decimals")]
    Syntax {
        /// The text that was given, cut to 80 characters.
        text: String,
        /// The currency it was to be in.
        currency: Currency,
        /// How many decimals that currency has.
        decimals: u8,
    },
}

impl MoneyError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Range => "MONEY-RANGE",
            Self::NegativeTotal { .. } => "MONEY-NEGATIVE",
            Self::NoWeight => "SPLIT-NO-WEIGHT",
            Self::UnknownCurrency { .. } => "CCY-UNKNOWN",
            Self::RatePerZero => "RATE-PER-ZERO",
            Self::Syntax { .. } => "MONEY-SYNTAX",
        }
    }
}

macro_rules! amount {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(#[serde(with = "decimal")] i128);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);

            /// So many units, of either sign.
            #[must_use]
            pub const fn new(units: i128) -> Self {
                Self(units)
            }

            /// The number of units.
            #[must_use]
            pub const fn get(self) -> i128 {
                self.0
            }

            /// Whether this is nothing.
            #[must_use]
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }

            /// The sum.
            ///
            /// # Errors
            /// [`MoneyError::Range`] outside i128.
            pub const fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
                match self.0.checked_add(other.0) {
                    Some(units) => Ok(Self(units)),
                    None => Err(MoneyError::Range),
                }
            }

            /// The difference.
            ///
            /// # Errors
            /// [`MoneyError::Range`] outside i128.
            pub const fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
                match self.0.checked_sub(other.0) {
                    Some(units) => Ok(Self(units)),
                    None => Err(MoneyError::Range),
                }
            }

            /// The same amount in the other direction.
            ///
            /// # Errors
            /// [`MoneyError::Range`] for the lowest i128.
            pub const fn checked_neg(self) -> Result<Self, MoneyError> {
                match self.0.checked_neg() {
                    Some(units) => Ok(Self(units)),
                    None => Err(MoneyError::Range),
                }
            }

            /// The sum of all; nothing for none.
            ///
            /// # Errors
            /// [`MoneyError::Range`] if a partial sum leaves i128.
            pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, MoneyError> {
                amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
            }
        }

        impl fmt::Display for $name {
            /// The bare number of units.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

amount! {
    /// An amount in whole minor units (cents of EUR, yen of JPY): what is paid.
    Minor
}
amount! {
    /// An amount in 10⁻⁶ of a minor unit: what accrues.
    Micro
}

impl Minor {
    /// The same amount in micros.
    ///
    /// # Errors
    /// [`MoneyError::Range`] outside i128.
    pub fn to_micro(self) -> Result<Micro, MoneyError> {
        self.0.checked_mul(MICROS_PER_MINOR).map(Micro).ok_or(MoneyError::Range)
    }

    /// An exact decimal in the currency's major unit, with all of its decimals:
    /// 5626 EUR cents are `56.26`, 5626 yen `5626`.
    #[must_use]
    pub fn amount(self, currency: Currency) -> String {
        decimal::render(self.0, usize::from(currency.exponent()))
    }

    /// Reads what [`Minor::amount`] writes; fewer decimals than the currency has are
    /// fine (`2.5` EUR), more are not.
    ///
    /// # Errors
    /// [`MoneyError::Syntax`] for other text, [`MoneyError::Range`] outside i128.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let decimals = currency.exponent();
        match decimal::parse(text, usize::from(decimals)) {
            Ok(units) => Ok(Self(units)),
            Err(decimal::Refused::Range) => Err(MoneyError::Range),
            Err(decimal::Refused::Syntax) => {
                Err(MoneyError::Syntax { text: text.chars().take(80).collect(), currency, decimals })
            }
        }
    }
}

impl Micro {
    /// Whole minor units, cut towards zero, and the residue that keeps the sign:
    /// −2,500,000 micros are (−2, −500,000). The residue is less than one minor unit.
    #[must_use]
    pub fn to_minor(self) -> (Minor, Self) {
        let whole = self.0.checked_div(MICROS_PER_MINOR).expect("the divisor is a constant above 0");
        let rest = self.0.checked_rem(MICROS_PER_MINOR).expect("the divisor is a constant above 0");
        (Minor(whole), Self(rest))
    }

    /// An exact decimal in the currency's major unit, with at least its own decimals
    /// and no further trailing zeros: 5,625,601,650 micros of EUR are `56.2560165`,
    /// 5,600,000,000 are `56.00`.
    #[must_use]
    pub fn amount(self, currency: Currency) -> String {
        let own = usize::from(currency.exponent());
        let mut text = decimal::render(self.0, own.saturating_add(decimal::MICRO_DECIMALS));
        let spare =
            text.bytes().rev().take(decimal::MICRO_DECIMALS).take_while(|&digit| digit == b'0').count();
        text.truncate(text.len().saturating_sub(spare));
        // Without decimals of its own the currency's point may now stand at the end.
        text.truncate(text.strip_suffix('.').map_or(text.len(), str::len));
        text
    }
}

/// A price: `minor` minor units per `per` units of the meter. EUR 2.50 per million
/// tokens is 250 per 1,000,000. Never reduced: it is written as it was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    #[serde(with = "decimal")]
    minor: u64,
    #[serde(with = "decimal")]
    per: NonZeroU64,
}

impl Rate {
    /// A price of `minor` minor units per `per` units.
    ///
    /// # Errors
    /// [`MoneyError::RatePerZero`] if `per` is 0.
    pub fn new(minor: u64, per: u64) -> Result<Self, MoneyError> {
        NonZeroU64::new(per).map(|per| Self { minor, per }).ok_or(MoneyError::RatePerZero)
    }

    /// Minor units for every [`Rate::per`] units.
    #[must_use]
    pub const fn minor(self) -> u64 {
        self.minor
    }

    /// How many units the price is for; never 0.
    #[must_use]
    pub const fn per(self) -> u64 {
        self.per.get()
    }
}

/// A share: weight ÷ sum of all weights of the split, so that 1/3 and 7/13 are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Weight(#[serde(with = "decimal")] u64);

impl Weight {
    /// So many parts.
    #[must_use]
    pub const fn new(parts: u64) -> Self {
        Self(parts)
    }

    /// The number of parts.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Parts per million: 1,000,000 is 100 %. May exceed it where a multiplier is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ppm(u32);

impl Ppm {
    /// 100 %.
    pub const ONE: Self = Self(1_000_000);
    /// 0 %.
    pub const ZERO: Self = Self(0);

    /// So many parts per million.
    #[must_use]
    pub const fn new(parts: u32) -> Self {
        Self(parts)
    }

    /// The number of parts per million.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// What is left of 100 %; `None` if this is more.
    #[must_use]
    pub const fn rest(self) -> Option<Self> {
        match Self::ONE.0.checked_sub(self.0) {
            Some(parts) => Some(Self(parts)),
            None => None,
        }
    }
}

/// Splits a total in proportion to the weights, exactly: every part is floored, then the
/// units left over go one each to the largest remainders, ties to the earlier position.
/// Callers order the weights as the rule for their ties says (domain §6).
///
/// The parts are in the order of the weights, sum to `total`, and each is within one
/// unit of its exact share. The unit is the caller's: micros, minor units, a quantity.
///
/// # Errors
/// [`MoneyError::NegativeTotal`] below 0; [`MoneyError::NoWeight`] if the weights sum to
/// 0, whatever the total; [`MoneyError::Range`] if their sum leaves u128.
pub fn largest_remainder(total: i128, weights: &[u128]) -> Result<Vec<i128>, MoneyError> {
    let amount = U256::try_from(total).map_err(|_| MoneyError::NegativeTotal { total })?;
    let sum =
        weights.iter().try_fold(0_u128, |sum, &weight| sum.checked_add(weight)).ok_or(MoneyError::Range)?;
    if sum == 0 {
        return Err(MoneyError::NoWeight);
    }
    let mut parts = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    for (position, &weight) in weights.iter().enumerate() {
        // 127 and 128 bits make 255: the product fits.
        let product = amount.checked_mul(U256::from(weight)).ok_or(MoneyError::Range)?;
        let (floor, remainder) = product.checked_div_rem(U256::from(sum)).ok_or(MoneyError::NoWeight)?;
        parts.push(i128::try_from(floor).map_err(|_| MoneyError::Range)?);
        remainders.push((remainder, position));
    }
    let given = parts.iter().try_fold(0_i128, |sum, &part| sum.checked_add(part)).ok_or(MoneyError::Range)?;
    let left = total.checked_sub(given).ok_or(MoneyError::Range)?;
    let left = usize::try_from(left).map_err(|_| MoneyError::Range)?;
    remainders.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    for &(_, position) in remainders.iter().take(left) {
        let part = parts.get_mut(position).ok_or(MoneyError::Range)?;
        *part = part.checked_add(1).ok_or(MoneyError::Range)?;
    }
    Ok(parts)
}

#[cfg(test)]
mod tests;
