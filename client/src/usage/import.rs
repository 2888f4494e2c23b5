//! Importing a CSV file of metered events.
//!
//! ```text
//! file ─rows (thread)─▶ batches ─channel─▶ outbox ─▶ node ─▶ outcomes ─▶ lines
//! ```
//!
//! *Invariants.* Good rows go in whatever the others are; every row is counted once, as
//! new, duplicate or refused, and a refused one is named by its line. Importing a file
//! again changes nothing: its events have the same ids. Memory is bounded but for 20
//! bytes a row, by which equal rows are counted.

use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use syngraph_protocol::entry::Body;
use syngraph_protocol::ids::Height;
use syngraph_protocol::ledger::Outcome;
use syngraph_protocol::ledger::usage::{ReportUsage, UsageRow};
use syngraph_protocol::limits::ROWS_PER_ENTRY_MAX;
use tokio::sync::mpsc;

use super::mapping::{HeaderError, Mapping};
pub use super::rows::RefusedRow;
use super::rows::{Row, Rows};
use crate::submit::{Client, Receipt, SubmitError, Ticket};

/// Most bytes of the rows of one report, so that the entry fits its limit.
const ROW_BYTES_MAX: usize = 63_000;
/// Most batches between the reader and the outbox.
const BATCHES_MAX: usize = 8;
/// Most reports whose outcome is awaited.
const IN_FLIGHT_MAX: usize = 128;
/// Most refused rows that a result lists; more are only counted.
pub const REFUSED_LISTED_MAX: usize = 100_000;

/// Why an import ended before the end of its file.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no CSV.
    #[error("{0}")]
    Csv(#[from] csv::Error),
    /// Its header does not fit the mapping.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The mapping names codes that no table has, or such.
    #[error("{detail}")]
    Mapping {
        /// The rule.
        rule: String,
        /// The same in words.
        detail: String,
    },
    /// Nothing more can be submitted. What was taken is in the outbox; importing the same
    /// file again repeats nothing.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The reading thread ended.
    #[error("the reader of the file ended unexpectedly")]
    Reader,
}

impl ImportError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub fn rule(&self) -> &str {
        match self {
            Self::Read { .. } => "CSV-READ",
            Self::Csv(_) => "CSV-SYNTAX",
            Self::Header(_) => "CSV-HEADER",
            Self::Mapping { rule, .. } => rule,
            Self::Submit(error) => error.rule(),
            Self::Reader => "IMPORT-READER",
        }
    }
}

/// What an import came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ImportReport {
    /// Rows of the file, the header not counted.
    pub rows_read: u64,
    /// Rows that are recorded now and were not before; with `dry_run` those that would be
    /// submitted.
    pub rows_new: u64,
    /// Rows that had been recorded before.
    pub rows_duplicate: u64,
    /// Of the new ones, those that no grant covers: recorded, not charged, and a finding.
    pub rows_flagged: u64,
    /// How many rows were refused.
    pub rows_refused_total: u64,
    /// The refused rows, by line; the first [`REFUSED_LISTED_MAX`].
    pub rows_refused: Vec<RefusedRow>,
    /// Units of all rows that were or would be submitted, as a decimal string.
    pub quantity: String,
    /// The block that covers the first report.
    pub first_height: Option<Height>,
    /// The block that covers the last report.
    pub last_height: Option<Height>,
    /// From the first submission to the last row's seal, in seconds.
    pub seconds: f64,
    /// Rows read over that time.
    pub rows_per_s: f64,
    /// Whether nothing was submitted.
    pub dry_run: bool,
}

/// How far an import is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows read from the file.
    pub rows_read: u64,
    /// Rows whose outcome is known.
    pub rows_settled: u64,
}

/// Rows that go into one report.
#[derive(Debug, Default)]
struct Batch {
    rows: Vec<UsageRow>,
    lines: Vec<u64>,
    refused: Vec<RefusedRow>,
    bytes: usize,
}

/// Bytes that a row takes in a report at most.
fn row_bytes(row: &UsageRow) -> usize {
    let quantity = match row.quantity {
        0..=250 => 1,
        251..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    };
    16 + 1 + quantity
}

