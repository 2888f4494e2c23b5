//! What the doors of a running node refuse, and that they stand afterwards.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use syngraph_config::genesis::to_toml;
use syngraph_config::key::Key;
use syngraph_config::node::NodeDir;
use syngraph_protocol::codec;
use syngraph_protocol::entry::{Body, SignedEntry};
use syngraph_protocol::ids::{EntryId, NetworkId, Seq, Signature};
use syngraph_protocol::journal::NO_ENTRY;
use syngraph_protocol::limits::{ENTRY_BYTES_MAX, ROWS_PER_ENTRY_MAX};
use syngraph_tests::consortium::{ASTER, BIRCH, CEDAR, Consortium, admission};
use syngraph_tests::http::{self, FRAMES, JSON};
use syngraph_tests::licence::{license, register};
use syngraph_tests::node::{Node, config, refused};
use syngraph_tests::random::Random;
use syngraph_tests::signer::{Signer, frame, frames};
use syngraph_tests::wait::until;

/// The order of Ed25519's group, little endian: a signature's second half plus this is
/// the same point, so that a careless verifier takes two encodings of one signature.
const GROUP_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The node takes part, whatever came before.
#[track_caller]
fn stands(node: &Node) {
    assert_eq!(node.get("/livez").status, 200);
    assert_eq!(node.get("/readyz").status, 200);
}

/// Posts what must be refused.
#[track_caller]
fn refusal(node: &Node, kind: &str, body: &[u8]) -> (u16, String) {
    let refusal = node.post(kind, body).refusal();
    stands(node);
    refusal
}

#[track_caller]
fn refuses(node: &Node, what: &str, kind: &str, body: &[u8], status: u16, rule: &str) {
    assert_eq!(refusal(node, kind, body), (status, rule.to_owned()), "{what}");
}

fn body(signer: &Signer) -> Body {
    Body::Deed { idem: signer.idem(), deed: register("Refused") }
}

fn next(signer: &Signer) -> SignedEntry {
    signer.sign_at(signer.tip().next, signer.tip().last, body(signer))
}

#[test]
fn bad_requests_are_refused_by_rule() {
    let consortium = Consortium::found();
    let node = consortium.start();
    let mut aster = consortium.root(ASTER);
    node.act(&mut aster, register("Before"));
    let before = node.state();

    bad_bodies(&node);
    bad_entries(&node, &aster);
    bad_links(&node, &aster);
    bad_keys(&consortium, &node, &aster);
    noise(&node);

    assert_eq!(node.state(), before, "nothing of it has changed the state");
    node.act(&mut aster, register("After"));
    node.stop();
}

fn bad_bodies(node: &Node) {
    refuses(node, "nothing", FRAMES, b"", 400, "HTTP-NO-ENTRIES");
    refuses(node, "no entries", JSON, b"[]", 400, "HTTP-NO-ENTRIES");
    refuses(node, "a cut frame", FRAMES, &[0, 9, 1], 400, "HTTP-FRAME");
    refuses(node, "a cut length", FRAMES, &[0], 400, "HTTP-FRAME");
    refuses(node, "257 frames", FRAMES, &[0; 2 * 257], 413, "HTTP-TOO-MANY-ENTRIES");
    refuses(node, "half a document", JSON, b"{\"head\"", 400, "HTTP-JSON");
    refuses(node, "another document", JSON, b"{\"head\": 5}", 400, "HTTP-JSON");
    refuses(node, "a deep document", JSON, "[".repeat(200_000).as_bytes(), 400, "HTTP-JSON");
    refuses(node, "another type", "text/csv", b"a,b", 415, "HTTP-CONTENT-TYPE");
    refuses(node, "an empty entry", FRAMES, &frame(b""), 422, "ENC-MALFORMED");
    let address = node.http();
    let announced = http::post_head("/v1/entries", FRAMES, 16 * 1024 * 1024 + 1);
    let answer = http::send(address, announced.as_bytes()).expect("an answer before the body");
    assert_eq!(answer.refusal(), (413, "HTTP-BODY-TOO-LARGE".to_owned()));
    let mut broken = http::post_head("/v1/entries", FRAMES, 1_000).into_bytes();
    broken.extend_from_slice(&[0; 10]);
    let answer = http::send_and_close(address, &broken).expect("an answer to half a body");
    assert_eq!(answer.refusal(), (400, "HTTP-BODY".to_owned()));
    stands(node);
}

