//! What a command has at hand: a node, a key, and a way to submit.
//!
//! *Invariants.* The node and the key are only touched by commands that ask for them. A
//! key's outbox is open for the time of one submission.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use syngraph_client::api::{Node, State, Wait};
use syngraph_client::key::Key;
use syngraph_client::submit::{Client, Options, Receipt, new_idem};
use syngraph_protocol::entry::{Body, Deed};
use syngraph_protocol::ids::{EntryId, Height, Id, MemberId, Seq};
use syngraph_protocol::ledger::Outcome;
use syngraph_protocol::time::UtcMs;

use super::CliError;
use super::names::{AgreementName, AssetName, Directory, MemberName, Noun};
use crate::args::{SessionArgs, Until};
use crate::output::{Answer, Exit, note};

/// What a command has at hand.
pub(super) struct Session {
    args: SessionArgs,
}

/// What is known of a submitted entry, as it is printed.
#[derive(Debug, Serialize)]
pub(super) struct ReceiptView<'a> {
    id: EntryId,
    seq: Seq,
    state: State,
    height: Option<Height>,
    index: Option<u64>,
    outcome: Option<&'a Outcome>,
    rule: Option<&'a str>,
}

impl<'a> ReceiptView<'a> {
    /// What is known.
    pub(super) fn new(receipt: &'a Receipt) -> Self {
        let Receipt { id, seq, state, height, index, outcome } = receipt;
        let rule = match outcome {
            Some(Outcome::Refused { rule }) => Some(rule.as_str()),
            Some(Outcome::Applied | Outcome::Usage { .. }) | None => None,
        };
        let (height, index, outcome) = (*height, *index, outcome.as_ref());
        Self { id: *id, seq: *seq, state: *state, height, index, outcome, rule }
    }
}

impl Session {
    /// Takes the command line's part.
    pub(super) fn new(args: SessionArgs) -> Self {
        Self { args }
    }

    /// The node.
    ///
    /// # Errors
    /// `NODE-ADDRESS`.
    pub(super) fn node(&self) -> Result<Node, CliError> {
        Ok(Node::new(&self.args.node)?)
    }

    /// The key to sign with.
    ///
    /// # Errors
    /// `CLI-KEY` if none was given, and what is wrong with its file.
    pub(super) fn key(&self) -> Result<Key, CliError> {
        let file = self.args.key.as_ref().ok_or(CliError::NoKey)?;
        Ok(Key::load(file)?)
    }

    /// The member that the key belongs to.
    ///
    /// # Errors
    /// `KEY-UNKNOWN`, and as [`Self::key`] and the node refuse.
    pub(super) async fn own_member(&self) -> Result<MemberId, CliError> {
        let key = self.key()?.public();
        let journal = self.node()?.journal(&key).await?;
        journal.and_then(|journal| journal.member).ok_or(CliError::KeyUnregistered { key })
    }

    /// The names of these kinds.
    ///
    /// # Errors
    /// As the node refuses.
    pub(super) async fn directory(
        &self,
        nouns: impl IntoIterator<Item = Noun>,
    ) -> Result<Directory, CliError> {
        Directory::fetch(&self.node()?, nouns).await
    }

    /// The id of a member.
    ///
    /// # Errors
    /// `NAME-UNKNOWN`, `NAME-AMBIGUOUS`, and as the node refuses.
    pub(super) async fn member(&self, name: &MemberName) -> Result<MemberId, CliError> {
        self.directory(name.needs()).await?.member(name)
    }

    /// The id of an asset.
    ///
    /// # Errors
    /// `NAME-UNKNOWN`, `NAME-AMBIGUOUS`, and as the node refuses.
    pub(super) async fn asset(&self, name: &AssetName) -> Result<Id, CliError> {
        self.directory(name.needs()).await?.asset(name)
    }

    /// The id of an agreement.
    ///
    /// # Errors
    /// `NAME-UNKNOWN`, `NAME-AMBIGUOUS`, and as the node refuses.
    pub(super) async fn agreement(&self, name: &AgreementName) -> Result<Id, CliError> {
        self.directory(name.needs()).await?.agreement(name)
    }

    /// Opens the key's outbox. What waits in it is sent as well. A node that does not
    /// answer, or does not know the key, is found out before anything gets into the outbox:
    /// who is told that a command failed does not expect it to happen later.
    ///
    /// # Errors
    /// As [`Self::own_member`], and as the outbox refuses.
    pub(super) async fn client(&self) -> Result<Client, CliError> {
        self.own_member().await?;
        let (key, file) = (self.key()?, self.args.key.as_ref().ok_or(CliError::NoKey)?);
        let options = Options { patience: Some(self.args.timeout), ..Options::beside(file) };
        Ok(Client::open(self.node()?, &key, &options)?)
    }

