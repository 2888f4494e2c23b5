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
    let (data, parent) = world.asset(1, AssetClass::Dataset, "D1");
    let (late, late_version) = world.asset(2, AssetClass::Dataset, "D9");
    let (_, child) = world.model();
    let free = agree(&mut world, 1, 0, training(1, 0, data, Royalty::None)).expect("agreed");
    world.act(0, declare(child, parent, Some(free))).expect("declared");
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

/// Member 0's model with owners, all of whom agreed.
fn owned(world: &mut World, owners: &[(u32, u64)]) -> (Id, Id) {
    let (asset, version) = world.model();
    let owner =
        |&(number, weight): &(u32, u64)| Owner { member: member(number), weight: Weight::new(weight) };
    let split = SetSplit { asset, owners: owners.iter().map(owner).collect() };
    let proposal = world.act(0, Deed::SetSplit(split)).expect("proposed");
    for (number, _) in owners.iter().filter(|(number, _)| *number != 0) {
        world.act(*number, approve(proposal)).expect("approved");
    }
    (asset, version)
}

fn approve(proposal: Id) -> Deed {
    Deed::Approve(proposal::Approve { proposal })
}

#[test]
fn owners_approve_the_royalties_that_their_share_pays() {
    let mut world = World::new();
    let (data, origin) = world.asset(1, AssetClass::Dataset, "D1");
    let (_, child) = owned(&mut world, &[(0, 1), (2, 1)]);
    let tenth = Royalty::Relative(Ppm::new(100_000));
    let grant = agree(&mut world, 1, 0, training(1, 0, data, tenth)).expect("agreed");
    let declared = world.act(0, declare(child, origin, Some(grant))).expect("proposed");
    assert!(world.ledger.lineage.is_empty(), "member 2 owns a half");
    assert_eq!(world.act(1, approve(declared)), Err("PRO-NO-SAY".into()));
    world.act(2, approve(declared)).expect("approved");
    let (_, link) = world.ledger.lineage.iter().next().expect("declared");
    assert_eq!((link.royalty, link.from), (tenth, None), "nobody ever paid for it");
    assert_eq!(world.act(2, approve(declared)), Err("PRO-DONE".into()));
}

#[test]
fn what_was_approved_is_what_holds() {
    let mut world = World::new();
    let (data, origin) = world.asset(1, AssetClass::Dataset, "D1");
    let (_, child) = owned(&mut world, &[(0, 1), (2, 1)]);
    let mut terms = training(1, 0, data, Royalty::Relative(Ppm::new(100_000)));
    let grant = agree(&mut world, 1, 0, terms.clone()).expect("agreed");
    let declared = world.act(0, declare(child, origin, Some(grant))).expect("proposed");
    // The controller and its friend amend the terms before the co-owner approves.
    let previous = world.ledger.terms.get(&(grant, 1)).expect("version 1").terms_hash;
    terms.grants[0].derivatives = Royalty::Relative(Ppm::new(900_000));
    let terms_hash = terms.root(&SALT, Some(&previous));
    let amend = Amend { agreement: grant, previous, terms, salt: SALT, deadline: None };
    world.act(1, Deed::Amend(amend)).expect("proposed");
    let sign = Countersign { agreement: grant, version: 2, terms_hash };
    world.act(0, Deed::Countersign(sign)).expect("signed");
    assert_eq!(world.act(2, approve(declared)), Err("LIN-CHANGED".into()));
    assert!(world.ledger.lineage.is_empty());
}

#[test]
fn an_absolute_royalty_needs_those_whose_share_it_comes_before() {
    let mut world = World::new();
    let (data, origin) = world.asset(1, AssetClass::Dataset, "D1");
    let (late, late_version) = world.asset(2, AssetClass::Dataset, "D2");
    let (_, child) = world.model();
    let tenth = Royalty::Relative(Ppm::new(100_000));
    let first = agree(&mut world, 1, 0, training(1, 0, data, tenth)).expect("agreed");
    world.act(0, declare(child, origin, Some(first))).expect("its own money");
    // Nine tenths for a friend leave Birch a tenth of a tenth.
    let most = Royalty::Absolute(Ppm::new(900_000));
    let friend = agree(&mut world, 2, 0, training(2, 0, late, most)).expect("agreed");
    let declared = world.act(0, declare(child, late_version, Some(friend))).expect("proposed");
    assert!(!world.ledger.lineage.contains(&(child, late_version)));
    world.act(1, approve(declared)).expect("Birch agrees");
    assert!(world.ledger.lineage.contains(&(child, late_version)));
}