fn bad_entries(node: &Node, aster: &Signer) {
    let good = next(aster);
    let bytes = codec::encode(&good);
    let framed = |bytes: &[u8]| frame(bytes);
    for cut in [1, bytes.len() / 2, bytes.len() - 1] {
        refuses(node, "a cut entry", FRAMES, &framed(&bytes[..cut]), 422, "ENC-MALFORMED");
    }
    refuses(node, "a byte too many", FRAMES, &framed(&[&bytes[..], &[0]].concat()), 422, "ENC-NOT-CANONICAL");
    assert_eq!(bytes[0], 1, "an entry begins with its version, a small integer in one byte");
    let overlong = [&[0xfb, 1, 0], &bytes[1..]].concat();
    refuses(node, "an overlong integer", FRAMES, &framed(&overlong), 422, "ENC-NOT-CANONICAL");
    let changed = |change: &dyn Fn(&mut SignedEntry)| {
        let mut entry = good.clone();
        change(&mut entry);
        frames([&entry])
    };
    let version = changed(&|entry| entry.head.version = 2);
    refuses(node, "another version", FRAMES, &version, 422, "ENTRY-VERSION");
    let network = changed(&|entry| entry.head.network = NetworkId::from_bytes([7; 32]));
    refuses(node, "another network", FRAMES, &network, 422, "ENTRY-NETWORK");
    let said = changed(&|entry| entry.body = Body::Deed { idem: aster.idem(), deed: register("Other") });
    refuses(node, "another body", FRAMES, &said, 422, "ENTRY-BODY-HASH");
    let claimed = changed(&|entry| entry.head.claimed_at = entry.head.claimed_at.plus_ms(1));
    refuses(node, "a head that nobody signed", FRAMES, &claimed, 422, "SIG-INVALID");
    let signed = changed(&|entry| entry.signature = plus_order(&entry.signature));
    refuses(node, "a second form of the signature", FRAMES, &signed, 422, "SIG-INVALID");
    let long = aster.sign_at(aster.tip().next, aster.tip().last, long_report());
    assert!(codec::encode(&long).len() > ENTRY_BYTES_MAX);
    let long = serde_json::to_vec(&long).expect("an entry in JSON");
    refuses(node, "a long entry", JSON, &long, 422, "ENC-TOO-LONG");
}

/// The same point, written as no signer writes it.
fn plus_order(signature: &Signature) -> Signature {
    let mut bytes = *signature.as_bytes();
    let mut carry = 0;
    for (byte, order) in bytes[32..].iter_mut().zip(GROUP_ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0, "the sum fits");
    Signature::from_bytes(bytes)
}

/// A report that is sound but for its length.
fn long_report() -> Body {
    let id = syngraph_protocol::ids::Id::from_bytes([1; 32]);
    let context = syngraph_tests::licence::inference(id, id, CEDAR);
    syngraph_tests::licence::report(context, 1, &[u64::MAX; ROWS_PER_ENTRY_MAX])
}

fn bad_links(node: &Node, aster: &Signer) {
    let tip = aster.tip();
    let at = |seq: u64, prev: EntryId| frames([&aster.sign_at(Seq::new(seq), prev, body(aster))]);
    let next = tip.next.get();
    refuses(node, "a gap", FRAMES, &at(next + 1, tip.last), 422, "JRN-GAP");
    refuses(node, "another history", FRAMES, &at(next, NO_ENTRY), 422, "JRN-PREV");
    refuses(node, "a sealed place", FRAMES, &at(0, NO_ENTRY), 409, "JRN-FORK");
    refuses(node, "the last place", FRAMES, &at(u64::MAX, tip.last), 422, "JRN-GAP");
}

