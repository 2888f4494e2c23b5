//! Starts the engine's actors around our host, and is the handle to them.
//!
//! *Invariants.* Every actor is linked to one supervisor: when one fails, all stop and [`Started::ended`]
//! resolves.
//! [`start`] returns only once the consensus port listens.
//!
//! *Deliberately absent:* restarting. The engine's log replays itself at the next [`start`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_malachitebft_app::config::ConsensusConfig;
use arc_malachitebft_app::engine::consensus::{ConsensusMsg, ConsensusRef};
use arc_malachitebft_app::engine::host::HostRef;
use arc_malachitebft_app::engine::network::{NetworkIdentity, NetworkMsg, NetworkRef, PersistentPeersOp};
use arc_malachitebft_app::engine::node::NodeRef;
use arc_malachitebft_app::engine::sync::{SyncMsg, SyncRef};
use arc_malachitebft_app::engine::util::events::TxEvent;
use arc_malachitebft_app::engine::util::output_port::{OutputPort, OutputPortSubscriberTrait as _};
use arc_malachitebft_app::engine::wal::WalRef;
use arc_malachitebft_app::metrics::{Metrics, SharedRegistry};
use arc_malachitebft_app::spawn::{
    spawn_consensus_actor, spawn_network_actor, spawn_node_actor, spawn_sync_actor, spawn_wal_actor,
};
use arc_malachitebft_app::streaming::{StreamContent, StreamId, StreamMessage};
use arc_malachitebft_app::types::Keypair;
use arc_malachitebft_app::types::codec::Codec as _;
use arc_malachitebft_core_types::ValueOrigin;
use arc_malachitebft_signing::Signer;
use bytes::Bytes;
use ractor::rpc::CallResult;
use ractor::{Actor, ActorCell};
use syngraph_protocol::block::Block;
use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::ids::{Height, MemberId, NetworkId};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::address::{self, Peer, PeerAddress, Transport};
use super::codec::{STREAM_ID_BYTES, WireCodec};
use super::context::{Address, Context};
use super::convert;
use super::event::{Event, Judged};
use super::host::{EVENTS_MAX, Host, HostState};
use super::parts::{self, PartStreams};
use super::roster::Roster;
use super::settings::{Settings, consensus_config, sync_config, timeouts};
use super::signer::{VoteSigner, VoteVerifier};
use super::view::{Ear, Progress, View, hear_ourselves};
use super::wal;

/// How long the network may take to say that it listens.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the tip is announced when nothing is decided. The engine by itself announces it only after a
/// decision and once per peer, and a node that misses that, for instance while it starts, would wait for
/// a decision that may in turn be waiting for its vote.
const TIP_INTERVAL: Duration = Duration::from_secs(1);
/// How long each actor may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Who takes part. Not printable: it holds secrets.
#[derive(Clone)]
pub(crate) struct Identity {
    /// The member that runs this node.
    pub(crate) member: MemberId,
    /// The network.
    pub(crate) network: NetworkId,
    /// The key that signs votes; none to follow without voting, whoever the voters are. Votes count only
    /// if it is the key that the voters of the height name.
    pub(crate) validator: Option<SecretKey>,
    /// Seed of the Ed25519 key that peers know this node by.
    pub(crate) transport_seed: [u8; 32],
}

/// A running engine.
pub(crate) struct Started {
    /// The handle.
    pub(crate) engine: Engine,
    /// What it asks and tells. When the receiver is dropped, the engine stops.
    pub(crate) events: mpsc::Receiver<Event>,
    /// Resolves when the engine has stopped: the process should then end and be started again. It does
    /// **not** resolve after a failure that endangers safety; see [`Engine::is_halted`].
    pub(crate) ended: JoinHandle<()>,
}

