//! Entries and how far they have come.

use serde::Serialize;
use syngraph_protocol::entry::{Body, Head, SignedEntry};
use syngraph_protocol::ids::{EntryId, Height, Signature};
use syngraph_protocol::ledger::Outcome;

/// How far an entry has come (design §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum State {
    /// Kept in a bounded buffer; promises nothing.
    Parked,
    /// Durable on this node.
    Accepted,
    /// Durable on nodes with a quorum of the voting power.
    Replicated,
    /// Covered by a committed block.
    Sealed,
    /// No block will ever cover it: its key has signed another entry in its place, or was
    /// revoked below it.
    Lapsed,
}

/// Where a sealed entry stands and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct Sealed {
    /// The block that covers it.
    pub(in crate::http) height: Height,
    /// Its position in the log.
    pub(in crate::http) index: u64,
    /// What became of it.
    pub(in crate::http) outcome: Outcome,
}

/// An entry that this node holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct EntryView {
    id: EntryId,
    state: State,
    height: Option<Height>,
    index: Option<u64>,
    outcome: Option<Outcome>,
    /// Why it was refused when it was sealed, or has lapsed.
    rule: Option<String>,
    /// How many rows of usage it reports.
    rows: usize,
    entry: Shown,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Shown {
    head: Head,
    signature: Signature,
    /// What it says; left out of reports unless it is asked for, because it is nearly all
    /// of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Body>,
}

impl EntryView {
    /// An entry and how far it has come. `body` says whether to show what it says: if not
    /// told, that of everything but reports of usage.
    pub(in crate::http) fn new(id: EntryId, entry: &SignedEntry, state: State, body: Option<bool>) -> Self {
        let is_report = matches!(entry.body, Body::ReportUsage(_));
        let body = body.unwrap_or(!is_report).then(|| entry.body.clone());
        Self {
            id,
            state,
            height: None,
            index: None,
            outcome: None,
            rule: None,
            rows: entry.body.rows(),
            entry: Shown { head: entry.head.clone(), signature: entry.signature, body },
        }
    }

    /// The same entry, sealed.
    pub(in crate::http) fn sealed(self, sealed: Sealed) -> Self {
        let Sealed { height, index, outcome } = sealed;
        let rule = match &outcome {
            Outcome::Refused { rule } => Some(rule.clone()),
            Outcome::Applied | Outcome::Usage { .. } => None,
        };
        let (height, index, outcome) = (Some(height), Some(index), Some(outcome));
        Self { state: State::Sealed, height, index, outcome, rule, ..self }
    }

    /// The same entry, lapsed.
    pub(in crate::http) fn lapsed(self, rule: &str) -> Self {
        Self { state: State::Lapsed, rule: Some(rule.to_owned()), ..self }
    }
}
