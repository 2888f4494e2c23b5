use super::*;
use syngraph_protocol::entry::{Deed, VerifiedEntry};
use syngraph_protocol::ids::{Idem, MemberId, NetworkId};
use syngraph_protocol::journal::NO_ENTRY;
use syngraph_protocol::ledger::period::ClosePeriod;

const BINDING: Binding = Binding { network: NetworkId::from_bytes([9; 32]), member: MemberId::new(3) };
const NOW: UtcMs = UtcMs::from_ms(1_790_000_000_000);

fn key() -> SecretKey {
    SecretKey::from_seed(&[5; 32])
}

fn body(idem: u8) -> Body {
    let month = "2026-10".parse().expect("a month");
    Body::Deed { idem: Idem::from_bytes([idem; 16]), deed: Deed::ClosePeriod(ClosePeriod { month }) }
}

fn node_tip(next: u64, last: EntryId) -> NodeTip {
    NodeTip { binding: BINDING, tip: Tip { next: Seq::new(next), last } }
}

/// An outbox with `count` signed entries for an empty journal.
fn signed(dir: &Path, count: u8) -> Outbox {
    let mut outbox = Outbox::open(dir).expect("a fresh outbox");
    outbox.reconcile(node_tip(0, NO_ENTRY), None).expect("an empty journal");
    (0..count).for_each(|idem| {
        outbox.add(body(idem));
    });
    outbox.sign(&key(), NOW);
    outbox.sync().expect("writable");
    outbox
}

fn reopen(outbox: Outbox, dir: &Path) -> Outbox {
    drop(outbox);
    Outbox::open(dir).expect("sound records")
}

/// The entries of a batch, checked as a node checks them.
fn entries(outbox: &Outbox) -> Vec<VerifiedEntry> {
    let batch = outbox.batch(100, usize::MAX);
    let frames = syngraph_protocol::archive::bundle_entries(&batch.frames);
    let decode = |bytes| VerifiedEntry::decode(bytes, BINDING.network).expect("own entry");
    frames.map(|frame| decode(frame.expect("framed"))).collect()
}

fn idem_of(entry: &VerifiedEntry) -> u8 {
    match entry.body() {
        Body::Deed { idem, .. } => idem.as_bytes()[0],
        Body::ReportUsage(_) => panic!("only deeds here"),
    }
}

#[test]
fn what_was_signed_is_sent_again_byte_for_byte() {
    let dir = tempfile::tempdir().expect("a folder");
    let outbox = signed(dir.path(), 3);
    let before = outbox.batch(100, usize::MAX);
    let mut outbox = reopen(outbox, dir.path());
    // Signing again has nothing to do.
    outbox.sign(&key(), NOW.plus_ms(5));
    assert_eq!(outbox.batch(100, usize::MAX), before);
    let tip = entries(&outbox)
        .iter()
        .try_fold(Tip::EMPTY, |tip, entry| tip.append(entry.head().seq, entry.head().prev, entry.id()));
    assert_eq!(tip.map(|tip| tip.next), Ok(Seq::new(3)));
}

#[test]
fn an_intent_that_was_not_signed_is_signed_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut outbox = Outbox::open(dir.path()).expect("a fresh outbox");
    outbox.add(body(7));
    outbox.sign(&key(), NOW);
    outbox.sync().expect("writable");
    assert!(!outbox.has_unsent(), "no node has told whose key it is");
    let mut outbox = reopen(outbox, dir.path());
    assert_eq!(outbox.reconcile(node_tip(0, NO_ENTRY), None).expect("fits"), Reconciled::Ready);
    outbox.sign(&key(), NOW);
    assert_eq!(entries(&outbox).iter().map(idem_of).collect::<Vec<_>>(), [7]);
}

#[test]
fn after_a_refusal_the_rest_is_signed_again_under_the_same_identity() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut outbox = signed(dir.path(), 4);
    outbox.accepted(0);
    outbox.refused(1);
    // A crash here leaves two intents without a signature.
    outbox.sync().expect("writable");
    let mut outbox = reopen(outbox, dir.path());
    outbox.sign(&key(), NOW);
    let rest = entries(&outbox);
    assert_eq!(rest.iter().map(idem_of).collect::<Vec<_>>(), [2, 3]);
    let seqs: Vec<_> = rest.iter().map(|entry| entry.head().seq.get()).collect();
    assert_eq!(seqs, [1, 2]);
    assert_eq!(Some(rest[0].head().prev), outbox.place(0).map(|place| place.id));
    assert_eq!(rest[1].head().prev, rest[0].id());
}

