//! Metered use: batches of rows, each with an id of its own for ever.
//!
//! *Invariants.* A row is recorded once or refused by itself; what is recorded is metered
//! even if it is not licensed (then it is flagged and not charged). Only the rows of the
//! grant's reporter are charged. A row is never split.

use serde::{Deserialize, Serialize};

use super::finding::{self, Severity, Subject};
use super::table::Record;
use super::{At, Event, Ledger, Outcome, Refusal, RefusedRows};
use crate::codes::{Act, METERS, Meter, Place, Purpose};
use crate::ids::{EventId, Id, MemberId};
use crate::limits::{CONTEXTS_PER_ENTRY_MAX, ROWS_PER_ENTRY_MAX};
use crate::refusal::refusals;
use crate::time::{Month, UtcMs};

mod batch;
pub mod event_ids;

use batch::{Licensed, Verdicts};
use event_ids::{EventDay, is_uuid_v7};

/// A batch of metered events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportUsage {
    /// What the rows have in common, each stated once.
    pub contexts: Vec<UsageContext>,
    /// The events, at most 3,000.
    pub rows: Vec<UsageRow>,
}

/// What several events have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageContext {
    /// The agreement relied on.
    pub agreement: Id,
    /// The grant relied on.
    pub grant: u16,
    /// The asset version that was used.
    pub version: Id,
    /// What was done with it.
    pub act: Act,
    /// What for.
    pub purpose: Purpose,
    /// Where.
    pub territory: Place,
    /// What is counted.
    pub meter: Meter,
    /// The licensee, who pays.
    pub payer: MemberId,
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageRow {
    /// A UUIDv7 whose millisecond is the moment of use.
    pub event_id: EventId,
    /// Position of its context in the batch.
    pub context: u8,
    /// Units of the meter.
    #[serde(with = "crate::money::decimal")]
    pub quantity: u64,
}

/// What was metered of one asset version under one version of an agreement, for one
/// grant, payer, meter and month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metered {
    /// Units that are charged.
    pub rated: u64,
    /// Units that are not licensed.
    pub flagged: u64,
    /// Units that other parties report, for reconciliation; stops at the end of the range.
    pub counter: u64,
    /// Rows of all three.
    pub rows: u64,
}

/// Names a meter's reading.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MeterKey {
    /// The month of use.
    pub month: Month,
    /// The agreement relied on.
    pub agreement: Id,
    /// The grant relied on.
    pub grant: u16,
    /// Who pays.
    pub payer: MemberId,
    /// What is counted.
    pub meter: Meter,
    /// The version of the agreement in force; 0 if none was.
    pub agreement_version: u32,
    /// The asset version.
    pub version: Id,
}

impl MeterKey {
    /// Comes before every reading of a grant and payer in a month.
    fn first(month: Month, agreement: Id, grant: u16, payer: MemberId) -> Self {
        let (meter, version) = (Meter::new(""), Id::from_bytes([0; 32]));
        Self { month, agreement, grant, payer, meter, agreement_version: 0, version }
    }
}

impl Record for Metered {
    type Key = MeterKey;
    const KIND: u8 = 0x40;
}

/// All readings of an agreement in a month, in order.
pub fn readings_of(
    ledger: &Ledger,
    month: Month,
    agreement: Id,
) -> impl Iterator<Item = (&MeterKey, &Metered)> {
    let first = MeterKey::first(month, agreement, 0, MemberId::new(0));
    ledger.meters.range(first..).take_while(move |(key, _)| (key.month, key.agreement) == (month, agreement))
}

/// Whether anything was charged for in the months from one on, before another.
pub(super) fn is_charged_between(ledger: &Ledger, from: Month, before: Month) -> bool {
    let first = MeterKey::first(from, Id::from_bytes([0; 32]), 0, MemberId::new(0));
    let readings = ledger.meters.range(first..).take_while(|(key, _)| key.month < before);
    readings.map(|(_, metered)| metered.rated).any(|rated| rated > 0)
}

