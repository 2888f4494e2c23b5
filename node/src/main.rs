//! `syngraphd`: makes and runs a node, founds a network, or shows the main job.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use syngraph_node::args::{self, Cli, Command};
use syngraph_node::operator::{self, Answer, OperatorError};
use syngraph_node::{LogFormat, demo, init_logging, run};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match start(args::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Nothing to do about a closed stderr.
            writeln!(std::io::stderr(), "syngraphd: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    let format = if cli.log_json { LogFormat::Json } else { LogFormat::Text };
    init_logging(format, cli.log.as_deref()).map_err(|error| {
        let rule = error.rule();
        anyhow::Error::new(error).context(rule)
    })?;
    match cli.command {
        Command::Init(args) => return tell(operator::init(&args)),
        Command::CheckConfig(args) => return tell(Ok(operator::check_config(&args))),
        Command::Genesis { command } => return tell(operator::genesis(&command)),
        Command::Peer { command } => return tell(operator::peer(&command)),
        Command::Status(args) => return tell(operator::status(&args)),
        Command::Run(args) => {
            block_on(run(&args.dir, &args.overrides(), interrupted()?))?
                .context("the node of this directory")?;
        }
        Command::Demo(args) => block_on(demo::show(&args, interrupted()?))?.context("the demo")?,
        Command::Completions { shell } => args::complete(shell),
    }
    Ok(ExitCode::SUCCESS)
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

/// Says what an operator's command has to say.
fn tell(result: Result<Answer, OperatorError>) -> anyhow::Result<ExitCode> {
    let answer = result.map_err(|error| anyhow::anyhow!("{}: {error}", error.rule()))?;
    for note in &answer.notes {
        writeln!(std::io::stderr(), "syngraphd: {note}")?;
    }
    writeln!(std::io::stdout(), "{}", answer.data)?;
    Ok(if answer.sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
