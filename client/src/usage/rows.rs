//! Reading a CSV file of events row by row; a bad row is named and the next one read.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use serde::Serialize;
use syngraph_protocol::ledger::usage::UsageRow;
use syngraph_protocol::time::UtcMs;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::event_id::{Content, EventIds};
use super::import::ImportError;
use super::mapping::{Columns, Mapping};

/// Longest record, in bytes: a quote that is never closed must not swallow the file.
const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// A row that is not imported, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedRow {
    /// Its line in the file, from 1; the first of them if it has several.
    pub line: u64,
    /// The rule that it breaks.
    pub rule: String,
    /// The same in words.
    pub detail: String,
}

impl RefusedRow {
    fn new(line: u64, rule: &str, detail: String) -> Self {
        Self { line, rule: rule.to_owned(), detail }
    }
}

/// A row of the file.
pub(super) enum Row {
    /// An event and its line.
    Good(u64, UsageRow),
    /// Not an event.
    Bad(RefusedRow),
}

/// Gives the text of a file with every line ended by a line feed alone, so that lines can
/// be counted, and stops when too many bytes have come since the count was last reset.
struct Lines<R> {
    file: R,
    raw: Vec<u8>,
    clean: Vec<u8>,
    given: usize,
    after_cr: bool,
    ends_with_lf: bool,
    is_done: bool,
    since_record: Rc<Cell<usize>>,
}

impl<R: Read> Lines<R> {
    fn new(file: R, since_record: Rc<Cell<usize>>) -> Self {
        let (raw, clean) = (vec![0; 16 * 1024], Vec::new());
        Self { file, raw, clean, given: 0, after_cr: false, ends_with_lf: true, is_done: false, since_record }
    }

