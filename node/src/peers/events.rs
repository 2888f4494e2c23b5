//! What the swarm reports, and what that means for a peer.
//!
//! *Invariants.* A peer is up from its first sign of life to the end of its last connection,
//! whichever side dialled and however many connections there are. One that sends what no node sends is down from that moment on, whatever its connections still
//! say.
//!
//! *Deliberately absent:* anything that is done later than at once (`work`).

use libp2p::PeerId;
use libp2p::core::ConnectedPoint;
use libp2p::request_response::{self, Message, OutboundFailure};
use libp2p::swarm::{ConnectionId, DialError, ListenError, SwarmEvent};
use tokio::time::Instant;

use super::bounds::Timing;
use super::frame::Frame;
use super::network::{BehaviourEvent, protocol};
use super::task::{Connection, Peer, Task};
use super::wire::WireError;

type Exchange = request_response::Event<Frame, Frame>;

/// A number for jitter; without randomness all peers just dial at the same pace.
fn jitter() -> u8 {
    let mut byte = [0];
    getrandom::fill(&mut byte).ok();
    byte[0]
}

impl Task {
    /// Gives whether the port goes on.
    pub(super) fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) -> bool {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Exchange(event)) => self.on_exchange(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) if event.result.is_ok() => {
                self.heard(event.peer, event.connection);
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => {
                self.disconnected(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                self.dial_failed(peer, &error);
            }
            SwarmEvent::IncomingConnectionError {
                error: ListenError::Denied { cause },
                send_back_addr,
                ..
            } => {
                self.around.metrics.refused.inc();
                tracing::debug!(from = %send_back_addr, %cause, "refused a connection");
            }
            SwarmEvent::ListenerClosed { reason, .. } => {
                tracing::error!(?reason, "the peer port's listener is gone");
                return false;
            }
            _ => {}
        }
        true
    }

    fn on_exchange(&mut self, event: Exchange) {
        match event {
            Exchange::Message { peer, connection_id, message } => {
                self.heard(peer, connection_id);
                self.on_message(peer, message);
            }
            Exchange::OutboundFailure { peer, request_id, error, .. } => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.mail.response_failed(request_id);
                }
                if matches!(error, OutboundFailure::UnsupportedProtocols) {
                    let protocol = protocol(self.around.network).to_string();
                    self.cut_off(peer, &WireError::Protocol { protocol });
                }
            }
            Exchange::InboundFailure { peer, request_id, .. }
            | Exchange::ResponseSent { peer, request_id, .. } => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    self.around.metrics.release(peer.mail.request_ended(request_id));
                }
            }
        }
    }

    fn on_message(&mut self, id: PeerId, message: Message<Frame, Frame>) {
        let metrics = &self.around.metrics;
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.link.is_up()) else {
            // What a peer said before it was cut off; its ask must still come to an end.
            if let (Message::Response { request_id, .. }, Some(peer)) = (message, self.peers.get_mut(&id)) {
                peer.mail.response_failed(request_id);
            }
            return;
        };
        let frame = match message {
            Message::Request { request_id, request: Frame::Whole(bytes), channel } => {
                let len = bytes.len();
                metrics.came(len);
                if let Some(freed) = peer.mail.request_came(request_id, channel, bytes) {
                    metrics.release(freed);
                    metrics.hold(len);
                }
                return;
            }
            Message::Response { request_id, response: Frame::Whole(bytes) } => {
                let len = bytes.len();
                metrics.came(len);
                if peer.mail.response_came(request_id, bytes) {
                    metrics.hold(len);
                }
                return;
            }
            Message::Request { request, .. } => request,
            Message::Response { request_id, response } => {
                peer.mail.response_failed(request_id);
                response
            }
        };
        if let Frame::Refused(error) = frame {
            self.cut_off(id, &error.into());
        }
    }

    /// A sign of life. The first says that the peer has let this node in; a connection alone
    /// does not, since it stands before the other side has looked at who is there.
    fn heard(&mut self, peer: PeerId, connection: ConnectionId) {
        let Some(peer) = self.peers.get_mut(&peer) else { return };
        let Some(connection) = peer.connections.get_mut(&connection) else { return };
        connection.heard = Instant::now();
        if !peer.link.is_up() {
            peer.link.rise();
            self.around.metrics.connected.inc();
            tracing::info!(member = %peer.member, "connected to a peer");
        }
    }
}

/// Coming and going.
impl Task {
    fn connected(&mut self, id: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let now = Instant::now();
        let Some(peer) = self.peers.get_mut(&id) else {
            // It was let in, and left the list while it shook hands.
            self.swarm.close_connection(connection);
            return;
        };
        if endpoint.is_dialer() {
            peer.dialling.end();
        }
        if peer.leaving || peer.standing.away_until().is_some() {
            self.swarm.close_connection(connection);
            return;
        }
        peer.connections.insert(connection, Connection { since: now, heard: now });
    }

    fn disconnected(&mut self, id: PeerId, connection: ConnectionId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(connection) = peer.connections.remove(&connection) else { return };
        if peer.connections.is_empty() {
            self.lost(id, connection.since);
        }
    }

    /// The last connection of a peer is gone.
    pub(super) fn lost(&mut self, id: PeerId, since: Instant) {
        let now = Instant::now();
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.dialling.lost(now, now.saturating_duration_since(since), jitter(), &self.around.timing);
        self.down(id);
    }

    fn down(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.link.fall() {
            tracing::info!(member = %peer.member, "lost a peer");
            self.around.metrics.connected.dec();
        }
        self.around.metrics.release(peer.mail.forget_requests());
        peer.mail.fail_waiting();
    }

    /// Ends all connections with a peer and lets in no other.
    pub(super) fn disconnect(&mut self, id: PeerId) {
        self.swarm.behaviour_mut().allowed.disallow_peer(id);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.connections.clear();
        }
        self.down(id);
    }

    /// A peer has sent what no node sends.
    pub(super) fn cut_off(&mut self, id: PeerId, error: &WireError) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.leaving || peer.standing.away_until().is_some() {
            return;
        }
        let away = peer.standing.offend(Instant::now(), &self.around.timing);
        let (member, rule) = (peer.member, error.rule());
        tracing::warn!(%member, rule, %error, away_ms = away.as_millis(), "cut off a peer");
        self.around.metrics.cut_off(rule);
        self.disconnect(id);
    }

    pub(super) fn dial_failed(&mut self, id: PeerId, error: &DialError) {
        if let Some(peer) = self.peers.get_mut(&id) {
            fail_dial(peer, error, self.around.timing);
        }
    }
}

/// Notes that a peer was not reached: its name is unknown, nobody answers at its address, or
/// another node does.
pub(super) fn fail_dial(peer: &mut Peer, error: &dyn std::fmt::Display, timing: Timing) {
    peer.dialling.fail(Instant::now(), jitter(), &timing);
    let (member, address) = (peer.member, &peer.address);
    if peer.dialling.is_worth_telling() {
        tracing::warn!(%member, %address, %error, "cannot reach a peer; this node goes on trying");
    } else {
        tracing::debug!(%member, %address, %error, "no connection to a peer");
    }
}
