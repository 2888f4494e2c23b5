//! The transport and the libraries' behaviours, put together.
//!
//! *Invariants.* A connection is encrypted and its peer's key proved before anything else.
//! Whoever is not on the list is refused at that point. Streams' windows are fixed, so that
//! a connection holds a known number of bytes. A connection that is closed is gone within
//! [`Timing::goodbye`], whether the peer still reads or not.
//!
//! *Deliberately absent:* who is on the list, and why (`peer`, `task`).

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::allow_block_list::AllowedPeers;
use libp2p::connection_limits::ConnectionLimits;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent};
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::request_response::ProtocolSupport;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, Transport as _, allow_block_list, connection_limits, noise,
    ping, quic, request_response, swarm, tcp, yamux,
};
use syngraph_protocol::ids::NetworkId;
use tokio::time::Sleep;

use super::bounds::{
    CONNECTIONS_PER_PEER_MAX, DIALS_MAX, EXCHANGES_PER_CONNECTION_MAX, HANDSHAKES_MAX, NEGOTIATIONS_MAX,
    STREAMS_PER_CONNECTION_MAX, Timing,
};
use super::frame::FrameCodec;
use super::{PeersError, Transport};

/// Data of one QUIC stream that the peer may send ahead of its reader, in bytes; as in yamux.
const QUIC_STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The same of all streams of a connection.
const QUIC_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// How many streams with little to say one QUIC connection may have.
const QUIC_STREAMS_MAX: u32 = 32;

/// Everything that runs on a connection.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) limits: connection_limits::Behaviour,
    pub(super) allowed: allow_block_list::Behaviour<AllowedPeers>,
    pub(super) ping: ping::Behaviour,
    pub(super) exchange: request_response::Behaviour<FrameCodec>,
}

/// The name of the protocol that members of one network speak.
pub(super) fn protocol(network: NetworkId) -> StreamProtocol {
    let name: String = network.to_string().chars().take(16).collect();
    StreamProtocol::try_from_owned(format!("/syngraph/{name}/entries/v1")).expect("it begins with a slash")
}

impl Behaviour {
    fn new(network: NetworkId, timing: Timing) -> Self {
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(Some(HANDSHAKES_MAX))
            .with_max_pending_outgoing(Some(DIALS_MAX))
            .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX));
        // A ping that fails is followed by another; what counts is silence.
        let ping = ping::Config::new().with_interval(timing.ping).with_timeout(timing.silence);
        let exchange = request_response::Config::default()
            .with_request_timeout(timing.exchange)
            .with_max_concurrent_streams(EXCHANGES_PER_CONNECTION_MAX);
        let protocols = [(protocol(network), ProtocolSupport::Full)];
        Self {
            limits: connection_limits::Behaviour::new(limits),
            allowed: allow_block_list::Behaviour::default(),
            ping: ping::Behaviour::new(ping),
            exchange: request_response::Behaviour::with_codec(FrameCodec { timing }, protocols, exchange),
        }
    }
}

/// A swarm that listens.
///
/// # Errors
/// `PEER-LISTEN`, `PEER-START`.
pub(super) async fn listen(
    address: SocketAddr,
    transport: Transport,
    keys: &Keypair,
    network: NetworkId,
    timing: Timing,
) -> Result<(Swarm<Behaviour>, SocketAddr), PeersError> {
    is_free(address, transport).map_err(|error| PeersError::listen(address, error))?;
    let mut swarm = swarm_of(transport, keys, Behaviour::new(network, timing), timing)?;
    swarm.listen_on(multiaddr(address, transport)).map_err(|error| PeersError::listen(address, error))?;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { address: bound, .. } => {
                return Ok((swarm, socket_addr(&bound).unwrap_or(address)));
            }
            SwarmEvent::ListenerError { error, .. } => return Err(PeersError::listen(address, error)),
            SwarmEvent::ListenerClosed { reason, .. } => {
                return Err(PeersError::listen(address, format!("the listener closed: {reason:?}")));
            }
            _ => {}
        }
    }
}