/// Why the engine cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConsensusError {
    /// `CONS-ADDRESS`: not an address the engine can use.
    #[error("{address:?} is not an address like host:port: {reason}")]
    Address {
        /// The text.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `CONS-LISTEN`: the port is taken, or the address is not this machine's.
    #[error("cannot listen on {address}: it is in use, or no address of this machine")]
    Listen {
        /// The address.
        address: SocketAddr,
    },
    /// `CONS-LOG`: the engine's log of votes cannot be read or repaired.
    #[error("{}: {reason}", path.display())]
    Log {
        /// Where it is.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// `CONS-LOG-DAMAGED`: a vote that this node may have sent cannot be read back, and no crash explains
    /// that. Going on could make the node vote twice. An operator has to look; a node whose log is lost
    /// must not vote until a height that it has had no part in is decided.
    #[error("{}: damaged at byte {offset}, which no crash explains: {reason}", path.display())]
    LogDamaged {
        /// Where it is.
        path: PathBuf,
        /// Where the damage begins.
        offset: usize,
        /// What is found there.
        reason: String,
    },
    /// `CONS-START`: a part of the engine has failed at once.
    #[error("the engine's {part} does not start: {reason}")]
    Start {
        /// Which.
        part: &'static str,
        /// What it said.
        reason: String,
    },
}

impl ConsensusError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub(crate) const fn rule(&self) -> &'static str {
        match self {
            Self::Address { .. } => "CONS-ADDRESS",
            Self::Listen { .. } => "CONS-LISTEN",
            Self::Log { .. } => "CONS-LOG",
            Self::LogDamaged { .. } => "CONS-LOG-DAMAGED",
            Self::Start { .. } => "CONS-START",
        }
    }

    fn start(part: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Start { part, reason: format!("{reason:#}") }
    }
}

/// Starts the engine. It asks for its first height by [`Event::Ready`].
///
/// # Errors
/// [`ConsensusError`]; nothing is left running then.
pub(crate) async fn start(settings: Settings, identity: Identity) -> Result<Started, ConsensusError> {
    let peers = peers(settings.transport, &settings.peers, identity.member)?;
    let config = consensus_config(&settings, &peers, identity.network)?;
    let roster = Roster::default();
    roster.admit(peers);
    wal::repair(&settings.wal)?;
    let registry = SharedRegistry::global().with_moniker(&settings.moniker);
    let metrics = Metrics::register(&registry);
    // The supervisor comes first; each actor is linked to it as soon as it lives.
    let (node, ended) =
        spawn_node_actor(metrics.clone()).await.map_err(|e| ConsensusError::start("supervisor", e))?;
    let view = View::new(identity.network, roster.clone(), settings.decided);
    let crew = Crew { settings, identity, config, registry, metrics, roster, view, node: node.clone() };
    match crew.start().await {
        Ok((engine, events)) => Ok(Started { engine, events, ended }),
        Err(error) => {
            node.stop(None);
            Err(error)
        }
    }
}

/// Everything that the actors are made from.
struct Crew {
    settings: Settings,
    identity: Identity,
    config: ConsensusConfig,
    registry: SharedRegistry,
    metrics: Metrics,
    roster: Roster,
    view: View,
    node: NodeRef,
}

impl Crew {
    async fn start(self) -> Result<(Engine, mpsc::Receiver<Event>), ConsensusError> {
        let network = self.start_network().await?;
        let wal = self.start_wal().await?;
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let host = self.start_host(sender.clone()).await?;
        let ear = self.start_ear(&network, sender).await?;
        let (engine_events, decisions) = (TxEvent::new(), Arc::new(OutputPort::new()));
        tokio::spawn(hear_ourselves(engine_events.subscribe(), self.view.clone()));
        let consensus = spawn_consensus_actor(
            Context,
            self.address(),
            self.config.clone(),
            Box::new(VoteVerifier { network: self.identity.network }),
            self.signer().map(|signer| Box::new(signer) as Box<dyn Signer<Context>>),
            network.clone(),
            host.clone(),
            wal.clone(),
            decisions.clone(),
            self.metrics.clone(),
            engine_events,
            self.node.clone(),
        );
        let consensus = consensus.await.map_err(|e| ConsensusError::start("consensus", e))?;
        consensus.link(self.node.get_cell());
        let sync = self.start_sync(&network, &host, &consensus).await?;
        // Without this it would never hear of our own decisions.
        sync.subscribe_to_port(&decisions);
        let [sync, host, wal] = [sync.get_cell(), host.get_cell(), wal.get_cell()];
        let cells = [sync, consensus.get_cell(), host, ear, network.get_cell(), wal];
        let engine = Engine {
            consensus,
            network,
            me: self.identity.member,
            transport: self.settings.transport,
            roster: self.roster,
            view: self.view,
            runtime: Handle::current(),
            node: self.node,
            actors: Arc::new(cells),
            metrics: self.metrics,
            streams: Arc::new(StreamNames::new()?),
        };
        Ok((engine, events))
    }

    async fn start_wal(&self) -> Result<WalRef<Context>, ConsensusError> {
        let (path, node) = (&self.settings.wal, self.node.clone());
        let wal = spawn_wal_actor(&Context, WireCodec, path, &self.registry, node).await;
        let wal = wal.map_err(|e| ConsensusError::start("write-ahead log", e))?;
        wal.link(self.node.get_cell());
        Ok(wal)
    }

