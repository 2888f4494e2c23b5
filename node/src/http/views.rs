//! What answers look like: plain structs apart from the domain's types, so that a change
//! inside does not silently change the API.
//!
//! Ids, hashes and keys are lowercase hex, times RFC 3339 UTC with milliseconds. Integers
//! that can exceed 2⁵³ (quantities, weights, money) are decimal strings. Every `…_micros`
//! stands beside `amount`, an exact decimal in the currency's major unit; names stand
//! beside ids as `…_name`. Lists are in the order of the ledger's keys.
//!
//! *Deliberately absent:* any figure that the ledger does not have. Sums here are those
//! that the ledger's own functions compute.

pub(super) mod agreement;
pub(super) mod asset;
pub(super) mod block;
pub(super) mod entry;
pub(super) mod member;
pub(super) mod statement;

use serde::Serialize;
use syngraph_protocol::ids::{Height, Id, MemberId};
use syngraph_protocol::ledger::Ledger;
use syngraph_protocol::ledger::equivocation::Offence;
use syngraph_protocol::ledger::finding::{Finding, Severity, Subject};
use syngraph_protocol::time::Month;

/// A member beside its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct MemberRef {
    member: MemberId,
    member_name: String,
}

impl MemberRef {
    pub(super) fn new(ledger: &Ledger, member: MemberId) -> Self {
        Self { member, member_name: member_name(ledger, member) }
    }
}

/// The name of a member. Members are never forgotten, so an unknown one cannot stand in
/// any record.
pub(super) fn member_name(ledger: &Ledger, member: MemberId) -> String {
    ledger.members.get(&member).map_or_else(String::new, |known| known.profile.name.to_string())
}

/// The title of an agreement: that of the version in force, or of the first one.
fn agreement_name(ledger: &Ledger, id: Id) -> String {
    let current = ledger.agreements.get(&id).and_then(|known| ledger.terms.get(&(id, known.current)));
    current.map_or_else(String::new, |version| version.terms.title.to_string())
}

/// The title of an asset.
fn asset_name(ledger: &Ledger, id: Id) -> String {
    ledger.assets.get(&id).map_or_else(String::new, |asset| asset.title.to_string())
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct FindingView {
    id: Id,
    rule: String,
    severity: Severity,
    subject: SubjectView,
    rows: u64,
    quantity: String,
    first: Height,
    last: Height,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum SubjectView {
    Use {
        agreement: Id,
        agreement_name: String,
        grant: u16,
        #[serde(flatten)]
        member: MemberRef,
        month: Month,
    },
    Conduct {
        #[serde(flatten)]
        member: MemberRef,
        offence: Offence,
    },
}

impl SubjectView {
    fn new(ledger: &Ledger, subject: &Subject) -> Self {
        let member = MemberRef::new(ledger, subject.member());
        match *subject {
            Subject::Use { agreement, grant, month, .. } => {
                let agreement_name = agreement_name(ledger, agreement);
                Self::Use { agreement, agreement_name, grant, member, month }
            }
            Subject::Conduct { offence, .. } => Self::Conduct { member, offence },
        }
    }
}

/// Shows a finding.
pub(super) fn finding(ledger: &Ledger, id: Id, finding: &Finding) -> FindingView {
    FindingView {
        id,
        rule: finding.rule.clone(),
        severity: finding.severity,
        subject: SubjectView::new(ledger, &finding.subject),
        rows: finding.rows,
        quantity: finding.quantity.to_string(),
        first: finding.first,
        last: finding.last,
    }
}
