//! Which events were already recorded, for ever, in bounded memory.
//!
//! *Invariants.* Ids are unique per reporting member. They are kept by the day of their
//! embedded moment, as sorted runs; days wholly below the floor are dropped, since
//! nothing that old is admissible. The state holds, for each (member, day), a count and a
//! hash chain over each block's new ids, so that these sets are proved by `state_root`
//! and can be rebuilt and checked.

use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::crypto::{self, Domain};
use crate::ids::{EventId, Hash, Height, MemberId};
use crate::ledger::table::Record;
use crate::time::UtcMs;

/// What the state says about a member's events of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventDay {
    /// How many events.
    pub count: u64,
    /// Chain over each block's new ids.
    pub chain: Hash,
}

impl Record for EventDay {
    /// (reporting member, days since the epoch).
    type Key = (MemberId, i64);
    const KIND: u8 = 0x41;
}

impl EventDay {
    /// A day without events.
    pub const EMPTY: Self = Self { count: 0, chain: Hash::from_bytes([0; 32]) };

    /// The day after one block's new ids, which must be sorted.
    #[must_use]
    pub fn extend(&self, height: Height, ids: &[EventId]) -> Self {
        let new = ids.iter().flat_map(EventId::as_bytes).copied().collect::<Vec<u8>>();
        let link = codec::encode(&(self.chain, height));
        let added = u64::try_from(ids.len()).unwrap_or(u64::MAX);
        Self { count: self.count.saturating_add(added), chain: crypto::hash(Domain::EVENTS, &[&link, &new]) }
    }
}

/// The new ids of one member and day in one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRun {
    /// The reporting member.
    pub member: MemberId,
    /// Days since the epoch.
    pub day: i64,
    /// The block.
    pub height: Height,
    /// The ids, sorted.
    pub ids: Arc<[EventId]>,
}

type DayKey = (MemberId, i64);

/// Sorted runs, each at least twice as long as the next: few to search, cheap to merge.
#[derive(Clone, Debug, Default)]
struct Runs(Vec<Arc<[EventId]>>);

impl Runs {
    fn contains(&self, id: &EventId) -> bool {
        self.0.iter().any(|run| match (run.first(), run.last()) {
            (Some(first), Some(last)) if first <= id && id <= last => run.binary_search(id).is_ok(),
            _ => false,
        })
    }

    fn push(&mut self, run: Arc<[EventId]>) {
        let mut merged = run;
        while let Some(last) = self.0.last() {
            if last.len() > merged.len().saturating_mul(2) {
                break;
            }
            merged = merge(last, &merged);
            self.0.pop();
        }
        self.0.push(merged);
    }
}

fn merge(a: &[EventId], b: &[EventId]) -> Arc<[EventId]> {
    let mut all = Vec::with_capacity(a.len().saturating_add(b.len()));
    all.extend_from_slice(a);
    all.extend_from_slice(b);
    // A stable sort of two runs is a merge.
    all.sort();
    all.into()
}

/// All known events; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct EventIds {
    days: OrdMap<DayKey, Arc<Runs>>,
    /// New in the block being executed.
    fresh: OrdMap<DayKey, Arc<Runs>>,
}

impl EventIds {
    /// Whether the member has already recorded this event.
    #[must_use]
    pub fn contains(&self, member: MemberId, id: &EventId) -> bool {
        let key = (member, time_of(id).day());
        let known = |days: &OrdMap<DayKey, Arc<Runs>>| days.get(&key).is_some_and(|runs| runs.contains(id));
        known(&self.days) || known(&self.fresh)
    }

    /// How many of the day's events are new in this block.
    pub(super) fn fresh_count(&self, key: DayKey) -> u64 {
        let len = self.fresh.get(&key).map_or(0, |runs| runs.0.iter().map(|run| run.len()).sum());
        u64::try_from(len).unwrap_or(u64::MAX)
    }

    /// Adds ids of one day that are new and sorted.
    pub(super) fn add(&mut self, key: DayKey, ids: Arc<[EventId]>) {
        Arc::make_mut(self.fresh.entry(key).or_default()).push(ids);
    }

    /// Ends the block: what was new is now known. Gives each day's new ids.
    pub(crate) fn seal(&mut self, height: Height) -> Vec<EventRun> {
        let fresh = std::mem::take(&mut self.fresh);
        let runs = fresh.into_iter().map(|((member, day), runs)| {
            let ids = runs.0.iter().rev().cloned().reduce(|merged, run| merge(&run, &merged));
            EventRun { member, day, height, ids: ids.unwrap_or_default() }
        });
        let runs: Vec<_> = runs.collect();
        runs.iter().for_each(|run| self.load(run));
        runs
    }

    /// Adds a sealed run.
    pub(crate) fn load(&mut self, run: &EventRun) {
        Arc::make_mut(self.days.entry((run.member, run.day)).or_default()).push(run.ids.clone());
    }

    /// Forgets a day.
    pub(crate) fn forget(&mut self, key: DayKey) {
        self.days.remove(&key);
    }
}

/// The moment of use that an event id embeds (RFC 9562 §5.7).
#[must_use]
pub fn time_of(id: &EventId) -> UtcMs {
    let [a, b, c, d, e, f, ..] = *id.as_bytes();
    UtcMs::from_ms(i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

/// Whether an id has the version and variant of a UUIDv7.
#[must_use]
pub fn is_uuid_v7(id: &EventId) -> bool {
    let bytes = id.as_bytes();
    bytes[6] >> 4 == 7 && bytes[8] >> 6 == 0b10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, rest: u8) -> EventId {
        let mut bytes = [rest; 16];
        bytes[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
        bytes[6] = 0x70 | (rest & 0x0f);
        bytes[8] = 0x80 | (rest & 0x3f);
        EventId::from_bytes(bytes)
    }

    const M: MemberId = MemberId::new(1);

    #[test]
    fn ids_embed_their_moment() {
        assert_eq!(time_of(&id(1_700_158_546_680, 3)).to_string(), "2023-11-16T18:15:46.680Z");
        assert!(is_uuid_v7(&id(5, 9)));
        assert!(!is_uuid_v7(&EventId::from_bytes([0; 16])));
    }

    #[test]
    fn what_was_added_is_known_at_once_and_after_sealing() {
        let mut known = EventIds::default();
        for block in 1..40_u64 {
            let ids: Vec<_> = (0..10).map(|n| id(block * 100 + n, 1)).collect();
            assert!(ids.iter().all(|id| !known.contains(M, id)));
            known.add((M, 0), ids.clone().into());
            assert!(ids.iter().all(|id| known.contains(M, id)));
            let runs = known.seal(Height::new(block));
            assert_eq!(runs.len(), 1);
            assert_eq!(&*runs[0].ids, ids.as_slice());
        }
        assert!((100..110).all(|ms| known.contains(M, &id(ms, 1))));
        assert!(!known.contains(MemberId::new(2), &id(100, 1)), "ids are unique per member");
        let runs = known.days.get(&(M, 0)).expect("the day").0.len();
        assert!(runs <= 8, "{runs} runs for 39 blocks");
        known.forget((M, 0));
        assert!(!known.contains(M, &id(100, 1)));
    }

    #[test]
    fn the_chain_binds_order_and_content() {
        let (a, b) = ([id(1, 1)], [id(2, 2)]);
        let chain = |first: &[EventId], second: &[EventId]| {
            EventDay::EMPTY.extend(Height::new(1), first).extend(Height::new(2), second)
        };
        assert_eq!(chain(&a, &b).count, 2);
        assert_ne!(chain(&a, &b).chain, chain(&b, &a).chain);
    }
}
