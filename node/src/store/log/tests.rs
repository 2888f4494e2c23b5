use std::fs::{self, File, OpenOptions};
use std::io::Write;

use super::segment::FRAME_BYTES;
use super::*;

const NETWORK: NetworkId = NetworkId::from_bytes([7; 32]);
const FRAME: u64 = FRAME_BYTES;

fn config() -> LogConfig {
    LogConfig { network: NETWORK, record_bytes_max: 1000, segment_bytes_max: 400 }
}

fn open(dir: &Path) -> Result<Log, StoreError> {
    FoundLog::open(dir, config())?.into_log()
}

fn record(number: u8) -> Vec<u8> {
    vec![number; 20 + usize::from(number)]
}

/// Appends one batch.
fn batch(log: &mut Log, records: &[Vec<u8>]) -> Vec<Location> {
    let places = records.iter().map(|bytes| log.append(bytes).expect("a sound log")).collect();
    log.sync().expect("a sound log");
    places
}

fn everything(log: &Log) -> Result<Vec<Vec<u8>>, StoreError> {
    let scan = log.reader().scan(Position::START, log.end())?;
    scan.map(|item| item.map(|(_, bytes)| bytes)).collect()
}

fn last_file(dir: &Path) -> PathBuf {
    let last = reader::segment_numbers(dir).expect("listable").pop().expect("a segment");
    Segment::path_of(dir, last)
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().expect("a temporary directory");
    for file in fs::read_dir(from).expect("listable") {
        let file = file.expect("listable");
        fs::copy(file.path(), to.path().join(file.file_name())).expect("copied");
    }
    to
}

fn flip(path: &Path, byte: usize, bit: u8) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[byte] ^= 1 << bit;
    fs::write(path, bytes).expect("writable");
}

fn cut_file(path: &Path, len: u64) {
    OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(len)).expect("cut");
}

#[test]
fn records_come_back_in_order_over_segments_and_restarts() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut places = Vec::new();
    for round in 0..10_u8 {
        let mut log = open(dir.path()).expect("opens");
        assert_eq!(log.records, u64::from(round) * 3);
        places.extend(batch(&mut log, &[record(round), record(round + 1), record(round + 2)]));
    }
    let log = open(dir.path()).expect("opens");
    assert!(reader::segment_numbers(dir.path()).expect("listable").len() > 2, "the log must have rolled");
    assert!(places.is_sorted());
    let expected: Vec<_> =
        (0..10).flat_map(|round| [record(round), record(round + 1), record(round + 2)]).collect();
    assert_eq!(everything(&log).expect("whole"), expected);
    for (place, bytes) in places.iter().zip(&expected) {
        assert_eq!(&log.reader().read(*place).expect("whole"), bytes);
    }
    let from_middle = log.reader().scan(places[17].position(), log.end()).expect("inside the log");
    assert_eq!(from_middle.count(), expected.len() - 17);
    assert_eq!(log.reader().scan(log.end(), log.end()).expect("the end").count(), 0);
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_the_log_goes_on() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut log = open(dir.path()).expect("opens");
    let places: Vec<_> = (0..4).flat_map(|number| batch(&mut log, &[record(number)])).collect();
    drop(log);
    let last = places[3];
    for len in last.offset..last.next_offset() {
        for fill in [None, Some(0), Some(0xff)] {
            let torn = copy(dir.path());
            let file = last_file(torn.path());
            cut_file(&file, len);
            if let Some(fill) = fill {
                let mut file = OpenOptions::new().append(true).open(&file).expect("writable");
                file.write_all(&[fill; 100]).expect("written");
            }
            let mut log = open(torn.path()).expect("a torn tail is no damage");
            assert_eq!(log.records, 3, "cut at {len}");
            batch(&mut log, &[record(9)]);
            drop(log);
            let log = open(torn.path()).expect("opens");
            assert_eq!(everything(&log).expect("whole"), [record(0), record(1), record(2), record(9)]);
        }
    }
}

#[test]
fn a_batch_of_which_only_later_pages_survived_is_a_torn_tail() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut log = open(dir.path()).expect("opens");
    batch(&mut log, &[record(0)]);
    let places = batch(&mut log, &[record(1), record(2)]);
    drop(log);
    let path = last_file(dir.path());
    let mut bytes = fs::read(&path).expect("readable");
    let lost =
        usize::try_from(places[0].offset).expect("small")..usize::try_from(places[1].offset).expect("small");
    bytes[lost].fill(0);
    fs::write(&path, bytes).expect("writable");
    let log = open(dir.path()).expect("nothing of this batch was acknowledged");
    assert_eq!(everything(&log).expect("whole"), [record(0)]);
}

#[test]
fn a_flipped_bit_in_an_earlier_batch_is_refused_with_its_place() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut log = open(dir.path()).expect("opens");
    let places: Vec<_> = (0..3).flat_map(|number| batch(&mut log, &[record(number)])).collect();
    drop(log);
    for place in &places[..2] {
        for offset in place.offset..place.next_offset() {
            let damaged = copy(dir.path());
            let file = last_file(damaged.path());
            flip(&file, usize::try_from(offset).expect("small"), (offset % 8) as u8);
            let before = fs::read(&file).expect("readable");
            match open(damaged.path()).err() {
                Some(StoreError::Corrupt { path, offset, .. }) => {
                    assert_eq!((path, offset), (file.clone(), place.offset));
                }
                other => panic!("byte {offset}: {other:?}"),
            }
            assert_eq!(fs::read(&file).expect("readable"), before, "damage must not be cut away");
        }
    }
}

