//! A member's node: every task and bounded channel in one picture.
//!
//! ```text
//!            ┌───────────── process ───────────────────────────────────────────┐
//!  apps ───▶ │ http ─Command(256)─▶ ┌─ core thread ─────────────┐              │
//!  tools ◀── │      ◀──Snapshot──── │ journals · chain · store  │ ─▶ entries/  │
//!            │      ◀──Reader────── │  (group commit, fsync)    │ ─▶ blocks/   │
//!            │                      └──▲───────▲──────────┬─────┘ ─▶ state/    │
//!            │                  PeerEvent(64) Event    two handles             │
//!  peers ◀─▶ │ peers (swarm: entries) ──┘       │ ◀────────┤                   │
//!  peers ◀─▶ │ consensus engine (actors) ───────┘ ◀────────┘       ─▶ wal/     │
//!            └─────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Start: files → HTTP port → store (recovery, replay) → peer port → engine → doors open. A
//! port in use or a data directory in use is found before anything is touched. Stop: doors
//! close → engine ends → core ends, and closes the store → peer port closes.

pub mod args;
#[cfg(feature = "byzantine")]
mod byzantine;
pub mod chain;
mod consensus;
pub mod core;
pub mod demo;
pub mod gate;
mod http;
pub mod journals;
mod neighbours;
pub mod operator;
mod pace;
mod peers;
pub mod replicas;
mod store;
mod telemetry;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use syngraph_config::node::{
    NodeConfig, NodeDir, NodeFiles, NodeFilesError, Overrides, Transport, load_node,
};
use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::ids::{Height, MemberId, PublicKey};
use syngraph_protocol::ledger::Ledger;
use syngraph_protocol::ledger::member::KeyPurpose;
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, block_in_place};

use crate::consensus::{ConsensusError, Engine, Identity, Started};
use crate::core::{CoreError, Own, Parts, Sources};
use crate::gate::{NodeInfo, Readiness, Snapshot};
use crate::http::HttpError;
use crate::neighbours::Neighbours;
use crate::peers::PeersError;
use crate::replicas::message::Peers;
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

node_error_from!(NodeFilesError, HttpError, StoreError, ConsensusError, PeersError, CoreError);

/// Runs the node of a directory until `stop` resolves or it cannot go on. `overrides` go
/// before its configuration.
///
/// # Errors
/// [`NodeError`] naming the rule, the place and what is wrong.
pub async fn run(dir: &Path, overrides: &Overrides, stop: impl Future<Output = ()>) -> Result<(), NodeError> {
    let dir = NodeDir::new(dir);
    let files = load_node(&dir, overrides)?;
    let metrics = Metrics::default();
    let server = http::bind(files.config.http.listen).await?.serve(metrics.clone());
    let (store, recovered) = open_store(&dir, &files)?;
    let me = member_of(&recovered.ledger, &files)?;
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
    let neighbours = Neighbours::new(files.config.peer.clone(), &recovered.ledger, me);
    let peers = peer_settings(&files, &recovered.ledger, me, &neighbours, store.reader(), &metrics);
    let peers::Started { peers, events: peer_events, ended: port_ended, .. } = peers::start(peers).await?;
    let height = recovered.ledger.height();
    let consensus = consensus_settings(&dir, &files.config, &neighbours, height);
    let Started { engine, events, ended } = consensus::start(consensus, identity).await?;
    let snapshot =
        Snapshot { ledger: recovered.ledger.clone(), readiness: Readiness::Starting, connected: Vec::new() };
    let info = NodeInfo {
        member: me,
        name: files.config.name.clone(),
        network: recovered.ledger.network(),
        genesis_toml: files.genesis_toml.clone(),
    };
    let (gate, doors) = gate::open(snapshot, store.reader(), info, watch(engine.clone()));
    let Recovered { ledger, pending, undecided, .. } = recovered;
    let (chain, journals) = block_in_place(|| core::restore(me, ledger, pending, undecided, Instant::now()));
    let port = peers.clone();
    #[cfg(feature = "byzantine")]
    let peers = byzantine::Liar::new(peers);
    let own = Own { member: me, journal: files.journal.secret().clone() };
    let gate::Core { commands, snapshot } = doors;
    let following = tokio::spawn(neighbours.follow(snapshot.subscribe(), port.clone(), engine.clone()));
    let parts = Parts { own, chain, journals, disk: store, voting: engine.clone(), peers, snapshot, metrics };
    let sources = Sources { commands, events, peers: peer_events };
    let (stop_core, core_stops) = oneshot::channel();
    let core = spawn_core(parts, sources, core_stops)?;
    server.open(gate);
    let running =
        Running { server, engine, engine_ended: ended, core, stop_core, port, port_ended, following };
    running.until(stop).await
}

/// A node that runs: what has to be stopped, and what may end by itself.
struct Running {
    server: http::Server,
    engine: Engine,
    engine_ended: JoinHandle<()>,
    core: oneshot::Receiver<Result<(), CoreError>>,
    stop_core: oneshot::Sender<()>,
    port: peers::Handle,
    port_ended: JoinHandle<()>,
    following: JoinHandle<()>,
}

