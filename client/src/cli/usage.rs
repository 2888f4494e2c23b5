//! Metered use: single events, files of them, and what became of a report.

pub(crate) mod args;
mod report;

use serde::Serialize;
use syngraph_client::submit::Receipt;
use syngraph_client::usage::event_id::uuid_v7;
use syngraph_client::usage::import::{ImportReport, dry_run, import_csv};
use syngraph_client::usage::mapping::Mapping;
use syngraph_protocol::entry::Body;
use syngraph_protocol::ids::{EventId, Hash, MemberId};
use syngraph_protocol::ledger::Outcome;
use syngraph_protocol::ledger::usage::{ReportUsage, UsageContext, UsageRow};
use syngraph_protocol::time::UtcMs;

use super::CliError;
use super::names::Directory;
use super::progress::Progress;
use super::session::{ReceiptView, Session, now};
use crate::output::{Answer, Exit, Table, or_dash};
use args::{Context, ImportUsage, SubmitUsage, UsageCommand};

/// The rule of rows that are recorded already.
const DUPLICATE: &str = "USE-DUPLICATE";
/// Most refused rows that people are shown; machines are told of all.
const REFUSED_SHOWN_MAX: usize = 20;

/// What became of one event.
#[derive(Debug, Serialize)]
struct EventView<'a> {
    event_id: EventId,
    #[serde(flatten)]
    receipt: ReceiptView<'a>,
}

/// Does what the command line asks for.
///
/// # Errors
/// What is wrong with a file, and as the node refuses.
pub(super) async fn run(session: &Session, command: UsageCommand) -> Result<Answer, CliError> {
    match command {
        UsageCommand::Submit(event) => submit(session, event).await,
        UsageCommand::Import(import) => import_file(session, import).await,
        UsageCommand::Show { entry } => report::show(session, entry).await,
    }
}

/// The context that a command line names.
async fn context(session: &Session, named: &Context) -> Result<UsageContext, CliError> {
    let payer = named.payer.as_ref().and_then(|payer| payer.needs());
    let needed = named.asset.needs().chain(named.agreement.needs()).chain(payer);
    let directory = session.directory(needed).await?;
    let payer = match &named.payer {
        Some(payer) => directory.member(payer)?,
        None => session.own_member().await?,
    };
    resolve(named, payer, &directory)
}

fn resolve(named: &Context, payer: MemberId, directory: &Directory) -> Result<UsageContext, CliError> {
    Ok(UsageContext {
        agreement: directory.agreement(&named.agreement)?,
        grant: named.grant,
        version: directory.version(&named.asset)?,
        act: named.act.clone(),
        purpose: named.purpose.clone(),
        territory: named.territory.clone(),
        meter: named.meter.clone(),
        payer,
    })
}

async fn submit(session: &Session, event: SubmitUsage) -> Result<Answer, CliError> {
    let event_id = match event.event_id {
        Some(id) => id,
        None => new_event_id(event.time.map_or_else(now, Ok)?)?,
    };
    let contexts = vec![context(session, &event.context).await?];
    let rows = vec![UsageRow { event_id, context: 0, quantity: event.quantity }];
    let receipt = session.submit(Body::ReportUsage(ReportUsage { contexts, rows })).await?;
    Ok(event_answer(event_id, &receipt))
}

/// A new id for an event at a moment.
fn new_event_id(at: UtcMs) -> Result<EventId, CliError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| CliError::System { what: error.to_string() })?;
    uuid_v7(at, &Hash::from_bytes(random)).ok_or(CliError::EventTime { at })
}

fn event_answer(event_id: EventId, receipt: &Receipt) -> Answer {
    let answer = Answer::new(&EventView { event_id, receipt: ReceiptView::new(receipt) });
    let Some(outcome) = &receipt.outcome else {
        return answer.text(format!("event {event_id} is accepted by the node and not sealed yet"));
    };
    let height = or_dash(receipt.height);
    let refused = |rule: &str| format!("{rule}: the ledger refused event {event_id} in block {height}");
    match outcome {
        Outcome::Usage { refused: rows, .. } if rows.iter().any(|row| row.rule == DUPLICATE) => {
            answer.text(format!("event {event_id} was recorded before"))
        }
        Outcome::Usage { refused: rows, flagged, .. } => match rows.first() {
            Some(row) => answer.text(refused(&row.rule)).ending(Exit::Failed),
            None if *flagged > 0 => answer
                .text(format!("event {event_id} is recorded in block {height}, but no grant covers it"))
                .ending(Exit::Look),
            None => answer.text(format!("event {event_id} is recorded in block {height}")),
        },
        Outcome::Refused { rule } => answer.text(refused(rule)).ending(Exit::Failed),
        Outcome::Applied => answer.text(format!("event {event_id} is sealed in block {height}")),
    }
}

async fn import_file(session: &Session, import: ImportUsage) -> Result<Answer, CliError> {
    let context = context(session, &import.context).await?;
    let mapping = Mapping { context, time: import.time, quantity: import.quantity };
    if import.dry_run {
        return Ok(import_answer(&dry_run(&import.file, &mapping).await?));
    }
    let client = session.client().await?;
    let progress = Progress::start();
    let mut told = |done: syngraph_client::usage::import::Progress| {
        let rate = progress.rate(done.rows_settled);
        progress.say(format!("{} rows read, {} sealed, {rate} rows/s", done.rows_read, done.rows_settled));
    };
    let report = import_csv(&client, &import.file, &mapping, &mut told).await;
    drop(progress);
    client.close().await;
    Ok(import_answer(&report?))
}

