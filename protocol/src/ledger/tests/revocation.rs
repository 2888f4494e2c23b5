//! Revoked keys: what still counts, and who may say so.

use super::*;
use crate::ids::{EntryId, PublicKey, Seq};
use crate::journal::Tip;
use crate::ledger::member::RevokeKey;

/// Seed of the app key that member 1 admits.
const APP: u8 = 25;

/// A consortium whose member 1 has an app key for anything.
fn with_app() -> World {
    let mut world = World::new();
    admit(&mut world, APP);
    world
}

fn admit(world: &mut World, seed: u8) {
    let possession = prove_possession(world.ledger.network(), &key(20).public(), &key(seed));
    let app = AdmitKey { key: key(seed).public(), scope: Scope::default(), until: None, possession };
    world.act(1, Deed::AdmitKey(app)).expect("admitted");
}

fn register(world: &mut World, number: u8) -> VerifiedEntry {
    let asset = asset::RegisterAsset {
        class: AssetClass::Model,
        title: Name::new(format!("M{number}")),
        owners: vec![Owner { member: member(1), weight: Weight::new(1) }],
        licence: "LicenseRef-proprietary".into(),
        confidentiality: asset::Confidentiality::Green,
        jurisdiction: Place::new("DE"),
    };
    let body = Body::Deed { idem: Idem::from_bytes([number; 16]), deed: Deed::RegisterAsset(asset) };
    world.sign_as(APP, member(1), body)
}

fn revoke(seed: u8, last: Option<(Seq, EntryId)>) -> Deed {
    Deed::RevokeKey(RevokeKey { key: key(seed).public(), last })
}

fn up_to(entry: &VerifiedEntry) -> Option<(Seq, EntryId)> {
    Some((entry.head().seq, entry.id()))
}

fn end(world: &World, seed: u8) -> Option<Tip> {
    world.ledger.keys.get(&key(seed).public()).expect("registered").revoked
}

fn possible(world: &World, entries: Vec<VerifiedEntry>) -> Result<(), &'static str> {
    let plan = Plan { time: world.time.plus_ms(1), built_by: member(0) };
    world.ledger.execute(&plan, entries).map(|_| ()).map_err(|error| error.rule())
}

#[test]
fn what_stands_before_the_end_is_sealed_and_takes_effect() {
    let mut world = with_app();
    let entries: Vec<_> = (0..4).map(|number| register(&mut world, number)).collect();
    world.block(vec![entries[0].clone()]);
    world.act(1, revoke(APP, up_to(&entries[2]))).expect("revoked");
    assert_eq!(end(&world, APP), Some(Tip { next: Seq::new(3), last: entries[2].id() }));
    let ends = world.ledger.journal_ends(&key(APP).public()).map(|(seq, why)| (seq, why.rule()));
    assert_eq!(ends, Some((Seq::new(3), "KEY-REVOKED")));

    let may_say = |entry| world.ledger.may_say(entry).map_err(|error| error.rule());
    assert_eq!([may_say(&entries[2]), may_say(&entries[3])], [Ok(()), Err("KEY-REVOKED")]);
    assert_eq!(possible(&world, entries[1..].to_vec()), Err("KEY-REVOKED"));
    let outcomes = world.block(entries[1..3].to_vec()).outcomes;
    assert_eq!(outcomes, [Outcome::Applied, Outcome::Applied], "acknowledged before, sealed after");
    assert_eq!(possible(&world, entries[3..].to_vec()), Err("KEY-REVOKED"));
}

#[test]
fn another_branch_does_not_reach_the_end() {
    let mut world = with_app();
    let [honest, _] = [0, 1].map(|number| register(&mut world, number));
    let stolen = {
        let mut thief = with_app();
        register(&mut thief, 9)
    };
    world.act(1, revoke(APP, up_to(&honest))).expect("revoked");
    assert_eq!(possible(&world, vec![stolen]), Err("KEY-REVOKED"));
    assert_eq!(world.block(vec![honest]).outcomes, [Outcome::Applied]);
}

#[test]
fn what_is_sealed_counts() {
    let mut world = with_app();
    let entries: Vec<_> = (0..3).map(|number| register(&mut world, number)).collect();
    world.block(entries[..2].to_vec());
    world.act(1, revoke(APP, up_to(&entries[0]))).expect("revoked");
    assert_eq!(end(&world, APP), Some(Tip { next: Seq::new(2), last: entries[1].id() }));
    assert_eq!(possible(&world, entries[2..].to_vec()), Err("KEY-REVOKED"));

    admit(&mut world, 26);
    world.act(1, revoke(26, None)).expect("a key that never signed");
    assert_eq!(end(&world, 26), Some(Tip::EMPTY));
}

#[test]
fn a_key_may_give_itself_up_and_nothing_else() {
    let mut world = with_app();
    admit(&mut world, 26);
    let sign = |world: &mut World, number, deed| {
        let body = Body::Deed { idem: Idem::from_bytes([number; 16]), deed };
        let entry = world.sign_as(APP, member(1), body);
        world.block(vec![entry]).outcomes.remove(0)
    };
    let refused = Outcome::Refused { rule: "KEY-PURPOSE".into() };
    assert_eq!(sign(&mut world, 1, revoke(26, None)), refused);
    assert_eq!(sign(&mut world, 2, revoke(20, None)), refused);
    let body = Body::Deed { idem: Idem::from_bytes([3; 16]), deed: revoke(APP, None) };
    let entry = world.sign_as(APP, member(1), body);
    let beside = register(&mut world, 4);
    let outcomes = world.block(vec![entry.clone(), beside]).outcomes;
    assert_eq!(outcomes, [Outcome::Applied, Outcome::Refused { rule: "KEY-REVOKED".into() }]);
    assert_eq!(end(&world, APP), Some(Tip { next: Seq::new(3), last: entry.id() }), "up to this very act");
    let next = register(&mut world, 5);
    assert_eq!(possible(&world, vec![next]), Err("KEY-REVOKED"));
}

#[test]
fn revocations_are_refused_by_rule() {
    let mut world = with_app();
    for (number, deed, rule) in [
        (1, revoke(99, None), "KEY-UNKNOWN"),
        (0, revoke(APP, None), "KEY-MEMBER"),
        (0, revoke(11, None), "KEY-NO-JOURNAL"),
        (0, revoke(12, None), "KEY-NO-JOURNAL"),
    ] {
        assert_eq!(world.act(number, deed), Err(rule.into()));
    }
    world.act(1, revoke(APP, None)).expect("revoked");
    let end_before = end(&world, APP);
    let later = Some((Seq::new(9), EntryId::from_bytes([1; 32])));
    assert_eq!(world.act(1, revoke(APP, later)), Err("KEY-REVOKED".into()));
    assert_eq!(end(&world, APP), end_before, "an end is never moved");

    let beyond = RevokeKey {
        key: PublicKey::from_bytes([1; 32]),
        last: Some((Seq::new(u64::MAX), EntryId::from_bytes([1; 32]))),
    };
    assert_eq!(beyond.check().map_err(|error| error.rule()), Err("KEY-LAST"));

    // The root too; after it nobody admits keys for this member.
    world.act(1, revoke(20, None)).expect("a root gives itself up");
    let deed = world.deed(1, revoke(APP, None));
    assert_eq!(possible(&world, vec![deed]), Err("KEY-REVOKED"));
}
