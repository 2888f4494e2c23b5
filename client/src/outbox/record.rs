//! The records of an outbox and their framing: length u32 LE, CRC-32C u32 LE over length
//! and bytes, then the canonical bytes.

use serde::{Deserialize, Serialize};
use syngraph_protocol::codec;
use syngraph_protocol::entry::{Body, Head};
use syngraph_protocol::ids::{MemberId, NetworkId, Seq, Signature};
use syngraph_protocol::journal::Tip;
use syngraph_protocol::limits::ENTRY_BYTES_MAX;

/// Longest record, in bytes: an entry and the numbers beside it.
pub(super) const RECORD_BYTES_MAX: usize = ENTRY_BYTES_MAX + 1_024;

const FRAME_BYTES: usize = 8;

/// Whose journal an outbox feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The network.
    pub network: NetworkId,
    /// The member that the key belongs to.
    pub member: MemberId,
}

/// What a segment starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// Whose journal it is, once that is known.
    pub(super) binding: Option<Binding>,
    /// Where the journal ends, everything signed included.
    pub(super) tip: Tip,
    /// The number that the next intent gets.
    pub(super) next_number: u64,
}

/// What happened, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Record {
    /// Opens every segment.
    Checkpoint(Checkpoint),
    /// A node has told whose key it is.
    Bound(Binding),
    /// The journal was found to end elsewhere, before anything was signed here.
    Adopted(Tip),
    /// Something is to be said; its identity (idem, event ids) is fixed from here on.
    Intent {
        /// Counts intents.
        number: u64,
        /// What is said.
        body: Body,
    },
    /// It has a place in the journal; these bytes are what is sent.
    Signed {
        /// Which intent.
        number: u64,
        /// What was signed.
        head: Head,
        /// The signature.
        signature: Signature,
    },
    /// A node has acknowledged it as accepted.
    Accepted {
        /// Which intent.
        number: u64,
    },
    /// A node has refused it at the door: it never entered the journal, and what was
    /// signed after it must be signed again.
    Refused {
        /// Which intent.
        number: u64,
    },
    /// Everything below is sealed and needs no keeping.
    Sealed {
        /// The first number of the journal that is not sealed.
        below: Seq,
    },
}

fn checksum(len: [u8; 4], bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&len), bytes)
}

/// Appends a record to a buffer of frames.
pub(super) fn push(buffer: &mut Vec<u8>, record: &Record) {
    let bytes = codec::encode(record);
    let len = u32::try_from(bytes.len()).expect("a record holds at most one entry").to_le_bytes();
    buffer.extend(len);
    buffer.extend(checksum(len, &bytes).to_le_bytes());
    buffer.extend(bytes);
}

/// The bytes of the frame that starts at `offset`, if there is a sound one.
fn frame_at(segment: &[u8], offset: usize) -> Option<&[u8]> {
    let (len, rest) = segment.get(offset..)?.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let bytes = rest.get(..size).filter(|_| (1..=RECORD_BYTES_MAX).contains(&size))?;
    (checksum(*len, bytes) == u32::from_le_bytes(*crc)).then_some(bytes)
}

/// What a segment holds.
pub(super) struct Scanned {
    /// Its records, in order.
    pub(super) records: Vec<Record>,
    /// How many bytes they take.
    pub(super) sound_bytes: usize,
    /// Whether sound frames stand beyond the first that is not: then it is no torn tail.
    pub(super) is_corrupt: bool,
}

/// Reads a segment up to the first frame that is not sound.
pub(super) fn scan(segment: &[u8]) -> Scanned {
    let (mut records, mut offset) = (Vec::new(), 0);
    while let Some(bytes) = frame_at(segment, offset) {
        let Ok(record) = codec::decode(bytes, RECORD_BYTES_MAX) else {
            // Its checksum is right, so it was written like this: by another version.
            return Scanned { records, sound_bytes: offset, is_corrupt: true };
        };
        records.push(record);
        offset += FRAME_BYTES + bytes.len();
    }
    let is_corrupt = (offset + 1..segment.len()).any(|later| frame_at(segment, later).is_some());
    Scanned { records, sound_bytes: offset, is_corrupt }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        (0..4).map(|number| Record::Accepted { number }).collect()
    }

    fn segment() -> Vec<u8> {
        let mut buffer = Vec::new();
        records().iter().for_each(|record| push(&mut buffer, record));
        buffer
    }

    #[test]
    fn a_tail_torn_at_any_byte_is_cut() {
        let whole = segment();
        let start_of_last = whole.len() - whole.len() / 4;
        for len in start_of_last..whole.len() {
            let scanned = scan(&whole[..len]);
            assert_eq!((scanned.records.len(), scanned.sound_bytes), (3, start_of_last), "{len}");
            assert!(!scanned.is_corrupt);
        }
        let zero_filled = [&whole[..start_of_last], &[0; 64]].concat();
        assert!(!scan(&zero_filled).is_corrupt);
        assert_eq!(scan(&whole).records, records());
    }

    #[test]
    fn a_flipped_bit_before_sound_records_is_corruption() {
        let whole = segment();
        for byte in 0..whole.len() / 4 {
            let mut flipped = whole.clone();
            flipped[byte] ^= 1;
            let scanned = scan(&flipped);
            assert!(scanned.is_corrupt && scanned.records.is_empty(), "byte {byte}");
        }
    }
}
