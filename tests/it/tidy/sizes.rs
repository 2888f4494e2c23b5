//! How long files and functions get.

use super::expect_none;
use super::source::{files, sources};

/// A file that needs more says two things: it is two files.
const FILE_LINES_MAX: usize = 500;
/// A function must fit on a screen, from its `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn functions_fit_on_a_screen() {
    let mut offenders = Vec::new();
    for source in sources() {
        let long = source.functions.iter().filter(|function| function.lines > FUNCTION_LINES_MAX);
        offenders.extend(long.map(|f| format!("{} {}: {} lines", source.at(f.line), f.name, f.lines)));
    }
    expect_none("a function has more than 70 lines: split it where it changes its subject", offenders);
}

#[test]
fn files_have_one_subject() {
    let mut offenders = Vec::new();
    for path in ["client", "config", "node", "protocol", "tests"].iter().flat_map(|name| files(name)) {
        if !path.ends_with(".rs") {
            continue;
        }
        let text = std::fs::read_to_string(super::root().join(&path)).expect("a file that was just listed");
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            offenders.push(format!("{path}: {lines} lines"));
        }
    }
    expect_none("a file has more than 500 lines: it is two files (move its tests or a noun out)", offenders);
}
