//! What an auditor notices: everything.

use std::fs;
use std::path::{Path, PathBuf};

use syngraph_client::archive::export;
use syngraph_client::audit::{AuditReport, Failure, Verdict, audit};
use syngraph_config::genesis::to_toml;
use syngraph_protocol::entry::Deed;
use syngraph_protocol::genesis::Genesis;
use syngraph_protocol::ids::{Hash, Height};
use syngraph_protocol::ledger::period::{ClosePeriod, Settle};
use syngraph_tests::consortium::{ASTER, BIRCH, CEDAR, Consortium};
use syngraph_tests::files::{below, copy, flip};
use syngraph_tests::licence::{MONTH, license, register};
use syngraph_tests::random::Random;
use syngraph_tests::tool::syngraph;

/// Places in the files that are tried beside the first, middle and last byte of each.
const RANDOM_PLACES: u64 = 200;

/// An exported history.
struct Scene {
    consortium: Consortium,
    /// As a directory.
    archive: PathBuf,
    /// As one file.
    packed: PathBuf,
    arrived: (Height, Hash),
    /// What is tampered with.
    work: PathBuf,
}

impl Scene {
    /// A history with money in it, two bundles of entries long.
    fn set() -> Self {
        let consortium = Consortium::found();
        let node = consortium.start();
        let [mut aster, mut birch, mut cedar] = [ASTER, BIRCH, CEDAR].map(|member| consortium.root(member));
        let licensed = license(&node, &mut aster, &mut cedar);
        let reports: Vec<_> = (0..20).map(|seed| cedar.sign(licensed.report(seed, &[seed; 10]))).collect();
        assert_eq!(node.seal(&reports).len(), 20);
        for round in 0..5 {
            let acts: Vec<_> = (0..50).map(|n| aster.deed(register(&format!("Asset {round}.{n}")))).collect();
            assert_eq!(node.seal(&acts).len(), 50);
        }
        let month = MONTH.parse().expect("a month");
        node.act(&mut birch, Deed::ClosePeriod(ClosePeriod { month }));
        node.act(&mut birch, Deed::Settle(Settle { month }));
        let arrived = node.state();
        let [archive, packed, work] =
            ["history", "history.tar.zst", "work"].map(|name| consortium.folder().join(name));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.expect("the system gives threads").block_on(async {
            for out in [&archive, &packed] {
                export(&node.api(), out, None, &mut |_| {}).await.expect("the history is exported");
            }
        });
        node.stop();
        copy(&archive, &work);
        Self { consortium, archive, packed, arrived, work }
    }

    fn audit(&self, path: &Path) -> AuditReport {
        audit(path, &self.consortium.genesis, &mut |_| {}).expect("there is something to audit")
    }

    /// What is wrong with the tampered copy.
    #[track_caller]
    fn failure(&self, what: &str) -> Failure {
        let report = self.audit(&self.work);
        assert_eq!(report.verdict, Verdict::Failed, "{what}");
        report.error.unwrap_or_else(|| panic!("{what}: nothing is named"))
    }

    /// The tampered copy fails at some height or entry; then it is mended.
    #[track_caller]
    fn is_placed(&self, what: &str) -> Failure {
        let failure = self.failure(what);
        assert!(failure.height.is_some() || failure.entry.is_some(), "{what}: no place in {failure:?}");
        assert!(failure.rule.contains('-') && !failure.detail.is_empty(), "{what}: {failure:?}");
        self.mend();
        failure
    }

    fn mend(&self) {
        fs::remove_dir_all(&self.work).expect("nobody uses it");
        copy(&self.archive, &self.work);
    }

    /// Exit code and what stands on stdout and stderr.
    fn replay(&self, archive: &Path, genesis: &Path) -> syngraph_tests::tool::Ran {
        let [archive, genesis] = [archive, genesis].map(|path| path.display().to_string());
        syngraph(&["audit", "replay", &archive, "--genesis", &genesis, "--json"])
    }

    /// The files of blocks and entries.
    fn parts(&self) -> Vec<PathBuf> {
        let is_part = |path: &PathBuf| path.starts_with("blocks") || path.starts_with("entries");
        below(&self.archive).into_iter().filter(is_part).collect()
    }
}

