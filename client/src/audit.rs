//! The offline audit: replays a history from its genesis and compares every byte.
//!
//! ```text
//! archive ─walk─▶ feed: frames, signatures (all cores) ─bounded channel─▶ replay: every root
//! ```
//!
//! Trusts nothing but the genesis file it is given: every signature, journal link,
//! certificate, log root, outcome and state root is computed again, the money of settled
//! months is added up, and the files are those that the manifest lists.
//!
//! *Invariants.* Memory is bounded by the state of the ledger and a few blocks. It stops
//! at the first thing that is wrong, in order of the history, and names it.
//!
//! *Deliberately absent:* any code that the node has and `protocol` has not.

use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use serde::{Serialize, Serializer};
use syngraph_protocol::archive::{Manifest, ManifestFile};
use syngraph_protocol::block::Block;
use syngraph_protocol::certificate::Certificate;
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::genesis::{Genesis, GenesisError};
use syngraph_protocol::ids::{Hash, Height, Id, MemberId, NetworkId};
use syngraph_protocol::ledger::equivocation::Offence;
use syngraph_protocol::ledger::finding::{Severity, Subject};
use syngraph_protocol::ledger::{BlockError, Ledger};
use syngraph_protocol::replay::{self, ReplayError};
use syngraph_protocol::time::Month;

use crate::archive::ArchiveError;

mod feed;
mod money;

/// Most blocks whose entries are verified and not replayed yet.
const STEPS_MAX: usize = 4;

/// Why nothing could be audited.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The genesis founds nothing.
    #[error("the genesis is refused: {0}")]
    Genesis(#[from] GenesisError),
    /// There is no archive at the path.
    #[error(transparent)]
    Archive(ArchiveError),
    /// No thread.
    #[error("no thread for the audit: {0}")]
    Thread(std::io::Error),
}

impl AuditError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Genesis(error) => error.rule(),
            Self::Archive(error) => error.rule(),
            Self::Thread(_) => "AUDIT-THREAD",
        }
    }
}

/// Whether a history is what it claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every byte is.
    Ok,
    /// One is not.
    Failed,
}

/// The first thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The block that it belongs to, as far as that is known.
    pub height: Option<Height>,
    /// Position in the log, if it is about one entry.
    pub entry: Option<u64>,
    /// The rule that is broken.
    pub rule: String,
    /// The same in words.
    pub detail: String,
    /// The file of the archive, as far as that is known.
    pub file: Option<String>,
}

/// A finding that the ledger holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FindingReport {
    /// Its id.
    pub id: Id,
    /// The rule that found it.
    pub rule: String,
    /// How grave it is.
    pub severity: Severity,
    /// What it is about; in JSON its fields alone.
    #[serde(serialize_with = "flat")]
    pub subject: Subject,
    /// How many rows.
    pub rows: u64,
}

/// The fields of a subject, without the name of its kind.
fn flat<S: Serializer>(subject: &Subject, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Flat {
        Use { agreement: Id, grant: u16, member: MemberId, month: Month },
        Conduct { member: MemberId, offence: Offence },
    }
    let flat = match *subject {
        Subject::Use { agreement, grant, member, month } => Flat::Use { agreement, grant, member, month },
        Subject::Conduct { member, offence } => Flat::Conduct { member, offence },
    };
    flat.serialize(to)
}

/// What an audit came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditReport {
    /// Whether the history is what it claims to be.
    pub verdict: Verdict,
    /// The network that the genesis founds.
    pub network: NetworkId,
    /// The last height that was verified.
    pub height: Height,
    /// Root of the state after it.
    pub state_root: Hash,
    /// How many blocks were verified.
    pub blocks: u64,
    /// How many entries were verified.
    pub entries: u64,
    /// How many usage rows they recorded.
    pub rows: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What the ledger noticed in this history.
    pub findings: Vec<FindingReport>,
    /// What is wrong, if something is.
    pub error: Option<Failure>,
}

impl AuditReport {
    /// Whether the history is sound and yet holds something grave to look at.
    #[must_use]
    pub fn has_grave_findings(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::E)
    }
}

/// How far an audit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Blocks verified.
    pub blocks: u64,
    /// Entries verified.
    pub entries: u64,
    /// Rows recorded.
    pub rows: u64,
}

/// One block, ready to be replayed.
pub(crate) struct Step {
    block: Block,
    certificate: Certificate,
    entries: Vec<VerifiedEntry>,
    /// Position of the first entry in the log.
    first: u64,
}

/// What the reading thread tells the replaying one.
pub(crate) enum Fed {
    Step(Box<Step>),
    Failed(Box<Failure>),
    End(Box<(Manifest, Vec<ManifestFile>)>),
    Unreadable(ArchiveError),
}

/// Replays an archive, a directory or a `.tar.zst`, from its genesis.
///
/// # Errors
/// [`AuditError`] if there is nothing to audit. A history that is wrong is no error but a
/// report with a verdict.
pub fn audit(
    path: &Path,
    genesis: &Genesis,
    progress: &mut dyn FnMut(Progress),
) -> Result<AuditReport, AuditError> {
    let start = Instant::now();
    let network = genesis.verify()?;
    let mut replay = Replay { ledger: Ledger::genesis(&genesis.charter) };
    let error = std::thread::scope(|scope| {
        let (steps, arriving) = mpsc::sync_channel(STEPS_MAX);
        let reader = std::thread::Builder::new().name("audit".into());
        reader.spawn_scoped(scope, move || feed::run(path, network, &steps)).map_err(AuditError::Thread)?;
        replay.run(&arriving, progress)
    })?;
    Ok(replay.report(error, start))
}

