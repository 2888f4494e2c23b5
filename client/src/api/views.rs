//! What a node answers, as far as this crate reads it. Fields that are not read here are
//! ignored: a newer node may say more.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use syngraph_protocol::entry::SignedEntry;
use syngraph_protocol::ids::{BlockId, EntryId, Hash, Height, Id, MemberId, NetworkId, PublicKey, Salt, Seq};
use syngraph_protocol::ledger::Outcome;
use syngraph_protocol::ledger::agreement::{Status as AgreementStatus, Terms};
use syngraph_protocol::time::UtcMs;

/// Where a node stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its network.
    pub network: NetworkId,
    /// Whose node it is.
    pub member: MemberId,
    /// That member's name.
    pub name: String,
    /// The last decided height.
    #[serde(deserialize_with = "height")]
    pub height: Height,
    /// The block there.
    pub block: BlockId,
    /// Root of the state after it.
    pub state_root: Hash,
    /// How many entries are sealed.
    #[serde(deserialize_with = "number")]
    pub log_size: u64,
    /// How many usage rows are sealed.
    #[serde(deserialize_with = "number")]
    pub rows_sealed: u64,
    /// Whether it takes entries.
    pub ready: bool,
    /// How many other members' nodes are connected to it.
    #[serde(default, deserialize_with = "number")]
    pub peers_connected: u64,
    /// Time of the last block.
    pub time: UtcMs,
}

/// Where a journal ends at a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalView {
    /// The key.
    pub journal: PublicKey,
    /// Whose it is.
    pub member: Option<MemberId>,
    /// The number that the next entry must have.
    #[serde(deserialize_with = "seq")]
    pub next_seq: Seq,
    /// The last entry; zeros for an empty journal.
    pub last_entry: EntryId,
    /// The number after the last entry that nodes with a quorum of the power hold.
    #[serde(deserialize_with = "seq")]
    pub replicated_next_seq: Seq,
    /// The number after the last sealed entry.
    #[serde(deserialize_with = "seq")]
    pub sealed_next_seq: Seq,
    /// From where on entries have lapsed; none while the journal goes on.
    #[serde(default)]
    pub ends: Option<JournalEnd>,
}

/// Where a journal ends for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEnd {
    /// The first number that no block will ever cover.
    #[serde(deserialize_with = "seq")]
    pub seq: Seq,
    /// Why: `KEY-FROZEN`, `KEY-REVOKED`, `KEY-ENDED`.
    pub rule: String,
}

/// How far an entry has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its key is not known yet; nothing is promised.
    Parked,
    /// Durable at the node.
    Accepted,
    /// Durable at nodes with a quorum of the power.
    Replicated,
    /// Covered by a committed block.
    Sealed,
    /// No block will ever cover it.
    Lapsed,
}

/// What a node answers about one entry that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Answer {
    /// The HTTP status that the entry alone gets.
    pub status: u16,
    /// Its id, if its bytes hold an entry.
    #[serde(default)]
    pub id: Option<EntryId>,
    /// How far it has come, if it was taken.
    #[serde(default)]
    pub state: Option<State>,
    /// The block that covers it.
    #[serde(default, deserialize_with = "maybe_height")]
    pub height: Option<Height>,
    /// What became of it.
    #[serde(default)]
    pub outcome: Option<Outcome>,
    /// Why it was refused.
    #[serde(default)]
    pub rule: Option<String>,
    /// The same in words.
    #[serde(default)]
    pub detail: Option<String>,
    /// What keeps it from coming as far as the node was to wait for.
    #[serde(default)]
    pub waiting_for: Option<String>,
    /// After how many seconds it may be sent again.
    #[serde(default)]
    pub retry_after_s: Option<u64>,
}

/// An entry that a node holds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct EntryView {
    /// Its id.
    pub id: EntryId,
    /// How far it has come.
    pub state: State,
    /// The block that covers it.
    #[serde(default, deserialize_with = "maybe_height")]
    pub height: Option<Height>,
    /// Its position in the log.
    #[serde(default, deserialize_with = "maybe_number")]
    pub index: Option<u64>,
    /// What became of it.
    #[serde(default)]
    pub outcome: Option<Outcome>,
    /// Why it was refused when it was sealed, or has lapsed.
    #[serde(default)]
    pub rule: Option<String>,
    /// The entry.
    pub entry: SignedEntry,
}

