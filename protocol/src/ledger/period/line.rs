//! The lines of a month: every payment term that was in force in it, rated and
//! distributed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Line, LineKey};
use crate::ids::{Id, MemberId};
use crate::ledger::agreement::{Agreement, InForce, Payment, Terms};
use crate::ledger::asset::Owner;
use crate::ledger::royalty::Lineage;
use crate::ledger::royalty::rating::{self, Adjustments, History, Portion, Segment};
use crate::ledger::royalty::waterfall::{self, Distribution, Fee, Rules};
use crate::ledger::{Ledger, lineage, usage};
use crate::limits::{LINE_CHARGE_MICROS_MAX, LINE_VERSIONS_MAX};
use crate::money::{Micro, Ppm};
use crate::name::Name;
use crate::time::{Month, Span};

/// A payment term as it stood in one version of its agreement, within a month.
struct Slice<'a> {
    version: u32,
    payment: &'a Payment,
    terms: &'a Terms,
    /// When it was in force, cut to the month.
    span: Span,
}

/// Every line of a month, in order of keys.
pub(super) fn lines_of(ledger: &Ledger, month: Month) -> Vec<(LineKey, Line)> {
    let Some(span) = month.span() else { return Vec::new() };
    let mut lines = Vec::new();
    for (id, agreement) in ledger.agreements.iter() {
        for (term, slices) in slices(ledger, *id, agreement, month, span) {
            if let Some(last) = slices.last() {
                let key = (month, *id, term, last.payment.payer);
                lines.push((key, line(ledger, month, span, *id, &slices, last)));
            }
        }
    }
    lines.sort_by(|(a, _), (b, _)| a.cmp(b));
    lines
}

/// By term id, the versions that held in the month or under which its use was sealed,
/// in order. An amendment keeps one line per term id.
fn slices<'a>(
    ledger: &'a Ledger,
    id: Id,
    agreement: &Agreement,
    month: Month,
    span: Span,
) -> BTreeMap<Name, Vec<Slice<'a>>> {
    let mut slices: BTreeMap<Name, Vec<Slice<'a>>> = BTreeMap::new();
    for (version, span) in held_in(ledger, id, agreement, month, span) {
        let Some(signed) = ledger.terms.get(&(id, version)) else { continue };
        for payment in &signed.terms.payments {
            let slice = Slice { version, payment, terms: &signed.terms, span };
            slices.entry(payment.id.clone()).or_default().push(slice);
        }
    }
    slices
}

/// The versions that a month's lines are priced by, each with the part of the month in
/// which it was in force. Use keeps the version under which it was sealed, even if a
/// back-dated amendment has taken its place since.
fn held_in(ledger: &Ledger, id: Id, agreement: &Agreement, month: Month, span: Span) -> Vec<(u32, Span)> {
    let mut held: BTreeMap<u32, Span> = BTreeMap::new();
    for (key, _) in usage::readings_of(ledger, month, id) {
        if key.agreement_version > 0 {
            let nothing = Span { from: span.from, until: span.from };
            held.insert(key.agreement_version, nothing);
        }
    }
    for InForce { version, span: in_force } in
        agreement.in_force.iter().filter(|held| held.span.overlaps(&span))
    {
        let cut = Span { from: in_force.from.max(span.from), until: in_force.until.min(span.until) };
        held.insert(*version, cut);
    }
    held.into_iter().collect()
}

