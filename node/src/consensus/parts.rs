//! Proposed blocks in pieces: cut by the proposer, put together by everyone else.
//!
//! *Invariants.* A block comes out only if every piece is there once, in place, and the id that the last
//! piece names binds all of its bytes. What is kept meanwhile is bounded, per stream, per publisher and
//! per neighbour; the oldest gives way, so nobody can keep others' blocks out by leaving streams open.
//!
//! *Deliberately absent:* whether the block is any good, whether the proposer was to propose, and clocks:
//! a stream is stale when its height has passed.

use std::collections::BTreeMap;

use arc_malachitebft_app::streaming::{StreamId, StreamMessage};
use arc_malachitebft_app::types::PeerId;
use syngraph_protocol::block::Block;
use syngraph_protocol::codec;
use syngraph_protocol::ids::{BlockId, Height, MemberId};
use syngraph_protocol::limits::BLOCK_BODY_BYTES_MAX;

use super::codec::PART_BYTES_MAX;
use super::context::Part;
use super::convert::{BlockFormError, read_block};

/// Most parts of one stream: the first, the last, and the slices of the longest block between them.
const PARTS_MAX: u64 = 2 + BLOCK_BODY_BYTES_MAX.div_ceil(PART_BYTES_MAX) as u64;
/// Most unfinished streams of one publisher.
const STREAMS_PER_PUBLISHER_MAX: usize = 4;
/// Most unfinished streams that one neighbour has brought first.
const STREAMS_PER_NEIGHBOUR_MAX: usize = 32;
/// How far beyond the current height a block may be; the engine keeps as many heights of votes.
const HEIGHTS_AHEAD_MAX: u64 = 10;

/// Cuts a block into the parts that its proposer publishes, in order.
pub(super) fn cut(height: Height, round: u32, proposer: MemberId, block: &Block) -> Vec<Part> {
    let body = codec::encode(block);
    let slices = body.chunks(PART_BYTES_MAX).map(|slice| Part::Data(slice.to_vec()));
    let first = Part::Init { height, round, proposer };
    [first].into_iter().chain(slices).chain([Part::Fin { block: block.id() }]).collect()
}

/// A block that has arrived whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) height: Height,
    pub(super) round: u32,
    pub(super) proposer: MemberId,
    pub(super) block: Block,
}

/// Why a part was refused and its stream dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PartError {
    /// The first part is not, or another part is, at the beginning.
    #[error("part {sequence} is out of place")]
    OutOfPlace { sequence: u64 },
    /// Two different parts claim the same place.
    #[error("part {sequence} was sent in two versions")]
    Conflict { sequence: u64 },
    /// The slices are longer than any block.
    #[error("the slices are longer than a block may be")]
    TooLong,
    /// For a height that is decided, or too far ahead to be kept.
    #[error("it is for height {got}, and the current height is {current}")]
    OtherTime { current: Height, got: Height },
    /// The parts do not make up a block for their height.
    #[error(transparent)]
    Form(#[from] BlockFormError),
    /// The block is not the one that the last part names.
    #[error("the parts make up block {got}, not {expected}")]
    OtherBlock { expected: BlockId, got: BlockId },
}

impl PartError {
    /// Whether an honest peer can cause it, by being slower or faster than this node.
    pub(super) const fn is_innocent(&self) -> bool {
        matches!(self, Self::OtherTime { .. })
    }
}

/// The parts that have arrived of one stream.
#[derive(Debug)]
struct Stream {
    id: StreamId,
    publisher: PeerId,
    /// Who brought its first part here.
    neighbour: PeerId,
    /// The current height when that was.
    opened_at: Height,
    parts: BTreeMap<u64, Part>,
}

impl Stream {
    /// Takes a part in, checking everything that can be known of it alone and beside the others.
    fn add(&mut self, sequence: u64, part: Part) -> Result<(), PartError> {
        if sequence >= PARTS_MAX || (sequence == 0) != matches!(part, Part::Init { .. }) {
            return Err(PartError::OutOfPlace { sequence });
        }
        let known = self.parts.entry(sequence).or_insert_with(|| part.clone());
        if *known != part {
            return Err(PartError::Conflict { sequence });
        }
        let end = self.end().unwrap_or(PARTS_MAX);
        let ends = self.parts.values().filter(|part| matches!(part, Part::Fin { .. })).count();
        if ends > 1 || self.parts.keys().any(|&at| at > end) {
            return Err(PartError::OutOfPlace { sequence });
        }
        if self.len() > BLOCK_BODY_BYTES_MAX { Err(PartError::TooLong) } else { Ok(()) }
    }

