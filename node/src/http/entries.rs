//! Submitting entries.
//!
//! *Invariants.* The core sees verified entries only. Once it has taken them, nothing that
//! goes wrong makes the answer an error. `?wait=` changes how long the answer takes and
//! never what it says: every receipt tells the state that was reached.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::Response;
use futures::StreamExt;
use serde::Deserialize;
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::PublicKey;
use tokio::time::Instant;

use super::body::{BODY_BYTES_MAX, Form, read};
use super::doors::{Doors, off_reactor};
use super::extract::{Gate, Params};
use super::problem::Problem;
use super::receipt::{Receipt, respond};
use super::waiting::{WAIT_MAX, Wait, lapse, obstacle, sealed, wait_for};
use crate::gate::{self, JournalEnd, Snapshot};
use crate::store::Reader;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SubmitQuery {
    #[serde(default)]
    wait: Wait,
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
    let mut receipts = take(&doors, &gate, form, request).await?;
    count(&doors, &receipts);
    let waits = query.wait != Wait::Accepted;
    if waits {
        let places = receipts.iter().filter_map(Receipt::awaits_seal);
        wait_for(&doors, &gate, query.wait, places, deadline).await;
    }
    if waits || receipts.iter().any(Receipt::was_known) {
        receipts = look_again(&gate, receipts).await?;
    }
    if waits && receipts.iter().any(|receipt| receipt.falls_short(query.wait)) {
        let obstacle = obstacle(&gate, query.wait).await;
        receipts.iter_mut().for_each(|receipt| receipt.waits_for(query.wait, &obstacle));
    }
    Ok(respond(receipts))
}

/// Reads, verifies and hands in the entries of a request, within the budget for bodies.
/// Gives a receipt for each.
async fn take(
    doors: &Doors,
    gate: &gate::Gate,
    form: Form,
    request: Request,
) -> Result<Vec<Receipt>, Problem> {
    let announced = announced_len(&request)?;
    let _room = doors.body_room(announced)?;
    let bytes = bytes_of(request, announced).await?;
    let network = gate.info().network;
    let checked = doors.verify(move || read(form, &bytes, network)).await??;
    let verified: Vec<VerifiedEntry> =
        checked.iter().filter_map(|entry| entry.as_ref().ok()).cloned().collect();
    let admissions = if verified.is_empty() { Vec::new() } else { gate.submit(verified).await? };
    let mut admissions = admissions.into_iter();
    let receipts = checked.iter().map(|entry| match entry {
        Err(error) => Ok(Receipt::malformed(error)),
        Ok(entry) => {
            let admission = admissions.next().ok_or(gate::GateError::Closed)?;
            Ok(Receipt::admitted(admission, (entry.head().journal, entry.head().seq)))
        }
    });
    receipts.collect()
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

fn count(doors: &Doors, receipts: &[Receipt]) {
    for receipt in receipts {
        match receipt.refusal() {
            Some(rule) => doors.metrics.entry_refused(rule),
            None if receipt.is_new() => doors.metrics.entry_accepted(),
            None => {}
        }
    }
}

/// Puts in how far the entries have come by now.
async fn look_again(gate: &gate::Gate, receipts: Vec<Receipt>) -> Result<Vec<Receipt>, Problem> {
    // Before the reader: what this state covers, the reader finds.
    let (snapshot, reader) = (gate.snapshot(), gate.reader().clone());
    let mut receipts = off_reactor(move || with_seals(&reader, receipts)).await??;
    let mut ends: BTreeMap<PublicKey, Option<JournalEnd>> = BTreeMap::new();
    for (journal, _) in receipts.iter().filter_map(Receipt::awaits_seal) {
        if let std::collections::btree_map::Entry::Vacant(end) = ends.entry(journal) {
            // They were accepted in any case.
            end.insert(gate.tip(journal).await.ok().flatten());
        }
    }
    receipts.iter_mut().for_each(|receipt| unsealed(&snapshot, &ends, receipt));
    Ok(receipts)
}

/// Puts in what became of the entries that are sealed.
fn with_seals(reader: &Reader, mut receipts: Vec<Receipt>) -> Result<Vec<Receipt>, Problem> {
    for receipt in &mut receipts {
        let Some(id) = receipt.id().filter(|_| receipt.awaits_seal().is_some()) else { continue };
        if let Some(sealed) = sealed(reader, id)? {
            receipt.seal(sealed);
        }
    }
    Ok(receipts)
}

/// Puts in whether an entry that is not sealed has lapsed or is replicated.
fn unsealed(snapshot: &Snapshot, ends: &BTreeMap<PublicKey, Option<JournalEnd>>, receipt: &mut Receipt) {
    let Some((journal, seq)) = receipt.awaits_seal() else { return };
    if let Some(lapse) = lapse(&snapshot.ledger, (journal, seq)) {
        receipt.lapse(lapse);
    } else if ends.get(&journal).copied().flatten().is_some_and(|end| seq < end.replicated) {
        receipt.replicate();
    }
}