/// The readings of a grant and payer in a month, in order.
pub fn readings(
    ledger: &Ledger,
    month: Month,
    agreement: Id,
    grant: u16,
    payer: MemberId,
) -> impl Iterator<Item = (&MeterKey, &Metered)> {
    let first = MeterKey::first(month, agreement, grant, payer);
    let same = move |key: &MeterKey| {
        (key.month, key.agreement, key.grant, key.payer) == (month, agreement, grant, payer)
    };
    ledger.meters.range(first..).take_while(move |(key, _)| same(key))
}

/// What was charged for under one version of an agreement on a meter and those below it,
/// by asset version; a version stands once for each meter.
pub(super) fn rated_under(
    ledger: &Ledger,
    (month, agreement, agreement_version): (Month, Id, u32),
    (grant, payer): (u16, MemberId),
    meter: &Meter,
) -> Vec<(Id, u64)> {
    let below = METERS.iter().map(|code| Meter::new(*code)).filter(|code| meter.covers(code));
    let ranges = below.map(|meter| MeterKey {
        agreement_version,
        meter,
        ..MeterKey::first(month, agreement, grant, payer)
    });
    let readings = ranges.flat_map(|first| {
        let same = MeterKey { version: Id::from_bytes([0xff; 32]), ..first.clone() };
        ledger.meters.range(first..=same)
    });
    readings.map(|(key, metered)| (key.version, metered.rated)).collect()
}

/// Units charged over all months: what caps "in all" count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// Units.
    pub rated: u64,
}

impl Record for Total {
    /// (agreement, grant, payer, meter).
    type Key = (Id, u16, MemberId, Meter);
    const KIND: u8 = 0x42;
}

refusals! {
    /// Why a report or one of its rows is refused.
    UsageError {
        Empty = "USE-EMPTY": "a report has 1 to 3,000 rows and 1 to 256 contexts",
        NoContext { row: usize } = "USE-CONTEXT": "row {row} names a context that the report does not have",
        EventId { row: usize } = "USE-EVENT-ID": "the event id of row {row} is no UUIDv7",
        Scope { agreement: Id } = "KEY-SCOPE": "this key may not report on agreement {agreement}",
        Late = "USE-LATE": "the moment of use is below the floor",
        Future = "USE-FUTURE": "the moment of use is ahead of block time",
        Duplicate = "USE-DUPLICATE": "the event is already recorded",
        DayFull = "USE-DAY-FULL": "the member has recorded as many events of that day as it may",
        Agreement = "USE-AGREEMENT": "there is no such agreement, or it has no such grant",
        Reporter = "USE-REPORTER": "the signer is no party to the agreement",
        Version { version: Id } = "USE-VERSION": "there is no asset version {version}",
        Payer = "USE-PAYER": "the payer is no party to the agreement, or has not signed what another reports under",
        Overflow = "USE-OVERFLOW": "the meter would exceed 2^64 - 1 units",
    }
}

impl ReportUsage {
    /// Stateless check.
    ///
    /// # Errors
    /// `USE-EMPTY`, `USE-CONTEXT`, `USE-EVENT-ID`, `CODE-UNKNOWN`.
    pub fn check(&self) -> Result<(), Refusal> {
        let sizes = (1..=ROWS_PER_ENTRY_MAX).contains(&self.rows.len())
            && (1..=CONTEXTS_PER_ENTRY_MAX).contains(&self.contexts.len());
        if !sizes {
            return Err(UsageError::Empty.into());
        }
        for context in &self.contexts {
            context.act.check()?;
            context.purpose.check()?;
            context.territory.check()?;
            context.meter.check()?;
        }
        for (position, row) in self.rows.iter().enumerate() {
            if usize::from(row.context) >= self.contexts.len() {
                return Err(UsageError::NoContext { row: position }.into());
            }
            if !is_uuid_v7(&row.event_id) {
                return Err(UsageError::EventId { row: position }.into());
            }
        }
        Ok(())
    }
}

