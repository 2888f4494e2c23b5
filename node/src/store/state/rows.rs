//! The tables: every key and value, drawn once.
//!
//! All tables live in one sled tree, told apart by their first byte, because a sled batch
//! is atomic within one tree: a block's rows and the mark that vouches for them are there
//! together or not at all. Integers in keys are big endian, so that rows sort by them.
//! *Canonical* is the protocol's encoding.
//!
//! ```text
//! table     key after the table's byte                     value
//! mark      –                                              canonical Mark
//! state     state key                                      canonical record
//! history   state key ‖ height u64                         0x00 removed | 0x01 ‖ canonical record
//! sealed    log index of the first u64                     canonical SealedChunk
//! outcomes  log index of the first u64                     canonical Vec<Outcome>
//! ids       entry id                                       log index u64
//! blocks    height u64                                     canonical BlockRow
//! runs      member u32 ‖ day i64 ⊕ 2⁶³ ‖ height ‖ part u32 event ids, 16 bytes each, rising
//! ```
//!
//! *Invariants.* No value exceeds 100 KB: sled puts larger ones into files that it never
//! syncs. Rows of `history` to `blocks` are written once and never changed, and the mark
//! counts them and sums their hashes. The rows of one state key are neighbours in `history`,
//! because no canonical key of a table is the beginning of another.

use serde::{Deserialize, Serialize};
use syngraph_protocol::codec;
use syngraph_protocol::crypto;
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{BlockId, EntryId, EventId, Height, MemberId, NetworkId};
use syngraph_protocol::ledger::{EventRun, Executed, Outcome, StateChange};
use syngraph_protocol::limits::STATE_VALUE_BYTES_MAX;

use crate::store::log::{Location, Position};

/// The version of the tables that this code reads and writes. Others are rebuilt.
pub(super) const TABLES_VERSION: u16 = 1;
/// Most entries of one row of `sealed`: few rows to write, little to decode for one entry.
const SEALED_PER_ROW_MAX: usize = 64;
/// A row of `outcomes` takes another one while it is shorter than this, in bytes.
const OUTCOMES_BYTES: usize = 4 * 1024;
/// Most event ids of one row of `runs`.
const IDS_PER_ROW_MAX: usize = 4_096;
/// Longest value of any table, in bytes.
pub(super) const VALUE_BYTES_MAX: usize = STATE_VALUE_BYTES_MAX + 1;

pub(super) const MARK: u8 = 0x00;
pub(super) const STATE: u8 = 0x01;
pub(super) const HISTORY: u8 = 0x02;
pub(super) const SEALED: u8 = 0x03;
pub(super) const OUTCOMES: u8 = 0x04;
pub(super) const IDS: u8 = 0x05;
pub(super) const BLOCKS: u8 = 0x06;
pub(super) const RUNS: u8 = 0x07;
/// The tables whose rows never change.
pub(super) const FIXED: std::ops::RangeInclusive<u8> = HISTORY..=BLOCKS;

/// What the rows reflect; written in the same batch as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// [`TABLES_VERSION`].
    pub(super) version: u16,
    /// Whose history.
    pub(super) network: NetworkId,
    /// Which entries and blocks logs the locations mean: a copy from another node is none
    /// of ours.
    pub(super) logs: [u64; 2],
    /// Every row of blocks up to here is there, and none of later ones.
    pub(crate) height: Height,
    /// Every entry that lies before it is sealed or can never be.
    pub(crate) watermark: Position,
    /// What was durable of the entries log when this was written.
    pub(crate) entries_end: Position,
    /// What was durable of the blocks log.
    pub(crate) blocks_end: Position,
    /// The rows that never change: how many, and the sum of their hashes.
    pub(super) fixed: Digest,
}

/// A count and an order-free sum over rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Digest {
    rows: u64,
    sum: u64,
}

impl Digest {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        let [a, b, c, d, e, f, g, h, ..] = *crypto::sha256(&[key, value]).as_bytes();
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }

    pub(super) fn join(&mut self, other: Self) {
        self.rows = self.rows.wrapping_add(other.rows);
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

/// Where some entries of one block lie, in log order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SealedChunk {
    pub(super) height: Height,
    pub(super) entries: Vec<(EntryId, Location)>,
}

/// Where a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockRow {
    /// Its record in the blocks log.
    pub(crate) location: Location,
    /// Its id.
    pub(crate) id: BlockId,
    /// Log index of its first entry, or of the next block's if it has none.
    pub(crate) first_index: u64,
}

pub(super) fn state_key(key: &[u8]) -> Vec<u8> {
    [&[STATE], key].concat()
}

pub(super) fn history_key(key: &[u8], height: Height) -> Vec<u8> {
    [&[HISTORY], key, &height.get().to_be_bytes()].concat()
}

pub(super) fn index_key(table: u8, index: u64) -> Vec<u8> {
    [&[table][..], &index.to_be_bytes()].concat()
}

pub(super) fn id_key(id: &EntryId) -> Vec<u8> {
    [&[IDS][..], id.as_bytes()].concat()
}

