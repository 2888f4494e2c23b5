#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "tests compute expectations plainly"
)]

use proptest::prelude::*;

use super::*;

fn per(minor: u64, per: u64) -> Rate {
    Rate::new(minor, per).expect("per is above 0")
}

fn tiered(mode: TierMode, tiers: &[(Option<u64>, u64, u64)]) -> Price {
    let tiers = tiers.iter().map(|&(up_to, minor, units)| Tier { up_to, rate: per(minor, units) }).collect();
    Price::Tiered { mode, tiers }
}

const STEPS: [(Option<u64>, u64, u64); 3] = [(Some(10), 100, 1), (Some(20), 90, 1), (None, 80, 1)];

fn micros(price: &Price, quantity: u64) -> i128 {
    rate(&[Segment::new(price, quantity)], &Adjustments::NONE).expect("in range").accrued.get()
}

#[test]
fn every_kind_of_price() {
    let net =
        |deduction_cap| Price::Revenue { share: Ppm::new(80_000), base: RevenueBase::Net { deduction_cap } };
    let cases = [
        (Price::Free, 7, 0),
        (Price::Flat(per(333_333, 3)), 7, 111_111_000_000),
        (Price::PerUnit(per(37, 10)), 1_234, 4_565_800_000),
        (Price::Package(per(5, 100)), 0, 0),
        (Price::Package(per(5, 100)), 1, 5_000_000),
        (Price::Package(per(5, 100)), 100, 5_000_000),
        (Price::Package(per(5, 100)), 101, 10_000_000),
        (tiered(TierMode::Graduated, &STEPS), 10, 1_000_000_000),
        (tiered(TierMode::Graduated, &STEPS), 25, 2_300_000_000),
        (tiered(TierMode::Volume, &STEPS), 10, 1_000_000_000),
        (tiered(TierMode::Volume, &STEPS), 11, 990_000_000),
        (tiered(TierMode::Volume, &STEPS), 0, 0),
        (net(None), 1_234_567, 98_765_360_000),
        (net(Some(Ppm::new(200_000))), 1_234_567, 98_765_360_000),
    ];
    for (price, quantity, expected) in cases {
        assert_eq!(micros(&price, quantity), expected, "{price:?} at {quantity}");
    }
}

#[test]
fn deductions_stop_at_their_cap_and_at_zero() {
    let charge = |deduction_cap: Option<u32>, deductions| {
        let base = RevenueBase::Net { deduction_cap: deduction_cap.map(Ppm::new) };
        let price = Price::Revenue { share: Ppm::new(100_000), base };
        let segment = Segment { deductions, ..Segment::new(&price, 1_000) };
        let charge = rate(&[segment], &Adjustments::NONE).expect("in range");
        (charge.due.get(), segment.deductions_carried())
    };
    assert_eq!(charge(None, 300), (70_000_000, 0));
    assert_eq!(charge(None, 1_300), (0, 300));
    assert_eq!(charge(Some(200_000), 150), (85_000_000, 0));
    assert_eq!(charge(Some(200_000), 1_300), (80_000_000, 0));
    assert_eq!(charge(Some(1_000_000), 1_300), (0, 0));
}

#[test]
fn foreign_revenue_converts_before_it_is_shared() {
    let price = Price::Revenue { share: Ppm::new(500_000), base: RevenueBase::Gross };
    let segment = Segment { exchange: Some(per(2, 3)), ..Segment::new(&price, 1) };
    let charge = rate(&[segment], &Adjustments::NONE).expect("in range");
    assert_eq!(charge.due, Micro::new(333_333), "one third of a minor unit, rounded once");
}

#[test]
fn the_order_is_multiplier_minimum_cap() {
    let rated = |quantity, multiplier, minimum: Option<i128>, cap: Option<i128>| {
        let price = Price::PerUnit(per(1, 1));
        let adjustments = Adjustments {
            multiplier: Ppm::new(multiplier),
            minimum: minimum.map(Minor::new),
            cap: cap.map(Minor::new),
            ..Adjustments::NONE
        };
        rate(&[Segment::new(&price, quantity)], &adjustments).expect("in range").due.get()
    };
    assert_eq!(rated(1_000, 500_000, Some(700), None), 700_000_000);
    assert_eq!(rated(1_000, 2_000_000, None, Some(1_500)), 1_500_000_000);
    assert_eq!(rated(1, 1_000_000, Some(900), Some(800)), 800_000_000);
    assert_eq!(rated(0, 1_000_000, Some(60), Some(500)), 60_000_000, "due even without use");
}

