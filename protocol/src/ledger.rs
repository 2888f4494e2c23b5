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

use std::collections::BTreeSet;

use imbl::OrdSet;
use serde::{Deserialize, Serialize};

use crate::block::{Block, NO_BLOCK};
use crate::certificate::{MemberSet, Voter};
use crate::codec::DecodeError;
use crate::codes::UnknownCode;
use crate::entry::{Body, Deed, VerifiedEntry};
use crate::genesis::Charter;
use crate::ids::{BlockId, EntryId, Hash, Height, Id, Idem, MemberId, NetworkId, PublicKey};
use crate::journal::Tip;
use crate::merkle::Frontier;
use crate::money::MoneyError;
use crate::name::NameError;
use crate::refusal::any_refusal;
use crate::time::UtcMs;

pub mod agreement;
pub mod asset;
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
mod state_tree;
pub mod table;
#[cfg(test)]
mod tests;
pub mod usage;

pub use execute::{BlockError, Executed, Plan};
pub use outcome::{Event, Outcome, RefusedRows};
pub use table::{Record, StateChange, Table, state_key};
pub use usage::event_ids::EventRun;

use params::Params;
use state_tree::StateTree;
use usage::event_ids::{EventDay, EventIds};

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

/// The chain's own record: what one block hands to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    network: NetworkId,
    height: Height,
    time: UtcMs,
    /// Moments of use below it are no longer admissible.
    floor: UtcMs,
    /// Over all entries.
    log: Frontier,
    /// Over the ids of all blocks before the last.
    blocks: Frontier,
    rows_sealed: u64,
}

/// The members that vote on the next block and on the one after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voters {
    next: MemberSet,
    after_next: MemberSet,
}

/// Where the sealed part of a journal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal(pub Tip);

/// The first outcome of an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// When it was sealed.
    at: UtcMs,
    /// The hash of the body it was used for.
    body: Hash,
    /// What became of it.
    outcome: Outcome,
}

macro_rules! records {
    ($($record:ty, $key:ty, $kind:literal;)+) => {
        $(impl Record for $record {
            type Key = $key;
            const KIND: u8 = $kind;
        })+
    };
}

records! {
    Chain, (), 0x01;
    Voters, (), 0x03;
    Journal, PublicKey, 0x12;
    Remembered, (PublicKey, Idem), 0x14;
}

/// Why saved state cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A value or key is not canonical.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A key of no table.
    #[error("no table has kind {0:#04x}")]
    Kind(u8),
    /// An empty key.
    #[error("a state key is empty")]
    EmptyKey,
    /// A singleton is missing.
    #[error("the record of the chain, its parameters or its voters is missing")]
    Incomplete,
    /// The event ids of a day are not those that the state chains.
    #[error("the event ids of member {member}, day {day}, do not match the state")]
    Events {
        /// The reporting member.
        member: MemberId,
        /// Days since the epoch.
        day: i64,
    },
}

