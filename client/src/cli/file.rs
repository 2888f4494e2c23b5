//! Files that people write for a command: JSON and TOML, with errors that name file, line
//! and field.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use serde::de::DeserializeOwned;
use syngraph_config::file::{self, ConfigError};

use super::CliError;

/// Reads JSON if the name ends in `.json`, else TOML.
///
/// # Errors
/// `CFG-READ`, `CFG-TOO-LONG`, `CFG-SYNTAX`.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, CliError> {
    let text = file::read_text(path)?;
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    if is_json { parse_json(&text, path) } else { Ok(file::parse(&text, path)?) }
}

/// Reads a value from JSON text; `path` only names it in errors.
///
/// # Errors
/// `CFG-SYNTAX` with line and field.
pub(super) fn parse_json<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, CliError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = error.path().to_string();
        syntax(path, Some(field).filter(|field| field != "."), error.inner())
    });
    let value = read?;
    json.end().map_err(|error| syntax(path, None, &error))?;
    Ok(value)
}

fn syntax(path: &Path, field: Option<String>, error: &serde_json::Error) -> ConfigError {
    let text = error.to_string();
    // The line is named before; "at line 1 column 5" would name it again.
    let problem = text.rsplit_once(" at line ").map_or(text.as_str(), |(problem, _)| problem).to_owned();
    ConfigError::Syntax { path: path.to_owned(), line: error.line().max(1), field, problem }
}

/// Writes a new file and puts it on the platter; never overwrites.
///
/// # Errors
/// `FILE-WRITE`.
pub(super) fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    let written = OpenOptions::new().write(true).create_new(true).open(path);
    finish(path, text, written)
}

/// Writes a file and puts it on the platter; replaces what is there.
///
/// # Errors
/// `FILE-WRITE`.
pub(super) fn write_over(path: &Path, text: &str) -> Result<(), CliError> {
    finish(path, text, File::create(path))
}

fn finish(path: &Path, text: &str, file: std::io::Result<File>) -> Result<(), CliError> {
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|source| CliError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read from text")]
    struct Outer {
        lines: Vec<Line>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read from text")]
    struct Line {
        quantity: u64,
    }

    #[test]
    fn errors_in_json_name_line_and_field() {
        for (text, expected) in [
            (
                "{\"lines\": [\n{\"quantity\": 1.5}]}",
                "a.json:2: lines[0].quantity: invalid type: floating point",
            ),
            (
                "{\"lines\": [\n{\"quantity\": -1}]}",
                "a.json:2: lines[0].quantity: invalid value: integer `-1`",
            ),
            ("{\"lines\": [], \"beer\": 1}", "a.json:1: beer: unknown field `beer`"),
            ("{\"lines\": []} 5", "a.json:1: trailing characters"),
            ("{\"lines\": [", "a.json:1: lines: EOF while parsing"),
            ("", "a.json:1: EOF while parsing a value"),
        ] {
            let error = parse_json::<Outer>(text, Path::new("a.json")).expect_err(text);
            assert!(error.to_string().starts_with(expected), "{error} for {text:?}");
            assert!(!error.to_string().contains("column"), "{error}");
            assert_eq!(error.rule(), "CFG-SYNTAX");
        }
    }

    #[test]
    fn the_name_decides_how_a_file_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let (json, toml) = (folder.path().join("a.JSON"), folder.path().join("a.toml"));
        write_new(&json, "{\"lines\": [{\"quantity\": 1}]}").expect("new");
        write_new(&toml, "[[lines]]\nquantity = 1\n").expect("new");
        assert!(read::<Outer>(&json).is_ok() && read::<Outer>(&toml).is_ok());
        assert_eq!(write_new(&toml, "").expect_err("there").rule(), "FILE-WRITE");
        write_over(&toml, "lines = 1").expect("replaced");
        assert_eq!(read::<Outer>(&toml).expect_err("no list").rule(), "CFG-SYNTAX");
        assert_eq!(read::<Outer>(folder.path()).expect_err("a folder").rule(), "CFG-READ");
    }
}