    /// Submits a deed under a new idempotency key; `done` says what it did.
    ///
    /// # Errors
    /// As the outbox and the node refuse. An entry that the ledger refused is an answer.
    pub(super) async fn act(&self, deed: Deed, done: &str) -> Result<Answer, CliError> {
        let body = Body::Deed { idem: new_idem()?, deed };
        let receipt = self.submit(body).await?;
        Ok(answer(&receipt, done))
    }

    /// Says on stderr why no block comes, if the node tells.
    async fn say_what_stalls(&self, node: &Node) {
        if let Ok(Stall { reason }) = node.get("/v1/status/stall").await {
            note(&format!("{} says: {reason}", node.url()));
        }
    }

    /// Submits a body and waits as long as the command line says.
    ///
    /// # Errors
    /// As the outbox and the node refuse.
    pub(super) async fn submit(&self, body: Body) -> Result<Receipt, CliError> {
        let client = self.client().await?;
        let wait = match self.args.wait {
            Until::Accepted => Wait::Accepted,
            Until::Replicated => Wait::Replicated,
            Until::Sealed => Wait::Sealed,
        };
        let receipt = client.submit_until(body, wait).await;
        if receipt.as_ref().is_err_and(|error| error.rule() == "SUBMIT-TIMEOUT") {
            self.say_what_stalls(client.node()).await;
        }
        client.close().await;
        Ok(receipt?)
    }
}

/// What a node says of blocks that don't come.
#[derive(Deserialize)]
struct Stall {
    reason: String,
}

/// The system's clock.
///
/// # Errors
/// `CLI-SYSTEM` if it stands before 1970.
pub(super) fn now() -> Result<UtcMs, CliError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    let ms = since.and_then(|since| i64::try_from(since.as_millis()).ok());
    let what = "the system's clock stands before 1970".to_owned();
    ms.map(UtcMs::from_ms).ok_or(CliError::System { what })
}

/// What is said of a submitted entry.
pub(super) fn answer(receipt: &Receipt, done: &str) -> Answer {
    let view = ReceiptView::new(receipt);
    let (id, answer) = (view.id, Answer::new(&view));
    match (view.rule, view.height) {
        (Some(rule), Some(height)) => answer
            .text(format!("{rule}: the ledger refused entry {id}, sealed in block {height}"))
            .ending(Exit::Failed),
        (_, Some(height)) => answer.text(format!("{done}: {id}, sealed in block {height}")),
        (_, None) if receipt.state == State::Replicated => {
            answer.text(format!("{done}: {id}, held by nodes with a quorum and not sealed yet"))
        }
        (_, None) => answer.text(format!("{done}: {id}, accepted by the node and not sealed yet")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(outcome: Option<Outcome>) -> Receipt {
        let height = outcome.as_ref().map(|_| Height::new(12));
        let state = if height.is_some() { State::Sealed } else { State::Accepted };
        let (id, index) = (EntryId::from_bytes([0xab; 32]), height.map(|_| 7));
        Receipt { id, seq: Seq::new(3), state, height, index, outcome }
    }

    #[test]
    fn a_refusal_of_the_ledger_fails_and_names_its_rule() {
        let refused = answer(&receipt(Some(Outcome::Refused { rule: "AGR-HASH".into() })), "signed");
        assert_eq!(refused.exit, Exit::Failed);
        assert!(refused.plain().starts_with("AGR-HASH: the ledger refused entry abab"));
        let json: serde_json::Value = serde_json::from_str(refused.json()).expect("JSON");
        assert_eq!((&json["rule"], &json["height"]), (&"AGR-HASH".into(), &12.into()));
    }

    #[test]
    fn a_receipt_says_how_far_the_entry_has_come() {
        let sealed = answer(&receipt(Some(Outcome::Applied)), "registered");
        assert_eq!((sealed.exit, sealed.plain().ends_with("sealed in block 12\n")), (Exit::Done, true));
        let accepted = answer(&receipt(None), "registered");
        assert!(accepted.plain().contains("not sealed yet"));
        assert!(accepted.json().contains("\"state\":\"accepted\""));
        let held = answer(&Receipt { state: State::Replicated, ..receipt(None) }, "registered");
        assert!(held.plain().contains("held by nodes with a quorum"));
    }
}