/// Applies a report: judges each row, records the events, meters and findings.
pub(super) fn report(ledger: &mut Ledger, at: &At, report: &ReportUsage) -> Outcome {
    let Verdicts { licensed, accepted, refused, rated, flagged } = batch::judge_rows(ledger, at, report);
    for (day, mut ids) in accepted {
        ids.sort_unstable();
        ledger.event_ids.add((at.member, day), ids.into());
    }
    for licensed in licensed {
        meter(ledger, licensed);
    }
    ledger.count_rows(u64::from(rated).saturating_add(u64::from(flagged)));
    ledger.emit(Event::UsageSealed { member: at.member, rated, flagged });
    let refused = refused.into_iter().map(|(rule, rows)| RefusedRows { rule: rule.to_owned(), rows });
    Outcome::Usage { rated, flagged, refused: refused.collect() }
}

/// Adds what a batch counted to the meters, and records its findings.
fn meter(ledger: &mut Ledger, licensed: Licensed) {
    let Licensed { key, flag, tally, .. } = licensed;
    if tally.rows == 0 {
        return;
    }
    let MeterKey { month, agreement, grant, payer, version, .. } = key;
    if tally.rated > 0 {
        let total_key = (agreement, grant, payer, key.meter.clone());
        let mut total = ledger.totals.get(&total_key).copied().unwrap_or_default();
        total.rated = total.rated.saturating_add(tally.rated);
        ledger.totals.put(total_key, total);
    }
    let mut metered = ledger.meters.get(&key).copied().unwrap_or_default();
    metered.rated = metered.rated.saturating_add(tally.rated);
    metered.flagged = metered.flagged.saturating_add(tally.flagged);
    metered.counter = metered.counter.saturating_add(tally.counter);
    metered.rows = metered.rows.saturating_add(tally.rows);
    ledger.meters.put(key, metered);
    if tally.rated > 0
        && ledger.versions.get(&version).is_some_and(|known| !known.metered)
        && let Some(known) = ledger.versions.get_mut(&version)
    {
        known.metered = true;
    }
    let late = if month < ledger.open_month() { (tally.rows, tally.rated) } else { (0, 0) };
    let findings = [
        ("USE-OVER-CAP", Severity::E, tally.over_cap),
        (flag.unwrap_or("USE-UNLICENSED"), Severity::E, tally.unlicensed),
        ("USE-UNPRICED", Severity::W, tally.unpriced),
        ("USE-AFTER-CLOSE", Severity::E, late),
    ];
    let subject = Subject::Use { agreement, grant, member: payer, month };
    for (rule, severity, (rows, quantity)) in findings {
        if rows > 0 {
            finding::record(ledger, rule, severity, subject.clone(), rows, quantity);
        }
    }
}

/// Ends a block: chains each day's new events into the state and drops the days that
/// the floor has passed.
pub(super) fn seal(
    ledger: &mut Ledger,
    floor_before: UtcMs,
) -> (Vec<event_ids::EventRun>, Vec<(MemberId, i64)>) {
    let runs = ledger.event_ids.seal(ledger.height());
    for run in &runs {
        let key = (run.member, run.day);
        let day = ledger.event_days.get(&key).copied().unwrap_or(EventDay::EMPTY);
        ledger.event_days.put(key, day.extend(run.height, &run.ids));
    }
    let floor_day = ledger.floor().day();
    if floor_day == floor_before.day() {
        return (runs, Vec::new());
    }
    let dropped: Vec<_> =
        ledger.event_days.iter().map(|(key, _)| *key).filter(|(_, day)| *day < floor_day).collect();
    for key in &dropped {
        ledger.event_days.remove(key);
        ledger.event_ids.forget(*key);
    }
    (runs, dropped)
}

/// The agreements that a report names, for scopes of keys.
pub(super) fn check_scope(report: &ReportUsage, allowed: Option<&Vec<Id>>) -> Result<(), UsageError> {
    let Some(allowed) = allowed else { return Ok(()) };
    match report.contexts.iter().find(|context| allowed.binary_search(&context.agreement).is_err()) {
        Some(context) => Err(UsageError::Scope { agreement: context.agreement }),
        None => Ok(()),
    }
}
