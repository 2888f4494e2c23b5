//! The ledger as a whole: from a signature to a payment.

mod abuse;
mod equivocation;
mod revocation;

use super::agreement::{Amend, Countersign, OnExcess, Propose, Status, terms::Cap};
use super::asset::{AssetClass, SetSplit};
use super::lineage::{DeclareLineage, Parent, Relation};
use super::member::{AdmitKey, AdmitMember, MemberProfile, Scope, prove_possession};
use super::period::{ClosePeriod, Settle, payments_of};
use super::proposal::Approve;
use super::usage::ReportUsage;
use super::*;
use crate::codes::{Meter, Place};
use crate::entry::BodyKind;
use crate::ids::Hash;
use crate::ledger::asset::Owner;
use crate::money::{Micro, Weight};
use crate::name::Name;
use crate::testing::*;
use crate::time::{DAY_MS, Month};

/// Member 0's model, licensed to member 2 and signed by both.
pub(super) fn licensed(world: &mut World) -> (Id, Id) {
    let (asset, version) = world.model();
    let terms = licence(asset);
    let hash = terms.root(&SALT, None);
    let propose = Deed::Propose(Propose { terms, salt: SALT, deadline: None });
    let agreement = world.act(0, propose).expect("proposed");
    let sign = Deed::Countersign(Countersign { agreement, version: 1, terms_hash: hash });
    world.act(2, sign).expect("signed");
    (agreement, version)
}

pub(super) fn use_it(world: &mut World, number: u32, usage: ReportUsage) -> Outcome {
    let entry = world.sign(number, Body::ReportUsage(usage));
    world.block(vec![entry]).outcomes.remove(0)
}

pub(super) fn usage(rated: u32, flagged: u32, refused: &[(&str, &[u16])]) -> Outcome {
    let refused =
        refused.iter().map(|(rule, rows)| RefusedRows { rule: (*rule).into(), rows: rows.to_vec() });
    Outcome::Usage { rated, flagged, refused: refused.collect() }
}

pub(super) const PAST: UtcMs = START.minus_ms(60 * DAY_MS);

#[test]
fn metered_use_becomes_money() {
    let mut world = World::new();
    let (agreement, version) = licensed(&mut world);
    let rows = [(PAST, 0, 9_000_000), (PAST, 1, 17_450_535)];
    assert_eq!(use_it(&mut world, 2, report(agreement, version, &rows)), usage(2, 0, &[]));
    assert_eq!(
        use_it(&mut world, 2, report(agreement, version, &rows)),
        usage(0, 0, &[("USE-DUPLICATE", &[0, 1])])
    );
    assert_eq!(world.ledger.rows_sealed(), 2);

    let month = Month::of(PAST).expect("a date");
    world.act(1, Deed::ClosePeriod(ClosePeriod { month })).expect("any member closes");
    let (_, line) = world.ledger.lines.iter().next().expect("one line");
    assert_eq!((line.quantity, line.charge), (26_450_535, Micro::new(5_625_601_650)));
    assert_eq!(line.held, None);

    world.act(0, Deed::Settle(Settle { month })).expect("settles");
    let payments = payments_of(&world.ledger, month);
    assert_eq!(payments.len(), 1);
    assert_eq!((payments[0].from, payments[0].to, payments[0].minor.get()), (member(2), member(0), 5_625));
    let (_, carried) = world.ledger.carries.iter().next().expect("a residue");
    assert_eq!(carried.a_owes_b, Micro::new(-601_650), "the higher member id owes the lower");
    for (deed, rule) in [
        (Deed::ClosePeriod(ClosePeriod { month }), "PER-CLOSED"),
        (Deed::Settle(Settle { month }), "PER-SETTLED"),
        (Deed::Settle(Settle { month: month.next() }), "PER-OPEN"),
        (Deed::ClosePeriod(ClosePeriod { month: Month::of(START).expect("a date") }), "PER-GRACE"),
    ] {
        assert_eq!(world.act(1, deed), Err(rule.into()));
    }
}

