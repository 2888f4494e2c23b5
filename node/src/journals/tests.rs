use syngraph_protocol::block::NO_BLOCK;
use syngraph_protocol::codec;
use syngraph_protocol::codes::Place;
use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::entry::{Body, Deed, SignedEntry, Slot};
use syngraph_protocol::genesis::{Charter, Founder, GENESIS_VERSION};
use syngraph_protocol::ids::{Id, Idem};
use syngraph_protocol::journal::{NO_ENTRY, Tip};
use syngraph_protocol::ledger::member::{Key, MemberProfile, NodeKeys};
use syngraph_protocol::ledger::params::Params;
use syngraph_protocol::ledger::period::Settle;
use syngraph_protocol::ledger::proposal::Approve;
use syngraph_protocol::ledger::{Plan, state_key};
use syngraph_protocol::name::Name;
use syngraph_protocol::time::{Month, UtcMs};

use super::branches::BRANCH_BYTES_MAX;
use super::parked::PARKED_KEYS_MAX;
use super::select::Budget;
use super::*;
use std::time::Duration;

const START: UtcMs = UtcMs::from_ms(1_790_000_000_000);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

/// The ledger of [`charter`].
pub(crate) fn ledger() -> Ledger {
    Ledger::genesis(&charter())
}

/// Members 0 (votes) and 1, with root keys of seeds 10 and 20. Member 0 has its validator,
/// transport and journal keys of the seeds after its root's.
pub(crate) fn charter() -> Charter {
    let founder = |name: &str, seed: u8| {
        let public = |offset| key(seed + offset).public();
        let node = NodeKeys { validator: public(1), transport: public(2), journal: public(3) };
        let node = (seed == 10).then_some(node);
        let profile =
            MemberProfile { name: Name::new(name), jurisdiction: Place::new("DE"), root: public(0), node };
        Founder { power: u64::from(node.is_some()), profile }
    };
    Charter {
        version: GENESIS_VERSION,
        name: Name::new("Test"),
        time: START,
        params: Params::default(),
        members: vec![founder("Aster", 10), founder("Birch", 20)],
    }
}

/// An entry of a member's root key (or of a stranger's key, for an unknown seed).
pub(crate) fn entry(ledger: &Ledger, seed: u8, seq: u64, prev: EntryId, idem: u8) -> VerifiedEntry {
    claimed(ledger, MemberId::new(u32::from(seed == 20)), seed, seq, prev, idem)
}

/// The same, of a head that claims to speak for this member.
fn claimed(ledger: &Ledger, member: MemberId, seed: u8, seq: u64, prev: EntryId, idem: u8) -> VerifiedEntry {
    let slot = Slot { network: ledger.network(), member, seq: Seq::new(seq), prev, claimed_at: START };
    let deed = Deed::Settle(Settle { month: Month::EPOCH });
    let body = Body::Deed { idem: Idem::from_bytes([idem; 16]), deed };
    VerifiedEntry::verify(SignedEntry::sign(&key(seed), slot, body), ledger.network()).expect("well formed")
}

/// The first `count` entries of a journal.
pub(crate) fn journal(ledger: &Ledger, seed: u8, count: u8) -> Vec<VerifiedEntry> {
    let mut entries: Vec<VerifiedEntry> = Vec::new();
    for number in 0..count {
        let prev = entries.last().map_or(NO_ENTRY, VerifiedEntry::id);
        entries.push(entry(ledger, seed, number.into(), prev, number));
    }
    entries
}

fn admit(journals: &mut Journals, ledger: &Ledger, entry: VerifiedEntry) -> Admitted {
    journals.admit(ledger, entry, Via::Door, Instant::now())
}

/// What is selected when everything that is durable here has waited for its grace.
fn all_durable(journals: &Journals, ledger: &Ledger) -> Vec<VerifiedEntry> {
    let cuttable = Cuttable { ledger, replicated: &Replicated::default() };
    journals.select(cuttable, Instant::now() + Duration::from_secs(3_600))
}