impl Running {
    /// Stops in good order when `stop` resolves or a part has ended.
    async fn until(mut self, stop: impl Future<Output = ()>) -> Result<(), NodeError> {
        let why = tokio::select! {
            () = stop => Why::Asked,
            result = &mut self.core => Why::Core(flatten(result)),
            _ = &mut self.engine_ended => Why::Engine,
        };
        tracing::info!("stopping");
        let doors_closed = self.server.stop().await;
        // Before the core, which answers it to the last.
        self.engine.stop().await;
        // The core may have ended by itself meanwhile.
        self.stop_core.send(()).ok();
        match why {
            Why::Core(result) => result?,
            Why::Engine => flatten(self.core.await).and(Err(CoreError::Engine.into()))?,
            Why::Asked => match self.core.await {
                // The engine's end is what was asked for.
                Ok(Err(CoreError::Engine)) => {}
                result => flatten(result)?,
            },
        }
        self.following.abort();
        self.port.stop();
        // It has nobody to tell any more.
        self.port_ended.await.ok();
        doors_closed?;
        tracing::info!("stopped");
        Ok(())
    }
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

/// The member whose node this is: the one that all of its keys belong to. With another's
/// transport key no peer would let it in, and with another's journal key nothing that it
/// has to say would be taken, without anybody being told.
fn member_of(ledger: &Ledger, files: &NodeFiles) -> Result<MemberId, NodeError> {
    let owner = |purpose: KeyPurpose, name: &str, key: PublicKey| match ledger.keys.get(&key) {
        Some(record) if record.purpose == purpose => Ok(record.member),
        _ => Err(NodeError::new(
            "NODE-STRANGER",
            format!("{name} key {key} belongs to no member of this network as that"),
        )),
    };
    let me = owner(KeyPurpose::Validator, "validator", files.validator.public())?;
    let others = [
        (KeyPurpose::Transport, "transport", files.transport.public()),
        (KeyPurpose::Journal, "journal", files.journal.public()),
    ];
    for (purpose, name, key) in others {
        let member = owner(purpose, name, key)?;
        if member != me {
            let problem =
                format!("{name} key {key} is member {member}'s, and the validator key member {me}'s");
            return Err(NodeError::new("NODE-STRANGER", problem));
        }
    }
    Ok(me)
}

fn seed_of(transport: &SecretKey) -> [u8; 32] {
    transport.to_seed()
}

fn peer_settings(
    files: &NodeFiles,
    ledger: &Ledger,
    me: MemberId,
    neighbours: &Neighbours,
    log: store::Reader,
    metrics: &Metrics,
) -> peers::Settings {
    peers::Settings {
        listen: files.config.peers.listen,
        transport: match files.config.peers.transport {
            Transport::Tcp => peers::Transport::Tcp,
            Transport::Quic => peers::Transport::Quic,
        },
        network: ledger.network(),
        seed: seed_of(files.transport.secret()),
        me,
        peers: neighbours.for_peers(),
        log,
        metrics: metrics.peers().clone(),
    }
}

fn consensus_settings(
    dir: &NodeDir,
    config: &NodeConfig,
    neighbours: &Neighbours,
    decided: Height,
) -> consensus::Settings {
    consensus::Settings {
        moniker: config.name.clone(),
        listen: config.consensus.listen,
        transport: match config.peers.transport {
            Transport::Tcp => consensus::Transport::Tcp,
            Transport::Quic => consensus::Transport::Quic,
        },
        peers: neighbours.for_consensus(),
        decided,
        propose_timeout: Duration::from_millis(config.consensus.propose_timeout_ms),
        vote_timeout: Duration::from_millis(config.consensus.vote_timeout_ms),
        wal: dir.wal(),
    }
}

/// What doors are told of the consensus step.
fn watch(engine: Engine) -> gate::Watch {
    Arc::new(move || engine.progress())
}

/// The core gets a thread of its own, since it writes to disk between its answers. What
/// it ends with comes through the channel; a channel that closes empty means a panic.
fn spawn_core<P: Peers + Send + 'static>(
    parts: Parts<Store, Engine, P>,
    sources: Sources,
    stop: oneshot::Receiver<()>,
) -> Result<oneshot::Receiver<Result<(), CoreError>>, NodeError> {
    let runtime = runtime::Builder::new_current_thread().enable_time().build().map_err(no_thread)?;
    let (done, result) = oneshot::channel();
    let body = move || {
        // Nobody to tell: the process is already going down.
        done.send(runtime.block_on(core::run(parts, sources, stop))).ok();
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

#[cfg(test)]
mod tests {
    use syngraph_config::key::Key;
    use syngraph_protocol::genesis::Genesis;

    use super::*;
    use crate::journals::tests::{charter, ledger};

    /// The files of a node with the keys of these seeds.
    fn files(validator: u8, transport: u8, journal: u8) -> NodeFiles {
        let key = |seed: u8, purpose| Key::new(SecretKey::from_seed(&[seed; 32]), purpose);
        NodeFiles {
            config: NodeConfig {
                name: "Aster".into(),
                http: Default::default(),
                consensus: Default::default(),
                peers: Default::default(),
                peer: Vec::new(),
            },
            genesis: Genesis { charter: charter(), signatures: Vec::new() },
            genesis_toml: String::new(),
            validator: key(validator, "validator"),
            transport: key(transport, "transport"),
            journal: key(journal, "journal"),
        }
    }

    #[test]
    fn a_node_starts_with_the_keys_of_one_member() {
        let start = |validator, transport, journal| {
            member_of(&ledger(), &files(validator, transport, journal))
                .map_err(|error| (error.rule(), error.to_string()))
        };
        assert_eq!(start(11, 12, 13), Ok(MemberId::new(0)));
        for (keys, named) in [
            ([99, 12, 13], "validator key"),
            ([12, 12, 13], "validator key"),
            ([11, 99, 13], "transport key"),
            ([11, 12, 99], "journal key"),
            ([11, 12, 10], "journal key"),
        ] {
            let (rule, said) = start(keys[0], keys[1], keys[2]).expect_err(named);
            assert!(rule == "NODE-STRANGER" && said.contains(named), "{said}");
        }
    }
}
