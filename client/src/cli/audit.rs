//! Verifying a history offline.
//!
//! *Invariants.* Nothing is asked of any node. The genesis file is read from the path that
//! the auditor names and never from the archive.

pub(crate) mod args;

use syngraph_client::audit::{AuditReport, Failure, Verdict, audit};
use syngraph_config::genesis::load_genesis;

use super::progress::Progress;
use super::{CliError, file};
use crate::output::{Answer, Exit, Table, or_dash};
use args::{AuditCommand, Replay};

/// Does what the command line asks for.
///
/// # Errors
/// If there is nothing to audit, or the report cannot be written.
pub(super) async fn run(command: AuditCommand) -> Result<Answer, CliError> {
    let AuditCommand::Replay(replay) = command;
    // It keeps all cores busy, and nothing else waits for this thread.
    let report = verify(&replay)?;
    let answer = answer(&report);
    if let Some(path) = &replay.report {
        let text = serde_json::to_string_pretty(&report).expect("text keys and plain values are always JSON");
        file::write_over(path, &format!("{text}\n"))?;
    }
    Ok(answer)
}

fn verify(replay: &Replay) -> Result<AuditReport, CliError> {
    let genesis = load_genesis(&replay.genesis)?;
    let path = replay.genesis.clone();
    genesis.verify().map_err(|source| CliError::Genesis { path, source })?;
    let progress = Progress::start();
    let report = audit(&replay.archive, &genesis, &mut |done| {
        let rate = progress.rate(done.rows);
        progress.say(format!(
            "block {}, {} entries, {} usage rows, {rate} rows/s",
            done.blocks, done.entries, done.rows
        ));
    })?;
    Ok(report)
}

/// What is said of an audit.
pub(super) fn answer(report: &AuditReport) -> Answer {
    let figures = format!(
        "{} blocks, {} entries, {} usage rows in {:.2} s\nheight      {}\nstate root  {}",
        report.blocks, report.entries, report.rows, report.seconds, report.height, report.state_root
    );
    let mut findings = Table::new(["finding", "severity", "rule", "rows"]);
    for finding in &report.findings {
        let (id, severity) = (finding.id.to_string(), format!("{:?}", finding.severity));
        findings.push([id, severity, finding.rule.clone(), finding.rows.to_string()]);
    }
    let answer = match &report.error {
        None => Answer::new(report).text(format!("sound: {figures}")),
        Some(failure) => Answer::new(report).text(format!("{}\nup to there: {figures}", wrong(failure))),
    };
    answer.table(findings, "no findings").ending(exit(report))
}

fn wrong(failure: &Failure) -> String {
    let Failure { height, entry, rule, detail, file } = failure;
    let (height, entry) = (or_dash(*height), or_dash(*entry));
    let file = file.as_ref().map_or_else(String::new, |file| format!(", file {file}"));
    format!("NOT sound: {rule} at block {height}, entry {entry}{file}: {detail}")
}

fn exit(report: &AuditReport) -> Exit {
    match report.verdict {
        Verdict::Failed => Exit::Unsound,
        Verdict::Ok if report.has_grave_findings() => Exit::Look,
        Verdict::Ok => Exit::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syngraph_client::audit::FindingReport;
    use syngraph_protocol::ids::{Hash, Height, Id, MemberId, NetworkId};
    use syngraph_protocol::ledger::finding::{Severity, Subject};

    fn report(severity: Option<Severity>, error: Option<Failure>) -> AuditReport {
        let id = Id::from_bytes([2; 32]);
        let month = "2026-10".parse().expect("a month");
        let subject = Subject::Use { agreement: id, grant: 0, member: MemberId::new(1), month };
        let finding =
            |severity| FindingReport { id, rule: "CAP".into(), severity, subject: subject.clone(), rows: 3 };
        AuditReport {
            verdict: if error.is_none() { Verdict::Ok } else { Verdict::Failed },
            network: NetworkId::from_bytes([1; 32]),
            height: Height::new(4),
            state_root: Hash::from_bytes([3; 32]),
            blocks: 4,
            entries: 5,
            rows: 6,
            seconds: 0.5,
            findings: severity.map(finding).into_iter().collect(),
            error,
        }
    }

    #[test]
    fn the_end_says_what_the_audit_came_to() {
        let failure = Failure {
            height: Some(Height::new(5)),
            entry: Some(17),
            rule: "SIG-INVALID".into(),
            detail: "no".into(),
            file: None,
        };
        assert_eq!(answer(&report(None, None)).exit, Exit::Done);
        assert_eq!(answer(&report(Some(Severity::W), None)).exit, Exit::Done);
        assert_eq!(answer(&report(Some(Severity::E), None)).exit, Exit::Look);
        let failed = answer(&report(Some(Severity::E), Some(failure)));
        assert_eq!(failed.exit, Exit::Unsound);
        assert!(failed.plain().starts_with("NOT sound: SIG-INVALID at block 5, entry 17: no\n"));
        assert!(failed.json().contains("\"verdict\":\"failed\""));
        assert!(failed.json().contains("\"error\":{\"height\":5,\"entry\":17,\"rule\":\"SIG-INVALID\""));
    }
}
