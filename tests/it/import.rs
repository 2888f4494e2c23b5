//! `syngraph usage import`: files as people have them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use syngraph_tests::consortium::{ASTER, CEDAR, Consortium};
use syngraph_tests::files::{TRACE_HEADER, trace};
use syngraph_tests::licence::{import_args, license};
use syngraph_tests::node::Node;
use syngraph_tests::tool::{Ran, syngraph};

/// A running node, and whoever imports.
struct Scene {
    consortium: Consortium,
    node: Node,
    key: PathBuf,
}

impl Scene {
    fn set() -> Self {
        let consortium = Consortium::found();
        let node = consortium.start();
        let (mut aster, mut cedar) = (consortium.root(ASTER), consortium.root(CEDAR));
        license(&node, &mut aster, &mut cedar);
        let key = consortium.admit_app(&node, CEDAR, &mut cedar);
        Self { consortium, node, key }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.consortium.folder().join(name);
        fs::write(&path, text).expect("it is written");
        path
    }

    fn import(&self, file: &Path, more: &[&str]) -> Ran {
        let [file, key] = [file, &self.key].map(|path| path.display().to_string());
        let url = self.node.url();
        syngraph(&[&import_args(&file, &url, &key), more].concat())
    }

    fn rows_sealed(&self) -> u64 {
        self.node.status().rows_sealed
    }
}

/// The figures of a report: read, new, duplicate.
fn figures(report: &Value) -> [u64; 3] {
    ["rows_read", "rows_new", "rows_duplicate"].map(|field| report[field].as_u64().expect("a number"))
}

fn refused(report: &Value) -> Vec<(u64, &str)> {
    let rows = report["rows_refused"].as_array().expect("a list");
    let row = |row: &'_ Value| {
        assert!(row["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{row}");
        row["line"].as_u64().expect("a number")
    };
    rows.iter().map(|each| (row(each), each["rule"].as_str().expect("a rule"))).collect()
}

#[test]
fn good_rows_go_in_and_bad_ones_are_named() {
    let scene = Scene::set();
    let before = scene.node.state();
    files_that_are_none(&scene);
    let mixed = scene.write("mixed.csv", &mixed());
    let expected = [(3, "CSV-TIME"), (5, "CSV-QUANTITY"), (6, "CSV-COLUMNS"), (8, "CSV-QUANTITY")];

    let dry = scene.import(&mixed, &["--dry-run"]).ending(4).json();
    assert_eq!((figures(&dry), refused(&dry)), ([9, 5, 0], expected.to_vec()));
    assert_eq!((&dry["quantity"], &dry["dry_run"]), (&json!("1500"), &json!(true)));
    assert_eq!(scene.node.state(), before, "a dry run leaves no trace");

    // The ledger refuses rows too: those beyond its clock and those long gone.
    let report = scene.import(&mixed, &[]).ending(4).json();
    let expected = [&expected[..], &[(9, "USE-FUTURE"), (10, "USE-LATE")]].concat();
    assert_eq!((figures(&report), refused(&report)), ([9, 3, 0], expected.clone()));
    assert_eq!(scene.rows_sealed(), 3);
    let again = scene.import(&mixed, &[]).ending(4).json();
    assert_eq!((figures(&again), refused(&again)), ([9, 0, 3], expected));
    assert_eq!(scene.rows_sealed(), 3);
    scene.node.stop();
}

/// Three good rows, four that are none, and two that the ledger will not have.
fn mixed() -> String {
    format!(
        "{TRACE_HEADER}\
         2023-11-16 18:15:46.6805900,300,50\n\
         yesterday,300,50\n\
         2023-11-16T18:15:47Z,300,50\n\
         2023-11-16 18:15:48,many,50\n\
         2023-11-16 18:15:49,300\n\
         2023-11-16T19:15:50+01:00,300,50\n\
         2023-11-16 18:15:51,18446744073709551615,1\n\
         2123-11-16 18:15:52,200,50\n\
         1999-11-16 18:15:53,150,50\n"
    )
}

