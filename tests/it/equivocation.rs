//! Members that say one thing to one and another to others.

use serde_json::{Value, json};
use syngraph_protocol::entry::{Body, SignedEntry};
use syngraph_tests::binaries::Program;
use syngraph_tests::books::audited;
use syngraph_tests::cluster::{Business, Cluster};
use syngraph_tests::consortium::{ASTER, BIRCH, CEDAR, DAHLIA, FOUR};
use syngraph_tests::http::FRAMES;
use syngraph_tests::load::{deed, deed_of, rounds};
use syngraph_tests::node::Node;
use syngraph_tests::signer::{Signer, frames};
use syngraph_tests::wait::until;

/// Acts of others after the offence.
const ACTS: u64 = 12;

/// Four entries for one place, one for each node.
fn branches(signer: &Signer) -> Vec<SignedEntry> {
    let tip = signer.tip();
    let branch = |number| {
        signer.sign_at(tip.next, tip.last, Body::Deed { idem: signer.idem(), deed: deed_of(BIRCH, number) })
    };
    (100..104).map(branch).collect()
}

/// The findings of a node under a rule.
fn findings(node: &Node, rule: &str) -> Vec<Value> {
    let all = node.must_get("/v1/findings?limit=100")["items"].clone();
    let all = all.as_array().expect("a list").clone();
    all.into_iter().filter(|finding| finding["rule"] == rule).collect()
}

#[test]
fn a_forked_journal_is_frozen_and_hurts_nobody_else() {
    let mut cluster = Cluster::start();
    let (mut aster, birch) = (cluster.consortium.root(ASTER), cluster.consortium.root(BIRCH));
    let branches = branches(&birch);
    for (member, branch) in FOUR.into_iter().zip(&branches) {
        let status = cluster.node(member).post(FRAMES, &frames([branch])).status;
        assert!(matches!(status, 200 | 201 | 409), "{status} at the door of member {member}");
    }
    others_go_on(&cluster, &mut aster);
    for node in cluster.nodes() {
        until("the offence is on the ledger", || (findings(node, "EQV-JOURNAL").len() == 1).then_some(()));
    }
    let (_, root) = cluster.until_alike();
    let finding = findings(cluster.node(ASTER), "EQV-JOURNAL").remove(0);
    assert_eq!(finding["severity"], "E", "{finding}");
    // At most one branch is on the ledger, the same everywhere.
    let sealed = |node: &Node| -> Vec<bool> {
        branches.iter().map(|branch| node.state_of(branch).as_deref() == Some("sealed")).collect()
    };
    let first = sealed(cluster.node(ASTER));
    assert!(first.iter().filter(|sealed| **sealed).count() <= 1, "{first:?}");
    assert!(cluster.nodes().all(|node| sealed(node) == first));
    frozen(&cluster, &birch, &branches);
    assert_eq!(cluster.until_alike().1, root, "nothing of it has changed the state");
    others_go_on(&cluster, &mut aster);
    let report = audited(&cluster.consortium, cluster.node(DAHLIA));
    assert!(report.has_grave_findings());
    cluster.until_alike();
    cluster.never_differed();
    cluster.stop_all();
}

/// Everybody else's business goes on at every door.
fn others_go_on(cluster: &Cluster, aster: &mut Signer) {
    for _ in 0..ACTS {
        let next = aster.tip().next.get();
        cluster.node(ASTER).act(aster, deed(next));
    }
    cluster.until_height(CEDAR, cluster.node(ASTER).status().height);
}

/// Nothing more of the journal is taken, whichever branch it continues.
fn frozen(cluster: &Cluster, birch: &Signer, branches: &[SignedEntry]) {
    for branch in branches {
        let mut signer = birch.clone();
        signer.follow(branch);
        let entry = signer.deed(deed_of(BIRCH, 200));
        for node in cluster.nodes() {
            let (status, rule) = node.post(FRAMES, &frames([&entry])).refusal();
            // A node that holds another branch sees first that this continues none of its.
            assert!(matches!(status, 409 | 422), "{status} {rule}");
            assert!(matches!(rule.as_str(), "KEY-FROZEN" | "JRN-PREV" | "JRN-GAP"), "{rule}");
        }
    }
    let key = cluster.node(ASTER).must_get("/v1/members/1");
    let keys = key["keys"].as_array().expect("a list").clone();
    let name = birch.journal().to_string();
    let key = keys.into_iter().find(|key| key["key"] == json!(name)).expect("a registered key");
    assert_ne!(key["frozen"], Value::Null, "{key}");
}

#[test]
fn a_withholder_stops_nobody() {
    let mut cluster = Cluster::found(syngraph_tests::consortium::params());
    cluster.launch(&[ASTER, BIRCH, CEDAR]);
    let mut withholder = Program::Byzantine.command();
    withholder.env("SYNGRAPH_BYZANTINE", "withhold");
    cluster.launch_as(withholder, DAHLIA);
    let Business { mut aster, .. } = cluster.do_business();
    // It cuts its own entries whenever its turn comes, and gives them to nobody.
    let mut dahlia = cluster.consortium.root(DAHLIA);
    let secret = dahlia.deed(deed_of(DAHLIA, 1));
    assert_eq!(cluster.node(DAHLIA).post(FRAMES, &frames([&secret])).status, 201);
    assert!(cluster.node(DAHLIA).log().contains("withholds"), "it is the lying build");
    let before = cluster.node(ASTER).status().height;
    // Until it has been its turn, and nobody has voted for what it proposed.
    until("a round of the withholder's has failed", || {
        others_go_on(&cluster, &mut aster);
        let height = cluster.node(ASTER).status().height;
        rounds(&cluster, ASTER, before, height).iter().any(|round| *round > 0).then_some(())
    });
    others_go_on(&cluster, &mut aster);
    for member in [ASTER, BIRCH, CEDAR] {
        assert_eq!(cluster.node(member).state_of(&secret), None, "it was given to nobody");
    }
    cluster.until_alike();
    cluster.never_differed();
    audited(&cluster.consortium, cluster.node(ASTER));
    cluster.stop_all();
}
