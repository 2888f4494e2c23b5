//! A node's own directory: making it, telling it of others, checking it.

use std::path::{Path, PathBuf};

use serde_json::json;
use syngraph_config::node::address::Host;
use syngraph_config::node::introduce::introduce;
use syngraph_config::node::survey::{Survey, survey};
use syngraph_config::node::{NodeDir, address, init as node_init};

use super::{Answer, OperatorError, visible};
use crate::args::{CheckConfigArgs, InitArgs, PeerCommand};

/// Makes a node's directory. The data is the path of its member's card.
///
/// # Errors
/// As [`node_init::init`]; nothing is made then.
pub fn init(args: &InitArgs) -> Result<Answer, OperatorError> {
    let dir = NodeDir::new(&args.dir);
    let card = node_init::init(&dir, &args.new_node())?;
    let name = visible(&args.name);
    let mut answer = Answer::new(dir.card().display().to_string())
        .noting(format!("{name}: keys, configuration and card are in {}", args.dir.display()))
        .noting(format!(
            "{}: hand it to whoever writes the genesis, and to every other member; nothing in it is secret",
            dir.card().display()
        ))
        .noting(format!(
            "{}: needed to sign the genesis and to admit keys; keep a copy, and move it to where no network \
             reaches",
            dir.key("root").display()
        ));
    if let Some(reach) = card.reach.filter(|reach| is_loopback(&reach.peers) || is_loopback(&reach.consensus))
    {
        answer = answer.noting(format!(
            "the card names {} and {}: only nodes on this machine reach them; see --peers, --consensus, \
             --advertise",
            reach.peers, reach.consensus
        ));
    }
    Ok(answer)
}

fn is_loopback(text: &str) -> bool {
    match address::parse(text) {
        Some((Host::Ip(ip), _)) => ip.is_loopback(),
        Some((Host::Name(name), _)) => name == "localhost",
        None => false,
    }
}

/// Works on a node's list of others.
///
/// # Errors
/// As [`introduce`]; nothing is written then.
pub fn peer(command: &PeerCommand) -> Result<Answer, OperatorError> {
    let PeerCommand::Add { dir, cards } = command;
    let names = introduce(&NodeDir::new(dir), cards)?;
    let names: Vec<String> = names.iter().map(|name| visible(name)).collect();
    Ok(Answer::new(format!("{}: added {}", NodeDir::new(dir).config().display(), names.join(", ")))
        .noting("a running node reads its peers when it starts"))
}

/// Checks everything that a node reads before it starts.
#[must_use]
pub fn check_config(args: &CheckConfigArgs) -> Answer {
    let dir: &PathBuf = &args.run.dir;
    let found = survey(&NodeDir::new(dir), &args.run.overrides());
    let sound = found.problems.is_empty();
    if args.json {
        return Answer { sound, ..Answer::new(as_json(&found)) };
    }
    let problems = found.problems.iter().map(|problem| format!("{}: {problem}", problem.rule()));
    let warnings = found.warnings.iter().map(|warning| format!("warning: {}: {warning}", warning.rule()));
    let notes = problems.chain(warnings).collect();
    Answer { data: summary(dir, &found), notes, sound }
}

fn summary(dir: &Path, found: &Survey) -> String {
    let dir = dir.display();
    match (found.problems.len(), found.network) {
        (0, Some(network)) => {
            let member = found.member.as_deref().map_or_else(
                || "no founder's node".to_owned(),
                |name| format!("the node of {}", visible(name)),
            );
            format!("{dir}: sound, {member}, network {network}")
        }
        (count, _) => format!("{dir}: the node cannot start: {count} of its files are not sound"),
    }
}

fn as_json(found: &Survey) -> String {
    let problems: Vec<_> = found
        .problems
        .iter()
        .map(|problem| json!({"rule": problem.rule(), "detail": problem.to_string()}))
        .collect();
    let warnings: Vec<_> = found
        .warnings
        .iter()
        .map(|warning| json!({"rule": warning.rule(), "detail": warning.to_string()}))
        .collect();
    json!({
        "sound": problems.is_empty(),
        "network": found.network,
        "member": found.member,
        "problems": problems,
        "warnings": warnings,
    })
    .to_string()
}
