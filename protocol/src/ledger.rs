//! The state machine: the same history gives the same bytes, everywhere.
//!
//! A noun a room, each furnished alike: the types of its records and deeds, what can be
//! said of a deed without state (`check`), what it does (`apply`, which checks everything
//! before it changes anything), and the events it tells.
//!
//! *Invariants.* `execute` is pure: it reads the state, the plan and the entries, and
//! gives a new state; the old one stays as it is. Everything it reads is under
//! `state_root`, and it reads no past entry. Nothing here reads a clock, randomness, the
//! environment or a file.

use crate::block::Block;
use crate::codes::UnknownCode;
use crate::entry::{Body, Deed, VerifiedEntry};
use crate::ids::{EntryId, Height, Id, Idem, MemberId, PublicKey, Seq};
use crate::money::MoneyError;
use crate::name::NameError;
use crate::refusal::any_refusal;
use crate::time::UtcMs;

pub mod agreement;
pub mod asset;
pub mod equivocation;
mod execute;
pub mod finding;
pub mod lineage;
pub mod member;
pub mod outcome;
pub mod params;
pub mod period;
pub mod proposal;
pub mod rights;
pub mod royalty;
mod state;
mod state_tree;
pub mod table;
#[cfg(test)]
mod tests;
pub mod usage;

pub use execute::{BlockError, Executed, Plan};
pub use outcome::{Event, Outcome, RefusedRows};
pub use state::{Chain, Journal, Ledger, LoadError, Remembered, Voters};
pub use table::{Record, StateChange, Table, state_key};
pub use usage::event_ids::EventRun;

any_refusal! {
    /// Why a deed or report is refused.
    Refusal {
        Member(member::MemberError),
        Profile(member::ProfileError),
        Proposal(proposal::ProposalError),
        Asset(asset::AssetError),
        Lineage(lineage::LineageError),
        Agreement(agreement::AgreementError),
        Terms(agreement::TermsError),
        Usage(usage::UsageError),
        Period(period::PeriodError),
        Equivocation(equivocation::EquivocationError),
        Idem(IdemError),
        Name(NameError),
        Code(UnknownCode),
        Money(MoneyError),
    }
}

crate::refusal::refusals! {
    /// Why a repeated deed is refused.
    IdemError {
        Reused = "IDEM-REUSED": "this idempotency key was used for something else",
    }
}

/// Where and when a deed is applied.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// The block.
    pub height: Height,
    /// Block time.
    pub time: UtcMs,
    /// The entry.
    pub entry: EntryId,
    /// Who signed it.
    pub member: MemberId,
    /// With which key: whose journal the entry stands in.
    pub journal: PublicKey,
    /// Where in the journal.
    pub seq: Seq,
}

impl At {
    /// The id of whatever the entry creates.
    #[must_use]
    pub fn id(&self) -> Id {
        self.entry.into()
    }
}

impl Ledger {
    /// What a deed does.
    fn deed(&mut self, at: &At, deed: &Deed) -> Result<(), Refusal> {
        match deed {
            Deed::AdmitMember(deed) => member::admit_member(self, at, deed),
            Deed::AdmitKey(deed) => member::admit_key(self, at, deed),
            Deed::Approve(deed) => proposal::approve(self, at, *deed),
            Deed::RegisterAsset(deed) => asset::register(self, at, deed),
            Deed::PublishVersion(deed) => asset::publish(self, at, deed),
            Deed::DeclareLineage(deed) => lineage::declare(self, at, deed),
            Deed::SetSplit(deed) => asset::set_split(self, at, deed),
            Deed::Propose(deed) => agreement::propose(self, at, deed),
            Deed::Countersign(deed) => agreement::countersign(self, at, deed),
            Deed::Amend(deed) => agreement::amend(self, at, deed),
            Deed::ClosePeriod(deed) => period::close(self, at, *deed),
            Deed::Settle(deed) => period::settle(self, at, *deed),
            Deed::ReportEquivocation(deed) => equivocation::report(self, at, deed),
            Deed::RevokeKey(deed) => member::revoke(self, at, deed),
        }
    }

    /// The outcome that this journal's idempotency key already has, if any.
    fn first_outcome(&self, entry: &VerifiedEntry, idem: Idem) -> Option<Outcome> {
        let first = self.remembered.get(&(entry.head().journal, idem))?;
        if first.body == entry.head().body_hash {
            return Some(first.outcome.clone());
        }
        Some(Outcome::Refused { rule: IdemError::Reused.rule().to_owned() })
    }

    fn remember(&mut self, entry: &VerifiedEntry, idem: Idem, at: UtcMs, outcome: &Outcome) {
        let journal = entry.head().journal;
        let body = entry.head().body_hash;
        self.remembered_at.insert((at, journal, idem));
        self.remembered.put((journal, idem), Remembered { at, body, outcome: outcome.clone() });
    }

    /// Applies one entry; what it comes to is its outcome.
    fn apply(&mut self, entry: &VerifiedEntry) -> Outcome {
        let head = entry.head();
        let at = At {
            height: self.height(),
            time: self.time(),
            entry: entry.id(),
            member: head.member,
            journal: head.journal,
            seq: head.seq,
        };
        let refused = |refusal: &Refusal| Outcome::Refused { rule: refusal.rule().to_owned() };
        if let Err(refusal) = self.may_say(entry) {
            return refused(&refusal);
        }
        match entry.body() {
            Body::ReportUsage(report) => usage::report(self, &at, report),
            Body::Deed { idem, deed } => {
                if let Some(first) = self.first_outcome(entry, *idem) {
                    return first;
                }
                let outcome = match self.deed(&at, deed) {
                    Ok(()) => Outcome::Applied,
                    Err(refusal) => refused(&refusal),
                };
                self.remember(entry, *idem, at.time, &outcome);
                outcome
            }
        }
    }

    /// Whether the entry's key may say this: what doors ask before they take an entry,
    /// and what is asked again when it is sealed.
    ///
    /// # Errors
    /// The `KEY-…` and `MEM-…` refusals.
    pub fn may_say(&self, entry: &VerifiedEntry) -> Result<(), Refusal> {
        let head = entry.head();
        member::may_sign(self, entry)?;
        if let Body::ReportUsage(report) = entry.body()
            && let Some(member::KeyPurpose::App(scope)) = self.keys.get(&head.journal).map(|key| &key.purpose)
        {
            usage::check_scope(report, scope.agreements.as_ref())?;
        }
        Ok(())
    }

    /// Whether a block over this state may cover this entry of a journal, as far as its key
    /// is concerned: it may sign entries, its journal is not frozen, and it is neither
    /// revoked below the entry nor long ended.
    ///
    /// # Errors
    /// The `KEY-…` refusals.
    pub fn may_cut(&self, journal: &PublicKey, seq: Seq, id: EntryId) -> Result<(), member::MemberError> {
        use member::{KeyPurpose, MemberError};
        let key = self.keys.get(journal).ok_or(MemberError::KeyUnknown { key: *journal })?;
        if matches!(key.purpose, KeyPurpose::Validator | KeyPurpose::Transport) {
            return Err(MemberError::KeyPurpose { kind: crate::entry::BodyKind::ReportUsage });
        }
        key.counts(seq, id)?;
        let grace = self.params().usage_grace_ms;
        match key.until {
            Some(until) if self.time() >= until.plus_ms(grace) => Err(MemberError::KeyEnded { until }),
            _ => Ok(()),
        }
    }

    fn set_block(&mut self, block: &Block) {
        self.block = block.id();
    }
}
