//! The outbox: what a key has to say, kept until the ledger has sealed it.
//!
//! ```text
//! Intent ─sign─▶ Signed ─node: accepted─▶ Accepted ─node: sealed─▶ gone
//!                   └─node: refused at the door─▶ gone; what follows is signed again
//! ```
//!
//! *Invariants.* An intent is durable before anything about it is sent, and so is what was
//! signed: a retry sends the very same bytes. Event ids and idempotency keys are part of
//! the intent and never change, not even when an entry must be signed again because one
//! before it was refused at the door and so never entered the journal. One process at a
//! time holds an outbox. What was signed is never replaced by anything else unless a node
//! has said that it did not enter the journal.
//!
//! *Deliberately absent:* the network and the clock. `submit` brings both.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use syngraph_protocol::codec;
use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::entry::{Body, Head, SignedEntry, Slot};
use syngraph_protocol::ids::{EntryId, Seq, Signature};
use syngraph_protocol::journal::Tip;
use syngraph_protocol::limits::ENTRY_BYTES_MAX;
use syngraph_protocol::time::UtcMs;

mod error;
mod record;
mod segments;

pub use error::OutboxError;
pub use record::Binding;
use record::{Checkpoint, Record};
use segments::Segments;

/// Most bytes of bodies that wait in an outbox; beyond it submitters wait.
pub const PENDING_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Most entries that wait in an outbox; beyond it submitters wait.
pub const PENDING_ENTRIES_MAX: usize = 65_536;
/// What a signed entry adds to its body, in bytes, at most.
const ENVELOPE_BYTES_MAX: usize = 218;
/// Longest body that fits a signed entry, in bytes.
pub const BODY_BYTES_MAX: usize = ENTRY_BYTES_MAX - ENVELOPE_BYTES_MAX;

/// What waits.
#[derive(Debug)]
struct Item {
    body: Body,
    body_bytes: usize,
    segment: u64,
    signed: Option<Signed>,
    is_accepted: bool,
}

#[derive(Clone, Debug)]
struct Signed {
    head: Head,
    signature: Signature,
    id: EntryId,
}

/// Everything that the records say.
#[derive(Debug)]
struct State {
    binding: Option<Binding>,
    /// Where the journal ends, everything signed included.
    tip: Tip,
    next_number: u64,
    /// By number. Accepted ones come first, then signed ones, then the rest.
    items: BTreeMap<u64, Item>,
    pending_bytes: usize,
}

/// What a node says about a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeTip {
    /// Whose journal it is.
    pub binding: Binding,
    /// Where it ends, as far as the node has accepted it.
    pub tip: Tip,
}

/// What comparing the outbox with a node's journal came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconciled {
    /// They agree; sending may go on.
    Ready,
    /// The node lacks entries that another node has acknowledged; ask again later.
    Behind,
    /// The node's journal goes on beyond what was signed here. Whether it contains this
    /// entry decides.
    Ask(EntryId),
}

/// Signed entries to be sent together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Which intents, in order of the journal.
    pub numbers: Vec<u64>,
    /// The entries, each prefixed by its length as u16 big-endian.
    pub frames: Vec<u8>,
}

/// Where an accepted entry is, so that its outcome can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which intent.
    pub number: u64,
    /// Its number in the journal.
    pub seq: Seq,
    /// Its id.
    pub id: EntryId,
}

/// A durable outbox, held by this process.
pub struct Outbox {
    segments: Segments,
    state: State,
    /// Held until the outbox is dropped.
    _lock: File,
}

