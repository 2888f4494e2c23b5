//! Submitting entries, and asking how far one has come.
//!
//! *Invariants.* The core sees verified entries only. `?wait=` changes how long the answer
//! takes and never what it says: every receipt tells the state that was reached, and
//! running out of time is no error.
//!
//! `wait=replicated` waits until nodes with a quorum of the voting power hold the entry.
//! A node knows that of an entry before its block in one case only: its own member has a
//! quorum alone. Otherwise it waits for the seal, which implies it.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::Response;
use futures::StreamExt;
use serde::Deserialize;
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{EntryId, PublicKey, Seq};
use tokio::time::Instant;

use super::body::{BODY_BYTES_MAX, Form, read};
use super::doors::{Doors, off_reactor};
use super::extract::{Gate, Named, Params};
use super::problem::Problem;
use super::receipt::{Receipt, respond};
use super::views::entry::{EntryView, Sealed, State};
use crate::gate;
use crate::store::Reader;

/// Longest wait for a seal.
const WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SubmitQuery {
    #[serde(default)]
    wait: Wait,
}

/// How far entries should have come before the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wait {
    #[default]
    Accepted,
    Replicated,
    Sealed,
}

/// `POST /v1/entries`.
pub(super) async fn submit(
    Shared(doors): Shared<Arc<Doors>>,
    Gate(gate): Gate,
    Params(query): Params<SubmitQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let form = Form::of(request.headers())?;
    let deadline = Instant::now() + WAIT_MAX;
    let (mut receipts, places) = take(&doors, &gate, form, request).await?;
    count(&doors, &receipts);
    let wait =
        query.wait == Wait::Sealed || (query.wait == Wait::Replicated && held(&gate) != State::Replicated);
    if wait {
        tokio::select! {
            () = all_covered(&gate, places) => {}
            () = tokio::time::sleep_until(deadline) => {}
            () = doors.stopped() => {}
        }
    }
    if wait || receipts.iter().any(Receipt::was_known) {
        let reader = gate.reader().clone();
        receipts = off_reactor(move || with_seals(&reader, receipts)).await??;
    }
    Ok(respond(receipts))
}

/// The place of an entry in its journal.
type Place = (PublicKey, Seq);

/// Reads, verifies and hands in the entries of a request, within the budget for bodies.
/// Gives a receipt for each, and the places of those that are held.
async fn take(
    doors: &Doors,
    gate: &gate::Gate,
    form: Form,
    request: Request,
) -> Result<(Vec<Receipt>, Vec<Place>), Problem> {
    let announced = announced_len(&request)?;
    let _room = doors.body_room(announced)?;
    let bytes = bytes_of(request, announced).await?;
    let network = gate.info().network;
    let checked = doors.verify(move || read(form, &bytes, network)).await??;
    let verified: Vec<VerifiedEntry> =
        checked.iter().filter_map(|entry| entry.as_ref().ok()).cloned().collect();
    let admissions = if verified.is_empty() { Vec::new() } else { gate.submit(verified).await? };
    let mut admissions = admissions.into_iter();
    let (held, mut places) = (held(gate), Vec::new());
    let receipts = checked.iter().map(|entry| match entry {
        Err(error) => Ok(Receipt::malformed(error)),
        Ok(entry) => {
            let admission = admissions.next().ok_or(gate::GateError::Closed)?;
            let receipt = Receipt::admitted(admission, held);
            let place = (entry.head().journal, entry.head().seq);
            places.extend(receipt.awaits_seal().map(|_| place));
            Ok(receipt)
        }
    });
    let receipts = receipts.collect::<Result<Vec<_>, Problem>>()?;
    Ok((receipts, places))
}

/// How long the body says it is; one that does not say gets room for the longest.
fn announced_len(request: &Request) -> Result<usize, Problem> {
    let said = request.headers().get(header::CONTENT_LENGTH);
    let said = said.and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<usize>().ok());
    match said {
        Some(len) if len > BODY_BYTES_MAX => Err(too_large()),
        Some(len) => Ok(len),
        None => Ok(BODY_BYTES_MAX),
    }
}

