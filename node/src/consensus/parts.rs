//! Proposed blocks in pieces: cut by the proposer, put together by everyone else.
//!
//! *Invariants.*
//! - A block comes out only if every piece is there once, in place, and the id that the last piece names
//!   binds all of its bytes.
//! - It comes from the node of a member that may propose it ([`Roster::check`]), for a height and round
//!   near the current ones; one for each height, round and publisher, and the same block for the same
//!   height and round once. A stream that begins otherwise is dropped at once.
//! - What is kept meanwhile is bounded: a stream holds at most [`BLOCK_BODY_BYTES_MAX`] in at most
//!   [`PARTS_MAX`] parts, a publisher has at most [`STREAMS_PER_PUBLISHER_MAX`] open, a neighbour has
//!   brought at most [`STREAMS_PER_NEIGHBOUR_MAX`], and all together are at most [`STREAMS_MAX`]: 16 MiB.
//!   The oldest gives way, so nobody can keep others' blocks out by leaving streams open. Of blocks that
//!   have come out, their ids stay known: at most one for each height and round in reach and each member.
//!
//! *Deliberately absent:* whether the block is any good, and clocks: a stream is stale when its height has
//! passed.

use std::collections::BTreeMap;

use arc_malachitebft_app::consensus::MAX_FUTURE_ROUND_LOOKAHEAD;
use arc_malachitebft_app::streaming::{StreamId, StreamMessage};
use arc_malachitebft_app::types::PeerId;
use syngraph_protocol::block::Block;
use syngraph_protocol::codec;
use syngraph_protocol::ids::{BlockId, Height, MemberId};
use syngraph_protocol::limits::BLOCK_BODY_BYTES_MAX;

use super::codec::PART_BYTES_MAX;
use super::context::Part;
use super::convert::{BlockFormError, read_block};
use super::roster::{Roster, TurnError};

