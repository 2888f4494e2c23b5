//! What a node makes of a data directory that came to harm while it was down.
//!
//! `state/` can be made again from the logs and is, unattended. The logs are the truth:
//! what was once durable in them is there, or the node refuses to start and says where.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use syngraph_protocol::ids::{Hash, Height};
use syngraph_tests::consortium::{ASTER, CEDAR, Consortium};
use syngraph_tests::files::{below, copy, flip};
use syngraph_tests::licence::{Licensed, license, register};
use syngraph_tests::node::{Node, refused};
use syngraph_tests::random::Random;
use syngraph_tests::signer::Signer;

/// Bytes of a segment before its first record.
const SEGMENT_HEADER: u64 = 52;
/// Bytes of a record's frame before the record.
const FRAME: u64 = 8;

/// How a node went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was asked to.
    Stopped,
    /// It was killed.
    Killed,
}

/// A data directory of a node that is down, and what the node must arrive at again.
struct Down {
    consortium: Consortium,
    kept: PathBuf,
    /// `state/` as it was some blocks earlier.
    older_state: PathBuf,
    aster: Signer,
    arrived: (Height, Hash),
}

impl Down {
    /// A history of acts and metered use, with a restart in it.
    fn new(end: End) -> Self {
        let consortium = Consortium::found();
        let [kept, older_state] = ["kept", "older"].map(|name| consortium.folder().join(name));
        let (mut aster, mut cedar) = (consortium.root(ASTER), consortium.root(CEDAR));
        let node = consortium.start();
        let licensed = license(&node, &mut aster, &mut cedar);
        use_it(&node, &licensed, &mut cedar, 1);
        node.stop();
        copy(&consortium.dir().join("state"), &older_state);
        let node = consortium.start();
        for round in 2..12 {
            use_it(&node, &licensed, &mut cedar, round);
            node.act(&mut aster, register(&format!("Asset {round}")));
        }
        let arrived = node.state();
        match end {
            End::Stopped => node.stop(),
            End::Killed => drop(node.kill()),
        }
        copy(&consortium.dir(), &kept);
        Self { consortium, kept, older_state, aster, arrived }
    }

    fn dir(&self) -> PathBuf {
        self.consortium.dir()
    }

    /// Puts the directory back as the node left it.
    fn reset(&self) {
        fs::remove_dir_all(self.dir()).expect("nobody uses it");
        copy(&self.kept, &self.dir());
    }

    /// The node comes back to where it was, and goes on.
    #[track_caller]
    fn recovers(&self, what: &str) {
        let node = self.consortium.start();
        assert_eq!(node.state(), self.arrived, "{what}");
        let mut aster = self.aster.clone();
        node.act(&mut aster, register("After"));
        let on = node.state();
        assert_eq!(Some(on.0), self.arrived.0.next(), "{what}: one more block");
        node.stop();
        self.reset();
    }

    /// The node refuses to start and names the file and the byte; the files are as they
    /// were.
    #[track_caller]
    fn refuses(&self, what: &str, file: &Path, offset: u64) {
        let before = fs::read(file).expect("the damaged file");
        let line = refused(&self.dir());
        let place = format!("{} is damaged at byte {offset}:", file.display());
        assert!(line.contains("STORE-CORRUPT: ") && line.contains(&place), "{what}: {line}\nnot: {place}");
        assert_eq!(fs::read(file).expect("the damaged file"), before, "{what}: nothing was cut");
        self.reset();
    }

    /// The one segment of a log.
    fn segment(&self, log: &str) -> PathBuf {
        let folder = self.dir().join(log);
        let mut files = below(&folder);
        assert_eq!(files.len(), 1, "a short history lies in one segment");
        folder.join(files.remove(0))
    }
}

fn use_it(node: &Node, licensed: &Licensed, cedar: &mut Signer, round: u64) {
    let report = cedar.sign(licensed.report(round, &[round; 40]));
    let receipt = &node.seal(&[report])[0];
    assert_eq!(receipt["outcome"]["usage"]["rated"], 40, "{receipt}");
}

/// Where the records of a segment begin, and where the last one ends.
fn records(segment: &Path) -> Vec<u64> {
    let bytes = fs::read(segment).expect("a segment");
    let mut starts = vec![SEGMENT_HEADER];
    let mut at = SEGMENT_HEADER;
    while let Some(head) = bytes.get(usize::try_from(at).expect("small")..).and_then(<[u8]>::first_chunk::<4>)
    {
        at += FRAME + u64::from(u32::from_le_bytes(*head) & !(1 << 31));
        starts.push(at);
    }
    assert_eq!(at, bytes.len() as u64, "the records fill the segment");
    starts
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).expect("it is there").len()
}

fn truncate(path: &Path, len: u64) {
    OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(len)).expect("it is cut");
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().append(true).open(path).expect("it is there");
    file.write_all(bytes).expect("it is written");
}

#[test]
fn state_is_made_again_after_a_stop() {
    state_is_made_again(&Down::new(End::Stopped));
}

#[test]
fn state_is_made_again_after_a_kill() {
    state_is_made_again(&Down::new(End::Killed));
}

