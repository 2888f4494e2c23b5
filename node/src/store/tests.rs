use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use syngraph_protocol::block::NO_BLOCK;
use syngraph_protocol::codec;
use syngraph_protocol::entry::{Body, Deed};
use syngraph_protocol::genesis::Genesis;
use syngraph_protocol::ids::{EntryId, Hash, Height};
use syngraph_protocol::ledger::equivocation::{Evidence, ReportEquivocation};
use syngraph_protocol::ledger::{Executed, Ledger};

use super::files::tests::take_synced;
use super::log::{FoundLog, LogConfig};
use super::reader::{BLOCK_RECORD_BYTES_MAX, BlockRecord};
use super::testing::{World, an_asset, certify, copy, copy_into, genesis, idem, sign_at};
use super::*;

fn open(dir: &Path, genesis: &Genesis) -> Result<(Store, Recovered), StoreError> {
    Store::open(dir, genesis)
}

fn len_of(path: &Path) -> u64 {
    fs::metadata(path).expect("there").len()
}

fn cut_file(path: &Path, len: u64) {
    OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(len)).expect("cut");
}

fn only_segment(dir: &Path, log: &str) -> PathBuf {
    dir.join(log).join(format!("{:020}.seg", 0))
}

fn state_file(dir: &Path) -> PathBuf {
    dir.join("state").join("db")
}

/// Opens a directory that must give this history; says whether the state was rebuilt and
/// how many blocks were replayed.
fn must_give(dir: &Path, genesis: &Genesis, history: &[Executed]) -> (bool, u64) {
    let (store, recovered) = open(dir, genesis).unwrap_or_else(|error| panic!("{error}"));
    let last = history.last().expect("some blocks");
    assert_eq!(recovered.ledger.state_root(), last.block.header.state_root);
    assert_eq!(recovered.ledger.block_id(), last.block.id());
    assert_eq!(recovered.ledger.height(), last.block.header.height);
    check_reader(&store.reader(), history);
    check_past(&store.reader(), genesis, history);
    store.close().expect("a clean end");
    (recovered.rebuilt, recovered.replayed_blocks)
}

fn check_reader(reader: &Reader, history: &[Executed]) {
    let read = "a sound store";
    let mut index = 0;
    for executed in history {
        let height = executed.block.header.height;
        let record = reader.block(height).expect(read).expect("a block");
        assert_eq!((&record.block, record.certificate.block), (&executed.block, executed.block.id()));
        for (entry, outcome) in executed.entries.iter().zip(&executed.outcomes) {
            let sealed = reader.entry_at(index).expect(read).expect("an entry");
            assert_eq!((sealed.index, sealed.height, sealed.id), (index, height, entry.id()));
            assert_eq!(sealed.bytes, entry.bytes());
            assert_eq!(reader.outcome(index).expect(read).as_ref(), Some(outcome));
            assert_eq!(reader.find(&entry.id()).expect(read), Some(index));
            assert_eq!(reader.height_of(index).expect(read), Some(height));
            index += 1;
        }
    }
    let tip = reader.tip();
    assert_eq!(tip.log_size, index);
    assert_eq!(tip.block, history.last().map_or(NO_BLOCK, |executed| executed.block.id()));
    assert_eq!(reader.entry_at(index).expect(read), None);
    assert_eq!(reader.outcome(index).expect(read), None);
    assert_eq!(reader.height_of(index).expect(read), None);
    assert_eq!(reader.find(&EntryId::from_bytes([1; 32])).expect(read), None);
    assert!(reader.block(Height::GENESIS).expect(read).is_none());
    assert!(reader.block(tip.height.next().expect("few blocks")).expect(read).is_none());
}

