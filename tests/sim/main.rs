//! A seeded simulator of a consortium: several nodes in one thread, a virtual clock, a network
//! and disks in memory.
//!
//! The node's own core runs in it unchanged, and the published consensus core decides. What
//! goes wrong comes from the seed: packets are lost, doubled and overtaken, the network
//! splits, nodes crash and lose what they had not synced. One seed is one history: the same
//! seed gives the same trace.
//!
//! *Deliberately absent:* sockets, threads and files. Those are tested with real processes.

mod args;
mod disk;
mod engine;
mod faults;
mod load;
mod net;
mod node;
mod oracle;
mod ports;
mod time;
mod trace;
mod world;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use syngraph_node::LogFormat;

use crate::args::{Args, Control};
use crate::time::{MS, Virtual};
use crate::trace::moment;
use crate::world::{Config, Failure, Report};

/// What nodes log when every event is shown.
const ALOUD_FILTER: &str = "warn,syngraph_node=debug";

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if args.aloud {
        syngraph_node::init_logging(LogFormat::Text, Some(ALOUD_FILTER))?;
    }
    let mut total = Total::default();
    for seed in (0..args.seeds).map(|more| args.seed.wrapping_add(more)) {
        let lies = args.control == Some(Control::AckBeforeFsync);
        let config = Config { seed, nodes: usize::from(args.nodes), lies, aloud: args.aloud };
        match world::run(config, args.show) {
            Ok(report) => total.passed(&args, seed, &report)?,
            Err(failure) => total.failed(&args, seed, &failure)?,
        }
        if args.first && total.failures > 0 {
            break;
        }
    }
    total.say(&args)?;
    Ok(if total.failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The figures of all runs.
#[derive(Default)]
struct Total {
    runs: u64,
    failures: u64,
    events: u64,
    crashes: u64,
    heights: u64,
    sealed: u64,
    virtual_time: Virtual,
    healed_in: Vec<Virtual>,
}

impl Total {
    fn passed(&mut self, args: &Args, seed: u64, report: &Report) -> io::Result<()> {
        self.runs += 1;
        self.events += report.events;
        self.crashes += report.crashes;
        self.heights += report.heights;
        self.sealed += report.sealed;
        self.virtual_time += report.ended;
        self.healed_in.push(report.healed_in);
        let Report { trace, events, crashes, heights, sealed, .. } = report;
        let healed_in = report.healed_in / MS;
        if args.json {
            let line = json!({
                "seed": seed, "trace": trace, "events": events, "crashes": crashes,
                "heights": heights, "sealed": sealed, "healed_in_ms": healed_in,
            });
            return writeln!(io::stdout(), "{line}");
        }
        writeln!(
            io::stdout(),
            "seed {seed}: {heights} heights, {sealed} entries, {crashes} crashes, {events} events, \
             at rest {healed_in} ms after healing, trace {trace}"
        )
    }

    fn failed(&mut self, args: &Args, seed: u64, failure: &Failure) -> io::Result<()> {
        self.runs += 1;
        self.failures += 1;
        let Failure { what, at, last } = failure;
        for line in last {
            writeln!(io::stderr(), "{line}")?;
        }
        let at = moment(*at);
        if args.json {
            let line = json!({ "seed": seed, "failure": what, "at": at });
            return writeln!(io::stdout(), "{line}");
        }
        writeln!(io::stdout(), "seed {seed}: FAILED at {at}: {what}")
    }

    fn say(&mut self, args: &Args) -> io::Result<()> {
        if args.json {
            return Ok(());
        }
        self.healed_in.sort_unstable();
        let worst = self.healed_in.last().copied().unwrap_or(0);
        let middle = self.healed_in.get(self.healed_in.len() / 2).copied().unwrap_or(0);
        writeln!(
            io::stdout(),
            "{} runs, {} failures; {} of virtual time, {} events, {} crashes, {} heights, {} entries; \
             at rest after healing: half within {}, all within {}",
            self.runs,
            self.failures,
            moment(self.virtual_time),
            self.events,
            self.crashes,
            self.heights,
            self.sealed,
            moment(middle),
            moment(worst),
        )
    }
}