    async fn start_sync(
        &self,
        network: &NetworkRef<Context>,
        host: &HostRef<Context>,
        consensus: &ConsensusRef<Context>,
    ) -> Result<SyncRef<Context>, ConsensusError> {
        let (network, host, consensus) = (network.clone(), host.clone(), consensus.clone());
        let config = sync_config();
        let sync =
            spawn_sync_actor(Context, network, host, consensus, WireCodec, &config, &self.registry).await;
        let sync = sync.map_err(|e| ConsensusError::start("sync", e))?;
        let sync = sync.ok_or_else(|| ConsensusError::start("sync", "it is disabled"))?;
        sync.link(self.node.get_cell());
        // The task ends with the actor.
        sync.send_interval(TIP_INTERVAL, || SyncMsg::Tick);
        Ok(sync)
    }

    /// Starts the network actor and waits until it listens. A port in use ends its task with nothing but
    /// a line in the log, but then nobody answers the question for its state, which it takes only after
    /// listening.
    async fn start_network(&self) -> Result<NetworkRef<Context>, ConsensusError> {
        let (sync, identity) = (sync_config(), self.network_identity()?);
        let network = spawn_network_actor(&self.config, &sync, identity, &self.registry, WireCodec).await;
        let network = network.map_err(|e| ConsensusError::start("network", e))?;
        network.link(self.node.get_cell());
        match network.call(NetworkMsg::DumpState, Some(LISTEN_TIMEOUT)).await {
            Ok(CallResult::Success(Some(_))) => Ok(network),
            _ => Err(ConsensusError::Listen { address: self.settings.listen }),
        }
    }

    /// Starts what hears the network beside the engine, and subscribes it.
    async fn start_ear(
        &self,
        network: &NetworkRef<Context>,
        application: mpsc::Sender<Event>,
    ) -> Result<ActorCell, ConsensusError> {
        let ear = Ear { view: self.view.clone(), application };
        let ear = Actor::spawn_linked(None, ear, (), self.node.get_cell()).await;
        let (ear, _) = ear.map_err(|e| ConsensusError::start("ear", e))?;
        let subscribe = NetworkMsg::Subscribe(Box::new(ear.clone()));
        network.cast(subscribe).map_err(|e| ConsensusError::start("network", e))?;
        Ok(ear.get_cell())
    }

    async fn start_host(&self, events: mpsc::Sender<Event>) -> Result<HostRef<Context>, ConsensusError> {
        let (network, timeouts) = (self.identity.network, timeouts(&self.settings));
        let (roster, view) = (self.roster.clone(), self.view.clone());
        let parts = PartStreams::new(roster.clone());
        let state = HostState { network, timeouts, parts, events, roster, view };
        let host = Actor::spawn_linked(None, Host, state, self.node.get_cell()).await;
        host.map(|(host, _)| host).map_err(|e| ConsensusError::start("host", e))
    }

    fn address(&self) -> Address {
        self.identity.validator.as_ref().map_or(Address::FOLLOWER, |_| Address(self.identity.member))
    }

    fn signer(&self) -> Option<VoteSigner> {
        self.identity.validator.clone().map(|key| VoteSigner { network: self.identity.network, key })
    }

    fn network_identity(&self) -> Result<NetworkIdentity, ConsensusError> {
        let moniker = self.settings.moniker.clone();
        let keypair = Keypair::ed25519_from_bytes(self.identity.transport_seed)
            .map_err(|e| ConsensusError::start("transport key", e))?;
        let Some(signer) = self.signer() else { return Ok(NetworkIdentity::new(moniker, keypair, None)) };
        let proof = signer.prove(keypair.public().to_peer_id().to_bytes());
        let proof = WireCodec.encode(&proof).map_err(|e| ConsensusError::start("validator proof", e))?;
        Ok(NetworkIdentity::new_validator(moniker, keypair, self.address().to_string(), proof))
    }
}

/// Names for the streams of parts that this node publishes, never the same twice: the gossip between
/// peers drops messages that it has seen.
struct StreamNames {
    run: [u8; 8],
    next: AtomicU64,
}

impl StreamNames {
    fn new() -> Result<Self, ConsensusError> {
        let mut run = [0; 8];
        getrandom::fill(&mut run).map_err(|e| ConsensusError::start("source of randomness", e))?;
        Ok(Self { run, next: AtomicU64::new(0) })
    }

