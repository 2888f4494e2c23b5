//! What the sender asks a node: where the journal stands, and what became of entries.

use syngraph_protocol::ids::{EntryId, NetworkId, PublicKey};

use crate::api::{ApiError, Fate, JournalView, Node};
use crate::outbox::Place;

/// What a node says of the journal.
pub(super) struct View {
    pub(super) network: NetworkId,
    pub(super) journal: JournalView,
    /// Whether it holds the entry that was asked for.
    pub(super) contains: Option<bool>,
    /// Outcomes of sealed entries that somebody waits for.
    pub(super) outcomes: Vec<(u64, Fate)>,
}

/// Asks a node about the journal, and for the outcomes of what is sealed.
pub(super) async fn view(
    node: Node,
    key: PublicKey,
    network: Option<NetworkId>,
    ask: Option<EntryId>,
    awaited: Vec<Place>,
) -> Result<View, ApiError> {
    let network = match network {
        Some(network) => network,
        None => node.status().await?.network,
    };
    let journal: JournalView = node.get(&format!("/v1/journals/{key}")).await?;
    let contains = match ask {
        Some(id) => Some(node.fate(&id).await?.is_some()),
        None => None,
    };
    let mut outcomes = Vec::new();
    let sealed = |place: &Place| place.seq < journal.sealed_next_seq;
    for Place { number, id, .. } in awaited.into_iter().take_while(sealed) {
        // The node may know that it is sealed before its index does.
        match node.fate(&id).await? {
            Some(fate) if fate.outcome.is_some() => outcomes.push((number, fate)),
            _ => break,
        }
    }
    Ok(View { network, journal, contains, outcomes })
}