fn taken(ledger: &Ledger, entries: &[VerifiedEntry]) -> Journals {
    let mut journals = Journals::new(MemberId::new(0));
    for entry in entries {
        assert_eq!(admit(&mut journals, ledger, entry.clone()), Admitted::New);
    }
    journals
}

fn rule(admitted: &Admitted) -> &'static str {
    match admitted {
        Admitted::Refused(why) => why.rule(),
        other => panic!("refused, not {other:?}"),
    }
}

#[test]
fn a_journal_is_taken_in_order_and_once() {
    let ledger = ledger();
    let entries = journal(&ledger, 10, 3);
    let mut journals = Journals::new(MemberId::new(0));
    assert_eq!(rule(&admit(&mut journals, &ledger, entries[1].clone())), "JRN-GAP");
    assert_eq!(admit(&mut journals, &ledger, entries[0].clone()), Admitted::New);
    assert_eq!(admit(&mut journals, &ledger, entries[0].clone()), Admitted::Held);
    assert_eq!(admit(&mut journals, &ledger, entries[1].clone()), Admitted::New);
    let wrong_prev = entry(&ledger, 10, 2, NO_ENTRY, 9);
    assert_eq!(rule(&admit(&mut journals, &ledger, wrong_prev)), "JRN-PREV");
    let fork = entry(&ledger, 10, 1, entries[0].id(), 9);
    assert_eq!(admit(&mut journals, &ledger, fork), Admitted::Fork { other: entries[1].id() });
    assert_eq!(journals.tip(&ledger, &key(10).public()).map(|tip| tip.next), Some(Seq::new(2)));
    assert_eq!(journals.tip(&ledger, &key(99).public()), None);
}

#[test]
fn keys_that_may_not_sign_are_refused_at_the_door() {
    let ledger = ledger();
    let mut journals = Journals::new(MemberId::new(0));
    let by_validator = entry(&ledger, 11, 0, NO_ENTRY, 1);
    assert_eq!(rule(&admit(&mut journals, &ledger, by_validator)), "KEY-PURPOSE");
    assert_eq!(journals.len(), 0);
}

#[test]
fn only_what_is_durable_is_selected() {
    let ledger = ledger();
    let entries = journal(&ledger, 10, 3);
    let mut journals = taken(&ledger, &entries[..2]);
    assert!(all_durable(&journals, &ledger).is_empty());
    assert!(all_durable(&journals, &ledger).is_empty());
    journals.synced();
    assert_eq!(admit(&mut journals, &ledger, entries[2].clone()), Admitted::New);
    let selected: Vec<_> = all_durable(&journals, &ledger).iter().map(VerifiedEntry::id).collect();
    assert_eq!(selected, [entries[0].id(), entries[1].id()]);
}

/// The same state with a key revoked after this entry of its journal.
fn revoked(ledger: &Ledger, seed: u8, until: &VerifiedEntry) -> Ledger {
    let journal = key(seed).public();
    let record = ledger.keys.get(&journal).expect("a founder's key").clone();
    let next = until.head().seq.next().expect("a number is left");
    let revoked = Key { revoked: Some(Tip { next, last: until.id() }), ..record };
    let place = state_key::<Key>(&journal);
    let values = ledger.dump().into_iter().map(|change| {
        let value = if change.key == place { Some(codec::encode(&revoked)) } else { change.value };
        (change.key, value.expect("a dump holds values"))
    });
    Ledger::load(NO_BLOCK, values, []).expect("a state")
}

#[test]
fn a_revoked_key_is_covered_up_to_its_last_entry_that_counts() {
    let before = ledger();
    let entries = journal(&before, 10, 3);
    let mut journals = taken(&before, &entries);
    journals.synced();
    let after = revoked(&before, 10, &entries[1]);
    let selected = all_durable(&journals, &after);
    assert_eq!(selected.iter().map(|entry| entry.head().seq.get()).collect::<Vec<_>>(), [0, 1]);
    let plan = Plan { time: START.plus_ms(1), built_by: MemberId::new(0) };
    after.execute(&plan, selected).expect("a block can be made of what is selected");
}

