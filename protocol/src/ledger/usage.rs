//! Metered use: batches of rows, each with an id of its own for ever.
//!
//! *Invariants.* A row is recorded once or refused by itself; what is recorded is metered
//! even if it is not licensed (then it is flagged and not charged). Only the rows of the
//! grant's reporter are charged. A row is never split.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::agreement::OnExcess;
use super::finding::{self, Severity, Subject};
use super::rights::{self, Dimension, Judgement, Question, Verdict};
use super::table::Record;
use super::{At, Event, Ledger, Outcome, Refusal, RefusedRows};
use crate::codes::{Act, Meter, Place, Purpose};
use crate::ids::{EventId, Id, MemberId};
use crate::limits::{CONTEXTS_PER_ENTRY_MAX, ROWS_PER_ENTRY_MAX};
use crate::refusal::refusals;
use crate::time::{Month, Span, UtcMs};

pub mod event_ids;

use event_ids::{EventDay, is_uuid_v7, time_of};

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
    pub quantity: u64,
}

/// What was metered of a grant, payer and meter in a month.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metered {
    /// By agreement version and asset version, sorted.
    pub parts: Vec<MeteredPart>,
}

/// What was metered of one asset version under one version of the agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeteredPart {
    /// The version of the agreement in force; 0 if none was.
    pub agreement_version: u32,
    /// The asset version.
    pub version: Id,
    /// Units that are charged.
    pub rated: u64,
    /// Units that are not licensed.
    pub flagged: u64,
    /// Units that other parties report, for reconciliation.
    pub counter: u64,
    /// Rows of all three.
    pub rows: u64,
}

/// (month, agreement, grant, payer, meter).
pub type MeterKey = (Month, Id, u16, MemberId, Meter);

impl Record for Metered {
    type Key = MeterKey;
    const KIND: u8 = 0x40;
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
        Payer = "USE-PAYER": "the payer is no party to the agreement",
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

/// What holds for all rows of a context within a span of time.
struct Judged {
    steady: Span,
    month: Month,
    result: Result<Licensed, UsageError>,
}

/// A context whose rows are recorded.
struct Licensed {
    agreement_version: u32,
    /// Why its rows are not charged, if they are not.
    flag: Option<&'static str>,
    /// Whether its rows only reconcile.
    counter: bool,
    caps: Vec<Allowance>,
    tally: Tally,
    /// Units the meter had before, of any kind.
    metered_before: u64,
}

/// What is left of a cap.
struct Allowance {
    left: u64,
    on_excess: OnExcess,
}

/// What the rows of a batch add to a meter.
#[derive(Default)]
struct Tally {
    rated: u64,
    flagged: u64,
    counter: u64,
    rows: u64,
    over_cap: (u64, u64),
    unlicensed: (u64, u64),
}

/// What a row comes to.
enum Row {
    Rated,
    Flagged,
}

/// One report while it is applied.
struct Batch<'a> {
    ledger: &'a Ledger,
    at: &'a At,
    report: &'a ReportUsage,
    judged: Vec<Vec<Judged>>,
    /// Accepted ids by day.
    accepted: BTreeMap<i64, Vec<EventId>>,
    refused: BTreeMap<&'static str, Vec<u16>>,
    rated: u32,
    flagged: u32,
}

/// Applies a report: judges each row, records the events, meters and findings.
pub(super) fn report(ledger: &mut Ledger, at: &At, report: &ReportUsage) -> Outcome {
    let mut batch = Batch {
        ledger,
        at,
        report,
        judged: report.contexts.iter().map(|_| Vec::new()).collect(),
        accepted: BTreeMap::new(),
        refused: BTreeMap::new(),
        rated: 0,
        flagged: 0,
    };
    batch.run();
    let Batch { judged, accepted, refused, rated, flagged, .. } = batch;
    for (day, mut ids) in accepted {
        ids.sort_unstable();
        ledger.event_ids.add((at.member, day), ids.into());
    }
    for (context, judged) in report.contexts.iter().zip(judged) {
        for Judged { month, result, .. } in judged {
            if let Ok(licensed) = result {
                meter(ledger, context, month, &licensed);
            }
        }
    }
    ledger.count_rows(u64::from(rated).saturating_add(u64::from(flagged)));
    ledger.emit(Event::UsageSealed { member: at.member, rated, flagged });
    let refused = refused.into_iter().map(|(rule, rows)| RefusedRows { rule: rule.to_owned(), rows });
    Outcome::Usage { rated, flagged, refused: refused.collect() }
}