    fn fill(&mut self) -> io::Result<()> {
        (self.given, self.is_done) = (0, false);
        self.clean.clear();
        let read = self.file.read(&mut self.raw)?;
        for &byte in &self.raw[..read] {
            if self.after_cr && byte != b'\n' {
                self.clean.push(b'\r');
            }
            self.after_cr = byte == b'\r';
            if !self.after_cr {
                self.clean.push(byte);
            }
            self.ends_with_lf = byte == b'\n';
        }
        if read == 0 {
            self.is_done = true;
            if !std::mem::replace(&mut self.ends_with_lf, true) {
                self.clean.push(b'\n');
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.clean.len() {
            if self.is_done {
                return Ok(0);
            }
            self.fill()?;
        }
        let rest = &self.clean[self.given..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        let since = self.since_record.get() + count;
        self.since_record.set(since);
        if since > RECORD_BYTES_MAX {
            let what = "a record is longer than 1 MiB; is a quote not closed?";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(count)
    }
}

/// The rows of a file.
pub(super) struct Rows<R> {
    csv: csv::Reader<Lines<R>>,
    since_record: Rc<Cell<usize>>,
    columns: Columns,
    width: usize,
    identity: Vec<u8>,
    ids: EventIds,
    record: csv::ByteRecord,
}

impl<R: Read> Rows<R> {
    /// Reads the header.
    pub(super) fn new(file: R, mapping: &Mapping) -> Result<Self, ImportError> {
        let since_record = Rc::new(Cell::new(0));
        let lines = Lines::new(file, since_record.clone());
        let terminator = csv::Terminator::Any(b'\n');
        let mut csv = csv::ReaderBuilder::new().flexible(true).terminator(terminator).from_reader(lines);
        let header = csv.headers()?.clone();
        let columns = Columns::find(mapping, &header)?;
        let (width, identity) = (header.len(), mapping.identity());
        let record = csv::ByteRecord::new();
        Ok(Self { csv, since_record, columns, width, identity, ids: EventIds::default(), record })
    }

    /// The next row; none at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Row>, ImportError> {
        self.since_record.set(0);
        let mut record = std::mem::take(&mut self.record);
        if !self.csv.read_byte_record(&mut record)? {
            return Ok(None);
        }
        let line = line_of(&record, self.csv.position());
        let row = match self.event(&record) {
            Ok(event) => Row::Good(line, event),
            Err((rule, detail)) => Row::Bad(RefusedRow::new(line, rule, detail)),
        };
        self.record = record;
        Ok(Some(row))
    }

    fn event(&mut self, record: &csv::ByteRecord) -> Result<UsageRow, (&'static str, String)> {
        if record.len() != self.width {
            let detail = format!("{} fields; the header has {}", record.len(), self.width);
            return Err(("CSV-COLUMNS", detail));
        }
        let text = |position: usize| {
            let bytes = record.get(position).unwrap_or_default();
            std::str::from_utf8(bytes)
                .map(str::trim)
                .map_err(|_| ("CSV-UTF8", "a field is not UTF-8".to_owned()))
        };
        let (at, nanos) = moment(text(self.columns.time)?)?;
        let mut quantity = 0_u64;
        for &position in &self.columns.quantity {
            quantity = add(quantity, text(position)?)?;
        }
        let mut fields = Vec::with_capacity(self.columns.content.len());
        for (name, position) in &self.columns.content {
            fields.push((name.as_str(), text(*position)?));
        }
        let content = Content { context: &self.identity, nanos, fields: &fields };
        let event_id = self.ids.next(at, &content).ok_or_else(|| time_refusal(text(self.columns.time)))?;
        Ok(UsageRow { event_id, context: 0, quantity })
    }
}

fn time_refusal(text: Result<&str, (&'static str, String)>) -> (&'static str, String) {
    let text: String = text.unwrap_or_default().chars().take(80).collect();
    ("CSV-TIME", format!("{text:?} is not a moment from 1970 on like 2026-10-01T00:00:00Z"))
}

/// A moment, cut to milliseconds, and exactly. Without an offset it is UTC; a space may
/// stand for the `T`.
fn moment(text: &str) -> Result<(UtcMs, i128), (&'static str, String)> {
    let normal = text.replacen(' ', "T", 1);
    let parsed = OffsetDateTime::parse(&normal, &Rfc3339).or_else(|_| {
        PrimitiveDateTime::parse(&format!("{normal}Z"), &Rfc3339).map(PrimitiveDateTime::assume_utc)
    });
    let nanos = parsed.map_err(|_| time_refusal(Ok(text)))?.unix_timestamp_nanos();
    let ms = i64::try_from(nanos.div_euclid(1_000_000)).map_err(|_| time_refusal(Ok(text)))?;
    Ok((UtcMs::from_ms(ms), nanos))
}

fn add(sum: u64, text: &str) -> Result<u64, (&'static str, String)> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = text.parse::<u64>().ok().filter(|_| digits);
    let sum = value.and_then(|value| sum.checked_add(value));
    sum.ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        ("CSV-QUANTITY", format!("{shown:?} is no whole number from 0 on, or the sum exceeds 2^64 - 1"))
    })
}

/// The line on which a record starts: the reader has counted every line feed up to the
/// one that ends it.
fn line_of(record: &csv::ByteRecord, after: &csv::Position) -> u64 {
    let inside = record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
    after.line().saturating_sub(1 + inside)
}

#[cfg(test)]
mod tests {
    use super::super::mapping::tests::mapping;
    use super::*;

    /// A line, and what stands there.
    type At<T> = (u64, T);

    /// The lines of good rows with their quantities, and the bad ones.
    fn read(text: &[u8]) -> (Vec<At<u64>>, Vec<At<String>>) {
        let mut rows = Rows::new(text, &mapping()).expect("a header");
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        while let Some(row) = rows.next().expect("readable") {
            match row {
                Row::Good(line, row) => good.push((line, row.quantity)),
                Row::Bad(refused) => bad.push((refused.line, refused.rule)),
            }
        }
        (good, bad)
    }

    #[test]
    fn bad_rows_are_named_by_physical_line_and_the_rest_is_read() {
        let text = b"\xef\xbb\xbfTIMESTAMP,ContextTokens,GeneratedTokens\r\n\
            2023-11-16 18:15:46.6805900,374,44\r\n\
            \r\n\
            yesterday,1,1\r\n\
            \n\
            2023-11-16 18:15:50,1,\r\n\
            2023-11-16 18:15:50,1\n\
            2023-11-16 18:15:51,18446744073709551615,1\n\
            2023-11-16 18:15:51,-5,1\n\
            \"2023-11-16T18:15:52\n\",1,2\n\
            2023-11-16T18:15:52+01:00,1,\xff\n\
            1969-12-31T23:59:59Z,1,2\n\
            2023-11-16T18:15:53Z, 3 ,\"4\"";
        let (good, bad) = read(text);
        assert_eq!(good, [(2, 418), (10, 3), (14, 7)]);
        let expected = [
            (4, "CSV-TIME"),
            (6, "CSV-QUANTITY"),
            (7, "CSV-COLUMNS"),
            (8, "CSV-QUANTITY"),
            (9, "CSV-QUANTITY"),
            (12, "CSV-UTF8"),
            (13, "CSV-TIME"),
        ];
        let expected: Vec<_> = expected.iter().map(|(line, rule)| (*line, (*rule).to_owned())).collect();
        assert_eq!(bad, expected);
    }

    #[test]
    fn an_endless_record_is_refused_in_bounded_memory() {
        let mut text = b"TIMESTAMP,ContextTokens,GeneratedTokens\n\"".to_vec();
        text.resize(4 * RECORD_BYTES_MAX, b'x');
        let mut rows = Rows::new(&text[..], &mapping()).expect("a header");
        let error = rows.next().map(|_| ()).expect_err("never closed");
        assert!(error.to_string().contains("1 MiB"), "{error}");
    }

    #[test]
    fn moments_are_exact_and_normal() {
        let nanos = |text: &str| moment(text).map(|(_, nanos)| nanos);
        let expected = Ok(1_700_158_546_680_590_000);
        for same in
            ["2023-11-16 18:15:46.6805900", "2023-11-16T18:15:46.68059Z", "2023-11-16T19:15:46.68059+01:00"]
        {
            assert_eq!(nanos(same), expected, "{same}");
        }
        assert_eq!(moment("2023-11-16 18:15:46.6805900").map(|(at, _)| at.ms()), Ok(1_700_158_546_680));
    }

    #[test]
    fn cutting_a_file_differently_changes_no_id() {
        let ids = |rows: &[&str]| {
            let text = format!("TIMESTAMP,ContextTokens,GeneratedTokens\n{}", rows.join("\n"));
            let mut read = Rows::new(text.as_bytes(), &mapping()).expect("a header");
            let mut ids = Vec::new();
            while let Some(Row::Good(_, row)) = read.next().expect("readable") {
                ids.push(row.event_id);
            }
            ids
        };
        let (a, b, c) =
            ("2023-11-16 18:15:46.1,1,2", "2023-11-16 18:15:46.1,2,1", "2023-11-16 18:15:46.100,1,2");
        let whole = ids(&[a, b, c]);
        assert_eq!(whole.len(), 3);
        // a and c are the same event written twice: the second of them is another.
        assert_ne!(whole[0], whole[2]);
        assert_eq!(ids(&[b, a]), [whole[1], whole[0]]);
    }
}
