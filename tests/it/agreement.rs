//! Consent: an agreement that somebody has not signed binds nobody.

use serde_json::{Value, json};
use syngraph_protocol::codes::Place;
use syngraph_protocol::entry::Deed;
use syngraph_protocol::ids::{Hash, Id};
use syngraph_protocol::ledger::agreement::{Countersign, terms::Party};
use syngraph_protocol::ledger::period::{ClosePeriod, Settle};
use syngraph_protocol::name::Name;
use syngraph_tests::consortium::{ASTER, BIRCH, CEDAR, Consortium};
use syngraph_tests::licence::{LICENCE, MONTH, countersign, inference, license, propose, report, terms};
use syngraph_tests::node::Node;
use syngraph_tests::signer::Signer;
use syngraph_tests::tool::{Ran, syngraph};

const DRAFT: &str = "Draft of three";

fn ask(node: &Node, args: &[&str]) -> Ran {
    let url = node.url();
    syngraph(&[args, &["--node", &url]].concat()).ending(0)
}

fn ask_json(node: &Node, args: &[&str]) -> Value {
    ask(node, &[args, &["--json"]].concat()).json()
}

fn usage(node: &Node, signer: &mut Signer, body: syngraph_protocol::entry::Body) -> Value {
    let entry = signer.sign(body);
    node.seal(&[entry]).remove(0)["outcome"]["usage"].clone()
}

#[test]
fn what_not_everybody_has_signed_binds_nobody() {
    let consortium = Consortium::found();
    let node = consortium.start();
    let [mut aster, mut birch, mut cedar] = [ASTER, BIRCH, CEDAR].map(|member| consortium.root(member));
    let licensed = license(&node, &mut aster, &mut cedar);
    assert_eq!(
        usage(&node, &mut cedar, licensed.report(1, &[100, 50])),
        json!({"rated": 2, "flagged": 0, "refused": []})
    );

    // Aster drafts terms for Birch, with Cedar as a third party. Birch signs, Cedar never does.
    let mut draft = terms(DRAFT, BIRCH, licensed.asset);
    draft.parties.push(Party { member: CEDAR, role: Name::new("guarantor") });
    let agreement = propose(&node, &mut aster, draft.clone());
    let context = inference(agreement, licensed.version, BIRCH);
    proposed(&node, agreement, 1);
    let flagged = json!({"rated": 0, "flagged": 2, "refused": []});
    assert_eq!(usage(&node, &mut birch, report(context.clone(), 2, &[1_000, 24])), flagged);
    node.act(&mut birch, countersign(agreement, &draft));
    proposed(&node, agreement, 2);
    assert_eq!(usage(&node, &mut birch, report(context, 3, &[7, 8])), flagged);
    wrong_signatures(&node, &consortium, agreement, &draft);
    proposed(&node, agreement, 2);
    assert_eq!(node.status().rows_sealed, 6, "what is not licensed is recorded all the same");

    found(&node, agreement);
    close(&node, &mut birch, &licensed.agreement.to_string());
    // Once the last party signs, it binds from then on.
    node.act(&mut cedar, countersign(agreement, &draft));
    let shown = node.must_get(&format!("/v1/agreements/{agreement}"));
    assert_eq!((&shown["status"], &shown["version"]["missing"]), (&"active".into(), &json!([])));
    node.stop();
}

