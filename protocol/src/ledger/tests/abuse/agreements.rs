//! Terms, amendments and what they rely on.

use super::*;

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
    agree(&mut world, 1, 2, terms.clone()).expect("may sublicense");

    let unknown = report(plain, Id::from_bytes([8; 32]), &[(PAST, 0, 1)]);
    assert_eq!(use_it(&mut world, 1, unknown), usage(0, 0, &[("USE-PAYER", &[0])]));
    let mut unknown = report(plain, Id::from_bytes([8; 32]), &[(PAST, 0, 1)]);
    unknown.contexts[0].payer = member(1);
    assert_eq!(use_it(&mut world, 1, unknown), usage(0, 0, &[("USE-VERSION", &[0])]));
    let _ = version;
}

#[test]
fn a_payment_term_that_was_away_comes_back_as_it_was() {
    let mut world = World::new();
    let (agreement, _) = licensed(&mut world);
    let kept = licence(agreement).payments.remove(0);
    amend(&mut world, agreement, |terms| terms.payments.clear()).expect("without it");
    let mut other = kept.clone();
    other.meter = Meter::new("calls");
    let changed = amend(&mut world, agreement, |terms| terms.payments.push(other));
    assert_eq!(changed, Err("AGR-TERM-PINNED".into()));
    amend(&mut world, agreement, |terms| terms.payments.push(kept)).expect("as it was");
}

#[test]
fn what_was_never_signed_pins_nothing() {
    let mut world = World::new();
    let (agreement, _) = licensed(&mut world);
    let first = world.ledger.terms.get(&(agreement, 1)).expect("version 1").clone();
    let (mut terms, previous) = (first.terms, first.terms_hash);
    terms.payments[0].id = crate::name::Name::new("calls");
    let deadline = Some(world.time.plus_ms(2_000));
    world.act(0, Deed::Amend(Amend { agreement, previous, terms, salt: SALT, deadline })).expect("proposed");
    world.block(vec![]);
    world.block(vec![]);
    amend(&mut world, agreement, |terms| {
        terms.payments[0].id = crate::name::Name::new("calls");
        terms.payments[0].meter = Meter::new("calls");
    })
    .expect("the other version lapsed");
}

/// Aster lets Birch infer and sublicense; Birch lets Cedar infer, as `change` has it.
fn sublicence(world: &mut World, change: impl FnOnce(&mut Terms)) -> (Id, Id, Result<Id, String>) {
    let (asset, version) = world.model();
    let mut upstream = training(0, 1, asset, Royalty::None);
    upstream.grants[0].acts = vec![Act::new("infer.service"), Act::new("sublicense")];
    upstream.grants[0].purposes = vec![Purpose::new("commercial")];
    let upstream = agree(world, 0, 1, upstream).expect("agreed");
    let mut terms = training(1, 2, asset, Royalty::None);
    terms.grants[0].acts = vec![Act::new("infer.service")];
    terms.grants[0].purposes = vec![Purpose::new("commercial.product")];
    terms.upstream = vec![GrantRef { agreement: upstream, grant: 0 }];
    change(&mut terms);
    (upstream, version, agree(world, 1, 2, terms))
}

#[test]
fn a_sublicence_never_exceeds_what_it_relies_on() {
    type Change = fn(&mut Terms);
    let changes: [(Change, Result<(), &str>); 6] = [
        (|_| {}, Ok(())),
        (|terms| terms.grants[0].acts = vec![Act::new("infer")], Err("AGR-SUB-EXCEEDS")),
        (|terms| terms.grants[0].purposes.clear(), Err("AGR-SUB-EXCEEDS")),
        (|terms| terms.grants[0].territory = Territory::world(), Err("AGR-SUB-EXCEEDS")),
        (|terms| terms.grants[0].territory.exclude = vec![Place::new("FR")], Ok(())),
        (
            |terms| {
                terms.term.from = terms.term.from.minus_ms(1);
                terms.grants[0].span.from = terms.term.from;
            },
            Err("AGR-SUB-EXCEEDS"),
        ),
    ];
    for (change, expected) in changes {
        let (_, _, agreed) = sublicence(&mut World::new(), change);
        assert_eq!(agreed.map(|_| ()), expected.map_err(str::to_owned));
    }
}

