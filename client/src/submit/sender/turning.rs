//! Going on with another node, where the one before cannot be reached or refuses what it may
//! have taken.
//!
//! *Invariant.* Another node is sent nothing before the journals were compared with it: it
//! gets the very bytes that the one before may have.

use std::time::Duration;

use tokio::time::Instant;

use super::super::{Progress, SubmitError};
use super::Sender;
use crate::api::{ApiError, Node};

impl Sender {
    /// The journals are compared before anything else is sent. What is being asked is of
    /// no interest until then.
    pub(super) fn compare_again(&mut self, after: Duration) {
        (self.is_reconciled, self.ask, self.view) = (false, None, None);
        self.view_at = Instant::now() + after;
    }

    /// Another node may have taken what this one refuses. To sign its place anew would fork
    /// the journal, so it stays, and another node is asked.
    pub(super) fn keep_refused(&mut self, number: u64, rule: String, detail: String) {
        if let Some(waiter) = self.waiters.remove(&number) {
            let error = SubmitError::Refused { rule: rule.clone(), detail: detail.clone() };
            waiter.send_replace(Progress::Failed(error));
        }
        self.turn_away();
        self.retry_post(None, detail, &rule);
    }

    /// Goes on with another node, if there is one.
    pub(super) fn turn_away(&mut self) {
        if !self.nodes.are_many() {
            return;
        }
        let is_fresh = self.nodes.turn();
        tracing::warn!(node = self.nodes.current().url(), "going on with another node");
        self.post = None;
        let after = if is_fresh { Duration::ZERO } else { self.view_backoff.next(None) };
        self.compare_again(after);
    }
}

/// What is said of a node that took a connection and answers nothing on it.
pub(super) fn silent(node: &Node, patience: Duration) -> ApiError {
    ApiError::Answer { url: node.url().to_owned(), what: format!("no answer within {patience:?}") }
}

/// Whether a node that refuses by this rule takes nothing from anybody for a while.
pub(super) fn is_down(rule: &str) -> bool {
    matches!(rule, "NODE-STARTING" | "NODE-STOPPING")
}
