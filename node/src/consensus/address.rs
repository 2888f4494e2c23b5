//! Where members' nodes are, and who they are on the consensus port.
//!
//! *Invariants.* An address always names its peer, so that whoever else answers there is cut off.
//!
//! *Deliberately absent:* resolving names; the engine does so each time it dials.

use std::net::{IpAddr, SocketAddr};

use arc_malachitebft_app::net::Multiaddr;
use arc_malachitebft_app::types::PeerId;
use syngraph_protocol::ids::{MemberId, PublicKey};

use super::engine::ConsensusError;

/// Longest name of a host, in bytes (RFC 1035 §2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// What carries the messages of the consensus port; the same on all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Transport {
    /// TCP with Noise and Yamux.
    #[default]
    Tcp,
    /// QUIC over UDP.
    Quic,
}

impl Transport {
    fn port(self, port: u16) -> String {
        match self {
            Self::Tcp => format!("tcp/{port}"),
            Self::Quic => format!("udp/{port}/quic-v1"),
        }
    }
}

/// The node of another member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerAddress {
    /// Who runs it.
    pub(crate) member: MemberId,
    /// The key that it proves when it connects.
    pub(crate) transport: PublicKey,
    /// `host:port` of its consensus port; the host is a name or an IP address, IPv6 in brackets.
    pub(crate) address: String,
}

/// A peer as the engine names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) member: MemberId,
    pub(super) id: PeerId,
    pub(super) address: Multiaddr,
}

/// Where to listen.
pub(super) fn listen_address(transport: Transport, listen: SocketAddr) -> Result<Multiaddr, ConsensusError> {
    multiaddress(&listen.to_string(), &format!("{}/{}", ip(listen.ip()), transport.port(listen.port())))
}

/// Whom to let in, and where to find them.
pub(super) fn peer(transport: Transport, peer: &PeerAddress) -> Result<Peer, ConsensusError> {
    let refused =
        |reason: &str| ConsensusError::Address { address: peer.address.clone(), reason: reason.to_owned() };
    let key = libp2p_identity::ed25519::PublicKey::try_from_bytes(peer.transport.as_bytes())
        .map_err(|_| refused("the transport key of the peer is not an Ed25519 key"))?;
    let id = libp2p_identity::PublicKey::from(key).to_peer_id();
    let (host, port) = host_and_port(&peer.address).map_err(refused)?;
    let address = multiaddress(&peer.address, &format!("{host}/{}/p2p/{id}", transport.port(port)))?;
    let id = PeerId::from_bytes(&id.to_bytes()).map_err(|_| refused("the peer has no id"))?;
    Ok(Peer { member: peer.member, id, address })
}

fn multiaddress(given: &str, text: &str) -> Result<Multiaddr, ConsensusError> {
    let refused = |e| ConsensusError::Address { address: given.to_owned(), reason: format!("{e}") };
    format!("/{text}").parse().map_err(refused)
}

fn ip(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("ip4/{ip}"),
        IpAddr::V6(ip) => format!("ip6/{ip}"),
    }
}

fn host_and_port(address: &str) -> Result<(String, u16), &'static str> {
    let (host, port) = match address.parse::<SocketAddr>() {
        Ok(address) => (ip(address.ip()), address.port()),
        Err(_) => {
            let (host, port) = address.rsplit_once(':').ok_or("it has no port")?;
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
            if host.is_empty() || host.len() > HOST_BYTES_MAX || !host.bytes().all(is_plain) {
                return Err("it has no host");
            }
            (format!("dns/{host}"), port.parse().map_err(|_| "its port is not a number up to 65535")?)
        }
    };
    if port == 0 { Err("nobody answers on port 0") } else { Ok((host, port)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::tests::{peer as peer_id, peer_address};

    #[test]
    fn plain_addresses_become_the_engines_with_the_peers_id() {
        let id = peer_id(2);
        for (transport, plain, expected) in [
            (Transport::Tcp, "10.0.0.2:8441", "/ip4/10.0.0.2/tcp/8441"),
            (Transport::Quic, "10.0.0.2:8441", "/ip4/10.0.0.2/udp/8441/quic-v1"),
            (Transport::Tcp, "[2001:db8::7]:1", "/ip6/2001:db8::7/tcp/1"),
            (Transport::Tcp, "node.birch.example:8441", "/dns/node.birch.example/tcp/8441"),
            (Transport::Quic, "localhost:8441", "/dns/localhost/udp/8441/quic-v1"),
        ] {
            let peer = peer(transport, &peer_address(2, plain)).expect("an address");
            assert_eq!(peer.address.to_string(), format!("{expected}/p2p/{id}"));
            assert_eq!((peer.member, peer.id), (MemberId::new(2), id));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}:1", "a".repeat(HOST_BYTES_MAX + 1));
        for plain in
            ["", "8441", ":8441", "host", "host:", "host:65536", "host:0", "1.2.3.4:0", "a b:1", &long]
                .into_iter()
                .chain(["a/tcp/1:1", "2001:db8::7:1", "host:+1:2"])
        {
            let refused = peer(Transport::Tcp, &peer_address(2, plain)).expect_err(plain);
            assert_eq!(refused.rule(), "CONS-ADDRESS", "{plain}");
        }
        let identity = PeerAddress { transport: PublicKey::from_bytes([2; 32]), ..peer_address(2, "h:1") };
        assert_eq!(peer(Transport::Tcp, &identity).expect_err("no point").rule(), "CONS-ADDRESS");
    }

    #[test]
    fn the_port_listens_where_it_is_told() {
        let listen = |transport, at: &str| {
            listen_address(transport, at.parse().expect("an address")).expect("listens").to_string()
        };
        assert_eq!(listen(Transport::Tcp, "127.0.0.1:0"), "/ip4/127.0.0.1/tcp/0");
        assert_eq!(listen(Transport::Quic, "[::]:8441"), "/ip6/::/udp/8441/quic-v1");
    }
}
