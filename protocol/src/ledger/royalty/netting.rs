//! Netting: from what members owe each other to what is paid.
//!
//! Steps 11 and 12 of domain §6. Bilateral: each pair's micros are set off, whole minor
//! units are paid, the residue is carried, visibly, into the next run. Multilateral, among
//! those who joined it: the largest debtor pays the largest creditor until nobody owes.
//!
//! *Invariants.* Per pair: accrued and carried in = paid + carried out, and
//! |carried out| < 1 minor unit. Net positions sum to 0 per currency. Lists are ordered by
//! currency, then members, without zeros. Ties go to the lower member id.
//!
//! *Deliberately absent:* due days, declarations and confirmations of payments.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::MemberId;
use crate::money::{Currency, Micro, Minor, MoneyError};

/// One debt before netting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Obligation {
    /// Who owes.
    pub from: MemberId,
    /// Whom. The same member owes nothing: self legs are ignored.
    pub to: MemberId,
    /// In what.
    pub currency: Currency,
    /// How much; negative where a correction takes back.
    pub micros: Micro,
}

/// The residue of a pair, less than one minor unit, that the next run starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carry {
    /// The lower member id.
    pub a: MemberId,
    /// The higher member id.
    pub b: MemberId,
    /// In what.
    pub currency: Currency,
    /// What `a` owes `b`; negative if `b` owes; never 0.
    pub a_owes_b_micros: Micro,
}

/// One amount from one member to another: a pair's debt after set-off, or a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// In what.
    pub currency: Currency,
    /// Who pays.
    pub from: MemberId,
    /// Who is paid.
    pub to: MemberId,
    /// How much; above 0.
    pub minor: Minor,
}

/// What a member receives (above 0) or pays in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// In what.
    pub currency: Currency,
    /// Who.
    pub member: MemberId,
    /// How much; never 0.
    pub minor: Minor,
}

/// Debts between pairs, set off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bilateral {
    /// What each pair owes in whole minor units, by (currency, from, to).
    pub debts: Vec<Payment>,
    /// What each pair carries, by (currency, a, b).
    pub carry: Vec<Carry>,
}

/// Sets off what each pair owes each other, in any order of obligations.
///
/// # Errors
/// [`MoneyError::Range`] if a pair's sum leaves i128 micros.
pub fn bilateral(
    obligations: impl IntoIterator<Item = Obligation>,
    carried: &[Carry],
) -> Result<Bilateral, MoneyError> {
    let mut owed: BTreeMap<(Currency, MemberId, MemberId), Micro> = BTreeMap::new();
    let carried = carried.iter().map(|&Carry { a, b, currency, a_owes_b_micros }| Obligation {
        from: a,
        to: b,
        currency,
        micros: a_owes_b_micros,
    });
    for Obligation { from, to, currency, micros } in carried.chain(obligations) {
        let (a, b) = (from.min(to), from.max(to));
        if a == b {
            continue;
        }
        let a_owes_b = if from == a { micros } else { micros.checked_neg()? };
        let sum = owed.entry((currency, a, b)).or_default();
        *sum = sum.checked_add(a_owes_b)?;
    }
    let mut netted = Bilateral::default();
    for ((currency, a, b), micros) in owed {
        let (minor, residue) = micros.to_minor();
        if minor > Minor::ZERO {
            netted.debts.push(Payment { currency, from: a, to: b, minor });
        } else if minor < Minor::ZERO {
            netted.debts.push(Payment { currency, from: b, to: a, minor: minor.checked_neg()? });
        }
        if !residue.is_zero() {
            netted.carry.push(Carry { a, b, currency, a_owes_b_micros: residue });
        }
    }
    netted.debts.sort_by_key(|debt| (debt.currency, debt.from, debt.to));
    Ok(netted)
}

/// What each member receives or pays in all.
///
/// # Errors
/// [`MoneyError::Range`] if a member's sum leaves i128.
pub fn positions(debts: &[Payment]) -> Result<Vec<Position>, MoneyError> {
    let mut net: BTreeMap<(Currency, MemberId), Minor> = BTreeMap::new();
    for debt in debts {
        let payer = net.entry((debt.currency, debt.from)).or_default();
        *payer = payer.checked_sub(debt.minor)?;
        let payee = net.entry((debt.currency, debt.to)).or_default();
        *payee = payee.checked_add(debt.minor)?;
    }
    let positions = net.into_iter().map(|((currency, member), minor)| Position { currency, member, minor });
    Ok(positions.filter(|position| !position.minor.is_zero()).collect())
}

/// The payments that settle the debts: pairs of which one has not joined pay directly,
/// those who joined by multilateral netting. By currency; within one, direct payments by
/// (from, to), then netted ones in the order in which they are made.
///
/// # Errors
/// [`MoneyError::Range`] if a member's sum leaves i128.
pub fn payments(debts: &[Payment], joined: &BTreeSet<MemberId>) -> Result<Vec<Payment>, MoneyError> {
    let is_netted = |debt: &&Payment| joined.contains(&debt.from) && joined.contains(&debt.to);
    let (netted, mut paid): (Vec<&Payment>, Vec<&Payment>) = debts.iter().partition(is_netted);
    paid.sort_by_key(|payment| (payment.currency, payment.from, payment.to));
    let mut paid: Vec<Payment> = paid.into_iter().copied().collect();
    let positions = positions(&netted.into_iter().copied().collect::<Vec<_>>())?;
    for of_currency in positions.chunk_by(|a, b| a.currency == b.currency) {
        paid.extend(multilateral(of_currency)?);
    }
    // Stable: keeps the order in which payments of one currency were made.
    paid.sort_by_key(|payment| payment.currency);
    Ok(paid)
}

/// Amounts with their members, taken largest first, ties to the lower member.
struct Ranked(BTreeSet<(Minor, std::cmp::Reverse<MemberId>)>);

impl Ranked {
    fn largest(&mut self) -> Option<(MemberId, Minor)> {
        self.0.pop_last().map(|(minor, member)| (member.0, minor))
    }

    fn put_back(&mut self, member: MemberId, minor: Minor) {
        if !minor.is_zero() {
            self.0.insert((minor, std::cmp::Reverse(member)));
        }
    }
}

/// One currency: the largest debtor pays the largest creditor what it can, until done.
/// Each payment settles one of the two, so there are fewer payments than members.
fn multilateral(positions: &[Position]) -> Result<Vec<Payment>, MoneyError> {
    let (mut creditors, mut debtors) = (Ranked(BTreeSet::new()), Ranked(BTreeSet::new()));
    for position in positions {
        if position.minor > Minor::ZERO {
            creditors.put_back(position.member, position.minor);
        } else {
            debtors.put_back(position.member, position.minor.checked_neg()?);
        }
    }
    let Some(currency) = positions.first().map(|position| position.currency) else { return Ok(Vec::new()) };
    let mut paid = Vec::new();
    while let (Some((from, debt)), Some((to, credit))) = (debtors.largest(), creditors.largest()) {
        let minor = debt.min(credit);
        paid.push(Payment { currency, from, to, minor });
        debtors.put_back(from, debt.checked_sub(minor)?);
        creditors.put_back(to, credit.checked_sub(minor)?);
    }
    Ok(paid)
}

#[cfg(test)]
mod tests;
