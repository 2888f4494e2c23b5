//! Judging the rows of one report.
//!
//! *Invariants.* Judging changes nothing: it reads the state and says which rows count.
//! A context is judged once for each span of time in which the answer is the same, and
//! everything that counts towards one cap or one meter shares one counter, however the
//! report is cut into contexts. What one member reports never shuts out what another
//! does.

use std::collections::{BTreeMap, BTreeSet};

use super::event_ids::time_of;
use super::{MeterKey, ReportUsage, UsageContext, UsageError, UsageRow, readings};
use crate::codes::Meter;
use crate::ids::{EventId, Id, MemberId};
use crate::ledger::agreement::{Cap, OnExcess, Payment, Terms};
use crate::ledger::rights::{self, Dimension, Judgement, Question, Verdict};
use crate::ledger::royalty::Price;
use crate::ledger::{At, Ledger};
use crate::time::{Month, Span, UtcMs};

/// What holds for all rows of a context within a span of time.
struct Judged {
    steady: Span,
    result: Result<Licensed, UsageError>,
}

/// A context whose rows are recorded.
pub(super) struct Licensed {
    pub(super) key: MeterKey,
    /// Why its rows are not charged, if they are not.
    pub(super) flag: Option<&'static str>,
    /// Whether its grant is paid for by use, but not by what this meter counts.
    unpriced: bool,
    /// The counter of all that is reported on its meter; none if its rows only
    /// reconcile.
    reported: Option<usize>,
    caps: Vec<Limit>,
    /// The counters of its caps, each once: caps on one meter and span share theirs.
    capped: BTreeSet<usize>,
    pub(super) tally: Tally,
}

/// A cap, and which of the batch's counters counts towards it.
#[derive(Clone, Copy)]
struct Limit {
    quantity: u64,
    on_excess: OnExcess,
    counter: usize,
}

/// What the rows of a batch add to a meter.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) rated: u64,
    pub(super) flagged: u64,
    pub(super) counter: u64,
    pub(super) rows: u64,
    pub(super) over_cap: (u64, u64),
    pub(super) unlicensed: (u64, u64),
    pub(super) unpriced: (u64, u64),
}

/// What a row comes to.
enum Row {
    Rated,
    Flagged,
}

/// Names what several contexts of a batch may count together.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Counted {
    /// What the grant's reporter says of a meter in a month under one version of the
    /// agreement, whether charged or not: it must fit 64 bits.
    Reported(Month, Id, u16, MemberId, Meter, u32),
    /// What a cap counts: charged units of its meter and the meters below it, of a month
    /// or of all.
    Cap(Option<Month>, Id, u16, MemberId, Meter),
}

/// Units counted so far, the state's and the batch's together. Contexts share them, so
/// that no cap can be had twice by stating a context twice.
#[derive(Default)]
struct Counters {
    positions: BTreeMap<Counted, usize>,
    units: Vec<u64>,
}

impl Counters {
    /// The counter of this name, begun at what the state has if it is new.
    fn position(&mut self, name: Counted, begin: impl FnOnce() -> u64) -> usize {
        *self.positions.entry(name).or_insert_with(|| {
            self.units.push(begin());
            self.units.len().saturating_sub(1)
        })
    }

    /// The counter of what the grant's reporter says of a meter.
    fn reported(&mut self, ledger: &Ledger, key: &MeterKey) -> usize {
        let MeterKey { month, agreement, grant, payer, ref meter, agreement_version, .. } = *key;
        let name = Counted::Reported(month, agreement, grant, payer, meter.clone(), agreement_version);
        self.position(name, || {
            let same =
                |known: &MeterKey| known.meter == *meter && known.agreement_version == agreement_version;
            let known = readings(ledger, month, agreement, grant, payer).filter(|(known, _)| same(known));
            sum(known.flat_map(|(_, metered)| [metered.rated, metered.flagged]))
        })
    }

    fn get(&self, position: usize) -> u64 {
        self.units.get(position).copied().unwrap_or(u64::MAX)
    }

    fn add(&mut self, position: usize, units: u64) {
        if let Some(counted) = self.units.get_mut(position) {
            *counted = counted.saturating_add(units);
        }
    }
}

/// One report while it is applied.
struct Batch<'a> {
    ledger: &'a Ledger,
    at: &'a At,
    report: &'a ReportUsage,
    /// By context, then by the first moment for which it holds.
    judged: Vec<BTreeMap<UtcMs, Judged>>,
    counters: Counters,
    /// Accepted ids by day.
    accepted: BTreeMap<i64, Vec<EventId>>,
    refused: BTreeMap<&'static str, Vec<u16>>,
    rated: u32,
    flagged: u32,
}

