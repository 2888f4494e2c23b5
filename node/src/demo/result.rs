//! What the demo prints at its end.

use std::io::Write;

use serde_json::{Value, json};
use syngraph_client::audit::AuditReport;

use super::consortium::Settled;
use super::founding::Founded;
use super::process::Running;
use super::{DemoError, Outcome};

/// The first line of `--stay --json`: where everything is.
pub(super) fn nodes(founded: &Founded, running: &[Running]) -> Value {
    let node = |node: &Running| {
        let plan = &node.plan;
        let first = running.first().is_some_and(|first| first.plan.member == plan.member);
        // Members without a node sign at the first one's.
        let guests = founded.guests.iter().filter(|_| first);
        let key_files: Vec<_> = plan.key_files.iter().chain(guests).collect();
        json!({
            "member": plan.member,
            "name": plan.name,
            "pid": node.pid,
            "dir": plan.dir,
            "http": node.url(),
            "peer": plan.peer.to_string(),
            "consensus": plan.consensus.to_string(),
            "key_files": key_files,
        })
    };
    json!({ "nodes": running.iter().map(node).collect::<Vec<_>>(), "genesis": founded.genesis_path })
}

/// Gathers the result from where the nodes have come to and the audit. A node that has
/// gone has neither height nor state.
pub(super) async fn gather(
    settled: &Settled,
    running: &[Running],
    outcome: &Outcome,
    report: &AuditReport,
) -> Result<Value, DemoError> {
    let Settled { api, status, members } = settled;
    let node = |node: &Running| {
        let member = node.plan.member;
        let there = members.contains(&member).then_some(status);
        let (height, root) = (there.map(|status| status.height), there.map(|status| status.state_root));
        json!({ "member": member, "height": height, "state_root": root })
    };
    let (mut lines, mut positions, mut payments) = (Vec::new(), Vec::new(), Vec::new());
    for month in &outcome.months {
        lines.extend(api.list::<Value>(&format!("/v1/statements/{month}/lines")).await?);
        let statement: Value = api.get(&format!("/v1/statements/{month}")).await?;
        let all = |field: &str| statement[field].as_array().cloned().unwrap_or_default();
        positions.extend(all("positions"));
        payments.extend(all("payments"));
    }
    let findings = api.list::<Value>("/v1/findings").await?;
    let finding = |finding: &Value| json!({ "id": finding["rule"], "severity": finding["severity"], "subject": finding["subject"] });
    Ok(json!({
        "rows_sealed": status.rows_sealed,
        "rows_per_s": outcome.rows_per_s.round(),
        "heights": status.height,
        "lines": lines,
        "positions": positions,
        "payments": payments,
        "findings": findings.iter().map(finding).collect::<Vec<_>>(),
        "nodes": running.iter().map(node).collect::<Vec<_>>(),
        "state_root": status.state_root,
        "audit": report,
        "archive": outcome.archive,
    }))
}

/// One JSON document on a line of its own.
pub(super) fn print_json(value: &Value) -> Result<(), DemoError> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{value}").and_then(|()| stdout.flush()).map_err(DemoError::Output)
}

/// The same for people.
pub(super) fn print_text(result: &Value) -> Result<(), DemoError> {
    let mut stdout = std::io::stdout().lock();
    let mut text = String::from("\nLines\n");
    let field = |value: &Value, name: &str| match &value[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let each = |list: &str| result[list].as_array().cloned().unwrap_or_default();
    for line in each("lines") {
        let [payer, asset, quantity, currency, amount] =
            ["payer_name", "asset_name", "quantity", "currency", "amount"].map(|name| field(&line, name));
        text += &format!("  {payer} for {asset}: {quantity} units, {currency} {amount}\n");
    }
    text += "Payments\n";
    for payment in each("payments") {
        let [from, to, currency, amount] =
            ["from_name", "to_name", "currency", "amount"].map(|name| field(&payment, name));
        text += &format!("  {from} pays {to} {currency} {amount}\n");
    }
    text += "Findings\n";
    for finding in each("findings") {
        text += &format!("  {} ({})\n", field(&finding, "id"), field(&finding, "severity"));
    }
    let [rows, rate, height, root] =
        ["rows_sealed", "rows_per_s", "heights", "state_root"].map(|name| field(result, name));
    text += &format!("Sealed {rows} rows at {rate} rows/s in {height} blocks\nState root {root}\n");
    text += &format!("Audit {}\nArchive {}\n", field(&result["audit"], "verdict"), field(result, "archive"));
    stdout.write_all(text.as_bytes()).map_err(DemoError::Output)
}
