//! Agreements and their versions.

use serde::Serialize;
use syngraph_protocol::ids::{Hash, Height, Id, MemberId, Salt};
use syngraph_protocol::ledger::Ledger;
use syngraph_protocol::ledger::agreement::{Agreement, AgreementVersion, InForce, Kind, Status, Terms};
use syngraph_protocol::time::UtcMs;

use super::{MemberRef, member_name};

/// Most earlier versions listed with their agreement; each can be asked for by number.
pub(in crate::http) const HISTORY_SHOWN_MAX: u32 = 100;

/// An agreement, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct AgreementView {
    id: Id,
    title: String,
    kind: Option<Kind>,
    parties: Vec<PartyView>,
    proposer: MemberId,
    proposer_name: String,
    since: Height,
    /// How many versions were ever proposed.
    versions: u32,
    /// The newest version that was ever in force; before that the first.
    current: u32,
    status: Status,
    in_force: Vec<InForce>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct PartyView {
    #[serde(flatten)]
    member: MemberRef,
    role: String,
}

/// An agreement with the terms in force and those that wait for signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct AgreementDetail {
    #[serde(flatten)]
    agreement: AgreementView,
    /// The current version.
    version: Option<VersionDetail>,
    /// A later version that waits for signatures.
    proposed: Option<VersionDetail>,
    /// The newest versions first, at most [`HISTORY_SHOWN_MAX`].
    history: Vec<VersionLine>,
}

/// One version without its terms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct VersionLine {
    version: u32,
    status: Status,
    terms_hash: Hash,
    since: Height,
    deadline: Option<UtcMs>,
    signed_by: Vec<MemberRef>,
    /// The parties whose signatures are missing.
    missing: Vec<MemberRef>,
}

/// One version with everything that a signer checks before signing: the hash is that of
/// these terms under this salt and the version before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct VersionDetail {
    agreement: Id,
    #[serde(flatten)]
    line: VersionLine,
    previous: Option<Hash>,
    salt: Salt,
    terms: Terms,
}

/// Shows an agreement; `current` is the record of its current version.
pub(in crate::http) fn agreement(
    ledger: &Ledger,
    id: Id,
    agreement: &Agreement,
    current: Option<&AgreementVersion>,
) -> AgreementView {
    let terms = current.map(|version| &version.terms);
    let parties = terms.map_or(&[][..], |terms| &terms.parties).iter();
    let parties = parties.map(|party| PartyView {
        member: MemberRef::new(ledger, party.member),
        role: party.role.to_string(),
    });
    AgreementView {
        id,
        title: terms.map_or_else(String::new, |terms| terms.title.to_string()),
        kind: terms.map(|terms| terms.kind),
        parties: parties.collect(),
        proposer: agreement.proposer,
        proposer_name: member_name(ledger, agreement.proposer),
        since: agreement.since,
        versions: agreement.versions,
        current: agreement.current,
        status: agreement.status,
        in_force: agreement.in_force.clone(),
    }
}

/// Shows an agreement with its versions, which `version_of` finds by number.
pub(in crate::http) fn detail<E>(
    ledger: &Ledger,
    id: Id,
    record: &Agreement,
    version_of: impl Fn(u32) -> Result<Option<AgreementVersion>, E>,
) -> Result<AgreementDetail, E> {
    let current = version_of(record.current)?;
    let newest = if record.versions > record.current { version_of(record.versions)? } else { None };
    let proposed = newest.filter(|version| version.status == Status::Proposed);
    let oldest_shown = record.versions.saturating_sub(HISTORY_SHOWN_MAX).saturating_add(1);
    let mut history = Vec::new();
    for number in (oldest_shown..=record.versions).rev() {
        let version = version_of(number)?;
        history.extend(version.map(|version| line(ledger, number, &version)));
    }
    Ok(AgreementDetail {
        agreement: agreement(ledger, id, record, current.as_ref()),
        version: current.map(|current| version(ledger, id, record.current, &current)),
        proposed: proposed.map(|proposed| version(ledger, id, record.versions, &proposed)),
        history,
    })
}

/// Shows one version with its terms.
pub(in crate::http) fn version(
    ledger: &Ledger,
    agreement: Id,
    number: u32,
    version: &AgreementVersion,
) -> VersionDetail {
    VersionDetail {
        agreement,
        line: line(ledger, number, version),
        previous: version.previous,
        salt: version.salt,
        terms: version.terms.clone(),
    }
}

fn line(ledger: &Ledger, number: u32, version: &AgreementVersion) -> VersionLine {
    let show = |member: &MemberId| MemberRef::new(ledger, *member);
    let parties = version.terms.parties.iter().map(|party| &party.member);
    VersionLine {
        version: number,
        status: version.status,
        terms_hash: version.terms_hash,
        since: version.since,
        deadline: version.deadline,
        signed_by: version.signed_by.iter().map(show).collect(),
        missing: parties.filter(|member| !version.signed_by.contains(member)).map(show).collect(),
    }
}
