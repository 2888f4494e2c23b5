//! Founding a network by hand, with the commands that operators have and nothing else.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use syngraph_config::genesis::load_genesis;
use syngraph_tests::binaries::Program;
use syngraph_tests::node;
use syngraph_tests::ports;
use syngraph_tests::process::Process;
use syngraph_tests::tool::{Ran, syngraphd};
use syngraph_tests::wait::until;
use tempfile::TempDir;

const CAST: [&str; 4] = ["aster", "birch", "cedar", "dill"];

/// Four operators, each with a folder of its own, and a fifth that they all can reach.
struct Operators(TempDir);

impl Operators {
    /// Each has made its node.
    fn assembled() -> Self {
        let operators = Self(tempfile::tempdir().expect("a temporary folder"));
        for name in CAST {
            operators.init(name);
        }
        operators
    }

    fn init(&self, name: &str) {
        let [http, peers, consensus] = ports::free().map(|address: SocketAddr| address.to_string());
        let dir = self.at(name);
        let ran = syngraphd(&[
            "init",
            "--dir",
            &dir,
            "--name",
            name,
            "--jurisdiction",
            "FR",
            "--http",
            &http,
            "--peers",
            &peers,
            "--consensus",
            &consensus,
        ])
        .ending(0);
        assert_eq!(ran.stdout.trim_end(), self.card(name));
        assert!(ran.stderr.contains("keys/root.toml"), "{ran:#?}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn at(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn card(&self, name: &str) -> String {
        self.at(&format!("{name}/member.toml"))
    }

    fn root(&self, name: &str) -> String {
        self.at(&format!("{name}/keys/root.toml"))
    }

    /// The founding document that names all four, and nobody's signature.
    fn draft(&self) -> String {
        let genesis = self.at("genesis.toml");
        let given = ["--param", "heartbeat_ms=1000", "--param", "usage_grace_ms=315619200000"];
        let new = ["genesis", "new", "--name", "Example consortium", "--out", &genesis];
        let ran = syngraphd(&[&new[..], &given].concat()).ending(0);
        assert_eq!(ran.stdout.trim_end(), genesis);
        let cards = CAST.map(|name| self.card(name));
        let cards = cards.each_ref().map(String::as_str);
        let ran = syngraphd(&[&["genesis", "add", "--genesis", &genesis][..], &cards].concat()).ending(0);
        assert_eq!(ran.stdout.lines().count(), 4);
        assert!(ran.stdout.starts_with("added aster as member 0 with power 1\n"), "{ran:#?}");
        genesis
    }

    /// Signs with the keys of a member's own folder.
    fn sign(&self, genesis: &str, name: &str) -> Ran {
        syngraphd(&["genesis", "sign", "--genesis", genesis, "--dir", &self.at(name)])
    }

    /// Gives a member the founding document and every other member's card, and moves its
    /// root key away.
    fn introduce(&self, genesis: &str, name: &str) {
        let dir = self.at(name);
        fs::copy(genesis, self.path(name).join("genesis.toml")).expect("copied");
        fs::rename(self.root(name), self.path(&format!("{name}-root.toml"))).expect("moved away");
        let others: Vec<String> =
            CAST.iter().filter(|other| **other != name).map(|other| self.card(other)).collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        let _ = syngraphd(&[&["peer", "add", "--dir", &dir][..], &others].concat()).ending(0);
    }
}

fn check(genesis: &str) -> Ran {
    syngraphd(&["genesis", "check", genesis, "--json"])
}

fn signed(report: &Value) -> Vec<bool> {
    let founders = report["founders"].as_array().expect("a list of founders");
    founders.iter().map(|founder| founder["signed"].as_bool().expect("a truth value")).collect()
}

/// The command must be refused with this rule, and say this.
#[track_caller]
fn refused(args: &[&str], rule: &str, said: &str) {
    let ran = syngraphd(args).ending(1);
    assert!(ran.stderr.starts_with(&format!("syngraphd: {rule}: ")), "{rule} in {ran:#?}");
    assert!(ran.stderr.contains(said), "{said} in {ran:#?}");
    assert_eq!(ran.stdout, "");
}

fn edit(path: impl AsRef<Path>, from: &str, to: &str) {
    let text = fs::read_to_string(&path).expect("readable");
    assert!(text.contains(from), "{from} in {text}");
    fs::write(&path, text.replacen(from, to, 1)).expect("writable");
}

#[test]
fn four_operators_found_a_network_by_hand() {
    let operators = Operators::assembled();
    let draft = operators.draft();
    let before = check(&draft).ending(1);
    assert!(before.stderr.contains("GEN-UNSIGNED"), "{before:#?}");
    assert_eq!(signed(&before.json()), [false; 4]);
    // Each signs a copy of its own; Cedar keeps its root key and its card elsewhere.
    let copies = CAST.map(|name| {
        let copy = operators.at(&format!("{name}-genesis.toml"));
        fs::copy(&draft, &copy).expect("copied");
        let key = ["--key", &operators.root(name), "--card", &operators.card(name)];
        let ran = match name {
            "cedar" => syngraphd(&[&["genesis", "sign", "--genesis", &copy][..], &key].concat()),
            _ => operators.sign(&copy, name),
        };
        assert!(ran.ending(0).stdout.ends_with("3 of 4 founders have yet to sign\n"));
        copy
    });
    let [aster, birch, cedar, dill] = copies.each_ref().map(String::as_str);
    let (half, genesis) = (operators.at("half.toml"), operators.at("signed.toml"));
    let _ = syngraphd(&["genesis", "merge", "--out", &half, dill, birch]).ending(0);
    assert_eq!(signed(&check(&half).ending(1).json()), [false, true, false, true]);
    let ran = syngraphd(&["genesis", "merge", "--out", &genesis, cedar, &half, aster, dill]).ending(0);
    assert!(ran.stdout.ends_with("signed by all founders\n"), "{ran:#?}");
    let report = check(&genesis).ending(0).json();
    assert_eq!((signed(&report), &report["missing"]), (vec![true; 4], &Value::Null));
    assert_eq!(report["network"], before.json()["network"], "signing names no other network");
    let charter = load_genesis(Path::new(&genesis)).expect("readable").charter;
    assert_eq!((charter.params.heartbeat_ms, report["sound"].as_bool()), (1_000, Some(true)));

    for name in CAST {
        operators.introduce(&genesis, name);
        let ran = syngraphd(&["check-config", "--dir", &operators.at(name), "--json"]).ending(0);
        let report = ran.json();
        assert_eq!(
            (&report["problems"], &report["warnings"]),
            (&Value::Array(vec![]), &Value::Array(vec![]))
        );
        assert_eq!((report["member"].as_str(), report["sound"].as_bool()), (Some(name), Some(true)));
    }
}

#[test]
fn signing_one_file_in_turn_comes_to_the_same() {
    let operators = Operators::assembled();
    let genesis = operators.draft();
    for (count, name) in ["dill", "aster", "cedar", "birch"].into_iter().enumerate() {
        let _ = operators.sign(&genesis, name).ending(0);
        let again = operators.sign(&genesis, name).ending(0);
        assert!(again.stderr.contains("signed already"), "{again:#?}");
        let signed = signed(&check(&genesis).json()).into_iter().filter(|signed| *signed).count();
        assert_eq!(signed, count + 1);
    }
    let _ = check(&genesis).ending(0);
}

#[test]
fn steps_in_a_wrong_order_are_refused() {
    let operators = Operators::assembled();
    let (early, dir) = (operators.at("early.toml"), operators.at("aster"));
    let new = ["genesis", "new", "--name", "Early", "--out", &early];
    let _ = syngraphd(&new).ending(0);
    refused(&["genesis", "sign", "--genesis", &early, "--dir", &dir], "GEN-MEMBERS", "0 founding members");
    refused(&new, "CFG-EXISTS", "early.toml");
    let _ = syngraphd(&["genesis", "add", "--genesis", &early, &operators.card("aster")]).ending(0);
    let _ = operators.sign(&early, "aster").ending(0);
    let birch = operators.card("birch");
    let add = ["genesis", "add", "--genesis", &early, &birch];
    refused(&add, "CER-SIGNED", "signatures under this charter: 1");
    let sign = ["genesis", "sign", "--genesis", &early, "--dir", &operators.at("birch")];
    refused(&sign, "CER-NO-FOUNDER", "no founder");
    let ran = syngraphd(&[&add[..], &["--drop-signatures", "--power", "3"]].concat()).ending(0);
    assert!(ran.stderr.contains("signatures dropped: 1"), "{ran:#?}");
    assert_eq!(signed(&check(&early).ending(1).json()), [false; 2]);
    refused(&add, "CER-FOUNDER-TWICE", "birch");
    refused(&["init", "--dir", &dir, "--name", "aster"], "KEY-FILE-EXISTS", "keys/root.toml");
    let peer = ["peer", "add", "--dir", &dir, &birch];
    let _ = syngraphd(&peer).ending(0);
    refused(&peer, "CFG-PEER-TWICE", "birch/member.toml:");
    refused(&["peer", "add", "--dir", &dir, &operators.card("aster")], "CFG-PEER-SELF", "aster/member.toml:");
    let said = node::refused(&operators.path("aster"));
    assert!(said.contains("CFG-READ: ") && said.contains("genesis.toml"), "{said}");
}

#[test]
fn files_that_somebody_changed_are_refused() {
    let operators = Operators::assembled();
    let genesis = operators.draft();
    // Who hands the draft on gives Birch's vote to a key of its own.
    let other = load_genesis(Path::new(&genesis)).expect("readable");
    let validator = |name: usize| other.charter.members[name].profile.node.expect("a node").validator;
    let swapped = operators.at("swapped.toml");
    fs::copy(&genesis, &swapped).expect("copied");
    edit(&swapped, &validator(1).to_string(), &validator(0).to_string());
    let sign = |file: &str, name: &str| {
        let [genesis, dir] = [file.to_owned(), operators.at(name)];
        ["genesis", "sign", "--genesis", &genesis, "--dir", &dir].map(str::to_owned).to_vec()
    };
    let refuse = |args: &[String], rule: &str, said: &str| {
        refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), rule, said);
    };
    refuse(&sign(&swapped, "birch"), "GEN-KEY-SHARED", "named twice");
    edit(&swapped, &validator(0).to_string(), &validator(1).to_string());
    refuse(&sign(&swapped, "birch"), "CER-CARD-DIFFERS", "a key of the node");

    let _ = operators.sign(&genesis, "aster").ending(0);
    let tampered = operators.at("tampered.toml");
    fs::copy(&genesis, &tampered).expect("copied");
    edit(&tampered, "power = 1", "power = 2");
    refuse(&sign(&tampered, "birch"), "GEN-SIGNATURE", "does not verify");
    let ran = check(&tampered).ending(1);
    assert_eq!(ran.json()["missing"]["rule"], "GEN-SIGNATURE");
    assert_eq!(signed(&ran.json()), [false; 4], "its signature holds for another charter");
    let out = operators.at("merged.toml");
    refused(
        &["genesis", "merge", "--out", &out, &genesis, &tampered],
        "CER-CHARTERS-DIFFER",
        "tampered.toml",
    );
    assert!(!Path::new(&out).exists());

    edit(operators.card("cedar"), "jurisdiction = \"FR\"", "jurisdiction = \"XX\"");
    let cedar = operators.card("cedar");
    let add = ["peer", "add", "--dir", &operators.at("aster"), &cedar];
    refused(&add, "CODE-UNKNOWN", "cedar/member.toml");
    edit(&genesis, "\n[charter]\n", "\n[chapter]\n");
    refused(&["genesis", "check", &genesis], "CFG-SYNTAX", "genesis.toml:");
}

