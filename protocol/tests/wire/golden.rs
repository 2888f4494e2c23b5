//! Golden bytes: a change of any format shows as a diff of a file that somebody reviews.
//!
//! Each file under `golden/` has the id or hash of its value, where it has one, then its
//! canonical bytes in hex, 32 to a line. `UPDATE_GOLDEN=1` rewrites the files; a change
//! to one that is in use needs a new version number in its type.
#![expect(clippy::disallowed_methods, reason = "the golden files are read from disk")]

use std::collections::BTreeSet;
use std::fmt::{Debug, Write as _};
use std::path::PathBuf;

use serde::{Serialize, de::DeserializeOwned};
use syngraph_protocol::certificate::VoteKind;
use syngraph_protocol::codec::{decode, encode};
use syngraph_protocol::crypto::Domain;
use syngraph_protocol::entry::{SignedEntry, VerifiedEntry};
use syngraph_protocol::ids::{Height, Seq};
use syngraph_protocol::journal::Tip;
use syngraph_protocol::ledger::agreement::{Agreement, AgreementVersion, InForce, Pin, Royalty, Status};
use syngraph_protocol::ledger::asset::{Asset, Split, SplitChange, Version};
use syngraph_protocol::ledger::equivocation::{Equivocation, Offence};
use syngraph_protocol::ledger::finding::{Finding, Severity, Subject};
use syngraph_protocol::ledger::lineage::{LineageChange, Link};
use syngraph_protocol::ledger::member::{Key, KeyPurpose, Member, MemberStatus};
use syngraph_protocol::ledger::period::{Accrual, Carried, Due, Line, LineTotal, Period};
use syngraph_protocol::ledger::proposal::{Change, Proposal};
use syngraph_protocol::ledger::royalty::waterfall::Share;
use syngraph_protocol::ledger::usage::event_ids::EventDay;
use syngraph_protocol::ledger::usage::{MeterKey, Metered, Total};
use syngraph_protocol::ledger::{Journal, Outcome, Record, RefusedRows, StateChange, state_key};
use syngraph_protocol::money::{Micro, Minor, Ppm};
use syngraph_protocol::name::Name;
use syngraph_protocol::time::Span;

use crate::consortium::history;
use crate::samples::*;

/// The files of one test: those it names are all there are with its prefix.
struct Shelf {
    prefix: &'static str,
    named: BTreeSet<String>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/wire/golden")
}

impl Shelf {
    fn new(prefix: &'static str) -> Self {
        Self { prefix, named: BTreeSet::new() }
    }

    /// Compares a text with its file, or writes it.
    fn text(&mut self, name: &str, text: &str) {
        let file = format!("{}.{name}.hex", self.prefix);
        let path = folder().join(&file);
        assert!(self.named.insert(file.clone()), "{file} is named twice");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, text).expect("the golden folder can be written");
            eprintln!("UPDATE_GOLDEN: wrote {file}");
            return;
        }
        let known = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{file}: {error}; UPDATE_GOLDEN=1 writes it"));
        assert_eq!(text, known, "the bytes of {file} changed; is that meant? UPDATE_GOLDEN=1 rewrites it");
    }

    /// Checks a value against its file, in both directions.
    fn value<T>(&mut self, name: &str, value: &T, id: Option<String>)
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        let bytes = encode(value);
        self.text(name, &page(id.as_deref(), &[&bytes]));
        let read = decode::<T>(&bytes, bytes.len());
        assert_eq!(read.as_ref(), Ok(value), "{name} is read back");
    }

    /// Checks a state record with its key.
    fn record<R>(&mut self, name: &str, key: &R::Key, record: &R)
    where
        R: Record + PartialEq + Debug,
    {
        let (name, key) = (format!("{name}-{:02x}", R::KIND), state_key::<R>(key));
        let bytes = encode(record);
        self.text(&name, &page(None, &[&key, &bytes]));
        assert_eq!(decode::<R>(&bytes, bytes.len()).as_ref(), Ok(record), "{name} is read back");
        assert!(decode::<R::Key>(&key[1..], key.len()).is_ok(), "the key of {name} is read back");
    }

    /// Every file with this prefix must have been named.
    fn close(self) {
        let files = std::fs::read_dir(folder()).expect("the golden folder exists");
        let names = files.map(|file| file.expect("readable").file_name().into_string().expect("UTF-8"));
        let prefix = format!("{}.", self.prefix);
        let stale: Vec<_> =
            names.filter(|name| name.starts_with(&prefix) && !self.named.contains(name)).collect();
        assert!(stale.is_empty(), "no value belongs to {stale:?}");
    }
}

