#![allow(clippy::arithmetic_side_effects, reason = "tests compute expectations plainly")]

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::codec;
use crate::ledger::royalty::graph::{Edge, EdgeMode};

fn edge(child: u32, parent: u32, mode: EdgeMode, ppm: u32) -> Edge<u32> {
    Edge { child, parent, mode, ppm: Ppm::new(ppm) }
}

fn owner(member: u32, weight: u64) -> Owner {
    Owner { member: MemberId::new(member), weight: Weight::new(weight) }
}

fn fee(ppm: u32) -> Fee {
    Fee { ppm: Ppm::new(ppm), member: MemberId::new(0) }
}

fn shares(distribution: &Distribution<u32>) -> Vec<(u32, i128)> {
    distribution.shares.iter().map(|share| (share.member.get(), share.micros.get())).collect()
}

/// Asset n belongs to member n.
fn own(asset: &u32) -> Vec<Owner> {
    vec![owner(*asset, 1)]
}

fn run(payer: u32, charge: i128, assets: &[(u32, u64)], edges: &[Edge<u32>], ppm: u32) -> Distribution<u32> {
    let lineage = Lineage::new(edges.iter().cloned()).expect("a lineage");
    let rules = Rules { lineage: &lineage, owners: own, fee: fee(ppm) };
    distribute(MemberId::new(payer), Micro::new(charge), assets, &rules).expect("a plain charge")
}

#[test]
fn every_hop_is_posted() {
    use EdgeMode::{Absolute, Relative};
    let edges = [edge(1, 2, Relative, 500_000), edge(2, 3, Absolute, 100_000)];
    let distribution = run(2, 1_000, &[(1, 0)], &edges, 100_000);
    assert_eq!(shares(&distribution), [(0, 100), (1, 405), (2, 405), (3, 90)]);
    assert_eq!(distribution.self_leg(), Micro::new(405));
    assert_eq!(distribution.prove(), Ok(()));
    let hops: Vec<_> = distribution.postings.iter().map(|posting| posting.hop.clone()).collect();
    let order =
        [Hop::Charge(1), Hop::Absolute(1), Hop::Relative(1), Hop::Owners(1), Hop::Owners(2), Hop::Owners(3)];
    assert_eq!(hops, order);
    let absolute = &distribution.postings[1].legs;
    assert_eq!(absolute[0], Leg { account: Account::Node(1), via: None, micros: Micro::new(-90) });
    assert_eq!(absolute[1], Leg { account: Account::Node(3), via: Some(2), micros: Micro::new(90) });
    assert_eq!(distribution.postings[4].legs[1].account, Account::Payer(MemberId::new(2)));
}

#[test]
fn an_absolute_edge_counts_once_however_many_paths_lead_to_it() {
    use EdgeMode::{Absolute, Relative};
    let diamond = [
        edge(1, 2, Relative, 100_000),
        edge(1, 3, Relative, 100_000),
        edge(2, 4, Relative, 100_000),
        edge(3, 4, Relative, 100_000),
        edge(4, 5, Absolute, 200_000),
    ];
    let distribution = run(9, 1_000, &[(1, 1)], &diamond, 0);
    assert_eq!(shares(&distribution), [(1, 640), (2, 72), (3, 72), (4, 16), (5, 200)]);
}

#[test]
fn what_an_absolute_edge_brings_flows_on_through_relative_edges() {
    use EdgeMode::{Absolute, Relative};
    let distribution =
        run(9, 1_000, &[(1, 1)], &[edge(1, 2, Absolute, 500_000), edge(2, 3, Relative, 500_000)], 0);
    assert_eq!(shares(&distribution), [(1, 500), (2, 250), (3, 250)]);
}

