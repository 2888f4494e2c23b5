//! The program as a shell sees it: what it prints where, and its exit codes.

#[path = "cli/node.rs"]
mod node;

use std::path::Path;
use std::process::{Command, Output};

use node::FakeNode;
use serde_json::{Value, json};
use syngraph_client::key::Key;
use syngraph_config::genesis::to_toml;
use syngraph_protocol::codes::Place;
use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::genesis::{Charter, Founder, GENESIS_VERSION, Genesis};
use syngraph_protocol::ids::{MemberId, NetworkId, Salt};
use syngraph_protocol::ledger::agreement::Terms;
use syngraph_protocol::ledger::member::{MemberProfile, NodeKeys};
use syngraph_protocol::ledger::params::Params;
use syngraph_protocol::name::Name;
use syngraph_protocol::time::UtcMs;

const VECTORS: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/royalty-2026-10.json"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/royalty-edges.json"),
];
const ID: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn syngraph(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syngraph"));
    for variable in ["SYNGRAPH_NODE", "SYNGRAPH_KEY", "SYNGRAPH_LOG"] {
        command.env_remove(variable);
    }
    command.args(args).output().expect("the program starts")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ends by itself")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn document(output: &Output) -> Value {
    let text = out(output);
    assert_eq!(text.lines().count(), 1, "one document on one line: {text}");
    serde_json::from_str(&text).expect("JSON")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the paths of tests are text")
}

fn write(folder: &Path, name: &str, contents: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, contents).expect("a folder of this test");
    text(&path).to_owned()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn genesis() -> Genesis {
    let key = |seed: u8| SecretKey::from_seed(&[seed; 32]);
    let node = NodeKeys { validator: key(2).public(), transport: key(3).public(), journal: key(4).public() };
    let profile = MemberProfile {
        name: Name::new("Aster"),
        jurisdiction: Place::new("DE"),
        root: key(1).public(),
        node: Some(node),
    };
    let charter = Charter {
        version: GENESIS_VERSION,
        name: Name::new("Example"),
        time: UtcMs::from_ms(1_700_000_000_000),
        params: Params::default(),
        members: vec![Founder { profile, power: 1 }],
    };
    let signatures = vec![charter.sign(&key(1))];
    Genesis { charter, signatures }
}

#[test]
fn help_is_done_and_a_wrong_command_line_is_2() {
    let help = syngraph(&["usage", "import", "--help"]);
    assert_eq!(code(&help), 0);
    assert!(out(&help).contains("Example:\n  syngraph usage import"), "{}", out(&help));
    assert_eq!(code(&syngraph(&["--version"])), 0);
    for wrong in [
        &[][..],
        &["fly"],
        &["asset", "register", "--class", "spaceship"],
        &["period", "close", "October"],
        &["finding", "show", "abc"],
        &["royalty", "compute"],
        &["asset", "version", "Base", "--label", "1", "--content", ID],
        // Signing without a key.
        &["period", "close", "2026-10"],
    ] {
        let output = syngraph(wrong);
        assert_eq!(code(&output), 2, "{wrong:?}: {}", err(&output));
        assert!(out(&output).is_empty(), "{wrong:?}: data on stdout");
    }
    let no_key = syngraph(&["period", "close", "2026-10"]);
    assert!(err(&no_key).starts_with("syngraph: CLI-KEY: "), "{}", err(&no_key));
}

#[test]
fn the_vectors_come_out_key_for_key() {
    for path in VECTORS {
        let output = syngraph(&["royalty", "compute", "--scenario", path, "--json"]);
        assert_eq!(code(&output), 0, "{}", err(&output));
        let vector = std::fs::read_to_string(path).expect("the vectors are there");
        let (_, expected) = vector.split_once("\"expected\":").expect("a vector has its expectation");
        // Text, because integers of more than 64 bits would lose digits in a `Value`.
        let expected: String = expected.split_whitespace().collect();
        assert_eq!(Some(out(&output).trim_end()), expected.strip_suffix('}'), "{path}");
        let plain = syngraph(&["royalty", "compute", "--scenario", path]);
        assert!(code(&plain) == 0 && out(&plain).contains("receives"), "{}", out(&plain));
        assert!(!out(&plain).contains('\u{1b}'), "colour where there is no terminal");
    }
}