/// Every value that ever was, at every height, compared with the ledgers themselves.
fn check_past(reader: &Reader, genesis: &Genesis, history: &[Executed]) {
    let dump = |ledger: &Ledger| -> BTreeMap<_, _> {
        ledger.dump().into_iter().map(|change| (change.key, change.value)).collect()
    };
    let founded = dump(&Ledger::genesis(&genesis.charter));
    let states: Vec<_> = std::iter::once(founded).chain(history.iter().map(|e| dump(&e.ledger))).collect();
    let keys = states.iter().flat_map(BTreeMap::keys).collect::<std::collections::BTreeSet<_>>();
    for (height, state) in (0..).map(Height::new).zip(&states) {
        for key in &keys {
            let expected = state.get(*key).cloned().flatten();
            assert_eq!(reader.value_at(key, height).expect("a sound store"), expected, "{key:?} at {height}");
        }
    }
}

#[test]
fn a_clean_restart_goes_on_where_it_stopped() {
    let (dir, genesis, _, history) = World::with_history().close();
    let runs = history.iter().map(|executed| executed.runs.len()).sum::<usize>();
    let dropped = history.iter().map(|executed| executed.dropped_days.len()).sum::<usize>();
    assert!(runs > 5 && dropped > 0, "the history must have runs and dropped days: {runs}, {dropped}");
    assert_eq!(must_give(dir.path(), &genesis, &history), (false, 0));
    assert_eq!(must_give(dir.path(), &genesis, &history), (false, 0));
}

#[test]
fn a_killed_node_goes_on_where_it_stopped() {
    let mut world = World::with_history();
    let pending: Vec<_> = (0..3).map(|_| world.any_entry()).collect();
    for entry in &pending {
        world.store.append_entry(entry).expect("a sound store");
    }
    assert!(world.store.sync().expect("a sound store"));
    assert!(!world.store.sync().expect("a sound store"), "nothing new");
    let crashed = world.crash();
    let (store, recovered) = open(crashed.path(), &world.genesis).expect("a crash is no damage");
    assert!(!recovered.rebuilt, "a kill must not cost a rebuild");
    let ids = |entries: &[syngraph_protocol::entry::VerifiedEntry]| {
        entries.iter().map(|entry| entry.id()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&recovered.pending), ids(&pending), "acknowledged entries, in order of arrival");
    drop(store);
    must_give(crashed.path(), &world.genesis, &world.history);
}

#[test]
fn what_a_killed_node_left_unsynced_is_synced_before_it_counts() {
    let mut world = World::new();
    let sealed = world.any_entry();
    world.seal(vec![sealed]);
    let pending = world.any_entry();
    world.store.append_entry(&pending).expect("a sound store");
    let executed = world.execute(vec![pending]);
    assert!(world.store.keep_undecided(&executed.block, None).expect("a sound store"));
    world.store.sync().expect("a sound store");
    let (killed, World { genesis, .. }) = (world.crash(), world);
    take_synced();
    let (store, recovered) = open(killed.path(), &genesis).expect("a sound directory");
    assert_eq!((recovered.pending.len(), recovered.undecided.len()), (1, 1));
    let synced = take_synced();
    let dirs = ["", "entries", "blocks", "undecided", "state"].map(|name| killed.path().join(name));
    let files = ["entries", "blocks"].map(|log| only_segment(killed.path(), log));
    for path in dirs.iter().chain(&files) {
        assert!(synced.contains(path), "{}", path.display());
    }
    drop(store);
}

#[test]
fn every_moment_of_a_history_survives_a_kill() {
    let mut world = World::new();
    for _ in 0..5 {
        let entry = world.any_entry();
        world.seal(vec![entry]);
        let crashed = world.crash();
        must_give(crashed.path(), &world.genesis, &world.history);
    }
}

