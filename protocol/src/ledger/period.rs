//! Periods: calendar months of use, closed into charges and settled into payments.
//!
//! ```text
//! open ─month ends─▶ in grace ─ClosePeriod─▶ closed ─Settle─▶ settled
//! ```
//!
//! *Invariants.* Months are closed in order, so that what counts over all months (a
//! lifetime's minimum and cap, an advance) counts the same for everybody; a month without
//! any charge may be left out. Closing rates every line of the month once, and
//! distributes each charge by the lineage and owners of that month. No line is free for
//! being absurd: what it charges and what it names is bounded, not refused. A line whose
//! graph cannot be distributed is held with a finding and stops nobody else's. Settling
//! pays whole minor units per pair and carries the residue visibly.
//!
//! *Deliberately absent:* corrections of closed months, escrow, and due dates.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::finding::{self, Subject};
use super::royalty::Price;
use super::royalty::netting::{self, Carry, Obligation, Payment};
use super::royalty::waterfall::Share;
use super::table::Record;
use super::{At, Event, Ledger, Refusal, agreement, usage};
use crate::codec;
use crate::ids::{Hash, Height, Id, MemberId};
use crate::merkle;
use crate::money::{Currency, Micro, Minor, MoneyError, Ppm};
use crate::name::Name;
use crate::refusal::refusals;
use crate::time::{Month, Span};

mod line;

use line::Draft;

/// Closes a calendar month; any member may, once its grace has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosePeriod {
    /// The month.
    pub month: Month,
}

/// Nets a closed month into payments; any member may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settle {
    /// The month.
    pub month: Month,
}

/// A closed month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// The block that closed it.
    pub closed: Height,
    /// How many lines it has.
    pub lines: u64,
    /// RFC 6962 root over its canonical lines, in order of their keys.
    pub statement: Hash,
    /// The block that settled it.
    pub settled: Option<Height>,
}

/// One line of a statement: what a payer owes under one payment term for one month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The grant that was used.
    pub grant: u16,
    /// The currency.
    pub currency: Currency,
    /// Units that are charged.
    pub quantity: u64,
    /// What was charged, by asset version; without rows the versions it is charged for.
    pub versions: Vec<(Id, u64)>,
    /// The factor that a dynamic term read; 100 % if nothing was observed.
    pub multiplier: Option<Ppm>,
    /// The charge, after multiplier, minimum and cap; 0 while the line is held.
    pub charge: Micro,
    /// Of it, set off against an advance.
    pub recouped: Micro,
    /// Where the rest went, by member; the payer's own share is a memo.
    pub shares: Vec<Share>,
    /// The rule that holds it back, if it could not be rated or distributed.
    pub held: Option<String>,
}

/// (month, agreement, payment term, payer).
pub type LineKey = (Month, Id, Name, MemberId);

/// What a payment term has charged a payer over all months.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineTotal {
    /// Charged.
    pub accrued: Micro,
    /// Of it, set off against an advance.
    pub recouped: Micro,
}

/// What one member owes another for a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accrual(pub Micro);

/// What a pair carries into its next settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// What the lower member id owes the higher; less than one minor unit either way.
    pub a_owes_b: Micro,
}

/// What is to be paid for a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due(pub Minor);

impl Record for Period {
    type Key = Month;
    const KIND: u8 = 0x50;
}

impl Record for Line {
    type Key = LineKey;
    const KIND: u8 = 0x51;
}

impl Record for LineTotal {
    /// (agreement, payment term, payer).
    type Key = (Id, Name, MemberId);
    const KIND: u8 = 0x52;
}

impl Record for Accrual {
    /// (month, currency, payer, payee).
    type Key = (Month, Currency, MemberId, MemberId);
    const KIND: u8 = 0x53;
}

impl Record for Carried {
    /// (currency, lower member id, higher member id).
    type Key = (Currency, MemberId, MemberId);
    const KIND: u8 = 0x54;
}

impl Record for Due {
    /// (month, currency, payer, payee).
    type Key = (Month, Currency, MemberId, MemberId);
    const KIND: u8 = 0x55;
}

refusals! {
    /// Why a month cannot be closed or settled.
    PeriodError {
        Date { month: Month } = "PER-DATE": "{month} is outside the years 0 to 9999",
        Grace { month: Month } = "PER-GRACE": "{month} and its grace have not ended",
        Order { open: Month } = "PER-ORDER": "months are closed in order, and {open} is the oldest that is open",
        Closed { month: Month } = "PER-CLOSED": "{month} is already closed",
        Open { month: Month } = "PER-OPEN": "{month} is not closed",
        Settled { month: Month } = "PER-SETTLED": "{month} is already settled",
    }
}

/// Applies `ClosePeriod`.
pub(super) fn close(ledger: &mut Ledger, at: &At, deed: ClosePeriod) -> Result<(), Refusal> {
    let month = deed.month;
    let span = month.span().ok_or(PeriodError::Date { month })?;
    if ledger.periods.contains(&month) {
        return Err(PeriodError::Closed { month }.into());
    }
    if at.time < span.until.plus_ms(ledger.params().period_grace_ms) {
        return Err(PeriodError::Grace { month }.into());
    }
    check_order(ledger, month, span)?;
    let drafts = line::lines_of(ledger, month);
    let accruals = accruals_of(&drafts)?;
    let totals = drafts.iter().map(|draft| total_with(ledger, &draft.key, &draft.line));
    let totals = totals.collect::<Result<Vec<_>, MoneyError>>()?;
    let leaves = drafts.iter().map(|draft| merkle::leaf_hash(&codec::encode(&(&draft.key, &draft.line))));
    let statement = merkle::root(&leaves.collect::<Vec<_>>());
    let count = u64::try_from(drafts.len()).unwrap_or(u64::MAX);
    let period = Period { closed: at.height, lines: count, statement, settled: None };
    ledger.periods.put(month, period);
    ledger.chain_mut().open_month = month.next();
    for ((currency, payer, payee), owed) in accruals {
        ledger.accruals.put((month, currency, payer, payee), Accrual(owed));
    }
    for (draft, total) in drafts.into_iter().zip(totals) {
        post(ledger, draft, total);
    }
    ledger.emit(Event::PeriodClosed { month });
    Ok(())
}