#[test]
fn a_scenario_that_is_no_good_is_1_and_says_where() {
    let folder = folder();
    let scenario = std::fs::read_to_string(VECTORS[0]).expect("the vectors are there");
    let float = write(folder.path(), "float.json", &scenario.replacen("25000", "25000.0", 1));
    let orphan = write(folder.path(), "orphan.json", &scenario.replacen("\"B0\"", "\"B9\"", 1));
    let missing = folder.path().join("missing.json");
    for (path, expected) in [
        (float.as_str(), "CFG-SYNTAX: "),
        (orphan.as_str(), "SCENARIO-ASSET-UNKNOWN: "),
        (text(&missing), "CFG-READ: "),
    ] {
        let output = syngraph(&["royalty", "compute", "--scenario", path, "--json"]);
        assert_eq!(code(&output), 1, "{path}");
        assert!(out(&output).is_empty());
        assert!(err(&output).starts_with(&format!("syngraph: {expected}{path}")), "{}", err(&output));
    }
}

#[test]
fn an_audit_of_garbage_is_3_and_one_without_a_genesis_is_1() {
    let folder = folder();
    let genesis = write(folder.path(), "genesis.toml", &to_toml(&genesis()).expect("writable"));
    let garbage = write(folder.path(), "history.tar.zst", "this is no history");
    let report = folder.path().join("report.json");
    let replay = |archive: &str, genesis: &str| {
        syngraph(&["audit", "replay", archive, "--genesis", genesis, "--json", "--report", text(&report)])
    };
    let failed = replay(&garbage, &genesis);
    assert_eq!(code(&failed), 3, "{}", err(&failed));
    let document = document(&failed);
    assert_eq!(document["verdict"], "failed");
    assert!(document["error"]["rule"].is_string(), "{document}");
    let written = std::fs::read_to_string(&report).expect("the report was written");
    assert_eq!(serde_json::from_str::<Value>(&written).expect("JSON"), document);

    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).expect("a folder of this test");
    assert_eq!(code(&replay(text(&empty), &genesis)), 3);
    assert_eq!(code(&replay(text(&folder.path().join("none")), &genesis)), 1);
    let malformed = write(folder.path(), "malformed.toml", "[charter]\nversion = \"one\"\n");
    let output = replay(&garbage, &malformed);
    assert_eq!((code(&output), err(&output).contains("malformed.toml:")), (1, true), "{}", err(&output));
    assert_eq!(code(&replay(&garbage, text(&folder.path().join("no.toml")))), 1);
}

#[test]
fn an_unsigned_genesis_is_1() {
    let folder = folder();
    let mut unsigned = genesis();
    unsigned.signatures.clear();
    let genesis = write(folder.path(), "genesis.toml", &to_toml(&unsigned).expect("writable"));
    let garbage = write(folder.path(), "history.tar.zst", "this is no history");
    let output = syngraph(&["audit", "replay", &garbage, "--genesis", &genesis]);
    assert_eq!(code(&output), 1, "{}", err(&output));
    assert!(err(&output).contains("genesis.toml: "), "{}", err(&output));
}

#[test]
fn keys_are_made_once_and_shown_without_their_secrets() {
    let folder = folder();
    let path = folder.path().join("app.key");
    let made = syngraph(&["key", "new", text(&path), "--purpose", "app", "--json"]);
    assert_eq!(code(&made), 0, "{}", err(&made));
    let again = syngraph(&["key", "new", text(&path)]);
    assert_eq!(code(&again), 1);
    assert!(err(&again).contains("KEY-FILE-EXISTS"), "{}", err(&again));
    let listed = syngraph(&["key", "list", text(folder.path()), "--json"]);
    assert_eq!(document(&listed), json!([document(&made)]));
    let seed = Key::load(&path).expect("own file").secret().to_seed();
    assert!(!out(&listed).contains(&hex::encode(seed)));
}

