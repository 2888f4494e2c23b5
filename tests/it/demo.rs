//! The main job, as the README's first command shows it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{Signal, kill_process, test_kill_process};
use serde_json::Value;
use syngraph_tests::binaries::Program;
use syngraph_tests::files::{TRACE_HEADER, data};
use syngraph_tests::process::{Process, pid};
use syngraph_tests::tool::{run, syngraph, with};

/// Every key of the result.
const RESULT: [&str; 11] = [
    "archive",
    "audit",
    "findings",
    "heights",
    "lines",
    "nodes",
    "payments",
    "positions",
    "rows_per_s",
    "rows_sealed",
    "state_root",
];
/// Every key of a node in the first of two lines.
const NODE: [&str; 8] = ["consensus", "dir", "http", "key_files", "member", "name", "peer", "pid"];
/// What every line of a statement has; it may say more.
const LINE: [&str; 7] = ["agreement", "amount", "asset", "charge_micros", "currency", "payer", "quantity"];
/// What every report of an audit has; it may say more.
const AUDIT: [&str; 9] =
    ["blocks", "entries", "error", "findings", "height", "rows", "seconds", "state_root", "verdict"];

/// The real trace: rows, units, and what they cost.
const AZURE: &str = "azure-llm-2023/conv.csv";
const AZURE_ROWS: u64 = 19_366;

fn demo(folder: &Path, more: &[&str]) -> Command {
    let dir = folder.join("demo").display().to_string();
    with(Program::Node, &[&["demo", "--dir", &dir], more].concat())
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[track_caller]
fn has(value: &Value, names: &[&str]) {
    assert!(names.iter().all(|name| value.get(name).is_some()), "{value} lacks one of {names:?}");
}

#[track_caller]
fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().expect("a list")
}

/// The result has the form that scripts rely on, and agrees with itself: every node of
/// these members has come to the same state.
fn check(result: &Value, members: &[u64]) {
    let mut names = keys(result);
    names.sort_unstable();
    assert_eq!(names, RESULT);
    has(&result["audit"], &AUDIT);
    assert_eq!((&result["audit"]["verdict"], &result["audit"]["error"]), (&"ok".into(), &Value::Null));
    for node in list(result, "nodes").iter().chain([&result["audit"]]) {
        let told = (&node["height"], &node["state_root"]);
        assert_eq!(told, (&result["heights"], &result["state_root"]), "{result}");
    }
    let nodes = list(result, "nodes").iter();
    let hosts: Vec<u64> = nodes.map(|node| node["member"].as_u64().expect("a number")).collect();
    assert_eq!(hosts, members);
    assert!(list(result, "nodes").iter().all(|node| keys(node).len() == 3), "{result}");
    assert!(result["rows_per_s"].as_f64().is_some_and(|rate| rate > 0.0), "{result}");
    let [line] = list(result, "lines") else { panic!("one line: {result}") };
    has(line, &LINE);
    has(line, &["agreement_name", "asset_name", "payer_name"]);
    for finding in list(result, "findings") {
        assert_eq!(keys(finding), ["id", "severity", "subject"]);
    }
    assert_eq!(list(result, "findings").len(), list(&result["audit"], "findings").len());
    balanced(result);
}

/// What some pay is what others receive, to the cent, and together not more than the
/// charge.
fn balanced(result: &Value) {
    let minor = |value: &Value| -> i64 {
        has(value, &["amount", "currency", "minor"]);
        value["minor"].as_str().expect("a decimal string").parse().expect("digits")
    };
    let positions: Vec<i64> = list(result, "positions").iter().map(minor).collect();
    assert_eq!(positions.iter().sum::<i64>(), 0);
    let payments = list(result, "payments");
    payments.iter().for_each(|payment| has(payment, &["from", "to"]));
    let paid: i64 = payments.iter().map(minor).sum();
    let received: i64 = positions.iter().filter(|minor| **minor > 0).sum();
    assert_eq!(paid, received);
    let line = &list(result, "lines")[0];
    let charged: i64 = line["charge_micros"].as_str().expect("a decimal string").parse().expect("digits");
    // Less than a cent for each who receives is carried on.
    let carried = charged - paid * 1_000_000;
    assert!(
        (0..i64::try_from(payments.len()).expect("few") * 1_000_000).contains(&carried),
        "{carried} micros"
    );
}

fn check_archive(result: &Value, folder: &Path) {
    let archive = result["archive"].as_str().expect("a path");
    assert!(Path::new(archive).is_absolute() && Path::new(archive).is_dir(), "{archive}");
    let genesis = folder.join("demo/genesis.toml").display().to_string();
    let grave = list(result, "findings").iter().any(|finding| finding["severity"] == "E");
    let replay = syngraph(&["audit", "replay", archive, "--genesis", &genesis, "--json"]);
    let report = replay.ending(if grave { 4 } else { 0 }).json();
    has(&report, &AUDIT);
    for field in ["verdict", "height", "state_root", "blocks", "entries", "rows", "findings", "error"] {
        assert_eq!(report[field], result["audit"][field], "{field}");
    }
}

