//! Why a command has no answer.

use std::path::PathBuf;

use syngraph_client::api::ApiError;
use syngraph_client::archive::ExportError;
use syngraph_client::audit::AuditError;
use syngraph_client::key::KeyError;
use syngraph_client::submit::SubmitError;
use syngraph_client::usage::import::ImportError;
use syngraph_config::file::ConfigError;
use syngraph_protocol::genesis::GenesisError;
use syngraph_protocol::ids::{EntryId, Hash, PublicKey};
use syngraph_protocol::ledger::royalty::scenario::ScenarioError;
use syngraph_protocol::time::UtcMs;

use crate::output::{Exit, commas};

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The node refused or cannot be reached.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Something was not submitted, or nothing is known of it.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// A key file cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A file cannot be read, or is not what it should be.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// An import ended before the end of its file.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// There is no export.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// Nothing could be audited.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A file cannot be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A command that signs has no key.
    #[error("this command signs: give --key FILE or set SYNGRAPH_KEY")]
    NoKey,
    /// The node's ledger does not know the key.
    #[error("the ledger does not know key {key}; its member's root key admits it: syngraph key admit")]
    KeyUnregistered {
        /// The key.
        key: PublicKey,
    },
    /// A name that nothing has.
    #[error("there is no {noun} {name:?}")]
    NameUnknown {
        /// What was looked for.
        noun: &'static str,
        /// The name.
        name: String,
    },
    /// A name that several have.
    #[error("several have the name {name:?}; use the id of one {noun}: {}", commas(ids))]
    NameAmbiguous {
        /// What was looked for.
        noun: &'static str,
        /// The name.
        name: String,
        /// Who has it.
        ids: Vec<String>,
    },
    /// A scenario without a result.
    #[error("{}: {source}", path.display())]
    Scenario {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where in the file.
        source: Box<ScenarioError>,
    },
    /// A file whose contents the protocol refuses.
    #[error("{}: {detail}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The rule.
        rule: String,
        /// The same in words.
        detail: String,
    },
    /// A genesis that founds nothing.
    #[error("{}: {source}", path.display())]
    Genesis {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: GenesisError,
    },
    /// The terms are not those that the hash stands for.
    #[error("these terms have hash {computed}, not {claimed}; nothing was signed")]
    TermsHash {
        /// The hash of the terms as they were received.
        computed: Hash,
        /// The hash that the node or the user gave.
        claimed: Hash,
    },
    /// An amendment of something that is no earlier version.
    #[error(
        "version {version} amends terms with hash {previous}, which no earlier version has; nothing was signed"
    )]
    TermsPrevious {
        /// The version.
        version: u32,
        /// What it claims to amend.
        previous: Hash,
    },
    /// There is nothing to sign.
    #[error("version {version} is {status}, so there is nothing to sign")]
    NothingToSign {
        /// The version.
        version: u32,
        /// Where it stands.
        status: String,
    },
    /// A node answered with something else than was asked for.
    #[error("the node's answer makes no sense: {what}")]
    Answer {
        /// What is wrong with it.
        what: String,
    },
    /// The entry is not of the kind that was asked for.
    #[error("entry {entry} is no usage report; see syngraph entry show")]
    NoReport {
        /// The entry.
        entry: EntryId,
    },
    /// A moment that no id of an event can hold.
    #[error("{at} is before 1970 or too late for the id of an event")]
    EventTime {
        /// The moment.
        at: UtcMs,
    },
    /// The system's clock or randomness cannot be used.
    #[error("{what}")]
    System {
        /// What is wrong.
        what: String,
    },
}

impl CliError {
    /// The stable rule id of this refusal.
    pub(crate) fn rule(&self) -> &str {
        match self {
            Self::Api(error) => error.rule(),
            Self::Submit(error) => error.rule(),
            Self::Key(error) => error.rule(),
            Self::File(error) => error.rule(),
            Self::Import(error) => error.rule(),
            Self::Export(error) => error.rule(),
            Self::Audit(error) => error.rule(),
            Self::Write { .. } => "FILE-WRITE",
            Self::NoKey => "CLI-KEY",
            Self::KeyUnregistered { .. } => "KEY-UNKNOWN",
            Self::NameUnknown { .. } => "NAME-UNKNOWN",
            Self::NameAmbiguous { .. } => "NAME-AMBIGUOUS",
            Self::Scenario { source, .. } => source.rule(),
            Self::Refused { rule, .. } => rule,
            Self::Genesis { source, .. } => source.rule(),
            Self::TermsHash { .. } => "AGR-HASH",
            Self::TermsPrevious { .. } => "AGR-PREVIOUS",
            Self::NothingToSign { .. } => "AGR-STATUS",
            Self::Answer { .. } => "NODE-ANSWER",
            Self::NoReport { .. } => "CLI-NO-REPORT",
            Self::EventTime { .. } => "USE-EVENT-ID",
            Self::System { .. } => "CLI-SYSTEM",
        }
    }

    /// How a command that meets it ends.
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::NoKey => Exit::CommandLine,
            Self::TermsHash { .. } | Self::TermsPrevious { .. } => Exit::Unsound,
            _ => Exit::Failed,
        }
    }
}
