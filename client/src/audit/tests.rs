//! A real history of one voter and three journals, more than one file of blocks and
//! several bundles long, and everything that can be wrong with its archive.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use syngraph_protocol::archive::{
    FileOrder, GENESIS_PATH, MANIFEST_PATH, MANIFEST_VERSION, Part, push_block, push_entry,
};
use syngraph_protocol::certificate::{CommitSignature, Vote, VoteKind};
use syngraph_protocol::codes::Place;
use syngraph_protocol::crypto::{Domain, SecretKey};
use syngraph_protocol::entry::{Body, Deed, SignedEntry, Slot};
use syngraph_protocol::genesis::{Charter, Founder, GENESIS_VERSION};
use syngraph_protocol::ids::{Idem, MemberId};
use syngraph_protocol::journal::Tip;
use syngraph_protocol::ledger::Plan;
use syngraph_protocol::ledger::asset::{AssetClass, Confidentiality, Owner, RegisterAsset};
use syngraph_protocol::ledger::member::{MemberProfile, NodeKeys};
use syngraph_protocol::ledger::params::Params;
use syngraph_protocol::money::Weight;
use syngraph_protocol::name::Name;
use syngraph_protocol::time::UtcMs;

use super::*;
use crate::archive::tests::{listed, pack, spread};

const BLOCKS: u64 = 260;
const START: UtcMs = UtcMs::from_ms(1_790_000_000_000);

type Files = Vec<(String, Vec<u8>)>;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn genesis(name: &str) -> Genesis {
    let founder = |seed: u8, power| {
        let public = |offset| key(seed + offset).public();
        let node = NodeKeys { validator: public(1), transport: public(2), journal: public(3) };
        let node = (power > 0).then_some(node);
        let profile = MemberProfile {
            name: Name::new(format!("M{seed}")),
            jurisdiction: Place::new("DE"),
            root: public(0),
            node,
        };
        Founder { profile, power }
    };
    let members = vec![founder(10, 1), founder(20, 0), founder(30, 0)];
    let params = Params::default();
    let charter = Charter { version: GENESIS_VERSION, name: Name::new(name), time: START, params, members };
    let signatures = [10, 20, 30].iter().map(|seed| charter.sign(&key(*seed))).collect();
    Genesis { charter, signatures }
}

/// A history under construction.
struct World {
    ledger: Ledger,
    tips: BTreeMap<u8, Tip>,
    steps: Vec<(Block, Certificate, Vec<VerifiedEntry>)>,
    entries: u64,
}

impl World {
    fn sign(&mut self, member: u32) -> VerifiedEntry {
        let seed = [10, 20, 30][member as usize];
        let tip = self.tips.entry(seed).or_insert(Tip::EMPTY);
        let (network, member) = (self.ledger.network(), MemberId::new(member));
        let slot = Slot { network, member, seq: tip.next, prev: tip.last, claimed_at: START };
        let mut idem = [0; 16];
        idem[..8].copy_from_slice(&self.entries.to_le_bytes());
        let deed = Deed::RegisterAsset(RegisterAsset {
            class: AssetClass::Dataset,
            title: Name::new(format!("D{}", self.entries)),
            owners: vec![Owner { member, weight: Weight::new(1) }],
            licence: "MIT".into(),
            confidentiality: Confidentiality::Clear,
            jurisdiction: Place::new("DE"),
        });
        let body = Body::Deed { idem: Idem::from_bytes(idem), deed };
        let entry = VerifiedEntry::verify(SignedEntry::sign(&key(seed), slot, body), network).expect("fine");
        *tip = tip.append(tip.next, tip.last, entry.id()).expect("continues");
        self.entries += 1;
        entry
    }

    fn seal(&mut self, entries: Vec<VerifiedEntry>) {
        let built_by = MemberId::new(0);
        let plan = Plan { time: self.ledger.time().plus_ms(100), built_by };
        let executed = self.ledger.execute(&plan, entries).expect("a block");
        let (block, network) = (executed.block.id(), self.ledger.network());
        let (height, kind) = (executed.ledger.height(), VoteKind::Precommit);
        let vote = Vote { network, kind, height, round: 0, block: Some(block), member: built_by };
        let signature = key(11).sign(Domain::VOTE, &vote.signing_bytes());
        let signatures = vec![CommitSignature { member: built_by, signature }];
        let certificate = Certificate { height, round: 0, block, signatures };
        self.ledger = executed.ledger;
        self.steps.push((executed.block, certificate, executed.entries));
    }