fn bad_keys(consortium: &Consortium, node: &Node, aster: &Signer) {
    for purpose in ["validator", "transport"] {
        let entry = next(&consortium.signer(ASTER, purpose));
        refuses(node, purpose, FRAMES, &frames([&entry]), 422, "KEY-PURPOSE");
    }
    let other = Signer::new(aster.secret().clone(), aster.network(), BIRCH);
    let posing = other.sign_at(aster.tip().next, aster.tip().last, body(aster));
    refuses(node, "another's name", FRAMES, &frames([&posing]), 422, "KEY-MEMBER");
    let mut journal = consortium.signer(ASTER, "journal");
    let key = Key::generate("app").expect("the system gives randomness");
    let admission = journal.deed(admission(aster, &key));
    refuses(node, "a journal key admits", FRAMES, &frames([&admission]), 422, "KEY-PURPOSE");
}

/// What nobody meant, and everything may do.
fn noise(node: &Node) {
    let mut random = Random::new(11);
    for round in 0..200 {
        let len = usize::try_from(random.below(2_000)).expect("small");
        let bytes = random.bytes(len);
        let (kind, body) = match round % 3 {
            0 => (FRAMES, frame(&bytes)),
            1 => (JSON, bytes),
            _ => (FRAMES, bytes),
        };
        let (status, _) = node.post(kind, &body).refusal();
        assert!((400..500).contains(&status), "{status} for round {round}");
        // Not even HTTP: any answer will do, and none.
        http::send_and_close(node.http(), &body).ok();
    }
    stands(node);
}

#[test]
fn good_entries_are_taken_in_every_way() {
    let consortium = Consortium::found();
    let node = consortium.start();
    let mut aster = consortium.root(ASTER);
    the_same_entry_again(&node, &mut aster);
    a_key_that_is_not_known_yet(&node, &consortium);
    several_at_once(&consortium, &node, &mut aster);
    both_branches_of_a_fork(&node, &mut aster);
    node.stop();
}

fn the_same_entry_again(node: &Node, aster: &mut Signer) {
    let entry = aster.deed(register("Once"));
    let path = "/v1/entries?wait=sealed";
    let send = || http::post(node.http(), path, FRAMES, &frames([&entry])).expect("the node answers");
    let (first, second) = (send(), send());
    assert_eq!((first.status, second.status), (201, 200));
    let place = format!("/v1/entries/{}", entry.id());
    assert_eq!(first.header("location"), Some(place.as_str()));
    let (mut first, mut second) = (first.json(), second.json());
    assert_eq!((&first["state"], &first["outcome"]), (&json!("sealed"), &json!("applied")));
    first["status"] = Value::Null;
    second["status"] = Value::Null;
    assert_eq!(first, second, "the receipt is the same but for its status");
    let in_json = serde_json::to_vec(&entry).expect("an entry in JSON");
    assert_eq!(node.post(JSON, &in_json).status, 200);
}

fn both_branches_of_a_fork(node: &Node, aster: &mut Signer) {
    let tip = aster.tip();
    let branch = |title: &str| {
        let body = Body::Deed { idem: aster.idem(), deed: register(title) };
        aster.sign_at(tip.next, tip.last, body)
    };
    let (one, other) = (branch("One"), branch("Other"));
    // Whether the first is sealed by then or not, the second is equivocation.
    assert_eq!(node.post(FRAMES, &frames([&one])).status, 201);
    assert_eq!(node.post(FRAMES, &frames([&other])).refusal(), (409, "JRN-FORK".to_owned()));
    let sealed = node.must_get(&format!("/v1/entries/{}?wait=sealed", one.id()));
    assert_eq!(sealed["state"], "sealed");
    assert_eq!(node.post(FRAMES, &frames([&other])).refusal(), (409, "JRN-FORK".to_owned()));
    assert_eq!(node.get(&format!("/v1/entries/{}", other.id())).refusal(), (404, "ENTRY-UNKNOWN".to_owned()));
    assert_eq!(node.post(FRAMES, &frames([&one])).status, 200);
    aster.follow(&one);
    // The node has reported it: the key says nothing any more.
    let journal = format!("/v1/journals/{}", aster.journal());
    until("the key is frozen", || Some(node.must_get(&journal)).filter(|journal| !journal["ends"].is_null()));
    let next = aster.deed(register("Next"));
    assert_eq!(node.post(FRAMES, &frames([&next])).refusal(), (422, "KEY-FROZEN".to_owned()));
}

