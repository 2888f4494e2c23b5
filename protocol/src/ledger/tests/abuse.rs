//! What members could try against each other, and why it does not work.

use super::super::agreement::{Amend, Countersign, GrantRef, OnExcess, Propose, Royalty, terms::Cap};
use super::super::asset::AssetClass;
use super::super::lineage::{DeclareLineage, Parent, Relation};
use super::super::period::ClosePeriod;
use super::super::royalty::Price;
use super::super::*;
use super::{PAST, licensed, usage, use_it};
use crate::codes::{Act, Meter, Territory};
use crate::ledger::agreement::Terms;
use crate::money::{Micro, Ppm, Rate};
use crate::testing::*;
use crate::time::Month;

/// Proposes terms and lets the other party sign them.
fn agree(world: &mut World, proposer: u32, signer: u32, terms: Terms) -> Result<Id, String> {
    let terms_hash = terms.root(&SALT, None);
    let agreement = world.act(proposer, Deed::Propose(Propose { terms, salt: SALT, deadline: None }))?;
    world.act(signer, Deed::Countersign(Countersign { agreement, version: 1, terms_hash }))?;
    Ok(agreement)
}

/// Member `from` lets member `to` train on an asset, for a royalty.
fn training(from: u32, to: u32, asset: Id, royalty: Royalty) -> Terms {
    let mut terms = licence(asset);
    terms.parties[0].member = member(from.min(to));
    terms.parties[1].member = member(from.max(to));
    let grant = &mut terms.grants[0];
    (grant.licensor, grant.licensees) = (member(from), vec![member(to)]);
    grant.acts = vec![Act::new("train")];
    grant.derivatives = royalty;
    terms.payments.clear();
    terms
}

fn declare(child: Id, parent: Id, agreement: Option<Id>) -> Deed {
    let grant = agreement.map(|agreement| GrantRef { agreement, grant: 0 });
    let parent = Parent { version: parent, relation: Relation::TrainedOn, material: None, grant };
    Deed::DeclareLineage(DeclareLineage { child, parents: vec![parent] })
}

fn past_month() -> Month {
    Month::of(PAST).expect("a date")
}

fn shares(world: &World) -> Vec<(u32, i128)> {
    let shares = world.ledger.lines.iter().flat_map(|(_, line)| &line.shares);
    shares.map(|share| (share.member.get(), share.micros.get())).collect()
}

#[test]
fn stating_a_context_twice_does_not_double_a_cap() {
    let mut world = World::new();
    let (asset, version) = world.model();
    let mut terms = licence(asset);
    let cap =
        Cap { meter: Meter::new("tokens"), quantity: 100, per_period: true, on_excess: OnExcess::Block };
    terms.grants[0].caps = vec![Cap { per_period: false, quantity: 150, ..cap.clone() }, cap];
    let agreement = agree(&mut world, 0, 2, terms).expect("agreed");
    let mut report = report(agreement, version, &[(PAST, 0, 90), (PAST, 1, 90), (PAST, 2, 90)]);
    let context = report.contexts[0].clone();
    report.contexts.push(context.clone());
    report.contexts.push(crate::ledger::usage::UsageContext { meter: Meter::new("tokens.in"), ..context });
    (report.rows[1].context, report.rows[2].context) = (1, 2);
    assert_eq!(use_it(&mut world, 2, report), usage(1, 2, &[]));
    // The total is counted over months: 90 here, so 61 more are too many and 60 are not.
    let later = PAST.plus_ms(31 * crate::time::DAY_MS);
    for (number, quantity, expected) in [(3, 61, usage(0, 1, &[])), (4, 60, usage(1, 0, &[]))] {
        let row = crate::testing::report(agreement, version, &[(later, number, quantity)]);
        assert_eq!(use_it(&mut world, 2, row), expected);
    }
}

#[test]
fn a_meter_never_overflows_however_its_contexts_are_cut() {
    let mut world = World::new();
    let (agreement, version) = licensed(&mut world);
    let mut report = report(agreement, version, &[(PAST, 0, u64::MAX), (PAST, 1, 1)]);
    report.contexts.push(report.contexts[0].clone());
    report.rows[1].context = 1;
    assert_eq!(use_it(&mut world, 2, report), usage(1, 0, &[("USE-OVERFLOW", &[1])]));
}