#[test]
fn an_agreement_needs_every_signature() {
    let mut world = World::new();
    let (asset, version) = world.model();
    let terms = licence(asset);
    let hash = terms.root(&SALT, None);
    let agreement =
        world.act(0, Deed::Propose(Propose { terms, salt: SALT, deadline: None })).expect("proposed");
    assert_eq!(world.ledger.agreements.get(&agreement).expect("known").status, Status::Proposed);

    let row = [(PAST, 0, 100)];
    assert_eq!(use_it(&mut world, 2, report(agreement, version, &row)), usage(0, 1, &[]));
    let (_, finding) = world.ledger.findings.iter().next().expect("a finding");
    assert_eq!((finding.rule.as_str(), finding.rows, finding.quantity), ("USE-UNLICENSED", 1, 100));

    let sign = |version, terms_hash| Deed::Countersign(Countersign { agreement, version, terms_hash });
    let other = Hash::from_bytes([1; 32]);
    for (number, deed, rule) in [
        (2, sign(1, other), "AGR-HASH"),
        (2, sign(2, hash), "AGR-VERSION-UNKNOWN"),
        (1, sign(1, hash), "AGR-NOT-PARTY"),
        (0, sign(1, hash), "AGR-SIGNED-TWICE"),
    ] {
        assert_eq!(world.act(number, deed), Err(rule.into()));
    }
    world.act(2, sign(1, hash)).expect("the last signature");
    assert_eq!(world.ledger.agreements.get(&agreement).expect("known").status, Status::Active);
    assert_eq!(world.act(2, sign(1, hash)), Err("AGR-STATUS".into()));

    let month = Month::of(PAST).expect("a date");
    world.act(0, Deed::ClosePeriod(ClosePeriod { month })).expect("closes");
    let (_, line) = world.ledger.lines.iter().next().expect("one line");
    assert_eq!((line.quantity, line.charge), (0, Micro::ZERO), "flagged use is not charged");
}

#[test]
fn block_time_alone_begins_expires_and_lapses() {
    let mut world = World::new();
    let (asset, _) = world.model();
    let mut terms = licence(asset);
    terms.term = crate::time::Span { from: START.plus_ms(60_000), until: START.plus_ms(120_000) };
    terms.grants[0].span = terms.term;
    let hash = terms.root(&SALT, None);
    let deadline = Some(START.plus_ms(90_000));
    let propose = Propose { terms, salt: SALT, deadline };
    let unsigned = world.act(0, Deed::Propose(propose.clone())).expect("proposed");
    let agreement = world.act(0, Deed::Propose(propose)).expect("proposed");
    let sign = Countersign { agreement, version: 1, terms_hash: hash };
    world.act(2, Deed::Countersign(sign)).expect("signed");
    let status = |world: &World, id| world.ledger.agreements.get(&id).expect("known").status;
    assert_eq!(status(&world, agreement), Status::Signed);
    for (ms, of_signed, of_unsigned) in [
        (60_000, Status::Active, Status::Proposed),
        (90_000, Status::Active, Status::Lapsed),
        (120_000, Status::Expired, Status::Lapsed),
    ] {
        world.time = START.plus_ms(ms - 1_000);
        world.block(vec![]);
        assert_eq!((status(&world, agreement), status(&world, unsigned)), (of_signed, of_unsigned));
    }
}

#[test]
fn an_amendment_holds_from_its_beginning() {
    let mut world = World::new();
    let (agreement, version) = licensed(&mut world);
    let first = world.ledger.terms.get(&(agreement, 1)).expect("version 1").clone();
    let mut terms = first.terms.clone();
    terms.term.from = PAST.plus_ms(1_000);
    terms.grants[0].span = terms.term;
    terms.grants[0].territory = crate::codes::Territory::world();
    let amend =
        |previous, terms| Deed::Amend(Amend { agreement, previous, terms, salt: SALT, deadline: None });
    assert_eq!(world.act(2, amend(Hash::from_bytes([0; 32]), terms.clone())), Err("AGR-HASH".into()));
    world.act(2, amend(first.terms_hash, terms.clone())).expect("proposed");
    assert_eq!(world.act(0, amend(first.terms_hash, terms.clone())), Err("AGR-PENDING".into()));
    let terms_hash = terms.root(&SALT, Some(&first.terms_hash));
    world.act(0, Deed::Countersign(Countersign { agreement, version: 2, terms_hash })).expect("signed");
    let record = world.ledger.agreements.get(&agreement).expect("known");
    assert_eq!((record.current, record.status), (2, Status::Active));
    assert_eq!(world.ledger.terms.get(&(agreement, 1)).expect("known").status, Status::Superseded);

    // Outside the EU: only the amended version permits it.
    let mut abroad = report(agreement, version, &[(PAST, 0, 1), (PAST.plus_ms(1_000), 1, 1)]);
    abroad.contexts[0].territory = Place::new("JP");
    assert_eq!(use_it(&mut world, 2, abroad), usage(1, 1, &[]));
}