#[test]
fn what_the_node_has_is_not_sent_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut outbox = signed(dir.path(), 3);
    let ids: Vec<_> = entries(&outbox).iter().map(VerifiedEntry::id).collect();
    assert_eq!(outbox.reconcile(node_tip(2, ids[1]), None).expect("fits"), Reconciled::Ready);
    assert_eq!(entries(&outbox).iter().map(idem_of).collect::<Vec<_>>(), [2]);
    assert_eq!(outbox.unsealed().map(|place| place.id).collect::<Vec<_>>(), ids[..2]);
    outbox.sealed(Seq::new(1));
    outbox.sync().expect("writable");
    assert_eq!(outbox.len(), 2);
    let mut outbox = reopen(outbox, dir.path());
    // A node that lost what it had accepted gets it again.
    assert_eq!(outbox.reconcile(node_tip(1, ids[0]), None).expect("fits"), Reconciled::Ready);
    assert_eq!(entries(&outbox).iter().map(idem_of).collect::<Vec<_>>(), [1, 2]);
    // A node that lacks what is sealed elsewhere is behind.
    assert_eq!(outbox.reconcile(node_tip(0, NO_ENTRY), None).expect("fits"), Reconciled::Behind);
}

#[test]
fn a_key_that_is_used_elsewhere_is_noticed() {
    let stranger = EntryId::from_bytes([1; 32]);
    let dir = tempfile::tempdir().expect("a folder");
    let mut outbox = signed(dir.path(), 2);
    let last = outbox.place(1).expect("signed").id;
    let rule = |result: Result<_, OutboxError>| result.map_err(|e| e.rule());
    assert_eq!(rule(outbox.reconcile(node_tip(1, stranger), None)), Err("OUTBOX-FORKED"));
    assert_eq!(rule(outbox.reconcile(node_tip(5, stranger), None)), Ok(Reconciled::Ask(last)));
    assert_eq!(rule(outbox.reconcile(node_tip(5, stranger), Some(false))), Err("OUTBOX-FORKED"));
    // Others went on after it: the journal continues there.
    assert_eq!(rule(outbox.reconcile(node_tip(5, stranger), Some(true))), Ok(Reconciled::Ready));
    outbox.add(body(9));
    outbox.sign(&key(), NOW);
    assert_eq!(outbox.place(2).map(|place| place.seq), Some(Seq::new(5)));
    let elsewhere = Binding { network: NetworkId::from_bytes([8; 32]), ..BINDING };
    let other = NodeTip { binding: elsewhere, ..node_tip(0, NO_ENTRY) };
    assert_eq!(rule(outbox.reconcile(other, None)), Err("OUTBOX-NETWORK"));
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().expect("a folder");
    let outbox = signed(dir.path(), 1);
    let second = Outbox::open(dir.path()).map(|_| ()).map_err(|error| error.to_string());
    let pid = std::process::id().to_string();
    assert!(second.is_err_and(|message| message.contains(&pid)));
    reopen(outbox, dir.path());
}

#[test]
fn segments_are_dropped_once_everything_in_them_is_sealed() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut outbox = signed(dir.path(), 3);
    for (round, sealed) in [(1, 2), (2, 3)] {
        outbox.segments.roll(outbox.state.checkpoint()).expect("writable");
        (0..3).for_each(|number| outbox.accepted(number));
        outbox.sealed(Seq::new(sealed));
        outbox.sync().expect("writable");
        let files = std::fs::read_dir(dir.path()).expect("there").count() - 1;
        assert_eq!(files, if sealed == 3 { 1 } else { 2 }, "round {round}");
        outbox = reopen(outbox, dir.path());
    }
    assert!(outbox.is_empty());
    assert_eq!(outbox.state.tip.next, Seq::new(3));
    outbox.add(body(8));
    outbox.sign(&key(), NOW);
    assert_eq!(outbox.place(3).map(|place| place.seq), Some(Seq::new(3)));
}

#[test]
fn damage_before_sound_records_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    drop(signed(dir.path(), 3));
    let path = dir.path().join(format!("{:020}.log", 0));
    let mut bytes = std::fs::read(&path).expect("there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&path, bytes).expect("own file");
    let error = Outbox::open(dir.path()).map(|_| ()).expect_err("damaged");
    assert_eq!(error.rule(), "OUTBOX-CORRUPT");
    assert!(error.to_string().contains(".log"), "{error}");
}

#[test]
fn the_longest_body_fits_its_envelope() {
    let slot = Slot {
        network: BINDING.network,
        member: MemberId::new(u32::MAX),
        seq: Seq::new(u64::MAX),
        prev: EntryId::from_bytes([255; 32]),
        claimed_at: UtcMs::from_ms(i64::MIN),
    };
    let entry = SignedEntry::sign(&key(), slot, body(1));
    let envelope = codec::encode(&entry).len() - codec::encode(&entry.body).len();
    assert!(envelope <= ENVELOPE_BYTES_MAX, "{envelope}");
}
