//! The command line of `syngraphd`.

mod operator;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use syngraph_config::node::Overrides;

pub use self::operator::{
    AddArgs, CheckArgs, GenesisCommand, InitArgs, MergeArgs, NewArgs, PeerCommand, SignArgs, StatusArgs,
};

/// A member's node of a Syngraph consortium.
#[derive(Debug, Parser)]
#[command(name = "syngraphd", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to log, as in "info,syngraph_node=debug".
    #[arg(long, global = true, env = "SYNGRAPH_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Log one JSON object a line.
    #[arg(long, global = true, env = "SYNGRAPH_LOG_JSON")]
    pub log_json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Reads the command line; a wrong one ends the process with exit code 2.
#[must_use]
pub fn parse() -> Cli {
    Cli::parse()
}

/// Writes the completion script of a shell to stdout.
pub fn complete(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "syngraphd", &mut std::io::stdout());
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes a member's node: its keys, its configuration, and its member's card.
    #[command(after_help = "Example:\n  syngraphd init --dir /var/lib/syngraph --name Birch \
        --jurisdiction FR --peers 0.0.0.0:8442 --consensus 0.0.0.0:8441 --advertise node.birch.example")]
    Init(InitArgs),
    /// Runs the node of a directory until it is told to stop.
    #[command(after_help = "Example:\n  syngraphd run --dir /var/lib/syngraph")]
    Run(RunArgs),
    /// Shows the main job: a consortium on this machine, from genesis to settled royalties.
    #[command(after_help = "Example:\n  syngraphd demo --usage conv.csv --json")]
    Demo(DemoArgs),
    /// Reads a node's configuration, genesis and keys, and says what is wrong with them.
    #[command(after_help = "Example:\n  syngraphd check-config --dir /var/lib/syngraph")]
    CheckConfig(CheckConfigArgs),
    /// Asks a running node where it stands.
    #[command(after_help = "Example:\n  syngraphd status --stall")]
    Status(StatusArgs),
    /// Works on the list of other members' nodes.
    Peer {
        /// What to do with it.
        #[command(subcommand)]
        command: PeerCommand,
    },
    /// Works on founding documents.
    Genesis {
        /// What to do with it.
        #[command(subcommand)]
        command: GenesisCommand,
    },
    /// Prints a completion script for a shell.
    #[command(after_help = "Example:\n  syngraphd completions bash > syngraphd.bash")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Which node.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The node's directory.
    #[arg(long, env = "SYNGRAPH_DIR")]
    pub dir: PathBuf,
    /// Where the HTTP API listens, instead of what the configuration says.
    #[arg(long, env = "SYNGRAPH_HTTP", value_name = "IP:PORT")]
    pub http: Option<SocketAddr>,
    /// Where the peer port listens, instead of what the configuration says.
    #[arg(long, env = "SYNGRAPH_PEERS", value_name = "IP:PORT")]
    pub peers: Option<SocketAddr>,
    /// Where the consensus port listens, instead of what the configuration says.
    #[arg(long, env = "SYNGRAPH_CONSENSUS", value_name = "IP:PORT")]
    pub consensus: Option<SocketAddr>,
}

impl RunArgs {
    /// What goes before the configuration.
    #[must_use]
    pub const fn overrides(&self) -> Overrides {
        Overrides { http: self.http, peers: self.peers, consensus: self.consensus }
    }
}

/// Which node's files are checked.
#[derive(Debug, Args)]
pub struct CheckConfigArgs {
    /// Which node, and what goes before its configuration.
    #[command(flatten)]
    pub run: RunArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// How to show the main job.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many members run nodes, each a process of its own.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=4))]
    pub members: u8,
    /// A trace with columns TIMESTAMP, ContextTokens, GeneratedTokens; a built-in one if none.
    #[arg(long, value_name = "FILE.csv")]
    pub usage: Option<PathBuf>,
    /// Where to put everything; a fresh temporary directory if none.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Leave the nodes running until interrupted.
    #[arg(long)]
    pub stay: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_command_has_an_example() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        let mut open: Vec<&mut clap::Command> = command.get_subcommands_mut().collect();
        let mut seen = 0;
        while let Some(sub) = open.pop() {
            seen += 1;
            if sub.has_subcommands() {
                open.extend(sub.get_subcommands_mut());
                continue;
            }
            let help = sub.render_long_help().to_string();
            assert!(sub.get_name() == "help" || help.contains("Example"), "{}", sub.get_name());
        }
        assert!(seen > 12, "commands below commands are looked at too");
    }
}
