//! After a restart.
//!
//! *Invariant.* The node proposes in each round what it has proposed there, and can carry
//! out what it voted for.

use std::time::Instant;

use syngraph_protocol::block::Block;
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::MemberId;
use syngraph_protocol::ledger::Ledger;

use crate::chain::Chain;
use crate::journals::Journals;

/// Puts back what was durable: entries ahead of the chain in order of arrival, and blocks
/// that were judged, or proposed in a round, and not decided. They are executed again, so
/// that the engine's log finds what it names.
#[must_use]
pub fn restore(
    me: MemberId,
    ledger: Ledger,
    pending: Vec<VerifiedEntry>,
    undecided: Vec<(Block, Option<u32>)>,
    now: Instant,
) -> (Chain, Journals) {
    let mut journals = Journals::new(me);
    for entry in pending {
        let (journal, seq) = (entry.head().journal, entry.head().seq);
        if let Err(link) = journals.restore(&ledger, entry, now) {
            tracing::warn!(%journal, %seq, %link, "an entry in the log continues no journal");
        }
    }
    let mut chain = Chain::new(me, ledger);
    for (block, proposed_in) in undecided {
        let id = block.id();
        match journals.under(chain.ledger(), &block.cut) {
            Ok(entries) => {
                let verdict = chain.judge(&block, entries);
                tracing::info!(block = %id, ?verdict, "executed an undecided block again");
                if let Some(round) = proposed_in {
                    chain.proposed_in(round, id);
                }
            }
            Err(missing) => tracing::warn!(block = %id, ?missing, "an undecided block lacks entries"),
        }
    }
    (chain, journals)
}