impl Batch {
    fn is_full(&self) -> bool {
        let longest = 16 + 1 + 9;
        self.rows.len() >= ROWS_PER_ENTRY_MAX
            || self.refused.len() >= ROWS_PER_ENTRY_MAX
            || self.bytes + longest > ROW_BYTES_MAX
    }

    fn push(&mut self, row: Row) {
        match row {
            Row::Good(line, row) => {
                self.bytes += row_bytes(&row);
                self.rows.push(row);
                self.lines.push(line);
            }
            Row::Bad(refused) => self.refused.push(refused),
        }
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.refused.is_empty()
    }
}

/// Reads a file into batches; runs on a thread of its own.
fn read(path: &Path, mapping: &Mapping, batches: &mpsc::Sender<Result<Batch, ImportError>>) {
    let result = read_batches(path, mapping, |batch| batches.blocking_send(Ok(batch)).is_ok());
    if let Err(error) = result {
        // Nobody listens any more: then nobody needs to know.
        batches.blocking_send(Err(error)).ok();
    }
}

fn read_batches(
    path: &Path,
    mapping: &Mapping,
    mut send: impl FnMut(Batch) -> bool,
) -> Result<(), ImportError> {
    let file = File::open(path).map_err(|source| ImportError::Read { path: path.to_owned(), source })?;
    let mut rows = Rows::new(BufReader::new(file), mapping)?;
    let mut batch = Batch::default();
    while let Some(row) = rows.next()? {
        batch.push(row);
        if batch.is_full() && !send(std::mem::take(&mut batch)) {
            return Ok(());
        }
    }
    if !batch.is_empty() {
        send(batch);
    }
    Ok(())
}

/// A report whose outcome is awaited.
struct InFlight {
    ticket: Ticket,
    lines: Vec<u64>,
}

struct Import<'a> {
    client: &'a Client,
    mapping: &'a Mapping,
    report: ImportReport,
    quantity: u128,
    settled: u64,
    in_flight: VecDeque<InFlight>,
    progress: &'a mut (dyn FnMut(Progress) + Send),
}

