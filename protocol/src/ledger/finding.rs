//! Findings: what the ledger noticed and people should look at. A finding sums up all
//! cases of one rule about one subject; the cases themselves are in the log.

use serde::{Deserialize, Serialize};

use super::equivocation::Offence;
use super::table::Record;
use super::{Event, Ledger};
use crate::codec;
use crate::crypto::{self, Domain};
use crate::ids::{Height, Id, MemberId};
use crate::time::Month;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// Informs.
    I,
    /// Warns.
    W,
    /// An error: a right is missing, money is at stake, or somebody lied.
    E,
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Use under an agreement.
    Use {
        /// The agreement.
        agreement: Id,
        /// The grant.
        grant: u16,
        /// The member whose use it is.
        member: MemberId,
        /// The month of use.
        month: Month,
    },
    /// What a member's keys have signed.
    Conduct {
        /// The member.
        member: MemberId,
        /// What it is guilty of.
        offence: Offence,
    },
}

impl Subject {
    /// The member it concerns.
    #[must_use]
    pub const fn member(&self) -> MemberId {
        match self {
            Self::Use { member, .. } | Self::Conduct { member, .. } => *member,
        }
    }
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule that found it.
    pub rule: String,
    /// How grave it is.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// How many rows.
    pub rows: u64,
    /// How much in all, in the units of their meters; stops at the end of the range.
    pub quantity: u64,
    /// The block of the first case.
    pub first: Height,
    /// The block of the last case.
    pub last: Height,
}

impl Record for Finding {
    type Key = Id;
    const KIND: u8 = 0x60;
}

/// The id of the finding of a rule about a subject.
fn id(rule: &str, subject: &Subject) -> Id {
    Id::from_bytes(*crypto::hash(Domain::FINDING, &[&codec::encode(&(rule, subject))]).as_bytes())
}

/// Records more cases of a rule about a subject.
pub(super) fn record(
    ledger: &mut Ledger,
    rule: &'static str,
    severity: Severity,
    subject: Subject,
    rows: u64,
    quantity: u64,
) {
    let (id, height) = (id(rule, &subject), ledger.height());
    let mut finding = ledger.findings.get(&id).cloned().unwrap_or(Finding {
        rule: rule.to_owned(),
        severity,
        subject,
        rows: 0,
        quantity: 0,
        first: height,
        last: height,
    });
    finding.rows = finding.rows.saturating_add(rows);
    finding.quantity = finding.quantity.saturating_add(quantity);
    finding.last = height;
    ledger.findings.put(id, finding);
    ledger.emit(Event::Found { finding: id, rule: rule.to_owned() });
}