#[test]
fn rows_are_refused_one_by_one() {
    let mut world = World::new();
    let (agreement, version) = licensed(&mut world);
    let rows = [
        (START.minus_ms(401 * DAY_MS), 0, 1),
        (START.plus_ms(DAY_MS), 1, 1),
        (PAST, 2, 1),
        (PAST, 2, 5),
        (PAST, 3, u64::MAX),
    ];
    let expected: &[(&str, &[u16])] =
        &[("USE-DUPLICATE", &[3]), ("USE-FUTURE", &[1]), ("USE-LATE", &[0]), ("USE-OVERFLOW", &[4])];
    assert_eq!(use_it(&mut world, 2, report(agreement, version, &rows)), usage(1, 0, expected));
    let by_stranger = report(agreement, version, &[(PAST, 9, 1)]);
    assert_eq!(use_it(&mut world, 1, by_stranger), usage(0, 0, &[("USE-REPORTER", &[0])]));
    let by_licensor = report(agreement, version, &[(PAST, 9, 77)]);
    assert_eq!(use_it(&mut world, 0, by_licensor), usage(1, 0, &[]));
    let charged: u64 = world.ledger.meters.iter().map(|(_, metered)| metered.rated).sum();
    assert_eq!(charged, 1, "only the reporter's rows charge");
    let nowhere = report(Id::from_bytes([3; 32]), version, &[(PAST, 10, 1)]);
    assert_eq!(use_it(&mut world, 2, nowhere), usage(0, 0, &[("USE-AGREEMENT", &[0])]));
}

#[test]
fn a_cap_is_reached_exactly_and_not_by_one_more() {
    for (on_excess, expected) in [(OnExcess::Rate, usage(2, 0, &[])), (OnExcess::Block, usage(1, 1, &[]))] {
        let mut world = World::new();
        let (asset, version) = world.model();
        let mut terms = licence(asset);
        let meter = Meter::new("tokens");
        terms.grants[0].caps = vec![Cap { meter, quantity: 100, per_period: true, on_excess }];
        let terms_hash = terms.root(&SALT, None);
        let propose = Propose { terms, salt: SALT, deadline: None };
        let agreement = world.act(0, Deed::Propose(propose)).expect("proposed");
        let sign = Countersign { agreement, version: 1, terms_hash };
        world.act(2, Deed::Countersign(sign)).expect("signed");
        let exactly = report(agreement, version, &[(PAST, 0, 60), (PAST, 1, 40)]);
        assert_eq!(use_it(&mut world, 2, exactly), usage(2, 0, &[]));
        assert!(world.ledger.findings.is_empty());
        let more = report(agreement, version, &[(PAST, 2, 0), (PAST, 3, 1)]);
        assert_eq!(use_it(&mut world, 2, more), expected);
        let (_, finding) = world.ledger.findings.iter().next().expect("a finding");
        assert_eq!((finding.rule.as_str(), finding.rows), ("USE-OVER-CAP", 1));
    }
}

#[test]
fn royalties_flow_through_lineage_to_the_owners_of_the_origin() {
    let mut world = World::new();
    let (dataset, data_version) = world.asset(1, AssetClass::Dataset, "D1");
    // Birch licenses its data to Aster for 10 % of what the model earns.
    let mut upstream = licence(dataset);
    upstream.parties[0].member = member(0);
    upstream.parties[1].member = member(1);
    let grant = &mut upstream.grants[0];
    (grant.licensor, grant.licensees) = (member(1), vec![member(0)]);
    grant.acts = vec![crate::codes::Act::new("train")];
    grant.derivatives = super::agreement::Royalty::Relative(crate::money::Ppm::new(100_000));
    upstream.payments.clear();
    let terms_hash = upstream.root(&SALT, None);
    let propose = Propose { terms: upstream, salt: SALT, deadline: None };
    let relied_on = world.act(1, Deed::Propose(propose)).expect("proposed");
    let sign = Countersign { agreement: relied_on, version: 1, terms_hash };
    world.act(0, Deed::Countersign(sign)).expect("signed");

    let (agreement, version) = licensed(&mut world);
    let grant = Some(super::agreement::GrantRef { agreement: relied_on, grant: 0 });
    let parent = Parent { version: data_version, relation: Relation::TrainedOn, material: None, grant };
    let declare = |child, parent: &Parent| {
        Deed::DeclareLineage(DeclareLineage { child, parents: vec![parent.clone()] })
    };
    world.act(0, declare(version, &parent)).expect("declared");
    assert_eq!(world.act(0, declare(version, &parent)), Err("LIN-DECLARED".into()));
    let loops = Parent { version, grant: None, ..parent.clone() };
    assert_eq!(world.act(1, declare(data_version, &loops)), Err("LIN-CYCLE".into()));
    assert_eq!(world.act(0, declare(data_version, &loops)), Err("AST-NOT-CONTROLLER".into()));

    use_it(&mut world, 2, report(agreement, version, &[(PAST, 0, 10_000_000)]));
    let month = Month::of(PAST).expect("a date");
    world.act(0, Deed::ClosePeriod(ClosePeriod { month })).expect("closes");
    let shares: Vec<_> = world.ledger.lines.iter().flat_map(|(_, line)| line.shares.clone()).collect();
    let micros: Vec<_> = shares.iter().map(|share| (share.member, share.micros.get())).collect();
    assert_eq!(micros, [(member(0), 2_250_000_000), (member(1), 250_000_000)]);
}