/// Imports a CSV file: every good row ends up on the ledger once.
///
/// # Errors
/// [`ImportError`] if the file or its header cannot be read, or nothing can be submitted
/// any more; rows that were taken by then stay taken.
pub async fn import_csv(
    client: &Client,
    path: &Path,
    mapping: &Mapping,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<ImportReport, ImportError> {
    check(mapping)?;
    let start = Instant::now();
    let mut arriving = spawn_reader(path, mapping);
    let mut import = Import {
        client,
        mapping,
        report: ImportReport::default(),
        quantity: 0,
        settled: 0,
        in_flight: VecDeque::new(),
        progress,
    };
    while let Some(batch) = arriving.recv().await {
        import.submit(batch?).await?;
    }
    while import.settle_oldest().await? {}
    let mut report = import.report;
    report.quantity = import.quantity.to_string();
    Ok(timed(report, start))
}

/// Does everything but submit.
///
/// # Errors
/// [`ImportError`] if the file or its header cannot be read.
pub async fn dry_run(path: &Path, mapping: &Mapping) -> Result<ImportReport, ImportError> {
    check(mapping)?;
    let start = Instant::now();
    let mut arriving = spawn_reader(path, mapping);
    let mut report = ImportReport { dry_run: true, ..ImportReport::default() };
    let mut quantity = 0_u128;
    while let Some(batch) = arriving.recv().await {
        let batch = batch?;
        report.rows_read += (batch.rows.len() + batch.refused.len()) as u64;
        report.rows_new += batch.rows.len() as u64;
        quantity += batch.rows.iter().map(|row| u128::from(row.quantity)).sum::<u128>();
        report.refuse(batch.refused);
    }
    report.quantity = quantity.to_string();
    Ok(timed(report, start))
}

fn timed(mut report: ImportReport, start: Instant) -> ImportReport {
    report.seconds = start.elapsed().as_secs_f64();
    report.rows_per_s = report.rows_read as f64 / report.seconds.max(1e-9);
    report.rows_refused.sort_by_key(|row| row.line);
    report
}

/// Refuses a mapping that would make every row fail.
fn check(mapping: &Mapping) -> Result<(), ImportError> {
    let context = &mapping.context;
    let codes =
        [context.act.check(), context.purpose.check(), context.territory.check(), context.meter.check()];
    codes.into_iter().collect::<Result<(), _>>().map_err(|unknown| ImportError::Mapping {
        rule: unknown.rule().to_owned(),
        detail: unknown.to_string(),
    })
}

fn spawn_reader(path: &Path, mapping: &Mapping) -> mpsc::Receiver<Result<Batch, ImportError>> {
    let (batches, arriving) = mpsc::channel(BATCHES_MAX);
    let (path, mapping) = (path.to_owned(), mapping.clone());
    tokio::task::spawn_blocking(move || read(&path, &mapping, &batches));
    arriving
}

impl Import<'_> {
    async fn submit(&mut self, batch: Batch) -> Result<(), ImportError> {
        let Batch { rows, lines, refused, .. } = batch;
        self.report.rows_read += (rows.len() + refused.len()) as u64;
        self.quantity += rows.iter().map(|row| u128::from(row.quantity)).sum::<u128>();
        self.settled += refused.len() as u64;
        self.report.refuse(refused);
        if !rows.is_empty() {
            let body = Body::ReportUsage(ReportUsage { contexts: vec![self.mapping.context.clone()], rows });
            let ticket = self.client.queue(body).await?;
            self.in_flight.push_back(InFlight { ticket, lines });
        }
        while self.in_flight.len() > IN_FLIGHT_MAX {
            self.settle_oldest().await?;
        }
        self.tell();
        Ok(())
    }

    fn tell(&mut self) {
        (self.progress)(Progress { rows_read: self.report.rows_read, rows_settled: self.settled });
    }

    /// Waits for the outcome of the oldest report; says whether there was one.
    async fn settle_oldest(&mut self) -> Result<bool, ImportError> {
        let Some(InFlight { mut ticket, lines }) = self.in_flight.pop_front() else { return Ok(false) };
        match ticket.sealed().await {
            Ok(receipt) => self.report.settle(&lines, receipt),
            Err(SubmitError::Refused { rule, detail }) => self.report.refuse_lines(&lines, &rule, &detail),
            Err(SubmitError::Lapsed { rule }) => {
                self.report.refuse_lines(&lines, &rule, "the report has lapsed: no block will ever cover it");
            }
            Err(error) => return Err(error.into()),
        }
        self.settled += lines.len() as u64;
        self.tell();
        Ok(true)
    }
}

impl ImportReport {
    fn refuse(&mut self, rows: Vec<RefusedRow>) {
        self.rows_refused_total += rows.len() as u64;
        let room = REFUSED_LISTED_MAX.saturating_sub(self.rows_refused.len());
        self.rows_refused.extend(rows.into_iter().take(room));
    }

    fn refuse_lines(&mut self, lines: &[u64], rule: &str, detail: &str) {
        let refused =
            |line: &u64| RefusedRow { line: *line, rule: rule.to_owned(), detail: detail.to_owned() };
        self.refuse(lines.iter().map(refused).collect());
    }

    /// Counts the rows of a sealed report by what became of them.
    fn settle(&mut self, lines: &[u64], receipt: Receipt) {
        self.first_height = self.first_height.or(receipt.height);
        self.last_height = self.last_height.max(receipt.height);
        match receipt.outcome {
            Some(Outcome::Usage { rated, flagged, refused }) => {
                self.rows_new += u64::from(rated) + u64::from(flagged);
                self.rows_flagged += u64::from(flagged);
                for group in refused {
                    if group.rule == DUPLICATE {
                        self.rows_duplicate += group.rows.len() as u64;
                        continue;
                    }
                    let lines: Vec<u64> =
                        group.rows.iter().filter_map(|row| lines.get(usize::from(*row))).copied().collect();
                    self.refuse_lines(&lines, &group.rule, "the ledger refused the row when it was sealed");
                }
            }
            Some(Outcome::Refused { rule }) => {
                self.refuse_lines(lines, &rule, "the ledger refused the whole report when it was sealed");
            }
            // No node answers like this to a report.
            Some(Outcome::Applied) | None => {
                self.refuse_lines(lines, "NODE-ANSWER", "the node did not say what became of the row");
            }
        }
    }
}

