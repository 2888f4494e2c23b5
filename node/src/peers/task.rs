//! The one task that owns the swarm: what it knows of each peer, and its loop.
//!
//! *Invariants.* The loop never waits for the core or for work: it waits for whatever
//! happens first. Peers are served in turn.
//!
//! *Deliberately absent:* what the swarm's events mean (`events`) and what follows from the
//! state (`work`).

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::request_response::InboundRequestId;
use libp2p::swarm::ConnectionId;
use libp2p::{PeerId, Swarm};
use syngraph_protocol::ids::{MemberId, NetworkId};
use tokio::sync::mpsc::{self, Permit};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::bounds::Timing;
use super::mailbox::{Answer, Mailbox, Ready};
use super::network::Behaviour;
use super::standing::{Dialling, Link, News, Standing};
use super::wire::WireError;
use super::{Accounts, Contact, Transport};
use crate::replicas::message::{PeerEvent, Request, Response, Ticket};
use crate::store;
use crate::telemetry::PeerMetrics;

/// How long the loop sleeps when nothing is due.
const IDLE: Duration = Duration::from_secs(60);

/// How late the loop wakes up when this node has been kept from running.
const STALL: Duration = Duration::from_secs(1);

/// What the handle says.
#[derive(Debug)]
pub(super) enum Command {
    Ask {
        to: MemberId,
        ticket: Ticket,
        request: Request,
    },
    /// An ask beyond the member's bound.
    Refuse {
        to: MemberId,
        ticket: Ticket,
    },
    Answer {
        to: MemberId,
        ticket: Ticket,
        response: Response,
    },
    Admit(Vec<Contact>),
    Stop,
}

/// What was done beside the loop.
pub(super) enum Done {
    Request { peer: PeerId, id: InboundRequestId, bytes: usize, result: Result<Request, WireError> },
    Response { peer: PeerId, ticket: Ticket, bytes: usize, result: Result<Response, WireError> },
    Log { peer: PeerId, id: InboundRequestId, answer: Option<Answer> },
    Lookup { peer: PeerId, result: std::io::Result<Vec<SocketAddr>> },
}

/// A connection with a peer.
pub(super) struct Connection {
    pub(super) since: Instant,
    /// The last sign of life.
    pub(super) heard: Instant,
}

/// All that is known of a peer.
pub(super) struct Peer {
    pub(super) member: MemberId,
    pub(super) address: String,
    pub(super) link: Link,
    pub(super) standing: Standing,
    pub(super) dialling: Dialling,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    pub(super) mail: Mailbox,
    /// It is no longer among the peers, and is forgotten when the core has heard all of it.
    pub(super) leaving: bool,
}

/// What the task is given.
pub(super) struct Surroundings {
    pub(super) transport: Transport,
    pub(super) network: NetworkId,
    pub(super) timing: Timing,
    pub(super) log: store::Reader,
    pub(super) metrics: PeerMetrics,
    pub(super) accounts: Arc<Accounts>,
    pub(super) events: mpsc::Sender<PeerEvent>,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
}

/// See the module.
pub(super) struct Task {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) around: Surroundings,
    pub(super) peers: BTreeMap<PeerId, Peer>,
    /// Members whose earlier key is still leaving.
    successors: BTreeMap<MemberId, Contact>,
    /// Asks that come to nothing without a peer, and whether they were counted.
    refused: VecDeque<(MemberId, Ticket, bool)>,
    pub(super) jobs: JoinSet<Done>,
    pub(super) decoding: usize,
    pub(super) reading: usize,
    /// Names the requests of peers to the core.
    tickets: u64,
    /// Whose turn it was, in delivering and in decoding.
    delivered: Option<PeerId>,
    pub(super) decoded: Option<PeerId>,
}

impl Task {
    pub(super) fn new(swarm: Swarm<Behaviour>, around: Surroundings, contacts: Vec<Contact>) -> Self {
        let mut task = Self {
            swarm,
            around,
            peers: BTreeMap::new(),
            successors: BTreeMap::new(),
            refused: VecDeque::new(),
            jobs: JoinSet::new(),
            decoding: 0,
            reading: 0,
            tickets: 0,
            delivered: None,
            decoded: None,
        };
        task.admit(contacts);
        task
    }

    /// Runs until it is told to stop, the core is gone, or the listener is.
    pub(super) async fn run(mut self) {
        let events = self.around.events.clone();
        let mut due = Instant::now();
        loop {
            let now = Instant::now();
            self.excuse(now.saturating_duration_since(due));
            self.work(now);
            due = self.next_due().unwrap_or(now + IDLE);
            let has_ready = self.next_to_deliver().is_some() || !self.refused.is_empty();
            let goes_on = tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                command = self.around.commands.recv() => self.on_command(command),
                Some(done) = self.jobs.join_next() => self.on_done(done),
                permit = events.reserve(), if has_ready => match permit {
                    Ok(permit) => { self.deliver(permit); true }
                    Err(_) => false,
                },
                () = events.closed() => false,
                () = tokio::time::sleep_until(due) => true,
            };
            if !goes_on {
                break;
            }
        }
        tracing::info!("the peer port ends");
        self.around.metrics.connected.set(0);
        self.around.metrics.bytes_held.set(0);
        self.jobs.shutdown().await;
    }

    /// Time in which this node did not run counts for no peer's silence.
    fn excuse(&mut self, late: Duration) {
        if late >= STALL {
            let connections = self.peers.values_mut().flat_map(|peer| peer.connections.values_mut());
            connections.for_each(|connection| connection.heard += late);
        }
    }

    fn on_command(&mut self, command: Option<Command>) -> bool {
        match command {
            None | Some(Command::Stop) => return false,
            Some(Command::Admit(contacts)) => self.admit(contacts),
            Some(Command::Refuse { to, ticket }) => self.refused.push_back((to, ticket, false)),
            Some(Command::Ask { to, ticket, request }) => match self.peer_of(to) {
                Some(peer) if peer.link.is_up() => peer.mail.ask(ticket, request),
                Some(peer) => peer.mail.fail(ticket, false),
                None => self.refused.push_back((to, ticket, true)),
            },
            Some(Command::Answer { to, ticket, response }) => {
                if let Some(peer) = self.peer_of(to) {
                    peer.mail.answer(ticket, response);
                }
            }
        }
        true
    }

    fn peer_of(&mut self, member: MemberId) -> Option<&mut Peer> {
        self.peers.values_mut().find(|peer| peer.member == member)
    }
}