#[test]
fn pending_entries_are_sealed_after_a_restart() {
    let mut world = World::with_history();
    let (first, second) = (world.any_entry(), world.any_entry());
    world.store.append_entry(&first).expect("a sound store");
    let place = world.store.append_entry(&second).expect("a sound store");
    assert_eq!(world.store.append_entry(&second).expect("a sound store"), place, "there already");
    let crashed = {
        world.store.sync().expect("a sound store");
        world.crash()
    };
    let World { genesis, ledger, mut history, .. } = world;
    for sealed in [vec![first], vec![second]] {
        let (mut store, recovered) = open(crashed.path(), &genesis).expect("a crash is no damage");
        assert_eq!(recovered.pending.first().map(|entry| entry.id()), sealed.first().map(|entry| entry.id()));
        let plan = syngraph_protocol::ledger::Plan {
            time: recovered.ledger.time().plus_ms(1),
            built_by: syngraph_protocol::ids::MemberId::new(0),
        };
        let executed = recovered.ledger.execute(&plan, sealed).expect("a possible block");
        store.commit(&executed, &certify(&ledger, &executed.block)).expect("a sound store");
        history.push(executed);
        store.close().expect("a clean end");
    }
    let (_, recovered) = open(crashed.path(), &genesis).expect("opens");
    assert!(recovered.pending.is_empty());
    drop(recovered);
    must_give(crashed.path(), &genesis, &history);
}

#[test]
fn any_damage_to_the_state_directory_is_repaired_unattended() {
    let (dir, genesis, _, history) = World::with_history().close();
    let blocks = history.len() as u64;
    let rebuilt = |change: &dyn Fn(&Path)| {
        let damaged = copy(dir.path());
        change(&damaged.path().join("state"));
        must_give(damaged.path(), &genesis, &history)
    };
    assert_eq!(rebuilt(&|state| fs::remove_dir_all(state).expect("removed")), (true, blocks));
    assert_eq!(
        rebuilt(&|state| {
            fs::remove_dir_all(state).expect("removed");
            fs::write(state, b"not a directory").expect("written");
        }),
        (true, blocks)
    );
    let whole = len_of(&state_file(dir.path()));
    for len in [0, 1, 100, whole / 8, whole / 4, whole / 2, whole - whole / 4, whole - 4096, whole - 1] {
        rebuilt(&|state| cut_file(&state.join("db"), len));
    }
    for fill in [0, 0xff, 0x5a] {
        let garbage = vec![fill; usize::try_from(whole).expect("small")];
        assert_eq!(rebuilt(&|state| fs::write(state.join("db"), &garbage).expect("written")), (true, blocks));
    }
    rebuilt(&|state| fs::write(state.join("conf"), b"nonsense").expect("written"));
}

#[test]
fn a_flipped_bit_anywhere_in_the_state_directory_changes_no_answer() {
    let (dir, genesis, _, history) = World::with_history().close();
    let file = state_file(dir.path());
    let whole = fs::read(&file).expect("readable");
    let used: Vec<_> = (0..whole.len()).filter(|&at| whole[at] != 0).collect();
    for at in used.iter().step_by(used.len() / 48) {
        let damaged = copy(dir.path());
        let mut bytes = whole.clone();
        bytes[*at] ^= 0x10;
        fs::write(state_file(damaged.path()), bytes).expect("written");
        must_give(damaged.path(), &genesis, &history);
    }
}

#[test]
fn an_older_copy_of_the_state_is_brought_up_to_date() {
    let mut world = World::with_history();
    world.store.flush().expect("a sound store");
    let older = world.crash();
    for _ in 0..3 {
        let entry = world.any_entry();
        world.seal(vec![entry]);
    }
    let (dir, genesis, _, history) = world.close();
    fs::remove_dir_all(dir.path().join("state")).expect("removed");
    copy_into(&older.path().join("state"), &dir.path().join("state"));
    assert_eq!(must_give(dir.path(), &genesis, &history), (false, 3));
}

#[test]
fn a_state_of_other_logs_is_not_believed() {
    let (dir, genesis, _, history) = World::with_history().close();
    // The same history on another node: only the places in its logs differ.
    let (same, ..) = World::with_history().close();
    let mut stranger = World::named("Another consortium");
    let entry = stranger.any_entry();
    stranger.seal(vec![entry]);
    let (stranger, ..) = stranger.close();
    for foreign in [&same, &stranger] {
        let mixed = copy(dir.path());
        fs::remove_dir_all(mixed.path().join("state")).expect("removed");
        copy_into(&foreign.path().join("state"), &mixed.path().join("state"));
        assert_eq!(must_give(mixed.path(), &genesis, &history), (true, history.len() as u64));
    }
}

