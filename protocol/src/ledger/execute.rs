//! One block: entries in, a new state and every root out.

use std::collections::BTreeMap;

use super::outcome::{Event, Outcome};
use super::table::StateChange;
use super::usage::event_ids::EventRun;
use super::{Journal, Ledger, Voters, agreement, member, usage};
use crate::block::{BLOCK_VERSION, Block, Cut, CutPoint, Header, order_key};
use crate::codec;
use crate::entry::VerifiedEntry;
use crate::ids::{Hash, MemberId, PublicKey};
use crate::journal::{LinkError, Tip};
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_ENTRIES_MAX, BLOCK_ROWS_MAX, CUT_JOURNALS_MAX};
use crate::merkle;
use crate::refusal::{any_refusal, refusals};
use crate::time::UtcMs;

/// How far the floor advances at most in one block, so that no outage makes usage that
/// was held back late.
const FLOOR_STEP_MS: i64 = 60_000;

/// What a block's maker decides, apart from which entries it covers.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Block time; later than the parent's.
    pub time: UtcMs,
    /// Who assembles it.
    pub built_by: MemberId,
}

/// What executing a block gives.
#[derive(Clone, Debug)]
pub struct Executed {
    /// The state after it.
    pub ledger: Ledger,
    /// The block, its header complete.
    pub block: Block,
    /// Its entries in log order.
    pub entries: Vec<VerifiedEntry>,
    /// What became of each, in the same order.
    pub outcomes: Vec<Outcome>,
    /// What changed in the state.
    pub changes: Vec<StateChange>,
    /// The new event ids.
    pub runs: Vec<EventRun>,
    /// Members' days of events that the floor has passed.
    pub dropped_days: Vec<(MemberId, i64)>,
    /// What happened, for those who watch.
    pub events: Vec<Event>,
}

refusals! {
    /// Why entries cannot be a block.
    PlanError {
        Time { parent: UtcMs, got: UtcMs } = "BLK-TIME": "block time {got} is not after the parent's {parent}",
        Builder { member: MemberId } = "BLK-BUILDER": "member {member} does not vote, so it builds no blocks",
        Bytes { bytes: usize } = "BLK-BYTES": "{bytes} bytes of entries are more than a block may cover",
        Entries { count: usize } = "BLK-ENTRIES": "{count} entries are more than a block may cover",
        Rows { rows: usize } = "BLK-ROWS": "{rows} rows are more than a block may cover",
        Journals { count: usize } = "BLK-JOURNALS": "{count} journals are more than a block may advance",
        Height = "BLK-HEIGHT": "no height is left",
    }
}

any_refusal! {
    /// Why entries cannot be a block.
    BlockError {
        Plan(PlanError),
        Journal(JournalError),
        Key(member::MemberError),
    }
}

/// An entry that does not continue its journal where the last block left it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("journal {journal}: {link}")]
pub struct JournalError {
    /// The journal.
    pub journal: PublicKey,
    /// What is wrong.
    pub link: LinkError,
}

impl JournalError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        self.link.rule()
    }
}

impl Ledger {
    /// Executes a block over this state. The entries may come in any order; their
    /// journals must each continue where this state left them.
    ///
    /// # Errors
    /// [`BlockError`] if they cannot be a block; entries that are merely refused have
    /// outcomes instead.
    pub fn execute(&self, plan: &Plan, entries: Vec<VerifiedEntry>) -> Result<Executed, BlockError> {
        self.check_plan(plan, &entries)?;
        let (entries, tips) = self.arrange(entries)?;
        let mut next = self.clone();
        next.begin(plan)?;
        let outcomes: Vec<_> = entries.iter().map(|entry| next.apply(entry)).collect();
        next.extend_log(&entries, &tips);
        let (runs, dropped_days) = usage::seal(&mut next, self.floor());
        next.rotate_voters();
        let changes = next.drain();
        next.state_root = next.tree.update(&changes);
        let events = std::mem::take(&mut next.events);
        let cut = cut_of(&tips);
        let header = self.header(plan, &next, &cut, &outcomes);
        let block = Block { header, cut };
        next.set_block(&block);
        Ok(Executed { ledger: next, block, entries, outcomes, changes, runs, dropped_days, events })
    }

    fn check_plan(&self, plan: &Plan, entries: &[VerifiedEntry]) -> Result<(), BlockError> {
        if plan.time <= self.time() {
            return Err(PlanError::Time { parent: self.time(), got: plan.time }.into());
        }
        if self.voters().get(plan.built_by).is_none() {
            return Err(PlanError::Builder { member: plan.built_by }.into());
        }
        if entries.len() > BLOCK_ENTRIES_MAX {
            return Err(PlanError::Entries { count: entries.len() }.into());
        }
        let bytes = entries.iter().fold(0, |sum: usize, entry| sum.saturating_add(entry.bytes().len()));
        if bytes > BLOCK_BYTES_MAX {
            return Err(PlanError::Bytes { bytes }.into());
        }
        let rows = entries.iter().fold(0, |sum: usize, entry| sum.saturating_add(entry.body().rows()));
        if rows > BLOCK_ROWS_MAX {
            return Err(PlanError::Rows { rows }.into());
        }
        Ok(())
    }

