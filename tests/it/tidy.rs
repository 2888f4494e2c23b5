//! The habits of the house, held by a test: who may depend on whom, which package stays
//! in which room, how long things get, and that names lead somewhere.
//!
//! *Invariants.* Every rule is checked on the source as it stands, without building it; a
//! failure names each offender as `file:line`, and says what the rule is for.

mod edges;
mod names;
mod rooms;
mod sizes;
mod source;
mod words;

use std::path::{Path, PathBuf};

/// The workspace's root.
fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests are a folder of the workspace").to_owned()
}

/// Fails with every offender, and why there should be none.
#[track_caller]
fn expect_none(why: &str, mut offenders: Vec<String>) {
    offenders.sort();
    offenders.dedup();
    assert!(offenders.is_empty(), "{why}:\n  {}\n", offenders.join("\n  "));
}