#[test]
fn members_take_turns_in_a_block_that_is_full() {
    let ledger = ledger();
    let (ours, theirs) = (journal(&ledger, 10, 5), journal(&ledger, 20, 2));
    let mut journals = taken(&ledger, &[ours.clone(), theirs.clone()].concat());
    journals.synced();
    let order: Vec<_> =
        all_durable(&journals, &ledger).iter().map(|entry| entry.head().member.get()).collect();
    assert_eq!(order, [0, 1, 0, 1, 0, 0, 0]);

    let mut budget = Budget { entries: 3, ..Budget::default() };
    let cuttable = Cuttable { ledger: &ledger, replicated: &Replicated::default() };
    let mut queues = journals.queues(cuttable, Instant::now() + Duration::from_secs(3_600));
    let mut count = 0;
    while !queues.is_empty() {
        queues.retain_mut(|queue| queue.next(&mut budget).is_some());
        count = 3 - budget.entries;
    }
    assert_eq!(count, 3);
}

#[test]
fn a_cut_is_covered_only_by_the_branch_it_names() {
    let ledger = ledger();
    let entries = journal(&ledger, 10, 3);
    let mut journals = taken(&ledger, &entries);
    let point =
        |seq: usize, id| CutPoint { journal: key(10).public(), seq: entries[seq].head().seq, entry: id };
    let cut = Cut::new(vec![point(1, entries[1].id())]);
    assert!(journals.under(&ledger, &cut).is_err(), "not durable yet");
    journals.synced();
    assert_eq!(journals.under(&ledger, &cut).map(|run| run.len()), Ok(2));
    let other = point(1, entries[2].id());
    assert_eq!(journals.under(&ledger, &Cut::new(vec![other])).map(|_| ()), Err(vec![other]));
}

#[test]
fn what_is_sealed_is_no_longer_ahead() {
    let ledger = ledger();
    let entries = journal(&ledger, 10, 3);
    let mut journals = taken(&ledger, &entries);
    journals.synced();
    let plan = Plan { time: START.plus_ms(1), built_by: MemberId::new(0) };
    let executed = ledger.execute(&plan, entries[..2].to_vec()).expect("a block");
    let next = executed.ledger;
    journals.sealed(&next, &executed.block.cut, Instant::now());
    assert_eq!(journals.len(), 1);
    assert_eq!(admit(&mut journals, &next, entries[0].clone()), Admitted::Sealed);
    assert_eq!(all_durable(&journals, &next).len(), 1);
    assert!(journals.find(&entries[0].id()).is_none());
    assert!(journals.find(&entries[2].id()).is_some());
}

#[test]
fn an_unknown_key_is_parked_within_bounds() {
    let ledger = ledger();
    let mut journals = Journals::new(MemberId::new(0));
    let stranger = entry(&ledger, 99, 0, NO_ENTRY, 1);
    assert_eq!(admit(&mut journals, &ledger, stranger.clone()), Admitted::Parked);
    assert_eq!(
        admit(&mut journals, &ledger, stranger.clone()),
        Admitted::Parked,
        "once, however often it comes"
    );
    assert_eq!(journals.find(&stranger.id()).map(|(_, parked)| parked), Some(true));
    assert!(journals.unpark(&ledger).is_empty(), "its key is still unknown");
    for seed in 100..100 + u8::try_from(PARKED_KEYS_MAX).expect("few") - 1 {
        assert_eq!(admit(&mut journals, &ledger, entry(&ledger, seed, 0, NO_ENTRY, 1)), Admitted::Parked);
    }
    assert_eq!(admit(&mut journals, &ledger, entry(&ledger, 98, 0, NO_ENTRY, 1)), Admitted::Busy);
    assert_eq!(journals.len(), 0, "parked entries are promised nothing");
}

