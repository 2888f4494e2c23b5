//! What a submitter is told about each entry: the HTTP status it would have alone, how
//! far it has come, and once it is sealed what became of it.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, body::Body};
use serde::Serialize;
use syngraph_protocol::entry::EntryError;
use syngraph_protocol::ids::{EntryId, Height};
use syngraph_protocol::ledger::Outcome;

use super::problem::{Problem, retry_after};
use super::views::entry::{Sealed, State};
use super::waiting::{Lapse, Place, Wait};
use crate::gate::Admission;

/// What is told about one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Receipt {
    /// The HTTP status that the entry alone would get.
    status: u16,
    /// The entry; none if its bytes hold none.
    id: Option<EntryId>,
    /// How far it has come; none if it was not taken.
    state: Option<State>,
    height: Option<Height>,
    outcome: Option<Outcome>,
    /// Why it was refused: here, or by the ledger when it was sealed.
    rule: Option<String>,
    detail: Option<String>,
    /// What keeps it from coming as far as it was to be waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<String>,
    /// After how many seconds it may come again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u64>,
    #[serde(skip)]
    refusal: Option<&'static str>,
    /// Where it stands in its journal, if it was taken.
    #[serde(skip)]
    place: Option<Place>,
}

impl Receipt {
    fn new(status: StatusCode, id: Option<EntryId>) -> Self {
        Self {
            status: status.as_u16(),
            id,
            state: None,
            height: None,
            outcome: None,
            rule: None,
            detail: None,
            waiting_for: None,
            retry_after_s: None,
            refusal: None,
            place: None,
        }
    }

    fn refused(status: StatusCode, id: Option<EntryId>, rule: &'static str, detail: String) -> Self {
        let (rule, refusal) = (Some(rule.to_owned()), Some(rule));
        Self { rule, refusal, detail: Some(detail), ..Self::new(status, id) }
    }

    /// For bytes that are no entry which any node may take.
    pub(super) fn malformed(error: &EntryError) -> Self {
        Self::refused(StatusCode::UNPROCESSABLE_ENTITY, None, error.rule(), error.to_string())
    }

    /// For an entry that the core has seen, at its place.
    pub(super) fn admitted(admission: Admission, place: Place) -> Self {
        let held = |status, id| {
            let (state, place) = (Some(State::Accepted), Some(place));
            Self { state, place, ..Self::new(status, Some(id)) }
        };
        match admission {
            Admission::New { id } => held(StatusCode::CREATED, id),
            Admission::Known { id } => held(StatusCode::OK, id),
            Admission::Parked { id } => {
                Self { state: Some(State::Parked), ..Self::new(StatusCode::ACCEPTED, Some(id)) }
            }
            Admission::Fork { id, rule, detail } => {
                Self::refused(StatusCode::CONFLICT, Some(id), rule, detail)
            }
            Admission::Refused { id, rule, detail } => {
                Self::refused(StatusCode::UNPROCESSABLE_ENTITY, Some(id), rule, detail)
            }
            Admission::Busy { id, retry_after } => Self::busy(id, retry_after),
        }
    }

    fn busy(id: EntryId, retry_after: Duration) -> Self {
        let detail = "the node has no room for it now; send the same entry again later".to_owned();
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let receipt = Self::refused(status, Some(id), "NODE-BUSY", detail);
        Self { retry_after_s: Some(retry_after.as_secs().max(1)), ..receipt }
    }

    /// The entry's id.
    pub(super) fn id(&self) -> Option<EntryId> {
        self.id
    }

    /// The place of an entry that is held and may be sealed by now or later.
    pub(super) fn awaits_seal(&self) -> Option<Place> {
        let held = matches!(self.state, Some(State::Accepted | State::Replicated));
        self.place.filter(|_| held)
    }

    /// Whether the entry has not come so far and still may.
    pub(super) fn falls_short(&self, wait: Wait) -> bool {
        self.awaits_seal().is_some() && self.state < Some(wait.state())
    }

    /// Says what keeps it from coming so far.
    pub(super) fn waits_for(&mut self, wait: Wait, obstacle: &str) {
        if self.falls_short(wait) {
            self.waiting_for = Some(obstacle.to_owned());
        }
    }

    /// The same entry, held by a quorum.
    pub(super) fn replicate(&mut self) {
        self.state = Some(State::Replicated);
    }

    /// The same entry, which no block will ever cover.
    pub(super) fn lapse(&mut self, lapse: Lapse) {
        self.state = Some(State::Lapsed);
        (self.rule, self.detail) = (Some(lapse.rule.to_owned()), Some(lapse.detail));
    }

    /// Whether the entry was known before it came.
    pub(super) fn was_known(&self) -> bool {
        self.status == StatusCode::OK.as_u16()
    }