    /// The archive's files, the manifest last.
    fn files(&self) -> Files {
        let genesis = syngraph_config::genesis::to_toml(&genesis("Test")).expect("writable");
        let mut files = vec![(GENESIS_PATH.to_owned(), genesis.into_bytes())];
        let log: Vec<_> = self.steps.iter().flat_map(|(_, _, entries)| entries).collect();
        let mut order = FileOrder::new(self.ledger.height(), self.ledger.log_size());
        let slice = |first: u64, count: u64| first as usize..(first + count) as usize;
        while let Some(part) = order.next_part() {
            let mut bytes = Vec::new();
            match part {
                Part::Blocks { first, count, .. } => {
                    let steps = &self.steps[slice(first.get() - 1, count)];
                    steps.iter().for_each(|(block, certificate, _)| {
                        push_block(&mut bytes, &block.header, certificate)
                    });
                    order.blocks_end(steps.last().map_or(0, |(block, ..)| block.header.log_size));
                }
                Part::Entries { first, count, .. } => {
                    let entries = &log[slice(first, count)];
                    entries.iter().for_each(|entry| push_entry(&mut bytes, entry.bytes()).expect("fits"));
                }
            }
            files.push((part.path(), bytes));
        }
        let files_listed = listed(&files);
        files.push((MANIFEST_PATH.to_owned(), self.manifest(files_listed).to_string().into_bytes()));
        files
    }

    fn manifest(&self, files: Vec<ManifestFile>) -> Manifest {
        Manifest {
            version: MANIFEST_VERSION,
            network: self.ledger.network(),
            first_height: Height::new(1),
            last_height: self.ledger.height(),
            block: self.ledger.block_id(),
            state_root: self.ledger.state_root(),
            log_size: self.ledger.log_size(),
            files,
        }
    }
}

static WORLD: LazyLock<(World, Files)> = LazyLock::new(|| {
    let ledger = Ledger::genesis(&genesis("Test").charter);
    let mut world = World { ledger, tips: BTreeMap::new(), steps: Vec::new(), entries: 0 };
    for height in 0..BLOCKS {
        // One block without entries, others with some of each journal.
        let entries = (0..3).filter(|member| height % 5 != 0 && (height + u64::from(*member)) % 3 != 0);
        let entries: Vec<_> =
            entries.flat_map(|member| [member, member]).map(|member| world.sign(member)).collect();
        world.seal(entries);
    }
    let files = world.files();
    (world, files)
});

struct Archive {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn folder(files: &Files) -> Archive {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("archive");
    spread(files, &path);
    Archive { _dir: dir, path }
}

fn tar(files: &Files) -> Archive {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("archive.tar.zst");
    pack(files, &path);
    Archive { _dir: dir, path }
}

fn audited(archive: &Archive) -> AuditReport {
    audit(&archive.path, &genesis("Test"), &mut |_| {}).expect("readable")
}

/// What is wrong with these files: height, entry, rule.
fn error(files: &Files) -> (Option<u64>, Option<u64>, String) {
    let report = audited(&folder(files));
    assert_eq!(report.verdict, Verdict::Failed);
    let error = report.error.expect("a failed verdict has a reason");
    (error.height.map(Height::get), error.entry, error.rule)
}

fn files() -> Files {
    WORLD.1.clone()
}

fn file<'a>(files: &'a mut Files, name: &str) -> &'a mut Vec<u8> {
    &mut files.iter_mut().find(|(path, _)| path == name).expect("there").1
}

#[test]
fn a_sound_history_is_ok_in_both_forms() {
    let (world, files) = &*WORLD;
    for archive in [folder(files), tar(files)] {
        let report = audited(&archive);
        assert_eq!(report.error, None);
        assert_eq!((report.verdict, report.height.get(), report.blocks), (Verdict::Ok, BLOCKS, BLOCKS));
        assert_eq!((report.state_root, report.entries), (world.ledger.state_root(), world.entries));
        assert!(report.entries > 512 && !report.has_grave_findings());
    }
}

#[test]
fn an_empty_history_is_ok() {
    let ledger = Ledger::genesis(&genesis("Test").charter);
    let world = World { ledger, tips: BTreeMap::new(), steps: Vec::new(), entries: 0 };
    let report = audited(&tar(&world.files()));
    assert_eq!((report.verdict, report.height), (Verdict::Ok, Height::GENESIS));
    assert_eq!(report.state_root, world.ledger.state_root());
}

#[test]
fn a_flipped_byte_anywhere_is_found_and_its_place_named() {
    for (name, bytes) in files() {
        let names_height = name.starts_with("blocks/") || name.starts_with("entries/");
        for sample in 0..5 {
            let mut files = files();
            let position = bytes.len() * sample / 5 + sample;
            file(&mut files, &name)[position.min(bytes.len() - 1)] ^= 1 << (sample % 8);
            let (height, _, rule) = error(&files);
            assert!(height.is_some() || !names_height, "{name}, byte {position}: {rule}");
        }
    }
}

