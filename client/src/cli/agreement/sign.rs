//! Signing what somebody else proposed.
//!
//! *Invariants.* The hash that is signed is computed here from the terms that are shown.
//! A node that shows other terms than those of the hash it tells, or names a version
//! before that was never there, is found out and nothing is signed.

use syngraph_client::api::{Node, VersionView};
use syngraph_protocol::entry::Deed;
use syngraph_protocol::ids::{Hash, Id};
use syngraph_protocol::ledger::agreement::{Countersign, Status};

use super::summary;
use crate::cli::CliError;
use crate::cli::names::Noun;
use crate::cli::session::Session;
use crate::output::{Answer, note};

/// The hash of a version's terms, computed from the terms themselves.
///
/// # Errors
/// `AGR-HASH` if the node tells another.
pub(super) fn computed_hash(version: &VersionView) -> Result<Hash, CliError> {
    let computed = version.terms.root(&version.salt, version.previous.as_ref());
    if computed == version.terms_hash {
        return Ok(computed);
    }
    Err(CliError::TermsHash { computed, claimed: version.terms_hash })
}

/// Checks a proposed version, and gives the hash to sign.
fn check(version: &VersionView, expected: Option<Hash>) -> Result<Hash, CliError> {
    let computed = computed_hash(version)?;
    if let Some(claimed) = expected.filter(|expected| *expected != computed) {
        return Err(CliError::TermsHash { computed, claimed });
    }
    if version.status != Status::Proposed {
        let status = format!("{:?}", version.status).to_lowercase();
        return Err(CliError::NothingToSign { version: version.version, status });
    }
    Ok(computed)
}

/// Shows a version, checks it, and signs it.
///
/// # Errors
/// `AGR-HASH`, `AGR-PREVIOUS`, `AGR-STATUS`, and as the node refuses.
pub(super) async fn sign(
    session: &Session,
    agreement: Id,
    version: Option<u32>,
    expected: Option<Hash>,
) -> Result<Answer, CliError> {
    let node = session.node()?;
    let number = match version {
        Some(number) => number,
        None => newest(&node, agreement).await?,
    };
    let version = node.agreement_version(&agreement, number).await?;
    let terms_hash = check(&version, expected)?;
    if let Some(previous) = version.previous {
        check_previous(&node, agreement, number, previous).await?;
    }
    let directory = session.directory([Noun::Member, Noun::Asset, Noun::Version]).await?;
    note(&summary::describe(&version, &directory));
    let deed = Countersign { agreement, version: number, terms_hash };
    let done = format!("version {number} of agreement {agreement} is signed");
    session.act(Deed::Countersign(deed), &done).await
}

async fn newest(node: &Node, agreement: Id) -> Result<u32, CliError> {
    #[derive(serde::Deserialize)]
    struct Versions {
        versions: u32,
    }
    let found: Versions = node.get(&format!("/v1/agreements/{agreement}")).await?;
    Ok(found.versions)
}

/// Whether an earlier version has this hash, computed from its own terms. Lapsed proposals
/// may lie between.
async fn check_previous(node: &Node, agreement: Id, version: u32, previous: Hash) -> Result<(), CliError> {
    for earlier in (1..version).rev() {
        if computed_hash(&node.agreement_version(&agreement, earlier).await?)? == previous {
            return Ok(());
        }
    }
    Err(CliError::TermsPrevious { version, previous })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::file::tests::{TOML, draft};
    use super::*;
    use crate::output::Exit;
    use syngraph_protocol::ids::Salt;

    pub(in crate::cli::agreement) fn version() -> VersionView {
        let (terms, salt) = (draft(TOML).expect("sound").terms, Salt::from_bytes([7; 32]));
        let terms_hash = terms.root(&salt, None);
        let agreement = Id::from_bytes([9; 32]);
        VersionView {
            agreement,
            version: 1,
            status: Status::Proposed,
            terms_hash,
            previous: None,
            salt,
            terms,
        }
    }

    #[test]
    fn what_is_signed_is_what_was_computed() {
        let sound = version();
        assert_eq!(check(&sound, None).expect("sound"), sound.terms_hash);
        assert_eq!(check(&sound, Some(sound.terms_hash)).expect("sound"), sound.terms_hash);
        let refused = check(&sound, Some(Hash::from_bytes([1; 32]))).expect_err("another hash");
        assert_eq!((refused.rule(), refused.exit()), ("AGR-HASH", Exit::Unsound));
    }

    #[test]
    fn a_node_that_shows_other_terms_than_it_claims_is_found_out() {
        let mut terms = version();
        terms.terms.due_days += 1;
        let mut salt = version();
        salt.salt = Salt::from_bytes([8; 32]);
        let mut previous = version();
        previous.previous = Some(Hash::from_bytes([1; 32]));
        for tampered in [terms, salt, previous] {
            assert_eq!(check(&tampered, None).expect_err("tampered").rule(), "AGR-HASH");
        }
    }

    #[test]
    fn only_what_waits_for_signatures_is_signed() {
        let active = VersionView { status: Status::Active, ..version() };
        let refused = check(&active, None).expect_err("in force");
        assert_eq!(refused.to_string(), "version 1 is active, so there is nothing to sign");
        assert_eq!((refused.rule(), refused.exit()), ("AGR-STATUS", Exit::Failed));
    }
}
