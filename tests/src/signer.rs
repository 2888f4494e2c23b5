//! A key that signs by hand: the next entry of its journal, or one that nobody should take.

use std::time::{SystemTime, UNIX_EPOCH};

use syngraph_protocol::codec;
use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::entry::{Body, Deed, SignedEntry, Slot};
use syngraph_protocol::ids::{EntryId, Idem, MemberId, NetworkId, PublicKey, Seq};
use syngraph_protocol::journal::Tip;
use syngraph_protocol::time::UtcMs;

/// A key and where its journal ends.
#[derive(Clone, Debug)]
pub struct Signer {
    key: SecretKey,
    network: NetworkId,
    member: MemberId,
    tip: Tip,
}

/// The clock of whoever signs.
#[must_use]
pub fn now() -> UtcMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcMs::from_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

impl Signer {
    /// A key that has signed nothing.
    #[must_use]
    pub const fn new(key: SecretKey, network: NetworkId, member: MemberId) -> Self {
        Self { key, network, member, tip: Tip::EMPTY }
    }

    /// The private key.
    #[must_use]
    pub const fn secret(&self) -> &SecretKey {
        &self.key
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> PublicKey {
        self.key.public()
    }

    /// The network.
    #[must_use]
    pub const fn network(&self) -> NetworkId {
        self.network
    }

    /// Where the journal ends.
    #[must_use]
    pub const fn tip(&self) -> Tip {
        self.tip
    }

    /// The next entry of the journal.
    ///
    /// # Panics
    /// If the journal is full.
    pub fn sign(&mut self, body: Body) -> SignedEntry {
        let entry = self.sign_at(self.tip.next, self.tip.last, body);
        self.follow(&entry);
        entry
    }

    /// The next entry of the journal, doing this under a key of its own.
    pub fn deed(&mut self, deed: Deed) -> SignedEntry {
        let body = Body::Deed { idem: self.idem(), deed };
        self.sign(body)
    }

    /// An entry for any place; the journal stays where it is.
    #[must_use]
    pub fn sign_at(&self, seq: Seq, prev: EntryId, body: Body) -> SignedEntry {
        let slot = Slot { network: self.network, member: self.member, seq, prev, claimed_at: now() };
        SignedEntry::sign(&self.key, slot, body)
    }

    /// Goes on behind an entry that was signed with [`Self::sign_at`].
    ///
    /// # Panics
    /// If it does not continue the journal.
    pub fn follow(&mut self, entry: &SignedEntry) {
        let next = self.tip.append(entry.head.seq, entry.head.prev, entry.id());
        self.tip = next.expect("it continues the journal");
    }

    /// An idempotency key that this journal has not used.
    #[must_use]
    pub fn idem(&self) -> Idem {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.tip.next.get().to_be_bytes());
        Idem::from_bytes(bytes)
    }
}

/// The canonical bytes of entries, each prefixed by its length.
#[must_use]
pub fn frames<'a>(entries: impl IntoIterator<Item = &'a SignedEntry>) -> Vec<u8> {
    entries.into_iter().flat_map(|entry| frame(&codec::encode(entry))).collect()
}

/// Bytes prefixed by their length.
///
/// # Panics
/// If they do not fit a frame.
#[must_use]
pub fn frame(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).expect("a frame has 64 KiB at most");
    [&len.to_be_bytes(), bytes].concat()
}