    /// The place of the last part, once it is known.
    fn end(&self) -> Option<u64> {
        self.parts.iter().find(|(_, part)| matches!(part, Part::Fin { .. })).map(|(&at, _)| at)
    }

    /// How many bytes of the block are here.
    fn len(&self) -> usize {
        self.parts.values().map(|part| if let Part::Data(slice) = part { slice.len() } else { 0 }).sum()
    }

    /// The height it is for, once the first part is here.
    fn height(&self) -> Option<Height> {
        match self.parts.get(&0) {
            Some(Part::Init { height, .. }) => Some(*height),
            _ => None,
        }
    }

    fn is_whole(&self) -> bool {
        self.end().is_some_and(|end| self.parts.len() as u64 == end + 1)
    }

    /// Whether it can still be for `height` or later. A stream without its first part is for the height
    /// that was current when it began, or for the one after.
    fn concerns(&self, height: Height) -> bool {
        self.height().or_else(|| self.opened_at.next()).is_some_and(|own| own >= height)
    }

    /// The block; `None` if the stream is not whole.
    fn assemble(self) -> Result<Option<Whole>, PartError> {
        let mut body = Vec::with_capacity(self.len());
        let (mut first, mut last) = (None, None);
        for part in self.parts.into_values() {
            match part {
                Part::Init { height, round, proposer } => first = Some((height, round, proposer)),
                Part::Data(slice) => body.extend(slice),
                Part::Fin { block } => last = Some(block),
            }
        }
        let (Some((height, round, proposer)), Some(expected)) = (first, last) else { return Ok(None) };
        let block = read_block(&body, height)?;
        let got = block.id();
        if got != expected {
            return Err(PartError::OtherBlock { expected, got });
        }
        Ok(Some(Whole { height, round, proposer, block }))
    }
}

/// The unfinished streams of all peers, oldest first.
#[derive(Debug)]
pub(super) struct PartStreams {
    current: Height,
    streams: Vec<Stream>,
}

impl PartStreams {
    /// No streams.
    pub(super) fn new() -> Self {
        Self { current: Height::GENESIS, streams: Vec::new() }
    }

    /// Goes on to a height and drops what concerns earlier ones.
    pub(super) fn advance(&mut self, height: Height) {
        self.current = height;
        self.streams.retain(|stream| stream.concerns(height));
    }

    /// Takes in a part that `neighbour` brought and `publisher` signed (nobody, on a transport without
    /// signatures), and gives the block if it was the last one missing.
    ///
    /// # Errors
    /// [`PartError`]; the stream is dropped.
    pub(super) fn receive(
        &mut self,
        neighbour: PeerId,
        publisher: Option<PeerId>,
        message: StreamMessage<Part>,
    ) -> Result<Option<Whole>, PartError> {
        let sequence = message.sequence;
        let part = message.content.into_data().ok_or(PartError::OutOfPlace { sequence })?;
        let mut stream = self.take(neighbour, publisher.unwrap_or(neighbour), message.stream_id);
        stream.add(sequence, part)?;
        if let Some(got) = stream.height().filter(|&height| !self.is_timely(height)) {
            return Err(PartError::OtherTime { current: self.current, got });
        }
        if stream.is_whole() {
            return stream.assemble();
        }
        self.put(stream);
        Ok(None)
    }

    fn is_timely(&self, height: Height) -> bool {
        height.since(self.current).is_some_and(|ahead| ahead <= HEIGHTS_AHEAD_MAX)
    }

    /// Takes a stream out, or begins it.
    fn take(&mut self, neighbour: PeerId, publisher: PeerId, id: StreamId) -> Stream {
        let position = self.streams.iter().position(|known| known.publisher == publisher && known.id == id);
        match position {
            Some(position) => self.streams.remove(position),
            None => Stream { id, publisher, neighbour, opened_at: self.current, parts: BTreeMap::new() },
        }
    }

    /// Puts a stream back at the end. Those that have waited longest since their last part make room.
    fn put(&mut self, stream: Stream) {
        let (publisher, neighbour) = (stream.publisher, stream.neighbour);
        self.make_room(STREAMS_PER_PUBLISHER_MAX, |known| known.publisher == publisher);
        self.make_room(STREAMS_PER_NEIGHBOUR_MAX, |known| known.neighbour == neighbour);
        self.streams.push(stream);
    }

    /// Drops the oldest of a group if it has as many as it may have.
    fn make_room(&mut self, max: usize, is_member: impl Fn(&Stream) -> bool) {
        if self.streams.iter().filter(|stream| is_member(stream)).count() < max {
            return;
        }
        if let Some(oldest) = self.streams.iter().position(is_member) {
            self.streams.remove(oldest);
        }
    }
}

#[cfg(test)]
mod tests;