/// What judging a report gives.
pub(super) struct Verdicts {
    /// What to meter.
    pub(super) licensed: Vec<Licensed>,
    /// Accepted ids by day.
    pub(super) accepted: BTreeMap<i64, Vec<EventId>>,
    /// Positions of refused rows by rule.
    pub(super) refused: BTreeMap<&'static str, Vec<u16>>,
    /// Rows that count.
    pub(super) rated: u32,
    /// Rows that are not licensed.
    pub(super) flagged: u32,
}

/// Judges every row of a report.
pub(super) fn judge_rows(ledger: &Ledger, at: &At, report: &ReportUsage) -> Verdicts {
    let mut batch = Batch {
        ledger,
        at,
        report,
        judged: report.contexts.iter().map(|_| BTreeMap::new()).collect(),
        counters: Counters::default(),
        accepted: BTreeMap::new(),
        refused: BTreeMap::new(),
        rated: 0,
        flagged: 0,
    };
    batch.run();
    let Batch { judged, accepted, refused, rated, flagged, .. } = batch;
    let licensed =
        judged.into_iter().flat_map(BTreeMap::into_values).filter_map(|judged| judged.result.ok()).collect();
    Verdicts { licensed, accepted, refused, rated, flagged }
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
        let kind = self.count(usize::from(row.context), moment, row.quantity)?;
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

    /// Counts a row under the judgement of its context at its moment, which is made once
    /// for each span.
    fn count(&mut self, context: usize, moment: UtcMs, quantity: u64) -> Result<Row, UsageError> {
        let (Some(asked), Some(known)) = (self.report.contexts.get(context), self.judged.get_mut(context))
        else {
            return Err(UsageError::NoContext { row: context });
        };
        let latest = known.range(..=moment).next_back();
        let start = latest.filter(|(_, judged)| judged.steady.contains(moment)).map(|(start, _)| *start);
        let start = start.unwrap_or_else(|| {
            let judged = judge(self.ledger, self.at.member, asked, moment, &mut self.counters);
            let start = judged.steady.from;
            known.insert(start, judged);
            start
        });
        let judged = known.get_mut(&start).ok_or(UsageError::NoContext { row: context })?;
        let licensed = judged.result.as_mut().map_err(|error| error.clone())?;
        licensed.count(&mut self.counters, quantity)
    }
}

/// Judges a context at a moment, for as long as the answer holds within the month.
fn judge(
    ledger: &Ledger,
    reporter: MemberId,
    context: &UsageContext,
    at: UtcMs,
    counters: &mut Counters,
) -> Judged {
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
        return Judged { steady, result: Err(UsageError::Future) };
    };
    let steady =
        Span { from: judgement.steady.from.max(span.from), until: judgement.steady.until.min(span.until) };
    Judged { steady, result: license(ledger, reporter, context, month, &judgement, counters) }
}

/// Decides whether the reporter's rows count, and which caps they count towards.
fn license(
    ledger: &Ledger,
    reporter: MemberId,
    context: &UsageContext,
    month: Month,
    judgement: &Judgement,
    counters: &mut Counters,
) -> Result<Licensed, UsageError> {
    let UsageContext { agreement: id, grant: number, version, payer, .. } = *context;
    let agreement = ledger.agreements.get(&id).ok_or(UsageError::Agreement)?;
    // Before an agreement is in force, the version that was proposed says who it is about.
    let terms_of = judgement.agreement_version.unwrap_or(agreement.current);
    let signed = ledger.terms.get(&(id, terms_of)).ok_or(UsageError::Agreement)?;
    let terms = &signed.terms;
    let grant = terms.grants.get(usize::from(number)).ok_or(UsageError::Agreement)?;
    if terms.party(reporter).is_none() {
        return Err(UsageError::Reporter);
    }
    // What a member says of its own use is its own word; what others say of it counts
    // only under what it has signed.
    let has_signed = signed.signed_by.binary_search(&payer).is_ok();
    if terms.party(payer).is_none() || (reporter != payer && !has_signed) {
        return Err(UsageError::Payer);
    }
    if !ledger.versions.contains(&version) {
        return Err(UsageError::Version { version });
    }
    let flag = match judgement.verdict {
        Verdict::Permit => None,
        Verdict::Deny | Verdict::Undetermined => Some(flag_rule(judgement)),
    };
    let caps = grant.caps.iter().filter(|cap| cap.meter.covers(&context.meter));
    let caps: Vec<_> = caps.map(|cap| limit(ledger, cap, (id, number, payer), month, counters)).collect();
    let capped = caps.iter().map(|cap| cap.counter).collect();
    let key = MeterKey {
        month,
        agreement: id,
        grant: number,
        payer,
        meter: context.meter.clone(),
        agreement_version: judgement.agreement_version.unwrap_or(0),
        version,
    };
    let reports = reporter == grant.reporter_for(payer);
    let reported = reports.then(|| counters.reported(ledger, &key));
    let unpriced = is_unpriced(terms, number, payer, &context.meter);
    Ok(Licensed { key, flag, unpriced, reported, caps, capped, tally: Tally::default() })
}

