#![allow(clippy::arithmetic_side_effects, reason = "tests compute expectations plainly")]

use super::*;
use crate::codec;

fn per(minor: u64, per: u64) -> Rate {
    Rate::new(minor, per).expect("per is above 0")
}

fn tiered(mode: TierMode, tiers: &[(Option<u64>, u64)]) -> Price {
    Price::Tiered {
        mode,
        tiers: tiers.iter().map(|&(up_to, minor)| Tier { up_to, rate: per(minor, 1) }).collect(),
    }
}

fn term(price: Price) -> PaymentTerm {
    PaymentTerm {
        currency: "EUR".parse().expect("a known code"),
        price,
        multiplier: None,
        minimum: None,
        cap: None,
        advance: None,
        scope: Scope::Period,
    }
}

fn multiplier() -> Multiplier {
    Multiplier {
        metric: "accuracy".into(),
        below: Ppm::new(800_000),
        steps: vec![Step { from: 850_000, ppm: Ppm::ONE }, Step { from: 920_000, ppm: Ppm::new(1_100_000) }],
        aggregation: Aggregation::Median,
        observers: vec![MemberId::new(1), MemberId::new(3)],
        quorum: 2,
    }
}

#[test]
fn prices_are_checked() {
    use TierMode::{Graduated, Volume};
    let net = |ppm| RevenueBase::Net { deduction_cap: Some(Ppm::new(ppm)) };
    let open = vec![(None, 1); 65];
    let cases = [
        (Price::Free, None),
        (tiered(Graduated, &[(None, 1)]), None),
        (tiered(Volume, &[(Some(1), 3), (Some(2), 2), (None, 1)]), None),
        (tiered(Volume, &[]), Some("TIER-NONE")),
        (tiered(Volume, &[(Some(0), 3), (None, 1)]), Some("TIER-ORDER")),
        (tiered(Volume, &[(Some(5), 3), (Some(5), 2), (None, 1)]), Some("TIER-ORDER")),
        (tiered(Volume, &[(Some(5), 3)]), Some("TIER-OPEN")),
        (tiered(Volume, &[(None, 3), (None, 1)]), Some("TIER-OPEN")),
        (tiered(Volume, &open), Some("TIER-TOO-MANY")),
        (Price::Revenue { share: Ppm::ONE, base: net(1_000_000) }, None),
        (Price::Revenue { share: Ppm::new(1_000_001), base: RevenueBase::Gross }, Some("SHARE-OVER-100")),
        (Price::Revenue { share: Ppm::ONE, base: net(1_000_001) }, Some("SHARE-OVER-100")),
    ];
    for (price, rule) in cases {
        assert_eq!(price.check().map_err(|e| e.rule()).err(), rule, "{price:?}");
    }
}

#[test]
fn amounts_are_checked() {
    type Change = fn(&mut PaymentTerm);
    let cases: [(Change, Option<&str>, Option<&str>); 6] = [
        (|t| t.minimum = Some(Minor::new(5)), None, None),
        (|t| t.minimum = Some(Minor::new(-5)), Some("TERM-NEGATIVE"), Some("TERM-NEGATIVE")),
        (|t| t.cap = Some(Minor::new(i128::MAX)), Some("MONEY-RANGE"), Some("MONEY-RANGE")),
        (|t| t.advance = Some(Minor::new(-1)), Some("TERM-NEGATIVE"), Some("TERM-NEGATIVE")),
        (|t| (t.minimum, t.cap) = (Some(Minor::new(5)), Some(Minor::new(5))), None, None),
        (|t| (t.minimum, t.cap) = (Some(Minor::new(6)), Some(Minor::new(5))), None, Some("MIN-GT-CAP")),
    ];
    for (change, shape, whole) in cases {
        let mut term = term(Price::Free);
        change(&mut term);
        assert_eq!(term.check_shape().map_err(|e| e.rule()).err(), shape, "{term:?}");
        assert_eq!(term.check().map_err(|e| e.rule()).err(), whole, "{term:?}");
    }
}

