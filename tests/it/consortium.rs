//! Four nodes of four members: one history, wherever its entries came in.

use std::fs;

use syngraph_protocol::ids::Height;
use syngraph_tests::binaries::is_optimized;
use syngraph_tests::books::balance;
use syngraph_tests::cluster::Cluster;
use syngraph_tests::consortium::{ASTER, BIRCH, CEDAR, DAHLIA, FOUR};
use syngraph_tests::files::{Trace, below, trace};
use syngraph_tests::licence::{import_args, register};
use syngraph_tests::load::deed_of;
use syngraph_tests::node::Node;
use syngraph_tests::scale::tell;
use syngraph_tests::tool::syngraph;
use syngraph_tests::wait::until;

/// Rows of the import: enough that what nodes say to each other beside entries is little.
const ROWS: u64 = 60_000;
/// Most bytes that a node may receive on the peer port for each byte of entries that it
/// did not have.
const RECEIVED_PER_UNIQUE_MAX: f64 = 1.2;
/// The same of nodes that are built without optimisation. They wait no longer than others
/// for what was pushed, and take ten times as long to look at it: some of it is asked for.
const RECEIVED_PER_UNIQUE_SLOW_MAX: f64 = 2.0;

/// What the peer port of a node has received so far, in bytes.
fn received(node: &Node) -> f64 {
    node.metric("syngraph_peer_received_bytes_total")
}

/// Bytes of the entries that a node holds, as they lie on its disk.
fn held(node: &Node) -> u64 {
    let folder = node.dir().join("entries");
    let size = |path| fs::metadata(folder.join(path)).expect("a segment").len();
    below(&folder).into_iter().map(size).sum()
}

#[test]
fn an_import_through_one_door_arrives_at_every_node_once() {
    let (mut cluster, mut business) = Cluster::in_business();
    let key = cluster.consortium.admit_app(cluster.node(CEDAR), CEDAR, &mut business.cedar);
    cluster.until_alike();
    let before = FOUR.map(|member| (received(cluster.node(member)), held(cluster.node(member))));
    let trace = trace(&cluster.consortium.folder().join("trace.csv"), ROWS, 31);
    by_the_tool(&cluster, &trace, &key.display().to_string());
    cluster.until_rows(ROWS);
    cluster.until_alike();
    let most = if is_optimized() { RECEIVED_PER_UNIQUE_MAX } else { RECEIVED_PER_UNIQUE_SLOW_MAX };
    for (member, before) in FOUR.into_iter().zip(before).filter(|(member, _)| *member != CEDAR) {
        let node = cluster.node(member);
        // The head of a segment is written once and does not travel; it is no more than
        // what an entry needs beside its bytes on disk.
        let (bytes, unique) = (received(node) - before.0, held(node) - before.1);
        #[expect(clippy::cast_precision_loss, reason = "a few megabytes")]
        let ratio = bytes / unique as f64;
        tell(&format!("bytes received per unique byte by member {member}"), format!("{ratio:.3}"));
        assert!((0.5..=most).contains(&ratio), "member {member}: {bytes} bytes for {unique}");
    }
    let mut birch = cluster.consortium.root(BIRCH);
    let figures = (trace.rows, trace.quantity);
    balance(&cluster.consortium, cluster.node(DAHLIA), &business.licensed, &mut birch, figures);
    cluster.until_alike();
    cluster.never_differed();
    cluster.stop_all();
}

/// As an operator of Cedar does it.
fn by_the_tool(cluster: &Cluster, trace: &Trace, key: &str) {
    let (url, file) = (cluster.node(CEDAR).url(), trace.path.display().to_string());
    let report = syngraph(&import_args(&file, &url, key)).ending(0).json();
    assert_eq!(report["rows_new"], trace.rows, "{report}");
    assert_eq!(report["quantity"], trace.quantity.to_string());
    tell("rows sealed per second through one of four doors", &report["rows_per_s"]);
}

#[test]
fn every_member_acts_at_its_own_door() {
    let mut cluster = Cluster::start();
    let mut signers = FOUR.map(|member| cluster.consortium.root(member));
    for round in 0..5_u64 {
        for (member, signer) in FOUR.into_iter().zip(&mut signers) {
            let deed = deed_of(member, round);
            cluster.node(member).act(signer, deed);
        }
    }
    let (height, _) = cluster.until_alike();
    let assets = |node: &Node| node.must_get("/v1/assets?limit=100")["items"].clone();
    let first = assets(cluster.node(ASTER));
    assert_eq!(first.as_array().map(Vec::len), Some(20));
    assert!(cluster.nodes().all(|node| assets(node) == first), "all list the same");
    // All of them have built blocks, and all have voted.
    let node = cluster.node(BIRCH);
    let blocks: Vec<_> = (1..=height.get()).map(|height| node.block(Height::new(height))).collect();
    for member in FOUR {
        let id = serde_json::to_value(member).expect("an id");
        assert!(blocks.iter().any(|block| block["built_by"] == id), "member {member} has built no block");
    }
    cluster.never_differed();
    cluster.stop_all();
}

#[test]
fn an_entry_may_come_in_through_any_door_and_through_several() {
    let mut cluster = Cluster::start();
    let mut aster = cluster.consortium.root(ASTER);
    // The same entry at all doors, and each at another one.
    for round in 0..8_usize {
        let entry = aster.deed(register(&format!("Asset {round}")));
        let doors = if round % 2 == 0 { &FOUR[..] } else { &FOUR[round / 2..=round / 2] };
        for member in doors {
            let receipts = cluster.node(*member).seal(std::slice::from_ref(&entry));
            assert_eq!(receipts[0]["outcome"], "applied", "{receipts:?}");
        }
        // The next door must have it before it takes what follows.
        for node in cluster.nodes() {
            until("the entry is sealed everywhere", || {
                (node.state_of(&entry).as_deref() == Some("sealed")).then_some(())
            });
        }
    }
    let (_, root) = cluster.until_alike();
    assert_eq!(cluster.node(DAHLIA).status().log_size, 8);
    assert_eq!(cluster.node(CEDAR).status().state_root, root);
    cluster.stop_all();
}