macro_rules! ledger {
    ($($(#[$doc:meta])* $vis:vis $table:ident: $record:ty,)+) => {
        /// The state after some block; cheap to clone.
        #[derive(Clone, Debug)]
        pub struct Ledger {
            $($(#[$doc])* $vis $table: Table<$record>,)+
            pub(super) event_ids: EventIds,
            tree: StateTree,
            state_root: Hash,
            block: BlockId,
            /// Agreement versions that block time alone will change: derived.
            agenda: OrdSet<(UtcMs, Id, u32)>,
            /// Idempotency keys by age: derived.
            remembered_at: OrdSet<(UtcMs, PublicKey, Idem)>,
            events: Vec<Event>,
        }

        impl Ledger {
            fn empty() -> Self {
                Self {
                    $($table: Table::default(),)+
                    event_ids: EventIds::default(),
                    tree: StateTree::default(),
                    state_root: Hash::from_bytes([0; 32]),
                    block: NO_BLOCK,
                    agenda: OrdSet::new(),
                    remembered_at: OrdSet::new(),
                    events: Vec::new(),
                }
            }

            /// Hands over what changed since the last call, in order of tables and keys.
            fn drain(&mut self) -> Vec<StateChange> {
                let mut changes = Vec::new();
                $(self.$table.drain(&mut changes);)+
                changes
            }

            /// Every value of the state, as changes from nothing.
            #[must_use]
            pub fn dump(&self) -> Vec<StateChange> {
                let mut all = Vec::new();
                $(self.$table.dump(&mut all);)+
                all
            }

            fn load_value(&mut self, key: &[u8], value: &[u8]) -> Result<(), LoadError> {
                let (kind, key) = key.split_first().ok_or(LoadError::EmptyKey)?;
                match *kind {
                    $(<$record as Record>::KIND => Ok(self.$table.load(key, value)?),)+
                    kind => Err(LoadError::Kind(kind)),
                }
            }
        }
    };
}

ledger! {
    chain: Chain,
    params: Params,
    voters: Voters,
    /// Members by id.
    pub members: member::Member,
    /// Keys, of all purposes.
    pub keys: member::Key,
    /// Where the sealed part of each journal ends.
    pub journals: Journal,
    /// Proposed changes, open and done.
    pub proposals: proposal::Proposal,
    remembered: Remembered,
    /// Assets.
    pub assets: asset::Asset,
    /// Versions of assets.
    pub versions: asset::Version,
    /// Declared lineage, by (child, parent).
    pub lineage: lineage::Link,
    /// Agreements.
    pub agreements: agreement::Agreement,
    /// Every version of every agreement.
    pub terms: agreement::AgreementVersion,
    /// What was metered.
    pub meters: usage::Metered,
    /// What was charged over all months.
    pub totals: usage::Total,
    /// Counts and chains of event ids.
    pub event_days: EventDay,
    /// Closed months.
    pub periods: period::Period,
    /// Lines of closed months.
    pub lines: period::Line,
    /// What each payment term charged over all months.
    pub line_totals: period::LineTotal,
    /// What members owe each other for closed months.
    pub accruals: period::Accrual,
    /// What pairs carry into their next settlement.
    pub carries: period::Carried,
    /// Payments of settled months.
    pub dues: period::Due,
    /// Findings.
    pub findings: finding::Finding,
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
}

impl At {
    /// The id of whatever the entry creates.
    #[must_use]
    pub fn id(&self) -> Id {
        self.entry.into()
    }
}

impl Ledger {
    /// The state that a charter founds. The charter must have passed its check.
    #[must_use]
    pub fn genesis(charter: &Charter) -> Self {
        let mut ledger = Self::empty();
        let params = charter.params.clone();
        let chain = Chain {
            network: charter.network(),
            height: Height::GENESIS,
            time: charter.time,
            floor: charter.time.minus_ms(params.usage_grace_ms),
            log: Frontier::default(),
            blocks: Frontier::default(),
            rows_sealed: 0,
        };
        ledger.chain.put((), chain);
        ledger.params.put((), params);
        for (id, founder) in charter.numbered() {
            member::register(&mut ledger, Height::GENESIS, id, founder.profile.clone(), founder.power);
        }
        let founders = ledger.member_set();
        ledger.voters.put((), Voters { next: founders.clone(), after_next: founders });
        let changes = ledger.drain();
        ledger.state_root = ledger.tree.update(&changes);
        ledger
    }

    /// Rebuilds a state from its saved values, its event ids in order of height, and the
    /// id of its block. The caller compares [`Self::state_root`] with the certified one:
    /// that proves every value, and the values prove the event ids.
    ///
    /// # Errors
    /// [`LoadError`] naming what does not fit.
    pub fn load(
        block: BlockId,
        values: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
        runs: impl IntoIterator<Item = EventRun>,
    ) -> Result<Self, LoadError> {
        let mut ledger = Self::empty();
        let mut changes = Vec::new();
        for (key, value) in values {
            ledger.load_value(&key, &value)?;
            changes.push(StateChange { key, value: Some(value) });
        }
        if ledger.chain.is_empty() || ledger.params.is_empty() || ledger.voters.is_empty() {
            return Err(LoadError::Incomplete);
        }
        ledger.state_root = ledger.tree.update(&changes);
        ledger.block = block;
        ledger.load_events(runs)?;
        ledger.index();
        Ok(ledger)
    }

    fn load_events(&mut self, runs: impl IntoIterator<Item = EventRun>) -> Result<(), LoadError> {
        let mut chains = std::collections::BTreeMap::new();
        for run in runs {
            let key = (run.member, run.day);
            let day = chains.entry(key).or_insert(EventDay::EMPTY);
            *day = day.extend(run.height, &run.ids);
            self.event_ids.load(&run);
        }
        let differing = self.event_days.iter().find(|(key, day)| chains.get(key) != Some(day));
        let unknown = chains.keys().find(|key| !self.event_days.contains(key));
        match differing.map(|(key, _)| key).or(unknown) {
            Some(&(member, day)) => Err(LoadError::Events { member, day }),
            None => Ok(()),
        }
    }

    /// Rebuilds what is derived from the tables.
    fn index(&mut self) {
        let waking = self.terms.iter().filter_map(|(&(id, number), v)| Some((v.wakes_at()?, id, number)));
        self.agenda = waking.collect();
        let remembered = self.remembered.iter().map(|(&(journal, idem), first)| (first.at, journal, idem));
        self.remembered_at = remembered.collect();
    }

    fn chain(&self) -> &Chain {
        self.chain.get(&()).expect("every state has the record of its chain")
    }

    fn chain_mut(&mut self) -> &mut Chain {
        self.chain.get_mut(&()).expect("every state has the record of its chain")
    }

    /// The parameters in force.
    #[must_use]
    pub fn params(&self) -> &Params {
        self.params.get(&()).expect("every state has its parameters")
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        self.chain().network
    }

    /// The height of the last block.
    #[must_use]
    pub fn height(&self) -> Height {
        self.chain().height
    }

    /// The time of the last block.
    #[must_use]
    pub fn time(&self) -> UtcMs {
        self.chain().time
    }

    /// Moments of use below it are no longer admissible.
    #[must_use]
    pub fn floor(&self) -> UtcMs {
        self.chain().floor
    }

    /// How many entries are sealed.
    #[must_use]
    pub fn log_size(&self) -> u64 {
        self.chain().log.size()
    }

    /// How many usage rows are sealed, refused ones not counted.
    #[must_use]
    pub fn rows_sealed(&self) -> u64 {
        self.chain().rows_sealed
    }

    /// The root of the state tree.
    #[must_use]
    pub fn state_root(&self) -> Hash {
        self.state_root
    }

    /// The id of the last block; [`NO_BLOCK`] at genesis.
    #[must_use]
    pub fn block_id(&self) -> BlockId {
        self.block
    }

    /// The members that vote on the next block.
    #[must_use]
    pub fn voters(&self) -> &MemberSet {
        &self.voters.get(&()).expect("every state has its voters").next
    }

    /// Where the sealed part of a journal ends.
    #[must_use]
    pub fn journal_tip(&self, journal: &PublicKey) -> Tip {
        self.journals.get(journal).map_or(Tip::EMPTY, |journal| journal.0)
    }

    /// The voters that the members table describes.
    fn member_set(&self) -> MemberSet {
        let voting = self.members.iter().filter(|(_, m)| m.status == member::MemberStatus::Active);
        let voters = voting.filter_map(|(&id, member)| {
            let key = member.profile.node?.validator;
            Some(Voter { member: id, key, power: member.power })
        });
        MemberSet::new(voters.collect())
    }

    fn emit(&mut self, event: Event) {
        self.events.push(event);
    }

    fn count_rows(&mut self, rows: u64) {
        let chain = self.chain_mut();
        chain.rows_sealed = chain.rows_sealed.saturating_add(rows);
    }

    /// Stores a version of an agreement and when it next changes by itself.
    fn put_version(&mut self, id: Id, number: u32, version: agreement::AgreementVersion) {
        let before = self.terms.get(&(id, number)).and_then(agreement::AgreementVersion::wakes_at);
        if let Some(at) = before {
            self.agenda.remove(&(at, id, number));
        }
        if let Some(at) = version.wakes_at() {
            self.agenda.insert((at, id, number));
        }
        self.terms.put((id, number), version);
    }

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
        let at = At { height: self.height(), time: self.time(), entry: entry.id(), member: head.member };
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
        member::may_sign(self, &head.journal, head.member, entry.body().kind())?;
        if let Body::ReportUsage(report) = entry.body()
            && let Some(member::KeyPurpose::App(scope)) = self.keys.get(&head.journal).map(|key| &key.purpose)
        {
            usage::check_scope(report, scope.agreements.as_ref())?;
        }
        Ok(())
    }

    /// Whether a block may cover entries of this journal after `seq`: its key may sign
    /// entries and is not revoked below.
    ///
    /// # Errors
    /// The `KEY-…` refusals.
    pub fn may_cut(&self, journal: &PublicKey, last: crate::ids::Seq) -> Result<(), member::MemberError> {
        use member::{KeyPurpose, MemberError};
        let key = self.keys.get(journal).ok_or(MemberError::KeyUnknown { key: *journal })?;
        if matches!(key.purpose, KeyPurpose::Validator | KeyPurpose::Transport) {
            return Err(MemberError::KeyPurpose { kind: crate::entry::BodyKind::ReportUsage });
        }
        if key.revoked.is_some_and(|(until, _)| last > until) {
            return Err(MemberError::KeyRevoked);
        }
        let grace = self.params().usage_grace_ms;
        match key.until {
            Some(until) if self.time() >= until.plus_ms(grace) => Err(MemberError::KeyEnded { until }),
            _ => Ok(()),
        }
    }

    /// The journals that have sealed entries or may have some.
    #[must_use]
    pub fn journal_keys(&self) -> BTreeSet<PublicKey> {
        self.keys.iter().map(|(key, _)| *key).collect()
    }

    fn set_block(&mut self, block: &Block) {
        self.block = block.id();
    }
}
