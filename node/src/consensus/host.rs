//! The actor that the engine takes for its application.
//!
//! *Invariants.* It never waits and never blocks: each message becomes an [`Event`] whose [`Reply`]
//! travels with it, or is answered on the spot. Its queue to the application is bounded; the engine's own
//! questions, of which only a few can be open at a time, always find room in it, since peers' blocks may
//! fill only a part. If the application has gone, or has stopped reading, the actor fails, and with it
//! the engine.
//!
//! *Deliberately absent:* vote extensions. They are never asked for, and refused if they come.

use arc_malachitebft_app::consensus::{LocallyProposedValue, ProposedValue, VoteExtensionError};
use arc_malachitebft_app::engine::host::{HeightParams, HostMsg, Next, SyncedValueOutcome};
use arc_malachitebft_app::streaming::StreamMessage;
use arc_malachitebft_app::types::PeerId;
use arc_malachitebft_app::types::sync::RawDecidedValue;
use arc_malachitebft_core_types::LinearTimeouts;
use bytes::Bytes;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use syngraph_protocol::block::Block;
use syngraph_protocol::certificate::Certificate;
use syngraph_protocol::codec as canonical;
use syngraph_protocol::ids::{self, MemberId, NetworkId};
use tokio::sync::mpsc::{self, error::TrySendError};
use tracing::{debug, warn};

use super::codec::{SYNC_BLOCKS_MAX, decided_value};
use super::context::{Context, Height, Part, ValidatorSet, Value};
use super::convert::{self, defined};
use super::event::{Event, Judged, Reply, Start, SyncVerdict};
use super::parts::PartStreams;
use super::roster::Roster;
use super::view::View;

/// Most events that wait for the application.
pub(super) const EVENTS_MAX: usize = 512;
/// How many of them are kept free for the engine's own questions.
const EVENTS_RESERVED: usize = 384;

/// The actor; what it keeps is in [`HostState`].
pub(super) struct Host;

/// What the actor keeps.
pub(super) struct HostState {
    pub(super) network: NetworkId,
    pub(super) timeouts: LinearTimeouts,
    pub(super) parts: PartStreams,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) roster: Roster,
    pub(super) view: View,
}

#[ractor::async_trait]
impl Actor for Host {
    type Msg = HostMsg<Context>;
    type State = HostState;
    type Arguments = HostState;

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        state: HostState,
    ) -> Result<HostState, ActorProcessingErr> {
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut HostState,
    ) -> Result<(), ActorProcessingErr> {
        state.handle(message)
    }
}

impl HostState {
    fn handle(&mut self, message: HostMsg<Context>) -> Result<(), ActorProcessingErr> {
        let event = match message {
            HostMsg::ConsensusReady { reply_to } => {
                return self.wait(Event::Ready { reply: self.first_start(reply_to) });
            }
            HostMsg::StartedRound { height, round, proposer, reply_to, role: _ } => {
                let (round, proposer) = (defined(round, height)?, proposer.0);
                self.view.begin(height.0, round);
                self.parts.advance(height.0, round);
                Event::RoundStarted { height: height.0, round, proposer, reply: verdicts(reply_to) }
            }
            HostMsg::GetValue { height, round, reply_to, timeout: _ } => {
                let named = move |block| LocallyProposedValue::new(height, round, Value(block));
                let (round, reply) = (defined(round, height)?, answer(reply_to, named));
                Event::Build { height: height.0, round, reply }
            }
            HostMsg::RestreamValue { height, round, valid_round: _, address, value_id } => {
                let round = defined(round, height)?;
                Event::Restream { height: height.0, round, proposer: address.0, block: value_id.0 }
            }
            // The port is dropped, which means "not yet": the verdict comes as a message of its own.
            HostMsg::ReceivedProposalPart { from, published_by, part, reply_to: _ } => {
                self.receive(from, published_by, part);
                return Ok(());
            }
            HostMsg::Decided { certificate, reply_to, extensions: _ } => {
                let certificate = convert::certificate(&certificate)?;
                Event::Decided { certificate, reply: answer(reply_to, |()| ()) }
            }
            // Without a target time the certificate is the one of the decision.
            HostMsg::Finalized { evidence, reply_to, certificate: _, extensions: _ } => {
                let evidence = convert::evidence(&evidence, self.network)?;
                return self.wait(Event::Finalized { evidence, reply: self.next_start(reply_to) });
            }
            HostMsg::GetHistoryMinHeight { reply_to } => {
                Event::HistoryMin { reply: answer(reply_to, Height) }
            }
            HostMsg::GetDecidedValues { range, reply_to } => {
                let (from, to) = (range.start().0, range.end().0);
                Event::DecidedRange { from, to, reply: answer(reply_to, decided_values) }
            }
            HostMsg::ProcessSyncedValue { height, round, proposer, value_bytes, reply_to } => {
                let round = defined(round, height)?;
                match synced(height.0, round, proposer.0, &value_bytes, reply_to) {
                    Some(event) => event,
                    None => return Ok(()),
                }
            }
            HostMsg::ExtendVote { reply_to, .. } => {
                let _ = reply_to.send(None);
                return Ok(());
            }
            HostMsg::VerifyVoteExtensions { extensions, reply_to, .. } => {
                let refuse = |(voter, ())| (voter, Err(VoteExtensionError::InvalidVoteExtension));
                let _ = reply_to.send(extensions.into_iter().map(refuse).collect());
                return Ok(());
            }
        };
        self.emit(event)
    }

