//! What the tool tells: data on stdout, everything else on stderr, and an exit code.
//!
//! *Invariants.* With `--json` stdout gets exactly one document, on one line. Colour is
//! used only on a terminal and never with `NO_COLOR`. What is printed was computed before:
//! a command either has its whole answer or an error.
//!
//! *Deliberately absent:* progress bars (`cli/progress`), and what any command says.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// Most characters that a cell of a table shows; longer text is cut.
const CELL_CHARS_MAX: usize = 120;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// Failed.
    Failed,
    /// The command line asks for nothing that can be done.
    CommandLine,
    /// A verification failed.
    Unsound,
    /// Done, with something to look at.
    Look,
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::CommandLine => 2,
            Self::Unsound => 3,
            Self::Look => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A piece of an answer as people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// Text; may have several lines.
    Text(String),
    /// Rows under a header.
    Table(Table),
}

/// Rows under a header, each as long as the header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(head: impl IntoIterator<Item = &'static str>) -> Self {
        Self { head: head.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().map(|cell| fit(&cell)).collect());
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.head.iter().map(|cell| cell.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        widths
    }

    fn write(&self, to: &mut impl Write, style: Style) -> io::Result<()> {
        let widths = self.widths();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        writeln!(to, "{style}{}{style:#}", line(&mut self.head.iter().copied()))?;
        for row in &self.rows {
            writeln!(to, "{}", line(&mut row.iter().map(String::as_str)))?;
        }
        Ok(())
    }
}

/// One line of bounded length without control characters: names come from strangers.
fn fit(cell: &str) -> String {
    let visible = cell.chars().map(|char| if moves_pen(char) { '\u{fffd}' } else { char });
    let mut text: String = visible.clone().take(CELL_CHARS_MAX).collect();
    if visible.count() > CELL_CHARS_MAX {
        text.pop();
        text.push('…');
    }
    text
}

/// What a command has to say, for machines and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// How the command ended.
    pub(crate) exit: Exit,
    json: String,
    blocks: Vec<Block>,
}

impl Answer {
    /// An answer that is this value; `serde_json` refuses none of the types used here.
    pub(crate) fn new(value: &impl Serialize) -> Self {
        let json = serde_json::to_string(value).expect("text keys and plain values are always JSON");
        Self { exit: Exit::Done, json, blocks: Vec::new() }
    }

    /// A document that is text in itself: a script, a man page. It is the same with
    /// `--json`.
    pub(crate) fn document(text: String) -> Self {
        let text = text.trim_end().to_owned();
        Self { exit: Exit::Done, json: text.clone(), blocks: vec![Block::Text(text)] }
    }

