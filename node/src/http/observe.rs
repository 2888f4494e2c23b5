//! The outermost layer: a span, a deadline and figures for every request, and a problem
//! document for every error.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::doors::Doors;
use super::problem::Problem;
use crate::gate::BUSY_RETRY;
use crate::telemetry::RequestLabels;

/// Longest time from a request's head to its response's head. Above the longest wait
/// for a seal; a streamed body may take longer.
pub(super) const REQUEST_MAX: Duration = Duration::from_secs(60);

/// The label of requests that no route takes.
const UNMATCHED: &str = "unmatched";

/// Runs one request.
pub(super) async fn observe(State(doors): State<Arc<Doors>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or(UNMATCHED, MatchedPath::as_str).to_owned();
    let method = label_of(request.method());
    let path = request.uri().path().to_owned();
    let span = tracing::info_span!("http", method, route, path);
    let response = run(request, next).instrument(span.clone()).await;
    let response = match problem_of(&response) {
        Some(problem) => with_headers_of(&response, problem.render(Some(&path))),
        None => response,
    };
    let (status, took) = (response.status(), begun.elapsed());
    let labels = RequestLabels { route, method: method.to_owned(), status: status.as_u16() };
    doors.metrics.request(&labels, took.as_secs_f64());
    span.in_scope(|| tracing::debug!(status = status.as_u16(), ?took, "answered"));
    response
}

async fn run(request: Request, next: Next) -> Response {
    tokio::time::timeout(REQUEST_MAX, next.run(request)).await.unwrap_or_else(|_| {
        let detail = format!("not done within {} s; entries may be sent again", REQUEST_MAX.as_secs());
        Problem::unavailable("HTTP-TIMEOUT", detail, BUSY_RETRY).into_response()
    })
}

/// The problem behind an error. Handlers leave theirs with the response; what a library
/// refused by itself has none and gets a general one.
fn problem_of(response: &Response) -> Option<Problem> {
    let status = response.status();
    let left = response.extensions().get::<Problem>().cloned();
    let general =
        || Problem::new(status, "HTTP-REFUSED", "the request was refused before it was looked into");
    if status.is_client_error() || status.is_server_error() { left.or_else(|| Some(general())) } else { None }
}

/// Keeps what the routing itself has put in, such as `Allow`.
fn with_headers_of(response: &Response, mut rendered: Response) -> Response {
    for (name, value) in response.headers() {
        if !rendered.headers().contains_key(name) && name != header::CONTENT_LENGTH {
            rendered.headers_mut().insert(name, value.clone());
        }
    }
    rendered
}

/// Methods from the fixed set of HTTP; clients may make up others.
fn label_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// State moves on: an answer is never to be taken from a cache.
pub(super) async fn never_cached<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Nothing is served under this path.
pub(super) async fn no_such_route(uri: Uri) -> Problem {
    Problem::not_found("HTTP-NOT-FOUND", format!("nothing is served at {}", uri.path()))
}

/// Something is served under this path, by another method.
pub(super) async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!(
        "{} does not answer {}; the Allow header says what it answers",
        uri.path(),
        label_of(&method)
    );
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "HTTP-METHOD", detail)
}