/// The text of a file: an id, then the parts in hex, a blank line between.
fn page(id: Option<&str>, parts: &[&[u8]]) -> String {
    let mut text = id.map_or(String::new(), |id| format!("id {id}\n\n"));
    for (position, part) in parts.iter().enumerate() {
        text.push_str(if position == 0 { "" } else { "\n" });
        for line in part.chunks(32) {
            writeln!(text, "{}", hex::encode(line)).expect("strings take any text");
        }
    }
    text
}

#[test]
fn entries() {
    let mut shelf = Shelf::new("entry");
    let mut kinds = BTreeSet::new();
    for (name, body) in bodies() {
        kinds.insert(body.kind());
        let entry = signed(body);
        shelf.value(name, &entry, Some(entry.id().to_string()));
        // What cannot be decided without state is not in the samples: each passes the door,
        // and leaves it with the same bytes.
        let verified = VerifiedEntry::decode(&encode(&entry), NETWORK).expect("a sample is well formed");
        assert_eq!((verified.id(), verified.bytes()), (entry.id(), encode(&entry).as_slice()));
    }
    assert_eq!(kinds.len(), 15, "a sample for every kind of body");
    shelf.close();
}

#[test]
fn wire() {
    let mut shelf = Shelf::new("wire");
    let entry: SignedEntry = signed(bodies().swap_remove(0).1);
    shelf.value("head", &entry.head, Some(entry.id().to_string()));
    shelf.value("body", &entry.body, Some(entry.body.hash().to_string()));
    shelf.value("cut", &cut(), Some(cut().root().to_string()));
    shelf.value("header", &header(), Some(header().id().to_string()));
    shelf.value("block", &block(), Some(block().id().to_string()));
    let [prevote, precommit] = votes();
    shelf.value("vote-prevote-nil", &prevote, None);
    shelf.value("vote-precommit", &precommit, None);
    shelf.value("proposal", &proposal(), None);
    let evidence = forked(NETWORK, &key(6));
    shelf.value("evidence", &evidence, Some(evidence.hash().to_string()));
    shelf.value("certificate", &certificate(), None);
    shelf.value("member-set", &member_set(), Some(member_set().hash().to_string()));
    shelf.value("charter", &charter(), Some(charter().network().to_string()));
    shelf.value("genesis", &genesis(), Some(genesis().charter.network().to_string()));
    shelf.value("outcome-applied", &Outcome::Applied, None);
    shelf.value("outcome-refused", &Outcome::Refused { rule: "AGR-UNKNOWN".into() }, None);
    let refused = vec![
        RefusedRows { rule: "USE-DUPLICATE".into(), rows: vec![0, 250, 2_999] },
        RefusedRows { rule: "USE-LATE".into(), rows: vec![7] },
    ];
    shelf.value("outcome-usage", &Outcome::Usage { rated: 70_000, flagged: 3, refused }, None);
    shelf.close();
}

#[test]
fn hashes_and_signatures() {
    let mut shelf = Shelf::new("crypto");
    let signature = key(6).sign(Domain::ENTRY, b"syngraph");
    shelf.text("signature", &page(Some(&key(6).public().to_string()), &[signature.as_bytes()]));
    let previous = hash(0x46);
    let propose = propose();
    let first = propose.terms.root(&propose.salt, None);
    let second = propose.terms.root(&propose.salt, Some(&previous));
    shelf.text("terms-hash", &page(None, &[first.as_bytes(), second.as_bytes()]));
    let day = EventDay::EMPTY.extend(Height::new(7), &[event(OCTOBER, 0), event(OCTOBER, 1)]);
    shelf.text("event-chain", &page(None, &[day.chain.as_bytes()]));
    shelf.close();
}

