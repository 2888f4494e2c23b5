//! Journals and blocks: where they stand and what they hold.

use axum::Json;
use serde::Serialize;
use syngraph_protocol::ids::{EntryId, Height, MemberId, PublicKey, Seq};

use super::doors::off_reactor;
use super::extract::{Gate, Named};
use super::problem::Problem;
use super::views::block::{self, BlockView};

/// Where a journal ends on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct JournalView {
    journal: PublicKey,
    member: Option<MemberId>,
    /// The number that the next entry must have.
    next_seq: Seq,
    /// The last entry; zeros for an empty journal.
    last_entry: EntryId,
    /// The number after the last sealed entry.
    sealed_next_seq: Seq,
}

/// `GET /v1/journals/{key}`.
pub(super) async fn journal(
    Gate(gate): Gate,
    Named(journal): Named<PublicKey>,
) -> Result<Json<JournalView>, Problem> {
    // In this order the sealed tip cannot be ahead of the one that the core tells.
    let snapshot = gate.snapshot();
    let tip = gate.tip(journal).await?;
    let tip =
        tip.ok_or_else(|| Problem::not_found("KEY-UNKNOWN", format!("key {journal} is not registered")))?;
    Ok(Json(JournalView {
        journal,
        member: snapshot.ledger.keys.get(&journal).map(|key| key.member),
        next_seq: tip.next,
        last_entry: tip.last,
        sealed_next_seq: snapshot.ledger.journal_tip(&journal).next,
    }))
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
