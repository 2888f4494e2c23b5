//! What is given for gaps, and what is taken of what is given.
//!
//! *Invariants.* Of what is held, at most an answer's worth is looked at. Of what comes,
//! nothing is taken that was not asked for.

use std::collections::BTreeMap;

use syngraph_protocol::block::CutPoint;
use syngraph_protocol::entry::VerifiedEntry;

use super::View;
use super::message::{ANSWER_BYTES_MAX, Gap, POINTS_MAX, Response};

/// The held entries that fill gaps, oldest first, as far as an answer goes.
#[must_use]
pub fn answer(gaps: &[Gap], view: View<'_>) -> Vec<VerifiedEntry> {
    let (mut entries, mut bytes) = (Vec::new(), 0_usize);
    for gap in gaps.iter().take(POINTS_MAX) {
        let point = CutPoint { journal: gap.journal, seq: gap.to, entry: gap.last };
        // Whoever lacks sealed entries needs the log.
        if gap.from < view.sealed(&gap.journal) {
            continue;
        }
        // No further than the answer goes: a peer may ask for a long run many times over.
        for entry in view.journals.part(gap.from, &point).into_iter().flatten() {
            bytes = bytes.saturating_add(entry.bytes().len());
            if bytes > ANSWER_BYTES_MAX {
                return entries;
            }
            entries.push(entry.clone());
        }
    }
    entries
}

/// What of an answer was asked for: it is not for a peer to choose what is kept here.
pub(super) fn within(response: Option<Response>, gaps: &[Gap]) -> Vec<VerifiedEntry> {
    let Some(Response::Entries(mut entries)) = response else { return Vec::new() };
    let asked: BTreeMap<_, _> = gaps.iter().map(|gap| (gap.journal, gap.from..=gap.to)).collect();
    let is_asked = |(journal, seq)| asked.get(&journal).is_some_and(|run| run.contains(&seq));
    entries.retain(|entry| is_asked((entry.head().journal, entry.head().seq)));
    entries
}
