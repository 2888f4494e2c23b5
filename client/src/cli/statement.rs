//! What closed months came to.

pub(crate) mod args;

use serde_json::Value;
use syngraph_protocol::time::Month;

use super::CliError;
use super::session::Session;
use super::view::{self, Column};
use crate::output::Answer;
use args::StatementCommand;

const MONTHS: &[Column] = &[
    ("month", "/month"),
    ("lines", "/lines_total"),
    ("closed in block", "/closed"),
    ("settled in block", "/settled"),
    ("statement", "/statement"),
];
const LINES: &[Column] = &[
    ("agreement", "/agreement_name"),
    ("term", "/term"),
    ("payer", "/payer_name"),
    ("asset", "/asset_name"),
    ("quantity", "/quantity"),
    ("amount", "/amount"),
    ("currency", "/currency"),
    ("held by", "/held"),
];
const POSITIONS: &[Column] =
    &[("member", "/member_name"), ("currency", "/currency"), ("receives", "/amount")];
const PAYMENTS: &[Column] =
    &[("from", "/from_name"), ("to", "/to_name"), ("currency", "/currency"), ("pays", "/amount")];

/// Does what the command line asks for.
///
/// # Errors
/// As the node refuses.
pub(super) async fn run(session: &Session, command: StatementCommand) -> Result<Answer, CliError> {
    match command {
        StatementCommand::List => view::list(session, "/v1/statements", MONTHS, "no month is closed").await,
        StatementCommand::Show { month } => show(session, month).await,
    }
}

/// Shows a month with all of its lines; the node tells them page by page.
async fn show(session: &Session, month: Month) -> Result<Answer, CliError> {
    let node = session.node()?;
    let mut statement: Value = node.get(&format!("/v1/statements/{month}")).await?;
    if !statement["lines_next"].is_null() {
        let lines: Vec<Value> = node.list(&format!("/v1/statements/{month}/lines")).await?;
        statement["lines"] = lines.into();
    }
    if let Some(fields) = statement.as_object_mut() {
        fields.remove("lines_next");
    }
    Ok(answer(&statement))
}

fn answer(statement: &Value) -> Answer {
    let part = |pointer, columns| view::table(view::items(statement, pointer), columns);
    Answer::new(statement)
        .text(view::fields(statement, MONTHS))
        .text("")
        .table(part("/lines", LINES), "no lines")
        .text("")
        .table(part("/positions", POSITIONS), "nobody receives or pays anything yet")
        .text("")
        .table(part("/payments", PAYMENTS), "no payments yet")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_statement_shows_lines_positions_and_payments() {
        let statement = json!({
            "month": "2026-10", "closed": 7, "settled": null, "lines_total": 1, "statement": "ab",
            "lines": [{"agreement_name": "Deal", "term": "t", "payer_name": "Birch", "asset_name": "Base",
                "quantity": "18446744073709551615", "amount": "56.2560165", "currency": "EUR", "held": null}],
            "positions": [], "payments": [{"from_name": "Birch", "to_name": "Aster", "currency": "EUR", "amount": "1.00"}],
        });
        let plain = answer(&statement).plain();
        for expected in
            ["settled in block  –", "18446744073709551615  56.2560165", "Birch  Aster  EUR       1.00"]
        {
            assert!(plain.contains(expected), "{plain}");
        }
        assert!(plain.contains("nobody receives or pays anything yet"));
    }
}
