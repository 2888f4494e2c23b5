use super::*;
use crate::consensus::codec::WireCodec;
use crate::consensus::context::Context;
use arc_malachitebft_app::engine::wal::decode_entry;
use arc_malachitebft_app::wal::Log;
use std::fs;
use std::ops::Range;

/// A log at height 3 with these records.
fn log(records: &[&[u8]]) -> Vec<u8> {
    let mut bytes = [&VERSION[..], &3_u64.to_be_bytes()].concat();
    for data in records {
        bytes.push(0);
        bytes.extend((data.len() as u64).to_be_bytes());
        bytes.extend(crc32fast::hash(data).to_be_bytes());
        bytes.extend(*data);
    }
    bytes
}

fn zeros(len: usize) -> Vec<u8> {
    vec![0; len]
}

#[test]
fn a_sound_log_is_left_alone() {
    for records in [&[][..], &[&b"one"[..]], &[b"one", b"another", &[7; 1_000]]] {
        let log = log(records);
        assert_eq!(sound_len(&log), Ok(log.len()));
    }
}

#[test]
fn a_log_whose_header_never_reached_the_disk_begins_anew() {
    for bytes in [vec![], VERSION.to_vec(), log(&[])[..11].to_vec(), zeros(12), zeros(5_000)] {
        assert_eq!(sound_len(&bytes), Ok(0));
    }
    let other = [&2_u32.to_be_bytes()[..], &zeros(8)].concat();
    assert_eq!(sound_len(&other).map_err(|damage| damage.offset), Err(0));
}

#[test]
fn what_was_never_synced_is_cut() {
    let sound = log(&[b"one", b"two"]);
    let next = &log(&[&[9; 700]])[HEADER_BYTES..];
    let tails = [
        zeros(1),
        zeros(13),
        zeros(4_096),
        next[..5].to_vec(),
        next[..13].to_vec(),
        next[..600].to_vec(),
        [&next[..600], &zeros(113)].concat(),
        [&next[..600], &zeros(4_000)].concat(),
        [&next[..9], &zeros(704)].concat(),
        [&next[..8], &zeros(704)].concat(),
    ];
    for tail in tails {
        assert_eq!(sound_len(&[&sound[..], &tail].concat()), Ok(sound.len()), "{tail:?}");
    }
}

#[test]
fn records_that_a_new_height_had_half_overwritten_are_cut() {
    let mut bytes = log(&[&[5; 300], &[6; 300], &[7; 300]]);
    bytes[HEADER_BYTES..SECTOR_BYTES].fill(0);
    assert_eq!(sound_len(&bytes), Ok(HEADER_BYTES));
    bytes[SECTOR_BYTES - 1] = 1;
    assert!(sound_len(&bytes).is_err(), "a cut reaches to the end of a sector");
}

#[test]
fn what_no_crash_explains_is_damage() {
    let sound = log(&[b"one", b"two", b"three"]);
    let second = log(&[b"one"]).len();
    let third = log(&[b"one", b"two"]).len();
    let changed = |at: usize, to: u8| {
        let mut bytes = sound.clone();
        bytes[at] = to;
        bytes
    };
    for (bytes, offset) in [
        (changed(second + 14, b'x'), second),
        (changed(second + 5, 0xff), second),
        (changed(second, 1), second),
        (changed(third - 1, 0), second),
        (changed(sound.len() - 2, b'x'), third),
        (changed(third, 1), third),
        (changed(third + 2, 1), third),
        ([&sound[..], &zeros(13), &sound[second..]].concat(), sound.len()),
        ([&sound[..], b"no record at all"].concat(), sound.len()),
    ] {
        assert_eq!(sound_len(&bytes).map_err(|damage| damage.offset), Err(offset), "{bytes:?}");
    }
}

/// The log of an engine that has proposed and voted, one of four, and the place of its last record.
async fn real_log() -> (Vec<u8>, Range<usize>) {
    let mut cluster = crate::consensus::tests::Cluster::new(4, 4);
    cluster.start(1, None).await;
    cluster.until(1, |progress| !progress.prevotes.is_empty()).await;
    let path = cluster.settings(1).wal;
    cluster.stop(1).await;
    let bytes = fs::read(path).expect("a log");
    let (mut at, mut last) = (HEADER_BYTES, 0);
    while let Some(len) = record(&bytes[at..]) {
        (last, at) = (at, at + len);
    }
    assert_eq!(at, bytes.len(), "a log in our format");
    (bytes, last..at)
}

/// How many entries the engine reads, all of them.
fn entries(path: &Path) -> usize {
    let mut log = Log::open(path).expect("opens");
    if log.is_empty() {
        return 0;
    }
    let entries = log.iter().expect("has entries").map(|data| {
        let data = data.expect("sound");
        decode_entry::<Context, _, _>(&WireCodec, &data[..]).expect("a message of the engine")
    });
    entries.count()
}

#[tokio::test]
async fn the_engine_reads_its_own_log_wherever_a_crash_had_cut_it() {
    let (bytes, last) = real_log().await;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("wal");
    fs::write(&path, &bytes).expect("written");
    let all = entries(&path);
    assert!(all > 0);
    for cut in last.clone() {
        let zeroed = |len: usize| [&bytes[..cut], &zeros(len)].concat();
        for left in [zeroed(0), zeroed(last.end - cut), zeroed(4_096)] {
            // The last bytes of a record may have been zeros.
            let expected = all - usize::from(!left.starts_with(&bytes));
            fs::write(&path, left).expect("written");
            repair(&path).expect("a crash explains it");
            assert_eq!(entries(&path), expected, "cut at {cut}");
            let after = fs::read(&path).expect("read");
            repair(&path).expect("nothing to do");
            assert_eq!(fs::read(&path).expect("read"), after);
        }
    }
}

#[tokio::test]
async fn a_log_is_made_if_there_is_none() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("wal");
    repair(&path).expect("made");
    assert_eq!(entries(&path), 0);
    let elsewhere = dir.path().join("nowhere").join("wal");
    assert_eq!(repair(&elsewhere).map_err(|error| error.rule()), Err("CONS-LOG"));
}
