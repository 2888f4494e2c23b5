//! Four nodes as processes on this machine: how long it takes from submission to seal under
//! light load, how many rows a second go in, and how long the others wait for a dead one.
//!
//! `cargo bench --package syngraph-tests --bench latency`; `SYNGRAPH_TEST_PROGRAMS` names the
//! folder of programs that were built before. The figures go to stdout, one a
//! line; nothing here passes or fails.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use syngraph_protocol::ids::MemberId;
use syngraph_tests::cluster::{Business, Cluster};
use syngraph_tests::consortium::{ASTER, CEDAR, FOUR};
use syngraph_tests::files::trace;
use syngraph_tests::licence::import_args;
use syngraph_tests::load::{deed_of, others};
use syngraph_tests::random::Random;
use syngraph_tests::signer::Signer;
use syngraph_tests::tool::syngraph;

/// Submissions whose way is timed.
const SAMPLES: usize = 400;
/// Submissions before those, while connections and caches warm up.
const WARM_UP: usize = 20;
/// Shortest and longest pause between two submissions, in milliseconds: the load is light,
/// and falls into no step with blocks.
const PAUSE_MS: (u64, u64) = (60, 260);
/// Rows of the import.
const ROWS: u64 = 1_000_000;
/// Acts that are sealed while a node is dead.
const ACTS_WHILE_DEAD: usize = 40;

fn main() {
    let (mut cluster, mut business) = Cluster::in_business();
    latency(&cluster);
    throughput(&cluster, &mut business);
    a_dead_node(&mut cluster, &mut business.aster);
    cluster.stop_all();
}

fn say(what: &str, figure: impl std::fmt::Display) {
    // Nobody may be reading any more.
    writeln!(std::io::stdout(), "{what}: {figure}").ok();
}

/// One act of a member, at its own door, until it is sealed.
fn timed(cluster: &Cluster, member: MemberId, signer: &mut Signer, number: u64) -> Duration {
    let deed = deed_of(member, number);
    let began = Instant::now();
    cluster.node(member).act(signer, deed);
    began.elapsed()
}

fn latency(cluster: &Cluster) {
    let mut random = Random::new(61);
    // App keys, since the members' root keys have signed before.
    let mut signers = FOUR.map(|member| app(cluster, member));
    let mut times = Vec::new();
    for number in 0..WARM_UP + SAMPLES {
        let (shortest, longest) = PAUSE_MS;
        thread::sleep(Duration::from_millis(shortest + random.below(longest - shortest)));
        let position = number % FOUR.len();
        let time = timed(cluster, FOUR[position], &mut signers[position], 1_000 + number as u64);
        if number >= WARM_UP {
            times.push(time);
        }
    }
    times.sort_unstable();
    for (name, per_mille) in [("p50", 500), ("p90", 900), ("p99", 990), ("max", 1_000)] {
        let time = times[(times.len() * per_mille / 1_000).min(times.len() - 1)];
        say(&format!("submit to sealed, light load, {name}, ms"), time.as_secs_f64() * 1_000.0);
    }
}

/// The journal of a member's node serves as well as an app's; nobody else signs with it
/// here, since nobody lies.
fn app(cluster: &Cluster, member: MemberId) -> Signer {
    cluster.consortium.signer(member, "journal")
}

fn throughput(cluster: &Cluster, business: &mut Business) {
    let key = cluster.consortium.admit_app(cluster.node(CEDAR), CEDAR, &mut business.cedar);
    cluster.until_alike();
    let trace = trace(&cluster.consortium.folder().join("trace.csv"), ROWS, 63);
    let [file, key] = [&trace.path, &key].map(|path| path.display().to_string());
    let report = syngraph(&import_args(&file, &cluster.node(CEDAR).url(), &key)).ending(0).json();
    assert_eq!(report["rows_new"], ROWS, "{report}");
    say("metered rows sealed per second through one door", &report["rows_per_s"]);
    let began = Instant::now();
    cluster.until_rows(ROWS);
    say("ms until the last node had sealed them too", began.elapsed().as_millis());
    for member in FOUR {
        let bytes = cluster.node(member).resident_bytes().unwrap_or_default();
        say(&format!("resident MiB of the node of member {member}"), bytes / 1024 / 1024);
    }
}

fn a_dead_node(cluster: &mut Cluster, signer: &mut Signer) {
    for victim in others(&FOUR, &[ASTER]) {
        cluster.kill(&[victim]);
        let times = (0..ACTS_WHILE_DEAD).map(|_| {
            let number = 10_000 + signer.tip().next.get();
            timed(cluster, ASTER, signer, number)
        });
        let longest = times.max().unwrap_or_default();
        say(&format!("longest wait for a seal without member {victim}, ms"), longest.as_millis());
        cluster.restart(&[victim]);
        cluster.until_alike();
    }
}
