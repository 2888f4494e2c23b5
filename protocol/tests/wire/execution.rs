//! Executing a block does not depend on the order in which its entries are handed in.

use std::sync::LazyLock;

use proptest::prelude::*;
use syngraph_protocol::entry::{Body, Deed, VerifiedEntry};
use syngraph_protocol::ids::Id;
use syngraph_protocol::ledger::agreement::Countersign;
use syngraph_protocol::ledger::asset::SetSplit;
use syngraph_protocol::ledger::period::{ClosePeriod, Settle};
use syngraph_protocol::ledger::proposal::Approve;
use syngraph_protocol::ledger::{Executed, Plan};
use syngraph_protocol::time::Month;

use crate::consortium::{Consortium, Licensed, USED, licensed, owner, register, report};
use crate::samples::hash;

/// A licensed consortium, made once.
static LICENSED: LazyLock<Licensed> = LazyLock::new(licensed);

/// What a member does: who, what, and a small number that varies it.
type Action = (usize, u8, u8);

fn action() -> impl Strategy<Value = Action> {
    (0..3_usize, 0..8_u8, 0..4_u8)
}

fn perform(consortium: &mut Consortium, (who, what, variant): Action) -> VerifiedEntry {
    let month = Month::of(USED).expect("a date");
    let (agreement, asset) = (LICENSED.agreement, LICENSED.asset);
    let deed = match what {
        0 => register(&format!("asset {variant}"), vec![owner(u32::from(variant % 3), 1)]),
        1 => Deed::SetSplit(SetSplit { asset, owners: vec![owner(0, 1 + u64::from(variant)), owner(1, 1)] }),
        2 => Deed::Approve(Approve { proposal: Id::from_bytes([variant; 32]) }),
        3 => Deed::ClosePeriod(ClosePeriod { month }),
        4 => Deed::Settle(Settle { month }),
        5 => Deed::Countersign(Countersign { agreement, version: 1, terms_hash: hash(variant) }),
        _ => {
            let number = u16::from(variant);
            let rows = [(USED, number, 1_000, "DE"), (USED, number + 1, 10, "JP")];
            let body = report(2, agreement, LICENSED.version, &rows);
            return consortium.sign(who, Body::ReportUsage(body));
        }
    };
    consortium.deed(who, deed)
}

/// Some entries of all journals, and the same ones in any other order.
fn shuffled() -> impl Strategy<Value = (Vec<VerifiedEntry>, Vec<VerifiedEntry>)> {
    prop::collection::vec(action(), 0..10).prop_flat_map(|actions| {
        let mut consortium = LICENSED.consortium.clone();
        let entries: Vec<_> = actions.into_iter().map(|action| perform(&mut consortium, action)).collect();
        (Just(entries.clone()), Just(entries).prop_shuffle())
    })
}

fn execute(plan: &Plan, entries: Vec<VerifiedEntry>) -> Executed {
    LICENSED.consortium.ledger.execute(plan, entries).expect("a possible block")
}

fn ids(executed: &Executed) -> Vec<Id> {
    executed.entries.iter().map(|entry| entry.id().into()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_order_of_arrival_is_nothing((entries, others) in shuffled()) {
        let ledger = &LICENSED.consortium.ledger;
        let before = ledger.state_root();
        let plan = LICENSED.consortium.plan();
        let (one, other) = (execute(&plan, entries), execute(&plan, others));
        prop_assert_eq!(&one.block, &other.block);
        prop_assert_eq!(ids(&one), ids(&other));
        prop_assert_eq!(&one.outcomes, &other.outcomes);
        prop_assert_eq!(&one.changes, &other.changes);
        prop_assert_eq!(&one.runs, &other.runs);
        prop_assert_eq!(&one.events, &other.events);
        prop_assert_eq!(one.ledger.dump(), other.ledger.dump());
        prop_assert_eq!(ledger.state_root(), before, "the state that was executed on stays");
    }

    /// What a block leaves out can follow in the next: the same entries are sealed.
    #[test]
    fn a_later_block_takes_what_was_left((entries, _) in shuffled(), first in 0..10_usize) {
        let cut = first.min(entries.len());
        let mut consortium = LICENSED.consortium.clone();
        let mut sealed = ids(&consortium.seal(entries[..cut].to_vec()));
        sealed.extend(ids(&consortium.seal(entries[cut..].to_vec())));
        sealed.sort_unstable();
        let mut all: Vec<Id> = entries.iter().map(|entry| entry.id().into()).collect();
        all.sort_unstable();
        prop_assert_eq!(sealed, all);
        let grown = consortium.ledger.log_size() - LICENSED.consortium.ledger.log_size();
        prop_assert_eq!(usize::try_from(grown), Ok(entries.len()));
    }
}