/// The history so far.
struct Replay {
    ledger: Ledger,
}

impl Replay {
    /// Replays what comes in; gives what is wrong.
    fn run(
        &mut self,
        arriving: &mpsc::Receiver<Fed>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<Failure>, AuditError> {
        for fed in arriving {
            let failure = match fed {
                Fed::Step(step) => self.step(*step).err(),
                Fed::Failed(failure) => Some(*failure),
                Fed::Unreadable(error) => return self.unreadable(error),
                Fed::End(end) => return Ok(self.end(&end.0, &end.1).err()),
            };
            if failure.is_some() {
                return Ok(failure);
            }
            progress(self.progress());
        }
        Ok(Some(self.failure("ARC-MISSING", "the archive ends without a manifest".into())))
    }

    fn progress(&self) -> Progress {
        Progress {
            blocks: self.ledger.height().get(),
            entries: self.ledger.log_size(),
            rows: self.ledger.rows_sealed(),
        }
    }

    /// An archive that cannot be opened is no archive; one that breaks off is a bad one.
    fn unreadable(&self, error: ArchiveError) -> Result<Option<Failure>, AuditError> {
        match error {
            ArchiveError::Damaged { file, rule, detail } => {
                let failure = self.failure(rule, detail);
                Ok(Some(Failure { height: self.ledger.height().next(), file: Some(file), ..failure }))
            }
            ArchiveError::Unreadable { .. } => Err(AuditError::Archive(error)),
        }
    }

    /// Something wrong that belongs to no block or entry.
    fn failure(&self, rule: &str, detail: String) -> Failure {
        Failure { height: None, entry: None, rule: rule.to_owned(), detail, file: None }
    }

    fn step(&mut self, step: Step) -> Result<(), Failure> {
        let Step { block, certificate, entries, first } = step;
        let height = self.ledger.height().next();
        let ids: Vec<_> = entries.iter().map(VerifiedEntry::id).collect();
        let wrong = |entry: Option<u64>, rule: &str, detail: String| {
            let (rule, file) = (rule.to_owned(), None);
            Failure { height, entry, rule, detail, file }
        };
        let executed =
            replay::step(&self.ledger, &block, &certificate, entries.clone()).map_err(|error| {
                let entry = self.broken_link(&error, &entries).map(|position| first + position);
                wrong(entry, error.rule(), error.to_string())
            })?;
        // The roots bind the order of the log; the bundles must be in it.
        let differs = executed.entries.iter().zip(&ids).position(|(ours, theirs)| ours.id() != *theirs);
        if let Some(position) = differs {
            let detail = "the entry does not stand where the log has it".to_owned();
            return Err(wrong(Some(first + position as u64), "ARC-ENTRY-ORDER", detail));
        }
        self.ledger = executed.ledger;
        money::check(&self.ledger, &executed.events)
            .map_err(|error| wrong(None, error.rule(), error.to_string()))
    }

    /// The entry that does not continue its journal, if that is what is wrong.
    fn broken_link(&self, error: &ReplayError, entries: &[VerifiedEntry]) -> Option<u64> {
        let ReplayError::Block(BlockError::Journal(broken)) = error else { return None };
        let mut tip = self.ledger.journal_tip(&broken.journal);
        let of_journal = (0..).zip(entries).filter(|(_, entry)| entry.head().journal == broken.journal);
        for (position, entry) in of_journal {
            match tip.append(entry.head().seq, entry.head().prev, entry.id()) {
                Ok(next) => tip = next,
                Err(_) => return Some(position),
            }
        }
        None
    }

    /// Compares the manifest with what was replayed and read.
    fn end(&self, manifest: &Manifest, read: &[ManifestFile]) -> Result<(), Failure> {
        let ledger = &self.ledger;
        let claims = [
            ("network", manifest.network == ledger.network()),
            ("first_height", manifest.first_height == Height::new(1)),
            ("last_height", manifest.last_height == ledger.height()),
            ("block", manifest.block == ledger.block_id()),
            ("state_root", manifest.state_root == ledger.state_root()),
            ("log_size", manifest.log_size == ledger.log_size()),
            ("number of files", manifest.files.len() == read.len()),
        ];
        if let Some((claim, _)) = claims.into_iter().find(|(_, holds)| !holds) {
            return Err(
                self.failure("ARC-MANIFEST", format!("the manifest's {claim} is not that of the history"))
            );
        }
        match manifest.files.iter().zip(read).find(|(claimed, found)| claimed != found) {
            Some((_, found)) => {
                let failure =
                    self.failure("ARC-HASH", "the file is not the one that the manifest lists".into());
                Err(Failure { file: Some(found.path.clone()), ..failure })
            }
            None => Ok(()),
        }
    }

    fn report(&self, error: Option<Failure>, start: Instant) -> AuditReport {
        let findings = self.ledger.findings.iter().map(|(id, finding)| FindingReport {
            id: *id,
            rule: finding.rule.clone(),
            severity: finding.severity,
            subject: finding.subject.clone(),
            rows: finding.rows,
        });
        let Progress { blocks, entries, rows } = self.progress();
        AuditReport {
            verdict: if error.is_none() { Verdict::Ok } else { Verdict::Failed },
            network: self.ledger.network(),
            height: self.ledger.height(),
            state_root: self.ledger.state_root(),
            blocks,
            entries,
            rows,
            seconds: start.elapsed().as_secs_f64(),
            findings: findings.collect(),
            error,
        }
    }
}

#[cfg(test)]
mod tests;
