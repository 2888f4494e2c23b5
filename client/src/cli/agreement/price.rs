//! What a licensee pays, as people write it.
//!
//! *Invariants.* One term has one currency: all amounts that name one name the same.

use serde::Deserialize;
use syngraph_protocol::ledger::royalty::terms::{
    Aggregation, Multiplier, RevenueBase, Scope, Step, Tier, TierMode,
};
use syngraph_protocol::ledger::royalty::{PaymentTerm, Price};
use syngraph_protocol::money::{Currency, Minor, Ppm};

use super::amount::{FileAmount, FileCount, FileRate};
use crate::cli::CliError;
use crate::cli::names::{Directory, MemberName};

/// A payment term whose amounts are known to be in one currency.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
pub(super) struct FileTerm {
    currency: Currency,
    written: Written,
}

/// A payment term as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// May be left out where an amount names it.
    currency: Option<Currency>,
    price: FilePrice,
    multiplier: Option<FileMultiplier>,
    minimum: Option<FileAmount>,
    cap: Option<FileAmount>,
    advance: Option<FileAmount>,
    #[serde(default = "each_period")]
    scope: Scope,
}

const fn each_period() -> Scope {
    Scope::Period
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum FilePrice {
    Free,
    Flat(FileRate),
    PerUnit(FileRate),
    Package(FileRate),
    Tiered { mode: TierMode, tiers: Vec<FileTier> },
    Revenue { share: Ppm, base: RevenueBase },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTier {
    /// The last tier has none.
    up_to: Option<FileCount>,
    rate: FileRate,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileMultiplier {
    metric: String,
    below: Ppm,
    steps: Vec<Step>,
    aggregation: Aggregation,
    observers: Vec<MemberName>,
    quorum: u16,
}

/// A term whose currency is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum NoCurrency {
    #[error("neither `currency` nor any amount says which currency it is in")]
    Unknown,
    #[error("amounts in {0} and {1} cannot stand in one term")]
    Mixed(Currency, Currency),
}

impl TryFrom<Written> for FileTerm {
    type Error = NoCurrency;

    fn try_from(written: Written) -> Result<Self, NoCurrency> {
        let amounts = [written.minimum, written.cap, written.advance].into_iter().flatten();
        let named = written.currency.into_iter().chain(written.price.currencies());
        let mut named = named.chain(amounts.filter_map(|amount| amount.currency));
        let currency = named.next().ok_or(NoCurrency::Unknown)?;
        match named.find(|other| *other != currency) {
            Some(other) => Err(NoCurrency::Mixed(currency, other)),
            None => Ok(Self { currency, written }),
        }
    }
}

impl FilePrice {
    /// The currencies that its rates name.
    fn currencies(&self) -> Vec<Currency> {
        match self {
            Self::Free | Self::Revenue { .. } => Vec::new(),
            Self::Flat(rate) | Self::PerUnit(rate) | Self::Package(rate) => {
                rate.currency.into_iter().collect()
            }
            Self::Tiered { tiers, .. } => tiers.iter().filter_map(|tier| tier.rate.currency).collect(),
        }
    }

    fn price(self) -> Price {
        match self {
            Self::Free => Price::Free,
            Self::Flat(rate) => Price::Flat(rate.rate),
            Self::PerUnit(rate) => Price::PerUnit(rate.rate),
            Self::Package(rate) => Price::Package(rate.rate),
            Self::Tiered { mode, tiers } => {
                let tier =
                    |tier: FileTier| Tier { up_to: tier.up_to.map(|count| count.0), rate: tier.rate.rate };
                Price::Tiered { mode, tiers: tiers.into_iter().map(tier).collect() }
            }
            Self::Revenue { share, base } => Price::Revenue { share, base },
        }
    }
}

impl FileTerm {
    /// The members that observe its metric.
    pub(super) fn observers(&self) -> impl Iterator<Item = &MemberName> {
        self.written.multiplier.iter().flat_map(|multiplier| &multiplier.observers)
    }

    /// Finds the ids of what is named.
    ///
    /// # Errors
    /// `NAME-UNKNOWN`, `NAME-AMBIGUOUS`.
    pub(super) fn resolve(self, known: &Directory) -> Result<PaymentTerm, CliError> {
        let Self { currency, written } = self;
        let minor = |amount: Option<FileAmount>| -> Option<Minor> { amount.map(|amount| amount.minor) };
        Ok(PaymentTerm {
            currency,
            price: written.price.price(),
            multiplier: written.multiplier.map(|multiplier| multiplier.resolve(known)).transpose()?,
            minimum: minor(written.minimum),
            cap: minor(written.cap),
            advance: minor(written.advance),
            scope: written.scope,
        })
    }
}

impl FileMultiplier {
    fn resolve(self, known: &Directory) -> Result<Multiplier, CliError> {
        let observers = self.observers.iter().map(|member| known.member(member));
        let mut observers = observers.collect::<Result<Vec<_>, _>>()?;
        observers.sort();
        Ok(Multiplier {
            metric: self.metric,
            below: self.below,
            steps: self.steps,
            aggregation: self.aggregation,
            observers,
            quorum: self.quorum,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::names::tests::directory;
    use syngraph_protocol::ids::MemberId;

    fn read(json: &str) -> Result<PaymentTerm, String> {
        let term: FileTerm = serde_json::from_str(json).map_err(|error| error.to_string())?;
        term.resolve(&directory()).map_err(|error| error.to_string())
    }

    #[test]
    fn tiers_are_read_in_both_forms() {
        let people = r#"{"price": {"tiered": {"mode": "graduated", "tiers": [
            {"up_to": 1000000, "rate": "2.50 EUR per 1000000"}, {"rate": "2 EUR per 1000000"}]}}}"#;
        let own = r#"{"currency": "EUR", "price": {"tiered": {"mode": "graduated", "tiers": [
            {"up_to": "1000000", "rate": {"minor": "250", "per": "1000000"}},
            {"up_to": null, "rate": {"minor": "200", "per": "1000000"}}]}}, "scope": "period"}"#;
        let term = read(people).expect("for people");
        assert_eq!(term, read(own).expect("the protocol's own"));
        assert_eq!(term.check(), Ok(()));
    }

    #[test]
    fn one_term_has_one_currency() {
        for (json, expected) in [
            (r#"{"price": "free"}"#, "neither `currency` nor any amount"),
            (r#"{"price": {"flat": "1 EUR"}, "cap": "2 USD"}"#, "amounts in EUR and USD"),
            (r#"{"currency": "CHF", "price": {"flat": "1 EUR"}}"#, "amounts in CHF and EUR"),
        ] {
            let refused = read(json).expect_err(json);
            assert!(refused.contains(expected), "{refused}");
        }
        assert_eq!(
            read(r#"{"currency": "CHF", "price": "free"}"#).expect("named").currency.to_string(),
            "CHF"
        );
    }

    #[test]
    fn observers_may_be_called_by_name() {
        let json = r#"{"currency": "EUR", "price": {"flat": "1 EUR"}, "multiplier": {"metric": "accuracy",
            "below": 1000000, "steps": [{"from": 90, "ppm": 1100000}], "aggregation": "median",
            "observers": ["Birch", 0], "quorum": 1}}"#;
        let term = read(json).expect("sound");
        let observers = term.multiplier.as_ref().map(|multiplier| multiplier.observers.clone());
        assert_eq!(observers, Some(vec![MemberId::new(0), MemberId::new(1)]));
        assert_eq!(term.check(), Ok(()));
    }
}