#[test]
fn a_back_dated_amendment_leaves_sealed_use_to_its_version() {
    let mut world = World::new();
    let (agreement, version) = licensed(&mut world);
    use_it(&mut world, 2, report(agreement, version, &[(PAST, 0, 1_000_000)]));
    let first = world.ledger.terms.get(&(agreement, 1)).expect("version 1").clone();
    let mut terms = first.terms.clone();
    // From before the use on, at ten times the price.
    terms.payments[0].term.price = Price::PerUnit(Rate::new(2_500, 1_000_000).expect("a rate"));
    let previous = first.terms_hash;
    let terms_hash = terms.root(&SALT, Some(&previous));
    let amend = Amend { agreement, previous, terms, salt: SALT, deadline: None };
    world.act(0, Deed::Amend(amend)).expect("proposed");
    world.act(2, Deed::Countersign(Countersign { agreement, version: 2, terms_hash })).expect("signed");
    use_it(&mut world, 2, report(agreement, version, &[(PAST, 1, 1_000_000)]));
    world.act(0, Deed::ClosePeriod(ClosePeriod { month: past_month() })).expect("closes");
    let (_, line) = world.ledger.lines.iter().next().expect("one line");
    assert_eq!((line.quantity, line.charge), (2_000_000, Micro::new((250 + 2_500) * 1_000_000)));
}

#[test]
fn an_amendment_keeps_what_a_line_is() {
    let mut world = World::new();
    let (agreement, _) = licensed(&mut world);
    let first = world.ledger.terms.get(&(agreement, 1)).expect("version 1").clone();
    let mut terms = first.terms.clone();
    terms.payments[0].term.currency = "JPY".parse().expect("a currency");
    let amend = Amend { agreement, previous: first.terms_hash, terms, salt: SALT, deadline: None };
    assert_eq!(world.act(0, Deed::Amend(amend)), Err("AGR-TERM-PINNED".into()));
}

#[test]
fn an_absurd_price_holds_its_own_line_only() {
    let mut world = World::new();
    let (asset, version) = world.model();
    let mut absurd = licence(asset);
    absurd.payments[0].term.price = Price::PerUnit(Rate::new(u64::MAX, 1).expect("a rate"));
    let absurd = agree(&mut world, 0, 2, absurd).expect("agreed");
    let fair = agree(&mut world, 0, 2, licence(asset)).expect("agreed");
    use_it(&mut world, 2, report(absurd, version, &[(PAST, 0, u64::MAX)]));
    use_it(&mut world, 2, report(fair, version, &[(PAST, 1, 1_000_000)]));
    world.act(0, Deed::ClosePeriod(ClosePeriod { month: past_month() })).expect("closes");
    let held: Vec<_> = world.ledger.lines.iter().map(|(key, line)| (key.1, line.held.clone())).collect();
    assert!(held.contains(&(absurd, Some("MONEY-RANGE".into()))) && held.contains(&(fair, None)));
    assert!(world.ledger.findings.iter().any(|(_, finding)| finding.rule == "LINE-HELD"));
    assert_eq!(shares(&world), [(0, 250_000_000)]);
}

#[test]
fn nobody_licenses_what_is_not_theirs() {
    let mut world = World::new();
    let (asset, version) = world.model();
    let mut terms = training(1, 2, asset, Royalty::None);
    terms.upstream = vec![GrantRef { agreement: Id::from_bytes([9; 32]), grant: 0 }];
    assert_eq!(agree(&mut world, 1, 2, terms.clone()), Err("AGR-NOT-OWNER".into()));

    // A grant without the right to sublicense is not enough; one with it is.
    let plain = agree(&mut world, 0, 1, training(0, 1, asset, Royalty::None)).expect("agreed");
    terms.upstream = vec![GrantRef { agreement: plain, grant: 0 }];
    assert_eq!(agree(&mut world, 1, 2, terms.clone()), Err("AGR-NOT-OWNER".into()));
    let mut sublicensable = training(0, 1, asset, Royalty::None);
    sublicensable.grants[0].acts = vec![Act::new("sublicense"), Act::new("train")];
    let upstream = agree(&mut world, 0, 1, sublicensable).expect("agreed");
    terms.upstream = vec![GrantRef { agreement: upstream, grant: 0 }];
    agree(&mut world, 1, 2, terms).expect("may sublicense");

    let unknown = report(plain, Id::from_bytes([8; 32]), &[(PAST, 0, 1)]);
    assert_eq!(use_it(&mut world, 1, unknown), usage(0, 0, &[("USE-PAYER", &[0])]));
    let mut unknown = report(plain, Id::from_bytes([8; 32]), &[(PAST, 0, 1)]);
    unknown.contexts[0].payer = member(1);
    assert_eq!(use_it(&mut world, 1, unknown), usage(0, 0, &[("USE-VERSION", &[0])]));
    let _ = version;
}

