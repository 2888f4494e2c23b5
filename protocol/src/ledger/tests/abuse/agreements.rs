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
    agree(&mut world, 1, 2, terms).expect("may sublicense");

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