#[test]
fn ties_go_by_domain_order() {
    use EdgeMode::{Absolute, Relative};
    // One micro over two equal parts: fee before net, edges before the own share, and
    // owners by member, in whatever order they were registered.
    assert_eq!(shares(&run(9, 1, &[(1, 1)], &[], 500_000)), [(0, 1)]);
    assert_eq!(shares(&run(9, 1, &[(1, 1)], &[edge(1, 2, Absolute, 500_000)], 0)), [(2, 1)]);
    assert_eq!(shares(&run(9, 1, &[(1, 1)], &[edge(1, 2, Relative, 500_000)], 0)), [(2, 1)]);
    let three = [edge(1, 7, Relative, 250_000), edge(1, 5, Relative, 250_000), edge(1, 6, Relative, 250_000)];
    assert_eq!(shares(&run(9, 2, &[(1, 1)], &three, 0)), [(5, 1), (6, 1)]);
    let two = [
        edge(1, 2, Absolute, 250_000),
        edge(1, 8, Relative, 0),
        edge(8, 2, Absolute, 250_000),
        edge(1, 7, Absolute, 250_000),
    ];
    assert_eq!(shares(&run(9, 2, &[(1, 1)], &two, 0)), [(2, 1), (7, 1)], "by child, then parent");
    let lineage = Lineage::new([]).expect("no edges");
    let rules = Rules { lineage: &lineage, owners: |_: &u32| vec![owner(4, 3), owner(1, 3)], fee: fee(0) };
    let distribution =
        distribute(MemberId::new(9), Micro::new(1), &[(1, 1)], &rules).expect("a plain charge");
    assert_eq!(shares(&distribution), [(1, 1)]);
}

#[test]
fn several_versions_share_a_charge_by_quantity_or_equally() {
    assert_eq!(shares(&run(9, 100, &[(2, 3), (1, 1)], &[], 0)), [(1, 25), (2, 75)]);
    assert_eq!(shares(&run(9, 101, &[(2, 0), (1, 0)], &[], 0)), [(1, 51), (2, 50)]);
    assert_eq!(shares(&run(9, 100, &[(1, 1), (2, 2), (1, 1)], &[], 0)), [(1, 50), (2, 50)]);
    assert_eq!(run(9, 100, &[(2, 3), (1, 1)], &[], 10_000).prove(), Ok(()));
}

#[test]
fn nothing_charged_posts_nothing() {
    let distribution = run(9, 0, &[(1, 0)], &[], 25_000);
    assert!(distribution.postings.is_empty() && distribution.shares.is_empty());
    assert_eq!(distribution.prove(), Ok(()));
}

#[test]
fn impossible_runs_are_refused() {
    let lineage =
        Lineage::new([edge(1, 2, EdgeMode::Absolute, 600_000), edge(2, 3, EdgeMode::Absolute, 600_000)])
            .expect("each edge alone is below 100 %");
    let refused = |charge, assets: &[(u32, u64)], owners: &[Owner], ppm| {
        let rules = Rules { lineage: &lineage, owners: |_: &u32| owners.to_vec(), fee: fee(ppm) };
        distribute(MemberId::new(9), Micro::new(charge), assets, &rules).map_err(|e| e.rule()).err()
    };
    let one = [owner(1, 1)];
    assert_eq!(refused(1, &[(1, 1)], &one, 0), Some("STACK-OVER-100"));
    assert_eq!(refused(1, &[(2, 1)], &one, 0), None);
    assert_eq!(refused(-1, &[(2, 1)], &one, 0), Some("MONEY-NEGATIVE"));
    assert_eq!(refused(1, &[], &one, 0), Some("LINE-NO-ASSET"));
    assert_eq!(refused(1, &[(2, 1)], &one, 1_000_001), Some("FEE-OVER-100"));
    assert_eq!(refused(1, &[(2, 1)], &[owner(1, 0)], 0), Some("SPLIT-ORPHAN"));
    assert_eq!(refused(0, &[(2, 1)], &[], 0), Some("SPLIT-ORPHAN"));
    assert_eq!(refused(1, &[(2, 1)], &[owner(1, 1), owner(1, 2)], 0), Some("SPLIT-DUPLICATE"));
}

#[test]
fn a_forged_distribution_is_found() {
    let honest = run(2, 1_000, &[(1, 0)], &[edge(1, 2, EdgeMode::Relative, 500_000)], 100_000);
    let forged = |change: fn(&mut Distribution<u32>)| {
        let mut copy = honest.clone();
        change(&mut copy);
        copy.prove().map_err(|e| e.what)
    };
    assert_eq!(forged(|_| ()), Ok(()));
    assert!(forged(|d| d.postings[0].legs[0].micros = Micro::new(-999)).is_err());
    assert!(forged(|d| drop(d.postings.pop())).is_err());
    assert!(forged(|d| d.shares[0].micros = Micro::new(99)).is_err());
    assert!(forged(|d| d.charge = Micro::new(1_001)).is_err());
    assert!(forged(|d| d.payer = MemberId::new(3)).is_err());
    assert!(forged(|d| d.shares.truncate(1)).is_err());
}

