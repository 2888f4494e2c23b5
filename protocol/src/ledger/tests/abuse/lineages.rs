//! Origins, royalties and those who own a share.

use super::*;

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
