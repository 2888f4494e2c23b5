//! A node's disk in memory: what is written, what is durable, and what a crash leaves.
//!
//! *Invariants.* It promises what the store promises: entries are durable after a sync, or
//! after a block was kept or committed; blocks at once. After a crash nothing else is there
//! but, as luck has it, the first of the entries that were not synced.
//!
//! *Deliberately absent:* failing disks. The core ends with the first error.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use syngraph_node::core::ports::{Disk, StoreError};
use syngraph_protocol::block::Block;
use syngraph_protocol::certificate::{Certificate, CertificateError};
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{BlockId, EntryId, Hash, Height, PublicKey, Seq};
use syngraph_protocol::ledger::{Executed, Ledger};
use syngraph_protocol::replay;

use crate::engine::wal::Wal;

/// Most undecided blocks, as in the store.
const UNDECIDED_MAX: usize = 1_024;

type Place = (PublicKey, Seq, EntryId);

/// A block that was written, for whoever watches.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) height: Height,
    pub(crate) block: BlockId,
    pub(crate) state_root: Hash,
    pub(crate) entries: usize,
    pub(crate) certified: Result<(), CertificateError>,
    /// An entry that was sealed here before.
    pub(crate) twice: Option<EntryId>,
}

/// What a node keeps.
pub(crate) struct Platter {
    entries: Vec<VerifiedEntry>,
    synced: usize,
    blocks: Vec<(Block, Certificate)>,
    log: Vec<VerifiedEntry>,
    sealed: BTreeSet<EntryId>,
    undecided: BTreeMap<(Height, BlockId, Option<u32>), Block>,
    ledger: Ledger,
    genesis: Ledger,
    /// The engine's log of votes.
    pub(crate) wal: Wal,
    /// Whether a sync only says that it has happened: the fault that the simulator must find.
    lies: bool,
    committed: Vec<Committed>,
}

/// What a restart finds.
pub(crate) struct Found {
    pub(crate) ledger: Ledger,
    pub(crate) pending: Vec<VerifiedEntry>,
    pub(crate) undecided: Vec<(Block, Option<u32>)>,
}

impl Platter {
    pub(crate) fn new(genesis: Ledger, lies: bool) -> Self {
        Self {
            entries: Vec::new(),
            synced: 0,
            blocks: Vec::new(),
            log: Vec::new(),
            sealed: BTreeSet::new(),
            undecided: BTreeMap::new(),
            ledger: genesis.clone(),
            genesis,
            wal: Wal::new(Height::GENESIS),
            lies,
            committed: Vec::new(),
        }
    }

    fn sync(&mut self) {
        if !self.lies {
            self.synced = self.entries.len();
        }
    }

    /// How many entries and votes a crash may lose.
    pub(crate) fn at_risk(&self) -> usize {
        self.entries.len() - self.synced
    }

    /// Power is lost: of the entries that were not synced, the first `survive` remain.
    pub(crate) fn crash(&mut self, survive: usize) {
        self.entries.truncate(self.synced + survive);
        self.synced = self.entries.len();
    }

    /// The state after the last block.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn is_sealed(&self, id: &EntryId) -> bool {
        self.sealed.contains(id)
    }

    /// Sealed entries from an index of the log on, at most so many.
    pub(crate) fn log(&self, from: u64, count: usize) -> Vec<VerifiedEntry> {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        self.log.iter().skip(from).take(count).cloned().collect()
    }

    /// What was committed since the last call.
    pub(crate) fn take_committed(&mut self) -> Vec<Committed> {
        std::mem::take(&mut self.committed)
    }

    fn by_place(&self) -> BTreeMap<Place, &VerifiedEntry> {
        let place = |entry: &VerifiedEntry| (entry.head().journal, entry.head().seq, entry.id());
        self.entries.iter().map(|entry| (place(entry), entry)).collect()
    }

    /// Replays every block from genesis on, as the store does without its state.
    ///
    /// # Errors
    /// What is missing or differs.
    pub(crate) fn replay(&self) -> Result<Ledger, String> {
        let known = self.by_place();
        let mut ledger = self.genesis.clone();
        for (block, certificate) in &self.blocks {
            let height = block.header.height;
            let entries = under(block, &ledger, &known)?;
            let executed = replay::step(&ledger, block, certificate, entries);
            ledger = executed.map_err(|error| format!("block {height} does not replay: {error}"))?.ledger;
        }
        Ok(ledger)
    }

    /// What a restart finds; `from_genesis` if the state was of no use.
    ///
    /// # Errors
    /// What is missing or differs.
    pub(crate) fn recover(&self, from_genesis: bool) -> Result<Found, String> {
        let ledger = if from_genesis { self.replay()? } else { self.ledger.clone() };
        if ledger.state_root() != self.ledger.state_root() {
            return Err(format!("replaying gives another state at height {}", ledger.height()));
        }
        let mut seen = BTreeSet::new();
        let ahead = |entry: &&VerifiedEntry| {
            entry.head().seq >= ledger.journal_tip(&entry.head().journal).next && seen.insert(entry.id())
        };
        let pending = self.entries.iter().filter(ahead).cloned().collect();
        let undecided = self.undecided.iter().map(|((_, _, round), block)| (block.clone(), *round));
        Ok(Found { pending, undecided: undecided.collect(), ledger: self.ledger.clone() })
    }

    fn check(&self, executed: &Executed, certificate: &Certificate) -> Committed {
        let block = executed.block.id();
        let height = executed.block.header.height;
        let voters = self.ledger.voters();
        Committed {
            height,
            block,
            state_root: executed.ledger.state_root(),
            entries: executed.entries.len(),
            certified: certificate.verify(self.ledger.network(), height, block, voters),
            twice: executed.entries.iter().map(VerifiedEntry::id).find(|id| self.sealed.contains(id)),
        }
    }
}

