//! Adding up the money of a history, apart from the code that posted it: what members are
//! owed for settled months is what they are paid, and what is carried.

use std::collections::BTreeMap;

use syngraph_protocol::ids::MemberId;
use syngraph_protocol::ledger::period::{Accrual, Carried, Due, Period};
use syngraph_protocol::ledger::{Event, Ledger};
use syngraph_protocol::money::{Currency, MICROS_PER_MINOR};
use syngraph_protocol::time::Month;

/// Money that does not add up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BooksError {
    #[error(
        "member {member} is owed {owed} micros of {currency} for settled months; paid and carried are {settled}"
    )]
    Settlement { member: MemberId, currency: Currency, owed: i128, settled: i128 },
    #[error("members {a} and {b} carry a whole minor unit of {currency} or more")]
    Carry { a: MemberId, b: MemberId, currency: Currency },
    #[error("what is owed for {month} is not what its lines share out")]
    Accruals { month: Month },
    #[error("an amount is out of range")]
    Range,
}

impl BooksError {
    pub(super) const fn rule(&self) -> &'static str {
        match self {
            Self::Settlement { .. } => "MONEY-SETTLEMENT",
            Self::Carry { .. } => "MONEY-CARRY",
            Self::Accruals { .. } => "MONEY-ACCRUALS",
            Self::Range => "MONEY-RANGE",
        }
    }
}

/// Sums by key; what does not fit is noticed.
struct Sums<K>(BTreeMap<K, i128>);

impl<K> Default for Sums<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Sums<K> {
    fn add(&mut self, key: K, amount: i128) -> Result<(), BooksError> {
        let sum = self.0.entry(key).or_default();
        *sum = sum.checked_add(amount).ok_or(BooksError::Range)?;
        Ok(())
    }

    /// `to` gains what `from` loses.
    fn transfer(&mut self, from: K, to: K, amount: i128) -> Result<(), BooksError> {
        self.add(to, amount)?;
        self.add(from, amount.checked_neg().ok_or(BooksError::Range)?)
    }
}

/// Checks the books after a block in which a month was closed or settled.
pub(super) fn check(ledger: &Ledger, events: &[Event]) -> Result<(), BooksError> {
    for event in events {
        match event {
            Event::PeriodClosed { month } => check_accruals(ledger, *month)?,
            Event::PeriodSettled { .. } => check_settlements(ledger)?,
            _ => {}
        }
    }
    Ok(())
}

fn check_accruals(ledger: &Ledger, month: Month) -> Result<(), BooksError> {
    let (mut shared, mut accrued) = (Sums::default(), Sums::default());
    for ((of, _, _, payer), line) in ledger.lines.iter().filter(|((of, ..), _)| *of == month) {
        for share in line.shares.iter().filter(|share| share.member != *payer) {
            shared.add((*of, line.currency, *payer, share.member), share.micros.get())?;
        }
    }
    for (&key, &Accrual(owed)) in ledger.accruals.iter().filter(|((of, ..), _)| *of == month) {
        accrued.add(key, owed.get())?;
    }
    shared.0.retain(|_, sum| *sum != 0);
    accrued.0.retain(|_, sum| *sum != 0);
    if shared.0 == accrued.0 { Ok(()) } else { Err(BooksError::Accruals { month }) }
}

fn check_settlements(ledger: &Ledger) -> Result<(), BooksError> {
    let is_settled =
        |month: &Month| ledger.periods.get(month).is_some_and(|period: &Period| period.settled.is_some());
    let (mut owed, mut settled) = (Sums::default(), Sums::default());
    for (&(month, currency, from, to), &Accrual(micros)) in ledger.accruals.iter() {
        if is_settled(&month) {
            owed.transfer((from, currency), (to, currency), micros.get())?;
        }
    }
    for (&(_, currency, from, to), &Due(minor)) in ledger.dues.iter() {
        let micros = minor.get().checked_mul(MICROS_PER_MINOR).ok_or(BooksError::Range)?;
        settled.transfer((from, currency), (to, currency), micros)?;
    }
    for (&(currency, a, b), &Carried { a_owes_b }) in ledger.carries.iter() {
        if a_owes_b.get().unsigned_abs() >= MICROS_PER_MINOR.unsigned_abs() {
            return Err(BooksError::Carry { a, b, currency });
        }
        settled.transfer((a, currency), (b, currency), a_owes_b.get())?;
    }
    for (&(member, currency), &owed) in &owed.0 {
        let settled = settled.0.remove(&(member, currency)).unwrap_or(0);
        if owed != settled {
            return Err(BooksError::Settlement { member, currency, owed, settled });
        }
    }
    match settled.0.into_iter().find(|(_, sum)| *sum != 0) {
        Some(((member, currency), settled)) => {
            Err(BooksError::Settlement { member, currency, owed: 0, settled })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_notice_what_does_not_fit() {
        let mut sums = Sums::default();
        sums.transfer("payer", "payee", i128::MAX).expect("fits");
        assert_eq!(sums.add("payee", 1), Err(BooksError::Range));
        assert_eq!(sums.transfer("payer", "payee", i128::MIN), Err(BooksError::Range));
        assert_eq!(sums.0.get("payer"), Some(&-i128::MAX));
    }
}