fn files_that_are_none(scene: &Scene) {
    for (name, text, rule, words) in [
        ("column.csv", "TIMESTAMP,ContextTokens\n2023-11-16 18:15:46,3\n", "CSV-HEADER", "GeneratedTokens"),
        (
            "twice.csv",
            "TIMESTAMP,ContextTokens,GeneratedTokens,ContextTokens\n",
            "CSV-HEADER",
            "ContextTokens",
        ),
        ("nothing.csv", "", "CSV-HEADER", "TIMESTAMP"),
    ] {
        let ran = scene.import(&scene.write(name, text), &[]).ending(1);
        assert!(ran.stderr.contains(rule) && ran.stderr.contains(words), "{ran:#?}");
        assert_eq!(ran.stdout, "");
    }
    let missing = scene.consortium.folder().join("missing.csv");
    let ran = scene.import(&missing, &[]).ending(1);
    assert!(ran.stderr.contains("CSV-READ") && ran.stderr.contains("missing.csv"), "{ran:#?}");
    let empty = scene.write("empty.csv", TRACE_HEADER);
    for more in [&[][..], &["--dry-run"]] {
        let report = scene.import(&empty, more).ending(0).json();
        assert_eq!((figures(&report), refused(&report)), ([0, 0, 0], vec![]));
    }
}

#[test]
fn a_file_that_is_cut_differently_bills_nothing_twice() {
    let scene = Scene::set();
    let whole = trace(&scene.consortium.folder().join("whole.csv"), 9_000, 4);
    let text = fs::read_to_string(&whole.path).expect("it was written");
    let (mut odd, mut even) =
        (TRACE_HEADER.to_owned(), "GeneratedTokens,ContextTokens,TIMESTAMP\n".to_owned());
    for (number, row) in text.lines().skip(1).enumerate() {
        let fields: Vec<_> = row.split(',').collect();
        // Rows that are the same in everything go into one of the files: which of two
        // equal events one is shows in nothing but their number.
        match fields[1].parse::<u64>().expect("digits") % 2 {
            0 => odd.push_str(&format!("{row}\n")),
            _ => even.insert_str(
                even.find('\n').expect("a header") + 1,
                &format!("{},{},{}\n", fields[2], fields[1], fields[0]),
            ),
        }
        assert!(number < 9_000);
    }
    let (odd, even) = (scene.write("odd.csv", &odd), scene.write("even.csv", &even));
    let first = scene.import(&even, &[]).ending(0).json();
    let [read, new, duplicate] = figures(&first);
    assert_eq!((read, duplicate), (new, 0));
    assert!((1..9_000).contains(&new));
    // The whole file: only the other half of it is new.
    let second = scene.import(&whole.path, &[]).ending(0).json();
    assert_eq!(figures(&second), [9_000, 9_000 - new, new]);
    assert_eq!(second["quantity"], whole.quantity.to_string());
    for file in [&odd, &even, &whole.path] {
        let [read, new, duplicate] = figures(&scene.import(file, &[]).ending(0).json());
        assert_eq!((new, duplicate), (0, read), "{}", file.display());
    }
    assert_eq!(scene.rows_sealed(), 9_000);
    let with_crlf = scene.write("crlf.csv", &text.replace('\n', "\r\n"));
    assert_eq!(figures(&scene.import(&with_crlf, &[]).ending(0).json()), [9_000, 0, 9_000]);
    scene.node.stop();
}

#[test]
fn who_may_not_import_is_told_so() {
    let scene = Scene::set();
    let file = scene.write("one.csv", &format!("{TRACE_HEADER}2023-11-16 18:15:46,3,4\n"));
    let [file, key] = [&file, &scene.key].map(|path| path.display().to_string());
    let url = scene.node.url();
    let args = import_args(&file, &url, &key);
    let with = |from: &str, to: &str| {
        let changed: Vec<_> = args.iter().map(|arg| if *arg == from { to } else { arg }).collect();
        syngraph(&changed)
    };
    for (from, to, code, rule) in [
        ("Inference licence", "Some licence", 1, "NAME-UNKNOWN"),
        ("Model M1@1.0", "Model M1@2.0", 1, "NAME-UNKNOWN"),
        ("tokens", "parsecs", 2, "parsecs"),
        (url.as_str(), "nowhere", 1, "NODE-ADDRESS"),
        (key.as_str(), "no.key", 1, "CFG-READ"),
    ] {
        let ran = with(from, to).ending(code);
        assert!(ran.stderr.contains(rule) && ran.stdout.is_empty(), "{from} for {to}: {ran:#?}");
    }
    // A key that no member has admitted.
    let stranger = scene.consortium.folder().join("stranger.toml");
    let made = syngraph(&["key", "new", &stranger.display().to_string(), "--purpose", "app"]);
    assert_eq!(made.code, 0, "{made:#?}");
    let ran = with(&key, &stranger.display().to_string()).ending(1);
    assert!(ran.stderr.contains("KEY-UNKNOWN"), "{ran:#?}");
    assert_eq!(scene.rows_sealed(), 0);
    scene.node.stop();
}
