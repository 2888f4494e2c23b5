//! The state itself: its tables, what is derived from them, and how it is saved and
//! loaded.
//!
//! *Invariants.* Every record that a rule reads is in a table, and so under `state_root`.
//! What is derived can be rebuilt from the tables alone.

use std::collections::BTreeMap;

use imbl::OrdSet;
use serde::{Deserialize, Serialize};

use super::params::Params;
use super::state_tree::StateTree;
use super::usage::event_ids::{EventDay, EventIds, EventRun};
use super::{Event, Outcome, Record, StateChange, Table};
use super::{agreement, asset, equivocation, finding, lineage, member, period, proposal, usage};
use crate::block::NO_BLOCK;
use crate::certificate::{MemberSet, Voter};
use crate::codec::DecodeError;
use crate::genesis::Charter;
use crate::ids::{BlockId, Hash, Height, Id, Idem, MemberId, NetworkId, PublicKey};
use crate::journal::Tip;
use crate::merkle::Frontier;
use crate::time::{Month, UtcMs};

/// The chain's own record: what one block hands to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    pub(super) network: NetworkId,
    pub(super) height: Height,
    pub(super) time: UtcMs,
    /// Moments of use below it are no longer admissible.
    pub(super) floor: UtcMs,
    /// Over all entries.
    pub(super) log: Frontier,
    /// Over the ids of all blocks before the last.
    pub(super) blocks: Frontier,
    pub(super) rows_sealed: u64,
    /// The oldest month that is not closed.
    pub(super) open_month: Month,
}

/// The members that vote on the next block and on the one after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voters {
    pub(super) next: MemberSet,
    pub(super) after_next: MemberSet,
}

/// Where the sealed part of a journal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal(pub Tip);

/// The first outcome of an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// When it was sealed.
    pub(super) at: UtcMs,
    /// The hash of the body it was used for.
    pub(super) body: Hash,
    /// What became of it.
    pub(super) outcome: Outcome,
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
            pub(super) tree: StateTree,
            pub(super) state_root: Hash,
            pub(super) block: BlockId,
            /// Agreement versions that block time alone will change: derived.
            pub(super) agenda: OrdSet<(UtcMs, Id, u32)>,
            /// Versions by their asset: derived.
            pub(super) versions_of: OrdSet<(Id, Id)>,
            /// Binding lineage by (parent, child): derived.
            pub(super) children: OrdSet<(Id, Id)>,
            /// Idempotency keys by age: derived.
            pub(super) remembered_at: OrdSet<(UtcMs, PublicKey, Idem)>,
            pub(super) events: Vec<Event>,
            /// Links of lineage that each member's declarations followed in this block.
            pub(super) lineage_steps: BTreeMap<MemberId, usize>,
        }

        impl Ledger {
            pub(super) fn empty() -> Self {
                Self {
                    $($table: Table::default(),)+
                    event_ids: EventIds::default(),
                    tree: StateTree::default(),
                    state_root: Hash::from_bytes([0; 32]),
                    block: NO_BLOCK,
                    agenda: OrdSet::new(),
                    versions_of: OrdSet::new(),
                    children: OrdSet::new(),
                    remembered_at: OrdSet::new(),
                    events: Vec::new(),
                    lineage_steps: BTreeMap::new(),
                }
            }

            /// Hands over what changed since the last call, in order of tables and keys.
            pub(super) fn drain(&mut self) -> Vec<StateChange> {
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
    pub(super) chain: Chain,
    pub(super) params: Params,
    pub(super) voters: Voters,
    /// Members by id.
    pub members: member::Member,
    /// Keys, of all purposes.
    pub keys: member::Key,
    /// Where the sealed part of each journal ends.
    pub journals: Journal,
    /// Proposed changes, open and done.
    pub proposals: proposal::Proposal,
    pub(super) remembered: Remembered,
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
    /// What the line of each payment term is.
    pub pins: agreement::Pin,
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
    /// Proved equivocations, by member.
    pub equivocations: equivocation::Equivocation,
}

impl Ledger {
    /// The state that a charter founds. The charter must have passed its check.
    #[must_use]
    pub fn genesis(charter: &Charter) -> Self {
        let mut ledger = Self::empty();
        let params = charter.params.clone();
        let floor = charter.time.minus_ms(params.usage_grace_ms);
        let chain = Chain {
            network: charter.network(),
            height: Height::GENESIS,
            time: charter.time,
            floor,
            log: Frontier::default(),
            blocks: Frontier::default(),
            rows_sealed: 0,
            open_month: Month::of(floor).unwrap_or(Month::EPOCH),
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

    pub(super) fn load_events(&mut self, runs: impl IntoIterator<Item = EventRun>) -> Result<(), LoadError> {
        let mut chains = BTreeMap::new();
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
    pub(super) fn index(&mut self) {
        let waking = self.terms.iter().filter_map(|(&(id, number), v)| Some((v.wakes_at()?, id, number)));
        self.agenda = waking.collect();
        self.versions_of = self.versions.iter().map(|(&id, known)| (known.published.asset, id)).collect();
        let binding = self.lineage.iter().filter(|(_, link)| link.binds);
        self.children = binding.map(|(&(child, parent), _)| (parent, child)).collect();
        let remembered = self.remembered.iter().map(|(&(journal, idem), first)| (first.at, journal, idem));
        self.remembered_at = remembered.collect();
    }

    pub(super) fn chain(&self) -> &Chain {
        self.chain.get(&()).expect("every state has the record of its chain")
    }

    pub(super) fn chain_mut(&mut self) -> &mut Chain {
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

    /// The oldest month that is not closed.
    #[must_use]
    pub fn open_month(&self) -> Month {
        self.chain().open_month
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
    pub(super) fn member_set(&self) -> MemberSet {
        let voting = self.members.iter().filter(|(_, m)| m.status == member::MemberStatus::Active);
        let voters = voting.filter_map(|(&id, member)| {
            let key = member.profile.node?.validator;
            Some(Voter { member: id, key, power: member.power })
        });
        MemberSet::new(voters.collect())
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.events.push(event);
    }

    pub(super) fn count_rows(&mut self, rows: u64) {
        let chain = self.chain_mut();
        chain.rows_sealed = chain.rows_sealed.saturating_add(rows);
    }

    /// Stores a version of an agreement and when it next changes by itself.
    pub(super) fn put_version(&mut self, id: Id, number: u32, version: agreement::AgreementVersion) {
        let before = self.terms.get(&(id, number)).and_then(agreement::AgreementVersion::wakes_at);
        if let Some(at) = before {
            self.agenda.remove(&(at, id, number));
        }
        if let Some(at) = version.wakes_at() {
            self.agenda.insert((at, id, number));
        }
        self.terms.put((id, number), version);
    }

    /// Stores a version of an asset.
    pub(super) fn publish(&mut self, id: Id, version: asset::Version) {
        self.versions_of.insert((version.published.asset, id));
        self.versions.put(id, version);
    }

    /// Stores a link of lineage.
    pub(super) fn put_link(&mut self, child: Id, link: lineage::Link) {
        let parent = link.parent.version;
        if link.binds {
            self.children.insert((parent, child));
        }
        self.lineage.put((child, parent), link);
    }
}