/// Whether a payer pays for a grant by use, and no term of it counts this meter. What is
/// free or has one price for everything has nothing to count.
fn is_unpriced(terms: &Terms, grant: u16, payer: MemberId, meter: &Meter) -> bool {
    let prices = || terms.payments.iter().filter(|known| (known.grant, known.payer) == (grant, payer));
    let by_use = |payment: &Payment| !matches!(payment.term.price, Price::Flat(_));
    prices().any(by_use) && !prices().any(|payment| payment.meter.covers(meter))
}

/// A cap with the counter that everything under it shares.
fn limit(
    ledger: &Ledger,
    cap: &Cap,
    (agreement, grant, payer): (Id, u16, MemberId),
    month: Month,
    counters: &mut Counters,
) -> Limit {
    let of = cap.per_period.then_some(month);
    let name = Counted::Cap(of, agreement, grant, payer, cap.meter.clone());
    let counter = counters.position(name, || match of {
        Some(month) => {
            let counted = readings(ledger, month, agreement, grant, payer);
            sum(counted.filter(|(key, _)| cap.meter.covers(&key.meter)).map(|(_, metered)| metered.rated))
        }
        None => {
            let first = (agreement, grant, payer, Meter::new(""));
            let totals = ledger.totals.range(first..);
            let totals = totals.take_while(|((a, g, p, _), _)| (*a, *g, *p) == (agreement, grant, payer));
            sum(totals.filter(|((.., meter), _)| cap.meter.covers(meter)).map(|(_, total)| total.rated))
        }
    });
    Limit { quantity: cap.quantity, on_excess: cap.on_excess, counter }
}

fn sum(units: impl Iterator<Item = u64>) -> u64 {
    units.fold(0, u64::saturating_add)
}

/// The finding that fits what failed.
fn flag_rule(judgement: &Judgement) -> &'static str {
    let mut failed = judgement.failed();
    match (failed.next(), failed.next()) {
        (Some(Dimension::Territory), None) => "USE-OUT-TERR",
        _ => "USE-UNLICENSED",
    }
}

impl Licensed {
    /// Counts one row.
    fn count(&mut self, counters: &mut Counters, quantity: u64) -> Result<Row, UsageError> {
        let tally = &mut self.tally;
        let more = |(rows, sum): (u64, u64)| (rows.saturating_add(1), sum.saturating_add(quantity));
        let Some(reported) = self.reported else {
            tally.rows = tally.rows.saturating_add(1);
            tally.counter = tally.counter.saturating_add(quantity);
            return Ok(Row::Rated);
        };
        counters.get(reported).checked_add(quantity).ok_or(UsageError::Overflow)?;
        counters.add(reported, quantity);
        tally.rows = tally.rows.saturating_add(1);
        if self.flag.is_some() {
            tally.flagged = tally.flagged.saturating_add(quantity);
            tally.unlicensed = more(tally.unlicensed);
            return Ok(Row::Flagged);
        }
        let is_over = |cap: &&Limit| cap.quantity.saturating_sub(counters.get(cap.counter)) < quantity;
        let over: Vec<Limit> = self.caps.iter().filter(is_over).copied().collect();
        if !over.is_empty() {
            tally.over_cap = more(tally.over_cap);
        }
        if over.iter().any(|cap| cap.on_excess == OnExcess::Block) {
            tally.flagged = tally.flagged.saturating_add(quantity);
            return Ok(Row::Flagged);
        }
        self.capped.iter().for_each(|counter| counters.add(*counter, quantity));
        tally.rated = tally.rated.saturating_add(quantity);
        if self.unpriced {
            tally.unpriced = more(tally.unpriced);
        }
        Ok(Row::Rated)
    }
}