/// The draft waits for signatures, in the API and in the tool.
#[track_caller]
fn proposed(node: &Node, agreement: Id, signatures: usize) {
    let shown = node.must_get(&format!("/v1/agreements/{agreement}"));
    assert_eq!(shown["status"], "proposed");
    assert_eq!(shown["in_force"], json!([]));
    assert_eq!(shown["version"]["signed_by"].as_array().map(Vec::len), Some(signatures));
    let missing = shown["version"]["missing"].as_array().expect("a list");
    assert!(missing.iter().any(|party| party["member_name"] == "Cedar"), "{missing:?}");
    let told = ask_json(node, &["agreement", "show", DRAFT]);
    assert_eq!(told, shown, "the tool shows what the node says");
    let text = ask(node, &["agreement", "show", DRAFT]).stdout;
    assert!(text.contains("proposed") && text.contains("Cedar"), "{text}");
    let statuses = ask_json(node, &["agreement", "list"]);
    let of = |title: &str| {
        statuses.as_array()?.iter().find(|one| one["title"] == title).map(|one| one["status"].clone())
    };
    assert_eq!((of(DRAFT), of(LICENCE)), (Some("proposed".into()), Some("active".into())));
}

/// Signatures that do not count.
fn wrong_signatures(
    node: &Node,
    consortium: &Consortium,
    agreement: Id,
    draft: &syngraph_protocol::ledger::agreement::Terms,
) {
    let mut journal = consortium.signer(ASTER, "journal");
    let mut other = draft.clone();
    other.governing_law = Some(Place::new("FR"));
    let sign = |terms_hash, version| Deed::Countersign(Countersign { agreement, version, terms_hash });
    let Deed::Countersign(right) = countersign(agreement, draft) else { unreachable!("it countersigns") };
    for (deed, rule) in [
        (countersign(agreement, &other), "AGR-HASH"),
        (sign(Hash::from_bytes([0; 32]), 1), "AGR-HASH"),
        (sign(right.terms_hash, 2), "AGR-VERSION-UNKNOWN"),
        (sign(right.terms_hash, 1), "AGR-SIGNED-TWICE"),
    ] {
        let entry = journal.deed(deed);
        assert_eq!(node.seal(&[entry])[0]["outcome"], json!({"refused": {"rule": rule}}));
    }
}

/// The use under the draft is a finding, in the API and in the tool.
fn found(node: &Node, agreement: Id) {
    let findings = ask_json(node, &["finding", "list"]);
    assert_eq!(findings, node.must_get("/v1/findings")["items"]);
    let [finding] = findings.as_array().expect("a list").as_slice() else {
        panic!("one finding: {findings}")
    };
    for (field, expected) in [
        ("rule", json!("USE-UNLICENSED")),
        ("severity", json!("E")),
        ("rows", json!(4)),
        ("quantity", json!("1039")),
    ] {
        assert_eq!(finding[field], expected, "{field}");
    }
    let subject = &finding["subject"];
    assert_eq!(
        (&subject["agreement"], &subject["member_name"], &subject["month"]),
        (&agreement.to_string().into(), &"Birch".into(), &MONTH.into())
    );
    let id = finding["id"].as_str().expect("an id");
    assert_eq!(ask_json(node, &["finding", "show", id]), *finding);
    let text = ask(node, &["finding", "list"]).stdout;
    assert!(text.contains("USE-UNLICENSED") && text.contains("Birch"), "{text}");
}

/// The month is closed and settled: the licence has its line, the draft has none.
fn close(node: &Node, birch: &mut Signer, licence: &str) {
    let month = MONTH.parse().expect("a month");
    node.act(birch, Deed::ClosePeriod(ClosePeriod { month }));
    node.act(birch, Deed::Settle(Settle { month }));
    let statement = ask_json(node, &["statement", "show", MONTH]);
    let [line] = statement["lines"].as_array().expect("lines").as_slice() else {
        panic!("one line: {statement}")
    };
    for (field, expected) in [
        ("agreement", licence),
        ("payer_name", "Cedar"),
        ("quantity", "150"),
        ("charge_micros", "37500"),
        ("amount", "0.000375"),
    ] {
        assert_eq!(line[field], expected, "{field}");
    }
    assert!(!statement.to_string().contains("Birch"), "nobody owes or is owed for the draft: {statement}");
    let text = ask(node, &["statement", "show", MONTH]).stdout;
    assert!(text.contains(LICENCE) && !text.contains(DRAFT), "{text}");
}