fn a_key_that_is_not_known_yet(node: &Node, consortium: &Consortium) {
    let mut birch = consortium.root(BIRCH);
    let key = Key::generate("app").expect("the system gives randomness");
    let mut app = Signer::new(key.secret().clone(), consortium.network(), BIRCH);
    let early = [app.deed(register_of_birch("Early")), app.deed(register_of_birch("Later"))];
    let shown = |entry: &SignedEntry| node.must_get(&format!("/v1/entries/{}", entry.id()));
    // The later one first: parking promises nothing, not even an order.
    for entry in early.iter().rev() {
        let answer = node.post(FRAMES, &frames([entry]));
        assert_eq!((answer.status, &answer.json()["state"]), (202, &json!("parked")));
        assert_eq!(shown(entry)["state"], "parked");
    }
    let journal = node.get(&format!("/v1/journals/{}", app.journal()));
    assert_eq!(journal.refusal(), (404, "KEY-UNKNOWN".to_owned()));
    let deed = admission(&birch, &key);
    node.act(&mut birch, deed);
    for entry in &early {
        let sealed = until("the parked entry is sealed", || {
            Some(shown(entry)).filter(|shown| shown["state"] == "sealed")
        });
        assert_eq!(sealed["outcome"], "applied");
    }
}

fn register_of_birch(title: &str) -> syngraph_protocol::entry::Deed {
    let syngraph_protocol::entry::Deed::RegisterAsset(mut deed) = register(title) else {
        unreachable!("it registers an asset")
    };
    deed.owners[0].member = BIRCH;
    syngraph_protocol::entry::Deed::RegisterAsset(deed)
}

fn several_at_once(consortium: &Consortium, node: &Node, aster: &mut Signer) {
    // One that was sealed, a bad one, and one that is new: each gets its own answer.
    let sealed = aster.deed(register("Sealed"));
    assert_eq!(node.seal(std::slice::from_ref(&sealed))[0]["status"], 201);
    let mut forged = next(aster);
    forged.head.claimed_at = forged.head.claimed_at.plus_ms(1);
    let fresh = aster.deed(register("Fresh"));
    let answer = node.post(FRAMES, &frames([&sealed, &forged, &fresh]));
    assert_eq!(answer.status, 200);
    let answers = answer.json();
    let statuses: Vec<_> =
        answers.as_array().expect("a list").iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, [200, 422, 201]);
    assert_eq!(answers[1]["rule"], "SIG-INVALID");
    // A bad row is refused by itself, and so is a whole report that nothing backs.
    let mut cedar = consortium.root(CEDAR);
    let licensed = license(node, aster, &mut cedar);
    let body = licensed.report(1, &[1, 2, 3]);
    let receipts = node.seal(&[cedar.sign(body.clone()), cedar.sign(body)]);
    assert_eq!(receipts[0]["outcome"], json!({"usage": {"rated": 3, "flagged": 0, "refused": []}}));
    let again = json!({"usage": {"rated": 0, "flagged": 0, "refused": [{"rule": "USE-DUPLICATE", "rows": [0, 1, 2]}]}});
    assert_eq!(receipts[1]["outcome"], again);
    assert_eq!(node.status().rows_sealed, 3);
}

/// A file, a change to it, and what the refusal must say.
type Spoilt<'a> = (std::path::PathBuf, &'a dyn Fn(&str) -> String, &'a [&'a str]);

