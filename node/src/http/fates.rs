//! How far entries have come, and what became of them.
//!
//! *Invariants.* An entry that is told to be sealed has its height and outcome with it.
//! The body of a usage report is told only on request: it is nearly all of the answer, and
//! whoever submitted it has it. One request asks for at most [`OUTCOMES_MAX`] outcomes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};
use syngraph_protocol::codec;
use syngraph_protocol::entry::SignedEntry;
use syngraph_protocol::ids::EntryId;
use syngraph_protocol::limits::ENTRY_BYTES_MAX;
use tokio::time::Instant;

use super::doors::{Doors, off_reactor};
use super::extract::{Gate, Named, Params};
use super::problem::Problem;
use super::views::entry::{EntryView, Sealed, State};
use super::waiting::{Lapse, Place, WAIT_MAX, Wait, lapse, sealed, wait_for};
use crate::gate::{self, Held};

/// Most outcomes that one request asks for.
pub(super) const OUTCOMES_MAX: usize = 256;

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShowQuery {
    #[serde(default)]
    wait: Wait,
    /// Whether to show what the entry says.
    body: Option<bool>,
}

/// `GET /v1/entries/{id}`.
pub(super) async fn show(
    Shared(doors): Shared<Arc<Doors>>,
    Gate(gate): Gate,
    Named(id): Named<EntryId>,
    Params(query): Params<ShowQuery>,
) -> Result<Json<EntryView>, Problem> {
    let deadline = Instant::now() + WAIT_MAX;
    let found = look(&gate, id, query.body).await?;
    let Some(Found { held: Some(held), state, .. }) = &found else {
        return shown(found, id);
    };
    if *state == State::Parked || *state >= query.wait.state() {
        return shown(found, id);
    }
    let place = place(held);
    wait_for(&doors, &gate, query.wait, [place], deadline).await;
    match look(&gate, id, query.body).await? {
        None => {
            // It is held no more and not sealed: its place was taken by another branch.
            let view = EntryView::new(id, held.entry.entry(), State::Lapsed, query.body);
            let lapse = lapse(&gate.snapshot().ledger, place);
            Ok(Json(view.lapsed(lapse.map_or("JRN-FORK", |Lapse { rule, .. }| rule))))
        }
        found => shown(found, id),
    }
}

/// An entry that was found.
struct Found {
    view: EntryView,
    state: State,
    /// What is held, while no block covers it.
    held: Option<Held>,
}

fn shown(found: Option<Found>, id: EntryId) -> Result<Json<EntryView>, Problem> {
    let unknown = || Problem::not_found("ENTRY-UNKNOWN", format!("this node holds no entry {id}"));
    found.map(|found| Json(found.view)).ok_or_else(unknown)
}

fn place(held: &Held) -> Place {
    (held.entry.head().journal, held.entry.head().seq)
}

async fn look(gate: &gate::Gate, id: EntryId, body: Option<bool>) -> Result<Option<Found>, Problem> {
    let found = |view| Found { view, state: State::Sealed, held: None };
    if let Some(view) = sealed_view(gate, id, body).await? {
        return Ok(Some(found(view)));
    }
    // Before what is held: then it cannot cover what is still said to be held.
    let snapshot = gate.snapshot();
    if let Some(held) = gate.find(id).await? {
        let state = match (held.parked, held.replicated) {
            (true, _) => State::Parked,
            (false, true) => State::Replicated,
            (false, false) => State::Accepted,
        };
        let view = EntryView::new(id, held.entry.entry(), state, body);
        let found = match lapse(&snapshot.ledger, place(&held)).filter(|_| !held.parked) {
            Some(lapse) => Found { view: view.lapsed(lapse.rule), state: State::Lapsed, held: Some(held) },
            None => Found { view, state, held: Some(held) },
        };
        return Ok(Some(found));
    }
    // It may have been sealed between the two questions.
    Ok(sealed_view(gate, id, body).await?.map(found))
}

async fn sealed_view(
    gate: &gate::Gate,
    id: EntryId,
    body: Option<bool>,
) -> Result<Option<EntryView>, Problem> {
    let reader = gate.reader().clone();
    off_reactor(move || {
        let Some(found) = sealed(&reader, id)? else { return Ok(None) };
        let stored = reader.entry_at(found.index).map_err(|error| Problem::internal(&error))?;
        let Some(stored) = stored else { return Ok(None) };
        // Its signature was verified before it was sealed, and its bytes have their checksum.
        let entry: SignedEntry =
            codec::decode(&stored.bytes, ENTRY_BYTES_MAX).map_err(|error| Problem::internal(&error))?;
        Ok(Some(EntryView::new(id, &entry, State::Sealed, body).sealed(found)))
    })
    .await?
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutcomesQuery {
    /// Ids of entries, with commas between them.
    ids: String,
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct OutcomeView {
    id: EntryId,
    #[serde(flatten)]
    sealed: Sealed,
}

/// `GET /v1/outcomes?ids=…`: what became of these entries, in their order. One that no
/// block covers is left out.
pub(super) async fn outcomes(
    Gate(gate): Gate,
    Params(query): Params<OutcomesQuery>,
) -> Result<Json<Vec<OutcomeView>>, Problem> {
    let ids = ids(&query.ids)?;
    let reader = gate.reader().clone();
    let found = off_reactor(move || {
        let found =
            ids.into_iter().map(|id| Ok(sealed(&reader, id)?.map(|sealed| OutcomeView { id, sealed })));
        found.filter_map(Result::transpose).collect::<Result<Vec<_>, Problem>>()
    });
    Ok(Json(found.await??))
}

fn ids(text: &str) -> Result<Vec<EntryId>, Problem> {
    let refused = |detail: String| Problem::bad_request("HTTP-QUERY", detail);
    if text.split(',').count() > OUTCOMES_MAX {
        return Err(refused(format!("more than {OUTCOMES_MAX} ids; ask for them in several requests")));
    }
    let id = |part: &str| part.parse().map_err(|error| refused(format!("ids: {part:?}: {error}")));
    text.split(',').map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_listed_with_commas_up_to_a_bound() {
        let id = "ab".repeat(32);
        let many = |count: usize| vec![id.as_str(); count].join(",");
        assert_eq!(ids(&many(2)).map(|ids| ids.len()).map_err(|problem| problem.rule()), Ok(2));
        assert_eq!(ids(&many(OUTCOMES_MAX)).map(|ids| ids.len()).map_err(|problem| problem.rule()), Ok(256));
        for bad in [many(OUTCOMES_MAX + 1), String::new(), format!("{id},"), "5".to_owned()] {
            assert_eq!(ids(&bad).map_err(|problem| problem.rule()), Err("HTTP-QUERY"), "{bad}");
        }
    }
}