#[test]
fn members_and_assets() {
    let mut shelf = Shelf::new("state-members");
    let since = Height::new(5);
    let status = MemberStatus::Suspended;
    shelf.record(
        "member",
        &member(300),
        &Member { profile: profile(), power: 10, status, since, keys_admitted: 2 },
    );
    let purposes = [
        ("root", KeyPurpose::Root),
        ("validator", KeyPurpose::Validator),
        ("transport", KeyPurpose::Transport),
        ("journal", KeyPurpose::Journal),
        ("app", KeyPurpose::App(scope())),
    ];
    let end = Tip { next: Seq::new(10), last: syngraph_protocol::ids::EntryId::from_bytes([0x80; 32]) };
    let (revoked, frozen) = (Some(end), Some(Height::new(70_000)));
    for (name, purpose) in purposes {
        let record = Key { member: member(300), purpose, since, until: Some(NEW_YEAR), revoked, frozen };
        shelf.record(&format!("key-{name}"), &key(5).public(), &record);
    }
    let (height, round) = (Height::new(1_000), 2);
    for (name, offence) in [
        ("journal", Offence::Journal(key(6).public())),
        ("vote", Offence::Vote { height, round, kind: VoteKind::Precommit }),
        ("proposal", Offence::Proposal { height, round }),
    ] {
        let record = Equivocation { since, reported_by: member(2), report: id(0x87), evidence: hash(0x88) };
        shelf.record(&format!("equivocation-{name}"), &(member(300), offence), &record);
    }
    let tip = Tip { next: Seq::new(301), last: syngraph_protocol::ids::EntryId::from_bytes([0x81; 32]) };
    assert_eq!(decode::<Tip>(&encode(&tip), 64), Ok(tip));
    shelf.record("journal", &key(5).public(), &Journal(tip));
    let declared = LineageChange {
        declared: lineage(),
        royalties: vec![Royalty::Relative(Ppm::new(50_000))],
        absolute: Ppm::new(250_000),
    };
    for (name, change) in [
        ("lineage", Change::Lineage(declared)),
        ("admission", Change::AdmitMember(profile())),
        ("split", Change::Split(SplitChange { asset: id(0x82), owners: owners(), initial: true })),
    ] {
        let proposal = Proposal { change, approvals: vec![member(0), member(2)], enacted: Some(since) };
        shelf.record(&format!("proposal-{name}"), &id(0x83), &proposal);
    }
    let register = register();
    let splits = vec![
        Split { from: None, owners: owners() },
        Split { from: Some(month()), owners: owners().split_off(1) },
    ];
    let asset = Asset {
        class: register.class,
        title: register.title,
        controller: member(1),
        licence: register.licence,
        confidentiality: register.confidentiality,
        jurisdiction: register.jurisdiction,
        since,
        splits,
    };
    shelf.record("asset", &id(0x84), &asset);
    shelf.record("version", &id(0x85), &Version { published: publish(), since, metered: true });
    let royalty = Royalty::Absolute(Ppm::ONE);
    let link = Link { parent: parent(), royalty, from: Some(month()), since, binds: true };
    shelf.record("link", &(id(0x86), parent().version), &link);
    shelf.close();
}