/// The beginning of the keys of a member's day. Negative days sort before positive ones.
pub(super) fn day_key(member: MemberId, day: i64) -> Vec<u8> {
    let rising = day.cast_unsigned() ^ (1 << 63);
    [&[RUNS][..], &member.get().to_be_bytes(), &rising.to_be_bytes()].concat()
}

fn run_key(run: &EventRun, part: u32) -> Vec<u8> {
    let mut key = day_key(run.member, run.day);
    key.extend(run.height.get().to_be_bytes());
    key.extend(part.to_be_bytes());
    key
}

/// A row of `runs`, read back. None if it has another form.
pub(super) fn run_of(key: &[u8], value: &[u8]) -> Option<(EventRunKey, Vec<EventId>)> {
    let (_, key) = key.split_first()?;
    let (member, key) = key.split_first_chunk::<4>()?;
    let (day, key) = key.split_first_chunk::<8>()?;
    let (height, part) = key.split_first_chunk::<8>()?;
    let day = (u64::from_be_bytes(*day) ^ (1 << 63)).cast_signed();
    let key = EventRunKey {
        member: MemberId::new(u32::from_be_bytes(*member)),
        day,
        height: Height::new(u64::from_be_bytes(*height)),
    };
    let (ids, rest) = value.as_chunks::<16>();
    (part.len() == 4 && rest.is_empty())
        .then(|| (key, ids.iter().copied().map(EventId::from_bytes).collect()))
}

/// Which run a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventRunKey {
    pub(super) member: MemberId,
    pub(super) day: i64,
    pub(super) height: Height,
}

/// The rows that one block adds, changes and removes.
#[derive(Default)]
pub(crate) struct Rows {
    pub(super) batch: sled::Batch,
    pub(super) fixed: Digest,
    /// Members' days whose runs are to be removed.
    pub(super) dropped_days: Vec<(MemberId, i64)>,
}

impl Rows {
    /// The rows of the state that a charter founds.
    pub(crate) fn genesis(changes: &[StateChange]) -> Self {
        let mut rows = Self::default();
        rows.state(Height::GENESIS, changes);
        rows
    }

    /// The rows of a block. `locations` has the place of each of its entries, in log order.
    pub(crate) fn block(executed: &Executed, location: Location, locations: &[Location]) -> Self {
        let header = &executed.block.header;
        let first_index = header.log_size.saturating_sub(executed.entries.len() as u64);
        let mut rows = Self::default();
        rows.state(header.height, &executed.changes);
        rows.entries(header.height, first_index, &executed.entries, locations);
        rows.outcomes(first_index, &executed.outcomes);
        executed.runs.iter().for_each(|run| rows.run(run));
        rows.dropped_days.clone_from(&executed.dropped_days);
        let block = BlockRow { location, id: executed.block.id(), first_index };
        rows.fix(index_key(BLOCKS, header.height.get()), codec::encode(&block));
        rows
    }

    fn fix(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.fixed.add(&key, &value);
        self.batch.insert(key, value);
    }

    fn state(&mut self, height: Height, changes: &[StateChange]) {
        for StateChange { key, value } in changes {
            match value {
                Some(value) => self.batch.insert(state_key(key), value.as_slice()),
                None => self.batch.remove(state_key(key)),
            }
            let past = value.as_ref().map_or(vec![0], |value| [&[1], value.as_slice()].concat());
            self.fix(history_key(key, height), past);
        }
    }

    fn entries(&mut self, height: Height, first: u64, entries: &[VerifiedEntry], locations: &[Location]) {
        let placed: Vec<_> = entries.iter().map(VerifiedEntry::id).zip(locations.iter().copied()).collect();
        for ((id, _), index) in placed.iter().zip(first..) {
            self.fix(id_key(id), index.to_be_bytes().to_vec());
        }
        for (chunk, index) in placed.chunks(SEALED_PER_ROW_MAX).zip((first..).step_by(SEALED_PER_ROW_MAX)) {
            let chunk = SealedChunk { height, entries: chunk.to_vec() };
            self.fix(index_key(SEALED, index), codec::encode(&chunk));
        }
    }

    fn outcomes(&mut self, first: u64, outcomes: &[Outcome]) {
        let (mut from, mut bytes) = (0, 0_usize);
        for (position, outcome) in outcomes.iter().enumerate() {
            let len = codec::encode(outcome).len();
            if bytes.saturating_add(len) > OUTCOMES_BYTES {
                self.outcome_row(first, from, outcomes.get(from..position));
                (from, bytes) = (position, 0);
            }
            bytes = bytes.saturating_add(len);
        }
        self.outcome_row(first, from, outcomes.get(from..));
    }

    fn outcome_row(&mut self, first: u64, from: usize, outcomes: Option<&[Outcome]>) {
        if let Some(outcomes) = outcomes.filter(|outcomes| !outcomes.is_empty()) {
            let key = index_key(OUTCOMES, first.saturating_add(from as u64));
            self.fix(key, codec::encode(&outcomes));
        }
    }

    fn run(&mut self, run: &EventRun) {
        for (ids, part) in run.ids.chunks(IDS_PER_ROW_MAX).zip(0_u32..) {
            let bytes: Vec<u8> = ids.iter().flat_map(EventId::as_bytes).copied().collect();
            self.batch.insert(run_key(run, part), bytes);
        }
    }
}
