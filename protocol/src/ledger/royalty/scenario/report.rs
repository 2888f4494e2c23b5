//! What a scenario comes to: plain integers under the names that are printed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::MemberId;
use crate::ledger::royalty::netting::{Bilateral, Carry, Payment, Position};
use crate::ledger::royalty::waterfall::{Distribution, Share, difference};
use crate::money::{Currency, Micro, MoneyError};

use super::Line;

/// The result of a scenario. Lines and corrections stand in the order of the input; self
/// legs by member, then currency; the other lists by currency, then members, without
/// zeros; payments of a currency in the order in which they are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Every line's charge, and whom it reaches.
    pub lines: Vec<LineReport>,
    /// What falls back to the payers themselves.
    pub self_legs: Vec<SelfLeg>,
    /// What each pair owes after set-off.
    pub bilateral: Vec<BilateralDebt>,
    /// What each pair carries into the next period.
    pub carry: Vec<CarryOver>,
    /// What each member receives or pays in all.
    pub net: Vec<NetPosition>,
    /// The payments that settle it.
    pub payments: Vec<NetPayment>,
    /// What the corrections change; not part of the netting above.
    pub corrections: Vec<CorrectionReport>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineReport {
    /// Id of the line.
    pub id: String,
    /// Of the amounts.
    pub currency: Currency,
    /// What is charged, micros.
    pub charge_micros: i128,
    /// Everybody's share, micros, the payer's own included.
    pub distribution: BTreeMap<MemberId, i128>,
}

/// What a payer would pay itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfLeg {
    /// Who.
    pub member: MemberId,
    /// Of the amount.
    pub currency: Currency,
    /// Micros, above 0.
    pub micros: i128,
}

/// What one member of a pair owes the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BilateralDebt {
    /// Who owes.
    pub from: MemberId,
    /// Whom.
    pub to: MemberId,
    /// Of the amount.
    pub currency: Currency,
    /// Minor units, above 0.
    pub minor: i128,
}

/// The residue of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarryOver {
    /// The lower member id.
    pub a: MemberId,
    /// The higher member id.
    pub b: MemberId,
    /// Of the amount.
    pub currency: Currency,
    /// Micros, below one minor unit either way; negative if `b` owes.
    pub a_owes_b_micros: i128,
}

/// A member's total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetPosition {
    /// Who.
    pub member: MemberId,
    /// Of the amount.
    pub currency: Currency,
    /// Minor units; above 0 for who receives.
    pub minor: i128,
}

/// One payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetPayment {
    /// Of the amount.
    pub currency: Currency,
    /// Who pays.
    pub from: MemberId,
    /// Who is paid.
    pub to: MemberId,
    /// Minor units, above 0.
    pub minor: i128,
}

/// What a correction changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorrectionReport {
    /// Id of the line.
    pub line: String,
    /// New charge less old charge, micros.
    pub delta_micros: i128,
    /// New shares less old shares, micros.
    pub distribution: BTreeMap<MemberId, i128>,
}

/// Shares under their members' ids.
fn by_member(shares: &[Share]) -> BTreeMap<MemberId, i128> {
    shares.iter().map(|share| (share.member, share.micros.get())).collect()
}

impl LineReport {
    pub(super) fn new(line: &Line, distribution: &Distribution<String>) -> Self {
        Self {
            id: line.id.clone(),
            currency: line.currency,
            charge_micros: distribution.charge.get(),
            distribution: by_member(&distribution.shares),
        }
    }
}

impl CorrectionReport {
    pub(super) fn new(
        line: &Line,
        new: &Distribution<String>,
        old: &Distribution<String>,
    ) -> Result<Self, MoneyError> {
        let shares = difference(&new.shares, &old.shares)?;
        let delta = new.charge.checked_sub(old.charge)?;
        Ok(Self { line: line.id.clone(), delta_micros: delta.get(), distribution: by_member(&shares) })
    }
}

impl Report {
    /// The lists that come from all lines together; those of single lines stay empty.
    pub(super) fn of_netting(
        self_legs: BTreeMap<(MemberId, Currency), Micro>,
        netted: &Bilateral,
        net: &[Position],
        payments: &[Payment],
    ) -> Self {
        let self_legs = self_legs.into_iter().filter(|(_, micros)| !micros.is_zero());
        Self {
            lines: Vec::new(),
            self_legs: self_legs
                .map(|((member, currency), micros)| SelfLeg { member, currency, micros: micros.get() })
                .collect(),
            bilateral: netted.debts.iter().map(BilateralDebt::from).collect(),
            carry: netted.carry.iter().map(CarryOver::from).collect(),
            net: net.iter().map(NetPosition::from).collect(),
            payments: payments.iter().map(NetPayment::from).collect(),
            corrections: Vec::new(),
        }
    }
}

impl From<&Payment> for BilateralDebt {
    fn from(&Payment { currency, from, to, minor }: &Payment) -> Self {
        Self { from, to, currency, minor: minor.get() }
    }
}

impl From<&Payment> for NetPayment {
    fn from(&Payment { currency, from, to, minor }: &Payment) -> Self {
        Self { currency, from, to, minor: minor.get() }
    }
}

impl From<&Position> for NetPosition {
    fn from(&Position { currency, member, minor }: &Position) -> Self {
        Self { member, currency, minor: minor.get() }
    }
}

impl From<&Carry> for CarryOver {
    fn from(&Carry { a, b, currency, a_owes_b_micros }: &Carry) -> Self {
        Self { a, b, currency, a_owes_b_micros: a_owes_b_micros.get() }
    }
}