#[test]
fn any_changed_byte_is_noticed_and_placed() {
    let scene = Scene::set();
    sound(&scene);
    let parts = scene.parts();
    let names: Vec<_> = parts.iter().filter_map(|path| path.to_str()).collect();
    let [blocks, "entries/000", more] = names[..] else {
        panic!("one file of blocks, two bundles: {names:?}")
    };
    assert!(blocks.starts_with("blocks/000.p/") && more.starts_with("entries/001.p/"), "{names:?}");
    let size = |path: &PathBuf| fs::metadata(scene.archive.join(path)).expect("a file").len();
    let mut random = Random::new(1);
    let mut places: Vec<(&PathBuf, u64)> = Vec::new();
    for part in &parts {
        places.extend([0, size(part) / 2, size(part) - 1].map(|byte| (part, byte)));
    }
    for _ in 0..RANDOM_PLACES {
        let part = &parts[usize::try_from(random.below(parts.len() as u64)).expect("few")];
        places.push((part, random.below(size(part))));
    }
    for (number, (part, byte)) in places.into_iter().enumerate() {
        let bit = u8::try_from(random.below(8)).expect("small");
        let path = scene.work.join(part);
        flip(&path, byte, bit);
        let what = format!("bit {bit} of byte {byte} of {}", part.display());
        let failure = scene.failure(&what);
        assert!(failure.height.is_some() || failure.entry.is_some(), "{what}: no place in {failure:?}");
        if number % 50 == 0 {
            by_the_tool(&scene, &failure);
        }
        flip(&path, byte, bit);
    }
    sound(&scene);
}

/// The untouched history is what the node had arrived at, in both forms.
fn sound(scene: &Scene) {
    for path in [&scene.archive, &scene.packed, &scene.work] {
        let report = scene.audit(path);
        assert_eq!((report.verdict, &report.error), (Verdict::Ok, &None));
        assert_eq!((report.height, report.state_root), scene.arrived);
        assert_eq!(report.rows, 200);
    }
}

/// The tool says the same with exit code 3.
fn by_the_tool(scene: &Scene, failure: &Failure) {
    let report = scene.replay(&scene.work, &scene.consortium.genesis_path()).ending(3).json();
    assert_eq!(report["verdict"], "failed");
    assert_eq!(report["error"], serde_json::to_value(failure).expect("plain values"));
}

#[test]
fn files_that_are_missing_cut_swapped_or_too_many_are_noticed() {
    let scene = Scene::set();
    let parts = scene.parts();
    for part in &parts {
        let (path, whole) = (scene.work.join(part), fs::read(scene.archive.join(part)).expect("a file"));
        let name = part.display();
        for kept in [0, 1, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..kept]).expect("it is written");
            scene.is_placed(&format!("{name} is cut to {kept} bytes"));
        }
        fs::write(&path, [&whole[..], &[0]].concat()).expect("it is written");
        scene.is_placed(&format!("{name} has a byte too many"));
        fs::remove_file(&path).expect("it is there");
        let failure = scene.is_placed(&format!("{name} is missing"));
        assert_eq!((failure.rule.as_str(), failure.file), ("ARC-MISSING", Some(name.to_string())));
    }
    let [_, first, second] = [0, 1, 2].map(|number| scene.work.join(&parts[number]));
    let (one, other) = (fs::read(&first).expect("a bundle"), fs::read(&second).expect("a bundle"));
    fs::write(&first, other).and_then(|()| fs::write(&second, one)).expect("they are written");
    scene.is_placed("the bundles are swapped");
    what_belongs_to_no_block(&scene);
    packed_ones(&scene);
}

/// The manifest, the genesis and files that nobody asked for.
fn what_belongs_to_no_block(scene: &Scene) {
    let manifest = scene.work.join("manifest.json");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    let mut random = Random::new(2);
    for _ in 0..40 {
        flip(&manifest, random.below(text.len() as u64), u8::try_from(random.below(7)).expect("small"));
        scene.failure("a flipped bit of the manifest");
        scene.mend();
    }
    fs::remove_file(&manifest).expect("it is there");
    assert_eq!(scene.failure("no manifest").rule, "ARC-MISSING");
    scene.mend();
    for surplus in ["notes.txt", "entries/002.p/9", "statements/2023-11.json"] {
        let path = scene.work.join(surplus);
        fs::create_dir_all(path.parent().expect("below the archive")).expect("a folder is made");
        fs::write(path, "{}").expect("it is written");
        let failure = scene.is_placed(surplus);
        assert_eq!((failure.rule.as_str(), failure.file.as_deref()), ("ARC-SURPLUS", Some(surplus)));
    }
    let note = format!(
        "\"files\": [\n    {{\"path\": \"notes.txt\", \"size\": 2, \"sha256\": \"{}\"}},",
        "00".repeat(32)
    );
    let listed = text.replacen("\"files\": [", &note, 1);
    assert_ne!(listed, text);
    fs::write(&manifest, listed)
        .and_then(|()| fs::write(scene.work.join("notes.txt"), "hi"))
        .expect("written");
    assert_eq!(scene.failure("a file too many in the manifest").rule, "ARC-ORDER");
    scene.mend();
    let genesis = scene.work.join("genesis.toml");
    let founding = fs::read_to_string(&genesis).expect("a genesis");
    fs::write(&genesis, format!("{founding}# a remark\n")).expect("it is written");
    assert_eq!(scene.failure("a remark in the genesis").rule, "ARC-HASH");
    scene.mend();
    fs::write(&genesis, founding.replacen("Aster", "Astor", 1)).expect("it is written");
    assert_eq!(scene.failure("another founder").rule, "ARC-NETWORK");
    scene.mend();
}

