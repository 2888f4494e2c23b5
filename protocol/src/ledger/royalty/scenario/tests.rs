#![allow(clippy::arithmetic_side_effects, reason = "tests compute expectations plainly")]

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    scenario: Scenario,
    expected: Report,
}

const VECTORS: [(&str, &str); 2] = [
    ("royalty-2026-10", include_str!("../../../../../tests/vectors/royalty-2026-10.json")),
    ("royalty-edges", include_str!("../../../../../tests/vectors/royalty-edges.json")),
];

fn vector(text: &str) -> Vector {
    serde_json::from_str(text).expect("the vectors are well-formed")
}

#[test]
fn the_vectors_come_out_to_the_micro() {
    for (name, text) in VECTORS {
        let Vector { scenario, expected } = vector(text);
        let report = compute(&scenario).expect("the vectors can be computed");
        assert_eq!(report, expected, "{name}");
    }
}

#[test]
fn the_report_prints_key_for_key() {
    for (name, text) in VECTORS {
        let Vector { scenario, .. } = vector(text);
        let report = compute(&scenario).expect("the vectors can be computed");
        let printed = serde_json::to_string(&report).expect("plain integers under text keys");
        let (_, expected) = text.split_once("\"expected\":").expect("a vector has its expectation");
        let squeezed: String = expected.split_whitespace().collect();
        assert_eq!(squeezed.strip_suffix('}'), Some(printed.as_str()), "{name}");
    }
}

#[test]
fn the_order_of_the_file_does_not_matter() {
    for (name, text) in VECTORS {
        let Vector { mut scenario, expected } = vector(text);
        scenario.edges.reverse();
        scenario.lines.reverse();
        for asset in scenario.assets.values_mut() {
            asset.owners.reverse();
        }
        let mut report = compute(&scenario).expect("the vectors can be computed");
        report.lines.reverse();
        assert_eq!(report, expected, "{name}");
    }
}

/// Domain §6: the fixed points of the Azure LLM trace 2023 at the tiers of L1.
#[test]
fn the_azure_trace_comes_out() {
    let Vector { mut scenario, .. } = vector(VECTORS[0].1);
    scenario.lines.truncate(1);
    scenario.corrections.clear();
    let line = &mut scenario.lines[0];
    (line.multiplier_ppm, line.min_minor, line.cap_minor) = (None, None, None);
    for (tokens, charge) in [(44_756_405, 9_103_716_950), (22_361_870 + 4_088_665, 5_625_601_650)] {
        scenario.lines[0].quantity = Some(tokens);
        let report = compute(&scenario).expect("one plain line");
        assert_eq!(report.lines[0].charge_micros, charge);
    }
}

/// Domain §6: truncation would pay 0 and 0, splitting whole cents 1,000 and 0.
#[test]
fn a_thousand_lines_of_one_cent_pay_700_and_300() {
    let line = |n: u32| {
        json!({"id": n.to_string(), "payer": 9, "asset": "A", "currency": "EUR", "quantity": 1,
        "term": {"kind": "per_unit", "minor": 1, "per": 1}})
    };
    let scenario = scenario(json!({
        "fee_ppm": 0, "fee_member": 0,
        "assets": {"A": {"owners": [{"member": 1, "weight": 70}, {"member": 2, "weight": 30}]}},
        "lines": (0..1_000).map(line).collect::<Vec<_>>(),
    }));
    let report = compute(&scenario).expect("a thousand plain lines");
    let paid: Vec<_> = report.payments.iter().map(|paid| (paid.to.get(), paid.minor)).collect();
    assert_eq!(paid, [(1, 700), (2, 300)]);
    assert!(report.carry.is_empty());
}

#[test]
fn a_second_correction_starts_from_the_first() {
    let Vector { mut scenario, .. } = vector(VECTORS[0].1);
    let quantity = scenario.lines[0].quantity.expect("L1 is metered");
    let again = Correction { line: "L1".into(), quantity };
    scenario.corrections.push(again);
    let corrections = compute(&scenario).expect("the vector, corrected back").corrections;
    assert_eq!(corrections[0].delta_micros, -corrections[2].delta_micros);
    for (member, micros) in &corrections[0].distribution {
        assert_eq!(corrections[2].distribution.get(member), Some(&-micros));
    }
}

fn scenario(value: Value) -> Scenario {
    serde_json::from_value(value).expect("a well-formed scenario")
}

/// One owner, one line, and what `change` makes of them.
fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut value = json!({
        "fee_ppm": 0, "fee_member": 0,
        "assets": {
            "A": {"owners": [{"member": 1, "weight": 1}]},
            "B": {"owners": [{"member": 2, "weight": 1}]},
            "C": {"owners": [{"member": 3, "weight": 1}]},
        },
        "edges": [{"child": "A", "parent": "B", "mode": "rel", "ppm": 600_000}],
        "lines": [{"id": "L", "payer": 9, "asset": "A", "currency": "EUR", "quantity": 5,
            "term": {"kind": "per_unit", "minor": 1, "per": 1}}],
        "corrections": [],
    });
    change(&mut value);
    value
}

fn push(value: &mut Value, list: &str, item: Value) {
    value[list].as_array_mut().expect("a list").push(item);
}