#[test]
fn a_parked_entry_that_takes_anothers_place_is_counted_by_its_own_length() {
    let ledger = ledger();
    let mut journals = Journals::new(MemberId::new(0));
    let short = entry(&ledger, 99, 0, NO_ENTRY, 1);
    let long = {
        let slot = Slot {
            network: ledger.network(),
            member: MemberId::new(0),
            seq: Seq::new(0),
            prev: NO_ENTRY,
            claimed_at: START,
        };
        let proposal = Id::from_bytes([0xff; 32]);
        let body = Body::Deed { idem: Idem::from_bytes([2; 16]), deed: Deed::Approve(Approve { proposal }) };
        VerifiedEntry::verify(SignedEntry::sign(&key(99), slot, body), ledger.network()).expect("well formed")
    };
    assert!(short.bytes().len() < long.bytes().len());
    for parked in [&short, &long, &short, &long] {
        assert_eq!(admit(&mut journals, &ledger, parked.clone()), Admitted::Parked);
        assert_eq!(journals.parked.bytes, parked.bytes().len());
    }
}

/// Another first entry of the same journal, and one after it.
fn other_branch(ledger: &Ledger, seed: u8) -> [VerifiedEntry; 2] {
    let first = entry(ledger, seed, 0, NO_ENTRY, 100);
    let second = entry(ledger, seed, 1, first.id(), 101);
    [first, second]
}

fn end_of(entries: &[VerifiedEntry]) -> Cut {
    let last = entries.last().expect("there are some");
    Cut::new(vec![CutPoint { journal: last.head().journal, seq: last.head().seq, entry: last.id() }])
}

#[test]
fn a_block_may_cover_the_other_branch_and_the_held_one_gives_way() {
    let (ledger, now) = (ledger(), Instant::now());
    let (ours, theirs) = (journal(&ledger, 10, 3), other_branch(&ledger, 10));
    let mut journals = taken(&ledger, &ours);
    journals.synced();
    let unlinked = journals.stage(&ledger, theirs[1].clone(), now);
    assert_eq!(rule(&unlinked), "JRN-PREV", "what it names as the one before is not here");
    for entry in &theirs {
        assert_eq!(journals.stage(&ledger, entry.clone(), now), Admitted::New);
        assert_eq!(journals.stage(&ledger, entry.clone(), now), Admitted::Held);
    }
    assert!(journals.under(&ledger, &end_of(&theirs)).is_err(), "not durable yet");
    journals.synced();
    let ids = |entries: &[VerifiedEntry]| entries.iter().map(VerifiedEntry::id).collect::<Vec<_>>();
    for branch in [&ours[..2], &theirs[..]] {
        let under = journals.under(&ledger, &end_of(branch)).expect("both are held");
        assert_eq!(ids(&under), ids(branch));
    }
    let forks = journals.take_forks();
    assert_eq!(
        forks,
        [Fork { held: ours[1].signed_head(), came: theirs[1].signed_head() }],
        "the first seen"
    );
    assert!(journals.take_forks().is_empty(), "told once");

    let plan = Plan { time: START.plus_ms(1), built_by: MemberId::new(0) };
    let executed = ledger.execute(&plan, theirs[..1].to_vec()).expect("a block");
    journals.sealed(&executed.ledger, &executed.block.cut, now);
    assert!(journals.find(&ours[2].id()).is_none(), "its branch can no longer be covered");
    assert_eq!(journals.durable_end(&key(10).public()).map(|end| end.entry), Some(theirs[1].id()));
}

