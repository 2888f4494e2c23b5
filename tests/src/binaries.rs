//! The programs under test, built once for a run of the tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A program of the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `syngraphd`, the node.
    Node,
    /// `syngraph`, everybody else's tool.
    Tool,
    /// `syngraphd` with the node's feature `byzantine`, which lies if `SYNGRAPH_BYZANTINE`
    /// says how.
    Byzantine,
}

impl Program {
    const fn name(self) -> &'static str {
        match self {
            Self::Node | Self::Byzantine => "syngraphd",
            Self::Tool => "syngraph",
        }
    }

    /// Where the program is, built in the profile that the tests were built in.
    ///
    /// # Panics
    /// If it does not build.
    pub fn path(self) -> PathBuf {
        static HONEST: OnceLock<PathBuf> = OnceLock::new();
        static BYZANTINE: OnceLock<PathBuf> = OnceLock::new();
        let folder = match self {
            Self::Node | Self::Tool => HONEST.get_or_init(|| given().unwrap_or_else(build)),
            Self::Byzantine => BYZANTINE.get_or_init(build_byzantine),
        };
        let path = folder.join(self.name()).with_extension(std::env::consts::EXE_EXTENSION);
        assert!(path.is_file(), "{} was built elsewhere", path.display());
        path
    }

    /// A command that runs the program, without what the caller's environment sets for it.
    pub fn command(self) -> Command {
        let mut command = Command::new(self.path());
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.to_string_lossy().starts_with("SYNGRAPH_")) {
            command.env_remove(name);
        }
        command
    }
}

/// The folder of programs that were built elsewhere, such as those of a release, if
/// `SYNGRAPH_TEST_PROGRAMS` names one.
fn given() -> Option<PathBuf> {
    std::env::var_os("SYNGRAPH_TEST_PROGRAMS").map(PathBuf::from)
}

/// Whether the programs are built to be fast: in this profile, or elsewhere.
#[must_use]
pub fn is_optimized() -> bool {
    !cfg!(debug_assertions) || given().is_some()
}

/// Builds the programs and gives their folder.
///
/// Cargo builds the binaries of a package for that package's own tests alone, so they are
/// asked for here. Together with the tests of the whole workspace they need the same
/// features of the same packages as `cargo test --workspace` has just built, so that only
/// they themselves are left to build. What cargo tells a test about itself is taken away:
/// build scripts that look at it would run again, and half of the packages with them.
fn build() -> PathBuf {
    cargo(&["--bins", "--test", "it"]);
    profile_folder()
}

/// Builds the node that may lie, and gives its folder: one of its own, so that nobody runs
/// it for an honest one. What cargo makes on the way stays where it is made for the honest
/// one, so that only the node's own crate is built again; a cargo that knows no `build-dir`
/// takes longer. The test of one crate is named because tests decide on features.
fn build_byzantine() -> PathBuf {
    let shared = target_folder();
    let own = shared.join("byzantine");
    let path = |path: &Path| path.to_str().expect("cargo's paths are UTF-8").to_owned();
    let build_dir = format!("build.build-dir={:?}", path(&shared));
    cargo(&[
        "--bin",
        "syngraphd",
        "--test",
        "wire",
        "--features",
        "syngraph-node/byzantine",
        "--config",
        &build_dir,
        "--target-dir",
        &path(&own),
    ]);
    let profile = profile_folder();
    own.join(profile.file_name().expect("a profile's folder has a name"))
}

/// Builds something of the workspace in the profile that the tests were built in.
fn cargo(what: &[&str]) {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--workspace"]).args(what);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let told = std::env::vars_os().map(|(name, _)| name);
    for name in told.filter(|name| is_about_this_test(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    let status = command.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
    assert!(status.success(), "the programs do not build");
}

/// The folder of all profiles.
fn target_folder() -> PathBuf {
    let profile = profile_folder();
    profile.parent().expect("a profile's folder is in one for all").to_owned()
}

/// Whether cargo sets the variable for a test that it runs, and not somebody for cargo.
fn is_about_this_test(name: &str) -> bool {
    let named = ["CARGO", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "CARGO_TARGET_TMPDIR", "OUT_DIR"];
    let begun = ["CARGO_BIN_", "CARGO_MANIFEST_", "CARGO_PKG_"];
    named.contains(&name) || begun.iter().any(|beginning| name.starts_with(beginning))
}

/// The folder of binaries: a test's own executable is in its `deps`.
fn profile_folder() -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a path");
    let deps = own.parent().expect("a file has a folder");
    if deps.ends_with("deps") {
        deps.parent().expect("deps has a parent").to_owned()
    } else {
        deps.to_owned()
    }
}
