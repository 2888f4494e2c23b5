//! The simulator's command line.

use clap::{Parser, ValueEnum};

/// Runs a consortium in memory and in virtual time, and looks for what must never happen.
#[derive(Clone, Debug, Parser)]
#[command(name = "sim", after_help = "Example: cargo sim --seeds 300")]
pub(crate) struct Args {
    /// The seed of the first run.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many runs, with seeds one after the other.
    #[arg(long, default_value_t = 1)]
    pub(crate) seeds: u64,
    /// How many nodes, each of a member of its own.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) nodes: u8,
    /// Builds a fault into every node that the simulator must find.
    #[arg(long)]
    pub(crate) control: Option<Control>,
    /// How many of the last events a failure shows.
    #[arg(long, default_value_t = 60)]
    pub(crate) show: usize,
    /// Shows every event as it happens.
    #[arg(long)]
    pub(crate) aloud: bool,
    /// Stops at the first failure.
    #[arg(long)]
    pub(crate) first: bool,
    /// Prints one JSON document a run.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A fault on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Control {
    /// The disk says that entries are durable, and they are not.
    AckBeforeFsync,
}
