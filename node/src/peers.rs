//! The peer port: a libp2p swarm between this node and the nodes of the other members.
//!
//! ```text
//!            Handle (ask, answer, admit, stop)
//!  core ───────────────────────────────────────▶ task ◀──▶ swarm ◀──▶ peers
//!    ▲                                            │ ▲
//!    └──────── PeerEvent (EVENTS_MAX) ────────────┘ └─▶ blocking pool: decode and verify
//!                                                       (DECODERS_MAX), read the log
//! ```
//!
//! [`start`] returns once the port listens. Peers are the ones it is given, known by their
//! transport keys; [`Handle::admit`] replaces them. Each is dialled until it is connected.
//!
//! *Invariants.* Nothing reaches the core that was not decoded and verified whole. Whoever
//! sends what no node sends is cut off, and kept away for a time that grows. When the core
//! takes nothing, nothing more is read; what was read waits. Each ask gets one
//! [`PeerEvent::Response`]. What a peer can make this node hold is bounded, and so is the
//! number of peers (the figures stand in `bounds`).
//!
//! *Deliberately absent:* rules. Who holds what, and what to push or fetch, is decided in
//! `replicas`; who is a member, in the ledger.

mod bounds;
mod events;
mod frame;
mod mailbox;
mod network;
mod standing;
mod task;
#[cfg(test)]
mod tests;
mod wire;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use libp2p::PeerId;
use libp2p::identity::{self, Keypair};
use syngraph_protocol::ids::{MemberId, NetworkId, PublicKey};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::bounds::{ADDRESS_BYTES_MAX, ASKS_IN_FLIGHT_MAX, ASKS_WAITING_MAX, EVENTS_MAX, PEERS_MAX, Timing};
use self::task::{Command, Task};
use crate::replicas::message::{PeerEvent, Peers, Request, Response, Ticket};
use crate::store;
use crate::telemetry::PeerMetrics;

/// What peers speak through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// TCP, Noise, Yamux.
    Tcp,
    /// QUIC version 1, over UDP.
    Quic,
}

/// Where a member's node is, and how it proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerAddress {
    /// The member.
    pub(crate) member: MemberId,
    /// Its node's transport key.
    pub(crate) transport: PublicKey,
    /// `host:port`; the host is an IPv4 address, an IPv6 address in brackets, or a name,
    /// which is looked up before each dial.
    pub(crate) address: String,
}

/// What the port needs. Not printable: it holds a secret.
pub(crate) struct Settings {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Through what, with every peer.
    pub(crate) transport: Transport,
    /// The network: nodes of another are cut off.
    pub(crate) network: NetworkId,
    /// Seed of this node's transport key.
    pub(crate) seed: [u8; 32],
    /// The member that runs this node.
    pub(crate) me: MemberId,
    /// The other members' nodes; this node's own entry is passed over.
    pub(crate) peers: Vec<PeerAddress>,
    /// Sealed entries, for peers that ask for the log.
    pub(crate) log: store::Reader,
    /// Where to count.
    pub(crate) metrics: PeerMetrics,
}

/// A running port.
pub(crate) struct Started {
    /// The handle.
    pub(crate) peers: Handle,
    /// What happens. When the receiver is dropped, the port ends.
    pub(crate) events: mpsc::Receiver<PeerEvent>,
    /// Where it listens: the port, since the system chooses it for tests.
    #[cfg(test)]
    pub(crate) address: SocketAddr,
    /// Resolves when the port has ended: asked to, since the core is gone, or because the
    /// system took its listener away.
    pub(crate) ended: JoinHandle<()>,
}

/// Why the port cannot start, or cannot have these peers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PeersError {
    /// `PEER-LISTEN`: the port is taken, or the address is not this machine's.
    #[error("cannot listen for peers on {address}: {reason}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// `PEER-START`: a part of the library did not start.
    #[error("the peer port's {part} does not start: {reason}")]
    Start {
        /// Which.
        part: &'static str,
        /// What it said.
        reason: String,
    },
    /// `PEER-ADDRESS`: not `host:port`.
    #[error(
        "the address {address:?} of member {member} is not like \"10.0.0.2:8442\" or \"node.example:8442\""
    )]
    Address {
        /// Whose.
        member: MemberId,
        /// The text, cut to what an address may be.
        address: String,
    },
    /// `PEER-KEY`: no key of a node.
    #[error("the transport key {key} of member {member} is no public key")]
    Key {
        /// Whose.
        member: MemberId,
        /// The bytes.
        key: PublicKey,
    },
    /// `PEER-TWICE`: a member or a key stands there twice.
    #[error("member {member} or its transport key is listed twice")]
    Twice {
        /// Whose.
        member: MemberId,
    },
    /// `PEER-COUNT`: more peers than a consortium has members.
    #[error("{got} peers are more than the {max} allowed")]
    Count {
        /// How many are given.
        got: usize,
        /// How many are allowed.
        max: usize,
    },
}

impl PeersError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub(crate) const fn rule(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "PEER-LISTEN",
            Self::Start { .. } => "PEER-START",
            Self::Address { .. } => "PEER-ADDRESS",
            Self::Key { .. } => "PEER-KEY",
            Self::Twice { .. } => "PEER-TWICE",
            Self::Count { .. } => "PEER-COUNT",
        }
    }

    fn listen(address: SocketAddr, reason: impl ToString) -> Self {
        Self::Listen { address, reason: reason.to_string() }
    }

    fn start(part: &'static str, reason: impl ToString) -> Self {
        Self::Start { part, reason: reason.to_string() }
    }
}

