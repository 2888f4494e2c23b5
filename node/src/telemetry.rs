//! What a node tells its operators: log lines on stderr, and metrics.
//!
//! *Invariants.* Logs hold no secret and no body of a request. Metric names carry their
//! unit; the values of every label come from a fixed set (routes, rule ids, status
//! codes), so that no client can grow the registry.
//!
//! *Deliberately absent:* the engine's own metrics, which have a registry of their own.

mod peers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use syngraph_protocol::ledger::Ledger;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

pub(crate) use self::peers::PeerMetrics;

/// What is logged unless the operator says otherwise: everything of note, and of the
/// libraries only what went wrong. The engine's network calls it an error, several times a
/// block, that a lone voter has nobody to send to. A peer can make the exchange of messages
/// warn as often as it likes.
pub(crate) const DEFAULT_FILTER: &str = "info,arc_malachitebft=warn,arc_malachitebft_network=off,libp2p=warn,\
     libp2p_request_response=error,sled=warn,hyper=warn,ractor=warn";

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Not a filter.
    #[error("{filter:?} is no log filter like \"info,syngraph_node=debug\"")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Logging was set up before.
    #[error("logging is already set up in this process")]
    Twice,
}

impl TelemetryError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Filter { .. } => "LOG-FILTER",
            Self::Twice => "LOG-TWICE",
        }
    }
}

/// Sets up logging of this process to stderr. `filter` is in the syntax of
/// `tracing_subscriber::EnvFilter`; its default shows what is of note.
///
/// # Errors
/// [`TelemetryError`].
pub fn init(format: LogFormat, filter: Option<&str>) -> Result<(), TelemetryError> {
    let text = filter.unwrap_or(DEFAULT_FILTER);
    let filter = EnvFilter::try_new(text)
        .map_err(|source| TelemetryError::Filter { filter: text.to_owned(), source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Text => {
            let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.with_ansi(colours && terminal).try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    set.map_err(|_| TelemetryError::Twice)
}

/// Labels of a finished request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    /// The route's pattern, never the path asked for.
    pub(crate) route: String,
    /// The method.
    pub(crate) method: String,
    /// The status code.
    pub(crate) status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabel {
    rule: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LogLabel {
    log: &'static str,
}

/// Every metric of the node. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    height: Gauge,
    log_size: Gauge,
    rows_sealed: Counter,
    commands_waiting: Gauge,
    ready: Gauge,
    entries_accepted: Counter,
    entries_refused: Family<RuleLabel, Counter>,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<RouteLabel, Histogram>,
    block_execution_seconds: Histogram,
    block_entries: Histogram,
    fsync_seconds: Family<LogLabel, Histogram>,
    peers: PeerMetrics,
}

/// 0.5 ms to 33 s, doubling.
fn request_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 17))
}

/// 50 µs to 6.5 s, doubling.
fn disk_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_05, 2.0, 18))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            height: Gauge::default(),
            log_size: Gauge::default(),
            rows_sealed: Counter::default(),
            commands_waiting: Gauge::default(),
            ready: Gauge::default(),
            entries_accepted: Counter::default(),
            entries_refused: Family::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(request_histogram),
            block_execution_seconds: disk_histogram(),
            block_entries: Histogram::new(exponential_buckets(1.0, 2.0, 14)),
            fsync_seconds: Family::new_with_constructor(disk_histogram),
            peers: PeerMetrics::default(),
        };
        metrics.registry = Arc::new(metrics.register());
        metrics
    }
}

