//! Nodes that are killed: the others go on, and nothing that was acknowledged is lost.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use syngraph_protocol::entry::SignedEntry;
use syngraph_protocol::ids::MemberId;
use syngraph_tests::books::{balance, block_on, import, took_everything};
use syngraph_tests::cluster::{Business, Cluster};
use syngraph_tests::consortium::{ASTER, BIRCH, CEDAR, DAHLIA, FOUR};
use syngraph_tests::files::{Trace, trace};
use syngraph_tests::http::{self, FRAMES};
use syngraph_tests::load::{deed, others};
use syngraph_tests::scale::{scaled, tell};
use syngraph_tests::signer::{Signer, frames};
use syngraph_tests::wait::until;

/// Acts that must be sealed while a node is dead: each proposer's turn comes.
const ACTS_WHILE_DEAD: u64 = 8;

/// Rows that are imported while one node after the other dies.
const ROWS: u64 = 120_000;

/// A cluster whose Cedar imports a trace.
struct Scene {
    cluster: Cluster,
    business: Business,
    key: PathBuf,
    trace: Trace,
}

impl Scene {
    fn set(rows: u64, seed: u64) -> Self {
        let (cluster, mut business) = Cluster::in_business();
        let key = cluster.consortium.admit_app(cluster.node(CEDAR), CEDAR, &mut business.cedar);
        cluster.until_alike();
        let trace = trace(&cluster.consortium.folder().join("trace.csv"), rows, seed);
        Self { cluster, business, key, trace }
    }

    /// All rows are on the ledger once, at every node.
    fn settle(mut self) {
        self.cluster.until_rows(self.trace.rows);
        self.cluster.until_alike();
        let figures = (self.trace.rows, self.trace.quantity);
        let mut birch = self.cluster.consortium.root(BIRCH);
        let Self { cluster, business, .. } = &self;
        balance(&cluster.consortium, cluster.node(BIRCH), &business.licensed, &mut birch, figures);
        cluster.until_alike();
        cluster.never_differed();
        self.cluster.stop_all();
    }
}

#[test]
fn the_others_go_on_without_any_one_node() {
    let mut scene = Scene::set(ROWS, 41);
    thread::scope(|scope| {
        let api = scene.cluster.node(CEDAR).api();
        let (key, trace, mapping): (&Path, _, _) =
            (&scene.key, &scene.trace, scene.business.licensed.mapping());
        let importing = scope.spawn(move || import(api, key, &trace.path, &mapping));
        for victim in FOUR {
            let before = scene.cluster.node(CEDAR).status().rows_sealed;
            until("the import goes on, or is over", || {
                let sealed = scene.cluster.node(CEDAR).try_status()?.rows_sealed;
                (sealed > before || sealed == trace.rows).then_some(())
            });
            dies_and_returns(&mut scene.cluster, &mut scene.business.aster, victim);
        }
        took_everything(&importing.join().expect("the importing thread ends"), trace);
    });
    scene.settle();
}

/// Kills a node, has the others seal Aster's acts, and brings it back.
fn dies_and_returns(cluster: &mut Cluster, aster: &mut Signer, victim: MemberId) {
    let door = others(&FOUR, &[victim])[0];
    // What Aster said before must have come to that door.
    until("the door has Aster's journal", || {
        let journal = block_on(cluster.node(door).api().journal(&aster.journal()));
        let journal = journal.expect("the node answers").expect("a founder's key");
        (journal.next_seq == aster.tip().next).then_some(())
    });
    cluster.kill(&[victim]);
    let mut longest = Duration::ZERO;
    for _ in 0..ACTS_WHILE_DEAD {
        let began = Instant::now();
        let deed = deed(aster.tip().next.get());
        cluster.node(door).act(aster, deed);
        longest = longest.max(began.elapsed());
    }
    tell(&format!("longest wait for a seal without member {victim}, in ms"), longest.as_millis());
    let height = cluster.node(door).status().height;
    cluster.restart(&[victim]);
    cluster.until_height(victim, height);
    assert_eq!(cluster.node(victim).root_at(height), cluster.node(door).root_at(height));
}

#[test]
fn nothing_acknowledged_is_lost_when_all_nodes_die() {
    let deaths = scaled("how often all four nodes are killed", 10, 3);
    let mut scene = Scene::set(40_000 * deaths, 43);
    let mut acknowledged = Vec::new();
    thread::scope(|scope| {
        let api = scene.cluster.node(CEDAR).api();
        let (key, trace, mapping): (&Path, _, _) =
            (&scene.key, &scene.trace, scene.business.licensed.mapping());
        let importing = scope.spawn(move || import(api, key, &trace.path, &mapping));
        for _ in 0..deaths {
            // Never waited for: some are sealed when the nodes die, some are not.
            acknowledged.extend(acts(&scene.cluster, &mut scene.business.aster, 40));
            scene.cluster.kill(&[DAHLIA, CEDAR, BIRCH, ASTER]);
            scene.cluster.restart(&FOUR);
        }
        took_everything(&importing.join().expect("the importing thread ends"), trace);
    });
    for entry in &acknowledged {
        until("an acknowledged act is sealed", || {
            (scene.cluster.node(DAHLIA).state_of(entry).as_deref() == Some("sealed")).then_some(())
        });
    }
    scene.settle();
}

/// Has Aster's node take acts one by one; each is fsynced when it is answered.
#[track_caller]
fn acts(cluster: &Cluster, aster: &mut Signer, count: u64) -> Vec<SignedEntry> {
    let take = |_| {
        let entry = aster.deed(deed(aster.tip().next.get()));
        let answer = http::post(cluster.node(ASTER).http(), "/v1/entries", FRAMES, &frames([&entry]));
        assert_eq!(answer.expect("the node answers").status, 201);
        entry
    };
    (0..count).map(take).collect()
}
