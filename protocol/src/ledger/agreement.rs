//! Agreements: written by one party, binding once every party has signed the same terms.
//!
//! ```text
//! Proposed ─all signatures─▶ Signed ─term begins─▶ Active ─▶ Superseded | Expired
//! Proposed ─▶ Lapsed (deadline)
//! ```
//!
//! *Invariants.* Everybody signs the root of a tree of salted leaves over the full terms,
//! so that single clauses can be shown later without the others. An amendment is a
//! complete new version that names the hash of the one before. Changes of state are
//! computed from signatures and block time: no message activates anything.

use serde::{Deserialize, Serialize};

use super::member;
use super::table::Record;
use super::{At, Event, Ledger, Refusal};
use crate::codes::Meter;
use crate::ids::{Hash, Height, Id, MemberId, Salt};
use crate::limits::{AGREEMENT_VERSIONS_MAX, PROPOSAL_MS_MAX};
use crate::money::Currency;
use crate::name::Name;
use crate::refusal::refusals;
use crate::time::{Span, UtcMs};

pub mod terms;
mod title;

use title::check_grant;

pub use terms::{
    Cap, Exclusivity, Grant, GrantAsset, GrantRef, Kind, OnExcess, Payment, Royalty, Terms, TermsError,
};
pub use title::grant_on;

/// Proposes an agreement; the proposer thereby signs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Propose {
    /// The complete terms.
    pub terms: Terms,
    /// What the salts of the terms tree are derived from; random.
    pub salt: Salt,
    /// When the proposal lapses if it is not signed by all; 90 days later at most.
    pub deadline: Option<UtcMs>,
}

/// Signs a proposed version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Countersign {
    /// The agreement.
    pub agreement: Id,
    /// Which version of it, from 1.
    pub version: u32,
    /// The hash of the terms that are signed.
    pub terms_hash: Hash,
}

/// Proposes the next version of an agreement; the proposer thereby signs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amend {
    /// The agreement.
    pub agreement: Id,
    /// Terms hash of the version that is amended.
    pub previous: Hash,
    /// The complete new terms; they hold from the beginning of their span.
    pub terms: Terms,
    /// What the salts of the terms tree are derived from; random.
    pub salt: Salt,
    /// When the proposal lapses if it is not signed by all; 90 days later at most.
    pub deadline: Option<UtcMs>,
}

/// Where a version stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for signatures.
    Proposed,
    /// Signed by all; its span has not begun.
    Signed,
    /// In force.
    Active,
    /// Replaced by a later version.
    Superseded,
    /// Its span has ended.
    Expired,
    /// Was not signed by all before its deadline.
    Lapsed,
}

/// An agreement: its history of versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// Who proposed it first.
    pub proposer: MemberId,
    /// The block that proposed it.
    pub since: Height,
    /// How many versions were ever proposed.
    pub versions: u32,
    /// The newest version that was ever in force, and where it stands; before that the
    /// first one.
    pub current: u32,
    /// Where the current version stands.
    pub status: Status,
    /// Which version holds from which moment, in order of versions; a later one wins
    /// where it holds.
    pub in_force: Vec<InForce>,
}

/// The moments for which a version holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// The version.
    pub version: u32,
    /// Its span.
    pub span: Span,
}

/// One version of an agreement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreementVersion {
    /// The terms.
    pub terms: Terms,
    /// What the salts of the terms tree are derived from.
    pub salt: Salt,
    /// Root of the terms tree.
    pub terms_hash: Hash,
    /// Terms hash of the version before.
    pub previous: Option<Hash>,
    /// Who has signed, sorted.
    pub signed_by: Vec<MemberId>,
    /// When it lapses unless signed.
    pub deadline: Option<UtcMs>,
    /// Where it stands.
    pub status: Status,
    /// The block that proposed it.
    pub since: Height,
}

/// What the line of a payment term is: the same in every version that was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Who pays.
    pub payer: MemberId,
    /// The grant it prices.
    pub grant: u16,
    /// What is counted.
    pub meter: Meter,
    /// The currency.
    pub currency: Currency,
}

impl Pin {
    fn of(payment: &Payment) -> Self {
        let Payment { payer, grant, ref meter, .. } = *payment;
        Self { payer, grant, meter: meter.clone(), currency: payment.term.currency }
    }
}

