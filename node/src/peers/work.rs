//! What follows from the state, done in each turn of the loop: close, let in again, dial,
//! send, decode, read.
//!
//! *Invariants.* Nothing here waits. Work of more than a millisecond goes to the blocking
//! pool, and at most so much of it at once as `bounds` says.
//!
//! *Deliberately absent:* an order of peers by merit; they take turns.

use std::net::SocketAddr;

use libp2p::PeerId;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use tokio::task::JoinError;
use tokio::time::Instant;

use super::bounds::{ADDRESSES_MAX, DECODERS_MAX, LOG_BYTES_MAX, LOG_READERS_MAX};
use super::events::fail_dial;
use super::frame::Frame;
use super::mailbox::{Answer, Raw};
use super::network::multiaddr;
use super::task::{Done, Peer, Task};
use super::wire::{self, Kind, WireError};
use crate::replicas::message::{Request, Response};
use crate::store::{self, StoreError};

impl Task {
    /// Does whatever can be done now.
    pub(super) fn work(&mut self, now: Instant) {
        self.close_silent(now);
        self.forget_gone();
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.return_or_dial(id, now);
            self.send_asks(id);
            self.send_answers(id);
            self.read_log(id);
        }
        self.decode();
    }

    /// When something is due that no event announces.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let silence = self.around.timing.silence;
        let due = |peer: &Peer| {
            let silent = peer.connections.values().map(|connection| connection.heard + silence).min();
            let dial = peer.dialling.due().filter(|_| peer.wants_dial());
            [silent, peer.standing.away_until(), dial].into_iter().flatten().min()
        };
        self.peers.values().filter_map(due).min()
    }

    fn close_silent(&mut self, now: Instant) {
        let silence = self.around.timing.silence;
        let mut silent: Vec<(PeerId, ConnectionId, Instant)> = Vec::new();
        for (id, peer) in &self.peers {
            let late = peer.connections.iter().filter(|(_, connection)| now >= connection.heard + silence);
            silent.extend(late.map(|(connection, since)| (*id, *connection, since.since)));
        }
        for (id, connection, since) in silent {
            self.swarm.close_connection(connection);
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            tracing::info!(member = %peer.member, "a peer is silent");
            peer.connections.remove(&connection);
            if peer.connections.is_empty() {
                self.lost(id, since);
            }
        }
    }

    fn return_or_dial(&mut self, id: PeerId, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.standing.returns(now) {
            self.readmit(id);
        }
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.wants_dial()) else { return };
        if peer.dialling.due().is_some_and(|due| due <= now) {
            peer.dialling.begin();
            let address = peer.address.clone();
            self.jobs.spawn(async move { Done::Lookup { peer: id, result: look_up(&address).await } });
        }
    }

    fn dial(&mut self, id: PeerId, result: std::io::Result<Vec<SocketAddr>>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let addresses = match result {
            Ok(addresses) => addresses,
            Err(error) => return fail_dial(peer, &error, self.around.timing),
        };
        if !peer.wants_dial() {
            return peer.dialling.end();
        }
        let addresses = addresses.into_iter().map(|address| multiaddr(address, self.around.transport));
        // From a port of its own: the listener's would meet old connections' remains there.
        let options = DialOpts::peer_id(id)
            .addresses(addresses.collect())
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .allocate_new_port()
            .build();
        if let Err(error) = self.swarm.dial(options) {
            self.dial_failed(id, &error);
        }
    }

    fn send_asks(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.link.is_up()) else { return };
        while let Some((ticket, request)) = peer.mail.next_ask() {
            match wire::request_bytes(&request) {
                Ok(bytes) => {
                    let entries = if let Request::Push(entries) = &request { entries.len() } else { 0 };
                    self.around.metrics.sent(bytes.len(), entries);
                    let exchange = &mut self.swarm.behaviour_mut().exchange;
                    let sent = exchange.send_request(&id, Frame::Whole(bytes));
                    peer.mail.sent(sent, ticket, Kind::of(&request));
                }
                Err(error) => {
                    tracing::error!(member = %peer.member, %error, "a request too large to send");
                    peer.mail.fail(ticket, true);
                }
            }
        }
    }

    fn send_answers(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.link.is_up()) else { return };
        while let Some((request, channel, answer)) = peer.mail.next_answer() {
            let encoded = match answer {
                Answer::Sealed(bytes, entries) => Ok((bytes, entries)),
                Answer::Message(response) => {
                    let entries = if let Response::Entries(entries) = &response { entries.len() } else { 0 };
                    wire::response_bytes(&response).map(|bytes| (bytes, entries))
                }
            };
            match encoded {
                Ok((bytes, entries)) => {
                    let len = bytes.len();
                    let exchange = &mut self.swarm.behaviour_mut().exchange;
                    match exchange.send_response(channel, Frame::Whole(bytes)) {
                        Ok(()) => self.around.metrics.sent(len, entries),
                        // Nobody waits for it any more.
                        Err(_) => {
                            peer.mail.request_ended(request);
                        }
                    }
                }
                Err(error) => {
                    tracing::error!(member = %peer.member, %error, "an answer too large to send");
                    peer.mail.request_ended(request);
                }
            }
        }
    }

    fn read_log(&mut self, id: PeerId) {
        if self.reading >= LOG_READERS_MAX {
            return;
        }
        let Some((request, from)) = self.peers.get_mut(&id).and_then(|peer| peer.mail.next_log()) else {
            return;
        };
        self.reading += 1;
        let log = self.around.log.clone();
        self.jobs.spawn_blocking(move || {
            let answer = sealed_from(&log, from);
            let answer = answer.inspect_err(|error| tracing::error!(%error, from, "cannot read the log"));
            Done::Log { peer: id, id: request, answer: answer.ok() }
        });
    }

    fn decode(&mut self) {
        while self.decoding < DECODERS_MAX {
            let Some(id) = self.next_after(self.decoded, |peer| peer.mail.has_raw()) else { return };
            self.decoded = Some(id);
            let Some(raw) = self.peers.get_mut(&id).and_then(|peer| peer.mail.next_raw()) else { return };
            self.decoding += 1;
            let network = self.around.network;
            self.jobs.spawn_blocking(move || match raw {
                Raw::Request { id: request, bytes } => {
                    let len = bytes.len();
                    let result = wire::request(bytes, network);
                    Done::Request { peer: id, id: request, bytes: len, result }
                }
                Raw::Response { ticket, asked, bytes } => {
                    let len = bytes.len();
                    let result = wire::response(bytes, network, asked);
                    Done::Response { peer: id, ticket, bytes: len, result }
                }
            });
        }
    }
}

