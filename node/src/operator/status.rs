//! Where a running node stands, and why no block comes.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Answer, OperatorError, ask, visible};
use crate::args::StatusArgs;

/// Asks a running node.
///
/// # Errors
/// `NODE-ADDRESS`, `NODE-UNREACHABLE`, `NODE-ANSWER`, or the node's own rule.
pub fn status(args: &StatusArgs) -> Result<Answer, OperatorError> {
    let path = if args.stall { "/v1/status/stall" } else { "/v1/status" };
    let value = ask::get(&args.node, path)?;
    Ok(Answer::new(match (args.json, args.stall) {
        (true, _) => value.to_string(),
        (false, true) => stall(&value),
        (false, false) => fields(&value),
    }))
}

/// A field's value on one line; `-` for what is not there.
fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => visible(text),
        Some(other) => visible(&other.to_string()),
    }
}

/// Every field on a line of its own, whatever the node has to say.
fn fields(value: &Value) -> String {
    let Some(fields) = value.as_object() else { return text(Some(value)) };
    let width = fields.keys().map(|key| key.chars().count()).max().unwrap_or_default();
    let lines = fields.iter().map(|(key, value)| format!("{:<width$}  {}", visible(key), text(Some(value))));
    lines.collect::<Vec<_>>().join("\n")
}

/// Why no block comes: `{"height","round","since","proposer","waiting_for","reason"}`.
fn stall(value: &Value) -> String {
    let field = |name: &str| text(value.get(name));
    let mut said = format!(
        "height {}, round {}, since {}, proposer {}",
        field("height"),
        field("round"),
        field("since"),
        field("proposer")
    );
    for waiting in value.get("waiting_for").and_then(Value::as_array).into_iter().flatten() {
        let missing = waiting.get("missing").and_then(Value::as_array).into_iter().flatten();
        let missing: Vec<String> = missing.map(|vote| text(Some(vote))).collect();
        let (name, member) = (text(waiting.get("name")), text(waiting.get("member")));
        // Writing to memory does not fail.
        write!(said, "\n  waiting for {name} (member {member}): {}", missing.join(", ")).ok();
    }
    if let Some(reason) = value.get("reason").filter(|reason| !reason.is_null()) {
        write!(said, "\n{}", text(Some(reason))).ok();
    }
    said
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_has_its_line() {
        let said = fields(&json!({"height": 7, "network": "ab\u{1b}", "ready": true}));
        assert_eq!(said, "height   7\nnetwork  ab\u{fffd}\nready    true");
    }

    #[test]
    fn a_stall_names_who_is_waited_for() {
        let said = stall(&json!({
            "height": 8, "round": 2, "since": "2026-01-01T00:00:00.000Z", "proposer": "Birch",
            "waiting_for": [
                {"member": 1, "name": "Birch", "missing": ["prevote", "precommit"]},
                {"member": 3, "name": "Dill", "missing": ["precommit"]},
            ],
            "reason": "fewer than a quorum vote",
        }));
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(
            lines,
            [
                "height 8, round 2, since 2026-01-01T00:00:00.000Z, proposer Birch",
                "  waiting for Birch (member 1): prevote, precommit",
                "  waiting for Dill (member 3): precommit",
                "fewer than a quorum vote",
            ]
        );
        assert_eq!(stall(&json!({"waiting_for": []})), "height -, round -, since -, proposer -");
    }
}