    /// Puts entries into the order of the log and checks that each continues its
    /// journal; gives the journals' new tips.
    fn arrange(
        &self,
        mut entries: Vec<VerifiedEntry>,
    ) -> Result<(Vec<VerifiedEntry>, BTreeMap<PublicKey, Tip>), BlockError> {
        let mut ranks: BTreeMap<PublicKey, Hash> = BTreeMap::new();
        for entry in &entries {
            let journal = entry.head().journal;
            ranks.entry(journal).or_insert_with(|| order_key(&self.block, &journal));
        }
        if ranks.len() > CUT_JOURNALS_MAX {
            return Err(PlanError::Journals { count: ranks.len() }.into());
        }
        entries.sort_by_cached_key(|entry| (ranks.get(&entry.head().journal).copied(), entry.head().seq));
        let mut tips: BTreeMap<PublicKey, Tip> = BTreeMap::new();
        for entry in &entries {
            let head = entry.head();
            let tip = tips.entry(head.journal).or_insert_with(|| self.journal_tip(&head.journal));
            *tip = tip
                .append(head.seq, head.prev, entry.id())
                .map_err(|link| JournalError { journal: head.journal, link })?;
            self.may_cut(&head.journal, head.seq, entry.id())?;
        }
        Ok((entries, tips))
    }

    /// Opens the block: height, time, floor, and what block time alone changes.
    fn begin(&mut self, plan: &Plan) -> Result<(), BlockError> {
        let height = self.height().next().ok_or(PlanError::Height)?;
        let parent = self.block;
        self.lineage_steps.clear();
        let grace = self.params().usage_grace_ms;
        let chain = self.chain_mut();
        if chain.height > crate::ids::Height::GENESIS {
            chain.blocks.push(merkle::leaf_hash(parent.as_bytes()));
        }
        chain.height = height;
        chain.time = plan.time;
        let target = plan.time.minus_ms(grace).min(chain.floor.plus_ms(FLOOR_STEP_MS));
        chain.floor = chain.floor.max(target);
        self.wake(plan.time);
        self.forget_old(plan.time);
        Ok(())
    }

    /// Moves the agreement versions whose time has come.
    fn wake(&mut self, now: UtcMs) {
        while let Some(&(at, id, number)) = self.agenda.get_min().filter(|(at, ..)| *at <= now) {
            self.agenda.remove(&(at, id, number));
            agreement::advance(self, id, number, now);
        }
    }

    /// Forgets idempotency keys older than their window.
    fn forget_old(&mut self, now: UtcMs) {
        let oldest = now.minus_ms(self.params().idem_window_ms);
        while let Some(&(at, journal, idem)) = self.remembered_at.get_min().filter(|(at, ..)| *at < oldest) {
            self.remembered_at.remove(&(at, journal, idem));
            self.remembered.remove(&(journal, idem));
        }
    }

    fn extend_log(&mut self, entries: &[VerifiedEntry], tips: &BTreeMap<PublicKey, Tip>) {
        let chain = self.chain_mut();
        entries.iter().for_each(|entry| chain.log.push(entry.leaf()));
        for (journal, tip) in tips {
            self.journals.put(*journal, Journal(*tip));
        }
    }

    /// A change of members at this height holds from the next but one.
    fn rotate_voters(&mut self) {
        let members = self.member_set();
        let current = self.voters.get(&()).expect("every state has its voters");
        if current.after_next != members || current.next != members {
            let next = current.after_next.clone();
            self.voters.put((), Voters { next, after_next: members });
        }
    }

    fn header(&self, plan: &Plan, next: &Self, cut: &Cut, outcomes: &[Outcome]) -> Header {
        let leaves = outcomes.iter().map(|outcome| merkle::leaf_hash(&codec::encode(outcome)));
        Header {
            version: BLOCK_VERSION,
            network: self.network(),
            height: next.height(),
            time: plan.time,
            parent: self.block,
            built_by: plan.built_by,
            cut_root: cut.root(),
            log_size: next.log_size(),
            log_root: next.chain().log.root(),
            outcomes_root: merkle::root(&leaves.collect::<Vec<_>>()),
            state_root: next.state_root,
            members_hash: self.voters().hash(),
            next_members_hash: next.voters().hash(),
            rules_version: self.params().rules_version,
        }
    }
}

fn cut_of(tips: &BTreeMap<PublicKey, Tip>) -> Cut {
    let point = |(journal, tip): (&PublicKey, &Tip)| {
        let seq = crate::ids::Seq::new(tip.next.get().saturating_sub(1));
        CutPoint { journal: *journal, seq, entry: tip.last }
    };
    Cut::new(tips.iter().map(point).collect())
}