fn import_answer(report: &ImportReport) -> Answer {
    let done = if report.dry_run { "would be submitted" } else { "recorded" };
    let mut text = format!(
        "{} rows read: {} {done}, {} recorded before, {} refused",
        report.rows_read, report.rows_new, report.rows_duplicate, report.rows_refused_total
    );
    if report.rows_flagged > 0 {
        text.push_str(&format!("\n{} of the recorded ones are covered by no grant", report.rows_flagged));
    }
    if let (Some(first), Some(last)) = (report.first_height, report.last_height) {
        text.push_str(&format!("\nblocks {first} to {last}, {:.0} rows/s", report.rows_per_s));
    }
    let answer = Answer::new(report).text(text);
    if report.rows_refused_total == 0 {
        return answer;
    }
    let mut table = Table::new(["line", "rule", "why"]);
    for row in report.rows_refused.iter().take(REFUSED_SHOWN_MAX) {
        table.push([row.line.to_string(), row.rule.clone(), row.detail.clone()]);
    }
    let answer = answer.table(table, "").ending(Exit::Look);
    let more = report.rows_refused_total.saturating_sub(REFUSED_SHOWN_MAX as u64);
    if more > 0 { answer.text(format!("… and {more} more; --json names them")) } else { answer }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::names::tests::{directory, id};
    use syngraph_client::api::State;
    use syngraph_client::usage::import::RefusedRow;
    use syngraph_protocol::codes::{Act, Meter, Place, Purpose};
    use syngraph_protocol::ids::{EntryId, Height, Seq};
    use syngraph_protocol::ledger::RefusedRows;
    use syngraph_protocol::ledger::usage::event_ids::{is_uuid_v7, time_of};

    fn named(agreement: &str, asset: &str) -> Context {
        Context {
            agreement: agreement.parse().expect("a name"),
            grant: 2,
            asset: asset.parse().expect("a name"),
            act: Act::new("infer.service"),
            purpose: Purpose::new("commercial"),
            territory: Place::new("DE"),
            meter: Meter::new("tokens"),
            payer: None,
        }
    }

    #[test]
    fn names_become_the_ids_of_the_context() {
        let context = resolve(&named("Deal", "Corpus@1.0"), MemberId::new(1), &directory()).expect("known");
        assert_eq!((context.agreement, context.version, context.grant), (id(0x0c), id(0x1a), 2));
        let refused = resolve(&named("Steal", "Corpus@1.0"), MemberId::new(1), &directory());
        assert_eq!(refused.expect_err("no such agreement").rule(), "NAME-UNKNOWN");
    }

    #[test]
    fn a_new_event_id_holds_the_moment_of_use() {
        let at = UtcMs::from_ms(1_700_000_000_123);
        let event = new_event_id(at).expect("randomness");
        assert!(is_uuid_v7(&event));
        assert_eq!(time_of(&event), at);
        assert_ne!(new_event_id(at).expect("randomness"), event);
        assert_eq!(new_event_id(UtcMs::from_ms(-1)).expect_err("before 1970").rule(), "USE-EVENT-ID");
    }

    fn event(outcome: Option<Outcome>) -> Answer {
        let (height, index) = (Some(Height::new(3)), Some(0));
        let (id, seq, state) = (EntryId::from_bytes([1; 32]), Seq::FIRST, State::Sealed);
        event_answer(EventId::from_bytes([2; 16]), &Receipt { id, seq, state, height, index, outcome })
    }

    fn usage(rated: u32, flagged: u32, rule: Option<&str>) -> Option<Outcome> {
        let refused = rule.map(|rule| RefusedRows { rule: rule.to_owned(), rows: vec![0] });
        Some(Outcome::Usage { rated, flagged, refused: refused.into_iter().collect() })
    }

    #[test]
    fn an_event_ends_as_the_ledger_judged_it() {
        for (outcome, exit) in [
            (usage(1, 0, None), Exit::Done),
            (usage(0, 1, None), Exit::Look),
            (usage(0, 0, Some("USE-DUPLICATE")), Exit::Done),
            (usage(0, 0, Some("USE-LATE")), Exit::Failed),
            (Some(Outcome::Refused { rule: "KEY-ENDED".into() }), Exit::Failed),
            (None, Exit::Done),
        ] {
            assert_eq!(event(outcome.clone()).exit, exit, "{outcome:?}");
        }
        assert!(event(usage(0, 0, Some("USE-LATE"))).plain().starts_with("USE-LATE: "));
        assert!(event(usage(1, 0, None)).json().starts_with("{\"event_id\":\"0202"));
    }

    #[test]
    fn refused_rows_are_something_to_look_at_and_duplicates_alone_are_not() {
        let report = ImportReport { rows_read: 5, rows_new: 1, rows_duplicate: 4, ..ImportReport::default() };
        assert_eq!(import_answer(&report).exit, Exit::Done);
        let row = |line| RefusedRow { line, rule: "CSV-TIME".into(), detail: "no moment".into() };
        let rows_refused = (2..=30).map(row).collect();
        let report = ImportReport { rows_refused, rows_refused_total: 29, ..report };
        let answer = import_answer(&report);
        assert_eq!(answer.exit, Exit::Look);
        assert!(answer.plain().contains("… and 9 more"), "{}", answer.plain());
        let json: serde_json::Value = serde_json::from_str(answer.json()).expect("JSON");
        assert_eq!((&json["rows_read"], &json["rows_duplicate"]), (&5.into(), &4.into()));
        assert_eq!(json["rows_refused"][28]["line"], 30);
    }
}
