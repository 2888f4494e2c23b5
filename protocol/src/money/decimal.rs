//! Integers as decimal text: in JSON, where numbers above 2⁵³ lose digits elsewhere, and
//! with a decimal point, as amounts of a currency.
//!
//! *Invariants.* What is written is exact and is read back to the same value. On the wire
//! the integers are integers; only human-readable formats see text.
//!
//! *Deliberately absent:* exponents, thousands separators, leading `+`, floats.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Decimals that a micro has beyond a minor unit.
pub(super) const MICRO_DECIMALS: usize = 6;

/// `#[serde(with = "decimal")]`: a decimal string for people, the integer on the wire.
pub(crate) fn serialize<T, S>(value: &T, to: S) -> Result<S::Ok, S::Error>
where
    T: Display + Serialize,
    S: Serializer,
{
    if to.is_human_readable() { to.collect_str(value) } else { value.serialize(to) }
}

/// The counterpart of [`serialize`]. People may also write a plain integer.
pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: Display + FromStr + Deserialize<'de>,
    D: Deserializer<'de>,
{
    if from.is_human_readable() { from.deserialize_any(Text(PhantomData)) } else { T::deserialize(from) }
}

struct Text<T>(PhantomData<T>);

impl<T: Display + FromStr> Text<T> {
    fn read<E: de::Error>(text: &str) -> Result<T, E> {
        match text.parse::<T>() {
            // "+5", "007" and "-0" parse, and are not how the value is written.
            Ok(value) if value.to_string() == text => Ok(value),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &"an integer in range, as decimal digits")),
        }
    }
}

impl<T: Display + FromStr> de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer as a decimal string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        Self::read(text)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        Self::read(&value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        Self::read(&value.to_string())
    }
}

/// An `Option` of such an integer: `null` or absent (with `#[serde(default)]`) is none.
pub(crate) mod option {
    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(
        transparent,
        bound(serialize = "T: Display + Serialize", deserialize = "T: Display + FromStr + Deserialize<'de>")
    )]
    struct Shell<T>(#[serde(with = "super")] T);

    pub(crate) fn serialize<T, S>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error>
    where
        T: Display + Serialize + Copy,
        S: Serializer,
    {
        value.map(Shell).serialize(to)
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: Display + FromStr + Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Option::<Shell<T>>::deserialize(from)?.map(|shell| shell.0))
    }
}

/// An integer count of 10^−decimals as decimal text: (−1234, 2) is `-12.34`.
pub(super) fn render(units: i128, decimals: usize) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = decimals.saturating_add(1));
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(decimals));
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// Why text is no decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Not digits with at most `decimals` of them after a point.
    Syntax,
    /// Outside i128.
    Range,
}

/// The counterpart of [`render`]; up to `decimals` digits may follow the point.
pub(super) fn parse(text: &str, decimals: usize) -> Result<i128, Refused> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() && fraction.len() <= decimals => (whole, fraction),
        Some(_) => return Err(Refused::Syntax),
        None => (digits, ""),
    };
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    let all_digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || leading_zero || !all_digits {
        return Err(Refused::Syntax);
    }
    let sign = if negative { "-" } else { "" };
    // Only the range can still be wrong: the text is a sign and digits.
    format!("{sign}{whole}{fraction:0<decimals$}").parse().map_err(|_| Refused::Range)
}
