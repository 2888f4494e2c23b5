//! What is on its way between the core and one peer, in both directions.
//!
//! *Invariants.* Every ask that came in gives exactly one [`Ready::Response`]. A peer has at
//! most [`REQUESTS_PER_PEER_MAX`] requests without an answer here, and at most
//! [`ASKS_IN_FLIGHT_MAX`] of our asks before it; an ask's place is free again when the core
//! has taken what came of it, and not before. Messages are decoded in the order in which
//! they came, one at a time.
//!
//! *Deliberately absent:* the network and the threads that decode. This only keeps count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use libp2p::request_response::{InboundRequestId, OutboundRequestId, ResponseChannel};

use super::bounds::{ANSWERS_IN_FLIGHT_MAX, ASKS_IN_FLIGHT_MAX, ASKS_WAITING_MAX, REQUESTS_PER_PEER_MAX};
use super::frame::Frame;
use super::wire::Kind;
use crate::replicas::message::{Request, Response, Ticket};

/// A message as it came.
pub(super) enum Raw {
    /// A request of the peer.
    Request { id: InboundRequestId, bytes: Vec<u8> },
    /// The response to an ask of ours.
    Response { ticket: Ticket, asked: Kind, bytes: Vec<u8> },
}

/// What the core may take.
pub(super) enum Ready {
    /// A request of the peer, decoded.
    Request { id: InboundRequestId, request: Request, bytes: usize },
    /// What came of an ask.
    Response { ticket: Ticket, response: Option<Response>, was_sent: bool, bytes: usize },
}

impl Ready {
    /// How many bytes it had as it came.
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Request { bytes, .. } | Self::Response { bytes, .. } => *bytes,
        }
    }
}

/// An answer that waits to be sent.
pub(super) enum Answer {
    /// From the core.
    Message(Response),
    /// From the log, encoded, with how many entries it has.
    Sealed(Vec<u8>, usize),
}

/// How far a request of the peer has come.
enum Stage {
    /// Not decoded, or not taken by the core.
    Coming,
    /// Before the core.
    Asked(Ticket),
    /// For the log, from this index.
    Log(u64),
    /// The log is being read.
    Reading,
    /// To be sent.
    Answered(Answer),
}

struct Open {
    channel: ResponseChannel<Frame>,
    stage: Stage,
}

/// See the module.
#[derive(Default)]
pub(super) struct Mailbox {
    asks_waiting: VecDeque<(Ticket, Request)>,
    asks_sent: BTreeMap<OutboundRequestId, (Ticket, Kind)>,
    /// Asks that were sent and whose outcome the core has not taken.
    asks_in_flight: usize,
    open: BTreeMap<InboundRequestId, Open>,
    answers_in_flight: BTreeSet<InboundRequestId>,
    raw: VecDeque<Raw>,
    decoding: bool,
    ready: VecDeque<Ready>,
}

/// Asks of ours.
impl Mailbox {
    /// Takes an ask, to send it when there is room.
    pub(super) fn ask(&mut self, ticket: Ticket, request: Request) {
        if self.asks_waiting.len() < ASKS_WAITING_MAX + ASKS_IN_FLIGHT_MAX {
            self.asks_waiting.push_back((ticket, request));
        } else {
            self.fail(ticket, false);
        }
    }

    /// The next ask to send. It then ends with [`Self::sent`] or [`Self::fail`].
    pub(super) fn next_ask(&mut self) -> Option<(Ticket, Request)> {
        if self.asks_in_flight >= ASKS_IN_FLIGHT_MAX {
            return None;
        }
        let ask = self.asks_waiting.pop_front()?;
        self.asks_in_flight += 1;
        Some(ask)
    }

    pub(super) fn sent(&mut self, id: OutboundRequestId, ticket: Ticket, asked: Kind) {
        self.asks_sent.insert(id, (ticket, asked));
    }

    /// Nothing will come of an ask.
    pub(super) fn fail(&mut self, ticket: Ticket, was_sent: bool) {
        self.ready.push_back(Ready::Response { ticket, response: None, was_sent, bytes: 0 });
    }

    /// Nothing will come of the asks that wait.
    pub(super) fn fail_waiting(&mut self) {
        while let Some((ticket, _)) = self.asks_waiting.pop_front() {
            self.fail(ticket, false);
        }
    }

    /// A response came. Gives whether anybody waits for it.
    pub(super) fn response_came(&mut self, id: OutboundRequestId, bytes: Vec<u8>) -> bool {
        let sent = self.asks_sent.remove(&id);
        let known = sent.is_some();
        self.raw.extend(sent.map(|(ticket, asked)| Raw::Response { ticket, asked, bytes }));
        known
    }

    pub(super) fn response_failed(&mut self, id: OutboundRequestId) {
        if let Some((ticket, _)) = self.asks_sent.remove(&id) {
            self.fail(ticket, true);
        }
    }

    pub(super) fn response_decoded(&mut self, ticket: Ticket, response: Option<Response>, bytes: usize) {
        self.ready.push_back(Ready::Response { ticket, response, was_sent: true, bytes });
    }
}

