//! A consortium of three in a test's hands: what members sign becomes blocks.

use std::collections::BTreeMap;

use syngraph_protocol::block::Block;
use syngraph_protocol::certificate::{Certificate, CommitSignature, Vote, VoteKind};
use syngraph_protocol::codes::{Act, Meter, Place, Purpose, Territory};
use syngraph_protocol::crypto::Domain;
use syngraph_protocol::entry::{Body, Deed, SignedEntry, Slot, VerifiedEntry};
use syngraph_protocol::genesis::{Charter, Founder};
use syngraph_protocol::ids::{Id, Idem, MemberId, Salt};
use syngraph_protocol::journal::Tip;
use syngraph_protocol::ledger::agreement::terms::Party;
use syngraph_protocol::ledger::agreement::{
    Countersign, Exclusivity, Grant, GrantAsset, GrantRef, Kind, Payment, Propose, Royalty, Terms,
};
use syngraph_protocol::ledger::asset::{
    AssetClass, Confidentiality, Owner, PublishVersion, RegisterAsset, SetSplit,
};
use syngraph_protocol::ledger::equivocation::ReportEquivocation;
use syngraph_protocol::ledger::lineage::{DeclareLineage, Parent, Relation};
use syngraph_protocol::ledger::member::{
    AdmitKey, AdmitMember, MemberProfile, NodeKeys, RevokeKey, Scope, prove_possession,
};
use syngraph_protocol::ledger::params::Params;
use syngraph_protocol::ledger::period::{ClosePeriod, Settle};
use syngraph_protocol::ledger::royalty::{PaymentTerm, Price, Scope as Over};
use syngraph_protocol::ledger::usage::{ReportUsage, UsageContext, UsageRow};
use syngraph_protocol::ledger::{Executed, Ledger, Outcome, Plan};
use syngraph_protocol::money::{Ppm, Weight};
use syngraph_protocol::name::Name;
use syngraph_protocol::replay;
use syngraph_protocol::time::{DAY_MS, Month, Span, UtcMs};

use crate::samples::{OCTOBER, event, forked, hash, key, member, rate};

/// When the consortium begins.
pub(crate) const START: UtcMs = OCTOBER.plus_ms(5 * DAY_MS);
/// When its members used things: in the month before.
pub(crate) const USED: UtcMs = OCTOBER.minus_ms(3 * DAY_MS);
const SALT: Salt = Salt::from_bytes([9; 32]);

/// Seeds of the root keys.
const ROOTS: [u8; 3] = [10, 20, 30];

fn charter() -> Charter {
    let founder = |(name, root): (&str, u8)| {
        let [first, second, third] = [1, 2, 3].map(|offset| key(root + offset).public());
        let node = NodeKeys { validator: first, transport: second, journal: third };
        let votes = root == ROOTS[0];
        let profile = MemberProfile {
            name: Name::new(name),
            jurisdiction: Place::new("DE"),
            root: key(root).public(),
            node: votes.then_some(node),
        };
        Founder { profile, power: u64::from(votes) }
    };
    let params = Params { usage_grace_ms: 90 * DAY_MS, period_grace_ms: DAY_MS, ..Params::default() };
    let members = ["Aster", "Birch", "Cedar"].into_iter().zip(ROOTS).map(founder).collect();
    Charter { version: 1, name: Name::new("Three"), time: START, params, members }
}

/// Member 0 votes; all three sign with their root keys.
#[derive(Clone)]
pub(crate) struct Consortium {
    pub(crate) ledger: Ledger,
    time: UtcMs,
    tips: BTreeMap<MemberId, Tip>,
    idem: u8,
}

impl Consortium {
    pub(crate) fn new() -> Self {
        let charter = charter();
        assert_eq!(charter.check(), Ok(()));
        Self { ledger: Ledger::genesis(&charter), time: START, tips: BTreeMap::new(), idem: 0 }
    }

    /// The next entry in the journal of a member's root key.
    pub(crate) fn sign(&mut self, number: usize, body: Body) -> VerifiedEntry {
        let member = member(u32::try_from(number).expect("three members"));
        let tip = self.tips.entry(member).or_insert(Tip::EMPTY);
        let network = self.ledger.network();
        let slot = Slot { network, member, seq: tip.next, prev: tip.last, claimed_at: self.time };
        let signed = SignedEntry::sign(&key(ROOTS[number]), slot, body);
        let entry = VerifiedEntry::verify(signed, network).expect("a well-formed entry");
        *tip = tip.append(tip.next, tip.last, entry.id()).expect("continues its journal");
        entry
    }

    pub(crate) fn deed(&mut self, number: usize, deed: Deed) -> VerifiedEntry {
        self.idem = self.idem.wrapping_add(1);
        self.sign(number, Body::Deed { idem: Idem::from_bytes([self.idem; 16]), deed })
    }

    /// The plan of a block a second after the last.
    pub(crate) fn plan(&self) -> Plan {
        Plan { time: self.time.plus_ms(1_000), built_by: member(0) }
    }