#[test]
fn a_split_needs_those_who_lose_and_those_who_join() {
    let mut world = World::new();
    let (asset, _) = world.model();
    let owner = |number, weight| Owner { member: member(number), weight: Weight::new(weight) };
    let split = SetSplit { asset, owners: vec![owner(0, 2), owner(1, 1)] };
    assert_eq!(world.act(2, Deed::SetSplit(split.clone())), Err("AST-NOT-OWNER".into()));
    let proposal = world.act(0, Deed::SetSplit(split.clone())).expect("proposed");
    assert_eq!(world.ledger.assets.get(&asset).expect("known").owners(), [owner(0, 1)]);
    let approve = Deed::Approve(Approve { proposal });
    assert_eq!(world.act(2, approve.clone()), Err("PRO-NO-SAY".into()));
    world.act(1, approve.clone()).expect("the newcomer agrees");
    let known = world.ledger.assets.get(&asset).expect("known");
    let this_month = Month::of(world.time).expect("a date");
    assert_eq!(known.owners_in(this_month), [owner(0, 1)], "money changes at the next boundary");
    assert_eq!(known.owners_in(this_month.next()), split.owners);
    assert_eq!(world.act(1, approve), Err("PRO-DONE".into()));
}

fn newcomer(world: &World) -> AdmitMember {
    let root = key(40);
    let name = Name::new("Dahlia");
    let profile = MemberProfile { name, jurisdiction: Place::new("FR"), root: root.public(), node: None };
    let possession = vec![prove_possession(world.ledger.network(), &root.public(), &root)];
    AdmitMember { profile, possession }
}

#[test]
fn members_and_keys_are_admitted_once() {
    let mut world = World::new();
    let admit = newcomer(&world);
    let stolen = AdmitMember {
        possession: vec![prove_possession(world.ledger.network(), &key(41).public(), &key(40))],
        ..admit.clone()
    };
    assert_eq!(world.act(0, Deed::AdmitMember(stolen)), Err("KEY-POSSESSION".into()));
    let proposal = world.act(1, Deed::AdmitMember(admit.clone())).expect("a proposal without power");
    assert_eq!(world.ledger.members.len(), 3);
    world.act(0, Deed::Approve(Approve { proposal })).expect("all the power");
    assert_eq!(world.ledger.members.get(&member(3)).expect("admitted").power, 0);
    assert_eq!(world.act(0, Deed::AdmitMember(admit)), Err("KEY-TAKEN".into()));

    let scope = Scope { bodies: Some(vec![BodyKind::ReportUsage]), agreements: None };
    let network = world.ledger.network();
    let possession = prove_possession(network, &key(20).public(), &key(25));
    let app = AdmitKey { key: key(25).public(), scope, until: None, possession };
    assert_eq!(world.act(0, Deed::AdmitKey(app.clone())), Err("KEY-POSSESSION".into()), "another member's");
    world.act(1, Deed::AdmitKey(app)).expect("admitted");
    let month = Month::of(PAST).expect("a date");
    let out_of_scope = Deed::ClosePeriod(ClosePeriod { month });
    let body = Body::Deed { idem: Idem::from_bytes([200; 16]), deed: out_of_scope };
    let entry = world.sign_as(25, member(1), body);
    let refused = Outcome::Refused { rule: "KEY-PURPOSE".into() };
    assert_eq!(world.block(vec![entry]).outcomes, [refused]);
}