/// The entries under a block, from its cut backwards.
fn under(
    block: &Block,
    ledger: &Ledger,
    known: &BTreeMap<Place, &VerifiedEntry>,
) -> Result<Vec<VerifiedEntry>, String> {
    let mut entries = Vec::new();
    for point in &block.cut.points {
        let first = ledger.journal_tip(&point.journal).next;
        let (mut seq, mut id) = (point.seq, point.entry);
        while seq >= first {
            let entry = known.get(&(point.journal, seq, id));
            let entry = entry.ok_or_else(|| {
                format!("block {} covers entry {id}, which is not on the disk", block.header.height)
            })?;
            id = entry.head().prev;
            entries.push((*entry).clone());
            match seq.get().checked_sub(1) {
                Some(before) => seq = Seq::new(before),
                None => break,
            }
        }
    }
    Ok(entries)
}

/// The core's handle to its disk.
#[derive(Clone)]
pub(crate) struct MemoryDisk(pub(crate) Rc<RefCell<Platter>>);

impl Disk for MemoryDisk {
    fn append_entry(&mut self, entry: &VerifiedEntry) -> Result<(), StoreError> {
        self.0.borrow_mut().entries.push(entry.clone());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.0.borrow_mut().sync();
        Ok(())
    }

    fn keep_undecided(&mut self, block: &Block, proposed_in: Option<u32>) -> Result<bool, StoreError> {
        let mut platter = self.0.borrow_mut();
        platter.sync();
        let name = (block.header.height, block.id(), proposed_in);
        let room = platter.undecided.len() < UNDECIDED_MAX || platter.undecided.contains_key(&name);
        if room {
            platter.undecided.insert(name, block.clone());
        }
        Ok(room)
    }

    fn commit(&mut self, executed: &Executed, certificate: &Certificate) -> Result<(), StoreError> {
        let mut platter = self.0.borrow_mut();
        let (height, expected) = (executed.block.header.height, platter.ledger.height().next());
        if expected != Some(height) {
            return Err(StoreError::HeightOrder { expected: expected.unwrap_or(height), got: height });
        }
        platter.sync();
        let committed = platter.check(executed, certificate);
        platter.committed.push(committed);
        platter.blocks.push((executed.block.clone(), certificate.clone()));
        for entry in &executed.entries {
            platter.sealed.insert(entry.id());
            platter.log.push(entry.clone());
        }
        platter.undecided.retain(|(kept, ..), _| *kept > height);
        platter.ledger = executed.ledger.clone();
        Ok(())
    }

    fn decided(&self, from: Height, to: Height) -> Result<Vec<(Block, Certificate)>, StoreError> {
        let platter = self.0.borrow();
        let within = |(block, _): &&(Block, Certificate)| (from..=to).contains(&block.header.height);
        Ok(platter.blocks.iter().filter(within).cloned().collect())
    }

    fn is_sealed(&self, id: &EntryId) -> Result<bool, StoreError> {
        Ok(self.0.borrow().is_sealed(id))
    }

    fn close(self) -> Result<(), StoreError> {
        Ok(())
    }
}
