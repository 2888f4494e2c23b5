//! Titles: whether a licensor may license what it grants.
//!
//! *Invariants.* Who controls an asset may; who does not needs an upstream grant that is
//! still in force, lets it sublicense, and covers everything that it grants on.
//!
//! *Deliberately absent:* the moment of use, at which the whole chain is asked once more
//! (see the rights), and caps, which count each grant's own use.

use super::{AgreementError, Grant, GrantAsset, GrantRef, Terms};
use crate::ids::{Id, MemberId};
use crate::ledger::Ledger;

/// The granted assets exist, and the licensor may license them: as controller, or by an
/// upstream grant that lets it sublicense and covers what it grants on.
pub(super) fn check_grant(ledger: &Ledger, terms: &Terms, grant: &Grant) -> Result<(), AgreementError> {
    for granted in &grant.assets {
        let id = granted.asset;
        let asset = ledger.assets.get(&id).ok_or(AgreementError::AssetUnknown { asset: id })?;
        for version in &granted.versions {
            if ledger.versions.get(version).is_none_or(|known| known.published.asset != id) {
                return Err(AgreementError::VersionForeign { version: *version });
            }
        }
        if asset.controller == grant.licensor {
            continue;
        }
        let upstream = terms.upstream.iter().filter_map(|known| live_grant(ledger, known, grant.licensor));
        let mut relied_on = upstream.filter(|held| may_sublicense(held, granted)).peekable();
        if relied_on.peek().is_none() {
            return Err(AgreementError::NotOwner { asset: id });
        }
        if !relied_on.any(|held| held.covers_use(grant)) {
            return Err(AgreementError::SubExceeds { asset: id });
        }
    }
    Ok(())
}

/// Whether a grant lets its licensees sublicense these versions of an asset.
fn may_sublicense(held: &Grant, granted: &GrantAsset) -> bool {
    let covers = |held: &GrantAsset| {
        let listed = |version| held.versions.contains(version);
        let all = held.versions.is_empty();
        held.asset == granted.asset
            && (all || (!granted.versions.is_empty() && granted.versions.iter().all(listed)))
    };
    held.is_sublicensable() && held.assets.iter().any(covers)
}

/// The grant, if its agreement is still in force and it is this member's.
fn live_grant<'a>(ledger: &'a Ledger, wanted: &GrantRef, licensee: MemberId) -> Option<&'a Grant> {
    let held = ledger.agreements.get(&wanted.agreement)?.in_force.last()?;
    granted_to(ledger, wanted, licensee).filter(|_| held.span.until > ledger.time())
}

/// The grant, if it is in an agreement that was ever in force and names this member
/// among its licensees.
fn granted_to<'a>(ledger: &'a Ledger, wanted: &GrantRef, licensee: MemberId) -> Option<&'a Grant> {
    let agreement = ledger.agreements.get(&wanted.agreement)?;
    let number = agreement.in_force.last()?.version;
    let terms = &ledger.terms.get(&(wanted.agreement, number))?.terms;
    let grant = terms.grants.get(usize::from(wanted.grant))?;
    (grant.licenses(licensee) && terms.party(licensee).is_some()).then_some(grant)
}

/// The same, if it also covers this asset version.
#[must_use]
pub fn grant_on<'a>(
    ledger: &'a Ledger,
    wanted: &GrantRef,
    version: Id,
    licensee: MemberId,
) -> Option<&'a Grant> {
    let asset = ledger.versions.get(&version)?.published.asset;
    granted_to(ledger, wanted, licensee).filter(|grant| grant.covers_asset(asset, version))
}