/// What was done beside the loop.
impl Task {
    /// Gives whether the port goes on.
    pub(super) fn on_done(&mut self, done: Result<Done, JoinError>) -> bool {
        match done {
            Ok(Done::Lookup { peer, result }) => self.dial(peer, result),
            Ok(Done::Request { peer, id, bytes, result }) => {
                self.decoding -= 1;
                let metrics = &self.around.metrics;
                let Some(known) = self.peers.get_mut(&peer) else { return true };
                known.mail.decoded();
                let result = result.map(|request| {
                    if let Request::Push(entries) = &request {
                        metrics.received(entries.len());
                    }
                    known.mail.request_decoded(id, request, bytes)
                });
                if !matches!(result, Ok(true)) {
                    metrics.release(bytes);
                }
                self.judge(peer, result.map(drop));
            }
            Ok(Done::Response { peer, ticket, bytes, result }) => {
                self.decoding -= 1;
                let metrics = &self.around.metrics;
                let Some(known) = self.peers.get_mut(&peer) else { return true };
                known.mail.decoded();
                if let Ok(Response::Entries(entries)) = &result {
                    metrics.received(entries.len());
                }
                let (response, error) = match result {
                    Ok(response) => (Some(response), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                known.mail.response_decoded(ticket, response, bytes);
                self.judge(peer, error);
            }
            Ok(Done::Log { peer, id, answer }) => {
                self.reading -= 1;
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.mail.log_read(id, answer);
                }
            }
            Err(error) => {
                tracing::error!(%error, "the peer port's work panicked");
                return false;
            }
        }
        true
    }

    fn judge(&mut self, peer: PeerId, result: Result<(), WireError>) {
        if let Err(error) = result {
            self.cut_off(peer, &error);
        }
    }
}

impl Peer {
    fn wants_dial(&self) -> bool {
        self.connections.is_empty() && !self.leaving && self.standing.away_until().is_none()
    }
}

async fn look_up(address: &str) -> std::io::Result<Vec<SocketAddr>> {
    let found = tokio::net::lookup_host(address).await?;
    Ok(found.take(ADDRESSES_MAX).collect())
}

/// Why the log could not be read for a peer.
#[derive(Debug, thiserror::Error)]
enum LogError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// The sealed entries from an index on, as many as [`LOG_BYTES_MAX`] takes.
fn sealed_from(log: &store::Reader, from: u64) -> Result<Answer, LogError> {
    let (mut entries, mut bytes, mut next) = (Vec::new(), 0_usize, Some(from));
    while let Some(index) = next {
        let Some(entry) = log.entry_at(index)? else { break };
        bytes += entry.bytes.len();
        if bytes > LOG_BYTES_MAX {
            break;
        }
        entries.push(entry.bytes);
        // The peer may have named the last index there is.
        next = index.checked_add(1);
    }
    Ok(Answer::Sealed(wire::sealed_bytes(&entries)?, entries.len()))
}