#[test]
fn agreements_and_usage() {
    let mut shelf = Shelf::new("state-agreements");
    let in_force = InForce { version: 1, span: Span { from: OCTOBER, until: NEW_YEAR } };
    let since = Height::new(5);
    let agreement = Agreement {
        proposer: member(2),
        since,
        versions: 3,
        current: 2,
        status: Status::Active,
        in_force: vec![in_force],
    };
    shelf.record("agreement", &id(0x90), &agreement);
    let propose = propose();
    let version = AgreementVersion {
        terms: propose.terms,
        salt: propose.salt,
        terms_hash: hash(0x91),
        previous: Some(hash(0x92)),
        signed_by: vec![member(0), member(2)],
        deadline: propose.deadline,
        status: Status::Superseded,
        since,
    };
    shelf.record("version", &(id(0x90), 2), &version);
    let meter = || syngraph_protocol::codes::Meter::new("tokens.out");
    let currency = "EUR".parse().expect("a currency");
    let pin = Pin { payer: member(2), grant: 1, meter: meter(), currency };
    shelf.record("pin", &(id(0x90), Name::new("tokens")), &pin);
    let key = MeterKey {
        month: month(),
        agreement: id(0x90),
        grant: 1,
        payer: member(2),
        meter: meter(),
        agreement_version: 2,
        version: id(0x93),
    };
    let metered = Metered { rated: 1 << 40, flagged: 251, counter: 0, rows: 65_536 };
    shelf.record("metered", &key, &metered);
    shelf.record("total", &(id(0x90), 1, member(2), meter()), &Total { rated: u64::MAX });
    shelf.record("event-day", &(member(2), -1), &EventDay { count: 70_000, chain: hash(0x94) });
    let finding = Finding {
        rule: "USE-OVER-CAP".into(),
        severity: Severity::E,
        subject: Subject::Use { agreement: id(0x90), grant: 1, member: member(2), month: month() },
        rows: 3,
        quantity: 1 << 33,
        first: since,
        last: Height::new(9),
    };
    shelf.record("finding", &id(0x95), &finding);
    let offence = Offence::Vote { height: since, round: 2, kind: VoteKind::Precommit };
    let subject = Subject::Conduct { member: member(300), offence };
    let finding = Finding { rule: "EQV-VOTE".into(), subject, rows: 0, quantity: 0, ..finding };
    shelf.record("finding-conduct", &id(0x95), &finding);
    shelf.record("params", &(), &params());
    shelf.close();
}

#[test]
fn money() {
    let mut shelf = Shelf::new("state-money");
    let eur = || "EUR".parse().expect("a currency");
    let period = Period {
        closed: Height::new(70_000),
        lines: 3,
        statement: hash(0xa1),
        settled: Some(Height::new(70_001)),
    };
    shelf.record("period", &month(), &period);
    let line = Line {
        grant: 1,
        currency: eur(),
        quantity: 41_234_567,
        versions: vec![(id(0xa2), 41_234_567)],
        charge: Micro::new(5_625_601_650),
        multiplier: Some(Ppm::new(1_100_000)),
        recouped: Micro::new(1),
        shares: vec![
            Share { member: member(0), micros: Micro::new(i128::MAX) },
            Share { member: member(2), micros: Micro::new(-1) },
        ],
        held: Some("SPLIT-ORPHAN".into()),
    };
    let key = (month(), id(0xa3), Name::new("tokens"), member(2));
    shelf.record("line", &key, &line);
    let total = LineTotal { accrued: Micro::new(251), recouped: Micro::new(-251) };
    shelf.record("line-total", &(id(0xa3), Name::new("tokens"), member(2)), &total);
    let pair = (month(), eur(), member(0), member(2));
    shelf.record("accrual", &pair, &Accrual(Micro::new(5_625_601_650)));
    shelf.record("due", &pair, &Due(Minor::new(5_625)));
    let carried = Carried { a_owes_b: Micro::new(-999_999) };
    shelf.record("carried", &(eur(), member(0), member(2)), &carried);
    shelf.close();
}

/// A short history as a whole: what executing gives, the records without public fields
/// (chain, voters, remembered outcomes) among it.
#[test]
fn a_history() {
    let mut shelf = Shelf::new("history");
    let (ledgers, blocks) = history();
    for (executed, height) in blocks.iter().zip(1..) {
        let header = &executed.block.header;
        shelf.value(&format!("header-{height}"), header, Some(header.id().to_string()));
        let mut text = String::new();
        for outcome in &executed.outcomes {
            writeln!(text, "{}", hex::encode(encode(outcome))).expect("strings take any text");
        }
        shelf.text(&format!("outcomes-{height}"), &text);
    }
    for (name, ledger) in ["genesis", "end"].into_iter().zip([&ledgers[0], &ledgers[ledgers.len() - 1]]) {
        let mut text = format!("id {}\n\n", ledger.state_root());
        for StateChange { key, value } in ledger.dump() {
            let value = value.expect("a dump holds what is there");
            writeln!(text, "{} {}", hex::encode(key), hex::encode(value)).expect("strings take any text");
        }
        shelf.text(&format!("state-{name}"), &text);
    }
    shelf.close();
}
