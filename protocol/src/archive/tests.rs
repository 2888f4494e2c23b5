use super::*;
use crate::certificate::CommitSignature;
use crate::ids::{MemberId, Signature};
use crate::time::UtcMs;

#[test]
fn numbers_are_those_of_tlog_tiles() {
    for (number, expected) in [
        (0, "000"),
        (67, "067"),
        (999, "999"),
        (1_000, "x001/000"),
        (1_234_067, "x001/x234/067"),
        (u64::MAX, "x018/x446/x744/x073/x709/x551/615"),
    ] {
        assert_eq!(tile_number(number), expected);
    }
    assert_eq!(bundle_path(1, 256), "entries/001");
    assert_eq!(bundle_path(1_000, 9), "entries/x001/000.p/9");
    assert_eq!(blocks_path(0, 17), "blocks/000.p/17");
}

/// Names every part, with log sizes that grow by `per_block` entries a block.
fn names(blocks: u64, per_block: u64) -> Vec<String> {
    let mut order = FileOrder::new(Height::new(blocks), blocks * per_block);
    let mut names = Vec::new();
    while let Some(part) = order.next_part() {
        names.push(part.path());
        if let Part::Blocks { first, count, .. } = part {
            order.blocks_end((first.get() + count - 1) * per_block);
        }
    }
    names
}

#[test]
fn blocks_come_before_their_entries_and_everything_once() {
    assert_eq!(names(0, 0), Vec::<String>::new());
    assert_eq!(names(3, 0), ["blocks/000.p/3"]);
    assert_eq!(names(3, 100), ["blocks/000.p/3", "entries/000", "entries/001.p/44"]);
    let expected = ["blocks/000", "entries/000", "entries/001", "blocks/001.p/44", "entries/002.p/88"];
    assert_eq!(names(300, 2), expected);
    // The first bundle also holds the entries of the second file of blocks.
    assert_eq!(names(257, 1), ["blocks/000", "entries/000", "blocks/001.p/1", "entries/001.p/1"]);
}

#[test]
fn bundles_round_trip_and_say_where_they_are_cut() {
    let mut bundle = Vec::new();
    let entries: [&[u8]; 3] = [b"first", b"", &[7; 65_535]];
    entries.iter().for_each(|entry| push_entry(&mut bundle, entry).expect("fits"));
    let read: Result<Vec<_>, _> = bundle_entries(&bundle).collect();
    assert_eq!(read.as_deref(), Ok(&entries[..]));
    assert_eq!(push_entry(&mut bundle, &[0; 65_536]).map_err(|e| e.rule()), Err("ARC-ENTRY-LENGTH"));
    let cut: Vec<_> = bundle_entries(&bundle[..20]).collect();
    assert_eq!(cut[2..], [Err(FrameError::Truncated { offset: 9 })]);
    assert_eq!(bundle_entries(&bundle[..1]).count(), 1);
}

fn record() -> (Header, Certificate) {
    let hash = Hash::from_bytes([1; 32]);
    let header = Header {
        version: 1,
        network: NetworkId::from_bytes([2; 32]),
        height: Height::new(1),
        time: UtcMs::from_ms(5),
        parent: crate::block::NO_BLOCK,
        built_by: MemberId::new(0),
        cut_root: hash,
        log_size: 3,
        log_root: hash,
        outcomes_root: hash,
        state_root: hash,
        members_hash: hash,
        next_members_hash: hash,
        rules_version: 1,
    };
    let commit = CommitSignature { member: MemberId::new(0), signature: Signature::from_bytes([3; 64]) };
    let certificate =
        Certificate { height: Height::new(1), round: 0, block: header.id(), signatures: vec![commit] };
    (header, certificate)
}

#[test]
fn block_files_round_trip_and_refuse_what_is_cut_or_too_long() {
    let (header, certificate) = record();
    let mut file = Vec::new();
    push_block(&mut file, &header, &certificate);
    push_block(&mut file, &header, &certificate);
    let read: Vec<_> = block_records(&file).collect();
    assert_eq!(read, [Ok((header.clone(), certificate.clone())), Ok((header, certificate))]);
    for len in 1..file.len() / 2 {
        let read: Vec<_> = block_records(&file[..len]).collect();
        assert!(matches!(read[..], [Err(BlockRecordError::Frame(FrameError::Truncated { .. }))]), "{len}");
    }
    file[0] = 0xff;
    let read: Vec<_> = block_records(&file).map(|record| record.map_err(|e| e.rule())).collect();
    assert_eq!(read, [Err("ARC-BLOCK-LENGTH")]);
}

#[test]
fn the_manifest_has_one_text() {
    let hash = Hash::from_bytes([0xab; 32]);
    let file = |path: &str| ManifestFile { path: path.into(), size: 5, sha256: hash };
    let mut manifest = Manifest {
        version: MANIFEST_VERSION,
        network: NetworkId::from_bytes([1; 32]),
        first_height: Height::new(1),
        last_height: Height::new(2),
        block: BlockId::from_bytes([2; 32]),
        state_root: hash,
        log_size: 3,
        files: vec![file("genesis.toml"), file("blocks/000.p/2")],
    };
    for files in [2, 0] {
        manifest.files.truncate(files);
        let text = manifest.to_string();
        let read: Manifest = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read, manifest);
        assert_eq!(read.to_string(), text);
    }
}