#[test]
fn logs_that_lost_acknowledged_records_are_refused() {
    let mut world = World::with_history();
    let entry = world.any_entry();
    world.store.append_entry(&entry).expect("a sound store");
    let (dir, genesis, ..) = world.close();
    for log in ["entries", "blocks"] {
        let damaged = copy(dir.path());
        let file = only_segment(damaged.path(), log);
        cut_file(&file, len_of(&file) - 1);
        match open(damaged.path(), &genesis).err() {
            Some(StoreError::Corrupt { path, .. }) => assert_eq!(path, file),
            other => panic!("{log}: {other:?}"),
        }
        assert_eq!(len_of(&file), len_of(&only_segment(dir.path(), log)) - 1, "nothing is cut away");
    }
}

#[test]
fn logs_that_are_gone_are_refused_while_the_state_knows_of_them() {
    let (dir, genesis, ..) = World::with_history().close();
    for (log, kept) in [("entries", 0), ("blocks", 0), ("entries", 60), ("blocks", 60)] {
        let damaged = copy(dir.path());
        let file = only_segment(damaged.path(), log);
        if kept == 0 {
            fs::remove_dir_all(damaged.path().join(log)).expect("removed");
        } else {
            cut_file(&file, kept);
        }
        match open(damaged.path(), &genesis).err() {
            Some(StoreError::Corrupt { path, .. }) => assert_eq!(path, file),
            other => panic!("{log}: {other:?}"),
        }
    }
}

#[test]
fn a_block_without_its_entries_is_refused_with_the_place() {
    let (dir, genesis, ..) = World::with_history().close();
    fs::remove_dir_all(dir.path().join("state")).expect("removed");
    let file = only_segment(dir.path(), "entries");
    cut_file(&file, len_of(&file) / 2);
    let refused = open(dir.path(), &genesis).err().expect("entries are missing");
    assert_eq!(refused.rule(), "STORE-CORRUPT");
    let text = refused.to_string();
    assert!(text.contains(&file.display().to_string()) && text.contains("covers entry"), "{text}");
}

#[test]
fn a_block_that_was_not_decided_by_a_quorum_is_refused() {
    let mut world = World::new();
    let entry = world.any_entry();
    world.store.append_entry(&entry).expect("a sound store");
    world.store.sync().expect("a sound store");
    let executed = world.execute(vec![entry]);
    let mut certificate = certify(&world.ledger, &executed.block);
    certificate.signatures.clear();
    let (dir, genesis, ledger, _) = world.close();
    let config = LogConfig::new(ledger.network(), u32::try_from(BLOCK_RECORD_BYTES_MAX).expect("small"));
    let mut blocks =
        FoundLog::open(&dir.path().join("blocks"), config).and_then(FoundLog::into_log).expect("opens");
    let record = BlockRecord { block: executed.block, certificate };
    blocks.append(&codec::encode(&record)).expect("appended");
    blocks.sync().expect("synced");
    let refused = open(dir.path(), &genesis).err().expect("no quorum");
    assert_eq!(refused.rule(), "STORE-REPLAY");
    assert!(refused.to_string().contains("block 1"), "{refused}");
}