#[test]
fn a_forked_journal_is_cut_only_as_far_as_a_quorum_holds() {
    let ledger = ledger();
    let ours = journal(&ledger, 10, 2);
    let mut journals = taken(&ledger, &ours);
    journals.synced();
    assert_eq!(all_durable(&journals, &ledger).len(), 2);
    let [theirs, _] = other_branch(&ledger, 10);
    assert_eq!(admit(&mut journals, &ledger, theirs), Admitted::Fork { other: ours[0].id() });
    assert!(all_durable(&journals, &ledger).is_empty(), "nobody knows which branch others hold");
    assert!(!journals.goes_on(&ledger, &key(10).public()), "nor is more of it asked for");
    let mut replicated = Replicated::default();
    replicated.reached(key(10).public(), Seq::new(1), Instant::now());
    let cuttable = Cuttable { ledger: &ledger, replicated: &replicated };
    assert_eq!(journals.select(cuttable, Instant::now()).len(), 1);
}

#[test]
fn what_no_quorum_holds_waits_for_its_grace() {
    let ledger = ledger();
    let mut journals = taken(&ledger, &journal(&ledger, 10, 2));
    journals.synced();
    let none = Replicated::default();
    let cuttable = Cuttable { ledger: &ledger, replicated: &none };
    let ready = journals.ready_at(cuttable).expect("it is ready some time");
    assert!(journals.select(cuttable, ready - Duration::from_millis(1_000)).is_empty());
    assert!(!journals.select(cuttable, ready).is_empty());
    let mut one = Replicated::default();
    one.reached(key(10).public(), Seq::new(1), Instant::now());
    let cuttable = Cuttable { ledger: &ledger, replicated: &one };
    assert_eq!(journals.select(cuttable, ready - Duration::from_millis(1_000)).len(), 1);
}

#[test]
fn both_branches_come_back_after_a_restart() {
    let (ledger, now) = (ledger(), Instant::now());
    let (ours, theirs) = (journal(&ledger, 10, 3), other_branch(&ledger, 10));
    let mut journals = Journals::new(MemberId::new(0));
    for entry in ours.iter().chain(&theirs) {
        journals.restore(&ledger, entry.clone(), now).expect("each continues a branch");
    }
    assert!(journals.under(&ledger, &end_of(&ours)).is_ok());
    assert!(journals.under(&ledger, &end_of(&theirs)).is_ok());
    assert_eq!(journals.take_forks().len(), 1);
}

#[test]
fn while_replication_moves_nobody_is_asked_to_vote_for_what_it_lacks() {
    let ledger = ledger();
    let mut journals = taken(&ledger, &journal(&ledger, 10, 3));
    journals.synced();
    let ready = |replicated: &Replicated| {
        journals.ready_at(Cuttable { ledger: &ledger, replicated }).expect("it is ready some time")
    };
    let alone = ready(&Replicated::default());
    let back = alone + Duration::from_secs(60);
    let mut replicated = Replicated::default();
    replicated.connected(back);
    let grace = Duration::from_millis(ledger.params().unreplicated_grace_ms.into());
    assert_eq!(ready(&replicated), back + grace, "those who come back catch up first");
    replicated.reached(key(10).public(), Seq::new(1), back + grace);
    let count =
        |now: Instant| journals.select(Cuttable { ledger: &ledger, replicated: &replicated }, now).len();
    assert_eq!(count(back + grace), 1, "what a quorum holds");
    assert_eq!(count(back + grace + grace), 3, "and the rest once it comes no further");
}

#[test]
fn room_is_charged_to_whose_key_it_is_whatever_the_head_claims() {
    let (ledger, now) = (ledger(), Instant::now());
    let mut journals = Journals::new(MemberId::new(9));
    let liar = claimed(&ledger, MemberId::new(0), 20, 0, NO_ENTRY, 1);
    assert_eq!(journals.admit(&ledger, liar.clone(), Via::Peer, now), Admitted::New);
    let charged = |journals: &Journals, member| journals.bytes.get(&MemberId::new(member)).copied();
    assert_eq!(charged(&journals, 0), None, "it has said nothing");
    assert_eq!(charged(&journals, 1), Some(liar.bytes().len()));
    let next = entry(&ledger, 20, 1, liar.id(), 2);
    assert_eq!(journals.admit(&ledger, next.clone(), Via::Peer, now), Admitted::New);
    let cut = end_of(&[liar.clone(), next.clone()]);
    journals.synced();
    let plan = Plan { time: START.plus_ms(1), built_by: MemberId::new(0) };
    let executed = ledger.execute(&plan, vec![liar, next]).expect("a block");
    journals.sealed(&executed.ledger, &cut, now);
    assert_eq!(charged(&journals, 1), Some(0), "and given back");
}