#[test]
fn a_grant_to_all_parties_is_not_one_to_strangers() {
    let mut world = World::new();
    let (data, data_version) = world.asset(1, AssetClass::Dataset, "D1");
    let mut terms = training(1, 0, data, Royalty::None);
    terms.grants[0].licensees.clear();
    let agreement = agree(&mut world, 1, 0, terms).expect("agreed");
    let (_, stranger) = world.asset(2, AssetClass::Model, "M2");
    assert_eq!(world.act(2, declare(stranger, data_version, Some(agreement))), Err("LIN-GRANT".into()));
    let (_, ours) = world.model();
    world.act(0, declare(ours, data_version, Some(agreement))).expect("a party");
}

#[test]
fn an_absolute_royalty_reaches_through_links_that_owe_nothing() {
    let mut world = World::new();
    let (origin, origin_version) = world.asset(1, AssetClass::Dataset, "D1");
    let (_, middle) = world.asset(0, AssetClass::Dataset, "D2");
    let half = Royalty::Absolute(Ppm::new(500_000));
    let upstream = agree(&mut world, 1, 0, training(1, 0, origin, half)).expect("agreed");
    world.act(0, declare(middle, origin_version, Some(upstream))).expect("declared");
    let (agreement, version) = licensed(&mut world);
    world.act(0, declare(version, middle, None)).expect("its own data");
    use_it(&mut world, 2, report(agreement, version, &[(PAST, 0, 1_000_000)]));
    world.act(0, Deed::ClosePeriod(ClosePeriod { month: past_month() })).expect("closes");
    assert_eq!(shares(&world), [(0, 125_000_000), (1, 125_000_000)]);
}

#[test]
fn a_parent_cannot_charge_those_who_already_built_on_it() {
    let mut world = World::new();
    let (_, parent) = world.asset(1, AssetClass::Dataset, "D1");
    let (late, late_version) = world.asset(2, AssetClass::Dataset, "D9");
    let (_, child) = world.model();
    world.act(0, declare(child, parent, None)).expect("declared");
    let greedy = Royalty::Absolute(Ppm::new(900_000));
    let colluding = agree(&mut world, 2, 1, training(2, 1, late, greedy)).expect("agreed");
    let declared = world.act(1, declare(parent, late_version, Some(colluding)));
    assert_eq!(declared, Err("LIN-DESCENDANTS".into()));
    // Sharing what it receives itself is its own business.
    let modest =
        agree(&mut world, 2, 1, training(2, 1, late, Royalty::Relative(Ppm::new(10)))).expect("agreed");
    world.act(1, declare(parent, late_version, Some(modest))).expect("its own money");
}

#[test]
fn royalties_above_all_that_is_earned_are_refused_when_declared() {
    let mut world = World::new();
    let (data, data_version) = world.asset(1, AssetClass::Dataset, "D1");
    let (more, more_version) = world.asset(2, AssetClass::Dataset, "D2");
    let (_, child) = world.model();
    for (number, asset, version, expected) in
        [(1, data, data_version, Ok(())), (2, more, more_version, Err("LIN-STACK".to_owned()))]
    {
        let most = Royalty::Relative(Ppm::new(600_000));
        let grant = agree(&mut world, number, 0, training(number, 0, asset, most)).expect("agreed");
        assert_eq!(world.act(0, declare(child, version, Some(grant))).map(|_| ()), expected);
    }
}

#[test]
fn use_sealed_after_its_month_is_closed_is_found() {
    let mut world = World::new();
    let (agreement, version) = licensed(&mut world);
    world.act(0, Deed::ClosePeriod(ClosePeriod { month: past_month() })).expect("closes");
    use_it(&mut world, 2, report(agreement, version, &[(PAST, 0, 7)]));
    let (_, finding) = world.ledger.findings.iter().next().expect("a finding");
    assert_eq!((finding.rule.as_str(), finding.rows, finding.quantity), ("USE-AFTER-CLOSE", 1, 7));
}

#[test]
fn a_place_outside_by_its_group_is_outside() {
    let mut world = World::new();
    let (asset, version) = world.model();
    let mut terms = licence(asset);
    let eu = crate::codes::Place::new("EU");
    terms.grants[0].territory = Territory { world: true, include: Vec::new(), exclude: vec![eu] };
    let agreement = agree(&mut world, 0, 2, terms).expect("agreed");
    let mut usage_in = |place: &str, number| {
        let mut report = report(agreement, version, &[(PAST, number, 1)]);
        report.contexts[0].territory = crate::codes::Place::new(place);
        use_it(&mut world, 2, report)
    };
    assert_eq!(usage_in("EEA", 0), usage(0, 1, &[]), "a part of the EEA is excluded");
    assert_eq!(usage_in("JP", 1), usage(1, 0, &[]));
}
