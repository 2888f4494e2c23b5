//! Nodes that were away catch up and take part again.

use std::fs;

use syngraph_config::node::NodeDir;
use syngraph_protocol::ids::{Height, MemberId};
use syngraph_tests::cluster::{Business, Cluster};
use syngraph_tests::consortium::{ASTER, BIRCH, CEDAR, DAHLIA};
use syngraph_tests::load::{deed, report};
use syngraph_tests::scale::{scaled, tell};
use syngraph_tests::wait::until;

/// Rows of each report beside the acts.
const ROWS: usize = 500;

/// Seals so many blocks with acts of Aster's and use by Cedar.
fn blocks(cluster: &Cluster, business: &mut Business, count: u64, first_seed: u64) {
    let begin = cluster.node(ASTER).status().height.get();
    for number in 0..count {
        let (cedar, licensed) = (&mut business.cedar, &business.licensed);
        report(cluster.node(CEDAR), cedar, licensed, first_seed + number, (1, ROWS));
        let next = business.aster.tip().next.get();
        cluster.node(ASTER).act(&mut business.aster, deed(next));
    }
    assert!(cluster.node(ASTER).status().height.get() >= begin + count / 2);
}

/// A node that was away is up: it arrives where the others are, and from then on they
/// need it.
fn takes_part_again(cluster: &mut Cluster, business: &mut Business, member: MemberId, without: MemberId) {
    let height = cluster.node(ASTER).status().height;
    cluster.until_height(member, height);
    assert_eq!(cluster.node(member).root_at(height), cluster.node(ASTER).root_at(height));
    cluster.stop(&[without]);
    let before = cluster.node(ASTER).status().height;
    for _ in 0..8 {
        let next = business.aster.tip().next.get();
        cluster.node(ASTER).act(&mut business.aster, deed(next));
    }
    has_signed(cluster, member, before);
    cluster.restart(&[without]);
    cluster.until_alike();
}

/// Three are up, so that no block is decided without each of them.
fn has_signed(cluster: &Cluster, member: MemberId, above: Height) {
    let name = serde_json::to_value(member).expect("an id");
    let status = cluster.node(ASTER).status();
    for height in (above.get() + 1..=status.height.get()).map(Height::new) {
        let block = cluster.node(ASTER).block(height);
        let signatures = block["certificate"]["signatures"].as_array().expect("a list");
        assert!(signatures.iter().any(|signature| signature["member"] == name), "{block}");
    }
}

#[test]
fn a_node_that_was_away_takes_part_again() {
    let (mut cluster, mut business) = Cluster::in_business();
    let count = scaled("blocks that a node misses", 500, 60);
    cluster.kill(&[DAHLIA]);
    blocks(&cluster, &mut business, count, 0);
    cluster.launch(&[DAHLIA]);
    takes_part_again(&mut cluster, &mut business, DAHLIA, BIRCH);
    // Once more, while the others do not wait for it.
    cluster.pause(&[DAHLIA]);
    blocks(&cluster, &mut business, count / 2, count);
    cluster.resume(&[DAHLIA]);
    blocks(&cluster, &mut business, count / 2, 2 * count);
    takes_part_again(&mut cluster, &mut business, DAHLIA, CEDAR);
    cluster.never_differed();
    cluster.stop_all();
}

#[test]
fn a_node_that_lost_everything_but_its_keys_takes_part_again() {
    let (mut cluster, mut business) = Cluster::in_business();
    blocks(&cluster, &mut business, 20, 0);
    cluster.stop(&[DAHLIA]);
    let count = scaled("blocks that a node misses", 500, 40);
    blocks(&cluster, &mut business, count, 20);
    wipe(&cluster.consortium.home(DAHLIA));
    cluster.launch(&[DAHLIA]);
    takes_part_again(&mut cluster, &mut business, DAHLIA, BIRCH);
    cluster.until_rows((20 + count) * u64::try_from(ROWS).expect("small"));
    let state = cluster.node(DAHLIA).state();
    // What it has fetched is on its disk.
    cluster.kill(&[DAHLIA]);
    cluster.restart(&[DAHLIA]);
    until("the node is where it was", || (cluster.node(DAHLIA).state() == state).then_some(()));
    cluster.never_differed();
    cluster.stop_all();
}

/// Removes everything but keys, configuration and genesis.
fn wipe(home: &NodeDir) {
    let kept = [home.config(), home.genesis(), home.path().join("keys")];
    let mut removed = 0;
    for entry in fs::read_dir(home.path()).expect("a folder is listed") {
        let path = entry.expect("an entry is read").path();
        if kept.contains(&path) {
            continue;
        }
        removed += 1;
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }
            .expect("it is removed");
    }
    assert!(removed > 2, "logs and state are gone");
    tell("files and folders removed", removed);
}

#[test]
fn nodes_that_never_ran_join_at_their_leisure() {
    let mut cluster = Cluster::found(syngraph_tests::consortium::params());
    cluster.restart(&[ASTER, BIRCH, CEDAR]);
    let mut business = cluster.do_business();
    blocks(&cluster, &mut business, 30, 0);
    cluster.launch(&[DAHLIA]);
    takes_part_again(&mut cluster, &mut business, DAHLIA, CEDAR);
    cluster.never_differed();
    cluster.stop_all();
}