impl Batch<'_> {
    fn run(&mut self) {
        let repeated = self.repeated();
        for (position, (row, repeated)) in (0_u16..).zip(self.report.rows.iter().zip(repeated)) {
            let result = if repeated { Err(UsageError::Duplicate) } else { self.row(row) };
            match result {
                Ok(Row::Rated) => self.rated = self.rated.saturating_add(1),
                Ok(Row::Flagged) => self.flagged = self.flagged.saturating_add(1),
                Err(error) => self.refused.entry(error.rule()).or_default().push(position),
            }
        }
    }

    /// For each row, whether its id stands earlier in the same batch.
    fn repeated(&self) -> Vec<bool> {
        let mut order: Vec<usize> = (0..self.report.rows.len()).collect();
        let id = |position: &usize| self.report.rows.get(*position).map(|row| row.event_id);
        order.sort_by_key(id);
        let mut repeated = vec![false; order.len()];
        for pair in order.windows(2) {
            let [earlier, later] = pair else { continue };
            if id(earlier) == id(later)
                && let Some(mark) = repeated.get_mut(*later)
            {
                *mark = true;
            }
        }
        repeated
    }

    fn row(&mut self, row: &UsageRow) -> Result<Row, UsageError> {
        let moment = time_of(&row.event_id);
        let (ledger, member) = (self.ledger, self.at.member);
        if moment < ledger.floor() {
            return Err(UsageError::Late);
        }
        if moment > self.at.time.plus_ms(ledger.params().usage_future_ms) {
            return Err(UsageError::Future);
        }
        if ledger.event_ids.contains(member, &row.event_id) {
            return Err(UsageError::Duplicate);
        }
        self.check_day(moment.day())?;
        let kind = self.judged_at(usize::from(row.context), moment)?.count(row.quantity)?;
        self.accepted.entry(moment.day()).or_default().push(row.event_id);
        Ok(kind)
    }

    fn check_day(&self, day: i64) -> Result<(), UsageError> {
        let key = (self.at.member, day);
        let sealed = self.ledger.event_days.get(&key).map_or(0, |day| day.count);
        let here = self.accepted.get(&day).map_or(0, Vec::len);
        let counted = sealed
            .saturating_add(self.ledger.event_ids.fresh_count(key))
            .saturating_add(u64::try_from(here).unwrap_or(u64::MAX));
        if counted >= self.ledger.params().rows_per_member_day_max {
            return Err(UsageError::DayFull);
        }
        Ok(())
    }

    /// The judgement of a context at a moment, made once for each span.
    fn judged_at(&mut self, context: usize, moment: UtcMs) -> Result<&mut Licensed, UsageError> {
        let (Some(asked), Some(known)) = (self.report.contexts.get(context), self.judged.get_mut(context))
        else {
            return Err(UsageError::NoContext { row: context });
        };
        let position = known.iter().position(|judged| judged.steady.contains(moment));
        let position = position.unwrap_or_else(|| {
            known.push(judge(self.ledger, self.at.member, asked, moment));
            known.len().saturating_sub(1)
        });
        let judged = known.get_mut(position).ok_or(UsageError::NoContext { row: context })?;
        judged.result.as_mut().map_err(|error| error.clone())
    }
}

/// Judges a context at a moment, for as long as the answer holds within the month.
fn judge(ledger: &Ledger, reporter: MemberId, context: &UsageContext, at: UtcMs) -> Judged {
    let question = Question {
        member: context.payer,
        agreement: context.agreement,
        grant: context.grant,
        version: context.version,
        act: &context.act,
        purpose: &context.purpose,
        place: &context.territory,
        at,
    };
    let judgement = rights::judge(ledger, &question);
    let (Some(month), Some(span)) = (Month::of(at), Month::of(at).and_then(Month::span)) else {
        let steady = Span { from: at, until: at.plus_ms(1) };
        return Judged { steady, month: Month::EPOCH, result: Err(UsageError::Future) };
    };
    let steady =
        Span { from: judgement.steady.from.max(span.from), until: judgement.steady.until.min(span.until) };
    Judged { steady, month, result: license(ledger, reporter, context, month, &judgement) }
}

/// Decides whether the reporter's rows count, and what is left of the caps.
fn license(
    ledger: &Ledger,
    reporter: MemberId,
    context: &UsageContext,
    month: Month,
    judgement: &Judgement,
) -> Result<Licensed, UsageError> {
    let agreement = ledger.agreements.get(&context.agreement).ok_or(UsageError::Agreement)?;
    // Before an agreement is in force, the version that was proposed says who it is about.
    let number = judgement.agreement_version.unwrap_or(agreement.current);
    let terms = ledger.terms.get(&(context.agreement, number)).ok_or(UsageError::Agreement)?;
    let grant = terms.terms.grants.get(usize::from(context.grant)).ok_or(UsageError::Agreement)?;
    if terms.terms.party(reporter).is_none() {
        return Err(UsageError::Reporter);
    }
    if terms.terms.party(context.payer).is_none() {
        return Err(UsageError::Payer);
    }
    let counter = reporter != grant.reporter_for(context.payer);
    let flag = match judgement.verdict {
        Verdict::Permit => None,
        Verdict::Deny | Verdict::Undetermined => Some(flag_rule(judgement)),
    };
    let key = (month, context.agreement, context.grant, context.payer, context.meter.clone());
    let metered = ledger.meters.get(&key);
    let caps = grant.caps.iter().filter(|cap| cap.meter.covers(&context.meter)).map(|cap| {
        let used = if cap.per_period { rated(metered) } else { total(ledger, context) };
        Allowance { left: cap.quantity.saturating_sub(used), on_excess: cap.on_excess }
    });
    Ok(Licensed {
        agreement_version: judgement.agreement_version.unwrap_or(0),
        flag,
        counter,
        caps: caps.collect(),
        tally: Tally::default(),
        metered_before: metered.map_or(0, Metered::units),
    })
}

