//! Amounts in agreement files: text with a currency, exact.
//!
//! *Invariants.* No float is ever read. Both the form for people (`"2.50 EUR per
//! 1000000"`) and the protocol's own JSON (minor units as decimal digits) are read, and
//! nothing else.

use std::fmt;
use std::num::NonZeroU64;

use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, de};
use syngraph_protocol::money::{Currency, Minor, Rate};

/// Text that is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoAmount {
    /// Not of the form.
    #[error("{0:?} is no amount like \"2.50 EUR\"")]
    Amount(String),
    /// Not of the form.
    #[error("{0:?} is no price like \"2.50 EUR per 1000000\"")]
    Price(String),
    /// Not a currency, or not its decimals.
    #[error("{0}")]
    Money(String),
    /// A price below nothing, or beyond every range.
    #[error("{0:?} is negative or out of range")]
    Range(String),
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Reads `2.50 EUR`.
fn money(text: &str) -> Option<Result<(Minor, Currency), NoAmount>> {
    let (amount, currency) = text.trim().split_once(' ')?;
    let read = || {
        let currency: Currency = currency.trim().parse()?;
        Ok((Minor::parse(amount, currency)?, currency))
    };
    Some(read().map_err(|error: syngraph_protocol::money::MoneyError| NoAmount::Money(error.to_string())))
}

/// An amount: `"2.50 EUR"`, or minor units as digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileAmount {
    pub(super) minor: Minor,
    /// The currency, if the text names one.
    pub(super) currency: Option<Currency>,
}

impl FileAmount {
    fn parse(text: &str) -> Result<Self, NoAmount> {
        if let Some(read) = money(text) {
            return read.map(|(minor, currency)| Self { minor, currency: Some(currency) });
        }
        let units = text.parse::<i128>().ok().filter(|units| units.to_string() == text);
        let minor = Minor::new(units.ok_or_else(|| NoAmount::Amount(shown(text)))?);
        Ok(Self { minor, currency: None })
    }
}

impl<'de> Deserialize<'de> for FileAmount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;

        impl de::Visitor<'_> for Text {
            type Value = FileAmount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount like \"2.50 EUR\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<FileAmount, E> {
                FileAmount::parse(text).map_err(E::custom)
            }
        }

        from.deserialize_any(Text)
    }
}

/// A price: `"2.50 EUR per 1000000"`, or the protocol's own `{minor, per}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileRate {
    pub(super) rate: Rate,
    /// The currency, if the text names one.
    pub(super) currency: Option<Currency>,
}

impl FileRate {
    fn parse(text: &str) -> Result<Self, NoAmount> {
        let form = || NoAmount::Price(shown(text));
        let (amount, per) = match text.split_once(" per ") {
            Some((amount, per)) => (amount, per.trim().parse::<NonZeroU64>().map_err(|_| form())?),
            None => (text, NonZeroU64::MIN),
        };
        let (minor, currency) = money(amount).ok_or_else(form)??;
        let minor = u64::try_from(minor.get()).map_err(|_| NoAmount::Range(shown(text)))?;
        let rate = Rate::new(minor, per.get()).map_err(|error| NoAmount::Money(error.to_string()))?;
        Ok(Self { rate, currency: Some(currency) })
    }
}

impl<'de> Deserialize<'de> for FileRate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TextOrMap;

        impl<'de> de::Visitor<'de> for TextOrMap {
            type Value = FileRate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a price like \"2.50 EUR per 1000000\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<FileRate, E> {
                FileRate::parse(text).map_err(E::custom)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<FileRate, A::Error> {
                let rate = Rate::deserialize(MapAccessDeserializer::new(map))?;
                Ok(FileRate { rate, currency: None })
            }
        }

        from.deserialize_any(TextOrMap)
    }
}

/// A count of units: an integer, or the same as decimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileCount(pub(super) u64);

impl<'de> Deserialize<'de> for FileCount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Count;

        impl de::Visitor<'_> for Count {
            type Value = FileCount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of units, not negative")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<FileCount, E> {
                Ok(FileCount(count))
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> Result<FileCount, E> {
                let refused = |_| E::invalid_value(de::Unexpected::Signed(count), &self);
                u64::try_from(count).map(FileCount).map_err(refused)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<FileCount, E> {
                let count = text.parse::<u64>().ok().filter(|count| count.to_string() == text);
                count.map(FileCount).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        from.deserialize_any(Count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eur() -> Currency {
        "EUR".parse().expect("a currency")
    }

    #[test]
    fn amounts_are_exact_and_name_their_currency() {
        let amount = FileAmount::parse("2.50 EUR").expect("an amount");
        assert_eq!((amount.minor, amount.currency), (Minor::new(250), Some(eur())));
        assert_eq!(FileAmount::parse("1000 JPY").expect("an amount").minor, Minor::new(1_000));
        let digits = FileAmount::parse("250").expect("minor units");
        assert_eq!((digits.minor, digits.currency), (Minor::new(250), None));
        for wrong in ["", "2.50", "2.505 EUR", "1 XXX", "EUR 2.50", "2,50 EUR", "+5", "007", "1e3 EUR"] {
            assert!(FileAmount::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn prices_are_exact_and_never_negative() {
        let price = FileRate::parse("2.50 EUR per 1000000").expect("a price");
        assert_eq!((price.rate.minor(), price.rate.per(), price.currency), (250, 1_000_000, Some(eur())));
        assert_eq!(FileRate::parse("3 JPY").expect("a price").rate.per(), 1);
        for wrong in ["250", "2.50 EUR per 0", "2.50 EUR per -1", "-2.50 EUR per 1", "2.50 EUR per million"] {
            assert!(FileRate::parse(wrong).is_err(), "{wrong}");
        }
        let own: FileRate = serde_json::from_str(r#"{"minor": "250", "per": "1000000"}"#).expect("own form");
        assert_eq!((own.rate, own.currency), (price.rate, None));
    }

    #[test]
    fn floats_are_refused_in_words() {
        let float = serde_json::from_str::<FileRate>("2.5").expect_err("a float").to_string();
        assert!(float.contains("expected a price like \"2.50 EUR per 1000000\""), "{float}");
        assert!(serde_json::from_str::<FileAmount>("2.5").is_err());
        for (text, is_fine) in
            [("5", true), ("\"5\"", true), ("5.0", false), ("-5", false), ("\"05\"", false)]
        {
            assert_eq!(serde_json::from_str::<FileCount>(text).is_ok(), is_fine, "{text}");
        }
    }
}
