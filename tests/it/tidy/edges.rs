//! Who may depend on whom, and what stands at the root.

use std::collections::BTreeSet;
use std::fs;

use toml::Table;

use super::source::sources;
use super::{expect_none, root};

/// What each crate may depend on, of this workspace. The auditor (`client`) shares no
/// code with what it audits but `protocol`.
const EDGES: [(&str, &[&str]); 5] = [
    ("protocol", &[]),
    ("config", &["protocol"]),
    ("client", &["config", "protocol"]),
    ("node", &["client", "config", "protocol"]),
    ("tests", &["client", "config", "node", "protocol"]),
];

/// The only room of `node` that may use `client`: it plays the members' part.
const NODE_USES_CLIENT: [&str; 2] = ["node/src/demo.rs", "node/src/demo/"];

/// What stands at the root, hidden files and build output apart.
const ROOT: [&str; 9] =
    ["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "client", "config", "node", "protocol", "tests"];

fn manifest(path: &str) -> Table {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every package that a crate lists, of whatever kind.
pub(super) fn dependencies(name: &str) -> BTreeSet<String> {
    let manifest = manifest(&format!("{name}/Cargo.toml"));
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let tables = kinds.iter().filter_map(|kind| manifest.get(*kind)?.as_table());
    tables.flat_map(|table| table.keys().cloned()).collect()
}

#[test]
fn crates_depend_as_the_floor_plan_says() {
    let mut offenders = Vec::new();
    for (name, allowed) in EDGES {
        let own =
            dependencies(name).into_iter().filter_map(|dep| Some(dep.strip_prefix("syngraph-")?.to_owned()));
        let own: BTreeSet<String> = own.collect();
        let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        let new = own.difference(&allowed).map(|dep| format!("{name}/Cargo.toml: {dep}"));
        offenders.extend(new);
    }
    expect_none(
        "a crate depends on one that it must not know (protocol ← config ← node; protocol, config ← client)",
        offenders,
    );
}

#[test]
fn the_workspace_has_the_crates_of_the_floor_plan() {
    let manifest = manifest("Cargo.toml");
    let members = manifest["workspace"]["members"].as_array().expect("a list of members");
    let members: BTreeSet<_> = members.iter().map(|member| member.as_str().expect("a path")).collect();
    assert_eq!(members, EDGES.map(|(name, _)| name).into_iter().collect());
}

#[test]
fn node_uses_client_in_its_demo_alone() {
    let mut offenders = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("node/")) {
        if NODE_USES_CLIENT.iter().any(|room| source.path.starts_with(room)) {
            continue;
        }
        let uses = source.tokens.iter().filter(|token| token.text == "syngraph_client");
        offenders.extend(uses.map(|token| source.at(token.line)));
    }
    expect_none("the node must run without the client's code; only its demo plays the members", offenders);
}

#[test]
fn the_root_holds_what_the_floor_plan_names() {
    let entries = fs::read_dir(root()).expect("the root can be listed");
    let names = entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"));
    let found: BTreeSet<String> = names.filter(|name| !name.starts_with('.') && name != "target").collect();
    let expected: BTreeSet<String> = ROOT.map(str::to_owned).into_iter().collect();
    let differing = found.symmetric_difference(&expected).cloned().collect();
    expect_none("the root holds exactly what the floor plan names; these are missing or too many", differing);
}
