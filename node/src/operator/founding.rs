//! The ceremony as commands on files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use syngraph_config::card::MemberCard;
use syngraph_config::ceremony::{self, Standing};
use syngraph_config::genesis::{create_genesis, load_genesis, replace_genesis};
use syngraph_config::key::Key;
use syngraph_config::node::NodeDir;
use syngraph_protocol::genesis::Genesis;
use syngraph_protocol::time::UtcMs;

use super::{Answer, OperatorError, visible};
use crate::args::{AddArgs, CheckArgs, GenesisCommand, MergeArgs, NewArgs, SignArgs};

/// Works on a founding document.
///
/// # Errors
/// As each command says; the files are then as they were.
pub fn genesis(command: &GenesisCommand) -> Result<Answer, OperatorError> {
    match command {
        GenesisCommand::New(args) => new(args),
        GenesisCommand::Add(args) => add(args),
        GenesisCommand::Sign(args) => sign(args),
        GenesisCommand::Merge(args) => merge(args),
        GenesisCommand::Check(args) => check(args),
    }
}

fn new(args: &NewArgs) -> Result<Answer, OperatorError> {
    let params = ceremony::params(&args.params)?;
    let genesis = ceremony::draft(&args.name, args.time.unwrap_or_else(now), params)?;
    create_genesis(&args.out, &genesis)?;
    let path = args.out.display().to_string();
    Ok(Answer::new(path).noting("a founding document without founders; genesis add takes their cards"))
}

/// The clock of whoever founds.
fn now() -> UtcMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcMs::from_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

fn add(args: &AddArgs) -> Result<Answer, OperatorError> {
    let mut genesis = load_genesis(&args.genesis)?;
    let dropped = if args.drop_signatures { std::mem::take(&mut genesis.signatures).len() } else { 0 };
    let mut lines = Vec::new();
    for path in &args.cards {
        let card = MemberCard::load(path)?;
        let id = ceremony::add(&mut genesis, &card, args.power)?;
        let power = genesis.charter.members.last().map_or(0, |founder| founder.power);
        lines
            .push(format!("added {} as member {id} with power {power}", visible(card.profile.name.as_str())));
    }
    replace_genesis(&args.genesis, &genesis)?;
    let mut answer = Answer::new(lines.join("\n"));
    if dropped > 0 {
        answer = answer.noting(format!("signatures dropped: {dropped}; those founders sign again"));
    }
    Ok(answer)
}

fn sign(args: &SignArgs) -> Result<Answer, OperatorError> {
    let dir = args.dir.as_ref().map(NodeDir::new);
    let mut genesis = load_genesis(&args.genesis)?;
    // The command line asks for one of the two; without either it would be this directory.
    let here = || dir.clone().unwrap_or_else(|| NodeDir::new(".")).key("root");
    let root = Key::load(&args.key.clone().unwrap_or_else(here))?;
    let card = args.card.clone().or_else(|| Some(dir?.card()));
    let card = card.map(|path| MemberCard::load(&path)).transpose()?;
    let new = ceremony::sign(&mut genesis, &root, card.as_ref())?;
    if new {
        replace_genesis(&args.genesis, &genesis)?;
    }
    let standing = ceremony::standing(&genesis);
    let mut answer = Answer::new(describe(&genesis, &standing));
    if !new {
        answer = answer.noting("this founder had signed already; nothing was changed");
    }
    if card.is_none() {
        answer = answer.noting("signed without the founder's card: nobody compared its keys (--card, --dir)");
    }
    Ok(answer)
}

fn merge(args: &MergeArgs) -> Result<Answer, OperatorError> {
    let copies = args.copies.iter().map(|path| Ok((path.clone(), load_genesis(path)?)));
    let copies: Vec<(PathBuf, Genesis)> = copies.collect::<Result<_, OperatorError>>()?;
    // The command line asks for at least one copy.
    let Some(genesis) = ceremony::merge(&copies)? else { return Ok(Answer::new("")) };
    create_genesis(&args.out, &genesis)?;
    Ok(Answer::new(describe(&genesis, &ceremony::standing(&genesis))))
}

fn check(args: &CheckArgs) -> Result<Answer, OperatorError> {
    let genesis = load_genesis(&args.file)?;
    let standing = ceremony::standing(&genesis);
    let sound = standing.missing.is_none();
    let data =
        if args.json { as_json(&genesis, &standing).to_string() } else { describe(&genesis, &standing) };
    Ok(Answer { data, notes: complaint(&args.file, &standing), sound })
}

fn complaint(file: &Path, standing: &Standing) -> Vec<String> {
    let missing = standing.missing.iter();
    missing.map(|error| format!("{}: {}: {error}", error.rule(), file.display())).collect()
}

/// The document as people read it before and after they sign.
fn describe(genesis: &Genesis, standing: &Standing) -> String {
    let charter = &genesis.charter;
    let name = visible(charter.name.as_str());
    let mut text = format!("{name}, from {}\nnetwork {}\n", charter.time, standing.network);
    for founder in &standing.founders {
        let signed = if founder.signed { "signed" } else { "not signed" };
        let name = visible(founder.name.as_str());
        let (member, power, root) = (founder.member, founder.power, founder.root);
        // Writing to memory does not fail.
        writeln!(text, "  {member}  {name}, power {power}, root key {root}: {signed}").ok();
    }
    let unsigned = standing.founders.iter().filter(|founder| !founder.signed).count();
    match &standing.missing {
        None => text.push_str("signed by all founders"),
        Some(_) if unsigned > 0 => {
            write!(text, "{unsigned} of {} founders have yet to sign", standing.founders.len()).ok();
        }
        Some(error) => {
            write!(text, "founds no network: {error}").ok();
        }
    }
    text
}

fn as_json(genesis: &Genesis, standing: &Standing) -> Value {
    let founders: Vec<Value> = standing
        .founders
        .iter()
        .map(|founder| {
            json!({
                "member": founder.member,
                "name": founder.name,
                "power": founder.power,
                "root": founder.root,
                "signed": founder.signed,
            })
        })
        .collect();
    let missing =
        standing.missing.as_ref().map(|error| json!({"rule": error.rule(), "detail": error.to_string()}));
    json!({
        "network": standing.network,
        "name": genesis.charter.name,
        "time": genesis.charter.time,
        "sound": missing.is_none(),
        "founders": founders,
        "missing": missing,
    })
}
