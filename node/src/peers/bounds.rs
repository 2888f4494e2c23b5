//! Every bound of the peer port, named once.
//!
//! *What one peer can make this node hold*, at worst and by intent:
//!
//! | what | bound | MiB |
//! |---|---|---|
//! | requests being read | [`CONNECTIONS_PER_PEER_MAX`] × [`EXCHANGES_PER_CONNECTION_MAX`] × [`REQUEST_BYTES_MAX`] | 25.5 |
//! | answers being read, or waiting for the core | [`ASKS_IN_FLIGHT_MAX`] × [`RESPONSE_BYTES_MAX`] | 32.8 |
//! | requests waiting for the core, and one being decoded | ([`REQUESTS_PER_PEER_MAX`] + 1) × [`REQUEST_BYTES_MAX`] | 5.3 |
//! | answers being written | [`ANSWERS_IN_FLIGHT_MAX`] × [`RESPONSE_BYTES_MAX`] | 32.8 |
//! | streams' windows | [`CONNECTIONS_PER_PEER_MAX`] × [`STREAMS_PER_CONNECTION_MAX`] × 256 KiB | 16.0 |
//!
//! That is 113 MiB a member, of bytes as they travel. What waits for the core is decoded
//! already, and an entry then takes up to four times its bytes (the shortest do): for four
//! full answers and four full requests, 110 MiB more. Two messages are decoded at once, each
//! in up to five times its bytes, whoever sent them: 82 MiB. Strangers hold a handshake each,
//! [`HANDSHAKES_MAX`] in all. Entries in asks and answers that wait to be sent are shared
//! with the core.

use std::time::Duration;

use syngraph_protocol::limits::MEMBERS_MAX;

use crate::replicas::message::{ANSWER_BYTES_MAX, PUSH_BYTES_MAX};

/// Longest request on the wire, in bytes: a full push, and its lengths.
pub(super) const REQUEST_BYTES_MAX: usize = PUSH_BYTES_MAX + 64 * 1024;
/// Longest response on the wire, in bytes: a full answer, and three bytes of length for
/// each of the shortest entries that can fill it.
pub(super) const RESPONSE_BYTES_MAX: usize = ANSWER_BYTES_MAX + 128 * 1024;
/// Most bytes of sealed entries in an answer to a request for the log.
pub(super) const LOG_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most of our asks that one peer has before it, its answers counted until the core takes
/// them.
pub(super) const ASKS_IN_FLIGHT_MAX: usize = 4;
/// Most of our asks that wait behind those.
pub(super) const ASKS_WAITING_MAX: usize = 16;
/// Most requests of one peer without an answer.
pub(super) const REQUESTS_PER_PEER_MAX: usize = 4;
/// Most answers that are on their way to one peer.
pub(super) const ANSWERS_IN_FLIGHT_MAX: usize = 4;
/// Most messages that are decoded, and their signatures verified, at once.
pub(super) const DECODERS_MAX: usize = 2;
/// Most reads of the log at once, over all peers; one for each.
pub(super) const LOG_READERS_MAX: usize = 2;
/// Most events before the core.
pub(super) const EVENTS_MAX: usize = 64;
/// Most peers.
pub(super) const PEERS_MAX: usize = MEMBERS_MAX;
/// Most connections with one peer: both may have dialled at the same moment.
pub(super) const CONNECTIONS_PER_PEER_MAX: u32 = 2;
/// Most exchanges on one connection: ours, the peer's, and some that just end.
pub(super) const EXCHANGES_PER_CONNECTION_MAX: usize = 12;
/// Most streams on one connection: exchanges, pings, and what is still being negotiated.
pub(super) const STREAMS_PER_CONNECTION_MAX: usize = 32;
/// Most streams of one connection whose protocol is being negotiated.
pub(super) const NEGOTIATIONS_MAX: usize = 16;
/// Most handshakes with whoever has connected. Strangers can use them all up; this node
/// then still dials.
pub(super) const HANDSHAKES_MAX: u32 = 64;
/// Most dials at once.
pub(super) const DIALS_MAX: u32 = 64;
/// Most addresses of one name that are tried.
pub(super) const ADDRESSES_MAX: usize = 8;
/// Longest address of a peer, in bytes: a DNS name, a colon, a port.
pub(super) const ADDRESS_BYTES_MAX: usize = 253 + 1 + 5;

/// How long things may take. Tests shorten them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// A handshake.
    pub(super) handshake: Duration,
    /// From a request to the first byte of its response, and what any frame may take
    /// beside its [`Timing::rate`].
    pub(super) response: Duration,
    /// The slowest that a frame may travel, in bytes per second.
    pub(super) rate: u64,
    /// A whole exchange, whatever happens.
    pub(super) exchange: Duration,
    /// Between two pings.
    pub(super) ping: Duration,
    /// Without a sign of life, after which a connection is closed.
    pub(super) silence: Duration,
    /// Saying goodbye on a connection that is closed.
    pub(super) goodbye: Duration,
    /// The first and the longest pause before dialling again.
    pub(super) redial: (Duration, Duration),
    /// The first and the longest time that an offender is kept away.
    pub(super) away: (Duration, Duration),
    /// Without an offence, after which the earlier ones are forgotten.
    pub(super) forgive: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            response: Duration::from_secs(10),
            rate: 256 * 1024,
            exchange: Duration::from_secs(60),
            ping: Duration::from_secs(5),
            silence: Duration::from_secs(15),
            goodbye: Duration::from_secs(2),
            redial: (Duration::from_millis(250), Duration::from_secs(5)),
            away: (Duration::from_secs(5), Duration::from_secs(60)),
            forgive: Duration::from_secs(600),
        }
    }
}
