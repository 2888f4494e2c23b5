//! What terms say, in words: everything that a signer is bound by.
//!
//! *Invariants.* Every field of the terms is shown; ids stand beside names, because names
//! are what a node says they are.

use std::fmt::Display;

use syngraph_client::api::VersionView;
use syngraph_protocol::codes::Territory;
use syngraph_protocol::ledger::agreement::{Cap, Grant, GrantAsset, OnExcess, Payment, Royalty, Terms};
use syngraph_protocol::ledger::royalty::terms::{Multiplier, RevenueBase, Scope, Tier};
use syngraph_protocol::ledger::royalty::{PaymentTerm, Price};
use syngraph_protocol::money::{Currency, Minor, Ppm, Rate};
use syngraph_protocol::time::{Span, UtcMs};

use crate::cli::names::Directory;
use crate::output::{commas, or_dash};

/// Says in words what a version's terms are.
pub(super) fn describe(version: &VersionView, known: &Directory) -> String {
    let VersionView { agreement, version: number, status, terms, terms_hash, previous, .. } = version;
    let mut lines = vec![format!(
        "{:?} — {}, version {number}: {}",
        terms.title.as_str(),
        code(&terms.kind),
        code(status)
    )];
    lines.push(format!("agreement   {agreement}"));
    lines.push(format!("terms hash  {terms_hash}"));
    lines.push(format!("amends      {}", or_dash(previous.as_ref())));
    lines.extend(general(terms, known));
    for (number, grant) in terms.grants.iter().enumerate() {
        lines.push(format!("grant {number}"));
        lines.extend(self::grant(grant, known).into_iter().map(|line| format!("  {line}")));
    }
    for payment in &terms.payments {
        lines.push(format!("payment {:?}", payment.id.as_str()));
        lines.extend(self::payment(payment, known).into_iter().map(|line| format!("  {line}")));
    }
    lines.join("\n")
}

