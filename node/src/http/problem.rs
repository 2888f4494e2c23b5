//! Errors as the API tells them: `application/problem+json` (RFC 9457) with the rule id.
//!
//! *Invariants.* Every response with a status from 400 on is a problem; its `instance`
//! (the path asked for) is put in by the outermost layer. What is wrong inside the node
//! is logged, and told outside only as `NODE-INTERNAL`.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use syngraph_protocol::ids::EntryId;

use crate::gate::{BUSY_RETRY, GateError};

/// The media type of problems.
pub(super) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Why a request was not done.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    rule: &'static str,
    detail: String,
    retry_after: Option<Duration>,
    entry: Option<EntryId>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    rule: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    /// The entry that was refused, when the problem is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<EntryId>,
}

impl Problem {
    /// A problem with its stable rule id; `detail` says what is wrong and what to do.
    pub(super) fn new(status: StatusCode, rule: &'static str, detail: impl Into<String>) -> Self {
        Self { status, rule, detail: detail.into(), retry_after: None, entry: None }
    }

    /// What was asked makes no sense as it stands.
    pub(super) fn bad_request(rule: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, rule, detail)
    }

    /// There is no such thing.
    pub(super) fn not_found(rule: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, rule, detail)
    }

    /// Not now; the same request may come again.
    pub(super) fn unavailable(rule: &'static str, detail: impl Into<String>, retry_after: Duration) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, rule, detail);
        Self { retry_after: Some(retry_after), ..problem }
    }

    /// A fault of this node: logged in full, told without its inside.
    pub(super) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = describe(error), "request failed inside the node");
        let detail = "the node could not read its own data; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "NODE-INTERNAL", detail)
    }

    /// The same problem, about this entry.
    pub(super) fn about(self, entry: Option<EntryId>) -> Self {
        Self { entry, ..self }
    }

    /// The rule id.
    #[cfg(test)]
    pub(super) fn rule(&self) -> &'static str {
        self.rule
    }

    /// The response, with the path that was asked for.
    pub(super) fn render(&self, instance: Option<&str>) -> Response {
        let document = Document {
            r#type: format!("urn:syngraph:rule:{}", self.rule),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            rule: self.rule,
            instance,
            id: self.entry,
        };
        let body = serde_json::to_vec(&document).expect("strings and numbers serialize");
        let mut response = (self.status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, retry_after(after));
        }
        response
    }
}

/// Whole seconds, at least one: a client that is told 0 would come back at once.
pub(super) fn retry_after(after: Duration) -> HeaderValue {
    HeaderValue::from(after.as_secs().max(1))
}

fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.render(None);
        response.extensions_mut().insert(self);
        response
    }
}

impl From<GateError> for Problem {
    fn from(error: GateError) -> Self {
        Self::unavailable(error.rule(), error.to_string(), BUSY_RETRY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_problem_reads_as_rfc_9457_says() {
        let problem = Problem::unavailable("NODE-BUSY", "later", Duration::from_millis(10));
        let response = problem.about(Some(EntryId::from_bytes([7; 32]))).render(Some("/v1/entries"));
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers().get(header::RETRY_AFTER), Some(&HeaderValue::from(1)));
        assert_eq!(response.headers().get(header::CONTENT_TYPE), Some(&PROBLEM_JSON));
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.expect("a body in memory");
        let document: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let expected = serde_json::json!({
            "type": "urn:syngraph:rule:NODE-BUSY",
            "title": "Service Unavailable",
            "status": 503,
            "detail": "later",
            "rule": "NODE-BUSY",
            "instance": "/v1/entries",
            "id": "07".repeat(32),
        });
        assert_eq!(document, expected);
    }
}
