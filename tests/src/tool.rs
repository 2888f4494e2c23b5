//! A program that is run to its end.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::binaries::Program;
use crate::wait::until;

/// How a program ended and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// Its output.
    pub stdout: String,
    /// What else it said.
    pub stderr: String,
}

impl Ran {
    /// The one document of its output.
    ///
    /// # Panics
    /// If its output is anything else.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in the output of {self:#?}"))
    }

    /// The same program, which must have ended with this code.
    ///
    /// # Panics
    /// If it did not.
    #[must_use]
    #[track_caller]
    pub fn ending(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }
}

/// Runs a program to its end.
///
/// # Panics
/// If it cannot be started, does not end, or is ended by a signal.
#[must_use]
#[track_caller]
pub fn run(mut command: Command) -> Ran {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [out, err] = ["out", "err"].map(|name| folder.path().join(name));
    let file = |path| File::create(path).expect("a file is created");
    command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err));
    let mut child = Guard(command.spawn().expect("the program starts"));
    let status = until("a program ends", || child.0.try_wait().expect("a child is asked"));
    let text = |path| fs::read_to_string(path).expect("programs write UTF-8");
    let code = status.code().unwrap_or_else(|| panic!("{status}: {}", text(&err)));
    Ran { code, stdout: text(&out), stderr: text(&err) }
}

/// Runs `syngraph` with these arguments.
///
/// # Panics
/// As [`run`].
#[must_use]
#[track_caller]
pub fn syngraph(args: &[&str]) -> Ran {
    run(with(Program::Tool, args))
}

/// Runs `syngraphd` with these arguments.
///
/// # Panics
/// As [`run`].
#[must_use]
#[track_caller]
pub fn syngraphd(args: &[&str]) -> Ran {
    run(with(Program::Node, args))
}

/// A command with its arguments.
#[must_use]
pub fn with(program: Program, args: &[&str]) -> Command {
    let mut command = program.command();
    command.args(args);
    command
}

struct Guard(std::process::Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // It may have ended before; then there is nothing to do.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_a_program_says_is_kept() {
        let mut command = Command::new("sh");
        command.args(["-c", "seq 1 50000; echo why >&2; exit 3"]);
        let ran = run(command).ending(3);
        assert_eq!((ran.stdout.lines().count(), ran.stderr.as_str()), (50_000, "why\n"));
    }
}