    fn take(&self) -> StreamId {
        let mut name = [0; STREAM_ID_BYTES];
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        name[..8].copy_from_slice(&self.run);
        name[8..].copy_from_slice(&number.to_be_bytes());
        StreamId::new(Bytes::copy_from_slice(&name))
    }
}

/// What the application may tell the engine, at any time and from any thread. If the engine has stopped,
/// nothing happens; [`Started::ended`] says so.
#[derive(Clone)]
pub(crate) struct Engine {
    consensus: ConsensusRef<Context>,
    network: NetworkRef<Context>,
    me: MemberId,
    transport: Transport,
    roster: Roster,
    view: View,
    runtime: Handle,
    node: NodeRef,
    /// In the order in which they are stopped.
    actors: Arc<[ActorCell; 6]>,
    metrics: Metrics,
    streams: Arc<StreamNames>,
}

impl Engine {
    /// Gives the verdict on a proposed block, whenever it is ready. For a past height it is without
    /// effect; for a later one it is kept.
    pub(crate) fn judged(&self, judged: Judged) {
        let value = convert::proposed_value(judged);
        let _ = self.consensus.cast(ConsensusMsg::ReceivedProposedValue(value, ValueOrigin::Consensus));
    }

    /// Sends a block to all peers, as proposed for `height` and `round` by `proposer`.
    pub(crate) fn publish(&self, height: Height, round: u32, proposer: MemberId, block: &Block) {
        let stream = self.streams.take();
        for (sequence, part) in (0..).zip(parts::cut(height, round, proposer, block)) {
            let message = StreamMessage::new(stream.clone(), sequence, StreamContent::Data(part));
            let _ = self.network.cast(NetworkMsg::PublishProposalPart(message));
        }
    }

    /// How far the consensus step is, as seen from here. Never waits for the engine.
    #[must_use]
    pub(crate) fn progress(&self) -> Progress {
        self.view.progress()
    }

    /// Puts other peers in the place of those that are let in: who is not among them is cut off, who is
    /// new is dialled and let in, and nothing changes for the rest. This node itself may be among them.
    ///
    /// # Errors
    /// `CONS-ADDRESS`; nothing has changed then.
    pub(crate) fn admit(&self, admitted: &[PeerAddress]) -> Result<(), ConsensusError> {
        let (gone, new) = self.roster.admit(peers(self.transport, admitted, self.me)?);
        // Who moves must be taken out first: taking out one address cuts off whoever has another too.
        let gone = gone.into_iter().map(|peer| PersistentPeersOp::Remove(peer.address));
        let new = new.into_iter().map(|peer| PersistentPeersOp::Add(peer.address));
        for change in gone.chain(new) {
            let (port, done) = oneshot::channel();
            let _ = self.network.cast(NetworkMsg::UpdatePersistentPeers(change, port.into()));
            // The network logs what it answers, and complains if nobody listens.
            self.runtime.spawn(done);
        }
        Ok(())
    }

    /// Whether the engine has given up for safety's sake: its write-ahead log failed or contradicts it,
    /// and going on, or starting again, could make it vote twice. It stays so until an operator has
    /// looked.
    #[must_use]
    pub(crate) fn is_halted(&self) -> bool {
        self.metrics.node_safety_failure.get() != 0
    }

    /// Stops the engine in good order. Being killed instead loses nothing: every vote was durable before
    /// it was sent.
    pub(crate) async fn stop(&self) {
        for actor in self.actors.iter() {
            // The supervisor takes the end of an actor that it watches for a failure.
            actor.unlink(self.node.get_cell());
            if actor.stop_and_wait(None, Some(STOP_TIMEOUT)).await.is_err() {
                actor.kill();
            }
        }
        self.node.stop(None);
    }
}

/// The nodes of all members but this one.
fn peers(transport: Transport, addresses: &[PeerAddress], me: MemberId) -> Result<Vec<Peer>, ConsensusError> {
    addresses.iter().filter(|peer| peer.member != me).map(|peer| address::peer(transport, peer)).collect()
}

/// Writes the engine's metrics in the text format of Prometheus, each labelled with the node's moniker.
pub(crate) fn export_metrics(into: &mut String) {
    arc_malachitebft_app::metrics::export(into);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_never_share_a_name() {
        let (here, there) = (StreamNames::new().expect("random"), StreamNames::new().expect("random"));
        let names = [here.take(), here.take(), there.take(), there.take()];
        assert!(names.iter().enumerate().all(|(at, name)| !names[..at].contains(name)));
    }
}