#[test]
fn damage_in_closed_segments_is_found_by_reading() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut log = open(dir.path()).expect("opens");
    let places: Vec<_> = (0..30).flat_map(|number| batch(&mut log, &[record(number)])).collect();
    drop(log);
    let place = places[1];
    let file = Segment::path_of(dir.path(), place.segment);
    flip(&file, usize::try_from(place.offset + FRAME + 3).expect("small"), 5);
    let log = open(dir.path()).expect("only the last segment is read at start-up");
    let rules = [log.reader().read(place).map(|_| ()), everything(&log).map(|_| ())];
    for refused in rules {
        match refused.expect_err("damaged") {
            StoreError::Corrupt { path, offset, .. } => {
                assert_eq!((path, offset), (file.clone(), place.offset))
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(log.reader().read(places[2]).expect("whole"), record(2));
}

#[test]
fn a_missing_segment_is_found_by_reading() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut log = open(dir.path()).expect("opens");
    let places: Vec<_> = (0..30).flat_map(|number| batch(&mut log, &[record(number)])).collect();
    drop(log);
    fs::remove_file(Segment::path_of(dir.path(), places[15].segment)).expect("removed");
    let log = open(dir.path()).expect("opens");
    assert_eq!(everything(&log).expect_err("a gap").rule(), "STORE-CORRUPT");
    assert!(log.reader().scan(places[15].position(), log.end()).is_err());
}

#[test]
fn a_segment_without_a_whole_header_is_created_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut log = open(dir.path()).expect("opens");
    batch(&mut log, &[record(0)]);
    drop(log);
    for len in 0..=HEADER_BYTES {
        let crashed = copy(dir.path());
        let next = Segment::path_of(crashed.path(), 1);
        File::create(&next).and_then(|file| file.set_len(len)).expect("created");
        let mut log = open(crashed.path()).expect("a crash while rolling is no damage");
        batch(&mut log, &[record(1)]);
        assert_eq!(everything(&log).expect("whole"), [record(0), record(1)]);
    }
}

#[test]
fn a_damaged_header_is_no_torn_tail() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut log = open(dir.path()).expect("opens");
    batch(&mut log, &[record(0)]);
    drop(log);
    for byte in 0..HEADER_BYTES as usize {
        let damaged = copy(dir.path());
        let file = last_file(damaged.path());
        flip(&file, byte, 3);
        match open(damaged.path()).err() {
            Some(StoreError::Corrupt { path, offset, .. }) => assert_eq!((path, offset), (file.clone(), 0)),
            other => panic!("byte {byte}: {other:?}"),
        }
        let len = |path: &Path| fs::metadata(path).expect("there").len();
        assert_eq!(len(&file), len(&last_file(dir.path())), "nothing is cut away");
    }
}

#[test]
fn bytes_inside_a_record_never_pass_for_a_frame() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut log = open(dir.path()).expect("opens");
    let place = batch(&mut log, &[record(0)])[0];
    // A frame as it would be valid in another segment, with another salt.
    let foreign = tempfile::tempdir().expect("a temporary directory");
    let mut other = open(foreign.path()).expect("opens");
    batch(&mut other, &[record(5)]);
    let mut forged = vec![1; 3];
    forged.extend(&fs::read(last_file(foreign.path())).expect("readable")[HEADER_BYTES as usize..]);
    forged.extend([1; 3]);
    let forged_at = batch(&mut log, &[forged])[0];
    drop(log);
    cut_file(&last_file(dir.path()), forged_at.next_offset() - 1);
    let log = open(dir.path()).expect("a torn tail, whatever stands in it");
    assert_eq!(log.end().offset, place.next_offset());
}

#[test]
fn after_a_failed_write_nothing_is_acknowledged() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut log = open(dir.path()).expect("opens");
    batch(&mut log, &[record(0)]);
    let path = last_file(dir.path());
    let whole = Arc::clone(&log.segment);
    let read_only = File::open(&path).expect("readable");
    log.segment = Arc::new(Segment { number: 0, path, file: read_only, salt: whole.salt });
    log.append(&record(1)).expect("buffered");
    assert_eq!(log.sync().expect_err("a write to a read-only handle").rule(), "STORE-IO");
    log.segment = whole;
    assert_eq!(log.sync().expect_err("poisoned").rule(), "STORE-POISONED");
    assert_eq!(log.append(&record(2)).expect_err("poisoned").rule(), "STORE-POISONED");
    let log = open(dir.path()).expect("opens");
    assert_eq!(everything(&log).expect("whole"), [record(0)]);
}

#[test]
fn strangers_and_impossible_records_are_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut log = open(dir.path()).expect("opens");
    for bytes in [vec![], vec![0; 1001]] {
        assert_eq!(log.append(&bytes).expect_err("refused").rule(), "STORE-RECORD-LENGTH");
    }
    let long = log.append(&[3; 1000]).expect("a record longer than a segment gets its own");
    log.sync().expect("sound");
    assert_eq!(log.reader().read(long).expect("whole"), [3; 1000]);
    let lying = Location { len: u32::MAX, ..long };
    assert_eq!(log.reader().read(lying).expect_err("impossible").rule(), "STORE-CORRUPT");
    drop(log);
    let other = LogConfig { network: NetworkId::from_bytes([8; 32]), ..config() };
    let refused = FoundLog::open(dir.path(), other).err().expect("another network");
    assert_eq!(refused.rule(), "STORE-NETWORK");
    flip(&last_file(dir.path()), 0, 0);
    assert_eq!(open(dir.path()).err().expect("no log").rule(), "STORE-CORRUPT");
}
