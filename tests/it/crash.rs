//! Nodes and tools that are killed in the middle of an import.
//!
//! Whatever dies and however often: when the import has ended, every row of the file is
//! on the ledger once, and the history is sound.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::Value;
use syngraph_tests::binaries::Program;
use syngraph_tests::books::{balance, import, took_everything};
use syngraph_tests::consortium::{ASTER, BIRCH, CEDAR, Consortium};
use syngraph_tests::files::{Trace, below, trace};
use syngraph_tests::licence::{Licensed, import_args, license};
use syngraph_tests::node::Node;
use syngraph_tests::process::Process;
use syngraph_tests::tool::{syngraph, with};
use syngraph_tests::wait::until;

/// Rows between two kills: enough that they land within the import.
const ROWS_PER_KILL: u64 = 50_000;

/// How often a process is killed; `SYNGRAPH_TEST_KILLS` asks for more.
fn kills() -> u64 {
    let asked = std::env::var("SYNGRAPH_TEST_KILLS").ok();
    asked.map_or(3, |count| count.parse().expect("SYNGRAPH_TEST_KILLS is a number"))
}

/// Rows of the trace.
fn rows() -> u64 {
    ROWS_PER_KILL * (kills() + 1)
}

/// A consortium whose Cedar has a licence, an app key and a trace to import.
struct Scene {
    consortium: Consortium,
    licensed: Licensed,
    key: PathBuf,
    trace: Trace,
}

impl Scene {
    fn set(seed: u64) -> (Self, Node) {
        let consortium = Consortium::found();
        let node = consortium.start();
        let (mut aster, mut cedar) = (consortium.root(ASTER), consortium.root(CEDAR));
        let licensed = license(&node, &mut aster, &mut cedar);
        let key = consortium.admit_app(&node, CEDAR, &mut cedar);
        let trace = trace(&consortium.folder().join("trace.csv"), rows(), seed);
        (Self { consortium, licensed, key, trace }, node)
    }

    /// Waits for the moment of the nth kill: so many rows are sealed, or, every second
    /// time, entries have arrived that may not be sealed yet. An import that is over by
    /// then is killed in its sleep.
    #[track_caller]
    fn moment(&self, node: &Node, kill: u64) {
        let arrived = || below(&node.dir().join("entries")).iter().map(|file| self.size(file)).sum::<u64>();
        let before = arrived();
        let sealed = || node.try_status().map_or(0, |status| status.rows_sealed);
        until("the moment to kill", || {
            let due =
                if kill.is_multiple_of(2) { arrived() > before } else { sealed() >= ROWS_PER_KILL * kill };
            (due || sealed() == rows()).then_some(())
        });
    }

    fn size(&self, segment: &Path) -> u64 {
        let path = self.consortium.dir().join("entries").join(segment);
        fs::metadata(path).map_or(0, |file| file.len())
    }

    /// Kills a node, lets it come up again as far as its first answer, kills it there too,
    /// and starts it for good.
    fn crash(&self, node: Node) -> Node {
        node.kill();
        let rising = Node::launch(&self.consortium.dir());
        until("the node answers", || syngraph_tests::http::get(rising.http(), "/livez").ok());
        rising.kill();
        self.consortium.start()
    }

    fn settle(&self, node: Node) {
        let figures = (self.trace.rows, self.trace.quantity);
        balance(&self.consortium, &node, &self.licensed, &mut self.consortium.root(BIRCH), figures);
        node.stop();
    }
}

#[test]
fn an_import_survives_the_death_of_its_node() {
    let (scene, node) = Scene::set(1);
    let node = thread::scope(|scope| {
        let api = node.api();
        let mut node = node;
        let (key, trace, mapping) = (&scene.key, &scene.trace.path, scene.licensed.mapping());
        let importing = scope.spawn(move || import(api, key, trace, &mapping));
        for kill in 1..=kills() {
            scene.moment(&node, kill);
            node = scene.crash(node);
        }
        let report = importing.join().expect("the importing thread ends");
        took_everything(&report, &scene.trace);
        node
    });
    scene.settle(node);
}

#[test]
fn an_import_survives_its_own_death() {
    let (scene, mut node) = Scene::set(2);
    let (url, key) = (node.url(), scene.key.display().to_string());
    let file = scene.trace.path.display().to_string();
    let args = import_args(&file, &url, &key);
    for kill in 1..=kills() {
        let tool = Process::start(with(Program::Tool, &args), "import", scene.consortium.folder());
        let tool = tool.expect("the tool starts");
        scene.moment(&node, kill);
        tool.kill().expect("it is ended");
        if kill == 2 {
            node = scene.crash(node);
        }
    }
    let report = syngraph(&args).ending(0).json();
    let count = |field: &str| report[field].as_u64().expect("a count");
    assert_eq!(
        (count("rows_read"), count("rows_new") + count("rows_duplicate")),
        (rows(), rows()),
        "{report}"
    );
    assert_eq!(report["rows_refused"], Value::Array(Vec::new()));
    // And once more, which changes nothing.
    let again = syngraph(&args).ending(0).json();
    assert_eq!((&again["rows_new"], &again["rows_duplicate"]), (&0.into(), &rows().into()));
    scene.settle(node);
}