/// The list of peers.
impl Task {
    fn admit(&mut self, contacts: Vec<Contact>) {
        self.successors.clear();
        let stays = |id: &PeerId, peer: &Peer| {
            contacts.iter().any(|contact| contact.id == *id && contact.member == peer.member)
        };
        let gone = self.peers.iter().filter(|(id, peer)| !peer.leaving && !stays(id, peer));
        let gone: Vec<PeerId> = gone.map(|(id, _)| *id).collect();
        for id in gone {
            self.dismiss(id);
        }
        for contact in contacts {
            self.welcome(contact);
        }
    }

    fn dismiss(&mut self, id: PeerId) {
        self.disconnect(id);
        if let Some(peer) = self.peers.get_mut(&id) {
            tracing::info!(member = %peer.member, "no longer a peer");
            peer.leaving = true;
        }
    }

    fn welcome(&mut self, contact: Contact) {
        let now = Instant::now();
        if let Some(peer) = self.peers.get_mut(&contact.id)
            && peer.member == contact.member
        {
            peer.address = contact.address;
            if peer.leaving {
                (peer.leaving, peer.dialling) = (false, Dialling::new(now));
                self.readmit(contact.id);
            }
        } else if self.peers.contains_key(&contact.id) || self.peer_of(contact.member).is_some() {
            self.successors.insert(contact.member, contact);
        } else {
            let Contact { member, id, address } = contact;
            let peer = Peer {
                member,
                address,
                link: Link::default(),
                standing: Standing::default(),
                dialling: Dialling::new(now),
                connections: BTreeMap::new(),
                mail: Mailbox::default(),
                leaving: false,
            };
            self.peers.insert(id, peer);
            self.readmit(id);
        }
    }

    /// Lets a peer in that is neither leaving nor kept away.
    pub(super) fn readmit(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(&id) else { return };
        if !peer.leaving && peer.standing.away_until().is_none() {
            self.swarm.behaviour_mut().allowed.allow_peer(id);
        }
    }

    /// Forgets the peers that are gone, and lets in whoever waited for that.
    pub(super) fn forget_gone(&mut self) {
        let is_gone = |peer: &Peer| peer.leaving && peer.link.is_settled_down() && peer.mail.is_empty();
        if !self.peers.values().any(is_gone) {
            return;
        }
        self.peers.retain(|_, peer| !is_gone(peer));
        for contact in std::mem::take(&mut self.successors).into_values() {
            self.welcome(contact);
        }
    }
}

/// Delivery to the core.
impl Task {
    /// The next peer after the last that has something for the core.
    fn next_to_deliver(&self) -> Option<PeerId> {
        let has_any = |peer: &Peer| peer.link.has_news() || peer.mail.has_ready();
        self.next_after(self.delivered, has_any)
    }

    /// The first peer of a kind behind another one, in a circle.
    pub(super) fn next_after(&self, last: Option<PeerId>, is_one: impl Fn(&Peer) -> bool) -> Option<PeerId> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.peers.range((from, Bound::Unbounded)).chain(&self.peers);
        behind.into_iter().find(|(_, peer)| is_one(peer)).map(|(id, _)| *id)
    }

    fn deliver(&mut self, permit: Permit<'_, PeerEvent>) {
        if let Some((from, ticket, was_counted)) = self.refused.pop_front() {
            if was_counted {
                self.around.accounts.release(from);
            }
            permit.send(PeerEvent::Response { from, ticket, response: None });
            return;
        }
        let Some(id) = self.next_to_deliver() else { return };
        self.delivered = Some(id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let from = peer.member;
        match peer.link.take_news() {
            Some(News::Up) => return permit.send(PeerEvent::Up { member: from }),
            Some(News::Down) => return permit.send(PeerEvent::Down { member: from }),
            None => {}
        }
        let Some(ready) = peer.mail.take_ready() else { return };
        self.around.metrics.release(ready.len());
        permit.send(match ready {
            Ready::Request { id, request, .. } => {
                self.tickets = self.tickets.wrapping_add(1);
                let ticket = Ticket(self.tickets);
                peer.mail.asked(id, ticket);
                PeerEvent::Request { from, ticket, request }
            }
            Ready::Response { ticket, response, .. } => {
                self.around.accounts.release(from);
                PeerEvent::Response { from, ticket, response }
            }
        });
    }
}
