//! `syngraph key …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use syngraph_protocol::entry::BodyKind;
use syngraph_protocol::time::UtcMs;

use crate::args::code;
use crate::cli::names::{AgreementName, MemberName};

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Makes a new key in a new file that only its owner can read.
    #[command(after_help = "Example:\n  syngraph key new app.key --purpose app")]
    New(NewKey),
    /// Shows key files, or the keys that the ledger knows of a member.
    #[command(after_help = "Example:\n  syngraph key list app.key keys/\n  syngraph key list --member Aster")]
    List(ListKeys),
    /// Admits an app key of the own member; signed with the member's root key.
    #[command(
        after_help = "Example:\n  syngraph key admit app.key --body report_usage --agreement 'Aster for Birch' \
            --key root.key"
    )]
    Admit(AdmitKeyArgs),
}

/// A key to make.
#[derive(Debug, Args)]
pub(crate) struct NewKey {
    /// Where to put it; never overwrites.
    pub(crate) file: PathBuf,
    /// A note for people: root, validator, transport, journal, app…
    #[arg(long, default_value = "app")]
    pub(crate) purpose: String,
}

/// Which keys to show.
#[derive(Debug, Args)]
pub(crate) struct ListKeys {
    /// Key files, or folders of them. Without any, the ledger is asked.
    #[arg(value_name = "PATH", conflicts_with = "member")]
    pub(crate) paths: Vec<PathBuf>,
    /// The member, by name or id; that of --key if none.
    #[arg(long)]
    pub(crate) member: Option<MemberName>,
}

/// A key to admit.
#[derive(Debug, Args)]
pub(crate) struct AdmitKeyArgs {
    /// The new key's file; it proves that the key is in the member's hands.
    pub(crate) file: PathBuf,
    /// What it may sign, as in report_usage; repeat for several. All but keys if none.
    #[arg(long = "body", value_name = "KIND", value_parser = code::<BodyKind>)]
    pub(crate) bodies: Vec<BodyKind>,
    /// Agreements it may report usage on, by title or id; repeat for several. All if none.
    #[arg(long = "agreement", value_name = "AGREEMENT")]
    pub(crate) agreements: Vec<AgreementName>,
    /// When it ends, in block time (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = UtcMs::parse)]
    pub(crate) until: Option<UtcMs>,
}