/// A month can be closed if no later one is, and if those before it that are still open
/// have nothing to charge.
fn check_order(ledger: &Ledger, month: Month, span: Span) -> Result<(), PeriodError> {
    let open = ledger.open_month();
    let before = open.span().map(|first| Span { from: first.from, until: span.from });
    let charges = before.is_some_and(|before| before.from < before.until && is_due(ledger, before));
    if month < open || charges || usage::is_charged_between(ledger, open, month) {
        return Err(PeriodError::Order { open });
    }
    Ok(())
}

/// Whether some agreement charges for a span even without use.
fn is_due(ledger: &Ledger, span: Span) -> bool {
    let is_due = |payment: &agreement::Payment| {
        matches!(payment.term.price, Price::Flat(_)) || payment.term.minimum.is_some()
    };
    ledger.agreements.iter().any(|(id, agreement)| {
        let mut held = agreement.in_force.iter().filter(|held| held.span.overlaps(&span));
        held.any(|held| {
            let signed = ledger.terms.get(&(*id, held.version));
            signed.is_some_and(|signed| signed.terms.payments.iter().any(is_due))
        })
    })
}

/// What each payer owes each payee, over all lines.
fn accruals_of(drafts: &[Draft]) -> Result<BTreeMap<(Currency, MemberId, MemberId), Micro>, MoneyError> {
    let mut owed: BTreeMap<_, Micro> = BTreeMap::new();
    for Draft { key: (_, _, _, payer), line, .. } in drafts {
        for share in line.shares.iter().filter(|share| share.member != *payer) {
            let sum = owed.entry((line.currency, *payer, share.member)).or_default();
            *sum = sum.checked_add(share.micros)?;
        }
    }
    Ok(owed)
}

/// What a line's term has charged over all months, this line included.
fn total_with(ledger: &Ledger, key: &LineKey, line: &Line) -> Result<LineTotal, MoneyError> {
    let (_, agreement, term, payer) = key;
    let total = ledger.line_totals.get(&(*agreement, term.clone(), *payer)).copied().unwrap_or_default();
    Ok(LineTotal {
        accrued: total.accrued.checked_add(line.charge)?,
        recouped: total.recouped.checked_add(line.recouped)?,
    })
}

/// Stores a line, its running total, and what was found.
fn post(ledger: &mut Ledger, draft: Draft, total: LineTotal) {
    let Draft { key, line, found } = draft;
    let (month, agreement, term, payer) = key.clone();
    let subject = Subject::Use { agreement, grant: line.grant, member: payer, month };
    for (rule, severity) in found {
        finding::record(ledger, rule, severity, subject.clone(), 0, line.quantity);
    }
    ledger.line_totals.put((agreement, term, payer), total);
    ledger.lines.put(key, line);
}

/// Applies `Settle`.
pub(super) fn settle(ledger: &mut Ledger, at: &At, deed: Settle) -> Result<(), Refusal> {
    let month = deed.month;
    let mut period = ledger.periods.get(&month).ok_or(PeriodError::Open { month })?.clone();
    if period.settled.is_some() {
        return Err(PeriodError::Settled { month }.into());
    }
    let carried = carried(ledger);
    let netted = netting::bilateral(obligations(ledger, month), &carried)?;
    // Multilateral netting is for those who joined it.
    let payments = netting::payments(&netted.debts, &BTreeSet::new())?;
    period.settled = Some(at.height);
    ledger.periods.put(month, period);
    for carry in &carried {
        ledger.carries.remove(&(carry.currency, carry.a, carry.b));
    }
    for Carry { a, b, currency, a_owes_b_micros } in netted.carry {
        ledger.carries.put((currency, a, b), Carried { a_owes_b: a_owes_b_micros });
    }
    for Payment { currency, from, to, minor } in payments {
        ledger.dues.put((month, currency, from, to), Due(minor));
    }
    ledger.emit(Event::PeriodSettled { month });
    Ok(())
}

/// What pairs carry from earlier settlements.
fn carried(ledger: &Ledger) -> Vec<Carry> {
    let rows = ledger.carries.iter();
    rows.map(|(&(currency, a, b), carried)| Carry { a, b, currency, a_owes_b_micros: carried.a_owes_b })
        .collect()
}

fn obligations(ledger: &Ledger, month: Month) -> Vec<Obligation> {
    let of_month = ledger.accruals.iter().filter(|((accrued_in, ..), _)| *accrued_in == month);
    of_month
        .map(|(&(_, currency, from, to), &Accrual(micros))| Obligation { from, to, currency, micros })
        .collect()
}

/// The payments of a settled month, in order.
#[must_use]
pub fn payments_of(ledger: &Ledger, month: Month) -> Vec<Payment> {
    let of_month = ledger.dues.iter().filter(|((due_for, ..), _)| *due_for == month);
    of_month.map(|(&(_, currency, from, to), &Due(minor))| Payment { currency, from, to, minor }).collect()
}