/// What became of an entry that a block covers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Sealed {
    /// Its id.
    pub id: EntryId,
    /// The block.
    #[serde(deserialize_with = "height")]
    pub height: Height,
    /// Its position in the log.
    #[serde(deserialize_with = "number")]
    pub index: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// How far an entry has come, without the entry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Fate {
    /// How far it has come.
    pub state: State,
    /// The block that covers it.
    #[serde(default, deserialize_with = "maybe_height")]
    pub height: Option<Height>,
    /// Its position in the log.
    #[serde(default, deserialize_with = "maybe_number")]
    pub index: Option<u64>,
    /// What became of it.
    #[serde(default)]
    pub outcome: Option<Outcome>,
}

/// One version of an agreement.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct VersionView {
    /// The agreement.
    pub agreement: Id,
    /// Which version, from 1.
    pub version: u32,
    /// Where it stands.
    pub status: AgreementStatus,
    /// The hash that parties sign.
    pub terms_hash: Hash,
    /// Terms hash of the version before.
    pub previous: Option<Hash>,
    /// What the salts of the terms tree are derived from.
    pub salt: Salt,
    /// The terms.
    pub terms: Terms,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Page<T> {
    /// Its items.
    pub items: Vec<T>,
    /// Where the list goes on; none at its end.
    pub next: Option<String>,
}

/// A refusal (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// The stable rule id.
    pub rule: String,
    /// What is wrong and what to do.
    #[serde(default)]
    pub detail: String,
    /// After how many seconds the request may come again.
    #[serde(skip)]
    pub retry_after_s: Option<u64>,
}

impl Problem {
    /// The problem of an answer that is no problem document: most likely something else
    /// than a node listens there.
    pub(super) fn of_status(status: u16, base: &str, path: &str) -> Self {
        let detail = format!("{base}{path} answers with status {status}; is this the address of a node?");
        Self { status, rule: format!("HTTP-{status}"), detail, retry_after_s: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// An integer, written as a number or as a decimal string.
struct Integer;

impl de::Visitor<'_> for Integer {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer of 64 bits, as a number or decimal string")
    }

    fn visit_u64<E>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[derive(Deserialize)]
struct Shell(#[serde(deserialize_with = "number")] u64);

fn number<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    from.deserialize_any(Integer)
}

fn maybe_number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::<Shell>::deserialize(from)?.map(|shell| shell.0))
}

fn height<'de, D: Deserializer<'de>>(from: D) -> Result<Height, D::Error> {
    number(from).map(Height::new)
}

fn maybe_height<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Height>, D::Error> {
    Ok(maybe_number(from)?.map(Height::new))
}

fn seq<'de, D: Deserializer<'de>>(from: D) -> Result<Seq, D::Error> {
    number(from).map(Seq::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_from_receipts_and_problems() {
        let id = "ab".repeat(32);
        let receipt = format!(
            r#"{{"status":201,"id":"{id}","state":"accepted","height":null,"outcome":null,"rule":null,"detail":null}}"#
        );
        let answer: Answer = serde_json::from_str(&receipt).expect("a receipt");
        assert_eq!((answer.status, answer.state), (201, Some(State::Accepted)));
        let problem =
            r#"{"type":"t","title":"x","status":422,"detail":"d","rule":"KEY-ENDED","instance":"/"}"#;
        let answer: Answer = serde_json::from_str(problem).expect("a problem");
        assert_eq!((answer.status, answer.rule.as_deref()), (422, Some("KEY-ENDED")));
        let sealed =
            r#"{"status":200,"height":"12","outcome":{"usage":{"rated":1,"flagged":0,"refused":[]}}}"#;
        let answer: Answer = serde_json::from_str(sealed).expect("a sealed one");
        assert_eq!(answer.height, Some(Height::new(12)));
        assert_eq!(answer.outcome, Some(Outcome::Usage { rated: 1, flagged: 0, refused: Vec::new() }));
    }
}