fn lock(dir: &Path) -> Result<File, OutboxError> {
    let path = dir.join("lock");
    let io = |source| OutboxError::Io { path: path.clone(), source };
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only names the holder; the lock itself has already been refused.
            let _ = (&file).take(32).read_to_string(&mut holder);
            let holder = if holder.trim().is_empty() { "unknown".into() } else { holder.trim().to_owned() };
            return Err(OutboxError::Locked { dir: dir.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(io(source)),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io)?;
    Ok(file)
}

impl Outbox {
    /// Opens the outbox in a folder, or makes it.
    ///
    /// # Errors
    /// `OUTBOX-LOCKED`, `OUTBOX-IO`, `OUTBOX-CORRUPT`, `OUTBOX-INCONSISTENT`.
    pub fn open(dir: &Path) -> Result<Self, OutboxError> {
        fs::create_dir_all(dir).map_err(|source| OutboxError::Io { path: dir.to_owned(), source })?;
        let lock = lock(dir)?;
        let mut state = State {
            binding: None,
            tip: Tip::EMPTY,
            next_number: 0,
            items: BTreeMap::new(),
            pending_bytes: 0,
        };
        let (segments, found) = Segments::open(dir, state.checkpoint())?;
        let inconsistent = |what| OutboxError::Inconsistent { dir: dir.to_owned(), what };
        for (position, (segment, records)) in found.into_iter().enumerate() {
            let Some(Record::Checkpoint(checkpoint)) = records.first() else {
                return Err(inconsistent("a segment does not open with a checkpoint"));
            };
            if position == 0 {
                state.start_from(*checkpoint);
            } else if state.checkpoint() != *checkpoint {
                return Err(inconsistent(
                    "a segment is missing before the one whose checkpoint does not fit",
                ));
            }
            records.into_iter().skip(1).for_each(|record| state.apply(record, segment));
        }
        Ok(Self { segments, state, _lock: lock })
    }

    /// Whether another entry has to wait for others to leave.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.state.pending_bytes >= PENDING_BYTES_MAX || self.state.items.len() >= PENDING_ENTRIES_MAX
    }

    /// How many entries wait, in whatever state.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.items.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.items.is_empty()
    }

    /// Whose journal it feeds, once a node has told.
    #[must_use]
    pub fn binding(&self) -> Option<Binding> {
        self.state.binding
    }

    fn write(&mut self, record: Record) {
        self.segments.append(&record);
        self.state.apply(record, self.segments.current());
    }

    /// Takes an intent and gives it a number; it is durable after [`Self::sync`].
    pub fn add(&mut self, body: Body) -> u64 {
        let number = self.state.next_number;
        self.write(Record::Intent { number, body });
        number
    }

    /// Signs every intent that has no place in the journal yet. Nothing happens before a
    /// node has told whose key it is.
    pub fn sign(&mut self, key: &SecretKey, now: UtcMs) {
        let Some(Binding { network, member }) = self.state.binding else { return };
        let unsigned = self.state.items.iter().rev().take_while(|(_, item)| item.signed.is_none());
        let mut numbers: Vec<u64> = unsigned.map(|(number, _)| *number).collect();
        numbers.reverse();
        for number in numbers {
            let Some(item) = self.state.items.get(&number) else { continue };
            let tip = self.state.tip;
            let slot = Slot { network, member, seq: tip.next, prev: tip.last, claimed_at: now };
            let SignedEntry { head, signature, .. } = SignedEntry::sign(key, slot, item.body.clone());
            self.write(Record::Signed { number, head, signature });
        }
    }

    /// Puts everything on the platter.
    ///
    /// # Errors
    /// `OUTBOX-IO`; then nothing more may be sent or acknowledged.
    pub fn sync(&mut self) -> Result<(), OutboxError> {
        self.segments.sync()?;
        if self.segments.is_full() {
            self.segments.roll(self.state.checkpoint())?;
        }
        let oldest = self.state.items.values().next().map(|item| item.segment);
        self.segments.drop_before(oldest.unwrap_or_else(|| self.segments.current()))
    }

    /// The next signed entries that no node has accepted, within these bounds; at least
    /// one if there is one.
    #[must_use]
    pub fn batch(&self, entries_max: usize, bytes_max: usize) -> Batch {
        let mut batch = Batch::default();
        let unsent = self.state.items.iter().filter(|(_, item)| !item.is_accepted);
        for (number, item) in unsent.take(entries_max) {
            let Some(Signed { head, signature, .. }) = &item.signed else { break };
            let entry = SignedEntry { head: head.clone(), signature: *signature, body: item.body.clone() };
            let bytes = codec::encode(&entry);
            let is_over = batch.frames.len() + bytes.len() > bytes_max && !batch.numbers.is_empty();
            let (false, Ok(len)) = (is_over, u16::try_from(bytes.len())) else { break };
            batch.frames.extend(len.to_be_bytes());
            batch.frames.extend(bytes);
            batch.numbers.push(*number);
        }
        batch
    }

    /// Whether there are signed entries that no node has accepted.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.state.items.values().any(|item| !item.is_accepted && item.signed.is_some())
    }

    /// The accepted entries that still wait for a block, in order of the journal.
    pub fn unsealed(&self) -> impl Iterator<Item = Place> {
        let accepted = self.state.items.iter().take_while(|(_, item)| item.is_accepted);
        accepted.filter_map(|(number, item)| {
            let signed = item.signed.as_ref()?;
            Some(Place { number: *number, seq: signed.head.seq, id: signed.id })
        })
    }

    /// The first number of the journal that no node is known to have accepted, of what
    /// waits.
    #[must_use]
    pub fn first_unaccepted(&self) -> Option<Seq> {
        let item = self.state.items.values().find(|item| !item.is_accepted)?;
        item.signed.as_ref().map(|signed| signed.head.seq)
    }

    /// Everything that was signed and still waits.
    pub fn signed(&self) -> impl Iterator<Item = u64> {
        self.state.signed().map(|(number, _)| number)
    }

    /// Where an intent was signed to, if it still waits.
    #[must_use]
    pub fn place(&self, number: u64) -> Option<Place> {
        let signed = self.state.items.get(&number)?.signed.as_ref()?;
        Some(Place { number, seq: signed.head.seq, id: signed.id })
    }

    /// A node has acknowledged an entry.
    pub fn accepted(&mut self, number: u64) {
        self.write(Record::Accepted { number });
    }

    /// A node has refused an entry at the door.
    pub fn refused(&mut self, number: u64) {
        self.write(Record::Refused { number });
    }

    /// A block covers everything below this number of the journal.
    pub fn sealed(&mut self, below: Seq) {
        let is_first_below = |item: &Item| item.signed.as_ref().is_some_and(|signed| signed.head.seq < below);
        if self.state.items.values().next().is_some_and(is_first_below) {
            self.write(Record::Sealed { below });
        }
    }

    /// Compares with what a node has of the journal, and marks what it has accepted.
    /// `contains` answers an earlier [`Reconciled::Ask`].
    ///
    /// # Errors
    /// `OUTBOX-NETWORK`, `OUTBOX-FORKED`.
    pub fn reconcile(&mut self, node: NodeTip, contains: Option<bool>) -> Result<Reconciled, OutboxError> {
        match self.state.binding {
            Some(bound) if bound != node.binding => return Err(OutboxError::OtherNetwork { bound }),
            Some(_) => {}
            None => self.write(Record::Bound(node.binding)),
        }
        let signed: Vec<(u64, Signed)> = self.state.signed().collect();
        let (Some((_, first)), Some((_, last))) = (signed.first(), signed.last()) else {
            return self.adopt(node.tip);
        };
        let next = node.tip.next;
        if next < first.head.seq {
            return Ok(Reconciled::Behind);
        }
        if next > self.state.tip.next {
            match contains {
                None => return Ok(Reconciled::Ask(last.id)),
                Some(false) => return Err(OutboxError::Forked { seq: last.head.seq }),
                Some(true) => self.write(Record::Adopted(node.tip)),
            }
        } else {
            // The node's last entry is the one before the first, or one of those signed here.
            let ends_with = signed.iter().find(|(_, signed)| signed.head.seq.next() == Some(next));
            let expected = ends_with.map_or(first.head.prev, |(_, signed)| signed.id);
            if expected != node.tip.last {
                return Err(OutboxError::Forked { seq: next });
            }
        }
        self.state.mark_accepted_below(next);
        Ok(Reconciled::Ready)
    }

    /// With nothing signed here, the journal is what the node says, if it is no shorter
    /// than what was sealed.
    fn adopt(&mut self, tip: Tip) -> Result<Reconciled, OutboxError> {
        let known = self.state.tip;
        if tip.next < known.next {
            return Ok(Reconciled::Behind);
        }
        if tip.next == known.next && tip.last != known.last {
            return Err(OutboxError::Forked { seq: known.next });
        }
        if tip != known {
            self.write(Record::Adopted(tip));
        }
        Ok(Reconciled::Ready)
    }
}