    /// Seals a block, and proves it by replay.
    pub(crate) fn seal(&mut self, entries: Vec<VerifiedEntry>) -> Executed {
        let plan = self.plan();
        let executed = self.ledger.execute(&plan, entries).expect("a possible block");
        let certificate = self.certify(&executed.block);
        let again = replay::step(&self.ledger, &executed.block, &certificate, executed.entries.clone());
        assert_eq!(again.expect("replays").block, executed.block);
        (self.time, self.ledger) = (plan.time, executed.ledger.clone());
        executed
    }

    fn certify(&self, block: &Block) -> Certificate {
        let (height, network) = (block.header.height, self.ledger.network());
        let vote = Vote {
            network,
            kind: VoteKind::Precommit,
            height,
            round: 0,
            block: Some(block.id()),
            member: member(0),
        };
        let signature = key(ROOTS[0] + 1).sign(Domain::VOTE, &vote.signing_bytes());
        let commit = CommitSignature { member: member(0), signature };
        Certificate { height, round: 0, block: block.id(), signatures: vec![commit] }
    }
}

pub(crate) fn owner(number: u32, weight: u64) -> Owner {
    Owner { member: member(number), weight: Weight::new(weight) }
}

pub(crate) fn register(title: &str, owners: Vec<Owner>) -> Deed {
    Deed::RegisterAsset(RegisterAsset {
        class: AssetClass::Model,
        title: Name::new(title),
        owners,
        licence: "MIT".into(),
        confidentiality: Confidentiality::Green,
        jurisdiction: Place::new("DE"),
    })
}

fn publish(asset: Id) -> Deed {
    Deed::PublishVersion(PublishVersion {
        asset,
        label: Name::new("1.0"),
        content: hash(7),
        size_bytes: 1,
        released: START,
        risk: None,
        training_flop_log2: None,
    })
}

/// `licensor` lets `licensee` do everything that has to do with inference or training,
/// for 2.50 EUR a million tokens and a tenth of what is made from it.
fn licence(licensor: u32, licensee: u32, asset: Id) -> Propose {
    let term = Span { from: OCTOBER.minus_ms(100 * DAY_MS), until: UtcMs::OPEN };
    let mut parties = vec![
        Party { member: member(licensor), role: Name::new("licensor") },
        Party { member: member(licensee), role: Name::new("licensee") },
    ];
    parties.sort_by_key(|party| party.member);
    let grant = Grant {
        licensor: member(licensor),
        licensees: vec![member(licensee)],
        assets: vec![GrantAsset { asset, versions: Vec::new() }],
        acts: vec![Act::new("infer"), Act::new("train")],
        purposes: Vec::new(),
        territory: Territory { world: false, include: vec![Place::new("EU")], exclude: Vec::new() },
        span: term,
        exclusivity: Exclusivity::NonExclusive,
        caps: Vec::new(),
        derivatives: Royalty::Relative(Ppm::new(100_000)),
        reporter: None,
    };
    let payment = Payment {
        id: Name::new("tokens"),
        grant: 0,
        payer: member(licensee),
        meter: Meter::new("tokens"),
        term: PaymentTerm {
            currency: "EUR".parse().expect("a currency"),
            price: Price::PerUnit(rate(250, 1_000_000)),
            multiplier: None,
            minimum: None,
            cap: None,
            advance: None,
            scope: Over::Period,
        },
    };
    let terms = Terms {
        kind: Kind::Licence,
        title: Name::new("Licence"),
        parties,
        upstream: Vec::new(),
        grants: vec![grant],
        payments: vec![payment],
        term,
        due_days: 30,
        governing_law: None,
        document: None,
    };
    Propose { terms, salt: SALT, deadline: None }
}

/// What `payer` reports of an inference, as (moment, number of the event, tokens, place).
pub(crate) fn report(
    payer: u32,
    agreement: Id,
    version: Id,
    rows: &[(UtcMs, u16, u64, &str)],
) -> ReportUsage {
    let context = |place: &&str| UsageContext {
        agreement,
        grant: 0,
        version,
        act: Act::new("infer.service"),
        purpose: Purpose::new("commercial.product"),
        territory: Place::new(*place),
        meter: Meter::new("tokens"),
        payer: member(payer),
    };
    let places: Vec<&str> = ["DE", "JP"].into_iter().collect();
    let row = |&(at, number, quantity, place): &(UtcMs, u16, u64, &str)| UsageRow {
        event_id: event(at, number),
        context: u8::from(place == places[1]),
        quantity,
    };
    ReportUsage { contexts: places.iter().map(context).collect(), rows: rows.iter().map(row).collect() }
}

/// What a licensed consortium has.
pub(crate) struct Licensed {
    pub(crate) consortium: Consortium,
    pub(crate) asset: Id,
    pub(crate) version: Id,
    pub(crate) agreement: Id,
    pub(crate) blocks: Vec<Executed>,
    pub(crate) ledgers: Vec<Ledger>,
}

