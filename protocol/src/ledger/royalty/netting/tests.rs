#![allow(clippy::arithmetic_side_effects, reason = "tests compute expectations plainly")]

use proptest::prelude::*;

use super::*;
use crate::codec;

fn eur() -> Currency {
    "EUR".parse().expect("a known code")
}

fn owes(from: u32, to: u32, micros: i128) -> Obligation {
    Obligation {
        from: MemberId::new(from),
        to: MemberId::new(to),
        currency: eur(),
        micros: Micro::new(micros),
    }
}

fn plain(payments: &[Payment]) -> Vec<(u32, u32, i128)> {
    payments.iter().map(|paid| (paid.from.get(), paid.to.get(), paid.minor.get())).collect()
}

fn members(list: impl IntoIterator<Item = u32>) -> BTreeSet<MemberId> {
    list.into_iter().map(MemberId::new).collect()
}

#[test]
fn pairs_are_set_off_and_the_residue_is_carried() {
    let first = bilateral([owes(2, 1, 2_500_000), owes(1, 2, 700_000)], &[]).expect("in range");
    assert_eq!(plain(&first.debts), [(2, 1, 1)]);
    assert_eq!(first.carry.iter().map(|c| c.a_owes_b_micros.get()).collect::<Vec<_>>(), [-800_000]);
    let second = bilateral([owes(2, 1, 200_000)], &first.carry).expect("in range");
    assert_eq!(plain(&second.debts), [(2, 1, 1)]);
    assert!(second.carry.is_empty());
}

#[test]
fn a_negative_obligation_turns_round_and_self_legs_are_ignored() {
    let netted = bilateral([owes(1, 2, -3_000_000), owes(4, 4, 9_000_000)], &[]).expect("in range");
    assert_eq!(plain(&netted.debts), [(2, 1, 3)]);
    assert!(netted.carry.is_empty());
}

#[test]
fn the_largest_debtor_pays_the_largest_creditor_ties_to_the_lower_member() {
    let debts = bilateral([owes(4, 1, 5_000_000), owes(3, 2, 5_000_000)], &[]).expect("in range").debts;
    let paid = payments(&debts, &members(1..=4)).expect("in range");
    assert_eq!(plain(&paid), [(3, 1, 5), (4, 2, 5)]);
}

#[test]
fn who_has_not_joined_pays_directly() {
    let owed = [owes(1, 2, 5_000_000), owes(2, 3, 5_000_000), owes(3, 4, 2_000_000)];
    let debts = bilateral(owed, &[]).expect("in range").debts;
    let paid = payments(&debts, &members(1..=3)).expect("in range");
    assert_eq!(plain(&paid), [(3, 4, 2), (1, 3, 5)]);
    assert_eq!(plain(&payments(&debts, &members([])).expect("in range")), [(1, 2, 5), (2, 3, 5), (3, 4, 2)]);
}

#[test]
fn sums_out_of_range_are_refused() {
    let owed = [owes(1, 2, i128::MAX), owes(1, 2, 1)];
    assert_eq!(bilateral(owed, &[]), Err(MoneyError::Range));
}

#[test]
fn json_has_the_keys_of_a_computed_scenario() {
    let netted = bilateral([owes(1, 2, 1_500_000)], &[]).expect("in range");
    let json = serde_json::to_string(&netted.debts).expect("plain data");
    assert_eq!(json, r#"[{"currency":"EUR","from":1,"to":2,"minor":"1"}]"#);
    let json = serde_json::to_string(&positions(&netted.debts).expect("in range")).expect("plain data");
    assert!(json.starts_with(r#"[{"currency":"EUR","member":1,"minor":"-1"}"#), "{json}");
    let bytes = codec::encode(&netted.carry);
    assert_eq!(bytes, [1, 1, 2, b'E', b'U', b'R', 0xfc, 0x40, 0x42, 0x0f, 0]);
    assert_eq!(codec::decode::<Vec<Carry>>(&bytes, 64), Ok(netted.carry));
}

fn any_obligation() -> impl Strategy<Value = Obligation> {
    let currency = prop::sample::select(vec!["EUR", "JPY"]);
    let micros = -1_000_000_000_000_i128..1_000_000_000_000;
    (0..6_u32, 0..6_u32, currency, micros).prop_map(|(from, to, code, micros)| {
        let currency = code.parse().expect("a known code");
        Obligation { currency, ..owes(from, to, micros) }
    })
}

/// What each pair owes: (currency, a, b) → micros that a owes b.
fn per_pair(list: impl IntoIterator<Item = Obligation>) -> BTreeMap<(Currency, MemberId, MemberId), i128> {
    let mut sums = BTreeMap::new();
    for owed in list.into_iter().filter(|owed| owed.from != owed.to) {
        let sign = if owed.from < owed.to { 1 } else { -1 };
        let pair = (owed.currency, owed.from.min(owed.to), owed.from.max(owed.to));
        *sums.entry(pair).or_default() += sign * owed.micros.get();
    }
    sums.retain(|_, micros| *micros != 0);
    sums
}

proptest! {
    #[test]
    fn netting_keeps_every_micro(mut owed in prop::collection::vec(any_obligation(), 0..40)) {
        let netted = bilateral(owed.clone(), &[]).expect("in range");
        let kept = netted.debts.iter().map(|d| Obligation {
            from: d.from, to: d.to, currency: d.currency, micros: d.minor.to_micro().expect("in range"),
        });
        let carried = netted.carry.iter().map(|c| Obligation {
            from: c.a, to: c.b, currency: c.currency, micros: c.a_owes_b_micros,
        });
        prop_assert_eq!(per_pair(kept.chain(carried)), per_pair(owed.clone()));
        for carry in &netted.carry {
            prop_assert!(carry.a_owes_b_micros.get().abs() < 1_000_000 && carry.a < carry.b);
        }
        owed.reverse();
        prop_assert_eq!(bilateral(owed, &[]).expect("in range"), netted);
    }

    #[test]
    fn payments_settle_the_positions(owed in prop::collection::vec(any_obligation(), 0..40), joined in 0..64_u32) {
        let debts = bilateral(owed, &[]).expect("in range").debts;
        let net = positions(&debts).expect("in range");
        for code in ["EUR", "JPY"] {
            let of_currency = net.iter().filter(|p| p.currency.as_str() == code);
            prop_assert_eq!(of_currency.map(|p| p.minor.get()).sum::<i128>(), 0);
        }
        let joined = members((0..6).filter(|member| joined & (1 << member) != 0));
        let paid = payments(&debts, &joined).expect("in range");
        prop_assert_eq!(positions(&paid).expect("in range"), net);
        prop_assert!(paid.iter().all(|payment| payment.minor > Minor::ZERO));
        if joined.len() == 6 {
            prop_assert!(paid.len() <= 10, "fewer payments than members, in each of two currencies");
        }
    }
}
