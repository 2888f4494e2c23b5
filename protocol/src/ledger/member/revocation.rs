//! Revoking a key: from where on nothing of its journal counts.
//!
//! *Invariants.* A key is revoked once. What is sealed counts: a revocation never reaches
//! below it. What is not sealed yet and stands at or before the named entry can still be
//! sealed, and takes effect.
//!
//! *Deliberately absent:* replacing the keys of a node, or a root. A member that revokes
//! its root key can admit no others.

use serde::{Deserialize, Serialize};

use super::{At, Key, KeyPurpose, Ledger, MemberError, Refusal};
use crate::entry::BodyKind;
use crate::ids::{EntryId, PublicKey, Seq};
use crate::journal::Tip;
use crate::ledger::Event;

/// Revokes a key of the signer's own member. The root key may revoke any; every other
/// key itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeKey {
    /// The key.
    pub key: PublicKey,
    /// The last of its entries that counts; none if nothing does that is not sealed. What
    /// is sealed counts in any case.
    pub last: Option<(Seq, EntryId)>,
}

impl RevokeKey {
    /// Stateless check.
    ///
    /// # Errors
    /// `KEY-LAST`.
    pub fn check(&self) -> Result<(), MemberError> {
        self.asked().map(|_| ())
    }

    /// Where the journal is to end.
    fn asked(&self) -> Result<Tip, MemberError> {
        let Some((seq, last)) = self.last else { return Ok(Tip::EMPTY) };
        let next = seq.next().ok_or(MemberError::KeyLast { seq })?;
        Ok(Tip { next, last })
    }
}

impl Key {
    /// Whether this entry of its journal counts: the journal is not frozen, and not
    /// revoked below it or on another branch.
    ///
    /// # Errors
    /// `KEY-FROZEN`, `KEY-REVOKED`.
    pub fn counts(&self, seq: Seq, id: EntryId) -> Result<(), MemberError> {
        if let Some(since) = self.frozen {
            return Err(MemberError::KeyFrozen { since });
        }
        let Some(end) = self.revoked else { return Ok(()) };
        let on_another_branch = seq.next() == Some(end.next) && id != end.last;
        if seq >= end.next || on_another_branch { Err(MemberError::KeyRevoked) } else { Ok(()) }
    }
}

impl Ledger {
    /// From which number on no entry of a journal is ever sealed any more, and why: those
    /// have lapsed. None while the journal goes on, and for a key that is not registered.
    #[must_use]
    pub fn journal_ends(&self, journal: &PublicKey) -> Option<(Seq, MemberError)> {
        let key = self.keys.get(journal)?;
        let sealed = self.journal_tip(journal).next;
        if let Some(since) = key.frozen {
            return Some((sealed, MemberError::KeyFrozen { since }));
        }
        if let Some(end) = key.revoked {
            return Some((end.next.max(sealed), MemberError::KeyRevoked));
        }
        let until = key.until.filter(|until| self.time() >= until.plus_ms(self.params().usage_grace_ms))?;
        Some((sealed, MemberError::KeyEnded { until }))
    }
}

/// Applies `RevokeKey`.
pub(in crate::ledger) fn revoke(ledger: &mut Ledger, at: &At, deed: &RevokeKey) -> Result<(), Refusal> {
    let key = ledger.keys.get(&deed.key).ok_or(MemberError::KeyUnknown { key: deed.key })?;
    if key.member != at.member {
        return Err(MemberError::KeyMember { member: key.member }.into());
    }
    let by_root = ledger.keys.get(&at.journal).is_some_and(|signer| signer.purpose == KeyPurpose::Root);
    if !by_root && deed.key != at.journal {
        return Err(MemberError::KeyPurpose { kind: BodyKind::RevokeKey }.into());
    }
    if matches!(key.purpose, KeyPurpose::Validator | KeyPurpose::Transport) {
        return Err(MemberError::KeyNoJournal { key: deed.key }.into());
    }
    if key.revoked.is_some() {
        return Err(MemberError::KeyRevoked.into());
    }
    let sealed = sealed(ledger, at, &deed.key)?;
    let asked = deed.asked()?;
    let end = if asked.next > sealed.next { asked } else { sealed };
    let revoked = Key { revoked: Some(end), ..key.clone() };
    ledger.keys.put(deed.key, revoked);
    ledger.emit(Event::KeyRevoked { member: at.member, key: deed.key });
    Ok(())
}

/// Where a journal ends by the blocks before; a key that revokes itself has got as far as
/// this very entry.
fn sealed(ledger: &Ledger, at: &At, journal: &PublicKey) -> Result<Tip, MemberError> {
    if *journal != at.journal {
        return Ok(ledger.journal_tip(journal));
    }
    let next = at.seq.next().ok_or(MemberError::KeyLast { seq: at.seq })?;
    Ok(Tip { next, last: at.entry })
}