impl Licensed {
    /// Seals deeds of members in one block; gives the ids of what they made.
    fn act(&mut self, deeds: Vec<(usize, Deed)>) -> Vec<Id> {
        let deeds = deeds.into_iter();
        let entries: Vec<_> = deeds.map(|(number, deed)| self.consortium.deed(number, deed)).collect();
        let ids = entries.iter().map(|entry| entry.id().into()).collect();
        self.seal(entries);
        let outcomes = self.blocks.last().map(|executed| executed.outcomes.as_slice());
        assert!(outcomes.is_some_and(|all| all.iter().all(|outcome| *outcome == Outcome::Applied)));
        ids
    }

    fn seal(&mut self, entries: Vec<VerifiedEntry>) {
        self.blocks.push(self.consortium.seal(entries));
        self.ledgers.push(self.consortium.ledger.clone());
    }

    fn agree(&mut self, from: usize, to: usize, propose: Propose) -> Id {
        let terms_hash = propose.terms.root(&SALT, None);
        let agreement = self.act(vec![(from, Deed::Propose(propose))])[0];
        self.act(vec![(to, Deed::Countersign(Countersign { agreement, version: 1, terms_hash }))]);
        agreement
    }
}

/// Birch's data are in Aster's model, which Cedar may use.
pub(crate) fn licensed() -> Licensed {
    let consortium = Consortium::new();
    let (unknown, ledgers) = (Id::from_bytes([0; 32]), vec![consortium.ledger.clone()]);
    let mut all = Licensed {
        consortium,
        asset: unknown,
        version: unknown,
        agreement: unknown,
        blocks: Vec::new(),
        ledgers,
    };
    let assets =
        all.act(vec![(1, register("Data", vec![owner(1, 1)])), (0, register("M1", vec![owner(0, 1)]))]);
    let versions = all.act(vec![(1, publish(assets[0])), (0, publish(assets[1]))]);
    let upstream = all.agree(1, 0, licence(1, 0, assets[0]));
    let relied_on = Some(GrantRef { agreement: upstream, grant: 0 });
    let parent =
        Parent { version: versions[0], relation: Relation::TrainedOn, material: None, grant: relied_on };
    let declare = DeclareLineage { child: versions[1], parents: vec![parent] };
    all.act(vec![(0, Deed::DeclareLineage(declare))]);
    (all.asset, all.version) = (assets[1], versions[1]);
    all.agreement = all.agree(0, 2, licence(0, 2, assets[1]));
    all
}

/// The whole way from registration to payments: the state after each block, and what
/// each gave.
pub(crate) fn history() -> (Vec<Ledger>, Vec<Executed>) {
    let mut all = licensed();
    let (agreement, version) = (all.agreement, all.version);
    let rows = [
        (USED, 0, 41_234_567, "DE"),
        (USED, 1, 5, "JP"),
        (USED, 0, 1, "DE"),
        (START.minus_ms(91 * DAY_MS), 2, 1, "DE"),
    ];
    let used = all.consortium.sign(2, Body::ReportUsage(report(2, agreement, version, &rows)));
    let counted = report(0, agreement, version, &[(USED, 0, 41_234_000, "DE")]);
    let counted = all.consortium.sign(0, Body::ReportUsage(counted));
    let unknown =
        all.consortium.deed(1, Deed::SetSplit(SetSplit { asset: hash_id(), owners: vec![owner(1, 1)] }));
    all.seal(vec![used, counted, unknown]);

    let split = SetSplit { asset: all.asset, owners: vec![owner(0, 2), owner(1, 1)] };
    let newcomer = newcomer(&all.consortium.ledger);
    all.act(vec![(0, Deed::SetSplit(split)), (1, Deed::AdmitMember(newcomer)), (2, app_key(&all))]);
    let month = Month::of(USED).expect("a date");
    all.act(vec![(1, Deed::ClosePeriod(ClosePeriod { month }))]);
    all.act(vec![(2, Deed::Settle(Settle { month }))]);
    let evidence = forked(all.consortium.ledger.network(), &key(ROOTS[0] + 3));
    let revoke = Deed::RevokeKey(RevokeKey { key: key(35).public(), last: None });
    all.act(vec![(1, Deed::ReportEquivocation(ReportEquivocation { evidence })), (2, revoke)]);
    (all.ledgers, all.blocks)
}

fn hash_id() -> Id {
    Id::from_bytes([0xee; 32])
}

fn newcomer(ledger: &Ledger) -> AdmitMember {
    let root = key(40);
    let possession = vec![prove_possession(ledger.network(), &root.public(), &root)];
    let profile = MemberProfile {
        name: Name::new("Dahlia"),
        jurisdiction: Place::new("FR"),
        root: root.public(),
        node: None,
    };
    AdmitMember { profile, possession }
}

fn app_key(all: &Licensed) -> Deed {
    let (app, root) = (key(35), key(ROOTS[2]).public());
    Deed::AdmitKey(AdmitKey {
        key: app.public(),
        scope: Scope { bodies: None, agreements: Some(vec![all.agreement]) },
        until: None,
        possession: prove_possession(all.consortium.ledger.network(), &root, &app),
    })
}