#[test]
fn a_torn_block_was_never_decided() {
    let mut world = World::with_history();
    world.store.flush().expect("a sound store");
    let before = world.crash();
    let entry = world.any_entry();
    world.seal(vec![entry.clone()]);
    // The crash came while the block was written: neither it nor its rows are durable.
    let torn = world.crash();
    let file = only_segment(torn.path(), "blocks");
    cut_file(&file, len_of(&file) - 1);
    fs::remove_dir_all(torn.path().join("state")).expect("removed");
    copy_into(&before.path().join("state"), &torn.path().join("state"));
    let executed = world.history.pop().expect("the torn block");
    let name = format!("{:020}-{}.block", executed.block.header.height.get(), executed.block.id());
    fs::write(torn.path().join("undecided").join(name), codec::encode(&executed.block)).expect("written");
    let (mut store, recovered) = open(torn.path(), &world.genesis).expect("a crash is no damage");
    assert_eq!(recovered.ledger.block_id(), world.history.last().expect("some blocks").block.id());
    assert_eq!(recovered.pending.iter().map(|e| e.id()).collect::<Vec<_>>(), [entry.id()]);
    assert_eq!(recovered.undecided, [(executed.block.clone(), None)]);
    store.commit(&executed, &certify(&recovered.ledger, &executed.block)).expect("decided again");
    store.close().expect("a clean end");
    world.history.push(executed);
    must_give(torn.path(), &world.genesis, &world.history);
}

#[test]
fn undecided_blocks_are_kept_until_their_height_is_decided() {
    let mut world = World::new();
    let (first, second) = (world.any_entry(), world.any_entry());
    for entry in [&first, &second] {
        world.store.append_entry(entry).expect("a sound store");
    }
    let one = world.execute(vec![first.clone()]);
    let both = world.execute(vec![first, second]);
    for block in [&one.block, &both.block, &one.block] {
        assert!(world.store.keep_undecided(block, None).expect("a sound store"));
    }
    let crashed = world.crash();
    fs::write(crashed.path().join("undecided").join("0-1.block.draft"), b"half").expect("written");
    let (store, recovered) = open(crashed.path(), &world.genesis).expect("a crash is no damage");
    drop(store);
    let mut ids: Vec<_> = recovered.undecided.iter().map(|(block, _)| block.id()).collect();
    let mut expected = vec![one.block.id(), both.block.id()];
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!((ids, recovered.pending.len()), (expected, 2));
    let file = crashed.path().join("undecided").join(format!("{:020}-{}.block", 1, one.block.id()));
    let mut bytes = fs::read(&file).expect("kept");
    bytes[20] ^= 1;
    fs::write(&file, bytes).expect("written");
    assert_eq!(open(crashed.path(), &world.genesis).err().expect("damaged").rule(), "STORE-CORRUPT");
    world.commit(both);
    let (_, recovered) = open(world.crash().path(), &world.genesis).expect("opens");
    assert!(recovered.undecided.is_empty() && recovered.pending.is_empty());
}

#[test]
fn the_other_branch_of_a_fork_is_not_pending() {
    let mut world = World::new();
    let tip = world.ledger.journal_tip(&testing::root(2).public());
    let body = |number| Body::Deed { idem: idem(number), deed: Deed::RegisterAsset(an_asset("Fork")) };
    let other = sign_at(&world.ledger, 2, tip, body(999));
    world.store.append_entry(&other).expect("a sound store");
    let sealed = world.any_entry();
    world.seal(vec![sealed]);
    let (store, recovered) = open(world.crash().path(), &world.genesis).expect("opens");
    drop(store);
    assert!(recovered.pending.is_empty());
    let (dir, genesis, _, history) = world.close();
    fs::remove_dir_all(dir.path().join("state")).expect("removed");
    let (_, recovered) = open(dir.path(), &genesis).expect("opens");
    assert!(recovered.pending.is_empty() && recovered.rebuilt);
    assert_eq!(recovered.ledger.block_id(), history[0].block.id());
}

