//! What members could try against each other, and why it does not work.

mod agreements;
mod lineages;
mod months;
mod reports;

use super::super::agreement::{Amend, Countersign, GrantRef, OnExcess, Propose, Royalty, terms::Cap};
use super::super::asset::{AssetClass, Owner, SetSplit};
use super::super::lineage::{DeclareLineage, Parent, Relation};
use super::super::period::ClosePeriod;
use super::super::royalty::{Price, Scope};
use super::super::*;
use super::{PAST, licensed, usage, use_it};
use crate::codes::{Act, Meter, Place, Purpose, Territory};
use crate::ledger::agreement::Terms;
use crate::money::{Micro, Minor, Ppm, Rate, Weight};
use crate::testing::*;
use crate::time::{DAY_MS, Month, UtcMs};

/// Proposes terms and lets the other party sign them.
fn agree(world: &mut World, proposer: u32, signer: u32, terms: Terms) -> Result<Id, String> {
    let terms_hash = terms.root(&SALT, None);
    let agreement = world.act(proposer, Deed::Propose(Propose { terms, salt: SALT, deadline: None }))?;
    world.act(signer, Deed::Countersign(Countersign { agreement, version: 1, terms_hash }))?;
    Ok(agreement)
}

/// Amends the newest version of an agreement with member 0, which member 2 signs.
fn amend(world: &mut World, agreement: Id, change: impl FnOnce(&mut Terms)) -> Result<(), String> {
    let known = world.ledger.agreements.get(&agreement).expect("known").clone();
    let before = world.ledger.terms.get(&(agreement, known.current)).expect("known").clone();
    let (mut terms, previous) = (before.terms, before.terms_hash);
    change(&mut terms);
    let terms_hash = terms.root(&SALT, Some(&previous));
    world.act(0, Deed::Amend(Amend { agreement, previous, terms, salt: SALT, deadline: None }))?;
    let version = known.versions + 1;
    world.act(2, Deed::Countersign(Countersign { agreement, version, terms_hash })).map(|_| ())
}

fn close(world: &mut World, month: Month) -> Result<(), String> {
    world.act(1, Deed::ClosePeriod(ClosePeriod { month })).map(|_| ())
}

/// The rules that findings name, sorted.
fn found(world: &World) -> Vec<String> {
    let mut rules: Vec<_> = world.ledger.findings.iter().map(|(_, found)| found.rule.clone()).collect();
    rules.sort_unstable();
    rules
}

/// Member `from` lets member `to` train on an asset, for a royalty.
fn training(from: u32, to: u32, asset: Id, royalty: Royalty) -> Terms {
    let mut terms = licence(asset);
    terms.parties[0].member = member(from.min(to));
    terms.parties[1].member = member(from.max(to));
    let grant = &mut terms.grants[0];
    (grant.licensor, grant.licensees) = (member(from), vec![member(to)]);
    grant.acts = vec![Act::new("train")];
    grant.derivatives = royalty;
    terms.payments.clear();
    terms
}

fn declare(child: Id, parent: Id, agreement: Option<Id>) -> Deed {
    let grant = agreement.map(|agreement| GrantRef { agreement, grant: 0 });
    let parent = Parent { version: parent, relation: Relation::TrainedOn, material: None, grant };
    Deed::DeclareLineage(DeclareLineage { child, parents: vec![parent] })
}

fn past_month() -> Month {
    Month::of(PAST).expect("a date")
}

fn shares(world: &World) -> Vec<(u32, i128)> {
    let shares = world.ledger.lines.iter().flat_map(|(_, line)| &line.shares);
    shares.map(|share| (share.member.get(), share.micros.get())).collect()
}
