//! `syngraph audit …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to verify.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Verifies a history offline: every signature, link, certificate and root, and every
    /// amount by computing it again. Trusts nothing but the genesis file.
    #[command(after_help = "Example:\n  syngraph audit replay history.tar.zst --genesis genesis.toml \
            --report audit.json")]
    Replay(Replay),
}

/// A history to verify.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The archive: a folder or a .tar.zst.
    pub(crate) archive: PathBuf,
    /// The genesis file, from a source that the auditor trusts.
    #[arg(long, value_name = "FILE")]
    pub(crate) genesis: PathBuf,
    /// Write the report here as well, as JSON; replaces what is there.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}