/// A journal of which two entries fill the room of its member.
fn full(ledger: &Ledger, now: Instant) -> Journals {
    let mut journals = Journals::new(MemberId::new(9));
    for entry in journal(ledger, 10, 2) {
        assert_eq!(journals.admit(ledger, entry, Via::Peer, now), Admitted::New);
    }
    journals.bytes.insert(MemberId::new(0), UNSEALED_BYTES_MAX);
    journals
}

#[test]
fn what_a_block_covers_is_taken_although_its_member_has_no_room() {
    let (ledger, now) = (ledger(), Instant::now());
    let mut journals = full(&ledger, now);
    let other = entry(&ledger, 13, 0, NO_ENTRY, 1);
    assert_eq!(journals.admit(&ledger, other.clone(), Via::Peer, now), Admitted::Busy);
    assert_eq!(journals.stage(&ledger, other.clone(), now), Admitted::New);
    journals.synced();
    assert!(journals.under(&ledger, &end_of(&[other])).is_ok(), "else no block could free the room");
    assert!(journals.is_full(&ledger, &key(13).public()), "it is not asked for otherwise");
    assert!(!journals.is_full(&ledger, &key(20).public()));
}

#[test]
fn made_up_branches_keep_out_nothing_that_a_block_covers() {
    let (ledger, now) = (ledger(), Instant::now());
    let mut journals = taken(&ledger, &journal(&ledger, 10, 1));
    let [theirs, second] = other_branch(&ledger, 10);
    assert_eq!(journals.stage(&ledger, theirs.clone(), now), Admitted::New);
    journals.branches.bytes = BRANCH_BYTES_MAX;
    assert_eq!(rule(&journals.stage(&ledger, second.clone(), now)), "JRN-PREV", "its predecessor gave way");
    for entry in [&theirs, &second] {
        assert_eq!(journals.stage(&ledger, entry.clone(), now), Admitted::New, "both come again");
    }
    journals.synced();
    assert!(journals.under(&ledger, &end_of(&[theirs, second])).is_ok());
}

#[test]
fn of_a_revoked_key_no_branch_is_taken_beyond_what_counts() {
    let (before, now) = (ledger(), Instant::now());
    let ours = journal(&before, 10, 2);
    let mut journals = taken(&before, &ours);
    let [theirs, _] = other_branch(&before, 10);
    let after = revoked(&before, 10, &ours[0]);
    assert_eq!(rule(&journals.stage(&after, theirs, now)), "KEY-REVOKED");
}

#[test]
fn a_branch_stays_while_a_block_covers_only_what_lies_before_it() {
    let (ledger, now) = (ledger(), Instant::now());
    let ours = journal(&ledger, 10, 3);
    let theirs = entry(&ledger, 10, 1, ours[0].id(), 100);
    let mut journals = taken(&ledger, &ours);
    assert_eq!(journals.stage(&ledger, theirs.clone(), now), Admitted::New);
    journals.synced();
    let plan = Plan { time: START.plus_ms(1), built_by: MemberId::new(0) };
    let executed = ledger.execute(&plan, ours[..1].to_vec()).expect("a block");
    journals.sealed(&executed.ledger, &executed.block.cut, now);
    for branch in [&ours[1..], &[theirs]] {
        assert!(journals.under(&executed.ledger, &end_of(branch)).is_ok(), "either may be covered next");
    }
}
