//! Journals and blocks: where they stand and what they hold.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};
use syngraph_protocol::ids::{EntryId, Height, MemberId, PublicKey, Seq};
use tokio::time::sleep;

use super::doors::{Doors, off_reactor};
use super::extract::{Gate, Named, Params};
use super::problem::Problem;
use super::views::block::{self, BlockView};
use super::waiting::WAIT_MAX;
use crate::gate;

/// How far a journal is on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct JournalView {
    journal: PublicKey,
    member: Option<MemberId>,
    /// The number that the next entry must have.
    next_seq: Seq,
    /// The last entry; zeros for an empty journal.
    last_entry: EntryId,
    /// The number after the last entry that nodes with a quorum of the power have on disk.
    replicated_next_seq: Seq,
    /// The number after the last sealed entry.
    sealed_next_seq: Seq,
    /// From where on entries have lapsed; none while the journal goes on.
    ends: Option<EndView>,
}

/// Where a journal ends for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct EndView {
    /// The first number that no block will ever cover.
    seq: Seq,
    /// Why.
    rule: &'static str,
}

/// What to wait for before the answer. What is not told is not waited for; of both, what
/// comes first.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JournalQuery {
    /// A block covers this number.
    until_sealed: Option<u64>,
    /// Nodes with a quorum of the power have this number on disk.
    until_replicated: Option<u64>,
}

/// `GET /v1/journals/{key}`: the cheapest way to follow many entries of one key. An answer
/// is there after 30 s at the latest, whatever was waited for.
pub(super) async fn journal(
    Shared(doors): Shared<Arc<Doors>>,
    Gate(gate): Gate,
    Named(journal): Named<PublicKey>,
    Params(query): Params<JournalQuery>,
) -> Result<Json<JournalView>, Problem> {
    if gate.snapshot().ledger.keys.contains(&journal) {
        await_either(&doors, &gate, journal, query).await;
    }
    // In this order the sealed tip cannot be ahead of the one that the core tells.
    let snapshot = gate.snapshot();
    let end = gate.tip(journal).await?;
    let end =
        end.ok_or_else(|| Problem::not_found("KEY-UNKNOWN", format!("key {journal} is not registered")))?;
    let ledger = &snapshot.ledger;
    let closed = ledger.journal_ends(&journal);
    Ok(Json(JournalView {
        journal,
        member: ledger.keys.get(&journal).map(|key| key.member),
        next_seq: end.tip.next,
        last_entry: end.tip.last,
        replicated_next_seq: end.replicated,
        sealed_next_seq: ledger.journal_tip(&journal).next,
        ends: closed.map(|(seq, why)| EndView { seq, rule: why.rule() }),
    }))
}

/// Waits as the query says. A node that is busy or stopping says how far it is.
async fn await_either(doors: &Doors, gate: &gate::Gate, journal: PublicKey, query: JournalQuery) {
    if query.until_sealed.is_none() && query.until_replicated.is_none() {
        return;
    }
    let sealed = async {
        match query.until_sealed {
            Some(seq) => gate.covered(journal, Seq::new(seq)).await.ok(),
            None => std::future::pending().await,
        }
    };
    let replicated = async {
        match query.until_replicated {
            Some(seq) => gate.replicated(journal, Seq::new(seq)).await.ok(),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = sealed => {}
        _ = replicated => {}
        () = sleep(WAIT_MAX) => {}
        () = doors.stopped() => {}
    }
}

/// `GET /v1/blocks/{height}`.
pub(super) async fn block(Gate(gate): Gate, Named(text): Named<String>) -> Result<Json<BlockView>, Problem> {
    let height = Height::new(super::extract::parse(&text)?);
    let (reader, snapshot) = (gate.reader().clone(), gate.snapshot());
    let record =
        off_reactor(move || reader.block(height)).await?.map_err(|error| Problem::internal(&error))?;
    let unknown = || {
        let detail = format!("there is no block {height}; the last one is {}", snapshot.ledger.height());
        Problem::not_found("BLOCK-UNKNOWN", detail)
    };
    let record = record.ok_or_else(unknown)?;
    Ok(Json(block::block(&snapshot.ledger, &record.block, &record.certificate)))
}