    /// Hands an event of the engine's own to the application.
    fn emit(&self, event: Event) -> Result<(), ActorProcessingErr> {
        self.events.try_send(event).map_err(|error| match error {
            TrySendError::Full(_) => "the application no longer reads the engine's events".into(),
            TrySendError::Closed(_) => "the application has ended".into(),
        })
    }

    /// Asks the application for the next height. Peers may have begun it already.
    fn wait(&self, event: Event) -> Result<(), ActorProcessingErr> {
        self.view.wait(|| self.emit(event))?;
        self.view.tell(&self.events);
        Ok(())
    }

    /// Takes a part in; if it completes a block, hands it to the application.
    fn receive(&mut self, from: PeerId, publisher: Option<PeerId>, part: StreamMessage<Part>) {
        let whole = match self.parts.receive(from, publisher, part) {
            Ok(Some(whole)) => whole,
            Ok(None) => return,
            Err(error) if error.is_innocent() => return debug!(%from, %error, "dropped a proposed block"),
            Err(error) => return warn!(%from, ?publisher, %error, "refused a proposed block"),
        };
        let (height, round, proposer, id) = (whole.height, whole.round, whole.proposer, whole.block.id());
        let block = Box::new(whole.block);
        if !offer(&self.events, Event::Proposal { height, round, proposer, block }) {
            self.parts.forget(height, round, id);
        }
    }

    fn first_start(&self, port: RpcReplyPort<(Height, HeightParams<Context>)>) -> Reply<Start> {
        self.start(port, |(height, parameters)| (height, parameters))
    }

    fn next_start(&self, port: RpcReplyPort<Next<Context>>) -> Reply<Start> {
        self.start(port, |(height, parameters)| Next::Start(height, parameters))
    }

    /// A reply that begins a height, and says so to whoever must know its voters.
    fn start<E: Send + 'static>(
        &self,
        port: RpcReplyPort<E>,
        translate: impl FnOnce((Height, HeightParams<Context>)) -> E + Send + 'static,
    ) -> Reply<Start> {
        let (timeouts, roster, view) = (self.timeouts, self.roster.clone(), self.view.clone());
        answer(port, move |start: Start| {
            roster.begin(start.height, &start.voters);
            view.begin(start.height, 0);
            translate(parameters(&start, timeouts))
        })
    }
}

/// Hands over an event that may be dropped: it takes no room that is reserved. Says whether it was taken.
pub(super) fn offer(events: &mpsc::Sender<Event>, event: Event) -> bool {
    let is_taken = events.capacity() > EVENTS_RESERVED && events.try_send(event).is_ok();
    if !is_taken {
        warn!("the application is behind; dropped what a peer sent");
    }
    is_taken
}

/// A reply whose answer is translated for the engine. An engine that no longer listens has gone on, which
/// is no fault.
fn answer<T: 'static, E: Send + 'static>(
    port: RpcReplyPort<E>,
    translate: impl FnOnce(T) -> E + Send + 'static,
) -> Reply<T> {
    Reply::new(move |given| {
        let _ = port.send(translate(given));
    })
}

/// The height closes as soon as it is decided (no target time): late signatures are not waited for.
fn parameters(start: &Start, timeouts: LinearTimeouts) -> (Height, HeightParams<Context>) {
    (Height(start.height), HeightParams::new(ValidatorSet::from(&start.voters), timeouts, None))
}

fn verdicts(port: RpcReplyPort<Vec<ProposedValue<Context>>>) -> Reply<Vec<Judged>> {
    answer(port, |known: Vec<Judged>| known.into_iter().map(convert::proposed_value).collect())
}

fn decided_values(decided: Vec<(Block, Certificate)>) -> Vec<RawDecidedValue<Context>> {
    let value = |(block, certificate): &(Block, Certificate)| {
        decided_value(canonical::encode(block).into(), certificate)
    };
    decided.iter().take(SYNC_BLOCKS_MAX).map(value).collect()
}

/// The question about a synced block. Bytes that are no block, or another one than their id binds, are
/// the peer's fault, and answered here.
fn synced(
    height: ids::Height,
    round: u32,
    proposer: MemberId,
    bytes: &Bytes,
    port: RpcReplyPort<SyncedValueOutcome<Context>>,
) -> Option<Event> {
    let block = match convert::read_block(bytes, height) {
        Ok(block) => Box::new(block),
        Err(error) => {
            warn!(%height, %error, "refused a block from a peer");
            let _ = port.send(SyncedValueOutcome::PeerFault);
            return None;
        }
    };
    let id = block.id();
    let judged = move |valid| {
        let judged = Judged { height, round, proposer, block: id, valid };
        SyncedValueOutcome::Verdict(convert::proposed_value(judged))
    };
    let reply = answer(port, move |verdict| match verdict {
        SyncVerdict::Valid => judged(true),
        SyncVerdict::Invalid => judged(false),
        SyncVerdict::NotYet => SyncedValueOutcome::LocalTransientError,
    });
    Some(Event::Synced { block, reply })
}

#[cfg(test)]
mod tests;