impl Record for Pin {
    /// (agreement, payment term).
    type Key = (Id, Name);
    const KIND: u8 = 0x32;
}

impl Record for Agreement {
    type Key = Id;
    const KIND: u8 = 0x30;
}

impl Record for AgreementVersion {
    /// (agreement, version).
    type Key = (Id, u32);
    const KIND: u8 = 0x31;
}

refusals! {
    /// Why an act on an agreement is refused.
    AgreementError {
        Unknown { agreement: Id } = "AGR-UNKNOWN": "there is no agreement {agreement}",
        VersionUnknown { version: u32 } = "AGR-VERSION-UNKNOWN": "the agreement has no version {version}",
        NotParty { member: MemberId } = "AGR-NOT-PARTY": "member {member} is no party to it",
        Status { status: Status } = "AGR-STATUS": "it is {status:?}, so this cannot be done to it",
        HashDiffers { expected: Hash } = "AGR-HASH": "the terms of this version have hash {expected}",
        SignedTwice { member: MemberId } = "AGR-SIGNED-TWICE": "member {member} has already signed",
        Deadline = "AGR-DEADLINE": "the deadline has passed",
        Ended = "AGR-ENDED": "the span of the terms has already ended",
        AssetUnknown { asset: Id } = "AGR-ASSET-UNKNOWN": "it grants asset {asset}, which does not exist",
        VersionForeign { version: Id } = "AGR-VERSION-FOREIGN": "version {version} is not one of the granted asset",
        NotOwner { asset: Id } = "AGR-NOT-OWNER": "the licensor neither controls asset {asset} nor may sublicense it by an upstream grant",
        SubExceeds { asset: Id } = "AGR-SUB-EXCEEDS": "no upstream grant on asset {asset} covers the acts, purposes, places and time that are granted on",
        TermPinned { term: Name } = "AGR-TERM-PINNED": "an amendment must keep payer, grant, meter and currency of payment term {term}",
        VersionsMax = "AGR-VERSIONS-MAX": "the agreement has been amended as often as it may",
        Pending = "AGR-PENDING": "another version is waiting for signatures",
    }
}

impl Agreement {
    /// The version that holds at a moment of use.
    #[must_use]
    pub fn version_at(&self, at: UtcMs) -> Option<&InForce> {
        self.in_force.iter().rev().find(|held| held.span.contains(at))
    }

    /// Around `at`, the stretch in which nothing about versions changes.
    #[must_use]
    pub fn steady_span(&self, at: UtcMs) -> Span {
        let bounds = self.in_force.iter().flat_map(|held| [held.span.from, held.span.until]);
        let (mut from, mut until) = (UtcMs::from_ms(i64::MIN), UtcMs::OPEN);
        for bound in bounds {
            if bound <= at {
                from = from.max(bound);
            } else {
                until = until.min(bound);
            }
        }
        Span { from, until }
    }
}

impl AgreementVersion {
    /// When block time alone changes something about this version.
    pub(super) fn wakes_at(&self) -> Option<UtcMs> {
        match self.status {
            Status::Proposed => self.deadline,
            Status::Signed => Some(self.terms.term.from),
            Status::Active => Some(self.terms.term.until).filter(|until| *until != UtcMs::OPEN),
            Status::Superseded | Status::Expired | Status::Lapsed => None,
        }
    }
}

/// Applies `Propose`.
pub(super) fn propose(ledger: &mut Ledger, at: &At, deed: &Propose) -> Result<(), Refusal> {
    let version = new_version(ledger, at, &deed.terms, deed.salt, deed.deadline, None)?;
    let agreement = Agreement {
        proposer: at.member,
        since: at.height,
        versions: 1,
        current: 1,
        status: Status::Proposed,
        in_force: Vec::new(),
    };
    ledger.agreements.put(at.id(), agreement);
    ledger.emit(Event::AgreementProposed { agreement: at.id(), version: 1 });
    store_signed(ledger, at, at.id(), 1, version);
    Ok(())
}