/// The rule of rows that are recorded already.
const DUPLICATE: &str = "USE-DUPLICATE";

#[cfg(test)]
mod tests {
    use super::super::mapping::tests::mapping;
    use super::*;
    use std::io::Write;
    use syngraph_protocol::codec;
    use syngraph_protocol::ids::{EntryId, Seq};
    use syngraph_protocol::ledger::RefusedRows;

    fn receipt(outcome: Outcome) -> Receipt {
        Receipt {
            id: EntryId::from_bytes([1; 32]),
            seq: Seq::FIRST,
            state: crate::api::State::Sealed,
            height: Some(Height::new(4)),
            index: Some(0),
            outcome: Some(outcome),
        }
    }

    #[test]
    fn outcomes_are_counted_and_named_by_line() {
        let refused = vec![
            RefusedRows { rule: "USE-DUPLICATE".into(), rows: vec![0, 3] },
            RefusedRows { rule: "USE-LATE".into(), rows: vec![2] },
        ];
        let mut report = ImportReport::default();
        report.settle(&[10, 11, 14, 15, 16], receipt(Outcome::Usage { rated: 1, flagged: 1, refused }));
        report.settle(&[20], receipt(Outcome::Refused { rule: "KEY-SCOPE".into() }));
        assert_eq!((report.rows_new, report.rows_duplicate, report.rows_flagged), (2, 2, 1));
        let refused: Vec<_> = report.rows_refused.iter().map(|row| (row.line, row.rule.as_str())).collect();
        assert_eq!(refused, [(14, "USE-LATE"), (20, "KEY-SCOPE")]);
        assert_eq!((report.first_height, report.last_height), (Some(Height::new(4)), Some(Height::new(4))));
    }

    #[tokio::test]
    async fn batches_fit_entries_and_lose_no_row() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        writeln!(file, "TIMESTAMP,ContextTokens,GeneratedTokens").expect("written");
        for row in 0..7_000_u64 {
            // Long quantities, so that bytes are what fills a report.
            writeln!(file, "2026-10-01T00:00:00.{row:09}Z,{},0", u64::MAX - row).expect("written");
        }
        let mut sizes = Vec::new();
        read_batches(file.path(), &mapping(), |batch| {
            let report = ReportUsage { contexts: vec![mapping().context], rows: batch.rows };
            let rows = report.rows.len();
            sizes.push((rows, codec::encode(&Body::ReportUsage(report)).len()));
            true
        })
        .expect("readable");
        assert_eq!(sizes.iter().map(|(rows, _)| rows).sum::<usize>(), 7_000);
        assert!(sizes.iter().all(|(_, bytes)| *bytes <= crate::outbox::BODY_BYTES_MAX), "{sizes:?}");
        let report = dry_run(file.path(), &mapping()).await.expect("readable");
        assert_eq!((report.rows_read, report.rows_new, report.dry_run), (7_000, 7_000, true));
        let expected: u128 = (0..7_000_u64).map(|row| u128::from(u64::MAX - row)).sum();
        assert_eq!(report.quantity, expected.to_string());
    }

    #[tokio::test]
    async fn codes_of_no_table_are_refused_before_anything_is_read() {
        let mut wrong = mapping();
        wrong.context.meter = syngraph_protocol::codes::Meter::new("tokenz");
        let error = dry_run(Path::new("/nonexistent.csv"), &wrong).await.expect_err("unknown meter");
        assert_eq!(error.rule(), "CODE-UNKNOWN");
        let error = dry_run(Path::new("/nonexistent.csv"), &mapping()).await.expect_err("no file");
        assert_eq!(error.rule(), "CSV-READ");
    }
}
