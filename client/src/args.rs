//! The command line of `syngraph`: what may be written, and its help. Each noun's own
//! part stands in its room (`cli/…/args.rs`).
//!
//! *Invariants.* The structs are plain data: nothing but these files knows the library
//! that fills them. Every command's help has an example, and a test reads each example as
//! a command line.
//!
//! *Deliberately absent:* what the commands do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};

use crate::cli::agreement::args::AgreementCommand;
use crate::cli::archive::args::ArchiveCommand;
use crate::cli::asset::args::AssetCommand;
use crate::cli::audit::args::AuditCommand;
use crate::cli::entry::args::EntryCommand;
use crate::cli::finding::args::FindingCommand;
use crate::cli::key::args::KeyCommand;
use crate::cli::member::args::MemberCommand;
use crate::cli::period::args::PeriodCommand;
use crate::cli::proposal::args::ProposalCommand;
use crate::cli::royalty::args::RoyaltyCommand;
use crate::cli::split::args::SplitCommand;
use crate::cli::statement::args::StatementCommand;
use crate::cli::usage::args::UsageCommand;

/// Members, apps and auditors of a Syngraph consortium: licences, usage, royalties, audit.
#[derive(Debug, Parser)]
#[command(
    name = "syngraph",
    version,
    about,
    max_term_width = 100,
    after_help = "Example:\n  syngraph status --node http://127.0.0.1:8440"
)]
pub(crate) struct Cli {
    /// What all commands share.
    #[command(flatten)]
    pub(crate) session: SessionArgs,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What all commands share.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct SessionArgs {
    /// The node to talk to.
    #[arg(long, global = true, env = "SYNGRAPH_NODE", value_name = "URL")]
    #[arg(default_value = "http://127.0.0.1:8440")]
    pub(crate) node: String,
    /// The key file to sign with. Its outbox lies beside it.
    #[arg(long, global = true, env = "SYNGRAPH_KEY", value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How far a submitted entry must have come.
    #[arg(long, global = true, value_enum, default_value_t = Until::Sealed, hide_possible_values = true)]
    #[arg(value_name = "accepted|replicated|sealed")]
    pub(crate) wait: Until,
    /// Give up when nothing has moved for so many seconds. What was submitted stays in the
    /// outbox and is sent by the next command with this key.
    #[arg(long, global = true, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// What to log on stderr, as in "info,syngraph_client=debug".
    #[arg(long, global = true, env = "SYNGRAPH_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

/// As of when something is shown.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct AsOf {
    /// Show it as it was after this height; names are those of today.
    #[arg(long = "as-of", value_name = "HEIGHT")]
    pub(crate) height: Option<u64>,
}

/// How far a submitted entry must have come before a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Until {
    /// A node has it on the platter.
    Accepted,
    /// Nodes with a quorum of the voting power have it on the platter.
    Replicated,
    /// A block covers it, and its outcome is known.
    Sealed,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows where the node stands.
    #[command(after_help = "Example:\n  syngraph status --json")]
    Status,
    /// Makes key files and shows and admits keys.
    #[command(subcommand, after_help = "Example:\n  syngraph key new app.key --purpose app")]
    Key(KeyCommand),
    /// Shows members and admits new ones.
    #[command(subcommand, after_help = "Example:\n  syngraph member list")]
    Member(MemberCommand),
    /// Shows changes that need several members, and approves them.
    #[command(subcommand, after_help = "Example:\n  syngraph proposal list --open")]
    Proposal(ProposalCommand),
    /// Registers assets, their versions and what those were made from.
    #[command(subcommand, after_help = "Example:\n  syngraph asset list")]
    Asset(AssetCommand),
    /// Shows and changes who owns an asset in which shares.
    #[command(subcommand, after_help = "Example:\n  syngraph split show 'Aster base'")]
    Split(SplitCommand),
    /// Proposes, signs, amends and shows agreements.
    #[command(subcommand, after_help = "Example:\n  syngraph agreement list")]
    Agreement(AgreementCommand),
    /// Reports metered use.
    #[command(
        subcommand,
        after_help = "Example:\n  syngraph usage import usage.csv --agreement 'Aster for Birch' --grant 0 \
            --asset 'Aster base@1.0' --act infer.service --purpose commercial --territory DE \
            --meter tokens --time TIMESTAMP --quantity ContextTokens,GeneratedTokens"
    )]
    Usage(UsageCommand),
    /// Closes and settles months.
    #[command(subcommand, after_help = "Example:\n  syngraph period close 2026-10")]
    Period(PeriodCommand),
    /// Shows what a closed month came to.
    #[command(subcommand, after_help = "Example:\n  syngraph statement show 2026-10")]
    Statement(StatementCommand),
    /// Shows what the ledger noticed.
    #[command(subcommand, after_help = "Example:\n  syngraph finding list")]
    Finding(FindingCommand),
    /// Shows what was signed.
    #[command(
        subcommand,
        after_help = "Example:\n  syngraph entry show \
            9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    )]
    Entry(EntryCommand),
    /// Fetches the whole history.
    #[command(subcommand, after_help = "Example:\n  syngraph archive export --out history.tar.zst")]
    Archive(ArchiveCommand),
    /// Verifies a history without trusting anybody.
    #[command(
        subcommand,
        after_help = "Example:\n  syngraph audit replay history.tar.zst --genesis genesis.toml"
    )]
    Audit(AuditCommand),
    /// Calculates royalties without a node.
    #[command(subcommand, after_help = "Example:\n  syngraph royalty compute --scenario scenario.json")]
    Royalty(RoyaltyCommand),
    /// Prints a completion script for a shell.
    #[command(after_help = "Example:\n  syngraph completions bash > syngraph.bash")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Prints the manual page, or writes those of all commands into a folder.
    #[command(after_help = "Example:\n  syngraph man --out /usr/local/share/man/man1")]
    Man {
        /// The folder; it must exist.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// The shell a completion script is for.
pub(crate) type Shell = clap_complete::Shell;

impl Cli {
    /// Reads the command line; a wrong one ends the process with exit code 2.
    pub(crate) fn read() -> Self {
        Self::parse()
    }
}

/// A completion script.
pub(crate) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "syngraph", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The manual page of `syngraph` itself, as roff.
///
/// # Errors
/// None in practice: it is written to memory.
pub(crate) fn man_page() -> io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Writes the manual pages of all commands into a folder.
///
/// # Errors
/// What the system said.
pub(crate) fn man_pages(folder: &Path) -> io::Result<()> {
    clap_mangen::generate_to(Cli::command(), folder)
}

/// Reads one of the codes that a type of the protocol knows, and lists them in the help.
pub(crate) fn one_of<T>(codes: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(codes).try_map(|text| code::<T>(&text))
}

/// Reads a code as its type reads it from JSON.
pub(crate) fn code<T: DeserializeOwned>(text: &str) -> Result<T, serde::de::value::Error> {
    let text: StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
    T::deserialize(text)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<u32>().ok().filter(|seconds| *seconds > 0);
    let seconds = seconds.ok_or("not a whole number of seconds above 0")?;
    Ok(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command with the words that lead to it.
    fn commands() -> Vec<(Vec<String>, clap::Command)> {
        let mut found = Vec::new();
        let mut below = vec![(Vec::new(), Cli::command())];
        while let Some((path, command)) = below.pop() {
            let children = command.get_subcommands().filter(|child| child.get_name() != "help");
            below.extend(children.map(|child| {
                let mut path = path.clone();
                path.push(child.get_name().to_owned());
                (path, child.clone())
            }));
            found.push((path, command));
        }
        found
    }

    /// The command lines in a help's example, words split as a shell would.
    fn examples(help: &str) -> Vec<Vec<String>> {
        let (_, examples) = help.split_once("Example:\n").expect("every help has an example");
        let lines = examples.lines().map(|line| line.trim().split(" > ").next().unwrap_or(""));
        lines.map(words).collect()
    }

    fn words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (position, part) in line.split('\'').enumerate() {
            match position % 2 {
                0 => words.extend(part.split_whitespace().map(str::to_owned)),
                _ => words.push(part.to_owned()),
            }
        }
        words
    }

    #[test]
    fn the_definitions_hold() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_has_an_example_that_is_a_command_line() {
        let commands = commands();
        assert!(commands.len() > 40, "the walk found {} commands", commands.len());
        for (path, command) in commands {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Example:\n"), "{path:?} has no example");
            for example in examples(&help) {
                assert_eq!(example.first().map(String::as_str), Some("syngraph"), "{path:?}");
                assert!(example.iter().skip(1).zip(&path).all(|(word, name)| word == name), "{example:?}");
                let read = Cli::try_parse_from(&example);
                assert!(read.is_ok(), "{example:?}: {}", read.expect_err("just tested"));
            }
        }
    }

    #[test]
    fn every_argument_is_explained() {
        for (path, command) in commands() {
            let silent = command.get_arguments().find(|argument| {
                argument.get_help().is_none() && !matches!(argument.get_id().as_str(), "help" | "version")
            });
            assert!(silent.is_none(), "{path:?}: {:?}", silent.map(clap::Arg::get_id));
            assert!(command.get_about().is_some(), "{path:?}");
        }
    }

    #[test]
    fn names_in_the_middle_of_a_line_keep_their_spaces() {
        assert_eq!(words("a 'b c' --d=e f"), ["a", "b c", "--d=e", "f"]);
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let cli = Cli::try_parse_from(["syngraph", "status"]).expect("enough");
        assert_eq!(cli.session.wait, Until::Sealed);
        assert_eq!(cli.session.timeout, Duration::from_secs(60));
        assert!(!cli.session.json);
        for wrong in [&["syngraph"][..], &["syngraph", "fly"], &["syngraph", "status", "--timeout", "0"]] {
            assert_eq!(Cli::try_parse_from(wrong).expect_err("wrong").exit_code(), 2, "{wrong:?}");
        }
    }

    #[test]
    fn scripts_and_pages_are_written() {
        assert!(completions(Shell::Bash).contains("syngraph"));
        assert!(man_page().expect("memory takes everything").contains("syngraph"));
        let folder = tempfile::tempdir().expect("a folder");
        man_pages(folder.path()).expect("written");
        assert!(folder.path().join("syngraph-usage-import.1").is_file());
    }
}
