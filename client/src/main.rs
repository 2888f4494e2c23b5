//! `syngraph`: everybody's tool but the node's.

mod args;
mod cli;
mod output;

use std::process::ExitCode;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use args::Cli;
use output::{Answer, Exit, complain};

fn main() -> ExitCode {
    let cli = Cli::read();
    let json = cli.session.json;
    match start(cli) {
        Ok(Ok(answer)) => answer.print(json),
        Ok(Err(error)) => complain(&format!("{}: {error}", error.rule()), error.exit()),
        Err(error) => complain(&format!("{error:#}"), Exit::Failed),
    }
}

fn start(cli: Cli) -> anyhow::Result<Result<Answer, cli::CliError>> {
    let filter = EnvFilter::try_new(cli.session.log.as_deref().unwrap_or("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter.context("--log is no filter like \"info,syngraph_client=debug\"")?)
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(cli::run(cli.session, cli.command)))
}