#[test]
fn rounding_is_half_to_even_and_happens_once() {
    let price = Price::PerUnit(per(1, 2_000_000));
    assert_eq!([1, 3, 5, 7].map(|quantity| micros(&price, quantity)), [0, 2, 2, 4]);
    // Each of two segments alone would round 0.5 down to 0.
    let halves = [Segment::new(&price, 1), Segment::new(&price, 1)];
    assert_eq!(rate(&halves, &Adjustments::NONE).expect("in range").due, Micro::new(1));
}

#[test]
fn amended_versions_share_one_tier_position() {
    let old = tiered(TierMode::Graduated, &STEPS);
    let new = tiered(TierMode::Graduated, &[(Some(10), 50, 1), (Some(20), 40, 1), (None, 30, 1)]);
    let charge =
        rate(&[Segment::new(&old, 15), Segment::new(&new, 10)], &Adjustments::NONE).expect("in range");
    // 10·100 + 5·90, then 5·40 + 5·30 from position 15 on.
    assert_eq!(charge.due, Micro::new(1_800_000_000));
    let (old, new) =
        (tiered(TierMode::Volume, &STEPS), tiered(TierMode::Volume, &[(Some(20), 50, 1), (None, 30, 1)]));
    let charge =
        rate(&[Segment::new(&old, 15), Segment::new(&new, 10)], &Adjustments::NONE).expect("in range");
    assert_eq!(charge.due, Micro::new((15 * 80 + 10 * 30) * 1_000_000));
}

#[test]
fn amended_flat_terms_are_prorated_by_time() {
    let (old, new) = (Price::Flat(per(300, 1)), Price::Flat(per(600, 1)));
    let month = 31 * 86_400_000;
    let portion = |part| Portion::new(part, month).expect("part of a month");
    let segments = [
        Segment { portion: portion(month / 3), ..Segment::new(&old, 0) },
        Segment { portion: portion(month - month / 3), ..Segment::new(&new, 0) },
    ];
    let charge = rate(&segments, &Adjustments::NONE).expect("in range");
    assert_eq!(charge.due, Micro::new(500_000_000));
    assert_eq!(Portion::new(2, 1).map_err(|e| e.rule()), Err("RATE-PORTION"));
    assert_eq!(Portion::new(0, 0).map_err(|e| e.rule()), Err("RATE-PORTION"));
}

#[test]
fn a_lifetime_cap_is_used_up_once_and_a_minimum_falls_due_at_the_end() {
    let price = Price::PerUnit(per(1, 1));
    let due = |accrued: i128, last_period, quantity| {
        let adjustments = Adjustments {
            minimum: Some(Minor::new(50)),
            cap: Some(Minor::new(100)),
            scope: Scope::Lifetime,
            history: History { accrued: Micro::new(accrued * 1_000_000), last_period, ..History::default() },
            ..Adjustments::NONE
        };
        rate(&[Segment::new(&price, quantity)], &adjustments).expect("in range").due.get() / 1_000_000
    };
    assert_eq!(due(0, false, 10), 10);
    assert_eq!(due(10, true, 10), 40);
    assert_eq!(due(60, true, 10), 10);
    assert_eq!(due(95, false, 10), 5);
    assert_eq!(due(120, false, 10), 0);
}

#[test]
fn an_advance_is_used_up_first() {
    let price = Price::PerUnit(per(1, 1));
    let rated = |recouped: i128| {
        let history = History { recouped: Micro::new(recouped), ..History::default() };
        let adjustments = Adjustments { advance: Some(Minor::new(15)), history, ..Adjustments::NONE };
        let charge = rate(&[Segment::new(&price, 10)], &adjustments).expect("in range");
        assert_eq!(charge.recouped.checked_add(charge.due), Ok(charge.accrued));
        charge.due.get()
    };
    assert_eq!([0, 10_000_000, 15_000_000].map(rated), [0, 5_000_000, 10_000_000]);
}

#[test]
fn the_largest_inputs_are_rated_or_refused() {
    let price = Price::PerUnit(per(u64::MAX, 1));
    let result = rate(&[Segment::new(&price, u64::MAX)], &Adjustments::NONE);
    assert_eq!(result.map_err(|e| e.rule()), Err("MONEY-RANGE"));
    assert_eq!(micros(&Price::PerUnit(per(u64::MAX, u64::MAX)), u64::MAX), i128::from(u64::MAX) * 1_000_000);
    let cap = Adjustments { cap: Some(Minor::new(1)), ..Adjustments::NONE };
    let capped = rate(&[Segment::new(&price, u64::MAX)], &cap).expect("only the result must fit");
    assert_eq!(capped.due, Micro::new(1_000_000));
    // Coprime denominators of 64 bits each: far beyond 256 bits, and still exact.
    let wide: Vec<_> =
        (0..60).map(|k| (Some((k + 1) * 1_000), 7, u64::MAX - k)).chain([(None, 7, 3)]).collect();
    let total = micros(&tiered(TierMode::Graduated, &wide), 60_003);
    assert_eq!(total, 7_000_000, "sixty thousand parts of nothing and 3 units at 7/3");
}