#[test]
fn a_node_that_cannot_start_says_why() {
    let consortium = Consortium::found();
    let dir = NodeDir::new(consortium.dir());
    let unsigned = |_: &str| {
        let mut genesis = consortium.genesis.clone();
        genesis.signatures.pop();
        to_toml(&genesis).expect("a genesis of known types")
    };
    let cedar = consortium.root(CEDAR).journal().to_string();
    let files: [Spoilt<'_>; 7] = [
        (
            dir.genesis(),
            &|text| text.replacen("power = 1", "power = \"1\"", 1),
            &["CFG-SYNTAX", "charter.members.power"],
        ),
        (dir.genesis(), &|text| format!("[charter\n{text}"), &["CFG-SYNTAX", "genesis.toml:1"]),
        (dir.genesis(), &unsigned, &["GEN-UNSIGNED", "genesis.toml", &cedar]),
        (dir.genesis(), &|text| text.replacen("Aster", "Astor", 1), &["GEN-SIGNATURE", "genesis.toml"]),
        (
            dir.config(),
            &|text| text.replacen("[http]", "[http]\nport = 5", 1),
            &["CFG-SYNTAX", "node.toml:5", "http.port"],
        ),
        (dir.config(), &|_| "name = ".to_owned(), &["CFG-SYNTAX", "node.toml:1"]),
        (dir.key("validator"), &|text| text.replacen("seed", "salt", 1), &["CFG-SYNTAX", "validator.toml"]),
    ];
    for (path, change, said) in files {
        let text = fs::read_to_string(&path).expect("a file of the node");
        let spoilt = change(&text);
        assert_ne!(spoilt, text);
        fs::write(&path, &spoilt).expect("it is written");
        let line = refused(dir.path());
        assert!(said.iter().all(|words| line.contains(words)), "{line}: lacks one of {said:?}");
        fs::write(&path, &text).expect("it is written");
    }
    keys_that_are_not_taken(&dir);
    assert_eq!(below_data(&dir), Vec::<&str>::new(), "a refused start leaves nothing behind");
    places_that_are_taken(&consortium);
}

/// What of a node's data is there.
fn below_data(dir: &NodeDir) -> Vec<&'static str> {
    let all = ["entries", "blocks", "state", "undecided", "wal"];
    all.into_iter().filter(|name| dir.path().join(name).exists()).collect()
}

fn keys_that_are_not_taken(dir: &NodeDir) {
    let path = dir.key("validator");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("its own file");
    let line = refused(dir.path());
    assert!(line.contains("KEY-FILE-MODE") && line.contains("validator.toml"), "{line}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its own file");
    fs::rename(&path, dir.path().join("aside")).expect("its own file");
    let line = refused(dir.path());
    assert!(line.contains("CFG-READ") && line.contains("validator.toml"), "{line}");
    fs::rename(dir.path().join("aside"), &path).expect("its own file");
}

fn places_that_are_taken(consortium: &Consortium) {
    let dir = NodeDir::new(consortium.dir());
    let http = config(dir.path()).http.listen;
    let held = TcpListener::bind(http).expect("the port of the node is free");
    let line = refused(dir.path());
    assert!(line.contains("HTTP-BIND") && line.contains(&http.to_string()), "{line}");
    drop(held);
    let consensus = config(dir.path()).consensus.listen;
    let held = TcpListener::bind(consensus).expect("the port of the engine is free");
    let line = refused(dir.path());
    assert!(line.contains("CONS-LISTEN") && line.contains(&consensus.port().to_string()), "{line}");
    drop(held);

    let node = consortium.start();
    let text = fs::read_to_string(dir.config()).expect("the configuration");
    let [port] = syngraph_tests::ports::free();
    fs::write(dir.config(), text.replace(&http.to_string(), &port.to_string())).expect("it is written");
    let line = refused(dir.path());
    assert!(line.contains("STORE-LOCKED"), "{line}");
    stands(&node);
    node.stop();

    // A key that was never named in the founding document.
    fs::remove_file(dir.key("validator")).expect("its own file");
    let stranger = Key::generate("validator").expect("the system gives randomness");
    stranger.save(&dir.key("validator")).expect("it is stored");
    let line = refused(dir.path());
    assert!(line.contains("NODE-STRANGER") && line.contains(&stranger.public().to_string()), "{line}");
}
