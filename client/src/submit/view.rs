//! What the sender asks a node: where the journal stands, and what became of entries.

use syngraph_protocol::ids::{EntryId, NetworkId, PublicKey, Seq};

use crate::api::{ApiError, JournalView, Node, Sealed};
use crate::outbox::Place;

/// What to ask.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) key: PublicKey,
    pub(super) network: Option<NetworkId>,
    /// Whether the node holds this entry.
    pub(super) ask: Option<EntryId>,
    /// Answer no sooner than a block covers this number, if any.
    pub(super) sealed: Option<Seq>,
    /// Or a quorum holds this one, if any.
    pub(super) replicated: Option<Seq>,
    /// Accepted entries that somebody waits for.
    pub(super) awaited: Vec<Place>,
}

/// What a node says of the journal.
pub(super) struct View {
    pub(super) network: NetworkId,
    pub(super) journal: JournalView,
    /// Whether it holds the entry that was asked for.
    pub(super) contains: Option<bool>,
    /// What became of entries that somebody waits for: none if another entry was sealed in
    /// the place of one.
    pub(super) outcomes: Vec<(u64, Option<Sealed>)>,
}

/// Asks a node about the journal, and for the outcomes of what is sealed.
pub(super) async fn view(node: Node, question: Question) -> Result<View, ApiError> {
    let Question { key, network, ask, sealed, replicated, awaited } = question;
    let network = match network {
        Some(network) => network,
        None => node.status().await?.network,
    };
    let path = format!("/v1/journals/{key}");
    let journal = match node.follow(&key, sealed, replicated).await? {
        Some(journal) => journal,
        None => node.get(&path).await?,
    };
    let contains = match ask {
        Some(id) => Some(node.fate(&id).await?.is_some()),
        None => None,
    };
    let is_sealed = |place: &Place| place.seq < journal.sealed_next_seq;
    let places: Vec<Place> = awaited.into_iter().take_while(is_sealed).collect();
    let known = node.outcomes(places.iter().map(|place| place.id)).await?;
    let mut known = known.into_iter().peekable();
    // They come in the order of the question.
    let outcomes = places.iter().map(|place| (place.number, known.next_if(|known| known.id == place.id)));
    let outcomes = outcomes.collect();
    Ok(View { network, journal, contains, outcomes })
}