#[test]
fn a_dry_run_reads_a_file_without_a_node_and_4_means_refused_rows() {
    let folder = folder();
    let good = "TIMESTAMP,A,B\n2026-10-01 10:00:00.1234567,1,2\n2026-10-01 10:00:00.1234567,1,2\n";
    let bad = format!("{good}yesterday,1,2\n2026-10-01 10:00:01,1,-2\n");
    let import = |contents: &str| {
        let file = write(folder.path(), "usage.csv", contents);
        #[rustfmt::skip]
        let args = [
            "usage", "import", &file, "--agreement", ID, "--asset", ID, "--act", "infer.service",
            "--purpose", "commercial", "--territory", "DE", "--meter", "tokens", "--payer", "1",
            "--time", "TIMESTAMP", "--quantity", "A,B", "--dry-run", "--json", "--node", "http://127.0.0.1:1",
        ];
        syngraph(&args)
    };
    let fine = import(good);
    assert_eq!(code(&fine), 0, "{}", err(&fine));
    assert_eq!((&document(&fine)["rows_new"], &document(&fine)["quantity"]), (&json!(2), &json!("6")));
    let refused = import(&bad);
    assert_eq!(code(&refused), 4, "{}", err(&refused));
    let lines = document(&refused)["rows_refused"].clone();
    assert_eq!((&lines[0]["line"], &lines[0]["rule"]), (&json!(4), &json!("CSV-TIME")));
    assert_eq!((&lines[1]["line"], &lines[1]["rule"]), (&json!(5), &json!("CSV-QUANTITY")));
    let header = import("A,B\n1,2\n");
    assert_eq!((code(&header), err(&header).contains("CSV-HEADER")), (1, true), "{}", err(&header));
}

#[test]
fn a_node_that_is_not_there_is_1() {
    // Nothing listens where a listener has just gone.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", gone.local_addr().expect("bound"));
    drop(gone);
    let output = syngraph(&["status", "--node", &url]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).starts_with("syngraph: NODE-UNREACHABLE: "), "{}", err(&output));
    assert!(err(&syngraph(&["status", "--node", "nowhere"])).contains("NODE-ADDRESS"));
}

#[test]
fn a_command_that_fails_leaves_nothing_to_happen_later() {
    let folder = folder();
    let path = folder.path().join("app.key");
    Key::generate("app").expect("randomness").save(&path).expect("new");
    let node = FakeNode::start::<&str>([]);
    let output = syngraph(&["period", "close", "2026-10", "--key", text(&path), "--node", &node.url()]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).starts_with("syngraph: KEY-UNKNOWN: "), "{}", err(&output));
    assert_eq!(node.posts(), 0);
    let left = std::fs::read_dir(folder.path()).expect("there").count();
    assert_eq!(left, 1, "only the key file, no outbox");
}

#[test]
fn scripts_and_manual_pages_are_printed() {
    let script = syngraph(&["completions", "bash"]);
    assert_eq!((code(&script), out(&script).contains("_syngraph")), (0, true));
    assert!(out(&syngraph(&["man"])).contains(".TH syngraph 1"));
    let folder = folder();
    assert_eq!(code(&syngraph(&["man", "--out", text(folder.path())])), 0);
    assert!(folder.path().join("syngraph-audit-replay.1").is_file());
    assert_eq!(code(&syngraph(&["man", "--out", text(&folder.path().join("none"))])), 1);
}

#[test]
fn what_a_node_tells_is_shown() {
    let node = FakeNode::start([
        (
            "/v1/members",
            json!({"items": [{"id": 0, "name": "Aster"}, {"id": 1, "name": "Birch"}], "next": null}),
        ),
        (
            "/v1/members/1",
            json!({"id": 1, "name": "Birch", "power": 1, "keys": [{"key": ID, "purpose": "root"}]}),
        ),
        ("/v1/statements/2026-10", json!({"month": "2026-10", "lines": [1], "lines_next": "c"})),
        ("/v1/statements/2026-10/lines", json!({"items": [{"term": "a"}, {"term": "b"}], "next": null})),
    ]);
    let ask = |args: &[&str]| syngraph(&[args, &["--node", &node.url()]].concat());
    let list = ask(&["member", "list"]);
    assert_eq!((code(&list), out(&list).lines().count()), (0, 3), "{}", out(&list));
    assert_eq!(document(&ask(&["member", "list", "--json"]))[1]["name"], "Birch");
    let keys = document(&ask(&["key", "list", "--member", "Birch", "--json"]));
    assert_eq!(keys, json!([{"key": ID, "purpose": "root"}]));
    let unknown = ask(&["member", "show", "Cedar"]);
    assert_eq!((code(&unknown), err(&unknown).contains("NAME-UNKNOWN")), (1, true));
    let refused = ask(&["finding", "show", ID]);
    assert_eq!((code(&refused), err(&refused).contains("FAKE-UNKNOWN")), (1, true), "{}", err(&refused));
    let statement = document(&ask(&["statement", "show", "2026-10", "--json"]));
    assert_eq!(statement["lines"], json!([{"term": "a"}, {"term": "b"}]));
    assert!(statement.get("lines_next").is_none());
}

