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
