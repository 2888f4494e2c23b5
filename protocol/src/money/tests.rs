#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "tests compute expectations plainly"
)]

use proptest::prelude::*;

use super::*;
use crate::codec;

fn currency(code: &str) -> Currency {
    code.parse().expect("a known code")
}

#[test]
fn amounts_are_exact_decimals() {
    let cases = [
        (5_625_601_650, "EUR", "56.2560165"),
        (5_600_000_000, "EUR", "56.00"),
        (5_650_000_000, "EUR", "56.50"),
        (-1, "EUR", "-0.00000001"),
        (0, "EUR", "0.00"),
        (0, "JPY", "0"),
        (111_111_000_000, "JPY", "111111"),
        (111_111_500_000, "JPY", "111111.5"),
        (10_000_000, "JPY", "10"),
        (1_000_000, "BHD", "0.001"),
        (i128::MIN, "JPY", "-170141183460469231731687303715884.105728"),
    ];
    for (micros, code, text) in cases {
        assert_eq!(Micro::new(micros).amount(currency(code)), text);
    }
    for (minor, code, text) in
        [(5_626, "EUR", "56.26"), (5_626, "JPY", "5626"), (-5, "BHD", "-0.005"), (0, "EUR", "0.00")]
    {
        assert_eq!(Minor::new(minor).amount(currency(code)), text);
        assert_eq!(Minor::parse(text, currency(code)), Ok(Minor::new(minor)));
    }
}

#[test]
fn amounts_are_read_strictly() {
    let eur = currency("EUR");
    assert_eq!(Minor::parse("2.5", eur), Ok(Minor::new(250)));
    assert_eq!(Minor::parse("2", eur), Ok(Minor::new(200)));
    for text in ["", ".", "2.", ".5", "2.505", "+2", "--2", "02", "2,50", "2e3", "2.5 ", "\u{0662}", "2.-5"] {
        assert_eq!(Minor::parse(text, eur).map_err(|e| e.rule()), Err("MONEY-SYNTAX"), "{text:?}");
    }
    let huge = "9".repeat(60);
    assert_eq!(Minor::parse(&huge, eur).map_err(|e| e.rule()), Err("MONEY-RANGE"));
}