fn edge(value: &mut Value, child: &str, parent: &str, mode: &str, ppm: u32) {
    push(value, "edges", json!({"child": child, "parent": parent, "mode": mode, "ppm": ppm}));
}

#[test]
fn what_cannot_be_read_is_refused() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 9] = [
        ("unknown field", |v| v["lines"][0]["colour"] = json!("red")),
        ("unknown field of a term", |v| v["lines"][0]["term"]["colour"] = json!("red")),
        ("unknown field of free", |v| v["lines"][0]["term"] = json!({"kind": "free", "minor": 1})),
        ("negative quantity", |v| v["lines"][0]["quantity"] = json!(-1)),
        ("negative amount", |v| v["lines"][0]["term"]["minor"] = json!(-1)),
        ("fraction", |v| v["lines"][0]["quantity"] = json!(1.5)),
        ("text", |v| v["lines"][0]["quantity"] = json!("1")),
        ("unknown mode", |v| v["edges"][0]["mode"] = json!("both")),
        ("unknown currency", |v| v["lines"][0]["currency"] = json!("ABC")),
    ];
    for (what, change) in changes {
        assert!(serde_json::from_value::<Scenario>(changed(change)).is_err(), "{what}");
    }
    let above_u64 =
        changed(|_| ()).to_string().replace("\"quantity\":5", "\"quantity\":18446744073709551616");
    assert!(serde_json::from_str::<Scenario>(&above_u64).is_err(), "quantity above u64");
    let twice = changed(|_| ()).to_string().replace("\"C\":", "\"A\":");
    assert!(serde_json::from_str::<Scenario>(&twice).is_err(), "an asset twice");
}

#[test]
fn what_cannot_be_computed_is_refused_with_its_place() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str, &str); 18] = [
        (|v| v["fee_ppm"] = json!(1_000_001), "fee_ppm", "FEE-OVER-100"),
        (|v| v["lines"][0]["asset"] = json!("X"), "lines[0].asset", "SCENARIO-ASSET-UNKNOWN"),
        (|v| edge(v, "A", "X", "rel", 1), "edges[1].parent", "SCENARIO-ASSET-UNKNOWN"),
        (|v| edge(v, "X", "A", "rel", 1), "edges[1].child", "SCENARIO-ASSET-UNKNOWN"),
        (|v| v["assets"]["A"]["owners"][0]["weight"] = json!(0), "assets.A.owners", "SPLIT-ORPHAN"),
        (|v| v["assets"]["C"]["owners"] = json!([]), "assets.C.owners", "SPLIT-ORPHAN"),
        (
            |v| v["assets"]["C"]["owners"] = json!([{"member": 3, "weight": 1}, {"member": 3, "weight": 1}]),
            "assets.C.owners",
            "SPLIT-DUPLICATE",
        ),
        (|v| edge(v, "B", "A", "abs", 1), "edges", "LINEAGE-CYCLE"),
        (|v| edge(v, "C", "C", "rel", 1), "edges", "LINEAGE-CYCLE"),
        (|v| edge(v, "A", "B", "rel", 1), "edges", "LINEAGE-DUPLICATE"),
        (|v| edge(v, "A", "C", "rel", 400_001), "edges", "STACK-OVER-100"),
        (
            |v| {
                edge(v, "A", "C", "abs", 600_000);
                edge(v, "B", "C", "abs", 600_000);
            },
            "edges",
            "STACK-OVER-100",
        ),
        (|v| v["lines"][0]["term"]["per"] = json!(0), "lines[0].term", "RATE-PER-ZERO"),
        (|v| v["lines"][0]["quantity"] = Value::Null, "lines[0].quantity", "SCENARIO-NO-QUANTITY"),
        (
            |v| v["lines"][0]["term"] = json!({"kind": "tiered", "mode": "volume", "tiers": []}),
            "lines[0].term",
            "TIER-NONE",
        ),
        (
            |v| {
                let line = v["lines"][0].clone();
                push(v, "lines", line);
            },
            "lines[1].id",
            "SCENARIO-LINE-DUPLICATE",
        ),
        (
            |v| push(v, "corrections", json!({"line": "X", "quantity": 1})),
            "corrections[0].line",
            "SCENARIO-LINE-UNKNOWN",
        ),
        (
            |v| {
                v["lines"][0]["quantity"] = json!(u64::MAX);
                v["lines"][0]["term"]["minor"] = json!(u64::MAX);
            },
            "lines[0]",
            "MONEY-RANGE",
        ),
    ];
    for (change, location, rule) in cases {
        let refused = compute(&scenario(changed(change))).expect_err(rule);
        assert_eq!((refused.location.as_str(), refused.rule()), (location, rule), "{refused}");
    }
}

#[test]
fn a_sum_of_lines_out_of_range_is_refused() {
    let value = changed(|v| {
        let mut line = v["lines"][0].clone();
        line["quantity"] = json!(u64::MAX);
        line["term"]["minor"] = json!(9_000_000_000_000_u64);
        v["lines"] = json!([line, line]);
        v["lines"][1]["id"] = json!("M");
        v["edges"] = json!([]);
    });
    let refused = compute(&scenario(value)).expect_err("two of them leave i128");
    assert_eq!((refused.location.as_str(), refused.rule()), ("lines", "MONEY-RANGE"));
}
