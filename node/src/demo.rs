//! The main job shown whole: a consortium on this machine, from genesis to settled
//! royalties and an audit of its history.
//!
//! ```text
//! founding ─▶ consortium (processes) ─▶ story (acts, metered use) ─▶ settlement ─▶ audit ─▶ result
//! ```
//!
//! *Invariants.* Nothing is simulated: the nodes are child processes of this program, the
//! members speak to them through the SDK and its durable outbox, and the audit replays an
//! exported archive offline. Only data goes to stdout.
//!
//! This is the only place where the node's crate uses the client's.

mod consortium;
mod founding;
mod process;
mod result;
mod story;
mod trace;

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use syngraph_client::api::ApiError;
use syngraph_client::archive::{self, ExportError};
use syngraph_client::audit::{self, AuditReport, Verdict};
use syngraph_client::key::KeyError;
use syngraph_client::submit::SubmitError;
use syngraph_client::usage::import::ImportError;
use syngraph_config::file::ConfigError;
use syngraph_protocol::ids::MemberId;

use crate::args::DemoArgs;
use consortium::{Consortium, Settled};
use founding::Founded;
use story::Story;

/// Why the demo ends early.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A file or directory.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No free port.
    #[error("no free port on loopback: {0}")]
    Port(std::io::Error),
    /// A child process.
    #[error("a node's process: {0}")]
    Process(std::io::Error),
    /// A node ended.
    #[error("the node of {name} has ended; see {}", log.display())]
    Ended {
        /// Whose node.
        name: String,
        /// Its log.
        log: PathBuf,
    },
    /// A node does not get ready.
    #[error("the node of {name} is not ready after 30 s; see {}", log.display())]
    NotReady {
        /// Whose node.
        name: String,
        /// Its log.
        log: PathBuf,
    },
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A configuration file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A node does not stop.
    #[error("the node of {name} did not stop within 30 s and was ended; see {}", log.display())]
    NotStopped {
        /// Whose node.
        name: String,
        /// Its log.
        log: PathBuf,
    },
    /// The nodes differ.
    #[error("the nodes that run have not come to one state within 30 s")]
    Unsettled,
    /// Somebody asked it to stop.
    #[error("interrupted before the end of the story")]
    Interrupted,
    /// A node's answer.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A submission.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The usage import.
    #[error(transparent)]
    Usage(#[from] ImportError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ExportError),
    /// The audit could not run.
    #[error(transparent)]
    Audit(#[from] audit::AuditError),
    /// The audit ran and failed.
    #[error("the audit failed: {0}")]
    Unsound(String),
    /// The ledger refused an act of the story.
    #[error("{act} was refused: {rule}")]
    Refused {
        /// What was done.
        act: String,
        /// The rule.
        rule: String,
    },
    /// The trace has no rows.
    #[error("{}: no rows with a TIMESTAMP", .0.display())]
    NoUsage(PathBuf),
    /// The result cannot be written.
    #[error("stdout: {0}")]
    Output(std::io::Error),
}

/// Shows the main job; with `--stay` until `stop` resolves. The nodes are stopped in
/// either case.
///
/// # Errors
/// [`DemoError`] if any step fails, or if `stop` resolves before the end.
pub async fn show(args: &DemoArgs, stop: impl Future<Output = ()>) -> Result<(), DemoError> {
    let dir = directory(args)?;
    let tell = Teller { json: args.json };
    let founded = founding::found(&dir, args.members)?;
    tell.step(&format!(
        "founded {:?}, network {}, in {}",
        founded.genesis.charter.name.as_str(),
        founded.genesis.charter.network(),
        dir.display()
    ));
    let mut consortium = Consortium::start(&founded.nodes)?;
    let mut stop = std::pin::pin!(stop);
    let shown = tokio::select! {
        shown = show_with(args, &dir, &founded, &mut consortium, tell) => shown,
        () = &mut stop => Err(DemoError::Interrupted),
    };
    if args.stay && shown.is_ok() {
        let urls: Vec<String> = consortium.nodes.iter().map(process::Running::url).collect();
        tell.step(&format!("the nodes stay up at {}; interrupt to stop", urls.join(" ")));
        stop.await;
    }
    // A node that failed is why the story broke off.
    consortium.stop().await.and(shown)
}

/// Tells the story to nodes that were just started, and prints what came of it.
async fn show_with(
    args: &DemoArgs,
    dir: &Path,
    founded: &Founded,
    consortium: &mut Consortium,
    tell: Teller,
) -> Result<(), DemoError> {
    let doors = consortium.ready(tell).await?;
    if args.stay && args.json {
        result::print_json(&result::nodes(founded, &consortium.nodes))?;
    }
    let outcome = tell_story(args, dir, founded, doors, tell).await?;
    let settled = consortium.settle().await?;
    tell.step(&format!(
        "{} of {} nodes are at height {} with the same state",
        settled.members.len(),
        consortium.nodes.len(),
        settled.status.height
    ));
    let report = hand_over(dir, founded, &settled, tell).await?;
    let result = result::gather(&settled, &consortium.nodes, &outcome, &report).await?;
    if args.json {
        result::print_json(&result)?
    } else {
        result::print_text(&result)?
    }
    if report.verdict == Verdict::Ok {
        return Ok(());
    }
    let why = report.error.map(|failure| format!("{}: {}", failure.rule, failure.detail));
    Err(DemoError::Unsound(why.unwrap_or_default()))
}

/// What the story leaves to be reported.
pub(crate) struct Outcome {
    rows_per_s: f64,
    months: Vec<syngraph_protocol::time::Month>,
    archive: PathBuf,
}

/// The archive of a demo.
fn archive_in(dir: &Path) -> PathBuf {
    dir.join("archive")
}

async fn tell_story(
    args: &DemoArgs,
    dir: &Path,
    founded: &Founded,
    doors: consortium::Doors,
    tell: Teller,
) -> Result<Outcome, DemoError> {
    let usage = match &args.usage {
        Some(file) => file.clone(),
        None => trace::generate(dir)?,
    };
    let months = trace::months(&usage)?;
    let mut story = Story::begin(doors, founded, tell).await?;
    story.prologue().await?;
    let rows_per_s = story.import(&usage).await?;
    story.unsigned_draft().await?;
    let months = story.close_and_settle(&months).await?;
    story.end().await;
    Ok(Outcome { rows_per_s, months, archive: archive_in(dir) })
}

/// Exports the history up to where the nodes have come, and audits it.
async fn hand_over(
    dir: &Path,
    founded: &Founded,
    settled: &Settled,
    tell: Teller,
) -> Result<AuditReport, DemoError> {
    let archive = archive_in(dir);
    archive::export(&settled.api, &archive, Some(settled.status.height.get()), &mut |_| {}).await?;
    tell.step(&format!("exported the history to {}", archive.display()));
    let report = audit_offline(&archive, founded).await?;
    tell.step(&format!(
        "audited offline: {} blocks, {} entries, {} rows in {:.2} s",
        report.blocks, report.entries, report.rows, report.seconds
    ));
    Ok(report)
}

/// Replays the archive with nothing but the genesis file.
async fn audit_offline(archive: &Path, founded: &Founded) -> Result<AuditReport, DemoError> {
    let (path, genesis) = (archive.to_owned(), founded.genesis.clone());
    let replay = move || audit::audit(&path, &genesis, &mut |_| {});
    let ended = tokio::task::spawn_blocking(replay).await;
    Ok(ended.map_err(|panicked| DemoError::Unsound(panicked.to_string()))??)
}

fn directory(args: &DemoArgs) -> Result<PathBuf, DemoError> {
    let path = match &args.dir {
        Some(dir) => dir.clone(),
        None => std::env::temp_dir().join(format!("syngraph-demo-{}", hex::encode(random::<8>()?))),
    };
    let error = |source| DemoError::File { path: path.clone(), source };
    match &args.dir {
        Some(dir) => std::fs::create_dir_all(dir),
        // It will hold keys, among everybody's files: new, and nobody else's.
        None => std::fs::DirBuilder::new().mode(0o700).create(&path),
    }
    .map_err(error)?;
    path.canonicalize().map_err(error)
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], DemoError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| DemoError::Process(std::io::Error::other(error)))?;
    Ok(bytes)
}

/// Says what each step did: on stdout for people, on stderr beside JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Teller {
    json: bool,
}

impl Teller {
    fn step(self, text: &str) {
        use std::io::Write;
        // A reader that has gone away misses only what it did not want.
        if self.json {
            writeln!(std::io::stderr(), "· {text}").ok();
        } else {
            writeln!(std::io::stdout(), "· {text}").ok();
        }
    }
}

/// The name of a member of the cast.
fn name_of(member: MemberId) -> &'static str {
    let position = usize::try_from(member.get()).unwrap_or(usize::MAX);
    founding::CAST.get(position).map_or("?", |(name, _)| name)
}
