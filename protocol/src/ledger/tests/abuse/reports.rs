//! Rows, caps and reporters.

use super::*;

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

#[test]
fn a_payer_cannot_shut_out_the_rows_of_the_licensor() {
    let mut world = World::new();
    let (agreement, version) = licensed(&mut world);
    let all = report(agreement, version, &[(PAST, 0, u64::MAX)]);
    assert_eq!(use_it(&mut world, 2, all), usage(1, 0, &[]));
    let check = report(agreement, version, &[(PAST, 0, 70), (PAST, 1, u64::MAX)]);
    assert_eq!(use_it(&mut world, 0, check), usage(2, 0, &[]));
    // Nor the other way round.
    let later = PAST.plus_ms(31 * crate::time::DAY_MS);
    let check = report(agreement, version, &[(later, 2, u64::MAX)]);
    assert_eq!(use_it(&mut world, 0, check), usage(1, 0, &[]));
    let used = report(agreement, version, &[(later, 3, 5)]);
    assert_eq!(use_it(&mut world, 2, used), usage(1, 0, &[]));
    let (_, metered) = world.ledger.meters.iter().next().expect("a reading");
    assert_eq!((metered.rated, metered.counter, metered.rows), (u64::MAX, u64::MAX, 3));
}

#[test]
fn caps_that_share_a_counter_count_a_row_once() {
    let mut world = World::new();
    let (asset, version) = world.model();
    let mut terms = licence(asset);
    let cap = |quantity, per_period| {
        let meter = Meter::new("tokens");
        Cap { meter, quantity, per_period, on_excess: OnExcess::Block }
    };
    terms.grants[0].caps = vec![cap(100, true), cap(1_000, false), cap(100, true)];
    let agreement = agree(&mut world, 0, 2, terms).expect("agreed");
    let exactly = report(agreement, version, &[(PAST, 0, 60), (PAST, 1, 40), (PAST, 2, 1)]);
    assert_eq!(use_it(&mut world, 2, exactly), usage(2, 1, &[]));
}

#[test]
fn use_on_a_meter_without_a_price_is_found() {
    let mut world = World::new();
    let (asset, version) = world.model();
    let mut terms = licence(asset);
    let flat = |id: &str, price| {
        let mut payment = licence(asset).payments.remove(0);
        (payment.id, payment.meter, payment.term.price) =
            (crate::name::Name::new(id), Meter::new("seats"), price);
        payment
    };
    let rate = Rate::new(100, 1).expect("a rate");
    terms.payments.push(flat("seats", Price::Flat(rate)));
    let agreement = agree(&mut world, 0, 2, terms.clone()).expect("agreed");
    let on = |meter: &str, number| {
        let mut report = report(agreement, version, &[(PAST, number, 9)]);
        report.contexts[0].meter = Meter::new(meter);
        report
    };
    for (meter, number, rules) in [
        ("tokens.in", 0, &[][..]),
        ("seats", 1, &[]),
        ("calls", 2, &["USE-UNPRICED"]),
        ("calls", 3, &["USE-UNPRICED"]),
    ] {
        assert_eq!(use_it(&mut world, 2, on(meter, number)), usage(1, 0, &[]));
        assert_eq!(found(&world), rules);
    }
    let (_, finding) = world.ledger.findings.iter().next().expect("a finding");
    assert_eq!((finding.severity, finding.rows, finding.quantity), (finding::Severity::W, 2, 18));

    // One price for everything, or none at all, leaves nothing unpriced.
    let mut world = World::new();
    let (asset, version) = world.model();
    for (number, payments) in [(0, vec![flat("seats", Price::Flat(rate))]), (1, Vec::new())] {
        let agreement = agree(&mut world, 0, 2, Terms { payments, ..licence(asset) }).expect("agreed");
        let row = report(agreement, version, &[(PAST, number, 9)]);
        assert_eq!(use_it(&mut world, 2, row), usage(1, 0, &[]));
    }
    assert!(found(&world).is_empty());
}

#[test]
fn nobody_is_blamed_by_what_it_never_signed() {
    let mut world = World::new();
    let (asset, version) = world.model();
    // Cedar proposes that Aster licenses it, and that Birch pays for it all.
    let mut terms = licence(asset);
    let party =
        |number| agreement::terms::Party { member: member(number), role: crate::name::Name::new("party") };
    terms.parties = [0, 1, 2].map(party).to_vec();
    (terms.grants[0].licensees, terms.grants[0].reporter) = (vec![member(1), member(2)], Some(member(2)));
    let propose = Propose { terms, salt: SALT, deadline: None };
    let unsigned = world.act(2, Deed::Propose(propose)).expect("proposed");
    let mut blame = report(unsigned, version, &[(PAST, 0, 1_000)]);
    blame.contexts[0].payer = member(1);
    assert_eq!(use_it(&mut world, 2, blame), usage(0, 0, &[("USE-PAYER", &[0])]));
    assert!(found(&world).is_empty());
    // Its own use it may own up to; that marks nothing of Aster's.
    let own = report(unsigned, version, &[(PAST, 1, 1_000)]);
    assert_eq!(use_it(&mut world, 2, own), usage(0, 1, &[]));
    assert_eq!(found(&world), ["USE-UNLICENSED"]);
    assert!(!world.ledger.versions.get(&version).expect("published").metered);
}
