//! What handlers take from a request, refused with a rule id when it is not there.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::doors::Doors;
use super::problem::Problem;
use crate::gate;

/// The gate, once the node has recovered.
pub(super) struct Gate(pub(super) gate::Gate);

impl FromRequestParts<Arc<Doors>> for Gate {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, doors: &Arc<Doors>) -> Result<Self, Problem> {
        doors.gate().cloned().map(Self)
    }
}

/// The query, whose names must all be known.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Doors>> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, doors: &Arc<Doors>) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, doors).await;
        let refused = |error| Problem::bad_request("HTTP-QUERY", reason(&error));
        query.map(|Query(query)| Self(query)).map_err(refused)
    }
}

/// The one part of the path that names a thing.
pub(super) struct Named<T>(pub(super) T);

impl<T> FromRequestParts<Arc<Doors>> for Named<T>
where
    T: FromStr + Send,
    T::Err: std::fmt::Display,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, doors: &Arc<Doors>) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, doors).await;
        let Path(text) = path.map_err(|error: PathRejection| bad_path(&error.body_text()))?;
        parse(&text).map(Self)
    }
}

/// The two parts of the path that name a thing within another.
pub(super) struct NamedIn<A, B>(pub(super) A, pub(super) B);

impl<A, B> FromRequestParts<Arc<Doors>> for NamedIn<A, B>
where
    A: FromStr + Send,
    A::Err: std::fmt::Display,
    B: FromStr + Send,
    B::Err: std::fmt::Display,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, doors: &Arc<Doors>) -> Result<Self, Problem> {
        let path = Path::<(String, String)>::from_request_parts(parts, doors).await;
        let Path((outer, inner)) = path.map_err(|error: PathRejection| bad_path(&error.body_text()))?;
        Ok(Self(parse(&outer)?, parse(&inner)?))
    }
}

/// Reads a part of a path.
///
/// # Errors
/// `HTTP-PATH`.
pub(super) fn parse<T>(text: &str) -> Result<T, Problem>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| bad_path(&error.to_string()))
}

fn bad_path(reason: &str) -> Problem {
    Problem::bad_request("HTTP-PATH", format!("the path does not name a thing: {reason}"))
}

/// The innermost cause, which names the field.
fn reason(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
