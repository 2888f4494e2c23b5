//! Exact Shapley values: pool weights from a table of coalition scores.
//!
//! A player's value is the average, over all orders of joining, of what it adds to those
//! already there (Shapley 1953). Times n! it is an integer, so nothing is rounded.
//!
//! *Invariants.* The values sum to n! · (score of all − score of nobody).
//!
//! *Deliberately absent:* sampling and approximation; more than [`PLAYERS_MAX`] players.

use crate::money::{MoneyError, Weight};

/// Most players: 1,024 coalitions.
pub const PLAYERS_MAX: usize = 10;

/// Why a table of scores has no Shapley values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapleyError {
    /// Not one score for each coalition of 1 to [`PLAYERS_MAX`] players.
    #[error("{count} scores: needed are 2 to the number of players, which is 1 to {PLAYERS_MAX}")]
    Table {
        /// How many scores were given.
        count: usize,
    },
    /// A weight outside u64, or no player with a value above 0.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

impl ShapleyError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Table { .. } => "SHAPLEY-TABLE",
            Self::Money(error) => error.rule(),
        }
    }
}

/// n! times the Shapley value of each player.
///
/// `scores` holds one score for each coalition: at position `c`, that of the players whose
/// bit is set in `c`. Position 0 is the score of nobody, the last that of all. A player
/// that lowers scores gets a negative value.
///
/// # Errors
/// [`ShapleyError::Table`] unless there are 2ⁿ scores, n from 1 to [`PLAYERS_MAX`].
pub fn shapley(scores: &[u64]) -> Result<Vec<i128>, ShapleyError> {
    let players = (1..=PLAYERS_MAX).find(|&n| 1_usize.checked_shl(bits(n)) == Some(scores.len()));
    let players = players.ok_or(ShapleyError::Table { count: scores.len() })?;
    let value = |player: usize| -> Option<i128> {
        let me = 1_usize.checked_shl(bits(player))?;
        let mut sum = 0_i128;
        for (coalition, &without) in scores.iter().enumerate().filter(|(coalition, _)| coalition & me == 0) {
            let with = *scores.get(coalition | me)?;
            let before = usize::try_from(coalition.count_ones()).ok()?;
            let after = players.checked_sub(before)?.checked_sub(1)?;
            let orders = factorial(before)?.checked_mul(factorial(after)?)?;
            let adds = i128::from(with).checked_sub(i128::from(without))?;
            sum = sum.checked_add(orders.checked_mul(adds)?)?;
        }
        Some(sum)
    };
    // At most 10! · 2⁶⁴: far inside i128.
    (0..players).map(|player| value(player).ok_or(ShapleyError::Money(MoneyError::Range))).collect()
}

/// The values as weights of a split, in lowest terms. A player that lowers scores gets
/// weight 0: a split can't take away.
///
/// # Errors
/// [`MoneyError::NoWeight`] if nobody has a value above 0, [`MoneyError::Range`] if a
/// weight in lowest terms leaves u64.
pub fn weights(values: &[i128]) -> Result<Vec<Weight>, ShapleyError> {
    let raised: Vec<u128> = values.iter().map(|&value| u128::try_from(value).unwrap_or(0)).collect();
    let divisor = raised.iter().copied().fold(0, gcd);
    let lowest = |value: u128| -> Result<Weight, MoneyError> {
        let value = value.checked_div(divisor).ok_or(MoneyError::NoWeight)?;
        u64::try_from(value).map(Weight::new).map_err(|_| MoneyError::Range)
    };
    if divisor == 0 {
        return Err(MoneyError::NoWeight.into());
    }
    Ok(raised.into_iter().map(lowest).collect::<Result<_, _>>()?)
}

fn bits(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn factorial(n: usize) -> Option<i128> {
    (1..=n).try_fold(1_i128, |product, factor| product.checked_mul(i128::try_from(factor).ok()?))
}

fn gcd(a: u128, b: u128) -> u128 {
    match a.checked_rem(b) {
        Some(rest) => gcd(b, rest),
        None => a,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests compute expectations plainly")]

    use proptest::prelude::*;

    use super::*;
    use crate::money::largest_remainder;

    /// v(1), v(2), v(12), v(3), v(13), v(23), v(123) of domain §6, by bit mask.
    const SCORES: [u64; 8] = [0, 600_000, 500_000, 800_000, 100_000, 650_000, 540_000, 830_000];

    #[test]
    fn the_worked_example_comes_out() {
        let values = shapley(&SCORES).expect("eight scores");
        assert_eq!(values, [2_630_000, 2_000_000, 350_000]);
        let weights = weights(&values).expect("values above 0");
        assert_eq!(weights, [263, 200, 35].map(Weight::new));
        let parts: Vec<u128> = weights.iter().map(|weight| u128::from(weight.get())).collect();
        assert_eq!(largest_remainder(100_000, &parts), Ok(vec![52_811, 40_161, 7_028]));
    }

    #[test]
    fn only_full_tables_are_read() {
        for count in [0, 1, 3, 7, 9, 2_048] {
            assert_eq!(shapley(&vec![1; count]).map_err(|e| e.rule()), Err("SHAPLEY-TABLE"), "{count}");
        }
        assert_eq!(shapley(&[u64::MAX, 0]), Ok(vec![-i128::from(u64::MAX)]));
        assert_eq!(weights(&[-5, 0]).map_err(|e| e.rule()), Err("SPLIT-NO-WEIGHT"));
        assert_eq!(weights(&[i128::MAX, i128::MAX - 1]).map_err(|e| e.rule()), Err("MONEY-RANGE"));
    }

    #[test]
    fn ten_players_of_the_largest_scores_fit() {
        let mut scores = vec![0; 1_024];
        *scores.last_mut().expect("1,024 scores") = u64::MAX;
        let each = i128::from(u64::MAX) * 362_880;
        assert_eq!(shapley(&scores), Ok(vec![each; 10]));
    }

    proptest! {
        #[test]
        fn values_sum_to_what_all_of_them_add(scores in prop::collection::vec(any::<u64>(), 16)) {
            let sum: i128 = shapley(&scores).expect("16 scores").iter().sum();
            prop_assert_eq!(sum, 24 * (i128::from(scores[15]) - i128::from(scores[0])));
        }
    }
}
