//! Royalties calculated from a scenario file by the ledger's own code.
//!
//! *Invariants.* What is printed is what `protocol` computed, key for key.

pub(crate) mod args;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use syngraph_config::file::read_text;
use syngraph_protocol::ids::MemberId;
use syngraph_protocol::ledger::royalty::scenario::{Report, Scenario, compute};
use syngraph_protocol::money::{Currency, Micro, Minor};

use super::{CliError, file};
use crate::output::{Answer, Table, commas};
use args::RoyaltyCommand;

/// A scenario beside what it should come to, which is not read here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    scenario: Scenario,
    #[serde(default, rename = "expected")]
    _expected: IgnoredAny,
}

/// The form of the file.
#[derive(Deserialize)]
struct Form {
    scenario: Option<IgnoredAny>,
}

/// Does what the command line asks for.
///
/// # Errors
/// What is wrong with the file, and where.
pub(super) fn run(command: &RoyaltyCommand) -> Result<Answer, CliError> {
    let RoyaltyCommand::Compute { scenario: path } = command;
    let text = read_text(path)?;
    let scenario = parse(&text, path)?;
    let report = compute(&scenario)
        .map_err(|source| CliError::Scenario { path: path.clone(), source: Box::new(source) })?;
    Ok(show(&report))
}

/// Reads a scenario by itself or as `scenario` beside what is `expected`.
fn parse(text: &str, path: &Path) -> Result<Scenario, CliError> {
    let is_vector = serde_json::from_str(text).is_ok_and(|form: Form| form.scenario.is_some());
    if is_vector {
        Ok(file::parse_json::<Vector>(text, path)?.scenario)
    } else {
        file::parse_json(text, path)
    }
}

fn micros(value: i128, currency: Currency) -> String {
    Micro::new(value).amount(currency)
}

fn minor(value: i128, currency: Currency) -> String {
    Minor::new(value).amount(currency)
}

fn shares(distribution: &BTreeMap<MemberId, i128>, currency: Currency) -> String {
    commas(distribution.iter().map(|(member, share)| format!("{member}: {}", micros(*share, currency))))
}

fn show(report: &Report) -> Answer {
    let mut lines = Table::new(["line", "currency", "charge", "distribution (member: amount)"]);
    let mut currencies = BTreeMap::new();
    for line in &report.lines {
        let (currency, charge) = (line.currency, micros(line.charge_micros, line.currency));
        currencies.insert(line.id.as_str(), currency);
        lines.push([line.id.clone(), currency.to_string(), charge, shares(&line.distribution, currency)]);
    }
    let mut net = Table::new(["member", "currency", "receives"]);
    for position in &report.net {
        let amount = minor(position.minor, position.currency);
        net.push([position.member.to_string(), position.currency.to_string(), amount]);
    }
    let mut payments = Table::new(["from", "to", "currency", "pays"]);
    for payment in &report.payments {
        let (from, to) = (payment.from.to_string(), payment.to.to_string());
        payments.push([from, to, payment.currency.to_string(), minor(payment.minor, payment.currency)]);
    }
    let mut carry = Table::new(["a", "b", "currency", "a owes b next period"]);
    for pair in &report.carry {
        let owed = micros(pair.a_owes_b_micros, pair.currency);
        carry.push([pair.a.to_string(), pair.b.to_string(), pair.currency.to_string(), owed]);
    }
    let answer = Answer::new(report)
        .table(lines, "no lines")
        .text("")
        .table(net, "nobody receives or pays anything")
        .text("")
        .table(payments, "no payments")
        .text("")
        .table(carry, "nothing is carried over");
    corrections(report, &currencies, answer)
}

fn corrections(report: &Report, currencies: &BTreeMap<&str, Currency>, answer: Answer) -> Answer {
    let mut table = Table::new(["corrected line", "currency", "change", "distribution (member: amount)"]);
    for correction in &report.corrections {
        // Every correction is of a line: the calculation refuses others.
        let Some(currency) = currencies.get(correction.line.as_str()).copied() else { continue };
        let delta = micros(correction.delta_micros, currency);
        let distribution = shares(&correction.distribution, currency);
        table.push([correction.line.clone(), currency.to_string(), delta, distribution]);
    }
    if table.is_empty() { answer } else { answer.text("").table(table, "") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTOR: &str = include_str!("../../../tests/vectors/royalty-2026-10.json");

    fn refused(text: &str) -> String {
        parse(text, Path::new("s.json")).expect_err("refused").to_string()
    }

    #[test]
    fn a_scenario_is_read_alone_or_beside_what_is_expected() {
        let both = parse(VECTOR, Path::new("s.json")).expect("a vector");
        let alone = serde_json::to_string(&both).expect("plain values");
        assert_eq!(parse(&alone, Path::new("s.json")).expect("a scenario"), both);
    }

    #[test]
    fn floats_negatives_and_unknown_fields_are_named() {
        for (from, to, expected) in [
            (
                "\"fee_ppm\": 25000",
                "\"fee_ppm\": 2.5",
                "s.json:3: scenario.fee_ppm: invalid type: floating point",
            ),
            ("\"fee_ppm\": 25000", "\"fee_ppm\": -1", "scenario.fee_ppm: invalid value: integer `-1`"),
            ("\"fee_ppm\"", "\"fee_pmm\"", "scenario.fee_pmm: unknown field `fee_pmm`"),
            (
                "\"weight\": 7",
                "\"weight\": \"7\"",
                "scenario.assets.D1.owners[0].weight: invalid type: string",
            ),
            ("{\n \"scenario\"", "{\"note\": 1,\n \"scenario\"", "s.json:1: note: unknown field `note`"),
        ] {
            assert!(VECTOR.contains(from), "{from}");
            let message = refused(&VECTOR.replacen(from, to, 1));
            assert!(message.contains(expected), "{message}");
        }
        assert!(refused("{}").contains("missing field"));
    }

    #[test]
    fn people_see_amounts_and_machines_see_micros() {
        let scenario = parse(VECTOR, Path::new("s.json")).expect("a vector");
        let answer = show(&compute(&scenario).expect("computable"));
        let plain = answer.plain();
        for head in ["charge", "receives", "pays", "corrected line"] {
            assert!(plain.contains(head), "{plain}");
        }
        assert!(answer.json().starts_with("{\"lines\":[{\"id\":"));
    }
}