#[test]
fn multipliers_are_checked() {
    type Change = fn(&mut Multiplier);
    let cases: [(Change, Option<&str>); 10] = [
        (|_| (), None),
        (|m| m.steps.clear(), None),
        (|m| m.metric.clear(), Some("DYN-METRIC")),
        (|m| m.metric = "two words".into(), Some("DYN-METRIC")),
        (|m| m.metric = "x".repeat(65), Some("DYN-METRIC")),
        (|m| m.steps.swap(0, 1), Some("DYN-ORDER")),
        (|m| m.steps = vec![m.steps[0]; 65], Some("TIER-TOO-MANY")),
        (|m| m.observers.reverse(), Some("DYN-OBSERVERS")),
        (|m| m.quorum = 0, Some("DYN-QUORUM")),
        (|m| m.quorum = 3, Some("DYN-QUORUM")),
    ];
    for (change, rule) in cases {
        let mut changed = multiplier();
        change(&mut changed);
        let term = PaymentTerm { multiplier: Some(changed), ..term(Price::Free) };
        assert_eq!(term.check().map_err(|e| e.rule()).err(), rule, "{term:?}");
    }
}

#[test]
fn cliffs_of_volume_tiers_are_found() {
    use TierMode::{Graduated, Volume};
    let tiers = [(Some(10), 100), (Some(20), 91), (None, 91)];
    assert_eq!(tiered(Volume, &tiers).cliff(), None, "11 · 91 is above 10 · 100");
    let tiers = [(Some(10), 100), (Some(20), 99), (None, 80)];
    assert_eq!(tiered(Volume, &tiers).cliff(), Some(20));
    assert_eq!(tiered(Graduated, &tiers).cliff(), None);
    assert_eq!(tiered(Volume, &[(Some(u64::MAX), u64::MAX), (None, 1)]).cliff(), Some(u64::MAX));
}

#[test]
fn terms_round_trip_in_both_formats() {
    let full = PaymentTerm {
        multiplier: Some(multiplier()),
        minimum: Some(Minor::new(6_000)),
        cap: Some(Minor::new(50_000)),
        advance: Some(Minor::ZERO),
        scope: Scope::Lifetime,
        ..term(tiered(TierMode::Graduated, &[(Some(10), 250), (None, 190)]))
    };
    let net = Price::Revenue { share: Ppm::new(80_000), base: RevenueBase::Net { deduction_cap: None } };
    for term in
        [full, term(Price::Free), term(Price::Flat(per(1, 3))), term(Price::Package(per(5, 100))), term(net)]
    {
        let bytes = codec::encode(&term);
        assert_eq!(codec::decode::<PaymentTerm>(&bytes, 4_096).as_ref(), Ok(&term));
        let json = serde_json::to_string(&term).expect("plain data");
        assert_eq!(serde_json::from_str::<PaymentTerm>(&json).expect("own output"), term, "{json}");
    }
}

#[test]
fn wire_bytes_are_pinned() {
    let steps = tiered(TierMode::Volume, &[(Some(10), 2), (None, 1)]);
    let term = PaymentTerm {
        multiplier: Some(Multiplier { metric: "bias".into(), ..multiplier() }),
        cap: Some(Minor::new(7)),
        ..term(steps)
    };
    let pinned = [
        "455552", // EUR
        "0401",   // tiered, volume
        "02010a02010001",
        "01",                     // two tiers: up to 10 at 2/1, open at 1/1
        "010462696173",           // a multiplier on "bias"
        "fc00350c00",             // 800,000 below
        "02fca0f01900fc40420f00", // from 850,000 (zigzag): 1,000,000
        "fc80131c00fce0c81000",   // from 920,000: 1,100,000
        "0002010302",             // median of members 1 and 3, both needed
        "00010e0000",             // no minimum, cap 7 (zigzag), no advance, period
    ];
    assert_eq!(hex::encode(codec::encode(&term)), pinned.concat());
}

#[test]
fn json_reads_as_it_is_signed() {
    let term = PaymentTerm { cap: Some(Minor::new(7)), ..term(Price::PerUnit(per(250, 1_000_000))) };
    let json = serde_json::to_string(&term).expect("plain data");
    let expected = concat!(
        r#"{"currency":"EUR","price":{"per_unit":{"minor":"250","per":"1000000"}},"#,
        r#""multiplier":null,"minimum":null,"cap":"7","advance":null,"scope":"period"}"#
    );
    assert_eq!(json, expected);
    let unknown = json.replace("\"cap\"", "\"top\"");
    assert!(serde_json::from_str::<PaymentTerm>(&unknown).is_err());
}