#[test]
fn a_configuration_is_checked_as_a_whole() {
    let operators = Operators::assembled();
    let genesis = operators.draft();
    for name in CAST {
        let _ = operators.sign(&genesis, name).ending(0);
    }
    let dir = operators.at("aster");
    fs::copy(&genesis, operators.path("aster").join("genesis.toml")).expect("copied");
    let ran = syngraphd(&["check-config", "--dir", &dir]).ending(0);
    assert_eq!(ran.stderr.matches("CFG-FOUNDER-UNKNOWN").count(), 3, "{ran:#?}");
    assert_eq!(ran.stderr.matches("CFG-ROOT-KEY-HERE").count(), 1, "{ran:#?}");
    let _ = syngraphd(&["peer", "add", "--dir", &dir, &operators.card("birch")]).ending(0);
    edit(operators.path("aster/node.toml"), "[[peer]]", "[[peer]]\nport = 5");
    fs::remove_file(operators.path("aster/keys/journal.toml")).expect("removed");
    let ran = syngraphd(&["check-config", "--dir", &dir]).ending(1);
    assert!(
        ran.stderr.contains("journal.toml") && ran.stderr.contains("peer.port: unknown field"),
        "{ran:#?}"
    );
    let ran = syngraphd(&["check-config", "--dir", &operators.at("nowhere"), "--json"]).ending(1);
    assert_eq!(ran.json()["problems"].as_array().map(Vec::len), Some(5));
}