/// Requests of the peer.
impl Mailbox {
    /// A request came. Gives how many bytes are no longer held, of a request that made room.
    /// None: there is no room; the request is dropped, and its sender hears that no answer
    /// comes.
    pub(super) fn request_came(
        &mut self,
        id: InboundRequestId,
        channel: ResponseChannel<Frame>,
        bytes: Vec<u8>,
    ) -> Option<usize> {
        let mut freed = 0;
        if self.open.len() >= REQUESTS_PER_PEER_MAX {
            // A peer that keeps to its own bound has given up on the oldest.
            let is_coming = |open: &Open| matches!(open.stage, Stage::Coming);
            let oldest = self.open.iter().find(|(_, open)| is_coming(open)).map(|(id, _)| *id)?;
            freed = self.request_ended(oldest);
        }
        self.open.insert(id, Open { channel, stage: Stage::Coming });
        self.raw.push_back(Raw::Request { id, bytes });
        Some(freed)
    }

    /// Nobody waits for the answer to a request any more, or it has been sent. Gives how
    /// many bytes are no longer held.
    pub(super) fn request_ended(&mut self, id: InboundRequestId) -> usize {
        self.open.remove(&id);
        self.answers_in_flight.remove(&id);
        self.drop_requests(|other| other == id)
    }

    /// The peer is gone: so are its requests. Gives how many bytes are no longer held.
    pub(super) fn forget_requests(&mut self) -> usize {
        self.open.clear();
        self.answers_in_flight.clear();
        self.drop_requests(|_| true)
    }

    fn drop_requests(&mut self, which: impl Fn(InboundRequestId) -> bool) -> usize {
        let mut freed = 0;
        self.raw.retain(|raw| match raw {
            Raw::Request { id, bytes } if which(*id) => {
                freed += bytes.len();
                false
            }
            _ => true,
        });
        self.ready.retain(|ready| match ready {
            Ready::Request { id, bytes, .. } if which(*id) => {
                freed += bytes;
                false
            }
            _ => true,
        });
        freed
    }

    /// A request was decoded. Gives whether it waits for the core, or for the log.
    pub(super) fn request_decoded(&mut self, id: InboundRequestId, request: Request, bytes: usize) -> bool {
        let Some(open) = self.open.get_mut(&id) else { return false };
        if let Request::Log { from } = request {
            open.stage = Stage::Log(from);
            return false;
        }
        self.ready.push_back(Ready::Request { id, request, bytes });
        true
    }

    /// The core has taken a request.
    pub(super) fn asked(&mut self, id: InboundRequestId, ticket: Ticket) {
        if let Some(open) = self.open.get_mut(&id) {
            open.stage = Stage::Asked(ticket);
        }
    }

    /// The core answers.
    pub(super) fn answer(&mut self, ticket: Ticket, response: Response) {
        let is_asked = |open: &&mut Open| matches!(open.stage, Stage::Asked(other) if other == ticket);
        if let Some(open) = self.open.values_mut().find(is_asked) {
            open.stage = Stage::Answered(Answer::Message(response));
        }
    }

    /// The next request for the log; one at a time, and only when its answer can be sent.
    pub(super) fn next_log(&mut self) -> Option<(InboundRequestId, u64)> {
        let is_reading = self.open.values().any(|open| matches!(open.stage, Stage::Reading));
        if is_reading || self.answers_in_flight.len() >= ANSWERS_IN_FLIGHT_MAX {
            return None;
        }
        self.open.iter_mut().find_map(|(id, open)| {
            let Stage::Log(from) = open.stage else { return None };
            open.stage = Stage::Reading;
            Some((*id, from))
        })
    }

    /// The log was read for a request, or could not be.
    pub(super) fn log_read(&mut self, id: InboundRequestId, answer: Option<Answer>) {
        match (answer, self.open.get_mut(&id)) {
            (Some(answer), Some(open)) => open.stage = Stage::Answered(answer),
            _ => {
                self.open.remove(&id);
            }
        }
    }

    /// The next answer to send; the request is then done when [`Self::request_ended`].
    pub(super) fn next_answer(&mut self) -> Option<(InboundRequestId, ResponseChannel<Frame>, Answer)> {
        if self.answers_in_flight.len() >= ANSWERS_IN_FLIGHT_MAX {
            return None;
        }
        let is_answered = |open: &Open| matches!(open.stage, Stage::Answered(_));
        let id = self.open.iter().find(|(_, open)| is_answered(open)).map(|(id, _)| *id)?;
        let Open { channel, stage: Stage::Answered(answer) } = self.open.remove(&id)? else { return None };
        self.answers_in_flight.insert(id);
        Some((id, channel, answer))
    }
}

/// Decoding and delivery.
impl Mailbox {
    /// The next message to decode; [`Self::decoded`] comes before the one after it.
    pub(super) fn next_raw(&mut self) -> Option<Raw> {
        if self.decoding {
            return None;
        }
        let raw = self.raw.pop_front()?;
        self.decoding = true;
        Some(raw)
    }

    /// Whether a message waits to be decoded and none is.
    pub(super) fn has_raw(&self) -> bool {
        !self.decoding && !self.raw.is_empty()
    }

    pub(super) const fn decoded(&mut self) {
        self.decoding = false;
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// What the core takes next.
    pub(super) fn take_ready(&mut self) -> Option<Ready> {
        let ready = self.ready.pop_front()?;
        if let Ready::Response { was_sent: true, .. } = ready {
            self.asks_in_flight = self.asks_in_flight.saturating_sub(1);
        }
        Some(ready)
    }

    /// Whether nothing is left that the core must hear of.
    pub(super) fn is_empty(&self) -> bool {
        self.asks_waiting.is_empty() && self.asks_in_flight == 0 && self.ready.is_empty() && !self.decoding
    }
}
