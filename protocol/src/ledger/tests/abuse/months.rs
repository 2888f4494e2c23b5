//! Months, lines and charges.

use super::*;

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
fn nobody_escapes_a_charge_by_making_it_absurd() {
    let mut world = World::new();
    let (asset, version) = world.model();
    let mut absurd = licence(asset);
    absurd.payments[0].term.price = Price::PerUnit(Rate::new(u64::MAX, 1).expect("a rate"));
    let absurd = agree(&mut world, 0, 2, absurd).expect("agreed");
    let fair = agree(&mut world, 0, 2, licence(asset)).expect("agreed");
    use_it(&mut world, 2, report(absurd, version, &[(PAST, 0, u64::MAX)]));
    use_it(&mut world, 2, report(fair, version, &[(PAST, 1, 1_000_000)]));
    close(&mut world, past_month()).expect("closes");
    let most = crate::limits::LINE_CHARGE_MINOR_MAX * 1_000_000;
    for (agreement, charge) in [(absurd, most), (fair, 250_000_000)] {
        let (_, line) = world.ledger.lines.iter().find(|(key, _)| key.1 == agreement).expect("a line");
        assert_eq!((line.charge.get(), &line.held), (charge, &None));
    }
    assert_eq!(found(&world), ["LINE-CHARGE-MAX"]);
}

#[test]
fn a_line_of_too_many_versions_is_charged_all_the_same() {
    let mut world = World::new();
    let (asset, version) = world.model();
    let published = world.ledger.versions.get(&version).expect("published").clone();
    for number in 0..1_100_u16 {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&number.to_be_bytes());
        world.ledger.publish(Id::from_bytes(id), published.clone());
    }
    let mut terms = licence(asset);
    terms.payments[0].term.price = Price::Flat(Rate::new(100, 1).expect("a rate"));
    (terms.term.from, terms.grants[0].span.from) = (PAST, PAST);
    agree(&mut world, 0, 2, terms).expect("agreed");
    close(&mut world, past_month()).expect("closes");
    let (_, line) = world.ledger.lines.iter().next().expect("one line");
    assert_eq!((line.versions.len(), &line.held), (crate::limits::LINE_VERSIONS_MAX, &None));
    assert!(line.charge > Micro::ZERO);
    assert_eq!(shares(&world), [(0, line.charge.get())]);
    assert_eq!(found(&world), ["LINE-VERSIONS"]);
}

#[test]
fn an_amendment_bounds_the_next_month_not_the_one_that_was_used() {
    let mut world = World::new();
    let (agreement, version) = licensed(&mut world);
    let (last, later) = (UtcMs::parse("2026-07-31T23:59:59.999Z"), PAST.plus_ms(31 * DAY_MS));
    use_it(&mut world, 2, report(agreement, version, &[(PAST, 0, 1_000_000), (later, 1, 1_000_000)]));
    amend(&mut world, agreement, |terms| {
        let from = last.expect("a moment");
        (terms.term.from, terms.grants[0].span.from) = (from, from);
        terms.payments[0].term.cap = Some(Minor::new(0));
    })
    .expect("signed");
    use_it(&mut world, 2, report(agreement, version, &[(later, 2, 1_000_000)]));
    let next = later.plus_ms(31 * DAY_MS);
    world.time = next.plus_ms(40 * DAY_MS);
    use_it(&mut world, 2, report(agreement, version, &[(next, 3, 1_000_000)]));
    for month in [past_month(), past_month().next(), past_month().next().next()] {
        close(&mut world, month).expect("closes");
    }
    let charges: Vec<_> = world.ledger.lines.iter().map(|(_, line)| line.charge.get()).collect();
    assert_eq!(
        charges,
        [250_000_000, 500_000_000, 0],
        "what was used under the old terms keeps their bounds"
    );
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
fn months_are_closed_in_order() {
    let mut world = World::new();
    let (asset, version) = world.model();
    let mut terms = licence(asset);
    terms.term = crate::time::Span { from: PAST, until: START.plus_ms(DAY_MS) };
    terms.grants[0].span = terms.term;
    let month = past_month();
    (terms.payments[0].term.minimum, terms.payments[0].term.scope) = (Some(Minor::new(250)), Scope::Lifetime);
    let agreement = agree(&mut world, 0, 2, terms).expect("agreed");
    use_it(&mut world, 2, report(agreement, version, &[(PAST, 0, 1_000_000)]));
    // The minimum of the whole term falls due in its last month. Charged first, it would
    // stand beside what the months before cost.
    world.time = START.plus_ms(40 * DAY_MS);
    let (august, september) = (month.next(), month.next().next());
    assert_eq!(close(&mut world, september), Err("PER-ORDER".into()));
    for month in [month, august, september] {
        close(&mut world, month).expect("in order");
        assert_eq!(world.ledger.open_month(), month.next());
    }
    let charges: Vec<_> = world.ledger.lines.iter().map(|(_, line)| line.charge.get()).collect();
    assert_eq!(charges, [250_000_000, 0, 0]);
    assert_eq!(close(&mut world, month), Err("PER-CLOSED".into()));
}

#[test]
fn a_month_that_was_left_out_stays_closed() {
    let mut world = World::new();
    let (agreement, version) = licensed(&mut world);
    let month = past_month();
    close(&mut world, month.next()).expect("nothing was used before");
    assert_eq!(world.ledger.open_month(), month.next().next());
    assert_eq!(close(&mut world, month), Err("PER-ORDER".into()));
    use_it(&mut world, 2, report(agreement, version, &[(PAST, 0, 7)]));
    assert_eq!(found(&world), ["USE-AFTER-CLOSE"]);
}

#[test]
fn what_is_owed_without_use_is_not_left_out() {
    let flat = Price::Flat(Rate::new(100, 1).expect("a rate"));
    for (price, minimum) in [(flat, None), (Price::Free, Some(Minor::new(5)))] {
        let mut world = World::new();
        let (asset, _) = world.model();
        let mut terms = licence(asset);
        (terms.payments[0].term.price, terms.payments[0].term.minimum) = (price, minimum);
        agree(&mut world, 0, 2, terms).expect("agreed");
        assert_eq!(close(&mut world, past_month()), Err("PER-ORDER".into()));
        let first = Month::of(START.minus_ms(100 * DAY_MS)).expect("a date");
        close(&mut world, first).expect("before it, nothing was in force");
    }
}
