//! What operators and their tools ask about the node itself.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use syngraph_protocol::ids::{BlockId, Hash, Height, MemberId, NetworkId};
use syngraph_protocol::time::UtcMs;

use super::doors::Doors;
use super::extract::Gate;
use super::problem::Problem;
use crate::consensus::export_metrics;
use crate::gate::Readiness;

/// The OpenMetrics text format, as Prometheus asks for it.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
/// How long somebody who finds the node not ready is asked to stay away.
const READY_RETRY: Duration = Duration::from_secs(2);

/// `GET /livez`: the process answers.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the node has recovered its history and takes part.
pub(super) async fn ready(Shared(doors): Shared<Arc<Doors>>) -> Result<&'static str, Problem> {
    let not_ready = |rule, reason: &str| Err(Problem::unavailable(rule, reason, READY_RETRY));
    match &doors.gate()?.snapshot().readiness {
        Readiness::Ready => Ok("ready\n"),
        Readiness::Starting => not_ready("NODE-STARTING", "the consensus engine has not started yet"),
        Readiness::Stopping { reason } => not_ready("NODE-STOPPING", reason),
    }
}

/// `GET /metrics`.
pub(super) async fn metrics(Shared(doors): Shared<Arc<Doors>>) -> Response {
    if let Ok(gate) = doors.gate() {
        let snapshot = gate.snapshot();
        doors.metrics.observe(&snapshot.ledger, snapshot.readiness == Readiness::Ready);
        doors.metrics.waiting(gate.waiting());
    }
    let mut text = doors.metrics.render();
    // The engine's figures follow, and end the text.
    text.truncate(text.trim_end_matches("# EOF\n").len());
    export_metrics(&mut text);
    ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response()
}

/// Where a node stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct StatusView {
    network: NetworkId,
    member: MemberId,
    name: String,
    height: Height,
    /// Id of the block at that height; zeros at genesis.
    block: BlockId,
    state_root: Hash,
    /// How many entries are sealed.
    log_size: u64,
    /// How many usage rows are sealed.
    rows_sealed: u64,
    ready: bool,
    /// How many other members' nodes are connected to this one.
    peers_connected: usize,
    /// Block time, not the node's clock.
    time: UtcMs,
}

/// `GET /v1/status`.
pub(super) async fn status(Gate(gate): Gate) -> Json<StatusView> {
    let (snapshot, info) = (gate.snapshot(), gate.info());
    let ledger = &snapshot.ledger;
    Json(StatusView {
        network: info.network,
        member: info.member,
        name: info.name.clone(),
        height: ledger.height(),
        block: ledger.block_id(),
        state_root: ledger.state_root(),
        log_size: ledger.log_size(),
        rows_sealed: ledger.rows_sealed(),
        ready: snapshot.readiness == Readiness::Ready,
        peers_connected: snapshot.connected.len(),
        time: ledger.time(),
    })
}

/// `GET /v1/genesis`: the founding document, as the node read it.
pub(super) async fn genesis(Gate(gate): Gate) -> Response {
    let toml = HeaderValue::from_static("application/toml");
    ([(header::CONTENT_TYPE, toml)], gate.info().genesis_toml.clone()).into_response()
}