fn too_large() -> Problem {
    let detail = format!("a submission has at most {BODY_BYTES_MAX} bytes; send the entries in several");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "HTTP-BODY-TOO-LARGE", detail)
}

async fn bytes_of(request: Request, announced: usize) -> Result<Vec<u8>, Problem> {
    let mut pieces = request.into_body().into_data_stream();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece =
            piece.map_err(|_| Problem::bad_request("HTTP-BODY", "the body ended before it was complete"))?;
        if piece.len() > announced.saturating_sub(bytes.len()) {
            return Err(too_large());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// How far an entry has come that is durable on this node.
fn held(gate: &gate::Gate) -> State {
    let alone = gate.snapshot().is_quorum_alone(gate.info().member);
    if alone { State::Replicated } else { State::Accepted }
}

fn count(doors: &Doors, receipts: &[Receipt]) {
    for receipt in receipts {
        match receipt.refusal() {
            Some(rule) => doors.metrics.entry_refused(rule),
            None if receipt.is_new() => doors.metrics.entry_accepted(),
            None => {}
        }
    }
}

async fn all_covered(gate: &gate::Gate, places: Vec<Place>) {
    for (journal, seq) in places {
        // A stopping node tells how far the entries have come, like one out of time.
        if gate.covered(journal, seq).await.is_err() {
            return;
        }
    }
}

/// Puts in what became of the entries that are sealed.
fn with_seals(reader: &Reader, mut receipts: Vec<Receipt>) -> Result<Vec<Receipt>, Problem> {
    for receipt in &mut receipts {
        let Some(id) = receipt.awaits_seal() else { continue };
        if let Some(sealed) = sealed(reader, id)? {
            receipt.seal(sealed);
        }
    }
    Ok(receipts)
}

/// Where an entry is sealed and what became of it.
fn sealed(reader: &Reader, id: EntryId) -> Result<Option<Sealed>, Problem> {
    let inside = |error| Problem::internal(&error);
    let Some(index) = reader.find(&id).map_err(inside)? else { return Ok(None) };
    let height = reader.height_of(index).map_err(inside)?;
    let outcome = reader.outcome(index).map_err(inside)?;
    Ok(height.zip(outcome).map(|(height, outcome)| Sealed { height, index, outcome }))
}

/// `GET /v1/entries/{id}`.
pub(super) async fn show(Gate(gate): Gate, Named(id): Named<EntryId>) -> Result<Json<EntryView>, Problem> {
    if let Some(view) = sealed_view(&gate, id).await? {
        return Ok(Json(view));
    }
    if let Some(pending) = gate.find(id).await? {
        let state = if pending.parked { State::Parked } else { held(&gate) };
        let entry = pending.entry.entry().clone();
        return Ok(Json(EntryView { id, state, height: None, index: None, outcome: None, entry }));
    }
    // It may have been sealed between the two questions.
    let view = sealed_view(&gate, id).await?;
    view.map(Json)
        .ok_or_else(|| Problem::not_found("ENTRY-UNKNOWN", format!("this node holds no entry {id}")))
}

async fn sealed_view(gate: &gate::Gate, id: EntryId) -> Result<Option<EntryView>, Problem> {
    let (reader, network) = (gate.reader().clone(), gate.info().network);
    off_reactor(move || {
        let Some(Sealed { height, index, outcome }) = sealed(&reader, id)? else { return Ok(None) };
        let stored = reader.entry_at(index).map_err(|error| Problem::internal(&error))?;
        let Some(stored) = stored else { return Ok(None) };
        let entry =
            VerifiedEntry::decode(&stored.bytes, network).map_err(|error| Problem::internal(&error))?;
        let (height, index, outcome) = (Some(height), Some(index), Some(outcome));
        Ok(Some(EntryView { id, state: State::Sealed, height, index, outcome, entry: entry.entry().clone() }))
    })
    .await?
}