#[test]
fn what_has_lapsed_does_not_hold_up_a_restart() {
    let mut world = World::new();
    let tip = world.ledger.journal_tip(&testing::root(2).public());
    let body = |number| Body::Deed { idem: idem(number), deed: Deed::RegisterAsset(an_asset("Fork")) };
    let [one, other] = [998, 999].map(|number| sign_at(&world.ledger, 2, tip, body(number)));
    for entry in [&one, &other] {
        world.store.append_entry(entry).expect("a sound store");
    }
    let evidence = Evidence::entries(one.signed_head(), other.signed_head()).expect("they contradict");
    let report = world.deed(1, Deed::ReportEquivocation(ReportEquivocation { evidence }));
    assert!(world.store.unsealed.first().is_some_and(|first| first < world.store.entries.end()));
    world.seal(vec![report]);
    assert_eq!(world.store.unsealed.first(), None, "neither branch is ever sealed");
    let (_, recovered) = open(world.crash().path(), &world.genesis).expect("opens");
    assert_eq!(recovered.pending.len(), 0);
    let (dir, genesis, ..) = world.close();
    let (store, recovered) = open(dir.path(), &genesis).expect("opens");
    assert_eq!((recovered.pending.len(), recovered.rebuilt), (0, false));
    assert_eq!(store.unsealed.first(), None);
    drop(store);
    // Nor when the state has to be built again, with both branches read before the block.
    fs::remove_dir_all(dir.path().join("state")).expect("removed");
    let (store, recovered) = open(dir.path(), &genesis).expect("opens");
    assert_eq!((recovered.pending.len(), recovered.rebuilt), (0, true));
    assert_eq!(store.unsealed.first(), None);
}

#[test]
fn what_cannot_be_stored_is_refused_and_changes_nothing() {
    let mut world = World::with_history();
    let entry = world.any_entry();
    let executed = world.execute(vec![entry.clone()]);
    let certificate = certify(&world.ledger, &executed.block);
    let again = world.history.last().expect("some blocks").clone();
    let refused = world.store.commit(&again, &certificate).expect_err("that height is decided");
    assert_eq!(refused.rule(), "STORE-HEIGHT-ORDER");
    let refused = world.store.commit(&executed, &certificate).expect_err("the entry was never appended");
    assert_eq!(refused.rule(), "STORE-ENTRY-MISSING");
    world.store.append_entry(&entry).expect("a sound store");
    world.commit(executed);
    let (dir, genesis, _, history) = world.close();
    must_give(dir.path(), &genesis, &history);
}

#[test]
fn a_decision_that_ended_early_ends_all_writing() {
    let mut world = World::with_history();
    let entry = world.any_entry();
    world.store.append_entry(&entry).expect("a sound store");
    let executed = world.execute(vec![entry]);
    assert!(world.store.keep_undecided(&executed.block, None).expect("a sound store"));
    // Pruning fails after the decision is durable.
    fs::remove_dir_all(world.dir.path().join("undecided")).expect("removed");
    let certificate = certify(&world.ledger, &executed.block);
    assert_eq!(world.store.commit(&executed, &certificate).expect_err("no such file").rule(), "STORE-IO");
    assert_eq!(world.store.commit(&executed, &certificate).expect_err("over").rule(), "STORE-POISONED");
    let World { dir, genesis, store, mut history, .. } = world;
    assert_eq!(store.close().expect_err("over").rule(), "STORE-POISONED");
    history.push(executed);
    must_give(dir.path(), &genesis, &history);
}

#[test]
fn one_directory_serves_one_node_of_one_network() {
    let world = World::with_history();
    let refused = open(world.dir.path(), &world.genesis).err().expect("held");
    assert_eq!(refused.rule(), "STORE-LOCKED");
    let (dir, _, ledger, _) = world.close();
    let other = genesis("Another consortium");
    match open(dir.path(), &other).err() {
        Some(StoreError::OtherNetwork { expected, got, .. }) => {
            assert_eq!((expected, got), (other.charter.network(), ledger.network()));
        }
        refused => panic!("{refused:?}"),
    }
}

#[test]
fn an_empty_chain_restarts_as_founded() {
    let (dir, genesis, ledger, _) = World::new().close();
    for _ in 0..2 {
        let (store, recovered) = open(dir.path(), &genesis).expect("opens");
        assert_eq!(recovered.ledger.state_root(), ledger.state_root());
        assert_ne!(recovered.ledger.state_root(), Hash::from_bytes([0; 32]));
        assert!(!recovered.rebuilt && recovered.pending.is_empty() && recovered.undecided.is_empty());
        check_reader(&store.reader(), &[]);
        drop(store);
    }
}
