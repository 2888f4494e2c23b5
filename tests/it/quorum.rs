//! Without a quorum there are no blocks, and journals go on.

use std::time::{Duration, Instant};

use syngraph_protocol::entry::SignedEntry;
use syngraph_protocol::ids::MemberId;
use syngraph_tests::binaries::is_optimized;
use syngraph_tests::books::audited;
use syngraph_tests::cluster::{Business, Cluster};
use syngraph_tests::consortium::{ASTER, BIRCH, CEDAR, DAHLIA, FOUR, params};
use syngraph_tests::load::{report, rounds};
use syngraph_tests::scale::{scaled, tell};
use syngraph_tests::wait::{stays, until};

/// Rows of one report.
const ROWS: usize = 200;
/// Reports that are taken while there is no quorum.
const REPORTS: u64 = 60;
/// Most rows of a report.
const ROWS_FULL: usize = 3_000;
/// Who is away.
const AWAY: [MemberId; 2] = [BIRCH, DAHLIA];

/// How the two are away.
#[derive(Clone, Copy)]
enum Away {
    /// Their machines hang: connections stand and nobody answers.
    Paused,
    /// They were stopped by their operators.
    Stopped,
}

#[test]
fn two_nodes_that_hang_stop_blocks_and_nothing_else() {
    without_a_quorum(Away::Paused);
}

#[test]
fn two_nodes_that_are_stopped_stop_blocks_and_nothing_else() {
    without_a_quorum(Away::Stopped);
}

fn without_a_quorum(away: Away) {
    let (mut cluster, mut business) = Cluster::in_business();
    let seconds = scaled("seconds without a quorum", 60, 10);
    let before = cluster.until_alike();
    match away {
        Away::Paused => cluster.pause(&AWAY),
        Away::Stopped => cluster.stop(&AWAY),
    }
    let taken = use_it_meanwhile(&cluster, &mut business, Duration::from_secs(seconds), before.0.get());
    let began = Instant::now();
    match away {
        Away::Paused => cluster.resume(&AWAY),
        Away::Stopped => cluster.launch(&AWAY),
    }
    until("there is a block again", || {
        cluster.node(ASTER).try_status().filter(|status| status.height > before.0)
    });
    tell("ms until the first block after a quorum was back", began.elapsed().as_millis());
    let rows = REPORTS * u64::try_from(ROWS).expect("small");
    cluster.until_rows(rows);
    tell("ms until everything was sealed", began.elapsed().as_millis());
    cluster.until_alike();
    for node in cluster.nodes() {
        assert!(taken.iter().all(|entry| node.state_of(entry).as_deref() == Some("sealed")));
    }
    cluster.never_differed();
    assert_eq!(audited(&cluster.consortium, cluster.node(DAHLIA)).rows, rows);
    cluster.stop_all();
}

/// Cedar's node takes reports; Aster's gets them. They are accepted and no more than that.
fn use_it_meanwhile(
    cluster: &Cluster,
    business: &mut Business,
    period: Duration,
    height: u64,
) -> Vec<SignedEntry> {
    let (mut taken, mut seed) = (Vec::new(), 0);
    stays(period, || {
        if seed < REPORTS {
            let (cedar, licensed) = (&mut business.cedar, &business.licensed);
            taken.extend(report(cluster.node(CEDAR), cedar, licensed, seed, (1, ROWS)));
            seed += 1;
        }
        for node in [ASTER, CEDAR].map(|member| cluster.node(member)) {
            assert_eq!(node.status().height.get(), height, "two of four decide nothing");
        }
    });
    assert_eq!(seed, REPORTS, "all were taken");
    says_who_is_away(cluster);
    for entry in &taken {
        assert_eq!(cluster.node(CEDAR).state_of(entry).as_deref(), Some("accepted"));
    }
    let last = taken.last().expect("several");
    until("the other node that is there has them", || cluster.node(ASTER).state_of(last));
    assert_eq!(cluster.node(ASTER).state_of(last).as_deref(), Some("accepted"));
    taken
}

/// Operators are told why there are no blocks.
fn says_who_is_away(cluster: &Cluster) {
    for node in [ASTER, CEDAR].map(|member| cluster.node(member)) {
        let stall = node.must_get("/v1/status/stall");
        let waiting = stall["waiting_for"].as_array().expect("a list");
        let names: Vec<_> = waiting.iter().filter_map(|silent| silent["name"].as_str()).collect();
        assert!(names.contains(&"Birch") && names.contains(&"Dahlia"), "{stall}");
        assert!(stall["entries_unsealed"].as_u64().is_some_and(|count| count > 0), "{stall}");
        assert!(stall["reason"].as_str().is_some_and(|reason| reason.contains("Birch")), "{stall}");
    }
}

#[test]
fn a_backlog_drains_without_a_failed_round() {
    let rows = scaled("rows of the backlog", 1_000_000, 60_000);
    let mut cluster = Cluster::found(params());
    if !is_optimized() {
        // Without optimisation everything takes ten times as long.
        cluster.consortium.configure(|config| {
            config.consensus.propose_timeout_ms *= 10;
            config.consensus.vote_timeout_ms *= 10;
        });
    }
    cluster.restart(&FOUR);
    let mut business = cluster.do_business();
    let stalled = cluster.until_alike().0.next().expect("there are more heights");
    cluster.kill(&AWAY);
    let reports = rows.div_ceil(u64::try_from(ROWS_FULL).expect("small"));
    let (cedar, licensed) = (&mut business.cedar, &business.licensed);
    report(cluster.node(CEDAR), cedar, licensed, 0, (reports, ROWS_FULL));
    let began = Instant::now();
    cluster.restart(&AWAY);
    let rows = reports * u64::try_from(ROWS_FULL).expect("small");
    cluster.until_rows(rows);
    tell(&format!("ms until {rows} rows that had waited were sealed"), began.elapsed().as_millis());
    let (height, _) = cluster.until_alike();
    let rounds = rounds(&cluster, BIRCH, stalled, height);
    tell("rounds of the blocks that drained the backlog", format!("{rounds:?}"));
    // The first of them was under way when the quorum went: its rounds had nobody to vote.
    assert!(rounds.iter().skip(1).all(|round| *round == 0), "a round has failed: {rounds:?}");
    cluster.never_differed();
    assert_eq!(audited(&cluster.consortium, cluster.node(DAHLIA)).rows, rows);
    cluster.stop_all();
}