impl State {
    fn checkpoint(&self) -> Checkpoint {
        Checkpoint { binding: self.binding, tip: self.tip, next_number: self.next_number }
    }

    fn start_from(&mut self, checkpoint: Checkpoint) {
        self.binding = checkpoint.binding;
        self.tip = checkpoint.tip;
        self.next_number = checkpoint.next_number;
    }

    fn signed(&self) -> impl Iterator<Item = (u64, Signed)> {
        self.items.iter().filter_map(|(number, item)| Some((*number, item.signed.clone()?)))
    }

    fn remove(&mut self, number: u64) -> Option<Item> {
        let item = self.items.remove(&number)?;
        self.pending_bytes -= item.body_bytes;
        Some(item)
    }

    fn mark_accepted_below(&mut self, next: Seq) {
        for item in self.items.values_mut() {
            item.is_accepted = item.signed.as_ref().is_some_and(|signed| signed.head.seq < next);
        }
    }

    /// What a record changes. Records about intents that are gone change nothing: a
    /// segment that told of them was dropped.
    fn apply(&mut self, record: Record, segment: u64) {
        match record {
            Record::Checkpoint(_) => {}
            Record::Bound(binding) => self.binding = Some(binding),
            Record::Adopted(tip) => self.tip = tip,
            Record::Intent { number, body } => {
                let body_bytes = codec::encode(&body).len();
                let item = Item { body, body_bytes, segment, signed: None, is_accepted: false };
                self.items.insert(number, item);
                self.next_number = number + 1;
                self.pending_bytes += body_bytes;
            }
            Record::Signed { number, head, signature } => {
                let id = head.entry_id(&signature);
                self.tip = Tip { next: head.seq.next().unwrap_or(head.seq), last: id };
                if let Some(item) = self.items.get_mut(&number) {
                    item.signed = Some(Signed { head, signature, id });
                }
            }
            Record::Accepted { number } => {
                if let Some(item) = self.items.get_mut(&number) {
                    item.is_accepted = true;
                }
            }
            Record::Refused { number } => self.withdraw(number),
            Record::Sealed { below } => self.drop_sealed(below),
        }
    }

    /// Takes a refused entry out of the journal, and everything signed after it.
    fn withdraw(&mut self, number: u64) {
        let Some(Item { signed: Some(Signed { head, .. }), .. }) = self.remove(number) else { return };
        self.tip = Tip { next: head.seq, last: head.prev };
        for item in self.items.range_mut(number..).map(|(_, item)| item) {
            item.signed = None;
            item.is_accepted = false;
        }
    }

    fn drop_sealed(&mut self, below: Seq) {
        let is_below = |item: &Item| item.signed.as_ref().is_some_and(|signed| signed.head.seq < below);
        while let Some((&number, item)) = self.items.first_key_value()
            && is_below(item)
        {
            self.remove(number);
        }
    }
}

#[cfg(test)]
mod tests;
