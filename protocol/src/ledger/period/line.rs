//! The lines of a month: every payment term that was in force in it, rated and
//! distributed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Line, LineKey};
use crate::ids::{Id, MemberId};
use crate::ledger::agreement::{Agreement, InForce, Payment, Terms};
use crate::ledger::asset::{self, Owner};
use crate::ledger::finding::Severity;
use crate::ledger::royalty::Lineage;
use crate::ledger::royalty::dynamic::UNOBSERVED;
use crate::ledger::royalty::rating::{self, Adjustments, History, Portion, Segment};
use crate::ledger::royalty::waterfall::{self, Distribution, Fee, Rules};
use crate::ledger::{Ledger, lineage, usage};
use crate::limits::{LINE_CHARGE_MINOR_MAX, LINE_VERSIONS_MAX};
use crate::money::{Micro, Minor, Ppm};
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

/// A line that is to be posted, and what people should know of it.
pub(super) struct Draft {
    pub(super) key: LineKey,
    pub(super) line: Line,
    /// Rules that are found.
    pub(super) found: Vec<(&'static str, Severity)>,
}

/// Every line of a month, in order of keys.
pub(super) fn lines_of(ledger: &Ledger, month: Month) -> Vec<Draft> {
    let Some(span) = month.span() else { return Vec::new() };
    let mut lines = Vec::new();
    for (id, agreement) in ledger.agreements.iter() {
        for (term, slices) in slices(ledger, *id, agreement, month, span) {
            lines.extend(Drafting::new(ledger, month, *id, slices).and_then(|d| d.draft(term)));
        }
    }
    lines.sort_by(|a, b| a.key.cmp(&b.key));
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

/// A line while it is drafted.
struct Drafting<'a> {
    ledger: &'a Ledger,
    month: Month,
    span: Span,
    agreement: Id,
    /// In order of versions, with what was charged for under each, by asset version.
    slices: Vec<(Slice<'a>, Vec<(Id, u64)>)>,
    /// The position of the slice whose terms govern the month.
    governing: usize,
}

impl<'a> Drafting<'a> {
    /// The version under which the term was first used in the month governs what counts
    /// for the month as a whole, so that no amendment changes it any more; without use
    /// the first that was in force.
    fn new(ledger: &'a Ledger, month: Month, agreement: Id, slices: Vec<Slice<'a>>) -> Option<Self> {
        let slices: Vec<_> = slices
            .into_iter()
            .map(|slice| {
                let Payment { grant, payer, ref meter, .. } = *slice.payment;
                let under = (month, agreement, slice.version);
                let rated = usage::rated_under(ledger, under, (grant, payer), meter);
                (slice, rated)
            })
            .collect();
        let is_used = |(_, rated): &(Slice<'_>, Vec<(Id, u64)>)| rated.iter().any(|(_, units)| *units > 0);
        let governing = slices.iter().position(is_used).unwrap_or(0);
        Some(Self { ledger, month, span: month.span()?, agreement, slices, governing })
    }

    fn draft(self, term: Name) -> Option<Draft> {
        let (governing, _) = self.slices.get(self.governing)?;
        let payment = governing.payment;
        let used = self.used();
        let quantity = used.values().fold(0, |sum: u64, part| sum.saturating_add(*part));
        let all = if used.is_empty() { listed(self.ledger, governing) } else { used.into_iter().collect() };
        let count = all.len();
        let multiplier = payment.term.multiplier.as_ref().map(|dynamic| dynamic.read(&[]).factor);
        let mut line = Line {
            grant: payment.grant,
            currency: payment.term.currency,
            quantity,
            versions: most_used(all),
            multiplier,
            charge: Micro::ZERO,
            recouped: Micro::ZERO,
            shares: Vec::new(),
            held: None,
        };
        line.held = self.fill(&mut line).err();
        let bound = Minor::new(LINE_CHARGE_MINOR_MAX).to_micro().ok();
        let found = [
            (UNOBSERVED, Severity::W, line.multiplier.is_some()),
            ("LINE-VERSIONS", Severity::W, count > LINE_VERSIONS_MAX),
            ("LINE-CHARGE-MAX", Severity::E, Some(line.charge) == bound),
            ("LINE-HELD", Severity::E, line.held.is_some()),
        ];
        let found =
            found.into_iter().filter(|(.., is_so)| *is_so).map(|(rule, severity, _)| (rule, severity));
        Some(Draft { key: (self.month, self.agreement, term, payment.payer), line, found: found.collect() })
    }

    /// What was charged for under all versions, by asset version.
    fn used(&self) -> BTreeMap<Id, u64> {
        let mut used: BTreeMap<Id, u64> = BTreeMap::new();
        for (version, rated) in self.slices.iter().flat_map(|(_, rated)| rated) {
            let sum = used.entry(*version).or_default();
            *sum = sum.saturating_add(*rated);
        }
        used.retain(|_, quantity| *quantity > 0);
        used
    }

    /// Rates and distributes a line, or says which rule holds it back.
    fn fill(&self, line: &mut Line) -> Result<(), String> {
        let (governing, _) = self.slices.get(self.governing).ok_or("LINE-NO-ASSET")?;
        let charge = self.rate(governing, line.multiplier).map_err(|error| error.rule().to_owned())?;
        let payer = governing.payment.payer;
        let distribution = distribute(self.ledger, self.month, payer, charge.due, &line.versions)?;
        (line.charge, line.recouped, line.shares) = (charge.accrued, charge.recouped, distribution.shares);
        Ok(())
    }

    fn rate(
        &self,
        governing: &Slice<'_>,
        multiplier: Option<Ppm>,
    ) -> Result<rating::Charge, rating::RatingError> {
        let whole = length_ms(self.span);
        let segments = self.slices.iter().map(|(slice, parts)| {
            let quantity = parts.iter().fold(0, |sum: u64, (_, rated)| sum.saturating_add(*rated));
            let portion = Portion::new(length_ms(slice.span), whole)?;
            Ok(Segment { portion, ..Segment::new(&slice.payment.term.price, quantity) })
        });
        let segments = segments.collect::<Result<Vec<_>, rating::RatingError>>()?;
        let Payment { id, payer, term, .. } = governing.payment;
        let total = self.ledger.line_totals.get(&(self.agreement, id.clone(), *payer)).copied();
        let total = total.unwrap_or_default();
        // Where the term ends is what the parties agreed on last.
        let ends = self.slices.last().is_some_and(|(last, _)| last.terms.term.until <= self.span.until);
        let history = History { accrued: total.accrued, recouped: total.recouped, last_period: ends };
        let mut adjustments = Adjustments::of(term, multiplier.unwrap_or(Ppm::ONE), history);
        // Nobody escapes a charge by making it absurd, nor makes a sum leave its range.
        let bound = Minor::new(LINE_CHARGE_MINOR_MAX);
        adjustments.cap = Some(adjustments.cap.map_or(bound, |cap| cap.min(bound)));
        rating::rate(&segments, &adjustments)
    }
}

/// The versions with most units, as many as a line may name; ties go to the lower id. By
/// id.
fn most_used(mut versions: Vec<(Id, u64)>) -> Vec<(Id, u64)> {
    if versions.len() > LINE_VERSIONS_MAX {
        versions.sort_by_key(|&(id, units)| (std::cmp::Reverse(units), id));
        versions.truncate(LINE_VERSIONS_MAX);
        versions.sort_unstable();
    }
    versions
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
            listed.extend(asset::versions_of(ledger, granted.asset));
        }
        if listed.len() == before {
            listed.insert(granted.asset);
        }
    }
    listed.into_iter().map(|id| (id, 0)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_versions_with_most_units() {
        let id = |number: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            Id::from_bytes(bytes)
        };
        let count = u32::try_from(LINE_VERSIONS_MAX).expect("not that many");
        let few: Vec<_> = (0..count).map(|n| (id(n), 1)).collect();
        assert_eq!(most_used(few.clone()), few);
        let many = (0..count + 2).map(|n| (id(n), u64::from(n % 2 == 1 || n > 3)));
        let kept = most_used(many.clone().collect());
        let expected: Vec<_> = many.filter(|(version, _)| *version != id(0) && *version != id(2)).collect();
        assert_eq!(kept, expected);
    }
}