fn rated(metered: Option<&Metered>) -> u64 {
    metered.map_or(0, |metered| metered.parts.iter().fold(0, |sum, part| sum.saturating_add(part.rated)))
}

fn total(ledger: &Ledger, context: &UsageContext) -> u64 {
    let key = (context.agreement, context.grant, context.payer, context.meter.clone());
    ledger.totals.get(&key).map_or(0, |total| total.rated)
}

/// The finding that fits what failed.
fn flag_rule(judgement: &Judgement) -> &'static str {
    let mut failed = judgement.failed();
    match (failed.next(), failed.next()) {
        (Some(Dimension::Territory), None) => "USE-OUT-TERR",
        _ => "USE-UNLICENSED",
    }
}

impl Metered {
    /// All units, charged or not.
    fn units(&self) -> u64 {
        let units = self.parts.iter().flat_map(|part| [part.rated, part.flagged, part.counter]);
        units.fold(0, u64::saturating_add)
    }

    fn part(&mut self, agreement_version: u32, version: Id) -> &mut MeteredPart {
        let key = |part: &MeteredPart| (part.agreement_version, part.version);
        let position = match self.parts.binary_search_by_key(&(agreement_version, version), key) {
            Ok(position) => position,
            Err(position) => {
                let part =
                    MeteredPart { agreement_version, version, rated: 0, flagged: 0, counter: 0, rows: 0 };
                self.parts.insert(position, part);
                position
            }
        };
        &mut self.parts[position]
    }
}

impl Licensed {
    /// Counts one row.
    fn count(&mut self, quantity: u64) -> Result<Row, UsageError> {
        let tally = &mut self.tally;
        let units = [tally.rated, tally.flagged, tally.counter, quantity];
        units
            .iter()
            .try_fold(self.metered_before, |sum, part| sum.checked_add(*part))
            .ok_or(UsageError::Overflow)?;
        tally.rows = tally.rows.saturating_add(1);
        let more = |(rows, sum): (u64, u64)| (rows.saturating_add(1), sum.saturating_add(quantity));
        if self.counter {
            tally.counter = tally.counter.saturating_add(quantity);
            return Ok(Row::Rated);
        }
        if self.flag.is_some() {
            tally.flagged = tally.flagged.saturating_add(quantity);
            tally.unlicensed = more(tally.unlicensed);
            return Ok(Row::Flagged);
        }
        let mut over = self.caps.iter().filter(|cap| cap.left < quantity).peekable();
        if over.peek().is_some() {
            let blocked = over.any(|cap| cap.on_excess == OnExcess::Block);
            tally.over_cap = more(tally.over_cap);
            if blocked {
                tally.flagged = tally.flagged.saturating_add(quantity);
                return Ok(Row::Flagged);
            }
        }
        for cap in &mut self.caps {
            cap.left = cap.left.saturating_sub(quantity);
        }
        tally.rated = tally.rated.saturating_add(quantity);
        Ok(Row::Rated)
    }
}

/// Adds what a batch counted to the meters, and records its findings.
fn meter(ledger: &mut Ledger, context: &UsageContext, month: Month, licensed: &Licensed) {
    let tally = &licensed.tally;
    if tally.rows == 0 {
        return;
    }
    let UsageContext { agreement, grant, version, payer, .. } = *context;
    let key = (month, agreement, grant, payer, context.meter.clone());
    let mut metered = ledger.meters.get(&key).cloned().unwrap_or_default();
    let part = metered.part(licensed.agreement_version, version);
    part.rated = part.rated.saturating_add(tally.rated);
    part.flagged = part.flagged.saturating_add(tally.flagged);
    part.counter = part.counter.saturating_add(tally.counter);
    part.rows = part.rows.saturating_add(tally.rows);
    ledger.meters.put(key, metered);
    if tally.rated > 0 {
        let key = (agreement, grant, payer, context.meter.clone());
        let mut total = ledger.totals.get(&key).copied().unwrap_or_default();
        total.rated = total.rated.saturating_add(tally.rated);
        ledger.totals.put(key, total);
    }
    if ledger.versions.get(&version).is_some_and(|known| !known.metered)
        && let Some(known) = ledger.versions.get_mut(&version)
    {
        known.metered = true;
    }
    let subject = Subject { agreement, grant, member: payer, month };
    let findings =
        [("USE-OVER-CAP", tally.over_cap), (licensed.flag.unwrap_or("USE-UNLICENSED"), tally.unlicensed)];
    for (rule, (rows, quantity)) in findings {
        if rows > 0 {
            finding::record(ledger, rule, Severity::E, subject.clone(), rows, quantity);
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
