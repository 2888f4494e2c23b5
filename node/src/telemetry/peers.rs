//! Figures of the peer port.
//!
//! *Deliberately absent:* a label for the member. Who is connected stands in the log.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabel {
    rule: &'static str,
}

/// What passes between this node and others. Cheap to clone; all clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerMetrics {
    /// Members whose nodes are connected.
    pub(crate) connected: Gauge,
    /// Bytes of messages that came.
    pub(crate) bytes_received: Counter,
    /// Bytes of messages that were sent.
    pub(crate) bytes_sent: Counter,
    /// Bytes of messages that came and wait: to be decoded, or for the core.
    pub(crate) bytes_held: Gauge,
    /// Entries that came and were verified.
    pub(crate) entries_received: Counter,
    /// Entries that were sent.
    pub(crate) entries_sent: Counter,
    /// Connections refused right after the handshake: strangers', and of who is kept away.
    pub(crate) refused: Counter,
    cut_off: Family<RuleLabel, Counter>,
}

impl PeerMetrics {
    /// Names every figure.
    pub(crate) fn register(&self, to: &mut Registry) {
        to.register("peers_connected", "Members whose nodes are connected", self.connected.clone());
        let (name, help) = ("peer_received", "Messages that came");
        to.register_with_unit(name, help, Unit::Bytes, self.bytes_received.clone());
        to.register_with_unit("peer_sent", "Messages sent", Unit::Bytes, self.bytes_sent.clone());
        let (name, help) = ("peer_held", "Messages that came and wait");
        to.register_with_unit(name, help, Unit::Bytes, self.bytes_held.clone());
        to.register("peer_entries_received", "Entries that came, verified", self.entries_received.clone());
        to.register("peer_entries_sent", "Entries sent", self.entries_sent.clone());
        to.register("peer_connections_refused", "Of strangers and those kept away", self.refused.clone());
        to.register("peers_cut_off", "Peers cut off for what they sent", self.cut_off.clone());
    }

    /// A message came.
    pub(crate) fn came(&self, bytes: usize) {
        self.bytes_received.inc_by(count(bytes));
    }

    /// A message waits.
    pub(crate) fn hold(&self, bytes: usize) {
        self.bytes_held.inc_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// A message waits no longer.
    pub(crate) fn release(&self, bytes: usize) {
        self.bytes_held.dec_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Entries came and were verified.
    pub(crate) fn received(&self, entries: usize) {
        self.entries_received.inc_by(count(entries));
    }

    /// A message was sent.
    pub(crate) fn sent(&self, bytes: usize, entries: usize) {
        self.bytes_sent.inc_by(count(bytes));
        self.entries_sent.inc_by(count(entries));
    }

    /// A peer was cut off under a rule.
    pub(crate) fn cut_off(&self, rule: &'static str) {
        self.cut_off.get_or_create(&RuleLabel { rule }).inc();
    }

    /// How often that happened.
    #[cfg(test)]
    pub(crate) fn cut_offs(&self, rule: &'static str) -> u64 {
        self.cut_off.get_or_create(&RuleLabel { rule }).get()
    }
}

fn count(figure: usize) -> u64 {
    u64::try_from(figure).unwrap_or(u64::MAX)
}
