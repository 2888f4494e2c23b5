//! What is held under a point of a cut, on whichever branch.
//!
//! *Invariant.* Only durable entries are found, and only whole runs of them.

use syngraph_protocol::block::{Cut, CutPoint};
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::Seq;
use syngraph_protocol::ledger::Ledger;

use super::Journals;

impl Journals {
    /// The entries under a proposed cut, if all of them are held and durable; otherwise
    /// the points that are not.
    pub fn under(&self, ledger: &Ledger, cut: &Cut) -> Result<Vec<VerifiedEntry>, Vec<CutPoint>> {
        let (mut entries, mut missing) = (Vec::new(), Vec::new());
        for point in &cut.points {
            match self.branch(ledger, point) {
                Some(branch) => entries.extend(branch),
                None => missing.push(*point),
            }
        }
        if missing.is_empty() { Ok(entries) } else { Err(missing) }
    }

    /// The durable entries from the sealed end of a journal up to a point, oldest first.
    #[must_use]
    pub fn branch(&self, ledger: &Ledger, point: &CutPoint) -> Option<Vec<VerifiedEntry>> {
        let sealed = ledger.journal_tip(&point.journal);
        let (mut seq, mut id, mut entries) = (point.seq, point.entry, Vec::new());
        // From the point backwards, since each entry names the one before.
        while seq >= sealed.next {
            let run = self.durable_at(&point.journal, seq).filter(|held| held.id() == id);
            let entry = run.or_else(|| self.branches.durable(point.journal, seq, id))?;
            entries.push(entry.clone());
            id = entry.head().prev;
            match seq.get().checked_sub(1) {
                Some(before) => seq = Seq::new(before),
                None => break,
            }
        }
        entries.reverse();
        (id == sealed.last && !entries.is_empty()).then_some(entries)
    }

    /// The durable entries of a branch from a place beyond the sealed part up to its end,
    /// oldest first; none if its end is not held. What is not looked at costs nothing.
    pub fn part(&self, from: Seq, end: &CutPoint) -> Option<impl Iterator<Item = &VerifiedEntry>> {
        let (journal, mut beside) = (end.journal, Vec::new());
        let before = |seq: Seq| seq.get().checked_sub(1).map(Seq::new).filter(|before| *before >= from);
        let mut joint = Some((end.seq, end.entry)).filter(|(seq, _)| *seq >= from);
        while let Some((seq, id)) = joint
            && let Some(entry) = self.branches.durable(journal, seq, id)
        {
            beside.push(entry);
            joint = before(seq).map(|seq| (seq, entry.head().prev));
        }
        let on_run = |(seq, id)| self.durable_at(&journal, seq).is_some_and(|held| held.id() == id);
        if joint.is_some_and(|joint| !on_run(joint)) {
            return None;
        }
        let run = joint.into_iter().flat_map(move |(last, _)| from.get()..=last.get());
        let run = run.filter_map(move |seq| self.durable_at(&journal, Seq::new(seq)));
        Some(run.chain(beside.into_iter().rev()))
    }
}
