//! What a node answers, shown as it is: JSON for machines, its most telling fields for
//! people.
//!
//! *Deliberately absent:* any knowledge of what the fields mean.

use serde_json::Value;

use super::CliError;
use super::session::Session;
use crate::args::AsOf;
use crate::output::{Answer, Table};

/// A column of a table: its head, and where its cells stand (a JSON pointer, RFC 6901).
pub(super) type Column = (&'static str, &'static str);

/// A path with its `?as_of=`.
pub(super) fn as_of(path: String, AsOf { height }: AsOf) -> String {
    height.map_or(path.clone(), |height| format!("{path}?as_of={height}"))
}

/// Shows a list.
///
/// # Errors
/// As the node refuses.
pub(super) async fn list(
    session: &Session,
    path: &str,
    columns: &[Column],
    none: &str,
) -> Result<Answer, CliError> {
    let items: Vec<Value> = session.node()?.list(path).await?;
    Ok(Answer::new(&items).table(table(&items, columns), none))
}

/// Items as rows.
pub(super) fn table<'a>(items: impl IntoIterator<Item = &'a Value>, columns: &[Column]) -> Table {
    let mut table = Table::new(columns.iter().map(|(head, _)| *head));
    for item in items {
        table.push(columns.iter().map(|(_, pointer)| text(item, pointer)));
    }
    table
}

/// The items of a list inside a value; none if there is no such list.
pub(super) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A field as text; a dash if there is none.
pub(super) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => "–".into(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Fields under their names, one a line.
pub(super) fn fields(value: &Value, fields: &[Column]) -> String {
    let width = fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let line = |(name, pointer): &Column| format!("{name:<width$}  {}", text(value, pointer));
    fields.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_found_by_their_pointers() {
        let item = json!({"id": 5, "owner": {"name": "Aster"}, "gone": null, "tags": ["a"]});
        assert_eq!(text(&item, "/id"), "5");
        assert_eq!(text(&item, "/owner/name"), "Aster");
        assert_eq!((text(&item, "/gone"), text(&item, "/never")), ("–".into(), "–".into()));
        assert_eq!(items(&item, "/tags"), [json!("a")]);
        assert!(items(&item, "/id").is_empty());
        assert_eq!(fields(&item, &[("id", "/id"), ("owner", "/owner/name")]), "id     5\nowner  Aster");
    }

    #[test]
    fn a_height_is_asked_for_in_the_path() {
        assert_eq!(as_of("/v1/x".into(), AsOf { height: Some(7) }), "/v1/x?as_of=7");
        assert_eq!(as_of("/v1/x".into(), AsOf::default()), "/v1/x");
    }
}
