//! Files of the tests: traces, copies of folders, and data that is kept beside the project.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use syngraph_protocol::time::UtcMs;

use crate::random::Random;
use crate::skip;

/// The folder of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests are a folder of the workspace").to_owned()
}

/// A file of real data, from `$SYNGRAPH_TEST_DATA` or `../shared/data` beside the
/// workspace. Says so if it is not there.
#[must_use]
pub fn data(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SYNGRAPH_TEST_DATA").map(PathBuf::from);
    let path = folder.unwrap_or_else(|| workspace().join("../shared/data")).join(name);
    if path.is_file() {
        return Some(path);
    }
    skip(&format!("this needs {}, which is absent; SYNGRAPH_TEST_DATA names its folder", path.display()));
    None
}

/// A trace of metered calls, and what it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The file.
    pub path: PathBuf,
    /// How many calls.
    pub rows: u64,
    /// Units of all of them.
    pub quantity: u64,
}

/// The columns of a trace.
pub const TRACE_HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n";

/// Where generated traces begin: 2 November 2023.
const TRACE_BEGINS: UtcMs = UtcMs::from_ms(1_698_883_200_000);

/// Writes a trace of calls within one day, the same every time for a seed. Some calls
/// are the same in everything, as happens in real traces.
///
/// # Panics
/// If it cannot be written.
#[must_use]
pub fn trace(path: &Path, rows: u64, seed: u64) -> Trace {
    let mut random = Random::new(seed);
    let (mut text, mut quantity) = (TRACE_HEADER.to_owned(), 0);
    let mut row = String::new();
    for _ in 0..rows {
        if row.is_empty() || random.below(50) > 0 {
            let at = TRACE_BEGINS.plus_ms(i64::try_from(random.below(86_400_000)).expect("within a day"));
            row = format!("{at},{},{}\n", 50 + random.below(2_000), 1 + random.below(600));
        }
        quantity += row
            .trim_end()
            .split(',')
            .skip(1)
            .map(|tokens| tokens.parse::<u64>().expect("digits"))
            .sum::<u64>();
        write!(text, "{row}").expect("memory takes everything");
    }
    fs::write(path, text).expect("the trace is written");
    Trace { path: path.to_owned(), rows, quantity }
}

/// Copies a folder with everything in it.
///
/// # Panics
/// If it cannot be copied.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder is made");
    for entry in fs::read_dir(from).expect("a folder is listed") {
        let entry = entry.expect("an entry is read");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("an entry has a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file is copied");
        }
    }
}

/// Every file below a folder, by its path relative to it, in order of names.
///
/// # Panics
/// If it cannot be listed.
#[must_use]
pub fn below(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).expect("a folder is listed") {
            let path = entry.expect("an entry is read").path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(folder).expect("it lies below").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Changes one bit of a file.
///
/// # Panics
/// If the file has no such byte or cannot be written.
pub fn flip(path: &Path, byte: u64, bit: u8) {
    let mut bytes = fs::read(path).expect("the file is read");
    let byte = usize::try_from(byte).expect("files fit into memory");
    bytes[byte] ^= 1 << bit;
    fs::write(path, bytes).expect("the file is written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_the_same_every_time_and_says_what_it_comes_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let [one, two] = ["1.csv", "2.csv"].map(|name| trace(&folder.path().join(name), 1_000, 7));
        assert_eq!((one.rows, one.quantity), (two.rows, two.quantity));
        let text = fs::read_to_string(&one.path).expect("readable");
        assert_eq!(text, fs::read_to_string(&two.path).expect("readable"));
        let mut rows: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(rows.len(), 1_000);
        rows.sort_unstable();
        rows.dedup();
        assert!((1..1_000).contains(&rows.len()), "some calls are the same in everything");
    }

    #[test]
    fn folders_are_copied_with_everything_in_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("a/b")).expect("folders");
        fs::write(from.join("a/b/one"), "1").expect("a file");
        fs::write(from.join("two"), "2").expect("a file");
        copy(&from, &to);
        assert_eq!(below(&to), [PathBuf::from("a/b/one"), PathBuf::from("two")]);
        flip(&to.join("two"), 0, 1);
        assert_eq!(fs::read(to.join("two")).expect("readable"), b"0");
    }
}