/// Terms as a node shows them, with a hash of its choice.
fn shown_version(claimed: &str) -> Value {
    let terms = json!({
        "kind": "licence", "title": "Deal", "due_days": 30, "governing_law": null, "document": null,
        "parties": [{"member": 0, "role": "licensor"}, {"member": 1, "role": "licensee"}],
        "grants": [{
            "licensor": 0, "assets": [{"asset": ID}], "acts": ["infer"],
            "territory": {"world": true, "include": [], "exclude": []},
            "span": {"from": "2026-10-01T00:00:00.000Z", "until": "open"},
            "exclusivity": "non_exclusive", "derivatives": "none", "reporter": null,
        }],
        "term": {"from": "2026-10-01T00:00:00.000Z", "until": "open"},
    });
    let read: Terms = serde_json::from_value(terms.clone()).expect("terms");
    let computed = read.root(&Salt::from_bytes([7; 32]), None).to_string();
    let terms_hash = if claimed.is_empty() { computed } else { claimed.to_owned() };
    json!({
        "agreement": ID, "version": 1, "status": "proposed", "terms_hash": terms_hash, "previous": null,
        "salt": "07".repeat(32), "terms": terms, "signed_by": [], "missing": [],
    })
}

fn node_with(version: Value, key: &Key) -> FakeNode {
    let none = json!({"items": [], "next": null});
    FakeNode::start([
        (format!("/v1/agreements/{ID}"), json!({"versions": 1, "current": 1})),
        (format!("/v1/agreements/{ID}/versions/1"), version),
        ("/v1/members".into(), none.clone()),
        ("/v1/assets".into(), none.clone()),
        ("/v1/versions".into(), none),
        (
            "/v1/status".into(),
            json!({
                "network": NetworkId::from_bytes([1; 32]), "member": MemberId::new(1), "name": "Birch", "height": 1,
                "block": ID, "state_root": ID, "log_size": 0, "rows_sealed": 0, "ready": true,
                "time": "2026-10-01T00:00:00.000Z",
            }),
        ),
        (
            format!("/v1/journals/{}", key.public()),
            json!({
                "journal": key.public(), "member": 1, "next_seq": 0, "last_entry": "00".repeat(32),
                "replicated_next_seq": 0, "sealed_next_seq": 0, "ends": null,
            }),
        ),
    ])
}

#[test]
fn nothing_is_signed_that_does_not_have_the_hash_it_should() {
    let folder = folder();
    let path = folder.path().join("app.key");
    let key = Key::generate("app").expect("randomness");
    key.save(&path).expect("new");
    let sign = |node: &FakeNode, more: &[&str]| {
        let url = node.url();
        let args = ["agreement", "sign", ID, "--key", text(&path), "--node", &url, "--wait", "accepted"];
        syngraph(&[&args[..], more].concat())
    };
    let liar = node_with(shown_version(ID), &key);
    let output = sign(&liar, &[]);
    assert_eq!((code(&output), err(&output).contains("AGR-HASH")), (3, true), "{}", err(&output));
    let honest = node_with(shown_version(""), &key);
    let output = sign(&honest, &["--terms-hash", ID]);
    assert_eq!((code(&output), err(&output).contains("nothing was signed")), (3, true), "{}", err(&output));
    assert_eq!((liar.posts(), honest.posts()), (0, 0));
    let output = sign(&honest, &["--json"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(err(&output).contains("\"Deal\" — licence, version 1"), "{}", err(&output));
    assert_eq!((document(&output)["state"].clone(), honest.posts()), (json!("accepted"), 1));
}