#[test]
fn a_quantity_beyond_an_unchecked_term_is_refused() {
    for mode in [TierMode::Graduated, TierMode::Volume] {
        let price = tiered(mode, &[(Some(10), 1, 1)]);
        let refused = rate(&[Segment::new(&price, 11)], &Adjustments::NONE);
        assert_eq!(refused.map_err(|e| e.rule()), Err("TIER-OPEN"));
    }
}

/// Prices every unit by itself over one common denominator: slow, and plainly right.
fn oracle(mode: TierMode, ends: [u64; 2], rates: [(u64, u64); 3], quantity: u64, ppm: u32) -> i128 {
    let denominator: u128 = rates.iter().map(|&(_, per)| u128::from(per)).product();
    let tier_of = |unit: u64| {
        if unit <= ends[0] {
            rates[0]
        } else if unit <= ends[1] {
            rates[1]
        } else {
            rates[2]
        }
    };
    let numerator: u128 = (1..=quantity)
        .map(|unit| tier_of(if mode == TierMode::Volume { quantity } else { unit }))
        .map(|(minor, per)| u128::from(minor) * denominator / u128::from(per))
        .sum();
    // Micros per minor unit and ppm cancel.
    let numerator = numerator * u128::from(ppm);
    let (floor, rest) = (numerator / denominator, numerator % denominator);
    let up = match (rest * 2).cmp(&denominator) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => floor % 2,
        std::cmp::Ordering::Greater => 1,
    };
    (floor + up) as i128
}

proptest! {
    #[test]
    fn tiers_agree_with_pricing_unit_by_unit(
        volume: bool,
        first in 1..40_u64,
        second in 1..40_u64,
        rates in prop::array::uniform3((0..1_000_u64, 1..5_000_u64)),
        quantity in 0..120_u64,
        ppm in prop::sample::select(vec![0, 1, 333_333, 1_000_000, 1_100_000]),
    ) {
        let mode = if volume { TierMode::Volume } else { TierMode::Graduated };
        let ends = [first, first + second];
        let tiers = [(Some(ends[0]), rates[0].0, rates[0].1), (Some(ends[1]), rates[1].0, rates[1].1), (None, rates[2].0, rates[2].1)];
        let adjustments = Adjustments { multiplier: Ppm::new(ppm), ..Adjustments::NONE };
        let charge = rate(&[Segment::new(&tiered(mode, &tiers), quantity)], &adjustments).expect("in range");
        prop_assert_eq!(charge.accrued.get(), oracle(mode, ends, rates, quantity, ppm));
    }

    #[test]
    fn cutting_a_quantity_into_segments_changes_nothing(
        cut in 0..60_u64,
        rest in 0..60_u64,
        graduated: bool,
        units in 1..7_u64,
    ) {
        let mode = if graduated { TierMode::Graduated } else { TierMode::Volume };
        for price in [tiered(mode, &STEPS), Price::PerUnit(per(1, units)), Price::Package(per(3, units))] {
            let whole = rate(&[Segment::new(&price, cut + rest)], &Adjustments::NONE);
            let parts = [Segment::new(&price, cut), Segment::new(&price, rest)];
            prop_assert_eq!(rate(&parts, &Adjustments::NONE), whole);
        }
    }

    #[test]
    fn charges_keep_to_their_bounds_and_never_fall_with_use(
        quantity in 0..u64::MAX,
        more in 0..1_000_u64,
        minor in 0..1_000_u64,
        units: u64,
        ppm: u32,
        bounds in (0..1_000_i128, 0..1_000_i128),
    ) {
        let price = Price::PerUnit(per(minor, units.max(1)));
        let (minimum, cap) = (bounds.0, bounds.0 + bounds.1);
        let adjustments = Adjustments {
            multiplier: Ppm::new(ppm),
            minimum: Some(Minor::new(minimum)),
            cap: Some(Minor::new(cap)),
            ..Adjustments::NONE
        };
        let at = |quantity| rate(&[Segment::new(&price, quantity)], &adjustments).expect("capped").due.get();
        let (less, more) = (at(quantity), at(quantity.saturating_add(more)));
        prop_assert!(minimum * 1_000_000 <= less && less <= more && more <= cap * 1_000_000);
    }
}