/// Applies `Amend`.
pub(super) fn amend(ledger: &mut Ledger, at: &At, deed: &Amend) -> Result<(), Refusal> {
    let id = deed.agreement;
    let agreement = ledger.agreements.get(&id).ok_or(AgreementError::Unknown { agreement: id })?;
    if !matches!(agreement.status, Status::Active | Status::Signed) {
        return Err(AgreementError::Status { status: agreement.status }.into());
    }
    let current = standing(ledger, id, agreement)?;
    require_party(&current.terms, at.member)?;
    if current.terms_hash != deed.previous {
        return Err(AgreementError::HashDiffers { expected: current.terms_hash }.into());
    }
    let number = agreement.versions.checked_add(1).filter(|number| *number <= AGREEMENT_VERSIONS_MAX);
    let number = number.ok_or(AgreementError::VersionsMax)?;
    check_pinned(ledger, id, &deed.terms)?;
    // Who leaves by the amendment would have to sign it too.
    let leaves = current.terms.parties.iter().find(|party| deed.terms.party(party.member).is_none());
    if let Some(party) = leaves {
        return Err(AgreementError::NotParty { member: party.member }.into());
    }
    let amended = new_version(ledger, at, &deed.terms, deed.salt, deed.deadline, Some(deed.previous))?;
    if let Some(agreement) = ledger.agreements.get_mut(&id) {
        agreement.versions = number;
    }
    ledger.emit(Event::AgreementProposed { agreement: id, version: number });
    store_signed(ledger, at, id, number, amended);
    Ok(())
}

/// The version that an amendment would follow: the newest that did not lapse.
fn standing<'a>(
    ledger: &'a Ledger,
    id: Id,
    agreement: &Agreement,
) -> Result<&'a AgreementVersion, AgreementError> {
    for number in (1..=agreement.versions).rev() {
        let known = version(ledger, id, number)?;
        match known.status {
            Status::Lapsed => {}
            Status::Proposed => return Err(AgreementError::Pending),
            _ => return Ok(known),
        }
    }
    Err(AgreementError::VersionUnknown { version: agreement.current })
}

/// A payment term keeps its line for as long as the agreement lives, whether or not the
/// versions between have it.
fn check_pinned(ledger: &Ledger, id: Id, after: &Terms) -> Result<(), AgreementError> {
    for payment in &after.payments {
        let known = ledger.pins.get(&(id, payment.id.clone()));
        if known.is_some_and(|known| *known != Pin::of(payment)) {
            return Err(AgreementError::TermPinned { term: payment.id.clone() });
        }
    }
    Ok(())
}

/// Pins the payment terms of a version that all have signed.
fn pin(ledger: &mut Ledger, id: Id, terms: &Terms) {
    for payment in &terms.payments {
        let key = (id, payment.id.clone());
        if !ledger.pins.contains(&key) {
            ledger.pins.put(key, Pin::of(payment));
        }
    }
}

/// Checks terms against the state and makes the version that its proposer has signed.
fn new_version(
    ledger: &Ledger,
    at: &At,
    terms: &Terms,
    salt: Salt,
    deadline: Option<UtcMs>,
    previous: Option<Hash>,
) -> Result<AgreementVersion, Refusal> {
    require_party(terms, at.member)?;
    if terms.term.until <= at.time {
        return Err(AgreementError::Ended.into());
    }
    if deadline.is_some_and(|deadline| deadline <= at.time) {
        return Err(AgreementError::Deadline.into());
    }
    let latest = at.time.plus_ms(PROPOSAL_MS_MAX);
    for party in &terms.parties {
        member::active(ledger, party.member)?;
    }
    for grant in &terms.grants {
        check_grant(ledger, terms, grant)?;
    }
    Ok(AgreementVersion {
        terms: terms.clone(),
        salt,
        terms_hash: terms.root(&salt, previous.as_ref()),
        previous,
        signed_by: vec![at.member],
        // Nothing waits for ever: a version that does keeps all others out.
        deadline: Some(deadline.map_or(latest, |deadline| deadline.min(latest))),
        status: Status::Proposed,
        since: at.height,
    })
}

fn require_party(terms: &Terms, member: MemberId) -> Result<(), AgreementError> {
    terms.party(member).map(|_| ()).ok_or(AgreementError::NotParty { member })
}

fn version(ledger: &Ledger, id: Id, number: u32) -> Result<&AgreementVersion, AgreementError> {
    ledger.terms.get(&(id, number)).ok_or(AgreementError::VersionUnknown { version: number })
}

