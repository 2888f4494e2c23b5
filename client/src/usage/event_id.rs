//! Ids of events that come without one: UUIDv7s derived from what the event is.
//!
//! *Invariants.* The same event gives the same id, in whatever file and at whatever line
//! it stands, so that a file that was cut differently, or is imported again, bills
//! nothing twice. Rows that are the same in everything are told apart by counting them.
//!
//! Source: RFC 9562 §5.7 (UUID version 7).

use std::collections::HashMap;

use syngraph_protocol::codec;
use syngraph_protocol::crypto::{self, Domain};
use syngraph_protocol::ids::{EventId, Hash};
use syngraph_protocol::time::UtcMs;

/// Last millisecond that a UUIDv7 can hold: 48 bits.
pub const UUID_MS_MAX: i64 = (1 << 48) - 1;

/// The UUIDv7 of a moment and the first 74 bits of a hash: 48 bits of milliseconds,
/// version 7, 12 bits, variant 10, 62 bits. None for moments before 1970 or beyond 48
/// bits.
#[must_use]
pub fn uuid_v7(at: UtcMs, content: &Hash) -> Option<EventId> {
    if !(0..=UUID_MS_MAX).contains(&at.ms()) {
        return None;
    }
    let [_, _, ms @ ..] = at.ms().to_be_bytes();
    let bits = u128::from_be_bytes(*content.as_bytes().first_chunk()?) >> (128 - 74);
    let (upper, lower) = (bits >> 62, bits & ((1 << 62) - 1));
    let ms = ms.iter().fold(0_u128, |sum, byte| (sum << 8) | u128::from(*byte));
    let uuid = (ms << 80) | (7 << 76) | (upper << 64) | (0b10 << 62) | lower;
    Some(EventId::from_bytes(uuid.to_be_bytes()))
}

/// What makes an event itself.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The agreement, the grant and the meter, canonical.
    pub context: &'a [u8],
    /// The exact moment in nanoseconds since the epoch: two events of one millisecond
    /// are not one.
    pub nanos: i128,
    /// The fields of the row, each after the name of its column, sorted by name; without
    /// the moment.
    pub fields: &'a [(&'a str, &'a str)],
}

/// Gives out ids, counting events that are the same in everything.
#[derive(Debug, Default)]
pub struct EventIds {
    /// How often each content came so far, by the first half of its hash.
    seen: HashMap<[u8; 16], u32>,
}

impl EventIds {
    /// The id of the next event with this content; none for moments that a UUIDv7 cannot
    /// hold.
    pub fn next(&mut self, at: UtcMs, content: &Content<'_>) -> Option<EventId> {
        let bytes = codec::encode(&(content.context, content.nanos, content.fields));
        let same = crypto::hash(Domain::EVENT_ID, &[&bytes]);
        let count = self.seen.entry(*same.as_bytes().first_chunk()?).or_insert(0);
        let occurrence = *count;
        *count += 1;
        uuid_v7(at, &crypto::hash(Domain::EVENT_ID, &[same.as_bytes(), &codec::encode(&occurrence)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syngraph_protocol::ledger::usage::event_ids::{is_uuid_v7, time_of};

    #[test]
    fn the_layout_is_that_of_rfc_9562() {
        // RFC 9562 appendix A.6: 017F22E2-79B0-7CC3-98C4-DC0C0C07398F.
        let (rand_a, rand_b) = (0xcc3_u128, 0x18c4_dc0c_0c07_398f_u128);
        let bits: u128 = ((rand_a << 62) | rand_b) << (128 - 74);
        let mut content = [0; 32];
        content[..16].copy_from_slice(&bits.to_be_bytes());
        let at: UtcMs = UtcMs::parse("2022-02-22T19:22:22.000Z").expect("a moment");
        let id = uuid_v7(at, &Hash::from_bytes(content)).expect("in range");
        assert_eq!(id.to_string(), "017f22e279b07cc398c4dc0c0c07398f");
        assert!(is_uuid_v7(&id));
        assert_eq!(time_of(&id), at);
        let uuid = uuid::Uuid::from_bytes(*id.as_bytes());
        assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
    }

    #[test]
    fn every_bit_of_the_moment_and_74_of_the_hash_count() {
        let ones = Hash::from_bytes([0xff; 32]);
        let id = uuid_v7(UtcMs::from_ms(UUID_MS_MAX), &ones).expect("in range");
        assert_eq!(id.to_string(), "ffffffffffff7fffbfffffffffffffff");
        let none = uuid_v7(UtcMs::from_ms(0), &Hash::from_bytes([0; 32])).expect("in range");
        assert_eq!(none.to_string(), "00000000000070008000000000000000");
        assert_eq!(uuid_v7(UtcMs::from_ms(-1), &ones), None);
        assert_eq!(uuid_v7(UtcMs::from_ms(UUID_MS_MAX + 1), &ones), None);
    }

    #[test]
    fn the_same_rows_are_counted_and_others_are_not_mixed_up() {
        let at = UtcMs::from_ms(1_700_000_000_000);
        let content = |nanos: i128, fields| Content { context: b"c", nanos, fields };
        let (one, two): (&[_], &[_]) =
            (&[("Context", "1"), ("Generated", "12")], &[("Context", "11"), ("Generated", "2")]);
        let mut first = EventIds::default();
        let ids: Vec<_> = [content(0, one), content(0, one), content(1, one), content(0, two)]
            .iter()
            .map(|content| first.next(at, content).expect("in range"))
            .collect();
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), 4);
        // Another file with the same rows in another order gives the same ids.
        let mut second = EventIds::default();
        let again: Vec<_> = [content(0, two), content(1, one), content(0, one), content(0, one)]
            .iter()
            .map(|content| second.next(at, content).expect("in range"))
            .collect();
        assert_eq!(again, [ids[3], ids[2], ids[0], ids[1]]);
    }
}
