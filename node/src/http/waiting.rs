//! How far entries have come, and waiting until they have come further.
//!
//! *Invariants.* Waiting changes how long an answer takes and never what it says: whoever
//! waits is told the state that was reached, and running out of time is no error. Every
//! wait ends after [`WAIT_MAX`], and when the node stops. An entry is called *lapsed* only
//! if the decided state rules out for ever that a block covers it.
//!
//! The sealed entries of a journal are a beginning of it, and so are the replicated ones:
//! to wait for several entries of one journal is to wait for the last.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use syngraph_protocol::ids::{EntryId, PublicKey, Seq};
use syngraph_protocol::ledger::Ledger;
use tokio::time::{Instant, sleep_until};

use super::doors::Doors;
use super::problem::Problem;
use super::stall;
use super::views::entry::{Sealed, State};
use crate::gate::Gate;
use crate::store::Reader;

/// Longest wait for an entry to come further.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(30);

/// How far entries should have come before the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Wait {
    /// Durable here.
    #[default]
    Accepted,
    /// Durable at nodes with a quorum of the power.
    Replicated,
    /// Covered by a block.
    Sealed,
}

impl Wait {
    /// The state that ends the wait.
    pub(super) const fn state(self) -> State {
        match self {
            Self::Accepted => State::Accepted,
            Self::Replicated => State::Replicated,
            Self::Sealed => State::Sealed,
        }
    }
}

/// An entry's place: its journal and its number there.
pub(super) type Place = (PublicKey, Seq);

/// Waits until the entries at these places have come so far, or never will.
pub(super) async fn wait_for(
    doors: &Doors,
    gate: &Gate,
    wait: Wait,
    places: impl IntoIterator<Item = Place>,
    deadline: Instant,
) {
    let mut last: BTreeMap<PublicKey, Seq> = BTreeMap::new();
    for (journal, seq) in places {
        let known = last.entry(journal).or_insert(seq);
        *known = seq.max(*known);
    }
    tokio::select! {
        () = all_reach(gate, wait, last) => {}
        () = sleep_until(deadline) => {}
        () = doors.stopped() => {}
    }
}

async fn all_reach(gate: &Gate, wait: Wait, last: BTreeMap<PublicKey, Seq>) {
    for (journal, seq) in last {
        let reached = match wait {
            Wait::Accepted => Ok(()),
            Wait::Replicated => gate.replicated(journal, seq).await,
            Wait::Sealed => gate.covered(journal, seq).await,
        };
        // A node that is busy or stopping tells how far the entries have come, like one out
        // of time.
        if reached.is_err() {
            return;
        }
    }
}

/// Why no block will ever cover an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lapse {
    /// Stable rule id.
    pub(super) rule: &'static str,
    /// The same in words.
    pub(super) detail: String,
}

/// Whether an entry at this place, which no block up to this state covers, has lapsed.
pub(super) fn lapse(ledger: &Ledger, (journal, seq): Place) -> Option<Lapse> {
    if seq < ledger.journal_tip(&journal).next {
        let detail = "another entry is sealed at its place in the journal".to_owned();
        return Some(Lapse { rule: "JRN-FORK", detail });
    }
    let (_, why) = ledger.journal_ends(&journal).filter(|(end, _)| *end <= seq)?;
    Some(Lapse { rule: why.rule(), detail: why.to_string() })
}

/// Where an entry is sealed and what became of it.
pub(super) fn sealed(reader: &Reader, id: EntryId) -> Result<Option<Sealed>, Problem> {
    let inside = |error| Problem::internal(&error);
    let Some(index) = reader.find(&id).map_err(inside)? else { return Ok(None) };
    let height = reader.height_of(index).map_err(inside)?;
    let outcome = reader.outcome(index).map_err(inside)?;
    Ok(height.zip(outcome).map(|(height, outcome)| Sealed { height, index, outcome }))
}

/// What keeps entries from coming so far, in words.
pub(super) async fn obstacle(gate: &Gate, wait: Wait) -> String {
    if wait == Wait::Replicated
        && let Some(text) = stall::unreachable(gate)
    {
        return text;
    }
    stall::view(gate).await.into_reason()
}