    /// The rule that kept it out.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        self.refusal
    }

    /// Whether it was taken now.
    pub(super) fn is_new(&self) -> bool {
        self.status == StatusCode::CREATED.as_u16()
    }

    /// The same entry, sealed.
    pub(super) fn seal(&mut self, sealed: Sealed) {
        self.state = Some(State::Sealed);
        self.height = Some(sealed.height);
        if let Outcome::Refused { rule } = &sealed.outcome {
            self.rule = Some(rule.clone());
        }
        self.outcome = Some(sealed.outcome);
    }

    fn problem(&self) -> Option<Problem> {
        let rule = self.refusal?;
        let status = StatusCode::from_u16(self.status).ok()?;
        let detail = self.detail.clone().unwrap_or_default();
        let problem = match self.retry_after_s {
            Some(seconds) => Problem::unavailable(rule, detail, Duration::from_secs(seconds)),
            None => Problem::new(status, rule, detail),
        };
        Some(problem.about(self.id))
    }
}

/// One entry gets its own status; several get 200 and a list in their order.
pub(super) fn respond(mut receipts: Vec<Receipt>) -> Response<Body> {
    if receipts.len() == 1 {
        return receipts.remove(0).into_response();
    }
    let mut headers = HeaderMap::new();
    if let Some(seconds) = receipts.iter().filter_map(|receipt| receipt.retry_after_s).max() {
        headers.insert(header::RETRY_AFTER, retry_after(Duration::from_secs(seconds)));
    }
    (headers, Json(receipts)).into_response()
}

impl IntoResponse for Receipt {
    fn into_response(self) -> Response {
        if let Some(problem) = self.problem() {
            return problem.into_response();
        }
        let status = StatusCode::from_u16(self.status).expect("made from a status code");
        let mut response = (status, Json(&self)).into_response();
        if let Some(location) = self.location() {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

impl Receipt {
    fn location(&self) -> Option<HeaderValue> {
        let path = format!("/v1/entries/{}", self.id.filter(|_| self.is_new())?);
        Some(HeaderValue::try_from(path).expect("a path of ASCII letters, digits and slashes"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use syngraph_protocol::ids::{PublicKey, Seq};

    use super::*;

    fn id() -> EntryId {
        EntryId::from_bytes([0xab; 32])
    }

    const PLACE: Place = (PublicKey::from_bytes([0; 32]), Seq::FIRST);

    fn shown(receipt: &Receipt) -> serde_json::Value {
        serde_json::to_value(receipt).expect("plain structs")
    }

    #[test]
    fn a_receipt_has_every_key_of_the_contract() {
        let receipt = Receipt::admitted(Admission::New { id: id() }, PLACE);
        let expected = json!({
            "status": 201, "id": "ab".repeat(32), "state": "accepted",
            "height": null, "outcome": null, "rule": null, "detail": null,
        });
        assert_eq!(shown(&receipt), expected);
    }

    #[test]
    fn a_sealed_refusal_names_its_rule_and_keeps_its_status() {
        let mut receipt = Receipt::admitted(Admission::Known { id: id() }, PLACE);
        let outcome = Outcome::Refused { rule: "AST-UNKNOWN".into() };
        receipt.seal(Sealed { height: Height::new(7), index: 3, outcome });
        let expected = json!({
            "status": 200, "id": "ab".repeat(32), "state": "sealed", "height": 7,
            "outcome": {"refused": {"rule": "AST-UNKNOWN"}}, "rule": "AST-UNKNOWN", "detail": null,
        });
        assert_eq!(shown(&receipt), expected);
        assert!(receipt.awaits_seal().is_none());
    }

    #[test]
    fn what_is_waited_for_is_told_while_it_may_still_come() {
        let mut receipt = Receipt::admitted(Admission::New { id: id() }, PLACE);
        receipt.waits_for(Wait::Accepted, "nothing");
        assert_eq!(receipt.waiting_for, None);
        receipt.replicate();
        receipt.waits_for(Wait::Replicated, "nothing");
        assert_eq!(receipt.waiting_for, None);
        receipt.waits_for(Wait::Sealed, "a block");
        assert_eq!(
            (&shown(&receipt)["state"], &shown(&receipt)["waiting_for"]),
            (&json!("replicated"), &json!("a block"))
        );
        let mut lapsed = Receipt::admitted(Admission::New { id: id() }, PLACE);
        lapsed.lapse(Lapse { rule: "KEY-FROZEN", detail: "it forked".into() });
        lapsed.waits_for(Wait::Sealed, "a block");
        let shown = shown(&lapsed);
        assert_eq!((&shown["state"], &shown["rule"]), (&json!("lapsed"), &json!("KEY-FROZEN")));
        assert_eq!(shown.get("waiting_for"), None);
    }

    #[test]
    fn each_admission_has_its_status() {
        let detail = String::new();
        let retry_after = Duration::from_millis(300);
        for (admission, status) in [
            (Admission::New { id: id() }, 201),
            (Admission::Known { id: id() }, 200),
            (Admission::Parked { id: id() }, 202),
            (Admission::Fork { id: id(), rule: "JRN-FORK", detail: detail.clone() }, 409),
            (Admission::Refused { id: id(), rule: "JRN-GAP", detail }, 422),
            (Admission::Busy { id: id(), retry_after }, 503),
        ] {
            let response = respond(vec![Receipt::admitted(admission, PLACE)]);
            assert_eq!(response.status().as_u16(), status);
            let again = response.headers().get(header::RETRY_AFTER);
            assert_eq!(again.is_some(), status == 503);
        }
    }
}