#[test]
fn royalties_on_what_was_charged_for_count_from_the_next_month() {
    let mut world = World::new();
    let (data, origin) = world.asset(1, AssetClass::Dataset, "D1");
    let (agreement, child) = licensed(&mut world);
    use_it(&mut world, 2, report(agreement, child, &[(PAST, 0, 1_000_000)]));
    let half = Royalty::Relative(Ppm::new(500_000));
    let grant = agree(&mut world, 1, 0, training(1, 0, data, half)).expect("agreed");
    world.act(0, declare(child, origin, Some(grant))).expect("its own money");
    close(&mut world, past_month()).expect("closes");
    assert_eq!(shares(&world), [(0, 250_000_000)]);
}

#[test]
fn a_stranger_that_names_a_parent_burdens_nobody() {
    let mut world = World::new();
    let (_, child) = world.model();
    let (data, origin) = world.asset(1, AssetClass::Dataset, "D1");
    // Cedar states that its version came from Aster's: true or not, nobody licensed it.
    let (_, stranger) = world.asset(2, AssetClass::Model, "M9");
    world.act(2, declare(stranger, child, None)).expect("a statement");
    let absolute = Royalty::Absolute(Ppm::new(100_000));
    let grant = agree(&mut world, 1, 0, training(1, 0, data, absolute)).expect("agreed");
    world.act(0, declare(child, origin, Some(grant))).expect("nobody relies on the child");
    assert_eq!(lineage::closure(&world.ledger, past_month(), [stranger]), []);
    assert_eq!(world.act(0, declare(child, origin, None)), Err("LIN-DECLARED".into()));
    // A grant makes a link of the statement.
    let asset = world.ledger.versions.get(&child).expect("published").published.asset;
    let grant = agree(&mut world, 0, 2, training(0, 2, asset, Royalty::None)).expect("agreed");
    world.act(2, declare(stranger, child, Some(grant))).expect("licensed now");
    assert_eq!(lineage::closure(&world.ledger, past_month(), [stranger]).len(), 2);
}

#[test]
fn a_member_walks_through_its_share_of_lineage_and_no_more() {
    let mut world = World::new();
    let (_, child) = world.model();
    let (_, origin) = world.model();
    let share = crate::limits::LINEAGE_STEPS_PER_BLOCK_MAX / 3;
    world.ledger.lineage_steps.insert(member(0), share);
    let deed = DeclareLineage {
        child,
        parents: vec![Parent { version: origin, relation: Relation::Contains, material: None, grant: None }],
    };
    let at = At {
        height: world.ledger.height(),
        time: world.time,
        entry: EntryId::from_bytes([1; 32]),
        member: member(0),
        journal: key(10).public(),
        seq: Seq::FIRST,
    };
    let refused = lineage::declare(&mut world.ledger, &at, &deed).map_err(|refusal| refusal.rule());
    assert_eq!(refused, Err("LIN-BUSY"));
    world.act(0, Deed::DeclareLineage(deed)).expect("another block, another share");
    assert_eq!(world.ledger.lineage_steps.get(&member(0)), Some(&1));
}

#[test]
fn no_declaration_is_too_large_for_a_share() {
    let mut world = World::new();
    let (data, origin) = world.asset(1, AssetClass::Dataset, "D1");
    let (_, child) = owned(&mut world, &[(0, 1), (2, 1)]);
    let tenth = Royalty::Relative(Ppm::new(100_000));
    let grant = agree(&mut world, 1, 0, training(1, 0, data, tenth)).expect("agreed");
    let Deed::DeclareLineage(deed) = declare(child, origin, Some(grant)) else { panic!("a declaration") };
    let at = |number| At {
        height: world.ledger.height(),
        time: world.time,
        entry: EntryId::from_bytes([1; 32]),
        member: member(number),
        journal: key(10).public(),
        seq: Seq::FIRST,
    };
    let (declarer, owner) = (at(0), at(2));
    for number in [0, 2] {
        let nearly = crate::limits::LINEAGE_STEPS_PER_BLOCK_MAX / 3 - 1;
        world.ledger.lineage_steps.insert(member(number), nearly);
    }
    // Declaring and approving weigh twice each.
    lineage::declare(&mut world.ledger, &declarer, &deed).expect("proposed");
    let approve = proposal::Approve { proposal: declarer.id() };
    proposal::approve(&mut world.ledger, &owner, approve).expect("enacted");
    assert!(world.ledger.lineage.contains(&(child, origin)));
}
