//! Laws of codes and territories: what covers what.

use proptest::prelude::*;
use proptest::sample::select;
use syngraph_protocol::codes::{ACTS, Act, METERS, PURPOSES, Place, Territory};

/// Countries inside and outside the groups, some subdivisions, and the groups.
const PLACES: &[&str] =
    &["DE", "DE-BE", "DE-BY", "EEA", "EU", "FR", "FR-75", "GB", "IS", "JP", "JP-13", "NO", "US", "US-CA"];

fn place() -> impl Strategy<Value = Place> {
    select(PLACES).prop_map(Place::new)
}

fn places() -> impl Strategy<Value = Vec<Place>> {
    prop::collection::btree_set(place(), 0..4).prop_map(|set| set.into_iter().collect())
}

prop_compose! {
    fn territory()(include in places(), exclude in places()) -> Territory {
        Territory { world: include.is_empty(), include, exclude }
    }
}

#[test]
fn tables_are_sorted_and_every_parent_is_in_them() {
    for table in [ACTS, PURPOSES, METERS] {
        assert!(table.is_sorted_by(|a, b| a < b), "binary search needs order");
        for code in table {
            let parent = code.rsplit_once('.').map_or(*code, |(parent, _)| parent);
            assert!(table.contains(&parent), "{code} has no parent");
        }
    }
}

#[test]
fn a_group_is_inside_only_as_a_whole() {
    let group = |name: &str| vec![Place::new(name)];
    let world = Territory::world();
    for (territory, place, inside) in [
        (Territory { exclude: group("FR"), ..world.clone() }, "EU", false),
        (Territory { exclude: group("EU"), ..world.clone() }, "EEA", false),
        (Territory { exclude: group("EEA"), ..world.clone() }, "EU", false),
        (Territory { exclude: group("EU"), ..world.clone() }, "NO", true),
        (Territory { world: false, include: group("EEA"), exclude: Vec::new() }, "EU", true),
        (Territory { world: false, include: group("EU"), exclude: Vec::new() }, "EEA", false),
        (Territory { world: false, include: group("EEA"), exclude: group("EU") }, "EEA", false),
    ] {
        assert_eq!(territory.contains(&Place::new(place)), inside, "{place} in {territory:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn places_cover_in_a_partial_order(a in place(), b in place(), c in place()) {
        prop_assert_eq!(a.check(), Ok(()));
        prop_assert!(a.covers(&a));
        prop_assert!(!(a.covers(&b) && b.covers(&c)) || a.covers(&c), "{a} covers {b} covers {c}");
        prop_assert!(!(a.covers(&b) && b.covers(&a)) || a == b);
    }

    #[test]
    fn acts_cover_in_a_partial_order(a in select(ACTS), b in select(ACTS), c in select(ACTS)) {
        let [a, b, c] = [a, b, c].map(Act::new);
        prop_assert!(a.covers(&a));
        prop_assert!(!(a.covers(&b) && b.covers(&c)) || a.covers(&c));
        prop_assert!(!(a.covers(&b) && b.covers(&a)) || a == b);
    }

    #[test]
    fn including_more_never_takes_away(territory in territory(), more in place(), at in place()) {
        let mut wider = territory.clone();
        wider.include.push(more);
        prop_assert!(!territory.contains(&at) || wider.contains(&at));
        let everywhere = Territory { world: true, ..territory.clone() };
        prop_assert!(!territory.contains(&at) || everywhere.contains(&at));
    }

    #[test]
    fn excluding_more_never_gives(territory in territory(), more in place(), at in place()) {
        let mut narrower = territory.clone();
        narrower.exclude.push(more.clone());
        prop_assert!(!narrower.contains(&at) || territory.contains(&at));
        prop_assert!(!narrower.contains(&more));
    }

    #[test]
    fn what_holds_for_a_place_holds_for_its_parts(territory in territory(), whole in place(), part in place()) {
        prop_assert!(!(territory.contains(&whole) && whole.covers(&part)) || territory.contains(&part));
    }

    #[test]
    fn no_text_is_a_code_by_accident(text in "[A-Za-z.-]{0,6}") {
        let known = Act::new(text.as_str()).check().is_ok();
        prop_assert_eq!(known, ACTS.contains(&text.as_str()));
        if Place::new(text.as_str()).check().is_ok() {
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-'));
        }
    }
}