/// A value of an enum as JSON has it.
fn code(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn span(Span { from, until }: &Span) -> String {
    if *until == UtcMs::OPEN { format!("from {from}, no end") } else { format!("from {from} until {until}") }
}

fn percent(ppm: Ppm) -> String {
    let (whole, rest) = (ppm.get() / 10_000, ppm.get() % 10_000);
    if rest == 0 { format!("{whole} %") } else { format!("{whole}.{rest:04} %") }
}

/// Items with commas, or what none of them means.
fn list(items: impl IntoIterator<Item = impl Display>, none: &str) -> String {
    let text = commas(items);
    if text.is_empty() { none.to_owned() } else { text }
}

fn general(terms: &Terms, known: &Directory) -> Vec<String> {
    let parties = terms
        .parties
        .iter()
        .map(|party| format!("{} as {:?}", known.call_member(party.member), party.role.as_str()));
    let upstream = terms.upstream.iter().map(|grant| format!("grant {} of {}", grant.grant, grant.agreement));
    vec![
        format!("parties     {}", commas(parties)),
        format!("in force    {}", span(&terms.term)),
        format!("relies on   {}", list(upstream, "–")),
        format!("due         {} days after a statement", terms.due_days),
        format!("law of      {}", or_dash(terms.governing_law.as_ref())),
        format!("document    {}", or_dash(terms.document.as_ref())),
    ]
}

fn grant(grant: &Grant, known: &Directory) -> Vec<String> {
    let licensees = grant.licensees.iter().map(|member| known.call_member(*member));
    let reporter =
        grant.reporter.map_or_else(|| "the licensee itself".to_owned(), |member| known.call_member(member));
    let assets = grant.assets.iter().map(|granted| asset(granted, known));
    vec![
        format!("from        {}", known.call_member(grant.licensor)),
        format!("to          {}", list(licensees, "all other parties")),
        format!("on          {}", commas(assets)),
        format!("acts        {}", commas(&grant.acts)),
        format!("purposes    {}", list(&grant.purposes, "any")),
        format!("where       {}", territory(&grant.territory)),
        format!("when        {}", span(&grant.span)),
        format!("exclusivity {}", code(&grant.exclusivity)),
        format!("caps        {}", list(grant.caps.iter().map(cap), "none")),
        format!("owed by what is made from it: {}", royalty(grant.derivatives)),
        format!("reported by {reporter}"),
    ]
}

fn asset(granted: &GrantAsset, known: &Directory) -> String {
    let versions = granted.versions.iter().map(|version| known.call_version(*version));
    format!("{}, {}", known.call_asset(granted.asset), list(versions, "all versions"))
}

fn territory(Territory { world, include, exclude }: &Territory) -> String {
    let inside = if *world { "the world".to_owned() } else { commas(include) };
    if exclude.is_empty() { inside } else { format!("{inside}, without {}", commas(exclude)) }
}

fn cap(cap: &Cap) -> String {
    let over = if cap.per_period { "a month" } else { "in all" };
    let excess = match cap.on_excess {
        OnExcess::Rate => "more is charged and flagged",
        OnExcess::Block => "more is not licensed",
    };
    format!("{} {} {over} ({excess})", cap.quantity, cap.meter)
}

fn royalty(royalty: Royalty) -> String {
    match royalty {
        Royalty::None => "nothing".to_owned(),
        Royalty::Absolute(share) => format!("{} of the net revenue of every descendant", percent(share)),
        Royalty::Relative(share) => format!("{} of what each child receives", percent(share)),
    }
}

fn payment(payment: &Payment, known: &Directory) -> Vec<String> {
    let PaymentTerm { currency, price, multiplier, minimum, cap, advance, scope } = &payment.term;
    let amount = |minor: &Option<Minor>| {
        minor.map_or_else(|| "–".to_owned(), |minor| format!("{} {currency}", minor.amount(*currency)))
    };
    let over = match scope {
        Scope::Period => "each month",
        Scope::Lifetime => "all months together",
    };
    let multiplier = multiplier.as_ref().map_or_else(|| "–".to_owned(), |by| self::multiplier(by, known));
    vec![
        format!("payer       {}", known.call_member(payment.payer)),
        format!("for         grant {}, by {}", payment.grant, payment.meter),
        format!("price       {}", self::price(price, *currency)),
        format!("multiplier  {multiplier}"),
        format!("minimum     {}", amount(minimum)),
        format!("cap         {}", amount(cap)),
        format!("counted over {over}"),
        format!("advance     {}", amount(advance)),
    ]
}

fn rate(rate: Rate, currency: Currency) -> String {
    format!("{} {currency} per {}", Minor::new(rate.minor().into()).amount(currency), rate.per())
}

fn price(price: &Price, currency: Currency) -> String {
    match price {
        Price::Free => "free".to_owned(),
        Price::Flat(flat) => format!("{} a month, whatever is used", rate(*flat, currency)),
        Price::PerUnit(unit) => rate(*unit, currency),
        Price::Package(package) => format!("{} begun", rate(*package, currency)),
        Price::Tiered { mode, tiers } => {
            format!("{}, {}", code(mode), commas(tiers.iter().map(|step| tier(step, currency))))
        }
        Price::Revenue { share, base } => format!("{} of {}", percent(*share), revenue(*base)),
    }
}

fn tier(tier: &Tier, currency: Currency) -> String {
    match tier.up_to {
        Some(last) => format!("up to {last}: {}", rate(tier.rate, currency)),
        None => format!("beyond: {}", rate(tier.rate, currency)),
    }
}

fn revenue(base: RevenueBase) -> String {
    match base {
        RevenueBase::Gross => "gross revenue".to_owned(),
        RevenueBase::Net { deduction_cap: None } => "net revenue".to_owned(),
        RevenueBase::Net { deduction_cap: Some(cap) } => {
            format!("net revenue, deductions up to {} of gross", percent(cap))
        }
    }
}

fn multiplier(multiplier: &Multiplier, known: &Directory) -> String {
    let steps = multiplier.steps.iter().map(|step| format!("from {} × {}", step.from, percent(step.ppm)));
    let observers = multiplier.observers.iter().map(|member| known.call_member(*member));
    format!(
        "by {:?}: × {}, {}; {} of {} of {}",
        multiplier.metric,
        percent(multiplier.below),
        list(steps, "no steps"),
        code(&multiplier.aggregation),
        multiplier.quorum,
        list(observers, "nobody")
    )
}

#[cfg(test)]
mod tests {
    use super::super::sign::tests::version;
    use super::*;
    use crate::cli::names::tests::{directory, id};

    #[test]
    fn a_signer_is_told_everything() {
        let text = describe(&version(), &directory());
        let (asset, label) = (id(0x0a), id(0x1a));
        for expected in [
            "\"Aster for Birch\" — licence, version 1: proposed",
            "parties     Aster (0) as \"licensor\", Birch (1) as \"licensee\"",
            "in force    from 2026-10-01T00:00:00.000Z, no end",
            &format!("on          Corpus ({asset}), 1.0 ({label})"),
            "acts        infer, train",
            "purposes    any",
            "where       DE, FR",
            "caps        5000000 tokens a month (more is charged and flagged)",
            "owed by what is made from it: 5 % of what each child receives",
            "price       2.50 EUR per 1000000",
            "minimum     100.00 EUR",
            "cap         –",
        ] {
            assert!(text.contains(expected), "{expected} is not in:\n{text}");
        }
    }

    #[test]
    fn shares_are_exact() {
        assert_eq!(percent(Ppm::new(50_000)), "5 %");
        assert_eq!(percent(Ppm::new(1)), "0.0001 %");
        assert_eq!(percent(Ppm::new(1_250_000)), "125 %");
    }

    #[test]
    fn every_price_can_be_said() {
        let (eur, unit) = ("EUR".parse().expect("a currency"), Rate::new(250, 10).expect("a rate"));
        for (said, expected) in [
            (Price::Free, "free"),
            (Price::Flat(unit), "2.50 EUR per 10 a month, whatever is used"),
            (Price::Package(unit), "2.50 EUR per 10 begun"),
            (
                Price::Tiered {
                    mode: syngraph_protocol::ledger::royalty::terms::TierMode::Volume,
                    tiers: vec![Tier { up_to: Some(5), rate: unit }, Tier { up_to: None, rate: unit }],
                },
                "volume, up to 5: 2.50 EUR per 10, beyond: 2.50 EUR per 10",
            ),
            (
                Price::Revenue {
                    share: Ppm::new(100_000),
                    base: RevenueBase::Net { deduction_cap: Some(Ppm::ONE) },
                },
                "10 % of net revenue, deductions up to 100 % of gross",
            ),
        ] {
            assert_eq!(price(&said, eur), expected);
        }
    }
}