impl Metrics {
    fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix("syngraph");
        let to = &mut registry;
        to.register("height", "Height of the last block in the store", self.height.clone());
        to.register("log_size", "Entries sealed since genesis", self.log_size.clone());
        to.register("rows_sealed", "Usage rows sealed since genesis", self.rows_sealed.clone());
        to.register("ready", "1 while the node takes part", self.ready.clone());
        to.register("commands_waiting", "Commands before the core thread", self.commands_waiting.clone());
        to.register("entries_accepted", "Entries taken and made durable", self.entries_accepted.clone());
        to.register("entries_refused", "Entries refused at the door", self.entries_refused.clone());
        to.register("http_requests", "Requests answered", self.requests.clone());
        let (name, help) = ("http_request_duration", "From the request's head to the response's head");
        to.register_with_unit(name, help, Unit::Seconds, self.request_seconds.clone());
        let (name, help) = ("block_execution", "Executing one block");
        to.register_with_unit(name, help, Unit::Seconds, self.block_execution_seconds.clone());
        to.register("block_entries", "Entries of one block", self.block_entries.clone());
        to.register_with_unit("fsync", "One fdatasync", Unit::Seconds, self.fsync_seconds.clone());
        self.peers.register(to);
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        to.register("build", "This program", version);
        registry
    }

    /// The figures of the peer port.
    pub(crate) const fn peers(&self) -> &PeerMetrics {
        &self.peers
    }

    /// One entry was taken.
    pub(crate) fn entry_accepted(&self) {
        self.entries_accepted.inc();
    }

    /// One entry was refused under a rule.
    pub(crate) fn entry_refused(&self, rule: &'static str) {
        self.entries_refused.get_or_create(&RuleLabel { rule }).inc();
    }

    /// One request was answered.
    pub(crate) fn request(&self, labels: &RequestLabels, seconds: f64) {
        self.requests.get_or_create(labels).inc();
        let route = RouteLabel { route: labels.route.clone() };
        self.request_seconds.get_or_create(&route).observe(seconds);
    }

    /// One block was executed.
    pub(crate) fn block_executed(&self, entries: u32, seconds: f64) {
        self.block_execution_seconds.observe(seconds);
        self.block_entries.observe(f64::from(entries));
    }

    /// One log (`entries`, `blocks`, …) was made durable.
    pub(crate) fn fsynced(&self, log: &'static str, seconds: f64) {
        self.fsync_seconds.get_or_create(&LogLabel { log }).observe(seconds);
    }

    /// Copies the figures that are read off the state.
    pub(crate) fn observe(&self, ledger: &Ledger, ready: bool) {
        let count = |figure: u64| i64::try_from(figure).unwrap_or(i64::MAX);
        self.height.set(count(ledger.height().get()));
        self.log_size.set(count(ledger.log_size()));
        // The ledger counts; a scrape must not lower the counter that it copies.
        let rows: &AtomicU64 = self.rows_sealed.inner();
        rows.fetch_max(ledger.rows_sealed(), Ordering::Relaxed);
        self.ready.set(i64::from(ready));
    }

    /// How many commands wait for the core.
    pub(crate) fn waiting(&self, commands: usize) {
        self.commands_waiting.set(i64::try_from(commands).unwrap_or(i64::MAX));
    }

    /// Everything in the OpenMetrics text format.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("writing to a String does not fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_their_units() {
        let metrics = Metrics::default();
        metrics.entry_accepted();
        metrics.entry_refused("JRN-GAP");
        let labels = RequestLabels { route: "/v1/status".into(), method: "GET".into(), status: 200 };
        metrics.request(&labels, 0.001);
        metrics.fsynced("entries", 0.002);
        metrics.clone().block_executed(3, 0.003);
        metrics.peers().sent(100, 2);
        metrics.peers().cut_off("PEER-GAP");
        let text = metrics.render();
        for line in [
            "syngraph_entries_accepted_total 1",
            "syngraph_entries_refused_total{rule=\"JRN-GAP\"} 1",
            "syngraph_http_requests_total{route=\"/v1/status\",method=\"GET\",status=\"200\"} 1",
            "syngraph_http_request_duration_seconds_count{route=\"/v1/status\"} 1",
            "syngraph_fsync_seconds_count{log=\"entries\"} 1",
            "syngraph_block_execution_seconds_count 1",
            "syngraph_block_entries_sum 3.0",
            "syngraph_peer_sent_bytes_total 100",
            "syngraph_peer_entries_sent_total 2",
            "syngraph_peers_cut_off_total{rule=\"PEER-GAP\"} 1",
            "syngraph_peers_connected 0",
            "syngraph_rows_sealed_total 0",
            "syngraph_height 0",
        ] {
            assert!(text.lines().any(|got| got == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn the_default_filter_is_a_filter() {
        assert!(EnvFilter::try_new(DEFAULT_FILTER).is_ok());
        let error = init(LogFormat::Text, Some("a=b=c")).expect_err("no filter");
        assert_eq!(error.rule(), "LOG-FILTER");
    }
}
