//! What became of an entry, and what a block changed: what `apply` tells the world.

use serde::{Deserialize, Serialize};

use super::agreement::Status;
use super::equivocation::Offence;
use crate::ids::{Id, MemberId, PublicKey};
use crate::time::Month;

/// What became of an entry when it was sealed. Its canonical bytes stand under
/// `outcomes_root`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It took effect.
    Applied,
    /// It changed nothing.
    Refused {
        /// The rule it broke.
        rule: String,
    },
    /// Its rows were judged one by one.
    Usage {
        /// Rows that count: charged, or kept to reconcile with the reporter's.
        rated: u32,
        /// Rows that are recorded and not covered by their grant.
        flagged: u32,
        /// Rows that changed nothing.
        refused: Vec<RefusedRows>,
    },
}

/// Rows that were refused for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRows {
    /// The rule they broke.
    pub rule: String,
    /// Their positions in the report, rising.
    pub rows: Vec<u16>,
}

/// Something that happened in a block, for those who watch. Events are told, never read
/// by a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
#[allow(missing_docs, reason = "each field is the thing of its name")]
pub enum Event {
    /// A member was admitted.
    MemberAdmitted { member: MemberId },
    /// A key was admitted.
    KeyAdmitted { member: MemberId, key: PublicKey },
    /// A key was revoked.
    KeyRevoked { member: MemberId, key: PublicKey },
    /// A member was proved to have signed two statements that contradict each other.
    Equivocated { member: MemberId, offence: Offence },
    /// A change was proposed.
    ChangeProposed { proposal: Id },
    /// A proposal took effect.
    Enacted { proposal: Id },
    /// An asset was registered.
    AssetRegistered { asset: Id },
    /// A version was published.
    VersionPublished { version: Id },
    /// An asset has other owners.
    SplitChanged { asset: Id },
    /// Lineage was declared.
    LineageDeclared { version: Id },
    /// An agreement or amendment was proposed.
    AgreementProposed { agreement: Id, version: u32 },
    /// A party signed.
    AgreementSigned { agreement: Id, version: u32, member: MemberId },
    /// A version came into force, was replaced, expired or lapsed.
    AgreementMoved { agreement: Id, version: u32, status: Status },
    /// Usage was sealed.
    UsageSealed { member: MemberId, rated: u32, flagged: u32 },
    /// A finding was opened or grew.
    Found { finding: Id, rule: String },
    /// A month was closed.
    PeriodClosed { month: Month },
    /// A month was settled.
    PeriodSettled { month: Month },
}