#[test]
fn a_correction_is_new_less_old() {
    let share = |member, micros| Share { member: MemberId::new(member), micros: Micro::new(micros) };
    let difference = difference(&[share(1, 5), share(2, 7)], &[share(2, 7), share(3, 2)]);
    assert_eq!(difference, Ok(vec![share(1, 5), share(3, -2)]));
    let posting = &run(9, 100, &[(1, 1)], &[], 0).postings[0];
    let back = posting.reversed().and_then(|posting| posting.reversed());
    assert_eq!(back.as_ref(), Ok(posting));
}

#[test]
fn wire_bytes_are_pinned() {
    let distribution = run(9, 100, &[(1, 1)], &[], 10_000);
    let bytes = codec::encode(&distribution);
    let pinned = [
        "09c8",     // payer 9 is charged 100 (zigzag 200)
        "02",       // two postings
        "000103",   // the charge on asset 1: three legs
        "000900c7", // payer 9: -100
        "02000002", // payee 0: 1
        "010100c6", // node 1: 99
        "030102",   // owners of asset 1: two legs
        "010100c5", // node 1: -99
        "020100c6", // payee 1: 99
        "02", "0002", "01c6", // shares: 1 for 0, 99 for 1
    ];
    assert_eq!(hex::encode(&bytes), pinned.concat());
    assert_eq!(codec::decode::<Distribution<u32>>(&bytes, 256), Ok(distribution));
}

/// Ten assets; an edge leads to a lower number, so there is no cycle.
#[derive(Clone, Debug)]
struct World {
    edges: Vec<Edge<u32>>,
    owners: Vec<Vec<Owner>>,
    fee: u32,
    payer: u32,
    charge: i128,
    assets: Vec<(u32, u64)>,
}

fn world() -> impl Strategy<Value = World> {
    let edge = (1..10_u32, any::<Index>(), any::<bool>(), 0..100_000_u32).prop_map(
        |(child, parent, absolute, ppm)| {
            let parent =
                u32::try_from(parent.index(usize::try_from(child).expect("below 10"))).expect("below 10");
            let mode = if absolute { EdgeMode::Absolute } else { EdgeMode::Relative };
            Edge { child, parent, mode, ppm: Ppm::new(ppm) }
        },
    );
    let weights = prop::collection::vec(any::<u64>(), 4).prop_map(|weights| {
        (0..4).zip(weights).map(|(member, weight)| owner(member, weight.max(1))).collect()
    });
    let charge = prop_oneof![0..100_i128, 0..1_000_000_000_000_i128, 0..=i128::MAX];
    let assets = prop::collection::vec((0..10_u32, 0..5_u64), 1..4);
    (
        prop::collection::vec(edge, 0..10),
        prop::collection::vec(weights, 10),
        0..=1_000_000_u32,
        0..6_u32,
        charge,
        assets,
    )
        .prop_map(|(mut edges, owners, fee, payer, charge, assets)| {
            edges.sort_by_key(|e| (e.child, e.parent, e.mode));
            edges.dedup_by_key(|e| (e.child, e.parent, e.mode));
            World { edges, owners, fee, payer, charge, assets }
        })
}

fn run_world(world: &World) -> Distribution<u32> {
    let lineage = Lineage::new(world.edges.iter().cloned()).expect("at most ten edges below 10 % each");
    let owners = |asset: &u32| world.owners[usize::try_from(*asset).expect("below 10")].clone();
    let rules = Rules { lineage: &lineage, owners, fee: fee(world.fee) };
    distribute(MemberId::new(world.payer), Micro::new(world.charge), &world.assets, &rules)
        .expect("a plain charge")
}

proptest! {
    #[test]
    fn money_is_conserved(world in world()) {
        let distribution = run_world(&world);
        prop_assert_eq!(distribution.prove(), Ok(()));
        let sum = Micro::sum(distribution.shares.iter().map(|share| share.micros));
        prop_assert_eq!(sum, Ok(distribution.charge));
        prop_assert!(distribution.shares.iter().all(|share| share.micros > Micro::ZERO));
    }

    #[test]
    fn the_order_of_registration_changes_nothing(world in world()) {
        let mut other = world.clone();
        other.edges.reverse();
        other.assets.reverse();
        other.owners.iter_mut().for_each(|owners| owners.reverse());
        prop_assert_eq!(run_world(&other), run_world(&world));
    }

    #[test]
    fn unrelated_lineage_changes_nothing(world in world()) {
        let mut other = world.clone();
        other.edges.push(edge(20, 21, EdgeMode::Relative, 1));
        other.edges.push(edge(20, 0, EdgeMode::Absolute, 1));
        prop_assert_eq!(run_world(&other), run_world(&world));
    }
}
