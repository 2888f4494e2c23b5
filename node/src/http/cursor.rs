//! Pages of a list: a limit, and an opaque cursor that says where the page before ended.
//!
//! *Invariants.* A page is complete up to its cursor, or the request fails. A cursor is
//! bound to its list and to the version of its format: another one is refused, never
//! misread. Records that are added between two pages appear if they sort later.

use std::ops::Bound;

use serde::{Deserialize, Serialize};
use syngraph_protocol::codec;
use syngraph_protocol::ledger::table::{Record, Table};

use super::problem::Problem;

/// Most records of one page.
pub(super) const PAGE_MAX: usize = 1_000;
/// Records of a page when the request names no limit.
pub(super) const PAGE_DEFAULT: usize = 100;
/// Longest cursor, in hex digits.
const CURSOR_CHARS_MAX: usize = 1_024;
/// The version of the cursor's format: version byte, kind of the list, canonical key.
const CURSOR_VERSION: u8 = 1;

/// How a list is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    /// Most records to answer, 1 to [`PAGE_MAX`].
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// One page.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Page<T> {
    /// The records, in order of their keys.
    pub(super) items: Vec<T>,
    /// Where the next page begins; none at the end.
    pub(super) next: Option<String>,
}

/// Reads one page of a table and shows each record.
///
/// # Errors
/// `HTTP-LIMIT`, `HTTP-CURSOR`.
pub(super) fn page<R: Record, T>(
    table: &Table<R>,
    query: &PageQuery,
    show: impl Fn(&R::Key, &R) -> T,
) -> Result<Page<T>, Problem> {
    page_of(table, query, Bound::Unbounded, |_| true, show)
}

/// Reads one page of a stretch of a table: from `first` on, as long as keys lie `within`.
///
/// # Errors
/// `HTTP-LIMIT`, `HTTP-CURSOR`.
pub(super) fn page_of<R: Record, T>(
    table: &Table<R>,
    query: &PageQuery,
    first: Bound<R::Key>,
    within: impl Fn(&R::Key) -> bool,
    show: impl Fn(&R::Key, &R) -> T,
) -> Result<Page<T>, Problem> {
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        let detail = format!("limit is {limit}; it must be 1 to {PAGE_MAX}");
        return Err(Problem::bad_request("HTTP-LIMIT", detail));
    }
    let after = query.cursor.as_deref().map(read_cursor::<R>).transpose()?;
    if after.as_ref().is_some_and(|key| !within(key)) {
        return Err(bad_cursor("belongs to another list"));
    }
    let from = after.map_or(first, Bound::Excluded);
    let mut rows = table.range((from, Bound::Unbounded)).take_while(|(key, _)| within(key));
    let mut last = None;
    let mut items = Vec::new();
    for (key, record) in rows.by_ref().take(limit) {
        items.push(show(key, record));
        last = Some(key);
    }
    let next = last.filter(|_| rows.next().is_some()).map(write_cursor::<R>);
    Ok(Page { items, next })
}

fn bad_cursor(why: &str) -> Problem {
    Problem::bad_request("HTTP-CURSOR", format!("the cursor {why}; start the list again without one"))
}

fn write_cursor<R: Record>(key: &R::Key) -> String {
    let mut bytes = vec![CURSOR_VERSION, R::KIND];
    bytes.extend(codec::encode(key));
    hex::encode(bytes)
}

fn read_cursor<R: Record>(text: &str) -> Result<R::Key, Problem> {
    if text.len() > CURSOR_CHARS_MAX {
        return Err(bad_cursor("is too long"));
    }
    let bytes = hex::decode(text).map_err(|_| bad_cursor("is not one of this API"))?;
    match bytes.split_first_chunk() {
        Some(([CURSOR_VERSION, kind], key)) if *kind == R::KIND => {
            codec::decode(key, CURSOR_CHARS_MAX).map_err(|_| bad_cursor("is damaged"))
        }
        Some(([CURSOR_VERSION, _], _)) => Err(bad_cursor("belongs to another list")),
        _ => Err(bad_cursor("is not one of this API's version")),
    }
}

#[cfg(test)]
mod tests {
    use syngraph_protocol::ids::{Id, MemberId};
    use syngraph_protocol::ledger::asset::Asset;
    use syngraph_protocol::ledger::member::Member;

    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let key = MemberId::new(300);
        assert_eq!(read_cursor::<Member>(&write_cursor::<Member>(&key)).ok(), Some(key));
        let key = Id::from_bytes([9; 32]);
        assert_eq!(read_cursor::<Asset>(&write_cursor::<Asset>(&key)).ok(), Some(key));
    }

    #[test]
    fn a_foreign_cursor_is_refused() {
        let member = write_cursor::<Member>(&MemberId::new(3));
        let trailing = format!("{member}00");
        let other_version = format!("02{}", &member[2..]);
        let long = "0".repeat(CURSOR_CHARS_MAX + 2);
        for text in ["", "01", "zz", "möh", &trailing, &other_version, &long] {
            let rule = read_cursor::<Member>(text).map_err(|problem| problem.rule());
            assert_eq!(rule, Err("HTTP-CURSOR"), "{text:?}");
        }
        assert_eq!(read_cursor::<Asset>(&member).map_err(|p| p.rule()), Err("HTTP-CURSOR"));
    }
}