#[test]
fn a_forged_entry_is_named_by_its_index() {
    let index = 300;
    let (mut files, mut offset) = (files(), 0);
    let bundle = file(&mut files, "entries/001");
    for entry in syngraph_protocol::archive::bundle_entries(&bundle.clone()).take(index - 256) {
        offset += 2 + entry.expect("sound").len();
    }
    // The last byte of the signature, which stands before the body.
    let head =
        WORLD.0.steps.iter().flat_map(|(.., entries)| entries).nth(index).expect("there").head().clone();
    bundle[offset + 2 + syngraph_protocol::codec::encode(&head).len() + 63] ^= 1;
    let (height, entry, rule) = error(&files);
    assert_eq!((entry, rule.as_str()), (Some(300), "SIG-INVALID"));
    let sealed_at = WORLD.0.steps.iter().find(|(block, ..)| block.header.log_size > 300).expect("there");
    assert_eq!(height, Some(sealed_at.0.header.height.get()));
}

#[test]
fn entries_out_of_the_order_of_the_log_are_named() {
    // Two journals in one block, swapped whole: the same set of entries and the same roots.
    let (position, (block, _, entries)) =
        WORLD.0.steps.iter().enumerate().find(|(_, (_, _, entries))| entries.len() == 4).expect("there");
    let first = block.header.log_size - 4;
    let mut swapped = World {
        ledger: WORLD.0.ledger.clone(),
        tips: BTreeMap::new(),
        steps: WORLD.0.steps.clone(),
        entries: 0,
    };
    swapped.steps[position].2 =
        vec![entries[2].clone(), entries[3].clone(), entries[0].clone(), entries[1].clone()];
    let expected = (Some(block.header.height.get()), Some(first), "ARC-ENTRY-ORDER".to_owned());
    assert_eq!(error(&swapped.files()), expected);
}

#[test]
fn a_certificate_of_nobody_is_refused() {
    let mut forged = World {
        ledger: WORLD.0.ledger.clone(),
        tips: BTreeMap::new(),
        steps: WORLD.0.steps.clone(),
        entries: 0,
    };
    forged.steps[6].1.signatures.clear();
    assert_eq!(error(&forged.files()), (Some(7), None, "CERT-NO-QUORUM".into()));
    let signature = forged.steps[8].1.signatures[0].signature;
    forged.steps[6].1.signatures = vec![CommitSignature { member: MemberId::new(0), signature }];
    assert_eq!(error(&forged.files()), (Some(7), None, "CERT-SIGNATURE".into()));
}

#[test]
fn what_is_missing_or_too_much_is_named() {
    let drop = |name: &str| {
        let mut files = files();
        files.retain(|(path, _)| path != name);
        files
    };
    assert_eq!(error(&drop("entries/001")).2, "ARC-MISSING");
    assert_eq!(error(&drop(MANIFEST_PATH)).2, "ARC-MISSING");
    let relisted = |mut files: Files| {
        files.pop();
        let manifest = WORLD.0.manifest(listed(&files));
        files.push((MANIFEST_PATH.to_owned(), manifest.to_string().into_bytes()));
        files
    };
    assert_eq!(error(&relisted(drop("entries/001"))).2, "ARC-ORDER");
    // Without the last blocks, entries of theirs are left over.
    assert_eq!(error(&relisted(drop("blocks/001.p/4"))).2, "ARC-SURPLUS");
    let mut more = files();
    more.insert(1, ("statements/2026-10.json".to_owned(), b"{}".to_vec()));
    assert_eq!(error(&relisted(more)).2, "ARC-UNKNOWN-FILE");
    let mut shorter = files();
    let manifest = Manifest { log_size: 5, ..WORLD.0.manifest(listed(&shorter[..shorter.len() - 1])) };
    *file(&mut shorter, MANIFEST_PATH) = manifest.to_string().into_bytes();
    assert_eq!(error(&shorter), (None, None, "ARC-MANIFEST".into()));
}

#[test]
fn a_broken_off_download_is_no_archive() {
    let archive = tar(&files());
    let bytes = fs::read(&archive.path).expect("there");
    for part in 1..8 {
        fs::write(&archive.path, &bytes[..bytes.len() * part / 8]).expect("writable");
        let report = audited(&archive);
        assert_eq!(report.verdict, Verdict::Failed, "{part}/8");
    }
}

#[test]
fn only_the_given_genesis_counts() {
    let archive = folder(&files());
    let report = audit(&archive.path, &genesis("Other"), &mut |_| {}).expect("readable");
    assert_eq!(report.error.map(|error| error.rule), Some("ARC-NETWORK".into()));
    let mut unsigned = genesis("Test");
    unsigned.signatures.pop();
    let refused = audit(&archive.path, &unsigned, &mut |_| {}).map_err(|error| error.rule());
    assert_eq!(refused, Err("GEN-UNSIGNED"));
    let nowhere =
        audit(Path::new("/nonexistent"), &genesis("Test"), &mut |_| {}).map_err(|error| error.rule());
    assert_eq!(nowhere, Err("ARC-UNREADABLE"));
}
