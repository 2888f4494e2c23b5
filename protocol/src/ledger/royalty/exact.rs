//! Non-negative fractions of any size: what a charge is before its one rounding.
//!
//! A graduated price adds fractions whose denominators are the signed `per`s, any u64
//! each; four such tiers and a multiplier already need more than 256 bits. The result is
//! judged only when it is rounded, so no term that passed its check is refused for the
//! size of an intermediate.
//!
//! *Deliberately absent:* subtraction, division and reduction. Nothing here needs them.

use std::cmp::Ordering;

use crate::money::{Micro, MoneyError};

/// An unsigned integer: limbs of 64 bits, lowest first, no leading zero limb.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Natural(Vec<u64>);

fn halves(wide: u128) -> (u64, u64) {
    let low = u64::try_from(wide & u128::from(u64::MAX)).expect("masked to 64 bits");
    let high = u64::try_from(wide >> 64).expect("64 of 128 bits are left");
    (low, high)
}

impl From<u128> for Natural {
    fn from(value: u128) -> Self {
        let (low, high) = halves(value);
        Self(vec![low, high]).trimmed()
    }
}

impl Natural {
    fn trimmed(mut self) -> Self {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        self
    }

    fn add(&self, other: &Self) -> Self {
        let (long, short) = if self.0.len() >= other.0.len() { (self, other) } else { (other, self) };
        let mut limbs = Vec::with_capacity(long.0.len().saturating_add(1));
        let mut carry = 0;
        for (&a, b) in long.0.iter().zip(short.0.iter().copied().chain(std::iter::repeat(0))) {
            // At most 2 · (2⁶⁴ − 1) + 1: cannot wrap.
            let sum = u128::from(a).wrapping_add(u128::from(b)).wrapping_add(u128::from(carry));
            let (low, high) = halves(sum);
            limbs.push(low);
            carry = high;
        }
        limbs.push(carry);
        Self(limbs).trimmed()
    }

    fn mul(&self, other: &Self) -> Self {
        let mut limbs = vec![0; self.0.len().saturating_add(other.0.len())];
        for (shift, &a) in self.0.iter().enumerate() {
            let mut carry = 0;
            let mut rest = limbs.iter_mut().skip(shift);
            for (&b, slot) in other.0.iter().zip(rest.by_ref()) {
                // At most (2⁶⁴ − 1)² + 2 · (2⁶⁴ − 1) = 2¹²⁸ − 1: cannot wrap.
                let wide = u128::from(a)
                    .wrapping_mul(u128::from(b))
                    .wrapping_add(u128::from(*slot))
                    .wrapping_add(u128::from(carry));
                (*slot, carry) = halves(wide);
            }
            if let Some(slot) = rest.next() {
                *slot = carry;
            }
        }
        Self(limbs).trimmed()
    }
}

impl Ord for Natural {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_limbs = || self.0.iter().rev().cmp(other.0.iter().rev());
        self.0.len().cmp(&other.0.len()).then_with(by_limbs)
    }
}

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A non-negative fraction. Not reduced: equal values may have different parts, so it has
/// no `==`.
#[derive(Clone, Debug)]
pub(super) struct Exact {
    numerator: Natural,
    denominator: Natural,
}

impl Exact {
    /// An integer.
    pub(super) fn whole(value: u128) -> Self {
        Self { numerator: value.into(), denominator: 1.into() }
    }

    /// `numerator` ÷ `denominator`. The latter must not be 0.
    pub(super) fn fraction(numerator: u64, denominator: u64) -> Self {
        debug_assert!(denominator != 0, "rates, portions and ppm never divide by 0");
        Self { numerator: u128::from(numerator).into(), denominator: u128::from(denominator).into() }
    }

    /// The sum.
    pub(super) fn plus(&self, other: &Self) -> Self {
        if self.denominator == other.denominator {
            let numerator = self.numerator.add(&other.numerator);
            return Self { numerator, denominator: self.denominator.clone() };
        }
        let left = self.numerator.mul(&other.denominator);
        let right = other.numerator.mul(&self.denominator);
        Self { numerator: left.add(&right), denominator: self.denominator.mul(&other.denominator) }
    }

    /// The product.
    pub(super) fn times(&self, other: &Self) -> Self {
        Self {
            numerator: self.numerator.mul(&other.numerator),
            denominator: self.denominator.mul(&other.denominator),
        }
    }

    /// The larger of the two.
    pub(super) fn at_least(self, least: Self) -> Self {
        if self.compare(&least).is_lt() { least } else { self }
    }

    /// The smaller of the two.
    pub(super) fn at_most(self, most: Self) -> Self {
        if self.compare(&most).is_gt() { most } else { self }
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.numerator.mul(&other.denominator).cmp(&other.numerator.mul(&self.denominator))
    }