#[test]
fn a_real_trace_is_sealed_billed_and_audited() {
    let Some(trace) = data(AZURE) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trace = trace.display().to_string();
    let command = demo(folder.path(), &["--usage", &trace, "--stay", "--json"]);
    let mut demo = Process::start(command, "demo", folder.path()).expect("the demo starts");
    let line = |demo: &mut Process| -> Value {
        let line =
            demo.line().expect("UTF-8").unwrap_or_else(|| panic!("{}", demo.log().unwrap_or_default()));
        serde_json::from_str(&line).expect("a JSON document on a line")
    };
    let (first, result) = (line(&mut demo), line(&mut demo));
    let nodes = check_first(&first, folder.path());
    check(&result, &[0, 1, 2, 3]);
    assert_eq!(result["rows_sealed"], AZURE_ROWS);
    let [statement] = list(&result, "lines") else { panic!("one line: {result}") };
    for (field, expected) in [
        ("quantity", "26450535"),
        ("charge_micros", "5625601650"),
        ("amount", "56.2560165"),
        ("currency", "EUR"),
        ("payer_name", "Cedar"),
        ("asset_name", "Model M1"),
    ] {
        assert_eq!(statement[field], expected, "{field}");
    }
    check_archive(&result, folder.path());
    import_again(&nodes[3], &trace, folder.path());

    assert!(demo.stop().expect("it is signalled").success());
    for node in nodes {
        assert_eq!(test_kill_process(pid(node.pid)), Err(Errno::SRCH), "the node has gone with the demo");
    }
}

/// What the first line says of a node.
struct Child {
    pid: u32,
    http: String,
}

fn check_first(first: &Value, folder: &Path) -> Vec<Child> {
    assert_eq!(keys(first), ["genesis", "nodes"]);
    assert_eq!(first["genesis"], folder.join("demo/genesis.toml").display().to_string());
    let names: Vec<_> = list(first, "nodes").iter().map(|node| &node["name"]).collect();
    assert_eq!(names, ["Consortium", "Aster", "Birch", "Cedar"]);
    list(first, "nodes").iter().map(check_child).collect()
}

fn check_child(node: &Value) -> Child {
    let mut names = keys(node);
    names.sort_unstable();
    assert_eq!(names, NODE);
    for key in list(node, "key_files") {
        assert!(Path::new(key.as_str().expect("a path")).is_file(), "{key}");
    }
    let number = |name: &str| u32::try_from(node[name].as_u64().expect("a number")).expect("small");
    for port in ["peer", "consensus"] {
        let address = node[port].as_str().map(str::parse::<std::net::SocketAddr>);
        assert!(matches!(address, Some(Ok(_))), "{port}: {node}");
    }
    let http = node["http"].as_str().expect("an address").to_owned();
    Child { pid: number("pid"), http }
}

/// The same trace once more, with the tool and the key that Cedar's office has.
fn import_again(node: &Child, trace: &str, folder: &Path) {
    let key = folder.join("demo/cedar/keys/office.toml").display().to_string();
    let again = syngraph(&[
        "usage",
        "import",
        trace,
        "--agreement",
        "Inference licence for M1",
        "--grant",
        "0",
        "--asset",
        "Model M1@1.0",
        "--act",
        "infer.service",
        "--purpose",
        "commercial.service",
        "--territory",
        "NL",
        "--meter",
        "tokens",
        "--time",
        "TIMESTAMP",
        "--quantity",
        "ContextTokens,GeneratedTokens",
        "--node",
        &node.http,
        "--key",
        &key,
        "--json",
    ]);
    let report = again.ending(0).json();
    assert_eq!(
        (&report["rows_read"], &report["rows_new"], &report["rows_duplicate"], &report["rows_refused"]),
        (&AZURE_ROWS.into(), &0.into(), &AZURE_ROWS.into(), &Value::Array(Vec::new()))
    );
}

#[test]
fn without_a_trace_there_is_one_built_in_and_one_member_is_enough() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let result = run(demo(folder.path(), &["--members", "1", "--json"])).ending(0).json();
    check(&result, &[1]);
    assert_eq!(result["rows_sealed"], 20_000);
    let text = fs::read_to_string(folder.path().join("demo/usage.csv")).expect("the trace is kept");
    let row =
        |line: &str| line.split(',').skip(1).map(|units| units.parse::<u64>().expect("digits")).sum::<u64>();
    let quantity: u64 = text.lines().skip(1).map(row).sum();
    assert_eq!(list(&result, "lines")[0]["quantity"], quantity.to_string());
    check_archive(&result, folder.path());
}

/// A trace of two calls.
fn small_trace(folder: &Path) -> PathBuf {
    let path = folder.join("small.csv");
    let rows = "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n";
    fs::write(&path, format!("{TRACE_HEADER}{rows}")).expect("it is written");
    path
}

#[test]
fn people_are_told_the_same_in_words_and_a_killed_node_ends_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trace = small_trace(folder.path()).display().to_string();
    let command = demo(folder.path(), &["--usage", &trace, "--stay"]);
    let mut demo = Process::start(command, "demo", folder.path()).expect("the demo starts");
    let mut told = String::new();
    loop {
        let line =
            demo.line().expect("UTF-8").unwrap_or_else(|| panic!("{}", demo.log().unwrap_or_default()));
        if line.contains("the node of Cedar is up") {
            // Whose door Cedar's use would have come through.
            let id = line.split("(process ").nth(1).and_then(|rest| rest.split(')').next());
            let id = id.expect("a process id").parse().expect("digits");
            kill_process(pid(id), Signal::KILL).expect("the node runs");
        }
        told += &line;
        told.push('\n');
        if line.contains("interrupt to stop") {
            break;
        }
    }
    for words in
        ["imported 2 of 2 rows", "Cedar for Model M1: 923 units, EUR 0.0023075", "3 of 4 nodes", "Audit ok"]
    {
        assert!(told.contains(words), "{words:?} is not in:\n{told}");
    }
    assert!(demo.ended().expect("its own child").is_none(), "the demo goes on");
    assert!(demo.stop().expect("it is signalled").success());
}

#[test]
fn a_trace_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let missing = folder.path().join("missing.csv").display().to_string();
    let ran = run(demo(folder.path(), &["--usage", &missing, "--json"])).ending(1);
    assert!(ran.stderr.contains(&missing) && ran.stdout.is_empty(), "{ran:#?}");
}
