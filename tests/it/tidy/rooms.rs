//! One outside package, one room: a change of library stays in one room.

use super::edges::dependencies;
use super::expect_none;
use super::source::{CRATES, Source, sources};

/// A package (or several, by the beginning of their names) and its rooms: files, folders
/// with a `/` at their end, or file names with a `/` at their beginning.
struct Rule {
    package: &'static str,
    rooms: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule { package: "bincode", rooms: &["protocol/src/codec.rs"] },
    Rule { package: "ed25519_dalek", rooms: &["protocol/src/crypto.rs"] },
    Rule { package: "jmt", rooms: &["protocol/src/ledger/state_tree.rs"] },
    Rule { package: "sled", rooms: &["node/src/store.rs", "node/src/store/"] },
    Rule {
        package: "libp2p_identity",
        rooms: &["node/src/consensus.rs", "node/src/consensus/", "node/src/peers/"],
    },
    Rule { package: "libp2p", rooms: &["node/src/peers.rs", "node/src/peers/"] },
    Rule { package: "arc_malachitebft", rooms: &["node/src/consensus.rs", "node/src/consensus/"] },
    Rule { package: "ractor", rooms: &["node/src/consensus.rs", "node/src/consensus/"] },
    Rule { package: "axum", rooms: &["node/src/http.rs", "node/src/http/"] },
    Rule { package: "clap", rooms: &["/args.rs", "client/src/args/", "node/src/args/"] },
    Rule {
        package: "anyhow",
        rooms: &["client/src/main.rs", "node/src/main.rs", "/args.rs", "protocol/src/ledger/state_tree.rs"],
    },
];

/// Where `node` may touch files: the store, and what runs before or around a node.
const FILE_ROOMS: &[&str] = &[
    "node/src/store.rs",
    "node/src/store/",
    "node/src/main.rs",
    "node/src/args.rs",
    "node/src/demo.rs",
    "node/src/demo/",
];

fn is_in(path: &str, rooms: &[&str]) -> bool {
    rooms.iter().any(|room| match room.strip_prefix('/') {
        Some(name) => path.rsplit('/').next() == Some(name),
        None if room.ends_with('/') => path.starts_with(room),
        None => path == *room,
    })
}

/// The rule of a package: the first whose name it has or continues.
fn rule_of(package: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| {
        package.strip_prefix(rule.package).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    })
}

#[test]
fn a_package_stays_in_its_room() {
    let mut offenders = Vec::new();
    for source in sources() {
        for token in &source.tokens {
            let strays = rule_of(&token.text).filter(|rule| !is_in(&source.path, rule.rooms));
            offenders.extend(strays.map(|rule| {
                format!(
                    "{} uses {}, which belongs to {}",
                    source.at(token.line),
                    token.text,
                    rule.rooms.join(", ")
                )
            }));
        }
    }
    expect_none("an outside package is used outside of its room", offenders);
}

#[test]
fn only_a_crate_with_a_room_lists_the_package() {
    let mut offenders = Vec::new();
    for name in CRATES {
        for package in dependencies(name) {
            let has_room = |rule: &Rule| {
                rule.rooms.iter().any(|room| room.starts_with('/') || room.split('/').next() == Some(name))
            };
            let rule = rule_of(&package.replace('-', "_"));
            if rule.is_some_and(|rule| !has_room(rule)) {
                offenders.push(format!("{name}/Cargo.toml: {package}"));
            }
        }
    }
    expect_none("a crate lists a package for which it has no room", offenders);
}

/// Lines on which a file names a module of `std`, alone or in a list.
pub(super) fn std_modules<'a>(source: &'a Source, modules: &'a [&str]) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    let texts: Vec<&str> = source.tokens.iter().map(|token| token.text.as_str()).collect();
    for (at, window) in texts.windows(3).enumerate() {
        if !matches!(window, ["std" | "tokio", "::", _]) {
            continue;
        }
        let mut depth = 0_usize;
        for (text, token) in texts[at + 2..].iter().zip(&source.tokens[at + 2..]) {
            match *text {
                "{" => depth += 1,
                "}" => depth = depth.saturating_sub(1),
                module if modules.contains(&module) => found.push((token.line, module)),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    found
}

#[test]
fn the_node_touches_files_in_its_store_alone() {
    let mut offenders = Vec::new();
    for source in sources() {
        if !source.path.starts_with("node/") || is_in(&source.path, FILE_ROOMS) {
            continue;
        }
        let outside = ["fs_err", "OpenOptions", "tempfile"];
        let direct = source.tokens.iter().filter(|token| outside.contains(&token.text.as_str()));
        offenders.extend(direct.map(|token| format!("{} {}", source.at(token.line), token.text)));
        let modules = std_modules(&source, &["fs"]);
        offenders.extend(modules.into_iter().map(|(line, _)| format!("{} fs", source.at(line))));
    }
    expect_none("files are durable only if one room knows when they are synced: node/src/store", offenders);
}
