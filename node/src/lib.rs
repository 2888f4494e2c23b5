//! A member's node: every task and bounded channel in one picture.
//!
//! ```text
//!            ┌───────────── process ───────────────────────────────────────────┐
//!  apps ───▶ │ http ─Command(256)─▶ ┌─ core thread ─────────────┐              │
//!  tools ◀── │      ◀──Snapshot──── │ journals · chain · store  │ ─▶ entries/  │
//!            │      ◀──Reader────── │  (group commit, fsync)    │ ─▶ blocks/   │
//!            │                      └──▲──────────────────┬─────┘ ─▶ state/    │
//!            │                  Event(bounded)         Engine handle           │
//!  peers ◀─▶ │ consensus engine (actors) ◀────────────────┘       ─▶ wal/      │
//!            └─────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Start: files → HTTP port → store (recovery, replay) → engine → doors open. A port in
//! use or a data directory in use is found before anything is touched. Stop: doors
//! close → engine ends → core ends, and closes the store.

pub mod args;
mod chain;
mod consensus;
mod core;
pub mod demo;
mod gate;
mod http;
mod journals;
mod pace;
mod store;
mod telemetry;

use std::path::Path;
use std::time::Duration;

use syngraph_config::node::{NodeConfig, NodeDir, NodeFiles, NodeFilesError, load_node};
use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::ids::{Height, MemberId, PublicKey};
use syngraph_protocol::ledger::Ledger;
use syngraph_protocol::ledger::member::KeyPurpose;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::block_in_place;

use crate::chain::Chain;
use crate::consensus::{ConsensusError, Identity, Settings, Started, Transport};
use crate::core::{Core, CoreError};
use crate::gate::{NodeInfo, Readiness, Snapshot};
use crate::http::HttpError;
use crate::journals::Journals;
use crate::store::{Recovered, Store, StoreError};
use crate::telemetry::Metrics;

pub use crate::telemetry::{LogFormat, TelemetryError, init as init_logging};

/// Why a node does not start, or stops: a rule id, the place, and what is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{rule}: {problem}")]
pub struct NodeError {
    rule: &'static str,
    problem: Box<dyn std::error::Error + Send + Sync>,
}

impl NodeError {
    /// The stable rule id.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        self.rule
    }

    fn new(rule: &'static str, problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { rule, problem: problem.into() }
    }
}

macro_rules! node_error_from {
    ($($error:ty),+) => {
        $(impl From<$error> for NodeError {
            fn from(error: $error) -> Self {
                Self::new(error.rule(), error)
            }
        })+
    };
}

node_error_from!(NodeFilesError, HttpError, StoreError, ConsensusError, CoreError);

/// Runs the node of a directory until `stop` resolves or it cannot go on.
///
/// # Errors
/// [`NodeError`] naming the rule, the place and what is wrong.
pub async fn run(dir: &Path, stop: impl Future<Output = ()>) -> Result<(), NodeError> {
    let dir = NodeDir::new(dir);
    let files = load_node(&dir)?;
    let metrics = Metrics::default();
    let server = http::bind(files.config.http.listen).await?.serve(metrics.clone());
    let (store, recovered) = open_store(&dir, &files)?;
    let me = member_of(&recovered.ledger, files.validator.public())?;
    tracing::info!(
        member = %me,
        network = %recovered.ledger.network(),
        height = %recovered.ledger.height(),
        state_root = %recovered.ledger.state_root(),
        replayed_blocks = recovered.replayed_blocks,
        rebuilt = recovered.rebuilt,
        "recovered"
    );
    let identity = Identity {
        member: me,
        network: recovered.ledger.network(),
        validator: Some(files.validator.secret().clone()),
        transport_seed: seed_of(files.transport.secret()),
    };
    let Started { engine, events, mut ended } =
        consensus::start(settings(&dir, &files.config, recovered.ledger.height()), identity).await?;
    let snapshot = Snapshot { ledger: recovered.ledger.clone(), readiness: Readiness::Starting };
    let network = recovered.ledger.network();
    let NodeFiles { config, genesis_toml, .. } = files;
    let info = NodeInfo { member: me, name: config.name, network, genesis_toml };
    let (gate, doors) = gate::open(snapshot, store.reader(), info);
    let (chain, journals) = block_in_place(|| restore(me, recovered));
    let core = Core::new(me, chain, journals, store, engine.clone(), doors, metrics);
    let (stop_core, core_stops) = oneshot::channel();
    let mut core = spawn_core(core, events, core_stops)?;
    server.open(gate);

    let why = tokio::select! {
        () = stop => Why::Asked,
        result = &mut core => Why::Core(flatten(result)),
        _ = &mut ended => Why::Engine,
    };
    tracing::info!("stopping");
    let doors_closed = server.stop().await;
    // Before the core, which answers it to the last.
    engine.stop().await;
    // The core may have ended by itself meanwhile.
    stop_core.send(()).ok();
    match why {
        Why::Core(result) => result?,
        Why::Engine => flatten(core.await).and(Err(CoreError::Engine.into()))?,
        Why::Asked => match core.await {
            // The engine's end is what was asked for.
            Ok(Err(CoreError::Engine)) => {}
            result => flatten(result)?,
        },
    }
    doors_closed?;
    tracing::info!("stopped");
    Ok(())
}

