//! The metered use that the demo imports: somebody's trace, or a built-in one.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use syngraph_protocol::time::{Month, UtcMs};

use super::DemoError;

/// How many calls the built-in trace has.
const ROWS: u64 = 20_000;

/// Where it begins: 1 October 2025.
const BEGINS: UtcMs = UtcMs::from_ms(1_759_276_800_000);

/// Writes the built-in trace: the same calls every time, spread over a day.
pub(super) fn generate(dir: &Path) -> Result<PathBuf, DemoError> {
    let mut text = String::from("TIMESTAMP,ContextTokens,GeneratedTokens\n");
    let mut state = 1_u64;
    let mut next = |below: u64| {
        // Knuth's MMIX generator; the high bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for row in 0..ROWS {
        let at = BEGINS.plus_ms(i64::try_from(row * 4_320 + next(4_320)).unwrap_or(0));
        // Writing to a string cannot fail.
        writeln!(text, "{at},{},{}", 50 + next(2_000), 1 + next(600)).ok();
    }
    let path = dir.join("usage.csv");
    std::fs::write(&path, text).map_err(|source| DemoError::File { path: path.clone(), source })?;
    Ok(path)
}

/// The months that a trace touches. Lines without a moment are the import's business.
pub(super) fn months(file: &Path) -> Result<Vec<Month>, DemoError> {
    let error = |source| DemoError::File { path: file.to_owned(), source };
    let mut months = BTreeSet::new();
    for line in BufReader::new(std::fs::File::open(file).map_err(error)?).lines() {
        let line = line.map_err(error)?;
        let moment = line.split(',').next().and_then(|field| UtcMs::parse(field).ok());
        months.extend(moment.and_then(Month::of));
    }
    if months.is_empty() {
        return Err(DemoError::NoUsage(file.to_owned()));
    }
    Ok(months.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_trace_is_the_same_every_time() {
        let (a, b) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let read = |dir: &Path| std::fs::read_to_string(generate(dir).expect("writes")).expect("reads");
        let text = read(a.path());
        assert_eq!(text, read(b.path()));
        assert_eq!(text.lines().count(), 20_001);
        let months = months(&a.path().join("usage.csv")).expect("has rows");
        assert_eq!(months, ["2025-10".parse().expect("a month")]);
    }

    #[test]
    fn a_trace_without_rows_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("empty.csv");
        std::fs::write(&path, "TIMESTAMP,ContextTokens\n").expect("writes");
        assert!(matches!(months(&path), Err(DemoError::NoUsage(_))));
    }
}
