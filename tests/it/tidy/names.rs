//! Names that lead somewhere: paths in documents exist, and every rule id stands in the
//! specification.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::source::{Source, sources};
use super::{expect_none, root};

/// The documents whose paths are checked.
const DOCUMENTS: [&str; 2] = ["README.md", "protocol/SPEC.md"];
/// Beginnings of paths of this repository, from its root.
const FOLDERS: [&str; 8] =
    [".ci/", ".deny.toml", "client/", "config/", "node/", "protocol/", "tests/", "src/"];

fn document(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The code spans of a document, with their lines; fenced code is left out.
fn code_spans(text: &str) -> Vec<(usize, &str)> {
    let mut spans = Vec::new();
    let mut fenced = false;
    for (line, number) in text.lines().zip(1..) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            spans.extend(line.split('`').skip(1).step_by(2).map(|span| (number, span)));
        }
    }
    spans
}

/// The targets of links within the repository, with their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut targets = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let inside = links.filter_map(|target| target.split('#').next());
        let inside = inside.filter(|target| !target.is_empty() && !target.contains("://"));
        targets.extend(inside.map(|target| (number, target)));
    }
    targets
}

/// Whether a code span is meant as a path of this repository.
fn is_path(span: &str) -> bool {
    let plain = span.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
    plain && (FOLDERS.iter().any(|folder| span.starts_with(folder)) || span.ends_with(".rs"))
}

#[test]
fn paths_in_documents_exist() {
    let mut offenders = Vec::new();
    for name in DOCUMENTS {
        let text = document(name);
        let here = root().join(name);
        let here = here.parent().expect("a file has a folder");
        let spans = code_spans(&text).into_iter().filter(|(_, span)| is_path(span));
        for (line, path) in spans.chain(links(&text)) {
            let known = [here, &here.join("src"), &root()].iter().any(|base| base.join(path).exists());
            if !known {
                offenders.push(format!("{name}:{line} {path}"));
            }
        }
    }
    expect_none("a document names a file that does not exist", offenders);
}

/// Whether text has the form of a rule id: UPPERCASE-WITH-DASHES, its noun at least three
/// letters long (codes of places have two), its second word no number (`SHA-256`).
fn is_rule(text: &str) -> bool {
    let words: Vec<&str> = text.split('-').collect();
    let upper =
        |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let [noun, second, ..] = words[..] else { return false };
    let begins = |word: &str| word.starts_with(|c: char| c.is_ascii_uppercase());
    words.iter().all(upper) && noun.len() >= 3 && begins(noun) && begins(second)
}

/// Every rule id that code says, with a place that says it.
fn rules_in(sources: &[Source]) -> BTreeMap<String, String> {
    let mut rules = BTreeMap::new();
    for source in sources {
        for token in &source.tokens {
            let text = token.text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            if let Some(rule) = text.filter(|text| is_rule(text)) {
                rules.entry(rule.to_owned()).or_insert_with(|| source.at(token.line));
            }
        }
    }
    rules
}

#[test]
fn every_rule_id_stands_in_the_specification() {
    let text = document("protocol/SPEC.md");
    let spec: BTreeSet<&str> =
        code_spans(&text).into_iter().map(|(_, span)| span).filter(|span| is_rule(span)).collect();
    let rules = rules_in(&sources());
    let unwritten = rules.iter().filter(|(rule, _)| !spec.contains(rule.as_str()));
    let unwritten = unwritten.map(|(rule, at)| format!("{rule}: {at}, not in SPEC.md"));
    let unsaid = spec.iter().filter(|rule| !rules.contains_key(**rule));
    let unsaid = unsaid.map(|rule| format!("{rule}: in SPEC.md, not in code"));
    let offenders = unwritten.chain(unsaid).collect();
    expect_none("people look up what a rule id means in protocol/SPEC.md", offenders);
}

#[test]
fn forms_are_told_apart() {
    for rule in ["AGR-HASH", "SHARE-OVER-100", "USE-OUT-TERR"] {
        assert!(is_rule(rule), "{rule}");
    }
    for other in ["SHA-256", "DE-BY", "Content-Type", "AGR", "AGR-", "-AGR", "AGR--X", "RFC-9457", ""] {
        assert!(!is_rule(other), "{other}");
    }
    for path in ["protocol/src/codec.rs", "entry.rs", ".ci/run"] {
        assert!(is_path(path), "{path}");
    }
    for other in ["entries/000", "/v1/entries", "keys/*.toml", "application/json"] {
        assert!(!is_path(other), "{other}");
    }
}