#[test]
fn the_same_idempotency_key_gives_back_the_first_outcome() {
    let mut world = World::new();
    let (asset, _) = world.model();
    let idem = Idem::from_bytes([77; 16]);
    let split = |weight| {
        let owners = vec![Owner { member: member(0), weight: Weight::new(weight) }];
        Body::Deed { idem, deed: Deed::SetSplit(SetSplit { asset, owners }) }
    };
    let entries = [split(1), split(1), split(2)].map(|body| world.sign(0, body));
    let before = world.ledger.proposals.len();
    let outcomes = world.block(entries.to_vec()).outcomes;
    let reused = Outcome::Refused { rule: "IDEM-REUSED".into() };
    assert_eq!(outcomes, [Outcome::Applied, Outcome::Applied, reused]);
    assert_eq!(world.ledger.proposals.len(), before + 1);
    world.time = world.time.plus_ms(8 * DAY_MS);
    world.block(vec![]);
    assert!(world.ledger.remembered.is_empty(), "forgotten after the window");
}

#[test]
fn a_loaded_state_is_the_state_that_was_saved() {
    let mut world = World::new();
    let mut values = std::collections::BTreeMap::new();
    values.extend(world.ledger.dump().into_iter().map(|change| (change.key, change.value)));
    let (agreement, version) = licensed(&mut world);
    let mut runs = Vec::new();
    for n in 0..5 {
        let entry = world.sign(2, Body::ReportUsage(report(agreement, version, &[(PAST, n, 10)])));
        runs.extend(world.block(vec![entry]).runs);
    }
    let mut history = World::new();
    for (_, _, entries) in &world.blocks {
        let executed = history.block(entries.clone());
        values.extend(executed.changes.into_iter().map(|change| (change.key, change.value)));
    }
    assert_eq!(history.ledger.state_root(), world.ledger.state_root());
    let saved = || values.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
    let loaded = Ledger::load(world.ledger.block_id(), saved(), runs.clone()).expect("loads");
    assert_eq!(loaded.state_root(), world.ledger.state_root());
    assert_eq!(loaded.dump(), world.ledger.dump());
    world.ledger = loaded;
    let again = report(agreement, version, &[(PAST, 3, 10)]);
    assert_eq!(use_it(&mut world, 2, again), usage(0, 0, &[("USE-DUPLICATE", &[0])]));

    runs.pop();
    let incomplete = Ledger::load(world.ledger.block_id(), saved(), runs);
    assert!(matches!(incomplete, Err(LoadError::Events { .. })));
}

#[test]
fn blocks_that_cannot_be_are_refused() {
    let mut world = World::new();
    let entry =
        |world: &mut World| world.deed(1, Deed::Approve(Approve { proposal: Id::from_bytes([1; 32]) }));
    let (first, second) = (entry(&mut world), entry(&mut world));
    let plan = |ms, built_by| Plan { time: START.plus_ms(ms), built_by: member(built_by) };
    let rule = |plan: &Plan, entries: Vec<VerifiedEntry>| {
        world.ledger.execute(plan, entries).map(|_| ()).map_err(|error| error.rule())
    };
    assert_eq!(rule(&plan(1, 0), vec![second.clone(), first.clone()]), Ok(()));
    assert_eq!(rule(&plan(0, 0), vec![]), Err("BLK-TIME"));
    assert_eq!(rule(&plan(1, 1), vec![]), Err("BLK-BUILDER"));
    assert_eq!(rule(&plan(1, 0), vec![second]), Err("JRN-GAP"));
    assert_eq!(rule(&plan(1, 0), vec![first.clone(), first]), Err("JRN-BEHIND"));
    let stranger =
        Body::Deed { idem: Idem::from_bytes([1; 16]), deed: Deed::Settle(Settle { month: Month::EPOCH }) };
    let stranger = world.sign_as(99, member(1), stranger);
    assert_eq!(
        world.ledger.execute(&plan(1, 0), vec![stranger]).map(|_| ()).map_err(|e| e.rule()),
        Err("KEY-UNKNOWN")
    );
}

#[test]
fn replay_names_what_differs() {
    let mut world = World::new();
    let entry = world.deed(1, Deed::Approve(Approve { proposal: Id::from_bytes([1; 32]) }));
    let before = world.ledger.clone();
    world.block(vec![entry.clone()]);
    let (block, certificate, entries) = world.blocks.pop().expect("one block");
    let rule = |block: &Block, certificate, entries: &[VerifiedEntry]| {
        crate::replay::step(&before, block, certificate, entries.to_vec()).map(|_| ()).map_err(|e| e.rule())
    };
    assert_eq!(rule(&block, &certificate, &entries), Ok(()));
    assert_eq!(rule(&block, &certificate, &[]), Err("RPL-CUT"));
    let mut forged = block.clone();
    forged.header.state_root = Hash::from_bytes([0; 32]);
    assert_eq!(rule(&forged, &certificate, &entries), Err("CERT-BLOCK"));
    assert_eq!(rule(&forged, &certify(&before, &forged), &entries), Err("RPL-HEADER"));
}
