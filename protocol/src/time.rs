//! Moments, spans and calendar months. There is no clock here: time comes in from
//! block headers and from what people wrote.

use std::fmt;

use ::time::{
    OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Milliseconds in a day of UTC (leap seconds are not counted, as in Unix time).
pub const DAY_MS: i64 = 86_400_000;

const RFC_3339_MS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// A moment: milliseconds since 1970-01-01T00:00:00Z. In JSON an RFC 3339 string in
/// UTC with milliseconds; on the wire an integer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcMs(i64);

/// Text that is not an RFC 3339 moment within the years 0 to 9999.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a moment like 2026-10-01T00:00:00.000Z")]
pub struct ParseTimeError(String);

impl UtcMs {
    /// Later than every real moment: an open end.
    pub const OPEN: Self = Self(i64::MAX);

    /// The moment that many milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// Later by `ms`, stopping at the ends of the range.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Earlier by `ms`, stopping at the ends of the range.
    #[must_use]
    pub const fn minus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_sub(ms))
    }

    /// Milliseconds from `earlier` to this moment; negative if `earlier` is later.
    #[must_use]
    pub const fn since_ms(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Days since the epoch, rounded down.
    #[must_use]
    pub const fn day(self) -> i64 {
        self.0.div_euclid(DAY_MS)
    }

    fn date_time(self) -> Option<OffsetDateTime> {
        let nanos = i128::from(self.0).checked_mul(1_000_000)?;
        OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()
    }

    /// Reads RFC 3339, or the same with a space for the `T`, with any number of
    /// fractional digits (cut to milliseconds). Without an offset it is UTC.
    ///
    /// # Errors
    /// [`ParseTimeError`] if it is neither.
    pub fn parse(text: &str) -> Result<Self, ParseTimeError> {
        let error = || ParseTimeError(text.chars().take(80).collect());
        let normal = text.trim().replacen(' ', "T", 1);
        let rfc3339 = &::time::format_description::well_known::Rfc3339;
        let moment = OffsetDateTime::parse(&normal, rfc3339)
            .or_else(|_| {
                PrimitiveDateTime::parse(&format!("{normal}Z"), rfc3339).map(PrimitiveDateTime::assume_utc)
            })
            .map_err(|_| error())?;
        let ms = moment.unix_timestamp_nanos().div_euclid(1_000_000);
        i64::try_from(ms).map(Self).map_err(|_| error())
    }
}

impl fmt::Display for UtcMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.date_time().and_then(|moment| moment.format(RFC_3339_MS).ok()) {
            Some(text) => f.write_str(&text),
            None if *self == Self::OPEN => f.write_str("open"),
            None => write!(f, "{} ms", self.0),
        }
    }
}

impl fmt::Debug for UtcMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for UtcMs {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { to.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for UtcMs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if !from.is_human_readable() {
            return i64::deserialize(from).map(Self);
        }
        let text = String::deserialize(from)?;
        if text == "open" { Ok(Self::OPEN) } else { Self::parse(&text).map_err(de::Error::custom) }
    }
}

/// A half-open stretch of time: `from` is inside, `until` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// First moment inside.
    pub from: UtcMs,
    /// First moment after; [`UtcMs::OPEN`] for no end.
    pub until: UtcMs,
}

impl Span {
    /// Whether the span has at least one moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from >= self.until
    }

    /// Whether a moment lies inside.
    #[must_use]
    pub fn contains(&self, at: UtcMs) -> bool {
        self.from <= at && at < self.until
    }

    /// Whether all of `inner` lies inside.
    #[must_use]
    pub fn covers(&self, inner: &Self) -> bool {
        self.from <= inner.from && inner.until <= self.until
    }

    /// Whether the two share a moment.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.from < other.until && other.from < self.until
    }
}

/// A calendar month of UTC, counted from year 0: `year × 12 + (month − 1)`. In JSON
/// `"2026-10"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(u32);

impl Month {
    /// January 1970.
    pub const EPOCH: Self = Self(1970 * 12);

    /// The month that a moment lies in; `None` outside the years 0 to 9999.
    #[must_use]
    pub fn of(at: UtcMs) -> Option<Self> {
        let date = at.date_time()?.date();
        let year = u32::try_from(date.year()).ok()?;
        let month = u32::from(u8::from(date.month()));
        year.checked_mul(12)?.checked_add(month.checked_sub(1)?).map(Self)
    }

    /// The year.
    #[must_use]
    pub const fn year(self) -> u32 {
        self.0.div_euclid(12)
    }

    /// The month of the year, 1 to 12.
    #[must_use]
    pub const fn month(self) -> u32 {
        self.0.rem_euclid(12).saturating_add(1)
    }

    /// The month that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Its span: the first moment of the month to the first of the next; `None` for
    /// months that have no date.
    #[must_use]
    pub fn span(self) -> Option<Span> {
        Some(Span { from: self.start()?, until: self.next().start()? })
    }

    fn start(self) -> Option<UtcMs> {
        let month = u8::try_from(self.month()).ok()?;
        let date = ::time::Date::from_calendar_date(
            i32::try_from(self.year()).ok()?,
            ::time::Month::try_from(month).ok()?,
            1,
        );
        let seconds = date.ok()?.midnight().assume_utc().unix_timestamp();
        seconds.checked_mul(1_000).map(UtcMs)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year(), self.month())
    }
}

impl fmt::Debug for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Month {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, ParseTimeError> {
        UtcMs::parse(&format!("{text}-01T00:00:00Z"))
            .ok()
            .and_then(Self::of)
            .filter(|month| month.to_string() == text)
            .ok_or_else(|| ParseTimeError(text.chars().take(80).collect()))
    }
}

impl Serialize for Month {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { to.serialize_u32(self.0) }
    }
}

impl<'de> Deserialize<'de> for Month {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if !from.is_human_readable() {
            return u32::deserialize(from).map(Self);
        }
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_that_people_write() {
        let expected = UtcMs::from_ms(1_700_158_546_680);
        for text in [
            "2023-11-16 18:15:46.6805900",
            "2023-11-16T18:15:46.680Z",
            "2023-11-16T19:15:46.680+01:00",
            "2023-11-16T18:15:46.6809",
        ] {
            assert_eq!(UtcMs::parse(text), Ok(expected), "{text}");
        }
        assert_eq!(expected.to_string(), "2023-11-16T18:15:46.680Z");
        for text in ["", "yesterday", "2023-13-01T00:00:00Z", "2023-11-16"] {
            assert!(UtcMs::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn months_are_half_open() {
        let month: Month = "2024-02".parse().expect("a month");
        let span = month.span().expect("has dates");
        assert_eq!(span.from.to_string(), "2024-02-01T00:00:00.000Z");
        assert_eq!(span.until.to_string(), "2024-03-01T00:00:00.000Z");
        assert_eq!(Month::of(span.from), Some(month));
        assert_eq!(Month::of(span.until), Some(month.next()));
        assert!("2024-2".parse::<Month>().is_err());
        assert_eq!(Month::of(UtcMs::OPEN), None);
    }

    #[test]
    fn spans_touch_without_overlapping() {
        let span = |from, until| Span { from: UtcMs::from_ms(from), until: UtcMs::from_ms(until) };
        assert!(!span(0, 5).overlaps(&span(5, 9)));
        assert!(span(0, 6).overlaps(&span(5, 9)));
        assert!(span(0, 9).covers(&span(5, 9)));
        assert!(span(5, 5).is_empty());
        assert!(!span(0, 5).contains(UtcMs::from_ms(5)));
    }
}