/// The form in one file.
fn packed_ones(scene: &Scene) {
    let genesis = scene.consortium.genesis_path();
    let whole = fs::read(&scene.packed).expect("a file");
    let broken = scene.consortium.folder().join("broken.tar.zst");
    let mut random = Random::new(3);
    for (what, bytes) in [
        ("garbage", random.bytes(5_000)),
        ("half of it", whole[..whole.len() / 2].to_vec()),
        ("nothing", Vec::new()),
        ("text", b"this is no archive".to_vec()),
    ] {
        fs::write(&broken, bytes).expect("it is written");
        let report = scene.audit(&broken);
        assert!(report.verdict == Verdict::Failed && report.error.is_some(), "{what}: {report:?}");
    }
    let report = scene.replay(&broken, &genesis).ending(3).json();
    assert_eq!((&report["verdict"], &report["error"]["rule"]), (&"failed".into(), &"ARC-TAR".into()));
    // A few bits of the wrapping say nothing: without them it is the very same history.
    let figures = |report: &AuditReport| (report.height, report.state_root, report.entries, report.rows);
    let right = figures(&scene.audit(&scene.packed));
    for _ in 0..40 {
        let mut flipped = whole.clone();
        let byte = usize::try_from(random.below(whole.len() as u64)).expect("small");
        flipped[byte] ^= 1 << random.below(8);
        fs::write(&broken, flipped).expect("it is written");
        let report = scene.audit(&broken);
        assert!(report.verdict == Verdict::Failed || figures(&report) == right, "byte {byte}: {report:?}");
    }
}

#[test]
fn the_wrong_genesis_or_none_audits_nothing() {
    let scene = Scene::set();
    let path = scene.consortium.folder().join("other.toml");
    let failed = |text: &str, code| {
        fs::write(&path, text).expect("it is written");
        scene.replay(&scene.archive, &path).ending(code)
    };
    let other = Consortium::found();
    let text = to_toml(&other.genesis).expect("a genesis of known types");
    let report = failed(&text, 3).json();
    assert_eq!((&report["verdict"], &report["error"]["rule"]), (&"failed".into(), &"ARC-NETWORK".into()));
    let right = to_toml(&scene.consortium.genesis).expect("a genesis of known types");
    assert_eq!(
        failed(&format!("# a remark\n{right}"), 0).json()["verdict"],
        "ok",
        "a remark changes nothing"
    );
    let unsigned = Genesis { signatures: Vec::new(), ..scene.consortium.genesis.clone() };
    let unsigned = to_toml(&unsigned).expect("a genesis of known types");
    for (text, rule, place) in [
        (unsigned.as_str(), "GEN-UNSIGNED", "other.toml"),
        ("[charter]\nname = 5\n", "CFG-SYNTAX", "other.toml:2"),
        ("", "CFG-SYNTAX", "other.toml:1"),
    ] {
        let ran = failed(text, 1);
        assert!(ran.stderr.contains(rule) && ran.stderr.contains(place) && ran.stdout.is_empty(), "{ran:#?}");
    }
    fs::remove_file(&path).expect("it is there");
    assert!(scene.replay(&scene.archive, &path).ending(1).stderr.contains("CFG-READ"));
    let nowhere = scene.consortium.folder().join("nowhere");
    let ran = scene.replay(&nowhere, &scene.consortium.genesis_path()).ending(1);
    assert!(ran.stderr.contains("ARC-UNREADABLE") && ran.stderr.contains("nowhere"), "{ran:#?}");
    let empty = scene.consortium.folder().join("empty");
    fs::create_dir(&empty).expect("it is made");
    let report = scene.replay(&empty, &scene.consortium.genesis_path()).ending(3).json();
    assert_eq!(report["error"]["rule"], "ARC-MISSING");
}
