//! The thread that drives a core.
//!
//! *Invariants.* What waits is taken together, so that it shares one fsync. The store is
//! closed however it ends, unless it is what failed.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use syngraph_protocol::time::UtcMs;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

use super::ports::{Disk, Input, Now, Peers, Voting};
use super::{Core, CoreError, Parts};
use crate::consensus::Event;
use crate::gate::{Command, Readiness};
use crate::replicas::message::PeerEvent;

/// Most inputs that are taken together before their entries are synced.
const BATCH_MAX: usize = 64;

/// Longest time between two looks at whether the engine has halted.
const HALT_CHECK: Duration = Duration::from_secs(5);

/// Where inputs come from.
pub(crate) struct Sources {
    /// The doors.
    pub(crate) commands: mpsc::Receiver<Command>,
    /// The engine.
    pub(crate) events: mpsc::Receiver<Event>,
    /// The peers.
    pub(crate) peers: mpsc::Receiver<PeerEvent>,
}

/// What comes next.
enum Next {
    Input(Input),
    Time,
    EngineEnded,
    PeersEnded,
    Stop,
}

impl Sources {
    async fn next(&mut self, stop: &mut oneshot::Receiver<()>, wake: Instant) -> Next {
        tokio::select! {
            biased;
            _ = stop => Next::Stop,
            event = self.events.recv() => event.map_or(Next::EngineEnded, |event| Next::Input(Input::Event(event))),
            event = self.peers.recv() => event.map_or(Next::PeersEnded, |event| Next::Input(Input::Peer(event))),
            Some(command) = self.commands.recv() => Next::Input(Input::Command(command)),
            () = sleep_until(wake.into()) => Next::Time,
        }
    }

    /// Something that waits already; the engine's questions first.
    fn waiting(&mut self) -> Option<Input> {
        if let Ok(event) = self.events.try_recv() {
            return Some(Input::Event(event));
        }
        if let Ok(event) = self.peers.try_recv() {
            return Some(Input::Peer(event));
        }
        self.commands.try_recv().ok().map(Input::Command)
    }
}

/// Runs a core made of these parts until it is told to stop or cannot go on. The store is
/// closed in either case, unless it is what failed.
///
/// # Errors
/// [`CoreError`] if it cannot go on; the node must exit.
pub(crate) async fn run<D: Disk, V: Voting, P: Peers>(
    parts: Parts<D, V, P>,
    sources: Sources,
    stop: oneshot::Receiver<()>,
) -> Result<(), CoreError> {
    Core::new(parts, now()).run(sources, stop).await
}

impl<D: Disk, V: Voting, P: Peers> Core<D, V, P> {
    /// Runs until it is told to stop or cannot go on. The store is closed in either case,
    /// unless it is what failed.
    ///
    /// # Errors
    /// [`CoreError`] if it cannot go on; the node must exit.
    pub(super) async fn run(
        mut self,
        mut sources: Sources,
        mut stop: oneshot::Receiver<()>,
    ) -> Result<(), CoreError> {
        let ended = loop {
            let now = self::now();
            let halt_check = now.instant + HALT_CHECK;
            let wake = self.wake_at(now).map_or(halt_check, |at| at.min(halt_check));
            let step = match sources.next(&mut stop, wake).await {
                Next::Stop => break Ok(()),
                Next::Input(input) => self.take_together(input, &mut sources),
                Next::Time => self.settle(self::now()),
                Next::EngineEnded if self.voting.is_halted() => Err(CoreError::Halted),
                Next::EngineEnded => Err(CoreError::Engine),
                Next::PeersEnded => Err(CoreError::Peers),
            };
            let step =
                step.and_then(|()| if self.voting.is_halted() { Err(CoreError::Halted) } else { Ok(()) });
            if let Err(error) = step {
                break Err(error);
            }
        };
        let reason = match &ended {
            Ok(()) => "the node was asked to stop".to_owned(),
            Err(error) => error.to_string(),
        };
        self.publish(Readiness::Stopping { reason });
        let closed = self.disk.close();
        // Why it ended comes first: a store that failed only repeats it.
        ended?;
        Ok(closed?)
    }

    fn take_together(&mut self, first: Input, sources: &mut Sources) -> Result<(), CoreError> {
        self.handle(now(), first)?;
        for _ in 1..BATCH_MAX {
            let Some(next) = sources.waiting() else { break };
            self.handle(now(), next)?;
        }
        self.settle(now())
    }
}

/// The clocks: the only place where the node reads them for the chain.
pub(super) fn now() -> Now {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall = UtcMs::from_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX));
    Now { wall, instant: Instant::now() }
}