    /// The same with another end.
    pub(crate) fn ending(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Adds text for people; control characters other than line ends are made visible.
    pub(crate) fn text(mut self, text: impl Display) -> Self {
        self.blocks.push(Block::Text(visible(&text.to_string())));
        self
    }

    /// Adds a table for people, or says that there is none of what it would list.
    pub(crate) fn table(mut self, table: Table, none: &str) -> Self {
        if table.is_empty() {
            return self.text(none);
        }
        self.blocks.push(Block::Table(table));
        self
    }

    /// The document.
    #[cfg(test)]
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// The text, without colour.
    pub(crate) fn plain(&self) -> String {
        let mut text = Vec::new();
        self.write(&mut text, false, false).expect("memory takes everything");
        String::from_utf8(text).expect("made of text")
    }

    /// Writes the answer.
    ///
    /// # Errors
    /// What the writer says.
    pub(crate) fn write(&self, to: &mut impl Write, json: bool, colour: bool) -> io::Result<()> {
        if json {
            return writeln!(to, "{}", self.json);
        }
        let style = if colour { Style::new().bold() } else { Style::new() };
        for block in &self.blocks {
            match block {
                Block::Text(text) => writeln!(to, "{text}")?,
                Block::Table(table) => table.write(to, style)?,
            }
        }
        Ok(())
    }

    /// Writes the answer to stdout and gives its exit code. What failed without `--json`
    /// goes to stderr.
    pub(crate) fn print(&self, json: bool) -> ExitCode {
        if self.exit == Exit::Failed && !json {
            return complain(self.plain().trim_end(), self.exit);
        }
        let mut out = io::stdout().lock();
        let colour = has_colour(&out);
        match self.write(&mut out, json, colour).and_then(|()| out.flush()) {
            Ok(()) => self.exit.into(),
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.exit.into(),
            Err(error) => complain(&format!("the answer cannot be written: {error}"), Exit::Failed),
        }
    }
}

/// Says on stderr what went wrong.
pub(crate) fn complain(message: &str, exit: Exit) -> ExitCode {
    let stderr = io::stderr();
    let red = if has_colour(&stderr) { AnsiColor::Red.on_default().bold() } else { Style::new() };
    // Nothing to do about a closed stderr.
    writeln!(stderr.lock(), "{red}syngraph:{red:#} {}", visible(message)).ok();
    exit.into()
}

/// Says something on stderr that people should see and that is no answer.
pub(crate) fn note(text: &str) {
    // Nothing to do about a closed stderr.
    writeln!(io::stderr().lock(), "{}", visible(text)).ok();
}

/// Text with its line ends, and everything else that moves the pen made visible: names and
/// titles come from strangers.
fn visible(text: &str) -> String {
    let clean = |char: char| if moves_pen(char) && char != '\n' { '\u{fffd}' } else { char };
    text.chars().map(clean).collect()
}

/// Control characters, and those by which text is shown in another order than it has
/// (Unicode TR 9).
fn moves_pen(char: char) -> bool {
    let reorders =
        matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    char.is_control() || reorders
}

/// Whether colours may be written there (no-color.org).
fn has_colour(stream: &impl IsTerminal) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !is_set("NO_COLOR") && !is_dumb
}

/// A value or, where there is none, a dash.
pub(crate) fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "–".into(), |value| value.to_string())
}

/// Joins what can be shown with commas.
pub(crate) fn commas(items: impl IntoIterator<Item = impl Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["id", "name"]);
        table.push(["1".to_owned(), "Aster".to_owned()]);
        table.push(["22".to_owned(), "Birch\u{1b}[31m".to_owned()]);
        table
    }

    #[test]
    fn a_table_is_aligned_and_shows_no_control_characters() {
        let answer = Answer::new(&[1]).table(table(), "none");
        assert_eq!(answer.plain(), "id  name\n1   Aster\n22  Birch\u{fffd}[31m\n");
        assert_eq!(answer.json(), "[1]");
    }

    #[test]
    fn text_is_shown_in_the_order_it_has() {
        let answer = Answer::new(&()).text("pay \u{202e}001\u{7}\nto Aster");
        assert_eq!(answer.plain(), "pay \u{fffd}001\u{fffd}\nto Aster\n");
    }

    #[test]
    fn colour_is_only_written_when_asked_for() {
        let mut coloured = Vec::new();
        let answer = Answer::new(&()).table(table(), "none");
        answer.write(&mut coloured, false, true).expect("memory takes everything");
        assert!(coloured.contains(&0x1b));
        assert!(!answer.plain().contains('\u{1b}'));
        let mut json = Vec::new();
        answer.write(&mut json, true, true).expect("memory takes everything");
        assert_eq!(json, b"null\n");
    }

    #[test]
    fn an_empty_list_says_so_and_long_cells_are_cut() {
        assert_eq!(Answer::new(&()).table(Table::new(["id"]), "no members").plain(), "no members\n");
        let cut = fit(&"é".repeat(CELL_CHARS_MAX + 1));
        assert_eq!(cut.chars().count(), CELL_CHARS_MAX);
        assert!(cut.ends_with("é…"));
        let id = "a".repeat(64);
        assert_eq!(fit(&id), id);
    }

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        let all = [Exit::Done, Exit::Failed, Exit::CommandLine, Exit::Unsound, Exit::Look];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4]);
    }
}
