//! The simulator, a few seeds of it: what `cargo sim --seeds 300` does at length.

use std::process::{Command, Output};

use serde_json::Value;

/// How many seeds are tried, unless the environment says otherwise.
const SEEDS: &str = "20";
/// How many seeds a fault that is built in on purpose may escape.
const CONTROL_SEEDS: &str = "4";

fn sim(args: &[&str]) -> (Output, Vec<Value>) {
    let run = Command::new(env!("CARGO_BIN_EXE_sim")).args(args).arg("--json").output().expect("it runs");
    let lines = String::from_utf8_lossy(&run.stdout);
    let reports = lines.lines().map(|line| serde_json::from_str(line).expect("a document a line")).collect();
    (run, reports)
}

#[test]
fn whatever_goes_wrong_nodes_agree_and_lose_nothing() {
    let seeds = std::env::var("SYNGRAPH_SIM_SEEDS").unwrap_or_else(|_| SEEDS.to_owned());
    let (run, reports) = sim(&["--seeds", &seeds]);
    let failures: Vec<_> = reports.iter().filter(|report| report.get("failure").is_some()).collect();
    assert!(failures.is_empty(), "{failures:#?}\n{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!((reports.len().to_string(), run.status.success()), (seeds, true));
    let sum = |field: &str| reports.iter().filter_map(|report| report[field].as_u64()).sum::<u64>();
    assert!(sum("crashes") > 0 && sum("heights") > 0 && sum("sealed") > 0, "something has happened");
}

#[test]
fn one_seed_is_one_history() {
    let traces = ["7", "7", "8"].map(|seed| sim(&["--seed", seed]).1[0]["trace"].clone());
    assert!(traces[0].is_string());
    assert_eq!(traces[0], traces[1]);
    assert_ne!(traces[0], traces[2]);
}

#[test]
fn a_node_that_acknowledges_before_its_disk_has_it_is_caught() {
    let args = ["--control", "ack-before-fsync", "--seeds", CONTROL_SEEDS, "--first", "--show", "0"];
    let (run, reports) = sim(&args);
    assert!(!run.status.success(), "{reports:#?}");
}
