//! What all requests share: the gate once it is open, and the budgets they draw on.
//!
//! *Invariants.* Bodies under way hold at most [`BODIES_KIB_MAX`] together; at most as
//! many requests verify signatures as the machine has cores; at most [`ARCHIVES_MAX`]
//! archives are being sent.

use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::problem::Problem;
use crate::gate::{BUSY_RETRY, Gate};
use crate::telemetry::Metrics;

/// Most bytes of bodies that are read, verified or before the core, in KiB.
pub(super) const BODIES_KIB_MAX: u32 = 64 * 1024;
/// Most archives being sent at one time; each reads the whole history.
pub(super) const ARCHIVES_MAX: usize = 2;
/// How long somebody who wants one more archive is asked to stay away.
const ARCHIVE_RETRY: Duration = Duration::from_secs(30);
/// How long somebody who comes while the node starts is asked to stay away.
const START_RETRY: Duration = Duration::from_secs(2);

/// What all requests share.
pub(super) struct Doors {
    gate: OnceLock<Gate>,
    /// What is counted.
    pub(super) metrics: Metrics,
    stopping: watch::Receiver<bool>,
    bodies: Arc<Semaphore>,
    verifiers: Semaphore,
    archives: Arc<Semaphore>,
}

impl Doors {
    /// Doors that are still closed.
    pub(super) fn new(metrics: Metrics, stopping: watch::Receiver<bool>) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self {
            gate: OnceLock::new(),
            metrics,
            stopping,
            bodies: Arc::new(Semaphore::new(BODIES_KIB_MAX as usize)),
            verifiers: Semaphore::new(cores),
            archives: Arc::new(Semaphore::new(ARCHIVES_MAX)),
        }
    }

    /// Lets requests through; only the first gate counts.
    pub(super) fn open(&self, gate: Gate) {
        if self.gate.set(gate).is_err() {
            tracing::warn!("the HTTP door was opened twice; the first gate stays");
        }
    }

    /// The gate.
    ///
    /// # Errors
    /// `NODE-STARTING` while the node recovers its history.
    pub(super) fn gate(&self) -> Result<&Gate, Problem> {
        let detail = "the node is still recovering its history; try again";
        self.gate.get().ok_or_else(|| Problem::unavailable("NODE-STARTING", detail, START_RETRY))
    }

    /// Room for a body of this length; given back when the permit is dropped.
    ///
    /// # Errors
    /// `HTTP-BUSY` if the bodies under way leave none.
    pub(super) fn body_room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        self.bodies.clone().try_acquire_many_owned(kib).map_err(|_| {
            let detail = "too much is being submitted at the moment; send it again later";
            Problem::unavailable("HTTP-BUSY", detail, BUSY_RETRY)
        })
    }

    /// Runs a check of signatures beside the reactor, when a core is free for it.
    ///
    /// # Errors
    /// `NODE-INTERNAL` if it panicked.
    pub(super) async fn verify<T: Send + 'static>(
        &self,
        check: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let _core = self.verifiers.acquire().await.expect("nothing closes this semaphore");
        off_reactor(check).await
    }

    /// A place among the archives being sent.
    ///
    /// # Errors
    /// `ARCHIVE-BUSY` if there is none.
    pub(super) fn archive_place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.archives.clone().try_acquire_owned().map_err(|_| {
            let detail = format!("{ARCHIVES_MAX} archives are already being sent; try again later");
            Problem::unavailable("ARCHIVE-BUSY", detail, ARCHIVE_RETRY)
        })
    }

    /// Whether the node stops.
    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Ends when the node stops.
    pub(super) async fn stopped(&self) {
        // An error means that the server itself is gone, which is the same.
        self.stopping.clone().wait_for(|stop| *stop).await.ok();
    }
}

/// Runs what blocks (reads of the store, signature checks) beside the reactor.
///
/// # Errors
/// `NODE-INTERNAL` if it panicked.
pub(super) async fn off_reactor<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal(&error))
}
