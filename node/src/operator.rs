//! What operators do around a node, not inside it: make one, found a network with others,
//! check the files before a start, ask a running node how it is.
//!
//! ```text
//! init ─▶ member.toml ─▶ genesis new · add ─▶ sign (each founder) ─▶ merge ─▶ check
//!    └──▶ member.toml ─▶ peer add ─▶ check-config ─▶ run ─▶ status
//! ```
//!
//! *Invariants.* A command either has done everything or has changed nothing, and says
//! which. Data is given apart from remarks, so that the caller can print them apart.
//!
//! *Deliberately absent:* the rules (`syngraph_config`, `Genesis::verify`), and every
//! write to a file: the configuration's crate does that whole or not at all.

mod ask;
mod founding;
mod setup;
mod status;

use syngraph_config::card::CardError;
use syngraph_config::ceremony::CeremonyError;
use syngraph_config::file::ConfigError;
use syngraph_config::key::KeyError;
use syngraph_config::node::init::InitError;
use syngraph_config::node::introduce::IntroduceError;

pub use self::founding::genesis;
pub use self::setup::{check_config, init, peer};
pub use self::status::status;

/// What a command has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was asked for, without the last line's end.
    pub data: String,
    /// Remarks, a line each.
    pub notes: Vec<String>,
    /// Whether what was checked is sound.
    pub sound: bool,
}

impl Answer {
    fn new(data: impl Into<String>) -> Self {
        Self { data: data.into(), notes: Vec::new(), sound: true }
    }

    fn noting(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// Why a command is not done.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// A new node cannot be made.
    #[error(transparent)]
    Init(#[from] InitError),
    /// Other members' nodes are not added.
    #[error(transparent)]
    Introduce(#[from] IntroduceError),
    /// A step of the ceremony is refused.
    #[error(transparent)]
    Ceremony(#[from] CeremonyError),
    /// A card cannot be used.
    #[error(transparent)]
    Card(#[from] CardError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// A key file cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What was given is no address of a node.
    #[error("{url:?} is no address of a node, like http://127.0.0.1:8440")]
    Address {
        /// What was given.
        url: String,
    },
    /// The node does not answer.
    #[error("{url}: {source}")]
    Unreachable {
        /// Which.
        url: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The answer is none of a node's.
    #[error("{url}: {problem}")]
    Answer {
        /// Whose.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The node refuses.
    #[error("{url}: {detail}")]
    Refused {
        /// Which.
        url: String,
        /// Its rule id.
        rule: String,
        /// Its explanation.
        detail: String,
    },
}

impl OperatorError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub fn rule(&self) -> &str {
        match self {
            Self::Init(error) => error.rule(),
            Self::Introduce(error) => error.rule(),
            Self::Ceremony(error) => error.rule(),
            Self::Card(error) => error.rule(),
            Self::File(error) => error.rule(),
            Self::Key(error) => error.rule(),
            Self::Address { .. } => "NODE-ADDRESS",
            Self::Unreachable { .. } => "NODE-UNREACHABLE",
            Self::Answer { .. } => "NODE-ANSWER",
            Self::Refused { rule, .. } => rule,
        }
    }
}

/// Text from others on one line, without what moves the pen of a terminal.
fn visible(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}