/// Any behaviour over our transport.
pub(super) fn swarm_of<B: NetworkBehaviour>(
    transport: Transport,
    keys: &Keypair,
    behaviour: B,
    timing: Timing,
) -> Result<Swarm<B>, PeersError> {
    let transport = match transport {
        Transport::Tcp => over_tcp(keys, timing)?,
        Transport::Quic => over_quic(keys, timing),
    };
    let config = swarm::Config::with_tokio_executor()
        // Silence ends a connection, idleness does not.
        .with_idle_connection_timeout(Duration::from_secs(u64::MAX))
        .with_max_negotiating_inbound_streams(NEGOTIATIONS_MAX);
    Ok(Swarm::new(transport, behaviour, keys.public().to_peer_id(), config))
}

/// The library lets several listeners share a port, and connections would be dealt out
/// among them.
fn is_free(address: SocketAddr, transport: Transport) -> io::Result<()> {
    match transport {
        Transport::Tcp => TcpListener::bind(address).map(drop),
        Transport::Quic => UdpSocket::bind(address).map(drop),
    }
}

fn over_tcp(keys: &Keypair, timing: Timing) -> Result<Boxed<(PeerId, StreamMuxerBox)>, PeersError> {
    let noise = noise::Config::new(keys).map_err(|error| PeersError::start("noise", error))?;
    // A limit of streams also selects fixed windows of 256 KiB; without it they grow, to a
    // gigabyte for each connection.
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(STREAMS_PER_CONNECTION_MAX);
    let transport = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux)
        .timeout(timing.handshake);
    let boxed = move |(peer, muxer), _| (peer, StreamMuxerBox::new(Hurried::new(muxer, timing.goodbye)));
    Ok(transport.map(boxed).boxed())
}

fn over_quic(keys: &Keypair, timing: Timing) -> Boxed<(PeerId, StreamMuxerBox)> {
    let mut config = quic::Config::new(keys);
    config.handshake_timeout = timing.handshake;
    config.max_concurrent_stream_limit = QUIC_STREAMS_MAX;
    config.max_stream_data = QUIC_STREAM_WINDOW_BYTES;
    config.max_connection_data = QUIC_WINDOW_BYTES;
    let boxed = move |(peer, muxer), _| (peer, StreamMuxerBox::new(Hurried::new(muxer, timing.goodbye)));
    quic::tokio::Transport::new(config).map(boxed).boxed()
}

/// How libp2p writes an address.
pub(super) fn multiaddr(address: SocketAddr, transport: Transport) -> Multiaddr {
    let base = Multiaddr::from(address.ip());
    match transport {
        Transport::Tcp => base.with(Protocol::Tcp(address.port())),
        Transport::Quic => base.with(Protocol::Udp(address.port())).with(Protocol::QuicV1),
    }
}

fn socket_addr(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

/// A connection that says goodbye for a limited time. The library counts a connection until
/// its last byte is written, which on a dead path takes the system a quarter of an hour.
struct Hurried<M> {
    muxer: M,
    goodbye: Duration,
    closing: Option<Pin<Box<Sleep>>>,
}

impl<M> Hurried<M> {
    const fn new(muxer: M, goodbye: Duration) -> Self {
        Self { muxer, goodbye, closing: None }
    }
}

impl<M: StreamMuxer + Unpin> StreamMuxer for Hurried<M> {
    type Substream = M::Substream;
    type Error = M::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        Pin::new(&mut self.muxer).poll_inbound(cx)
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        Pin::new(&mut self.muxer).poll_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if let Poll::Ready(result) = Pin::new(&mut self.muxer).poll_close(cx) {
            return Poll::Ready(result);
        }
        let goodbye = self.goodbye;
        let closing = self.closing.get_or_insert_with(|| Box::pin(tokio::time::sleep(goodbye)));
        ready!(closing.as_mut().poll(cx));
        Poll::Ready(Ok(()))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.muxer).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_written_as_the_library_does() {
        let four: SocketAddr = "10.0.0.2:8442".parse().expect("an address");
        assert_eq!(multiaddr(four, Transport::Tcp).to_string(), "/ip4/10.0.0.2/tcp/8442");
        let six: SocketAddr = "[::1]:8442".parse().expect("an address");
        let quic = multiaddr(six, Transport::Quic);
        assert_eq!(quic.to_string(), "/ip6/::1/udp/8442/quic-v1");
        assert_eq!(socket_addr(&quic), Some(six));
        let network = NetworkId::from_bytes([0xab; 32]);
        assert_eq!(protocol(network).as_ref(), "/syngraph/abababababababab/entries/v1");
    }
}
