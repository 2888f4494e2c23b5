//! `syngraphd`: runs a node, or shows the main job.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use syngraph_config::genesis::load_genesis;
use syngraph_config::node::{NodeDir, load_node};
use syngraph_node::args::{self, Cli, Command, GenesisCommand, RunArgs};
use syngraph_node::{LogFormat, demo, init_logging, run};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match start(args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing to do about a closed stderr.
            writeln!(std::io::stderr(), "syngraphd: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<()> {
    let format = if cli.log_json { LogFormat::Json } else { LogFormat::Text };
    init_logging(format, cli.log.as_deref()).map_err(|error| {
        let rule = error.rule();
        anyhow::Error::new(error).context(rule)
    })?;
    match cli.command {
        Command::Run(args) => {
            block_on(run(&args.dir, &args.overrides(), interrupted()?))?.context("the node of this directory")
        }
        Command::Demo(args) => block_on(demo::show(&args, interrupted()?))?.context("the demo"),
        Command::CheckConfig(args) => check_config(&args),
        Command::Genesis { command: GenesisCommand::Check { file } } => check_genesis(&file),
        Command::Completions { shell } => {
            args::complete(shell);
            Ok(())
        }
    }
}

/// Runs a future on a runtime of its own.
fn block_on<F: Future>(future: F) -> anyhow::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(future))
}

/// Resolves when the process is asked to stop. It listens from the first poll on.
fn interrupted() -> anyhow::Result<impl Future<Output = ()>> {
    Ok(async {
        let stop = async {
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            Ok::<(), std::io::Error>(())
        };
        if let Err(error) = stop.await {
            tracing::error!(%error, "signals cannot be received; stopping");
        }
    })
}

fn check_config(args: &RunArgs) -> anyhow::Result<()> {
    let files = load_node(&NodeDir::new(&args.dir), &args.overrides())
        .map_err(|error| anyhow::anyhow!("{}: {error}", error.rule()))?;
    let network = files.genesis.charter.network();
    writeln!(std::io::stdout(), "{}: sound, network {network}", args.dir.display())?;
    Ok(())
}

fn check_genesis(file: &Path) -> anyhow::Result<()> {
    let genesis = load_genesis(file).map_err(|error| anyhow::anyhow!("{}: {error}", error.rule()))?;
    let network =
        genesis.verify().map_err(|error| anyhow::anyhow!("{}: {}: {error}", error.rule(), file.display()))?;
    let founders = genesis.charter.members.len();
    writeln!(std::io::stdout(), "network {network}, signed by all {founders} founders")?;
    Ok(())
}
