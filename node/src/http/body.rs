//! The body of a submission: one or several signed entries, as frames or as JSON.
//!
//! A frame is the canonical entry, prefixed by its length as u16 big-endian. In JSON it is
//! one entry or an array of entries.
//!
//! *Invariants.* At most [`BODY_BYTES_MAX`] bytes and [`ENTRIES_MAX`] entries; an array is
//! not read further than that. A body that is not well framed is refused as a whole; an
//! entry that is well framed and wrong is refused by itself.

use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use syngraph_protocol::entry::{EntryError, SignedEntry, VerifiedEntry};
use syngraph_protocol::ids::NetworkId;

use super::problem::Problem;

/// Longest body, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most entries of one submission.
pub(super) const ENTRIES_MAX: usize = 256;

/// How the entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `application/octet-stream`.
    Frames,
    /// `application/json`.
    Json,
}

impl Form {
    /// The form that a request says its body has.
    ///
    /// # Errors
    /// `HTTP-CONTENT-TYPE` (415).
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let essence = said.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/octet-stream" => Ok(Self::Frames),
            "application/json" => Ok(Self::Json),
            _ => {
                let detail = "entries come as application/octet-stream or application/json";
                Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "HTTP-CONTENT-TYPE", detail))
            }
        }
    }
}

/// An entry of a submission: verified, or refused by itself.
pub(super) type Checked = Result<VerifiedEntry, EntryError>;

/// Reads and verifies all entries of a body, in order. Costs a signature check each.
///
/// # Errors
/// `HTTP-FRAME`, `HTTP-JSON`, `HTTP-NO-ENTRIES` (400), `HTTP-TOO-MANY-ENTRIES` (413).
pub(super) fn read(form: Form, body: &[u8], network: NetworkId) -> Result<Vec<Checked>, Problem> {
    let entries: Vec<Checked> = match form {
        Form::Frames => {
            frames(body)?.into_iter().map(|frame| VerifiedEntry::decode(frame, network)).collect()
        }
        Form::Json => json(body)?.into_iter().map(|entry| VerifiedEntry::verify(entry, network)).collect(),
    };
    if entries.is_empty() {
        return Err(Problem::bad_request("HTTP-NO-ENTRIES", "the body holds no entry"));
    }
    Ok(entries)
}

fn too_many() -> Problem {
    let detail = format!("more than {ENTRIES_MAX} entries; send them in several requests");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "HTTP-TOO-MANY-ENTRIES", detail)
}

/// Cuts a body into frames without looking into them.
fn frames(body: &[u8]) -> Result<Vec<&[u8]>, Problem> {
    let mut rest = body;
    let mut frames = Vec::new();
    while !rest.is_empty() {
        if frames.len() == ENTRIES_MAX {
            return Err(too_many());
        }
        let cut = rest
            .split_first_chunk()
            .and_then(|(len, after)| after.split_at_checked(usize::from(u16::from_be_bytes(*len))));
        let Some((frame, after)) = cut else {
            let at = body.len() - rest.len();
            return Err(Problem::bad_request("HTTP-FRAME", format!("the frame at byte {at} is cut off")));
        };
        frames.push(frame);
        rest = after;
    }
    Ok(frames)
}

fn json(body: &[u8]) -> Result<Vec<SignedEntry>, Problem> {
    match serde_json::from_slice(body) {
        Ok(OneOrSome(Some(entries))) => Ok(entries),
        Ok(OneOrSome(None)) => Err(too_many()),
        Err(error) => Err(Problem::bad_request("HTTP-JSON", format!("not entries in JSON: {error}"))),
    }
}

/// An entry or an array of them; none if the array is too long.
struct OneOrSome(Option<Vec<SignedEntry>>);

impl<'de> Deserialize<'de> for OneOrSome {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = OneOrSome;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a signed entry or an array of them")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneOrSome, A::Error> {
                SignedEntry::deserialize(MapAccessDeserializer::new(map))
                    .map(|entry| OneOrSome(Some(vec![entry])))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrSome, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = seq.next_element()? {
                    if entries.len() == ENTRIES_MAX {
                        // The rest is skipped, not built: the answer is known.
                        while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                        return Ok(OneOrSome(None));
                    }
                    entries.push(entry);
                }
                Ok(OneOrSome(Some(entries)))
            }

            fn visit_unit<E: Error>(self) -> Result<OneOrSome, E> {
                Err(E::custom("null is no entry"))
            }
        }

        from.deserialize_any(Entries)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn rule<T>(result: Result<T, Problem>) -> Result<T, &'static str> {
        result.map_err(|problem| problem.rule())
    }

    #[test]
    fn frames_are_cut_where_they_say() {
        assert_eq!(rule(frames(b"")), Ok(vec![]));
        assert_eq!(rule(frames(b"\0\x02ab\0\0\0\x01c")), Ok(vec![&b"ab"[..], b"", b"c"]));
        for cut in [&b"\0"[..], b"\0\x02a", b"\0\x01a\0", b"\xff\xffa"] {
            assert_eq!(rule(frames(cut)), Err("HTTP-FRAME"), "{cut:?}");
        }
        assert_eq!(rule(frames(&[0; 2 * ENTRIES_MAX])).map(|all| all.len()), Ok(ENTRIES_MAX));
        assert_eq!(rule(frames(&[0; 2 * ENTRIES_MAX + 2])), Err("HTTP-TOO-MANY-ENTRIES"));
    }

    #[test]
    fn json_is_one_entry_or_an_array() {
        assert_eq!(rule(json(b"[]")), Ok(vec![]));
        for bad in ["", "null", "5", "{}", "[5]", "[", "\"entry\"", "[[]]"] {
            assert_eq!(rule(json(bad.as_bytes())), Err("HTTP-JSON"), "{bad}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(rule(json(deep.as_bytes())), Err("HTTP-JSON"));
    }

    #[test]
    fn only_the_two_forms_are_read() {
        let form = |value: &'static str| {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
            rule(Form::of(&headers))
        };
        assert_eq!(form("application/octet-stream"), Ok(Form::Frames));
        assert_eq!(form("Application/JSON; charset=utf-8"), Ok(Form::Json));
        assert_eq!(form("text/plain"), Err("HTTP-CONTENT-TYPE"));
        assert_eq!(rule(Form::of(&HeaderMap::new())), Err("HTTP-CONTENT-TYPE"));
    }
}
