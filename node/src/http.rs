//! The node's HTTP door: the API of the member's own apps, tools and auditors.
//!
//! ```text
//! socket (bounded) ─▶ observe: span, metrics, deadline ─▶ route ─▶ Gate ─▶ core | Reader
//! ```
//!
//! *Invariants.* A request is bounded in bytes, in time and in number: what does not fit
//! is refused at once with a rule id, and nothing accepted is lost. Every error is a
//! problem document. Nothing here decides about an entry or computes money: requests are
//! translated for the gate, state is translated into views.
//!
//! *Deliberately absent:* TLS and user accounts. The door binds to loopback by default;
//! writes carry their own signatures.

mod archive;
mod body;
mod cursor;
mod doors;
mod entries;
mod extract;
mod fates;
mod health;
mod history;
mod listener;
mod nouns;
mod observe;
mod problem;
mod receipt;
mod stall;
mod views;
mod waiting;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn_with_state, map_response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::gate::Gate;
use crate::telemetry::Metrics;
use doors::Doors;
use listener::Bounded;

/// How long requests under way may take once the node stops.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);

/// Why there is no door.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// The address cannot be listened on: most likely another program has the port.
    #[error("cannot listen on {address}; is another program using the port?")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The socket stopped working.
    #[error("the HTTP socket stopped working")]
    Socket(#[source] io::Error),
}

impl HttpError {
    /// The stable rule id.
    pub(crate) const fn rule(&self) -> &'static str {
        match self {
            Self::Bind { .. } => "HTTP-BIND",
            Self::Socket(_) => "HTTP-SOCKET",
        }
    }
}

/// A socket that is bound and not yet served.
pub(crate) struct Bound {
    socket: TcpListener,
    address: SocketAddr,
}

/// The running door. Dropping it stops it without waiting for anybody.
pub(crate) struct Server {
    doors: Arc<Doors>,
    stop: watch::Sender<bool>,
    task: JoinHandle<io::Result<()>>,
}

/// Takes the address, before anything else starts.
///
/// # Errors
/// [`HttpError::Bind`].
pub(crate) async fn bind(address: SocketAddr) -> Result<Bound, HttpError> {
    let refused = |source| HttpError::Bind { address, source };
    let socket = TcpListener::bind(address).await.map_err(refused)?;
    // Port 0 means any free one: this says which.
    let address = socket.local_addr().map_err(refused)?;
    Ok(Bound { socket, address })
}

impl Bound {
    /// Starts to answer: until [`Server::open`], only that the node is starting.
    pub(crate) fn serve(self, metrics: Metrics) -> Server {
        let (stop, stopping) = watch::channel(false);
        let doors = Arc::new(Doors::new(metrics, stopping.clone()));
        let app = router(doors.clone());
        let listener = Bounded::new(self.socket);
        let task = tokio::spawn(async move {
            let until = async move {
                let mut stopping = stopping;
                // An error means that the server was dropped: stop as well.
                stopping.wait_for(|stop| *stop).await.ok();
            };
            axum::serve(listener, app).with_graceful_shutdown(until).await
        });
        tracing::info!(address = %self.address, "HTTP door open");
        Server { doors, stop, task }
    }
}

impl Server {
    /// Lets requests through. The first gate counts; later ones change nothing.
    pub(crate) fn open(&self, gate: Gate) {
        self.doors.open(gate);
    }

    /// Takes no more requests, lets those under way finish, for ten seconds at most.
    /// Whoever waits for a seal is told how far its entry has come.
    ///
    /// # Errors
    /// [`HttpError::Socket`] if the door had failed before.
    pub(crate) async fn stop(mut self) -> Result<(), HttpError> {
        self.stop.send_replace(true);
        match tokio::time::timeout(SHUTDOWN_MAX, &mut self.task).await {
            Ok(Ok(ended)) => ended.map_err(HttpError::Socket),
            Ok(Err(panicked)) => Err(HttpError::Socket(io::Error::other(panicked))),
            Err(_) => {
                tracing::warn!("requests were still under way after {SHUTDOWN_MAX:?}; cut off");
                Ok(())
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn router(doors: Arc<Doors>) -> Router {
    let v1 = Router::new()
        .route("/status", get(health::status))
        .route("/status/stall", get(stall::show))
        .route("/genesis", get(health::genesis))
        .route("/entries", post(entries::submit))
        .route("/entries/{id}", get(fates::show))
        .route("/outcomes", get(fates::outcomes))
        .route("/journals/{key}", get(history::journal))
        .route("/blocks/{height}", get(history::block))
        .route("/members", get(nouns::members))
        .route("/members/{id}", get(nouns::member))
        .route("/assets", get(nouns::assets))
        .route("/assets/{id}", get(nouns::asset))
        .route("/versions", get(nouns::versions))
        .route("/versions/{id}", get(nouns::version))
        .route("/agreements", get(nouns::agreements))
        .route("/agreements/{id}", get(nouns::agreement))
        .route("/agreements/{id}/versions/{number}", get(nouns::agreement_version))
        .route("/statements", get(nouns::statements))
        .route("/statements/{month}", get(nouns::statement))
        .route("/statements/{month}/lines", get(nouns::lines))
        .route("/carries", get(nouns::carries))
        .route("/findings", get(nouns::findings))
        .route("/findings/{id}", get(nouns::finding))
        .route("/proposals", get(nouns::proposals))
        .route("/proposals/{id}", get(nouns::proposal));
    Router::new()
        .nest("/v1", v1)
        .route("/archive", get(archive::export))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(observe::no_such_route)
        .method_not_allowed_fallback(observe::no_such_method)
        .layer(map_response(observe::never_cached))
        .layer(from_fn_with_state(doors.clone(), observe::observe))
        .with_state(doors)
}
