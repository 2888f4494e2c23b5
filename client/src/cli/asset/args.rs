//! `syngraph asset …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use syngraph_protocol::codes::Place;
use syngraph_protocol::ids::Hash;
use syngraph_protocol::ledger::asset::{AssetClass, Confidentiality, RiskClass};
use syngraph_protocol::time::UtcMs;

use super::lineage::ParentArg;
use crate::args::{AsOf, one_of};
use crate::cli::member::args::place;
use crate::cli::names::{AssetName, AssetOrVersion, VersionName};
use crate::cli::split::OwnerArg;

const CLASSES: &[&str] = &[
    "dataset",
    "algorithm",
    "model",
    "adapter",
    "pool",
    "output",
    "evaluation_set",
    "training_procedure",
    "document",
];
const LEVELS: &[&str] = &["clear", "green", "amber", "red"];
const RISKS: &[&str] =
    &["minimal", "limited", "high", "prohibited", "general_purpose", "general_purpose_systemic"];

/// What to do with assets.
#[derive(Debug, Subcommand)]
pub(crate) enum AssetCommand {
    /// Registers an asset under the own member's control.
    #[command(after_help = "Example:\n  syngraph asset register --class model --title 'Aster base' \
            --licence LicenseRef-Aster --jurisdiction DE --owner Aster=2 --owner Birch=1 --key app.key")]
    Register(Register),
    /// Publishes a version of an asset.
    #[command(
        after_help = "Example:\n  syngraph asset version 'Aster base' --label 1.0 --file model.safetensors \
            --key app.key"
    )]
    Version(PublishArgs),
    /// Declares what a version was made from.
    #[command(after_help = "Example:\n  syngraph asset lineage 'Aster base@1.0' \
            --parent 'trained_on=Corpus@2024,material=700000' --key app.key")]
    Lineage(LineageArgs),
    /// Shows an asset with its versions, or a version with what it was made from.
    #[command(
        after_help = "Example:\n  syngraph asset show 'Aster base'\n  syngraph asset show 'Aster base@1.0'"
    )]
    Show {
        /// The asset, by title or id, or a version of it, as TITLE@LABEL or id.
        asset: AssetOrVersion,
        /// As of when.
        #[command(flatten)]
        as_of: AsOf,
    },
    /// Shows all assets.
    #[command(after_help = "Example:\n  syngraph asset list --json")]
    List,
}

/// An asset to register.
#[derive(Debug, Args)]
pub(crate) struct Register {
    /// What it is.
    #[arg(long, value_parser = one_of::<AssetClass>(CLASSES))]
    pub(crate) class: AssetClass,
    /// Its title.
    #[arg(long)]
    pub(crate) title: String,
    /// SPDX expression, or LicenseRef-….
    #[arg(long)]
    pub(crate) licence: String,
    /// How widely facts about it may be told (Traffic Light Protocol 2.0).
    #[arg(long, default_value = "clear", value_parser = one_of::<Confidentiality>(LEVELS))]
    pub(crate) confidentiality: Confidentiality,
    /// The place whose law it is under, as in DE or DE-BY.
    #[arg(long, value_parser = place)]
    pub(crate) jurisdiction: Place,
    /// An owner and its weight; repeat for several. The own member alone if none.
    #[arg(long = "owner", value_name = "MEMBER=WEIGHT")]
    pub(crate) owners: Vec<OwnerArg>,
}

/// A version to publish.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// The asset, by title or id.
    pub(crate) asset: AssetName,
    /// What people call the version.
    #[arg(long)]
    pub(crate) label: String,
    /// Its content, of which hash and size are taken; it stays where it is.
    #[arg(long, required_unless_present = "content", conflicts_with = "content")]
    pub(crate) file: Option<PathBuf>,
    /// SHA-256 of its content, if there is no one file of it.
    #[arg(long, value_name = "SHA256", requires = "size_bytes")]
    pub(crate) content: Option<Hash>,
    /// Size of its content.
    #[arg(long, value_name = "BYTES", requires = "content")]
    pub(crate) size_bytes: Option<u64>,
    /// When it was released (RFC 3339); now if none.
    #[arg(long, value_name = "TIME", value_parser = UtcMs::parse)]
    pub(crate) released: Option<UtcMs>,
    /// Its class of risk under the EU AI Act, if it was classified.
    #[arg(long, value_parser = one_of::<RiskClass>(RISKS))]
    pub(crate) risk: Option<RiskClass>,
    /// Binary logarithm of the floating point operations spent on training it.
    #[arg(long, value_name = "LOG2")]
    pub(crate) training_flop_log2: Option<u8>,
}

/// What a version was made from.
#[derive(Debug, Args)]
pub(crate) struct LineageArgs {
    /// The version, as TITLE@LABEL or id.
    pub(crate) child: VersionName,
    /// A parent: `RELATION=VERSION[,material=PPM][,grant=AGREEMENT/NUMBER]`; repeat for
    /// several. Relations: trained_on, fine_tuned_from, merged_from, distilled_from,
    /// adapter_of, quantized_from, evaluated_on, contains. Material is how much of the
    /// child the parent makes up; the grant's terms decide what it is owed.
    #[arg(long = "parent", value_name = "PARENT", required = true)]
    pub(crate) parents: Vec<ParentArg>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::code;

    #[test]
    fn every_code_in_the_help_is_one_of_the_protocol() {
        assert!(CLASSES.iter().all(|text| code::<AssetClass>(text).is_ok()));
        assert!(LEVELS.iter().all(|text| code::<Confidentiality>(text).is_ok()));
        assert!(RISKS.iter().all(|text| code::<RiskClass>(text).is_ok()));
    }
}