#[test]
fn a_network_of_one_made_by_hand_runs_where_a_flag_says() {
    let operators = Operators(tempfile::tempdir().expect("a temporary folder"));
    operators.init("aster");
    let (genesis, dir) = (operators.at("aster/genesis.toml"), operators.at("aster"));
    let _ = syngraphd(&["genesis", "new", "--name", "One", "--out", &genesis]).ending(0);
    let _ = syngraphd(&["genesis", "add", "--genesis", &genesis, &operators.card("aster")]).ending(0);
    let _ = operators.sign(&genesis, "aster").ending(0);
    let [http] = ports::free().map(|address: SocketAddr| address.to_string());
    let url = format!("http://{http}");
    refused(&["status", "--node", &url], "NODE-UNREACHABLE", &url);
    let mut command = Program::Node.command();
    command.args(["run", "--dir", &dir]).env("SYNGRAPH_HTTP", &http);
    let mut process = Process::start(command, "node", operators.0.path()).expect("it starts");
    let status = until("the node is ready", || {
        assert!(process.ended().expect("its own child").is_none(), "{}", process.log().expect("a log"));
        let ran = syngraphd(&["status", "--node", &url, "--json"]);
        (ran.code == 0).then(|| ran.json()).filter(|status| status["ready"] == true)
    });
    assert_eq!(status["network"], check(&genesis).ending(0).json()["network"]);
    let ran = syngraphd(&["status", "--node", &url]).ending(0);
    let network = status["network"].as_str().expect("an id");
    assert!(
        ran.stdout.lines().any(|line| line.starts_with("network ") && line.ends_with(network)),
        "{ran:#?}"
    );
    assert!(process.stop().expect("it stops").success());
}
