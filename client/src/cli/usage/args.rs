//! `syngraph usage …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use syngraph_protocol::codes::{Act, Meter, Place, Purpose, UnknownCode};
use syngraph_protocol::ids::{EntryId, EventId};
use syngraph_protocol::ledger::usage::event_ids::is_uuid_v7;
use syngraph_protocol::time::UtcMs;

use crate::cli::member::args::place;
use crate::cli::names::{AgreementName, MemberName, VersionName};

/// What to do with metered use.
#[derive(Debug, Subcommand)]
pub(crate) enum UsageCommand {
    /// Reports one event.
    #[command(
        after_help = "Example:\n  syngraph usage submit --agreement 'Aster for Birch' --asset 'Aster base@1.0' \
            --act infer.service --purpose commercial --territory DE --meter tokens --quantity 418 --key app.key"
    )]
    Submit(SubmitUsage),
    /// Reports the rows of a CSV file with a header. Good rows go in; bad ones are named by
    /// their lines. A file that is imported again, whole or in parts, bills nothing twice.
    #[command(
        after_help = "Example:\n  syngraph usage import usage.csv --agreement 'Aster for Birch' --grant 0 \
            --asset 'Aster base@1.0' --act infer.service --purpose commercial --territory DE \
            --meter tokens --time TIMESTAMP --quantity ContextTokens,GeneratedTokens --key app.key"
    )]
    Import(ImportUsage),
    /// Shows a report: its rows, and what became of each.
    #[command(after_help = "Example:\n  syngraph usage show \
            9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    Show {
        /// The report's entry.
        entry: EntryId,
    },
}

/// What was used under which right.
#[derive(Clone, Debug, Args)]
pub(crate) struct Context {
    /// The agreement relied on, by title or id.
    #[arg(long)]
    pub(crate) agreement: AgreementName,
    /// Position of the grant relied on, from 0.
    #[arg(long, default_value_t = 0)]
    pub(crate) grant: u16,
    /// The version that was used, as TITLE@LABEL or id.
    #[arg(long, value_name = "VERSION")]
    pub(crate) asset: VersionName,
    /// What was done with it, as in infer.service.
    #[arg(long, value_parser = act)]
    pub(crate) act: Act,
    /// What for, as in commercial.product.
    #[arg(long, value_parser = purpose)]
    pub(crate) purpose: Purpose,
    /// Where, as in DE or DE-BY.
    #[arg(long, value_parser = place)]
    pub(crate) territory: Place,
    /// What is counted, as in tokens.
    #[arg(long, value_parser = meter)]
    pub(crate) meter: Meter,
    /// The licensee, who pays, by name or id; the own member if none.
    #[arg(long, value_name = "MEMBER")]
    pub(crate) payer: Option<MemberName>,
}

/// One event.
#[derive(Debug, Args)]
pub(crate) struct SubmitUsage {
    /// Under which right.
    #[command(flatten)]
    pub(crate) context: Context,
    /// How much, in units of the meter.
    #[arg(long)]
    pub(crate) quantity: u64,
    /// When (RFC 3339); now if none.
    #[arg(long, value_name = "TIME", value_parser = UtcMs::parse, conflicts_with = "event_id")]
    pub(crate) time: Option<UtcMs>,
    /// The event's own id, a UUIDv7 as 32 hex digits: submitting it again bills nothing.
    #[arg(long, value_name = "UUID", value_parser = event_id)]
    pub(crate) event_id: Option<EventId>,
}

/// Rows of a file.
#[derive(Debug, Args)]
pub(crate) struct ImportUsage {
    /// The CSV file.
    pub(crate) file: PathBuf,
    /// Under which right.
    #[command(flatten)]
    pub(crate) context: Context,
    /// The column that says when. Times without a zone are UTC.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) time: String,
    /// The columns that are summed to the quantity, separated by commas.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', required = true)]
    pub(crate) quantity: Vec<String>,
    /// Show what would happen, and submit nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

fn act(text: &str) -> Result<Act, UnknownCode> {
    let act = Act::new(text);
    act.check().map(|()| act)
}

fn purpose(text: &str) -> Result<Purpose, UnknownCode> {
    let purpose = Purpose::new(text);
    purpose.check().map(|()| purpose)
}

fn meter(text: &str) -> Result<Meter, UnknownCode> {
    let meter = Meter::new(text);
    meter.check().map(|()| meter)
}

/// Reads a UUIDv7 with or without its hyphens.
fn event_id(text: &str) -> Result<EventId, String> {
    let id = text.replace('-', "").to_lowercase().parse().ok();
    id.filter(is_uuid_v7).ok_or_else(|| "not a UUIDv7".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_checked_at_the_door() {
        assert!(act("infer.service").is_ok());
        let refused = meter("parsecs").expect_err("no such meter");
        assert_eq!((refused.rule(), refused.to_string().contains("parsecs")), ("CODE-UNKNOWN", true));
        assert!(purpose("fun").is_err());
    }

    #[test]
    fn uuids_are_read_in_both_forms() {
        let plain = event_id("018bd9a0e1f87abc8def0123456789ab").expect("32 digits");
        assert_eq!(event_id("018BD9A0-E1F8-7ABC-8DEF-0123456789AB"), Ok(plain));
        assert!(event_id("018bd9a0").is_err());
        let version_4 = "018bd9a0e1f84abc8def0123456789ab";
        assert!(event_id(version_4).is_err());
    }
}
