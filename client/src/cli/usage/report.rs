//! What became of a usage report, row by row.

use std::collections::BTreeMap;

use serde::Serialize;
use syngraph_client::api::{EntryView, State};
use syngraph_protocol::entry::Body;
use syngraph_protocol::ids::{EntryId, EventId, Height};
use syngraph_protocol::ledger::Outcome;
use syngraph_protocol::ledger::usage::event_ids::time_of;
use syngraph_protocol::ledger::usage::{ReportUsage, UsageContext};
use syngraph_protocol::time::UtcMs;

use crate::cli::CliError;
use crate::cli::session::Session;
use crate::output::{Answer, Table, or_dash};

/// A report as it is printed.
#[derive(Debug, Serialize)]
struct ReportView<'a> {
    id: EntryId,
    state: State,
    height: Option<Height>,
    index: Option<u64>,
    /// The rule by which the whole report was refused.
    rule: Option<&'a str>,
    rated: Option<u32>,
    flagged: Option<u32>,
    contexts: &'a [UsageContext],
    rows: Vec<RowView<'a>>,
}

#[derive(Debug, Serialize)]
struct RowView<'a> {
    event_id: EventId,
    time: UtcMs,
    context: u8,
    quantity: String,
    /// The rule by which the row was refused.
    rule: Option<&'a str>,
}

/// Shows a report.
///
/// # Errors
/// `CLI-NO-REPORT`, and as the node refuses.
pub(super) async fn show(session: &Session, entry: EntryId) -> Result<Answer, CliError> {
    let found: EntryView = session.node()?.get(&format!("/v1/entries/{entry}?body=true")).await?;
    match &found.entry.body {
        Body::ReportUsage(report) => Ok(answer(&found, report)),
        Body::Deed { .. } => Err(CliError::NoReport { entry }),
    }
}

fn view<'a>(found: &'a EntryView, report: &'a ReportUsage) -> ReportView<'a> {
    let mut refused: BTreeMap<u16, &str> = BTreeMap::new();
    let (mut rule, mut counts) = (None, None);
    match &found.outcome {
        Some(Outcome::Usage { rated, flagged, refused: groups }) => {
            counts = Some((*rated, *flagged));
            for group in groups {
                refused.extend(group.rows.iter().map(|row| (*row, group.rule.as_str())));
            }
        }
        Some(Outcome::Refused { rule: broken }) => rule = Some(broken.as_str()),
        Some(Outcome::Applied) | None => {}
    }
    let rows = report.rows.iter().zip(0_u16..).map(|(row, position)| RowView {
        event_id: row.event_id,
        time: time_of(&row.event_id),
        context: row.context,
        quantity: row.quantity.to_string(),
        rule: refused.get(&position).copied(),
    });
    ReportView {
        id: found.id,
        state: found.state,
        height: found.height,
        index: found.index,
        rule,
        rated: counts.map(|(rated, _)| rated),
        flagged: counts.map(|(_, flagged)| flagged),
        contexts: &report.contexts,
        rows: rows.collect(),
    }
}

fn answer(found: &EntryView, report: &ReportUsage) -> Answer {
    let view = view(found, report);
    let mut contexts =
        Table::new(["context", "agreement", "grant", "version", "act", "purpose", "where", "meter", "payer"]);
    for (context, number) in view.contexts.iter().zip(0..) {
        let number: u32 = number;
        contexts.push([
            number.to_string(),
            context.agreement.to_string(),
            context.grant.to_string(),
            context.version.to_string(),
            context.act.to_string(),
            context.purpose.to_string(),
            context.territory.to_string(),
            context.meter.to_string(),
            context.payer.to_string(),
        ]);
    }
    let mut rows = Table::new(["event", "time", "context", "quantity", "refused by"]);
    for row in &view.rows {
        let (time, context) = (row.time.to_string(), row.context.to_string());
        rows.push([row.event_id.to_string(), time, context, row.quantity.clone(), or_dash(row.rule)]);
    }
    let text = format!(
        "report {} in block {}: {} rows, {} charged, {} recorded without a grant, refused as a whole by {}",
        view.id,
        or_dash(view.height),
        view.rows.len(),
        or_dash(view.rated),
        or_dash(view.flagged),
        or_dash(view.rule)
    );
    Answer::new(&view).text(text).text("").table(contexts, "no contexts").text("").table(rows, "no rows")
}

#[cfg(test)]
mod tests {
    use super::*;
    use syngraph_protocol::codes::{Act, Meter, Place, Purpose};
    use syngraph_protocol::crypto::SecretKey;
    use syngraph_protocol::entry::{SignedEntry, Slot};
    use syngraph_protocol::ids::{Id, MemberId, NetworkId, Seq};
    use syngraph_protocol::journal::NO_ENTRY;
    use syngraph_protocol::ledger::RefusedRows;
    use syngraph_protocol::ledger::usage::UsageRow;

    fn report() -> ReportUsage {
        let context = UsageContext {
            agreement: Id::from_bytes([1; 32]),
            grant: 0,
            version: Id::from_bytes([2; 32]),
            act: Act::new("infer.service"),
            purpose: Purpose::new("commercial"),
            territory: Place::new("DE"),
            meter: Meter::new("tokens"),
            payer: MemberId::new(5),
        };
        let row = |byte: u8, quantity| {
            let event_id =
                EventId::from_bytes([1, 0x8b, 0xd9, 0xa0, 0xe1, 0xf8, 0x70, byte, 0x80, 0, 0, 0, 0, 0, 0, 0]);
            UsageRow { event_id, context: 0, quantity }
        };
        ReportUsage { contexts: vec![context], rows: vec![row(0, u64::MAX), row(1, 7)] }
    }

    #[test]
    fn each_row_shows_what_became_of_it() {
        let slot = Slot {
            network: NetworkId::from_bytes([0; 32]),
            member: MemberId::new(0),
            seq: Seq::FIRST,
            prev: NO_ENTRY,
            claimed_at: UtcMs::from_ms(0),
        };
        let entry = SignedEntry::sign(&SecretKey::from_seed(&[1; 32]), slot, Body::ReportUsage(report()));
        let refused = vec![RefusedRows { rule: "USE-LATE".into(), rows: vec![1] }];
        let found = EntryView {
            id: entry.id(),
            state: State::Sealed,
            height: Some(Height::new(3)),
            index: Some(9),
            outcome: Some(Outcome::Usage { rated: 1, flagged: 0, refused }),
            rule: None,
            entry,
        };
        let answer = answer(&found, &report());
        let json: serde_json::Value = serde_json::from_str(answer.json()).expect("JSON");
        assert_eq!(json["rows"][0]["quantity"], "18446744073709551615");
        assert_eq!((&json["rows"][0]["rule"], &json["rows"][1]["rule"]), (&().into(), &"USE-LATE".into()));
        assert!(
            json["rows"][0]["time"].as_str().is_some_and(|time| time.starts_with("2023-11-16T")),
            "{json}"
        );
        assert!(answer.plain().contains("2 rows, 1 charged"), "{}", answer.plain());
    }
}