/// Most parts of one stream: the first, the last, and the slices of the longest block between them.
const PARTS_MAX: u64 = 2 + BLOCK_BODY_BYTES_MAX.div_ceil(PART_BYTES_MAX) as u64;
/// Most unfinished streams of one publisher.
const STREAMS_PER_PUBLISHER_MAX: usize = 4;
/// Most unfinished streams that one neighbour has brought first.
const STREAMS_PER_NEIGHBOUR_MAX: usize = 32;
/// Most unfinished streams of all together.
const STREAMS_MAX: usize = 128;
/// How far beyond the current height a block may be; the engine keeps as many heights of votes.
pub(super) const HEIGHTS_AHEAD_MAX: u64 = 10;
/// How far from the current round (of later heights: from the first) a block may be; the engine takes
/// proposals as far ahead.
const ROUNDS_AWAY_MAX: u32 = MAX_FUTURE_ROUND_LOOKAHEAD;

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
    /// For a round that is too far from the current one.
    #[error("it is for round {got}, and the current round is {current}")]
    OtherRound { current: u32, got: u32 },
    /// Its publisher may not propose it.
    #[error(transparent)]
    Turn(#[from] TurnError),
    /// Its publisher has published a block for this height and round before, or somebody else has
    /// published this one.
    #[error("it is the second block for height {height} and round {round}")]
    Second { height: Height, round: u32 },
    /// The parts do not make up a block for their height.
    #[error(transparent)]
    Form(#[from] BlockFormError),
    /// The block is not the one that the last part names.
    #[error("the parts make up block {got}, not {expected}")]
    OtherBlock { expected: BlockId, got: BlockId },
}

impl PartError {
    /// Whether an honest peer can cause it, by being slower or faster than this node, by publishing again
    /// after a restart, or by having other voters in mind.
    pub(super) const fn is_innocent(&self) -> bool {
        matches!(
            self,
            Self::OtherTime { .. }
                | Self::OtherRound { .. }
                | Self::Second { .. }
                | Self::Turn(TurnError::NoVoter(_) | TurnError::OutOfTurn(_))
        )
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

    /// The height, round and proposer it is for, once the first part is here.
    fn purpose(&self) -> Option<(Height, u32, MemberId)> {
        match self.parts.get(&0) {
            Some(Part::Init { height, round, proposer }) => Some((*height, *round, *proposer)),
            _ => None,
        }
    }

    fn is_whole(&self) -> bool {
        self.end().is_some_and(|end| self.parts.len() as u64 == end + 1)
    }

    /// Whether it can still be for `height` or later. A stream without its first part is for the height
    /// that was current when it began, or for the one after.
    fn concerns(&self, height: Height) -> bool {
        let own = self.purpose().map(|(own, ..)| own);
        own.or_else(|| self.opened_at.next()).is_some_and(|own| own >= height)
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

/// The unfinished streams of all peers, oldest first, and what has come out of others.
#[derive(Debug)]
pub(super) struct PartStreams {
    roster: Roster,
    current: Height,
    round: u32,
    streams: Vec<Stream>,
    /// The blocks that have come out, by what they are for and whose node published them.
    done: BTreeMap<(Height, u32, MemberId), BlockId>,
}

impl PartStreams {
    /// No streams.
    pub(super) fn new(roster: Roster) -> Self {
        let (current, round) = (Height::GENESIS, 0);
        Self { roster, current, round, streams: Vec::new(), done: BTreeMap::new() }
    }

    /// Goes on to a height and round and drops what concerns earlier heights, and rounds long past.
    pub(super) fn advance(&mut self, height: Height, round: u32) {
        (self.current, self.round) = (height, round);
        self.streams.retain(|stream| stream.concerns(height));
        let oldest = round.saturating_sub(ROUNDS_AWAY_MAX);
        self.done.retain(|&(of, round, _), _| of > height || of == height && round >= oldest);
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
        let (sequence, publisher) = (message.sequence, publisher.unwrap_or(neighbour));
        let member = self.roster.member(&publisher).ok_or(TurnError::Stranger)?;
        let part = message.content.into_data().ok_or(PartError::OutOfPlace { sequence })?;
        let mut stream = self.take(neighbour, publisher, message.stream_id);
        stream.add(sequence, part)?;
        if let Some((height, round, proposer)) = stream.purpose() {
            self.check_time(height, round)?;
            self.roster.check(&publisher, height, round, proposer)?;
            if self.done.contains_key(&(height, round, member)) {
                return Err(PartError::Second { height, round });
            }
        }
        if !stream.is_whole() {
            self.put(stream);
            return Ok(None);
        }
        let Some(whole) = stream.assemble()? else { return Ok(None) };
        self.once(member, whole).map(Some)
    }

    /// Forgets that a block has come out, since nobody could take it: it may come again.
    pub(super) fn forget(&mut self, height: Height, round: u32, block: BlockId) {
        self.done.retain(|&(of, at, _), &mut id| (of, at, id) != (height, round, block));
    }

    /// Notes that a block has come out, and holds it back if it has before.
    fn once(&mut self, publisher: MemberId, whole: Whole) -> Result<Whole, PartError> {
        let (height, round, id) = (whole.height, whole.round, whole.block.id());
        let is_known = self.done.iter().any(|(&(of, at, _), &known)| (of, at, known) == (height, round, id));
        self.done.insert((height, round, publisher), id);
        if is_known { Err(PartError::Second { height, round }) } else { Ok(whole) }
    }

    fn check_time(&self, height: Height, round: u32) -> Result<(), PartError> {
        let ahead = height.since(self.current).filter(|&ahead| ahead <= HEIGHTS_AHEAD_MAX);
        let Some(ahead) = ahead else {
            return Err(PartError::OtherTime { current: self.current, got: height });
        };
        let current = if ahead == 0 { self.round } else { 0 };
        if round.abs_diff(current) > ROUNDS_AWAY_MAX {
            return Err(PartError::OtherRound { current, got: round });
        }
        Ok(())
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
        self.make_room(STREAMS_MAX, |_| true);
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