/// What made a node stop.
enum Why {
    /// Whoever runs it.
    Asked,
    /// The core, which cannot go on.
    Core(Result<(), NodeError>),
    /// The engine, which has ended by itself.
    Engine,
}

fn open_store(dir: &NodeDir, files: &NodeFiles) -> Result<(Store, Recovered), StoreError> {
    block_in_place(|| Store::open(dir.path(), &files.genesis))
}

/// The member whose validator key this is.
fn member_of(ledger: &Ledger, key: PublicKey) -> Result<MemberId, NodeError> {
    match ledger.keys.get(&key) {
        Some(record) if record.purpose == KeyPurpose::Validator => Ok(record.member),
        _ => Err(NodeError::new(
            "NODE-STRANGER",
            format!("validator key {key} belongs to no member of this network"),
        )),
    }
}

fn seed_of(transport: &SecretKey) -> [u8; 32] {
    transport.to_seed()
}

fn settings(dir: &NodeDir, config: &NodeConfig, decided: Height) -> Settings {
    Settings {
        moniker: config.name.clone(),
        listen: config.consensus.listen,
        transport: Transport::Tcp,
        peers: Vec::new(),
        decided,
        propose_timeout: Duration::from_millis(config.consensus.propose_timeout_ms),
        vote_timeout: Duration::from_millis(config.consensus.vote_timeout_ms),
        wal: dir.wal(),
    }
}

/// Puts back what was durable: entries ahead of the chain, and blocks that were proposed
/// or judged and not decided. They are executed again, so that the node proposes what it
/// proposed and the engine's log finds what it names.
fn restore(me: MemberId, recovered: Recovered) -> (Chain, Journals) {
    let Recovered { ledger, pending, undecided, .. } = recovered;
    let mut journals = Journals::new(me);
    for entry in pending {
        let (journal, seq) = (entry.head().journal, entry.head().seq);
        if let Err(link) = journals.restore(&ledger, entry) {
            tracing::warn!(%journal, %seq, %link, "an entry in the log continues no journal");
        }
    }
    let mut chain = Chain::new(me, ledger);
    for block in undecided {
        let id = block.id();
        match journals.under(chain.ledger(), &block.cut) {
            Ok(entries) => {
                let verdict = chain.judge(&block, entries);
                tracing::info!(block = %id, ?verdict, "executed an undecided block again");
            }
            Err(missing) => tracing::warn!(block = %id, ?missing, "an undecided block lacks entries"),
        }
    }
    (chain, journals)
}

/// The core gets a thread of its own, since it writes to disk between its answers. What
/// it ends with comes through the channel; a channel that closes empty means a panic.
fn spawn_core(
    core: Core,
    events: mpsc::Receiver<consensus::Event>,
    stop: oneshot::Receiver<()>,
) -> Result<oneshot::Receiver<Result<(), CoreError>>, NodeError> {
    let runtime = runtime::Builder::new_current_thread().enable_time().build().map_err(no_thread)?;
    let (done, result) = oneshot::channel();
    let body = move || {
        // Nobody to tell: the process is already going down.
        done.send(runtime.block_on(core.run(events, stop))).ok();
    };
    std::thread::Builder::new().name("core".to_owned()).spawn(body).map_err(no_thread)?;
    Ok(result)
}

fn no_thread(error: std::io::Error) -> NodeError {
    NodeError::new("NODE-THREAD", error)
}

fn flatten(result: Result<Result<(), CoreError>, oneshot::error::RecvError>) -> Result<(), NodeError> {
    match result {
        Ok(ended) => Ok(ended?),
        Err(_) => {
            Err(NodeError::new("NODE-PANIC", "the core thread panicked; what was acknowledged is on disk"))
        }
    }
}