/// A peer as the task knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contact {
    member: MemberId,
    id: PeerId,
    address: String,
}

/// The peers of a list, checked, without this node itself.
fn contacts(list: Vec<PeerAddress>, me: MemberId) -> Result<Vec<Contact>, PeersError> {
    if list.len() > PEERS_MAX {
        return Err(PeersError::Count { got: list.len(), max: PEERS_MAX });
    }
    let (mut members, mut keys) = (BTreeSet::new(), BTreeSet::new());
    let mut contacts = Vec::with_capacity(list.len());
    for PeerAddress { member, transport, address } in list {
        if !members.insert(member) || !keys.insert(transport) {
            return Err(PeersError::Twice { member });
        }
        if !is_address(&address) {
            let address = address.chars().take(ADDRESS_BYTES_MAX).collect();
            return Err(PeersError::Address { member, address });
        }
        let key = identity::ed25519::PublicKey::try_from_bytes(transport.as_bytes())
            .map_err(|_| PeersError::Key { member, key: transport })?;
        if member != me {
            contacts.push(Contact { member, id: identity::PublicKey::from(key).to_peer_id(), address });
        }
    }
    Ok(contacts)
}

fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(six) => six.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(plain),
    };
    text.len() <= ADDRESS_BYTES_MAX && is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// How many asks each member has before it or waiting. The handle counts them in and the
/// task counts them out, so that what the core has asked for is bounded at the source.
#[derive(Debug, Default)]
struct Accounts(Mutex<BTreeMap<MemberId, usize>>);

impl Accounts {
    fn with<T>(&self, change: impl FnOnce(&mut BTreeMap<MemberId, usize>) -> T) -> T {
        // Each change is whole after one statement.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn claim(&self, member: MemberId) -> bool {
        self.with(|counts| {
            let count = counts.entry(member).or_default();
            let has_room = *count < ASKS_IN_FLIGHT_MAX + ASKS_WAITING_MAX;
            *count += usize::from(has_room);
            has_room
        })
    }

    fn release(&self, member: MemberId) {
        self.with(|counts| match counts.get_mut(&member) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                counts.remove(&member);
            }
        });
    }
}

/// The way to the port. Clones are the same port, which ends when all are dropped.
///
/// No call waits. The channel behind has no bound of its own and needs none: asks are
/// counted per member, answers are as many as there are requests, and an ask beyond the
/// bound carries nothing but its ticket.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    me: MemberId,
    commands: mpsc::UnboundedSender<Command>,
    accounts: Arc<Accounts>,
}

impl Handle {
    /// Replaces the peers. Who is no longer among them is disconnected.
    ///
    /// # Errors
    /// `PEER-ADDRESS`, `PEER-KEY`, `PEER-TWICE`, `PEER-COUNT`; nothing changes then.
    pub(crate) fn admit(&self, peers: Vec<PeerAddress>) -> Result<(), PeersError> {
        let contacts = contacts(peers, self.me)?;
        self.send(Command::Admit(contacts));
        Ok(())
    }

    /// Ends the port; see [`Started::ended`].
    pub(crate) fn stop(&self) {
        self.send(Command::Stop);
    }

    fn send(&self, command: Command) {
        // The port has ended: so have all exchanges, and whoever asks is about to.
        self.commands.send(command).ok();
    }
}

impl Peers for Handle {
    fn ask(&mut self, to: MemberId, ticket: Ticket, request: Request) {
        self.send(if self.accounts.claim(to) {
            Command::Ask { to, ticket, request }
        } else {
            Command::Refuse { to, ticket }
        });
    }

    fn answer(&mut self, to: MemberId, ticket: Ticket, response: Response) {
        self.send(Command::Answer { to, ticket, response });
    }
}

/// Starts the port. It listens when this returns.
///
/// # Errors
/// [`PeersError`]; nothing is left running then.
pub(crate) async fn start(settings: Settings) -> Result<Started, PeersError> {
    start_with(settings, Timing::default()).await
}

async fn start_with(settings: Settings, timing: Timing) -> Result<Started, PeersError> {
    let Settings { listen, transport, network, seed, me, peers, log, metrics } = settings;
    let contacts = contacts(peers, me)?;
    let keys = Keypair::ed25519_from_bytes(seed).map_err(|error| PeersError::start("key", error))?;
    let (swarm, address) = network::listen(listen, transport, &keys, network, timing).await?;
    tracing::info!(%address, peers = contacts.len(), "listening for peers");
    let (commands, orders) = mpsc::unbounded_channel();
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    let accounts = Arc::<Accounts>::default();
    let surroundings = task::Surroundings {
        transport,
        network,
        timing,
        log,
        metrics,
        accounts: accounts.clone(),
        events: sender,
        commands: orders,
    };
    let task = Task::new(swarm, surroundings, contacts);
    let ended = tokio::spawn(task.run());
    Ok(Started {
        peers: Handle { me, commands, accounts },
        events,
        #[cfg(test)]
        address,
        ended,
    })
}