fn state_is_made_again(down: &Down) {
    let state = down.dir().join("state");
    down.recovers("untouched");
    fs::remove_dir_all(&state).expect("it is there");
    down.recovers("state/ is gone");
    fs::remove_dir_all(&state).expect("it is there");
    copy(&down.older_state, &state);
    down.recovers("state/ is that of earlier");
    fs::remove_dir_all(&state).expect("it is there");
    fs::write(&state, "not a folder").expect("it is written");
    down.recovers("state/ is a file");
    let files = below(&state);
    assert!(files.contains(&PathBuf::from("db")), "{files:?}");
    let mut random = Random::new(3);
    for file in &files {
        let path = state.join(file);
        let len = size(&path);
        for kept in [0, 1, len / 2, len.saturating_sub(1)] {
            truncate(&path, kept);
            down.recovers(&format!("{} is cut to {kept} of {len} bytes", path.display()));
        }
        let garbage = random.bytes(usize::try_from(len).expect("small"));
        fs::write(&path, garbage).expect("it is written");
        down.recovers(&format!("{} is garbage", path.display()));
        fs::remove_file(&path).expect("it is there");
        down.recovers(&format!("{} is gone", path.display()));
    }
}

#[test]
fn damage_to_a_log_is_refused_with_its_place() {
    for end in [End::Stopped, End::Killed] {
        let down = Down::new(end);
        for log in ["entries", "blocks"] {
            damage_is_refused(&down, end, log);
            torn_tails_are_cut(&down, log);
        }
    }
}

fn damage_is_refused(down: &Down, end: End, log: &str) {
    let segment = down.segment(log);
    let starts = records(&segment);
    // After a kill nobody knows that the last batch was once durable.
    let sure = if end == End::Stopped { starts.len() - 1 } else { starts.len() / 2 };
    let mut random = Random::new(5);
    let middle = starts.len() / 4;
    for record in [0, middle, sure - 1] {
        let (start, next) = (starts[record], starts[record + 1]);
        // In its length, its checksum, its first byte, its last one, and somewhere.
        for byte in [start, start + 4, start + FRAME, next - 1, start + random.below(next - start)] {
            flip(&segment, byte, u8::try_from(random.below(8)).expect("small"));
            down.refuses(&format!("{log}: a bit of byte {byte}"), &segment, start);
        }
    }
    for byte in [0, 8, 15, 16, SEGMENT_HEADER - 1] {
        flip(&segment, byte, 2);
        down.refuses(&format!("{log}: a bit of the header's byte {byte}"), &segment, 0);
    }
    if end == End::Stopped {
        let last = starts[starts.len() - 2];
        truncate(&segment, last + FRAME);
        down.refuses(&format!("{log}: the last record is cut"), &segment, last);
        truncate(&segment, last);
        down.refuses(&format!("{log}: the last record is gone"), &segment, last);
        for kept in [0, SEGMENT_HEADER] {
            truncate(&segment, kept);
            down.refuses(&format!("{log}: cut to {kept} bytes"), &segment, SEGMENT_HEADER);
        }
        fs::remove_dir_all(down.dir().join(log)).expect("it is there");
        let line = refused(&down.dir());
        assert!(line.contains("STORE-CORRUPT") && line.contains(&segment.display().to_string()), "{line}");
        down.reset();
    }
}

fn torn_tails_are_cut(down: &Down, log: &str) {
    let segment = down.segment(log);
    let whole = fs::read(&segment).expect("a segment");
    let tails: [&[u8]; 4] = [&[0; 4_096], &[0xff; 3], &whole[52..64], &Random::new(9).bytes(5_000)];
    for (number, tail) in tails.into_iter().enumerate() {
        append(&segment, tail);
        let node = down.consortium.start();
        assert_eq!(node.state(), down.arrived, "{log}, tail {number}");
        assert_eq!(
            fs::read(&segment).expect("a segment"),
            whole,
            "{log}, tail {number}: cut where it was torn"
        );
        node.stop();
        append(&segment, tail);
        down.recovers(&format!("{log}: tail {number}"));
    }
}

#[test]
fn the_history_of_another_network_is_refused() {
    let (one, other) = (Consortium::found(), Consortium::found());
    one.start().stop();
    for name in ["entries", "blocks", "state"] {
        fs::rename(one.dir().join(name), other.dir().join(name)).expect("nobody uses it");
    }
    let line = refused(&other.dir());
    assert!(line.contains("STORE-NETWORK") && line.contains(&one.network().to_string()), "{line}");
}

#[test]
fn a_log_of_votes_that_is_none_is_refused() {
    let down = Down::new(End::Stopped);
    let wal = down.dir().join("wal").join("consensus.wal");
    let garbage = Random::new(1).bytes(usize::try_from(size(&wal)).expect("small"));
    fs::write(&wal, garbage).expect("it is written");
    // Whoever forgot its votes could vote twice.
    let line = refused(&down.dir());
    assert!(line.contains("CONS-LOG-DAMAGED: ") && line.contains("consensus.wal"), "{line}");
    down.reset();
    down.recovers("untouched");
}