    /// The nearest integer, half to even, as micros.
    ///
    /// # Errors
    /// [`MoneyError::Range`] above i128.
    pub(super) fn round_half_even(&self) -> Result<Micro, MoneyError> {
        let floor = self.floor()?;
        let twice_floor_and_one = Natural::from(floor).mul(&2.into()).add(&1.into());
        let half = self.denominator.mul(&twice_floor_and_one);
        let up = match self.numerator.mul(&2.into()).cmp(&half) {
            Ordering::Less => 0,
            Ordering::Equal => floor & 1,
            Ordering::Greater => 1,
        };
        let rounded = floor.checked_add(up).ok_or(MoneyError::Range)?;
        i128::try_from(rounded).map(Micro::new).map_err(|_| MoneyError::Range)
    }

    /// The integer part, found bit by bit from above: 127 comparisons, whatever the size.
    fn floor(&self) -> Result<u128, MoneyError> {
        let fits = |integer: u128| self.denominator.mul(&integer.into()) <= self.numerator;
        let mut floor = 0_u128;
        if fits(1 << 127) {
            return Err(MoneyError::Range);
        }
        for bit in (0..127).rev() {
            let candidate = floor | 1_u128.checked_shl(bit).ok_or(MoneyError::Range)?;
            if fits(candidate) {
                floor = candidate;
            }
        }
        Ok(floor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests compute expectations plainly")]

    use ethnum::U256;
    use proptest::prelude::*;

    use super::*;

    fn wide(natural: &Natural) -> U256 {
        natural.0.iter().rev().fold(U256::ZERO, |sum, &limb| (sum << 64_u32) | U256::from(limb))
    }

    #[test]
    fn rounds_half_to_even() {
        for (numerator, denominator, rounded) in [
            (0, 1, 0),
            (1, 2, 0),
            (3, 2, 2),
            (5, 2, 2),
            (7, 2, 4),
            (1, 3, 0),
            (2, 3, 1),
            (u64::MAX, 1, i128::from(u64::MAX)),
        ] {
            let exact = Exact::fraction(numerator, denominator);
            assert_eq!(exact.round_half_even(), Ok(Micro::new(rounded)), "{numerator}/{denominator}");
        }
    }

    #[test]
    fn the_range_ends_at_i128() {
        let max = i128::MAX.unsigned_abs();
        assert_eq!(Exact::whole(max).round_half_even(), Ok(Micro::new(i128::MAX)));
        assert_eq!(Exact::whole(max + 1).round_half_even(), Err(MoneyError::Range));
        let below_half = Exact::whole(max).plus(&Exact::fraction(4, 9));
        assert_eq!(below_half.round_half_even(), Ok(Micro::new(i128::MAX)));
        let half_of_an_odd = Exact::whole(max).plus(&Exact::fraction(1, 2));
        assert_eq!(half_of_an_odd.round_half_even(), Err(MoneyError::Range));
    }

    #[test]
    fn a_sum_wider_than_256_bits_still_knows_a_half() {
        // Ten coprime denominators, and what brings their sum to exactly one half.
        let denominators = (0..10).map(|k| u64::MAX - k * 2);
        let mut sum = Exact::whole(0);
        for denominator in denominators {
            let third = Exact::fraction(1, denominator);
            let rest = Exact::fraction(denominator - 1, denominator);
            sum = sum.plus(&third).plus(&rest);
        }
        assert_eq!(sum.plus(&Exact::fraction(1, 2)).round_half_even(), Ok(Micro::new(10)));
        assert_eq!(sum.plus(&Exact::fraction(3, 2)).round_half_even(), Ok(Micro::new(12)));
        let above = sum.plus(&Exact::fraction(1, 2)).plus(&Exact::fraction(1, u64::MAX));
        assert_eq!(above.round_half_even(), Ok(Micro::new(11)));
    }

    proptest! {
        #[test]
        fn naturals_agree_with_256_bits(a: u128, b: u128) {
            let (x, y) = (Natural::from(a), Natural::from(b));
            prop_assert_eq!(wide(&x.add(&y)), U256::from(a) + U256::from(b));
            prop_assert_eq!(wide(&x.mul(&y)), U256::from(a) * U256::from(b));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }

        #[test]
        fn rounding_is_within_half_a_unit(a: u64, b: u64, c in 1..u64::MAX, d in 1..u64::MAX) {
            let exact = Exact::fraction(a, c).times(&Exact::fraction(b, d));
            let rounded = exact.round_half_even().expect("below 2^128").get().unsigned_abs();
            let (top, bottom) = (U256::from(a) * U256::from(b), U256::from(c) * U256::from(d));
            let distance = top.abs_diff(U256::from(rounded) * bottom);
            prop_assert!(distance * U256::from(2_u8) <= bottom);
        }
    }
}
