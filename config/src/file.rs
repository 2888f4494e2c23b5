//! TOML files and typed values, with errors that name file, line and field.
//!
//! *Invariants.* A file is read once, up to a limit, and never guessed at: unknown fields
//! are the types' own business (`deny_unknown_fields`).
//!
//! *Deliberately absent:* what any particular file means.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Serialize, de::DeserializeOwned};

use crate::write;

/// Longest configuration or genesis file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Why a file is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read at all.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is longer than any file of its kind.
    #[error("{}: longer than {FILE_BYTES_MAX} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It is not what it should be.
    #[error("{}:{line}: {}{problem}", path.display(), named(field))]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The field, as far as it is known: `charter.members.power`.
        field: Option<String>,
        /// What is wrong with it.
        problem: String,
    },
    /// There is a file of this name, and none is overwritten.
    #[error("{}: exists already, and is not overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("{}: not written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A value that TOML cannot say.
    #[error("not writable as TOML: {problem}")]
    Unwritable {
        /// What the writer said.
        problem: String,
    },
}

fn named(field: &Option<String>) -> String {
    field.as_ref().map_or_else(String::new, |field| format!("{field}: "))
}

impl ConfigError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Read { .. } => "CFG-READ",
            Self::TooLong { .. } => "CFG-TOO-LONG",
            Self::Syntax { .. } => "CFG-SYNTAX",
            Self::Exists { .. } => "CFG-EXISTS",
            Self::Write { .. } => "CFG-WRITE",
            Self::Unwritable { .. } => "CFG-UNWRITABLE",
        }
    }
}

/// The text of a file.
///
/// # Errors
/// `CFG-READ` (not UTF-8 included), `CFG-TOO-LONG`.
pub fn read_text(path: &Path) -> Result<String, ConfigError> {
    let read_error = |source| ConfigError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read_error)?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX.saturating_add(1)).read_to_string(&mut text).map_err(read_error)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(ConfigError::TooLong { path: path.to_owned() });
    }
    Ok(text)
}

/// Reads a value from TOML text; `path` only names it in errors.
///
/// # Errors
/// `CFG-SYNTAX` with line and field.
pub fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let (line, field) = error.span().map_or((1, None), |span| locate(text, &span));
        let problem = error.message().trim().replace('\n', "; ");
        ConfigError::Syntax { path: path.to_owned(), line, field, problem }
    })
}

/// The TOML text of a value.
///
/// # Errors
/// `CFG-UNWRITABLE` for what TOML cannot say.
pub fn to_toml<T: Serialize>(value: &T) -> Result<String, ConfigError> {
    toml::to_string(value).map_err(|error| ConfigError::Unwritable { problem: error.to_string() })
}

/// Writes a file that is not there yet; it may be read by everybody.
///
/// # Errors
/// `CFG-EXISTS`, `CFG-WRITE`.
pub(crate) fn create(path: &Path, text: &str) -> Result<(), ConfigError> {
    write::create(path, write::PUBLIC, text).map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => ConfigError::Exists { path: path.to_owned() },
        _ => ConfigError::Write { path: path.to_owned(), source },
    })
}

/// Puts new text in place of a file.
///
/// # Errors
/// `CFG-WRITE`; the file is then as it was.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), ConfigError> {
    write::replace(path, text).map_err(|source| ConfigError::Write { path: path.to_owned(), source })
}

/// Line (from 1) and field of a place in TOML text.
fn locate(text: &str, span: &Range<usize>) -> (usize, Option<String>) {
    let before = text.get(..span.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline.saturating_add(1));
    let line = before.matches('\n').count().saturating_add(1);
    let here = text.get(line_start..).unwrap_or("").lines().next().unwrap_or("");
    let key = here.split_once('=').map(|(key, _)| key.trim()).filter(|key| is_key(key));
    // A span that starts at a header is about that table; otherwise the last one above.
    let table = header(here).or_else(|| before.lines().rev().find_map(header));
    let field: Vec<_> = table.into_iter().chain(key).collect();
    (line, (!field.is_empty()).then(|| field.join(".")))
}

/// The line (from 1) of a field, `key` in the table `table`, the `nth` of its name from 0.
/// That of the table's header if the key is not written, 1 if there is no such table.
pub(crate) fn line_of(text: &str, table: &str, nth: usize, key: &str) -> usize {
    let mut lines = text.lines().zip(1..).filter(|(line, _)| !line.trim_start().starts_with('#'));
    let Some((_, opened)) = lines.by_ref().filter(|(line, _)| header(line) == Some(table)).nth(nth) else {
        return 1;
    };
    let mut own = lines.take_while(|(line, _)| header(line).is_none());
    let field = own.find(|(line, _)| line.split_once('=').is_some_and(|(name, _)| name.trim() == key));
    field.map_or(opened, |(_, line)| line)
}

/// The table that a line opens: `[a.b]` or `[[a.b]]`.
fn header(line: &str) -> Option<&str> {
    let name = line.trim().strip_prefix('[')?.trim_start_matches('[').split(']').next()?.trim();
    is_key(name).then_some(name)
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read from text")]
    struct Outer {
        name: String,
        inner: Vec<Inner>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read from text")]
    struct Inner {
        power: u64,
    }

    #[test]
    fn errors_name_file_line_and_field() {
        for (text, expected) in [
            ("name = 5\n", "a.toml:1: name: "),
            ("name = \"x\"\n\n[[inner]]\npower = \"y\"\n", "a.toml:4: inner.power: "),
            ("name = \"x\"\n[[inner]]\npower = 1\nbeer = 2\n", "a.toml:4: inner.beer: unknown field `beer`"),
            ("name = \"x\"\n[[inner]]\n[[inner]]\npower = -1\n", "a.toml:2: inner: missing field `power`"),
            ("name = \"x\ninner = []\n", "a.toml:1: name: "),
        ] {
            let error = parse::<Outer>(text, Path::new("a.toml")).expect_err(text);
            assert!(error.to_string().starts_with(expected), "{error} for {text:?}");
            assert_eq!(error.rule(), "CFG-SYNTAX");
        }
    }

    #[test]
    fn a_field_is_found_again() {
        let text = "a = 1\n[[t]]\n# b = 9\nb = 1\n\n[[t]] # two\nc = 1\n[u]\nb = 3\n";
        for (table, nth, key, line) in
            [("t", 0, "b", 4), ("t", 1, "c", 7), ("t", 1, "b", 6), ("u", 0, "b", 9), ("v", 0, "b", 1)]
        {
            assert_eq!(line_of(text, table, nth, key), line, "{table} {nth} {key}");
        }
    }

    #[test]
    fn an_unreadable_file_is_named() {
        let error = read_text(Path::new("/nonexistent/file.toml")).expect_err("there is none");
        assert!(error.to_string().starts_with("/nonexistent/file.toml: "));
        assert_eq!(error.rule(), "CFG-READ");
    }
}