#[test]
fn a_sublicence_ends_with_what_it_relies_on() {
    let mut world = World::new();
    let (upstream, version, sublicence) = sublicence(&mut world, |_| {});
    let sublicence = sublicence.expect("agreed");
    let use_at =
        |world: &mut World, at, number| use_it(world, 2, report(sublicence, version, &[(at, number, 1)]));
    assert_eq!(use_at(&mut world, PAST, 0), usage(1, 0, &[]));
    // Aster and Birch end the right to sublicense from a moment on.
    let ends = PAST.plus_ms(DAY_MS);
    let before = world.ledger.terms.get(&(upstream, 1)).expect("version 1").clone();
    let (mut terms, previous) = (before.terms, before.terms_hash);
    (terms.term.from, terms.grants[0].span.from) = (ends, ends);
    terms.grants[0].acts = vec![Act::new("infer.service")];
    let terms_hash = terms.root(&SALT, Some(&previous));
    let amend = Amend { agreement: upstream, previous, terms, salt: SALT, deadline: None };
    world.act(0, Deed::Amend(amend)).expect("proposed");
    let sign = Countersign { agreement: upstream, version: 2, terms_hash };
    world.act(1, Deed::Countersign(sign)).expect("signed");
    assert_eq!(use_at(&mut world, ends.minus_ms(1), 1), usage(1, 0, &[]));
    assert_eq!(use_at(&mut world, ends, 2), usage(0, 1, &[]));
    let both = report(sublicence, version, &[(ends, 3, 1), (PAST, 4, 1), (ends, 5, 1)]);
    assert_eq!(use_it(&mut world, 2, both), usage(1, 2, &[]), "in one report as well");
}

#[test]
fn what_a_sublicence_relies_on_is_there_when_the_last_one_signs() {
    let mut world = World::new();
    let (asset, _) = world.model();
    let mut upstream = training(0, 1, asset, Royalty::None);
    upstream.grants[0].acts = vec![Act::new("sublicense"), Act::new("train")];
    upstream.term.until = world.time.plus_ms(10_000);
    upstream.grants[0].span.until = upstream.term.until;
    let upstream = agree(&mut world, 0, 1, upstream.clone()).expect("agreed");
    let mut terms = training(1, 2, asset, Royalty::None);
    terms.upstream = vec![GrantRef { agreement: upstream, grant: 0 }];
    assert_eq!(agree(&mut world, 1, 2, terms.clone()), Err("AGR-SUB-EXCEEDS".into()));
    terms.grants[0].span.until = world.time.plus_ms(5_000);
    let terms_hash = terms.root(&SALT, None);
    let propose = Propose { terms, salt: SALT, deadline: None };
    let agreement = world.act(1, Deed::Propose(propose)).expect("proposed");
    world.time = world.time.plus_ms(60_000);
    let sign = Countersign { agreement, version: 1, terms_hash };
    assert_eq!(world.act(2, Deed::Countersign(sign)), Err("AGR-NOT-OWNER".into()));
}

#[test]
fn no_proposal_keeps_others_out_for_ever() {
    for deadline in [None, Some(UtcMs::OPEN)] {
        let mut world = World::new();
        let (agreement, _) = licensed(&mut world);
        let first = world.ledger.terms.get(&(agreement, 1)).expect("version 1").clone();
        let (terms, previous) = (first.terms, first.terms_hash);
        world
            .act(2, Deed::Amend(Amend { agreement, previous, terms, salt: SALT, deadline }))
            .expect("proposed");
        assert_eq!(amend(&mut world, agreement, |terms| terms.due_days = 1), Err("AGR-PENDING".into()));
        world.time = world.time.plus_ms(crate::limits::PROPOSAL_MS_MAX);
        amend(&mut world, agreement, |terms| terms.due_days = 1).expect("the other lapsed");
    }
}