fn line(ledger: &Ledger, month: Month, span: Span, id: Id, slices: &[Slice<'_>], last: &Slice<'_>) -> Line {
    let metered: Vec<_> = slices.iter().map(|slice| (slice, metered(ledger, month, id, slice))).collect();
    let mut used: BTreeMap<Id, u64> = BTreeMap::new();
    for (version, rated) in metered.iter().flat_map(|(_, parts)| parts) {
        let sum = used.entry(*version).or_default();
        *sum = sum.saturating_add(*rated);
    }
    used.retain(|_, quantity| *quantity > 0);
    let quantity = used.values().fold(0, |sum: u64, part| sum.saturating_add(*part));
    let versions = if used.is_empty() { listed(ledger, last) } else { used.into_iter().collect() };
    let mut line = Line {
        grant: last.payment.grant,
        currency: last.payment.term.currency,
        quantity,
        versions,
        multiplier: last.payment.term.multiplier.as_ref().map(|dynamic| dynamic.read(&[]).factor),
        charge: Micro::ZERO,
        recouped: Micro::ZERO,
        shares: Vec::new(),
        held: None,
    };
    if let Err(rule) = fill(ledger, month, span, id, &metered, last, &mut line) {
        line.held = Some(rule);
    }
    line
}

/// Rates and distributes a line, or says which rule holds it back.
fn fill(
    ledger: &Ledger,
    month: Month,
    span: Span,
    id: Id,
    metered: &[(&Slice<'_>, Vec<(Id, u64)>)],
    last: &Slice<'_>,
    line: &mut Line,
) -> Result<(), String> {
    if line.versions.len() > LINE_VERSIONS_MAX {
        line.versions.clear();
        return Err("LINE-VERSIONS".to_owned());
    }
    let charge = rate(ledger, span, id, metered, last, line.multiplier)?;
    if charge.accrued.get() > LINE_CHARGE_MICROS_MAX {
        return Err("MONEY-RANGE".to_owned());
    }
    let distribution = distribute(ledger, month, last.payment.payer, charge.due, &line.versions)?;
    (line.charge, line.recouped, line.shares) = (charge.accrued, charge.recouped, distribution.shares);
    Ok(())
}

/// What was charged for a term under one version, by asset version: the readings of
/// every meter that the term's covers.
fn metered(ledger: &Ledger, month: Month, id: Id, slice: &Slice<'_>) -> Vec<(Id, u64)> {
    let Payment { grant, payer, meter, .. } = slice.payment;
    let readings = usage::readings(ledger, month, id, *grant, *payer);
    let of_slice =
        readings.filter(|(key, _)| key.agreement_version == slice.version && meter.covers(&key.meter));
    of_slice.map(|(key, metered)| (key.version, metered.rated)).collect()
}

/// Without rows a charge goes to the versions that the grant lists, or else to all
/// versions of its assets, or to an asset that has none.
fn listed(ledger: &Ledger, slice: &Slice<'_>) -> Vec<(Id, u64)> {
    let Some(grant) = slice.terms.grants.get(usize::from(slice.payment.grant)) else { return Vec::new() };
    let mut listed: BTreeSet<Id> = BTreeSet::new();
    for granted in &grant.assets {
        let before = listed.len();
        listed.extend(&granted.versions);
        if granted.versions.is_empty() {
            let of_asset =
                ledger.versions.iter().filter(|(_, version)| version.published.asset == granted.asset);
            listed.extend(of_asset.map(|(id, _)| *id));
        }
        if listed.len() == before {
            listed.insert(granted.asset);
        }
    }
    listed.into_iter().map(|id| (id, 0)).collect()
}

fn rate(
    ledger: &Ledger,
    month: Span,
    id: Id,
    metered: &[(&Slice<'_>, Vec<(Id, u64)>)],
    last: &Slice<'_>,
    multiplier: Option<Ppm>,
) -> Result<rating::Charge, String> {
    let whole = length_ms(month);
    let segments = metered.iter().map(|(slice, parts)| {
        let quantity = parts.iter().fold(0, |sum: u64, (_, rated)| sum.saturating_add(*rated));
        let portion = Portion::new(length_ms(slice.span), whole)?;
        Ok(Segment { portion, ..Segment::new(&slice.payment.term.price, quantity) })
    });
    let segments =
        segments.collect::<Result<Vec<_>, rating::RatingError>>().map_err(|e| e.rule().to_owned())?;
    let total = ledger.line_totals.get(&(id, last.payment.id.clone(), last.payment.payer)).copied();
    let total = total.unwrap_or_default();
    let history = History {
        accrued: total.accrued,
        recouped: total.recouped,
        last_period: last.terms.term.until <= month.until,
    };
    let adjustments = Adjustments::of(&last.payment.term, multiplier.unwrap_or(Ppm::ONE), history);
    rating::rate(&segments, &adjustments).map_err(|error| error.rule().to_owned())
}

fn length_ms(span: Span) -> u64 {
    u64::try_from(span.until.since_ms(span.from)).unwrap_or(0)
}

fn distribute(
    ledger: &Ledger,
    month: Month,
    payer: MemberId,
    charge: Micro,
    versions: &[(Id, u64)],
) -> Result<Distribution<Id>, String> {
    let lineage = Lineage::new(lineage::closure(ledger, month, versions.iter().map(|(id, _)| *id)));
    let lineage = lineage.map_err(|error| error.rule().to_owned())?;
    let none = Fee { ppm: Ppm::ZERO, member: MemberId::new(0) };
    let fee = ledger.params().fee.unwrap_or(none);
    let owners = |node: &Id| owners_of(ledger, *node, month);
    let rules = Rules { lineage: &lineage, owners, fee };
    waterfall::distribute(payer, charge, versions, &rules).map_err(|error| error.rule().to_owned())
}

/// The owners of a version's asset, or of an asset itself.
fn owners_of(ledger: &Ledger, node: Id, month: Month) -> Vec<Owner> {
    let asset = ledger.versions.get(&node).map_or(node, |version| version.published.asset);
    ledger.assets.get(&asset).map_or(Vec::new(), |asset| asset.owners_in(month).to_vec())
}
