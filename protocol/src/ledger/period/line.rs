//! The lines of a month: every payment term that was in force in it, rated and
//! distributed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Line, LineKey};
use crate::ids::{Id, MemberId};
use crate::ledger::agreement::{Agreement, InForce, Payment, Royalty, Terms};
use crate::ledger::asset::Owner;
use crate::ledger::royalty::rating::{self, Adjustments, History, Portion, Segment};
use crate::ledger::royalty::waterfall::{self, Distribution, Fee, Rules};
use crate::ledger::royalty::{Edge, EdgeMode, Lineage};
use crate::ledger::usage::MeteredPart;
use crate::ledger::{Ledger, lineage};
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
        for (term, slices) in slices(ledger, *id, agreement, span) {
            if let Some(last) = slices.last() {
                let key = (month, *id, term, last.payment.payer);
                lines.push((key, line(ledger, month, span, *id, &slices, last)));
            }
        }
    }
    lines.sort_by(|(a, _), (b, _)| a.cmp(b));
    lines
}

/// By term id, the versions that held in the month, in order of time. An amendment
/// keeps one line per term id.
fn slices<'a>(
    ledger: &'a Ledger,
    id: Id,
    agreement: &Agreement,
    month: Span,
) -> BTreeMap<Name, Vec<Slice<'a>>> {
    let mut slices: BTreeMap<Name, Vec<Slice<'a>>> = BTreeMap::new();
    let mut held: Vec<&InForce> =
        agreement.in_force.iter().filter(|held| held.span.overlaps(&month)).collect();
    held.sort_by_key(|held| held.span.from);
    for InForce { version, span } in held {
        let Some(signed) = ledger.terms.get(&(id, *version)) else { continue };
        let span = Span { from: span.from.max(month.from), until: span.until.min(month.until) };
        for payment in &signed.terms.payments {
            let slice = Slice { version: *version, payment, terms: &signed.terms, span };
            slices.entry(payment.id.clone()).or_default().push(slice);
        }
    }
    slices
}

fn line(ledger: &Ledger, month: Month, span: Span, id: Id, slices: &[Slice<'_>], last: &Slice<'_>) -> Line {
    let metered: Vec<_> = slices.iter().map(|slice| (slice, metered(ledger, month, id, slice))).collect();
    let mut used: BTreeMap<Id, u64> = BTreeMap::new();
    for part in metered.iter().flat_map(|(_, parts)| parts) {
        let sum = used.entry(part.version).or_default();
        *sum = sum.saturating_add(part.rated);
    }
    used.retain(|_, quantity| *quantity > 0);
    let quantity = used.values().fold(0, |sum: u64, part| sum.saturating_add(*part));
    let versions = if used.is_empty() { listed(ledger, last) } else { used.into_iter().collect() };
    let mut line = Line {
        grant: last.payment.grant,
        currency: last.payment.term.currency,
        quantity,
        versions,
        charge: Micro::ZERO,
        recouped: Micro::ZERO,
        shares: Vec::new(),
        held: None,
    };
    match rate(ledger, span, id, &metered, last) {
        Err(rule) => line.held = Some(rule),
        Ok(charge) => {
            (line.charge, line.recouped) = (charge.accrued, charge.recouped);
            match distribute(ledger, month, last.payment.payer, charge.due, &line.versions) {
                Err(rule) => line.held = Some(rule),
                Ok(distribution) => line.shares = distribution.shares,
            }
        }
    }
    line
}

/// What was metered for a term under one version: every meter that the term's covers.
fn metered(ledger: &Ledger, month: Month, id: Id, slice: &Slice<'_>) -> Vec<MeteredPart> {
    let Payment { grant, payer, meter, .. } = slice.payment;
    let first = (month, id, *grant, *payer, crate::codes::Meter::new(""));
    let of_term = ledger
        .meters
        .range(first..)
        .take_while(|((m, a, g, p, _), _)| (m, a, g, p) == (&month, &id, grant, payer));
    let covered = of_term.filter(|((.., counted), _)| meter.covers(counted));
    let parts = covered.flat_map(|(_, metered)| metered.parts.iter().copied());
    parts.filter(|part| part.agreement_version == slice.version).collect()
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
    metered: &[(&Slice<'_>, Vec<MeteredPart>)],
    last: &Slice<'_>,
) -> Result<rating::Charge, String> {
    let whole = length_ms(month);
    let segments = metered.iter().map(|(slice, parts)| {
        let quantity = parts.iter().fold(0, |sum: u64, part| sum.saturating_add(part.rated));
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
    // Nothing is observed yet, so a dynamic term reads its neutral factor.
    let factor = last.payment.term.multiplier.as_ref().map_or(Ppm::ONE, |dynamic| dynamic.read(&[]).factor);
    let adjustments = Adjustments::of(&last.payment.term, factor, history);
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
    let lineage = Lineage::new(closure(ledger, Some(month), versions.iter().map(|(id, _)| *id)));
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

/// The royalty edges above some versions, as they hold in a month, or all of them.
pub(in crate::ledger) fn closure(
    ledger: &Ledger,
    month: Option<Month>,
    from: impl IntoIterator<Item = Id>,
) -> Vec<Edge<Id>> {
    let mut open: Vec<Id> = from.into_iter().collect();
    let mut seen: BTreeSet<Id> = open.iter().copied().collect();
    let mut edges = Vec::new();
    while let Some(child) = open.pop() {
        let links = lineage::parents_of(ledger, child);
        for link in links.filter(|link| month.is_none_or(|month| link.from.is_none_or(|from| from <= month)))
        {
            let parent = link.parent.version;
            if seen.insert(parent) {
                open.push(parent);
            }
            let (mode, ppm) = match link.royalty {
                Royalty::None => continue,
                Royalty::Absolute(ppm) => (EdgeMode::Absolute, ppm),
                Royalty::Relative(ppm) => (EdgeMode::Relative, ppm),
            };
            edges.push(Edge { child, parent, mode, ppm });
        }
    }
    edges
}
