//! Statements: closed months, their lines, and what is paid for them.

use serde::Serialize;
use syngraph_protocol::ids::{Hash, Height, Id, MemberId};
use syngraph_protocol::ledger::Ledger;
use syngraph_protocol::ledger::period::{Accrual, Carried, Line, LineKey, Period, payments_of};
use syngraph_protocol::ledger::royalty::netting::{Payment, Position, positions};
use syngraph_protocol::money::{Currency, Micro, Minor, MoneyError};
use syngraph_protocol::time::Month;

use super::{MemberRef, agreement_name, asset_name, member_name};
use crate::http::cursor::Page;

/// A closed month, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct StatementView {
    month: Month,
    /// The block that closed it.
    closed: Height,
    /// The block that settled it.
    settled: Option<Height>,
    /// How many lines it has.
    lines_total: u64,
    /// RFC 6962 root over its canonical lines.
    statement: Hash,
}

/// A closed month with its lines and what is paid for them.
#[derive(Clone, Debug, Serialize)]
pub(in crate::http) struct StatementDetail {
    #[serde(flatten)]
    statement: StatementView,
    /// What each member owes each other, before netting.
    accruals: Vec<AccrualView>,
    /// What each member receives (above 0) or pays in all; empty until it is settled.
    positions: Vec<PositionView>,
    /// Who pays whom; empty until it is settled.
    payments: Vec<PaymentView>,
    /// The first lines.
    lines: Vec<LineView>,
    /// Where the list of lines goes on; none if these are all.
    lines_next: Option<String>,
}

/// One line: what a payer owes under one payment term for one month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct LineView {
    month: Month,
    agreement: Id,
    agreement_name: String,
    term: String,
    grant: u16,
    payer: MemberId,
    payer_name: String,
    /// The asset of the first version.
    asset: Option<Id>,
    asset_name: String,
    versions: Vec<PartView>,
    currency: Currency,
    quantity: String,
    charge_micros: Micro,
    amount: String,
    /// Of the charge, set off against an advance.
    recouped: Amount,
    shares: Vec<ShareView>,
    /// The rule that holds it back.
    held: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct PartView {
    version: Id,
    version_name: String,
    quantity: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Amount {
    micros: Micro,
    amount: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ShareView {
    #[serde(flatten)]
    member: MemberRef,
    #[serde(flatten)]
    share: Amount,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct AccrualView {
    currency: Currency,
    from: MemberId,
    from_name: String,
    to: MemberId,
    to_name: String,
    #[serde(flatten)]
    owed: Amount,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct PositionView {
    currency: Currency,
    #[serde(flatten)]
    member: MemberRef,
    minor: Minor,
    amount: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct PaymentView {
    currency: Currency,
    from: MemberId,
    from_name: String,
    to: MemberId,
    to_name: String,
    minor: Minor,
    amount: String,
}

/// What a pair carries into its next settlement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct CarryView {
    currency: Currency,
    a: MemberId,
    a_name: String,
    b: MemberId,
    b_name: String,
    a_owes_b_micros: Micro,
    amount: String,
}

impl Amount {
    fn new(micros: Micro, currency: Currency) -> Self {
        Self { micros, amount: micros.amount(currency) }
    }
}

/// Shows a closed month.
pub(in crate::http) fn statement(month: Month, period: &Period) -> StatementView {
    StatementView {
        month,
        closed: period.closed,
        settled: period.settled,
        lines_total: period.lines,
        statement: period.statement,
    }
}

/// Shows a closed month with a page of its lines.
///
/// # Errors
/// `MONEY-RANGE` if a position leaves i128, which settling excludes.
pub(in crate::http) fn detail(
    ledger: &Ledger,
    month: Month,
    period: &Period,
    lines: Page<LineView>,
) -> Result<StatementDetail, MoneyError> {
    let payments = if period.settled.is_some() { payments_of(ledger, month) } else { Vec::new() };
    let accrued = ledger.accruals.iter().filter(|((accrued_in, ..), _)| *accrued_in == month);
    let accruals = accrued.map(|(&(_, currency, from, to), &Accrual(owed))| AccrualView {
        currency,
        from,
        from_name: member_name(ledger, from),
        to,
        to_name: member_name(ledger, to),
        owed: Amount::new(owed, currency),
    });
    Ok(StatementDetail {
        statement: statement(month, period),
        accruals: accruals.collect(),
        positions: positions(&payments)?.iter().map(|net| position(ledger, net)).collect(),
        payments: payments.iter().map(|due| payment(ledger, due)).collect(),
        lines: lines.items,
        lines_next: lines.next,
    })
}

fn position(ledger: &Ledger, net: &Position) -> PositionView {
    PositionView {
        currency: net.currency,
        member: MemberRef::new(ledger, net.member),
        minor: net.minor,
        amount: net.minor.amount(net.currency),
    }
}

fn payment(ledger: &Ledger, due: &Payment) -> PaymentView {
    PaymentView {
        currency: due.currency,
        from: due.from,
        from_name: member_name(ledger, due.from),
        to: due.to,
        to_name: member_name(ledger, due.to),
        minor: due.minor,
        amount: due.minor.amount(due.currency),
    }
}

/// Shows a line.
pub(in crate::http) fn line(
    ledger: &Ledger,
    (month, agreement, term, payer): &LineKey,
    line: &Line,
) -> LineView {
    let asset = line.versions.first().map(|(version, _)| asset_of(ledger, *version));
    let shares = line.shares.iter().map(|share| ShareView {
        member: MemberRef::new(ledger, share.member),
        share: Amount::new(share.micros, line.currency),
    });
    LineView {
        month: *month,
        agreement: *agreement,
        agreement_name: agreement_name(ledger, *agreement),
        term: term.to_string(),
        grant: line.grant,
        payer: *payer,
        payer_name: member_name(ledger, *payer),
        asset,
        asset_name: asset.map_or_else(String::new, |asset| asset_name(ledger, asset)),
        versions: line.versions.iter().map(|part| part_view(ledger, *part)).collect(),
        currency: line.currency,
        quantity: line.quantity.to_string(),
        charge_micros: line.charge,
        amount: line.charge.amount(line.currency),
        recouped: Amount::new(line.recouped, line.currency),
        shares: shares.collect(),
        held: line.held.clone(),
    }
}

/// The asset of a version; a charge without versions names the asset itself.
fn asset_of(ledger: &Ledger, node: Id) -> Id {
    ledger.versions.get(&node).map_or(node, |version| version.published.asset)
}

fn part_view(ledger: &Ledger, (version, quantity): (Id, u64)) -> PartView {
    let label = ledger.versions.get(&version).map(|version| version.published.label.to_string());
    PartView { version, version_name: label.unwrap_or_default(), quantity: quantity.to_string() }
}

/// Shows what a pair carries.
pub(in crate::http) fn carry(
    ledger: &Ledger,
    (currency, a, b): (Currency, MemberId, MemberId),
    carried: &Carried,
) -> CarryView {
    CarryView {
        currency,
        a,
        a_name: member_name(ledger, a),
        b,
        b_name: member_name(ledger, b),
        a_owes_b_micros: carried.a_owes_b,
        amount: carried.a_owes_b.amount(currency),
    }
}
