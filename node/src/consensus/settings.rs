//! How the engine is configured.
//!
//! *Invariants.* Peers are named by key, and nobody else is let in. No step of any round takes longer than [`STEP_TIMEOUT_MAX`].
//!
//! *Deliberately absent:* everything that an operator cannot usefully change.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use arc_malachitebft_app::config::{ChannelNames, ConsensusConfig, P2pConfig, ProtocolNames};
use arc_malachitebft_app::config::{ValuePayload, ValueSyncConfig};
use arc_malachitebft_core_types::LinearTimeouts;
use syngraph_protocol::ids::{Height, NetworkId};

use super::address::{self, Peer, PeerAddress, Transport};
use super::codec::{LIVENESS_BYTES_MAX, SYNC_BLOCKS_MAX, SYNC_BYTES_MAX};
use super::engine::ConsensusError;

/// The longest that any step of any round may take.
const STEP_TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// By how much each step of a round may take longer than in the round before.
const STEP_TIMEOUT_DELTA: Duration = Duration::from_millis(500);
/// How long a peer may take to answer a request for blocks.
const SYNC_TIMEOUT: Duration = Duration::from_secs(10);
/// Most connections from one IP address: members may share one behind NAT, or in a trial on one machine.
const CONNECTIONS_PER_IP_MAX: usize = 64;
/// What signing and framing may add to a message between peers, in bytes.
const FRAME_BYTES_MAX: usize = 1024;

/// How much of the network's id stands in the names of channels, in hex digits. A name of more than 63
/// bytes is a panic in the broadcast library, and these only keep strangers apart: signatures bind the
/// whole id.
const NETWORK_TAG_CHARS: usize = 16;

/// How to run the engine.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The node's name in logs and metrics.
    pub(crate) moniker: String,
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// What carries the messages.
    pub(crate) transport: Transport,
    /// The peers that are let in at the start; [`Engine::admit`](super::Engine::admit) puts others in
    /// their place. This node itself may be among them.
    pub(crate) peers: Vec<PeerAddress>,
    /// The last height that is decided here when the engine starts.
    pub(crate) decided: Height,
    /// How long the first round waits for a proposal; at most 10 s. Later rounds wait longer, up to 10 s.
    pub(crate) propose_timeout: Duration,
    /// How long the first round waits for stragglers' votes; at most 10 s. Later rounds wait longer, up
    /// to 10 s.
    pub(crate) vote_timeout: Duration,
    /// The engine's write-ahead log of its votes. Losing it can make the node vote twice.
    pub(crate) wal: PathBuf,
}

/// The engine's configuration. Channels and protocols are named after the network, so that nodes of different
/// networks have nothing to say to each other.
pub(super) fn consensus_config(
    settings: &Settings,
    peers: &[Peer],
    network: NetworkId,
) -> Result<ConsensusConfig, ConsensusError> {
    let tag = network.to_string().chars().take(NETWORK_TAG_CHARS).collect::<String>();
    let name = |what: &str| format!("/syngraph/{tag}/{what}/v1");
    let mut p2p = P2pConfig {
        listen_addr: address::listen_address(settings.transport, settings.listen)?,
        persistent_peers: peers.iter().map(|peer| peer.address.clone()).collect(),
        persistent_peers_only: true,
        channel_names: ChannelNames {
            consensus: name("votes"),
            proposal_parts: name("parts"),
            sync: name("tips"),
            liveness: name("liveness"),
        },
        protocol_names: ProtocolNames {
            consensus: name("consensus"),
            sync: name("sync"),
            validator_proof: name("validator-proof"),
            discovery_kad: name("kad"),
            discovery_regres: name("peers"),
        },
        ..P2pConfig::default()
    };
    p2p.discovery.enabled = false;
    p2p.discovery.max_connections_per_ip = CONNECTIONS_PER_IP_MAX;
    p2p.pubsub_max_size.0 = (LIVENESS_BYTES_MAX + FRAME_BYTES_MAX) as u64;
    p2p.rpc_max_size.0 = (SYNC_BYTES_MAX + FRAME_BYTES_MAX) as u64;
    // With the other mode the engine takes every proposal for valid without asking.
    let value_payload = ValuePayload::ProposalAndParts;
    Ok(ConsensusConfig { p2p, value_payload, ..ConsensusConfig::default() })
}

/// The configuration of catching up.
pub(super) fn sync_config() -> ValueSyncConfig {
    let mut config = ValueSyncConfig {
        // Zero: the tip is announced after every decision, and once per peer.
        status_update_interval: Duration::ZERO,
        request_timeout: SYNC_TIMEOUT,
        batch_size: SYNC_BLOCKS_MAX,
        ..ValueSyncConfig::default()
    };
    config.max_response_size.0 = SYNC_BYTES_MAX as u64;
    config
}

/// How long steps take: longer from round to round, up to [`STEP_TIMEOUT_MAX`].
pub(super) fn timeouts(settings: &Settings) -> LinearTimeouts {
    let propose = settings.propose_timeout.min(STEP_TIMEOUT_MAX);
    let vote = settings.vote_timeout.min(STEP_TIMEOUT_MAX);
    LinearTimeouts {
        propose,
        propose_delta: STEP_TIMEOUT_DELTA,
        prevote: vote,
        prevote_delta: STEP_TIMEOUT_DELTA,
        precommit: vote,
        precommit_delta: STEP_TIMEOUT_DELTA,
        rebroadcast: propose.saturating_add(vote).saturating_add(vote),
        max_timeout: STEP_TIMEOUT_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arc_malachitebft_core_types::{Round, Timeout};

    fn settings(propose_timeout: Duration, vote_timeout: Duration) -> Settings {
        Settings {
            moniker: "n".to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            transport: Transport::Tcp,
            peers: Vec::new(),
            decided: Height::GENESIS,
            propose_timeout,
            vote_timeout,
            wal: PathBuf::new(),
        }
    }

    #[test]
    fn no_step_of_any_round_takes_more_than_ten_seconds() {
        let hour = Duration::from_secs(3_600);
        for settings in [settings(Duration::from_secs(1), Duration::ZERO), settings(hour, hour)] {
            let timeouts = timeouts(&settings);
            for round in [0, 1, 100, u32::MAX].map(Round::new) {
                for timeout in [Timeout::propose, Timeout::prevote, Timeout::precommit, Timeout::rebroadcast]
                {
                    assert!(timeouts.duration_for(timeout(round)) <= STEP_TIMEOUT_MAX);
                }
            }
        }
        let first = timeouts(&settings(Duration::from_secs(1), Duration::ZERO));
        assert_eq!(first.duration_for(Timeout::propose(Round::new(0))), Duration::from_secs(1));
        assert_eq!(first.duration_for(Timeout::propose(Round::new(2))), Duration::from_secs(2));
    }

    #[test]
    fn networks_have_channels_of_their_own_with_short_names() {
        let second = Duration::from_secs(1);
        let names = |network| {
            let config =
                consensus_config(&settings(second, second), &[], NetworkId::from_bytes([network; 32]));
            let ChannelNames { consensus, proposal_parts, sync, liveness } =
                config.expect("settings that hold").p2p.channel_names;
            [consensus, proposal_parts, sync, liveness]
        };
        for (here, there) in names(1).iter().zip(names(2)) {
            assert!(here.len() <= 63 && *here != there);
        }
    }
}
