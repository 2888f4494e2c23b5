//! Source files as the rules see them: tokens with their lines, tests left out.
//!
//! Reading tokens rather than text keeps comments and strings out of every rule, and
//! reaches into macros, which a parse of items would not.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

use super::root;

/// The crates whose sources are checked; `tests` may do what it needs.
pub(super) const CRATES: [&str; 4] = ["client", "config", "node", "protocol"];

/// One token of a file.
pub(super) struct Token {
    pub(super) line: usize,
    /// An identifier or literal as it is written, a delimiter, or one punctuation mark,
    /// with `::` as one.
    pub(super) text: String,
}

/// A function's body.
pub(super) struct Function {
    pub(super) line: usize,
    pub(super) name: String,
    /// From the line of `fn` to that of the closing brace.
    pub(super) lines: usize,
}

/// A Rust source file.
pub(super) struct Source {
    /// From the workspace's root, with `/`.
    pub(super) path: String,
    pub(super) tokens: Vec<Token>,
    pub(super) functions: Vec<Function>,
    /// Modules that only tests have.
    test_modules: Vec<String>,
}

impl Source {
    fn read(path: String) -> Self {
        let text = fs::read_to_string(root().join(&path)).expect("a file that was just listed");
        Self::parse(path, &text)
    }

    pub(super) fn parse(path: String, text: &str) -> Self {
        let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut source = Self { path, tokens: Vec::new(), functions: Vec::new(), test_modules: Vec::new() };
        source.walk(stream);
        source
    }

    fn push(&mut self, line: usize, text: impl Into<String>) {
        self.tokens.push(Token { line, text: text.into() });
    }

    fn walk(&mut self, stream: TokenStream) {
        let mut trees: &[TokenTree] = &stream.into_iter().collect::<Vec<_>>();
        while let [tree, rest @ ..] = trees {
            if starts_test(trees) {
                trees = self.skip_item(&trees[2..]);
                continue;
            }
            let line = tree.span().start().line;
            match tree {
                TokenTree::Group(group) => {
                    let (open, close) = marks(group.delimiter());
                    self.push(line, open);
                    self.walk(group.stream());
                    self.push(group.span_close().start().line, close);
                }
                TokenTree::Ident(ident) => {
                    if ident == "fn" {
                        self.function(line, rest);
                    }
                    self.push(line, ident.to_string());
                }
                TokenTree::Literal(literal) => self.push(line, literal.to_string()),
                TokenTree::Punct(punct) if punct.as_char() == ':' && punct.spacing() == Spacing::Joint => {
                    self.push(line, "::");
                    trees = &rest[1..];
                    continue;
                }
                TokenTree::Punct(punct) => self.push(line, punct.as_char().to_string()),
            }
            trees = rest;
        }
    }

    /// Notes the function whose `fn` stands before `rest`, if it has a body.
    fn function(&mut self, line: usize, rest: &[TokenTree]) {
        let Some(TokenTree::Ident(name)) = rest.first() else { return };
        let end = rest.iter().find_map(|tree| match tree {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                Some(group.span_close().end().line)
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => Some(line),
            _ => None,
        });
        let lines = end.unwrap_or(line) + 1 - line;
        self.functions.push(Function { line, name: name.to_string(), lines });
    }

    /// What follows an item of tests.
    fn skip_item<'a>(&mut self, trees: &'a [TokenTree]) -> &'a [TokenTree] {
        let end = trees.iter().position(|tree| match tree {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            TokenTree::Punct(punct) => punct.as_char() == ';',
            _ => false,
        });
        let (item, rest) = trees.split_at(end.map_or(trees.len(), |end| end + 1));
        let words: Vec<_> = item.iter().map(ToString::to_string).collect();
        let module = words.iter().position(|word| word == "mod").and_then(|at| words.get(at + 1));
        self.test_modules.extend(module.cloned());
        rest
    }

    /// The folder that holds the files of this file's modules.
    fn folder(&self) -> &str {
        let stem = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        match stem.rsplit_once('/') {
            Some((folder, "lib" | "main" | "mod")) => folder,
            _ => stem,
        }
    }

    /// Where a token is, for people.
    pub(super) fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }
}

/// Whether an item that only tests have starts here: `#[cfg(test)]`.
fn starts_test(trees: &[TokenTree]) -> bool {
    let [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] = trees else { return false };
    let text: String = attribute.stream().to_string().split_whitespace().collect();
    hash.as_char() == '#' && text == "cfg(test)"
}

fn marks(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

/// Every file below a folder of the workspace, as paths from its root, sorted. Nothing
/// hidden, nothing built.
pub(super) fn files(folder: &str) -> Vec<String> {
    fn visit(path: &Path, into: &mut Vec<String>) {
        let mut entries: Vec<_> = fs::read_dir(path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .map(|entry| entry.expect("a readable folder").path())
            .collect();
        entries.sort();
        for entry in entries {
            let name = entry.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if matches!(name, "target" | ".git") {
                continue;
            }
            if entry.is_dir() {
                visit(&entry, into);
            } else {
                let path = entry.strip_prefix(root()).expect("below the root");
                into.push(path.to_str().expect("UTF-8 names").replace('\\', "/"));
            }
        }
    }
    let mut paths = Vec::new();
    visit(&root().join(folder), &mut paths);
    paths
}

/// The sources of every crate but `tests`, without the files that only tests have.
pub(super) fn sources() -> Vec<Source> {
    let paths = CRATES.iter().flat_map(|name| files(&format!("{name}/src")));
    let all: Vec<Source> = paths.filter(|path| path.ends_with(".rs")).map(Source::read).collect();
    let modules = all.iter().flat_map(|source| {
        source.test_modules.iter().map(move |module| format!("{}/{module}", source.folder()))
    });
    let modules: BTreeSet<String> = modules.collect();
    let only_tests = |source: &Source| {
        modules.iter().any(|module| {
            let rest = source.path.strip_prefix(module.as_str());
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        })
    };
    all.into_iter().filter(|source| !only_tests(source)).collect()
}

#[test]
fn tests_comments_and_strings_are_not_source() {
    let text = r#"
//! sled
fn long() -> [u8; 2] {
    // sled
    let text = "sled";
    [0; 2]
}
#[cfg(test)]
#[expect(dead_code, reason = "none")]
fn helper() -> [u8; 2] { sled() }
#[cfg(test)]
mod tests;
use std::{collections::BTreeMap, fs::File};
"#;
    let source = Source::parse("node/src/lib.rs".into(), text);
    assert!(source.tokens.iter().all(|token| token.text != "sled"));
    let functions: Vec<_> = source.functions.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
    assert_eq!(functions, [("long", 3, 5)]);
    assert_eq!((source.folder(), source.test_modules.as_slice()), ("node/src", &["tests".to_owned()][..]));
    assert_eq!(super::rooms::std_modules(&source, &["fs", "env"]), [(13, "fs")]);
}