#[test]
fn json_is_decimal_strings() {
    assert_eq!(serde_json::to_string(&Micro::new(-7)).expect("a string"), "\"-7\"");
    let rate = Rate::new(250, 1_000_000).expect("per is above 0");
    let json = serde_json::to_string(&rate).expect("an object");
    assert_eq!(json, r#"{"minor":"250","per":"1000000"}"#);
    assert_eq!(serde_json::from_str::<Rate>(&json).expect("own output"), rate);
    assert_eq!(serde_json::from_str::<Rate>(r#"{"minor":250,"per":1000000}"#).expect("plain integers"), rate);
    for json in [
        r#"{"minor":"250","per":"0"}"#,
        r#"{"minor":-1,"per":1}"#,
        r#"{"minor":2.5,"per":1}"#,
        r#"{"minor":"+1","per":1}"#,
    ] {
        assert!(serde_json::from_str::<Rate>(json).is_err(), "{json}");
    }
    assert!(serde_json::from_str::<Minor>("\"00\"").is_err());
    assert!(serde_json::from_str::<Minor>("\"-0\"").is_err());
}

#[test]
fn wire_bytes_are_pinned() {
    assert_eq!(codec::encode(&Micro::new(-1)), [1]);
    assert_eq!(codec::encode(&Minor::new(250)), [0xfb, 0xf4, 0x01]);
    assert_eq!(
        codec::encode(&Rate::new(250, 1_000_000).expect("per is above 0")),
        [250, 0xfc, 0x40, 0x42, 0x0f, 0]
    );
    assert_eq!(codec::encode(&Weight::new(7)), [7]);
    assert_eq!(codec::encode(&Ppm::new(7)), [7]);
    assert!(codec::decode::<Rate>(&[250, 0], 16).is_err(), "a rate per 0 units has no encoding");
}

#[test]
fn arithmetic_refuses_instead_of_wrapping() {
    let max = Micro::new(i128::MAX);
    assert_eq!(max.checked_add(Micro::new(1)), Err(MoneyError::Range));
    assert_eq!(Micro::new(i128::MIN).checked_neg(), Err(MoneyError::Range));
    assert_eq!(Micro::sum([max, max]), Err(MoneyError::Range));
    assert_eq!(Minor::new(i128::MAX).to_micro(), Err(MoneyError::Range));
    assert_eq!(Micro::new(-2_500_000).to_minor(), (Minor::new(-2), Micro::new(-500_000)));
    assert_eq!(Rate::new(1, 0), Err(MoneyError::RatePerZero));
    assert_eq!(Ppm::new(1_000_001).rest(), None);
}

#[test]
fn leftovers_go_to_the_largest_remainders_then_by_position() {
    let cases: [(i128, &[u128], &[i128]); 7] = [
        (10, &[1, 1, 1], &[4, 3, 3]),
        (11, &[1, 1, 1], &[4, 4, 3]),
        (100, &[7, 5, 1], &[54, 38, 8]),
        (0, &[1, 2], &[0, 0]),
        (5, &[0, 1], &[0, 5]),
        (1, &[1, 2], &[0, 1]),
        (i128::MAX, &[u128::MAX - 1, 1], &[i128::MAX, 0]),
    ];
    for (total, weights, parts) in cases {
        assert_eq!(largest_remainder(total, weights).as_deref(), Ok(parts), "{total} by {weights:?}");
    }
}

#[test]
fn impossible_splits_are_refused() {
    for (total, weights, rule) in [
        (-1, &[1][..], "MONEY-NEGATIVE"),
        (1, &[], "SPLIT-NO-WEIGHT"),
        (0, &[0, 0], "SPLIT-NO-WEIGHT"),
        (1, &[u128::MAX, 1], "MONEY-RANGE"),
    ] {
        assert_eq!(largest_remainder(total, weights).map_err(|e| e.rule()), Err(rule));
    }
}

/// Domain §6: one cent at a time, accrued in micros, pays both what they are owed.
#[test]
fn a_thousand_cents_accrue_without_loss() {
    let mut sums = [0_i128; 2];
    for _ in 0..1_000 {
        let parts = largest_remainder(MICROS_PER_MINOR, &[70, 30]).expect("a plain split");
        sums[0] += parts[0];
        sums[1] += parts[1];
    }
    let paid = sums.map(|micros| Micro::new(micros).to_minor());
    assert_eq!(paid, [(Minor::new(700), Micro::ZERO), (Minor::new(300), Micro::ZERO)]);
}

proptest! {
    #[test]
    fn parts_sum_to_the_total_and_stay_within_one_unit(
        total in 0..=i128::MAX,
        weights in prop::collection::vec(any::<u64>(), 1..20),
    ) {
        let weights: Vec<u128> = weights.into_iter().map(u128::from).collect();
        let sum: u128 = weights.iter().sum();
        prop_assume!(sum > 0);
        let parts = largest_remainder(total, &weights).expect("a plain split");
        prop_assert_eq!(parts.iter().sum::<i128>(), total);
        for (part, weight) in parts.iter().zip(&weights) {
            let exact = U256::from(total.unsigned_abs()) * U256::from(*weight);
            let scaled = U256::from(part.unsigned_abs()) * U256::from(sum);
            prop_assert!(scaled.abs_diff(exact) < U256::from(sum));
        }
    }

    #[test]
    fn more_weight_never_gets_less(total in 0..=i128::MAX, weights in prop::collection::vec(1..1_000_u128, 2..20)) {
        let parts = largest_remainder(total, &weights).expect("a plain split");
        for (i, a) in weights.iter().enumerate() {
            for (j, b) in weights.iter().enumerate() {
                prop_assert!(a <= b || parts[i] >= parts[j]);
            }
        }
    }

    #[test]
    fn minor_amounts_round_trip(minor: i128, code in prop::sample::select(vec!["EUR", "JPY", "BHD", "CLF"])) {
        let amount = Minor::new(minor);
        prop_assert_eq!(Minor::parse(&amount.amount(currency(code)), currency(code)), Ok(amount));
    }
}