/// Applies `Countersign`.
pub(super) fn countersign(ledger: &mut Ledger, at: &At, deed: &Countersign) -> Result<(), Refusal> {
    let id = deed.agreement;
    if !ledger.agreements.contains(&id) {
        return Err(AgreementError::Unknown { agreement: id }.into());
    }
    let mut signed = version(ledger, id, deed.version)?.clone();
    if signed.status != Status::Proposed {
        return Err(AgreementError::Status { status: signed.status }.into());
    }
    require_party(&signed.terms, at.member)?;
    if signed.terms_hash != deed.terms_hash {
        return Err(AgreementError::HashDiffers { expected: signed.terms_hash }.into());
    }
    match signed.signed_by.binary_search(&at.member) {
        Ok(_) => return Err(AgreementError::SignedTwice { member: at.member }.into()),
        Err(position) => signed.signed_by.insert(position, at.member),
    }
    if is_complete(&signed) {
        // What was relied on may have gone since it was proposed.
        signed.terms.grants.iter().try_for_each(|grant| check_grant(ledger, &signed.terms, grant))?;
    }
    ledger.emit(Event::AgreementSigned { agreement: id, version: deed.version, member: at.member });
    store_signed(ledger, at, id, deed.version, signed);
    Ok(())
}

fn is_complete(version: &AgreementVersion) -> bool {
    version.terms.parties.iter().all(|party| version.signed_by.contains(&party.member))
}

/// Stores a version after a signature; with the last one it is signed, and in force if
/// its span has begun.
fn store_signed(ledger: &mut Ledger, at: &At, id: Id, number: u32, mut signed: AgreementVersion) {
    let all = is_complete(&signed);
    if all {
        signed.status = Status::Signed;
        pin(ledger, id, &signed.terms);
    }
    ledger.put_version(id, number, signed);
    if all {
        advance(ledger, id, number, at.time);
    }
}

/// Moves a version along as far as block time allows. Called when its last signature is
/// sealed and when its time has come.
pub(super) fn advance(ledger: &mut Ledger, id: Id, number: u32, now: UtcMs) {
    let Some(mut version) = ledger.terms.get(&(id, number)).cloned() else { return };
    let span = version.terms.term;
    let next = match version.status {
        Status::Proposed if version.deadline.is_some_and(|deadline| deadline <= now) => Status::Lapsed,
        Status::Signed if span.from <= now => Status::Active,
        Status::Active if span.until <= now => Status::Expired,
        _ => {
            set_status(ledger, id, number, version.status);
            return;
        }
    };
    version.status = next;
    ledger.put_version(id, number, version);
    if next == Status::Active {
        supersede(ledger, id, number, span.from);
        if let Some(agreement) = ledger.agreements.get_mut(&id) {
            agreement.current = number;
            agreement.in_force.push(InForce { version: number, span });
        }
    }
    set_status(ledger, id, number, next);
    ledger.emit(Event::AgreementMoved { agreement: id, version: number, status: next });
    // A span that is already over begins and ends in one block.
    if next == Status::Active && span.until <= now {
        advance(ledger, id, number, now);
    }
}

/// Ends the versions before `number` where it begins.
fn supersede(ledger: &mut Ledger, id: Id, number: u32, begins: UtcMs) {
    for earlier in 1..number {
        let Some(mut version) = ledger.terms.get(&(id, earlier)).cloned() else { continue };
        if matches!(version.status, Status::Active | Status::Signed) {
            version.status = Status::Superseded;
            ledger.put_version(id, earlier, version);
            ledger.emit(Event::AgreementMoved {
                agreement: id,
                version: earlier,
                status: Status::Superseded,
            });
        }
    }
    if let Some(agreement) = ledger.agreements.get_mut(&id) {
        for held in &mut agreement.in_force {
            held.span.until = held.span.until.min(begins);
        }
        agreement.in_force.retain(|held| !held.span.is_empty());
    }
}

fn set_status(ledger: &mut Ledger, id: Id, number: u32, status: Status) {
    match ledger.agreements.get(&id) {
        Some(agreement) if agreement.current == number && agreement.status != status => {}
        _ => return,
    }
    if let Some(agreement) = ledger.agreements.get_mut(&id) {
        agreement.status = status;
    }
}

/// The terms that hold at a moment of use, with their version's number.
#[must_use]
pub fn terms_at(ledger: &Ledger, agreement: Id, at: UtcMs) -> Option<(u32, &Terms)> {
    let held = ledger.agreements.get(&agreement)?.version_at(at)?;
    Some((held.version, &ledger.terms.get(&(agreement, held.version))?.terms))
}
