use syngraph_protocol::ids::MemberId;

use super::*;
use crate::store::Store;
use crate::store::testing::World;

const TABLES: std::ops::RangeInclusive<u8> = rows::MARK..=rows::RUNS;

#[test]
fn days_sort_as_numbers_and_come_back() {
    let days = [i64::MIN, -20_000, -1, 0, 1, 20_000, i64::MAX];
    let keys: Vec<_> = days.iter().map(|&day| rows::day_key(MemberId::new(3), day)).collect();
    assert!(keys.is_sorted());
    for (day, mut key) in days.into_iter().zip(keys) {
        key.extend(7_u64.to_be_bytes());
        key.extend(1_u32.to_be_bytes());
        let (run, ids) = rows::run_of(&key, &[5; 32]).expect("a row of runs");
        assert_eq!(run, EventRunKey { member: MemberId::new(3), day, height: Height::new(7) });
        assert_eq!(ids, [EventId::from_bytes([5; 16]); 2]);
        assert!(rows::run_of(&key, &[5; 31]).is_none());
        assert!(rows::run_of(&key[..key.len() - 1], &[5; 32]).is_none());
    }
}

#[test]
fn every_table_is_used_and_no_value_is_too_long_for_sled() {
    let world = World::with_history();
    for table in TABLES {
        let lens: Vec<_> =
            world.store.state.reader.rows(&[table]).map(|row| row.expect("a sound store").1.len()).collect();
        assert!(!lens.is_empty(), "table {table}");
        assert!(lens.into_iter().all(|len| len < 100_000), "table {table}");
    }
}

#[test]
fn a_row_that_is_gone_or_changed_is_noticed() {
    let (dir, genesis, ledger, _) = World::with_history().close();
    let path = dir.path().join("state");
    for table in TABLES {
        for change in [false, true] {
            let tree = open_tree(&path).expect("opens").1;
            let (key, value) = tree.scan_prefix([table]).next_back().expect("a row").expect("a row");
            let mut damaged = value.to_vec();
            *damaged.last_mut().expect("no value is empty") ^= 1;
            let done = if change { tree.insert(&key, damaged) } else { tree.remove(&key) };
            done.and_then(|_| tree.flush()).expect("written");
            drop(tree);
            let (store, recovered) = Store::open(dir.path(), &genesis).expect("repaired");
            assert!(recovered.rebuilt, "table {table}, changed: {change}");
            assert_eq!(recovered.ledger.state_root(), ledger.state_root());
            store.close().expect("a clean end");
        }
    }
}

#[test]
fn a_panic_of_sled_is_an_error() {
    let failed = guarded::<()>(Path::new("state"), || panic!("as sled does on damaged pages"));
    assert_eq!(failed.expect_err("a panic").rule(), "STORE-STATE");
}
