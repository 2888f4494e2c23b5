//! A small consortium for unit tests: three members, one of them voting, and blocks made
//! from what they sign.

use std::collections::BTreeMap;

use crate::block::Block;
use crate::certificate::{Certificate, CommitSignature, Vote, VoteKind};
use crate::codes::{Act, Meter, Place, Purpose, Territory};
use crate::crypto::{Domain, SecretKey};
use crate::entry::{Body, Deed, SignedEntry, Slot, VerifiedEntry};
use crate::genesis::{Charter, Founder, GENESIS_VERSION};
use crate::ids::{EventId, Hash, Id, Idem, MemberId, Salt};
use crate::journal::Tip;
use crate::ledger::agreement::terms::{Exclusivity, Grant, GrantAsset, Kind, Party, Payment, Royalty, Terms};
use crate::ledger::asset::{AssetClass, Confidentiality, Owner, PublishVersion, RegisterAsset};
use crate::ledger::member::{MemberProfile, NodeKeys};
use crate::ledger::params::Params;
use crate::ledger::royalty::{PaymentTerm, Price, Scope, Tier, TierMode};
use crate::ledger::usage::{ReportUsage, UsageContext, UsageRow};
use crate::ledger::{Executed, Ledger, Outcome, Plan};
use crate::money::{Rate, Weight};
use crate::name::Name;
use crate::replay;
use crate::time::{DAY_MS, Span, UtcMs};

pub(crate) const START: UtcMs = UtcMs::from_ms(1_790_000_000_000);

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

pub(crate) fn member(number: u32) -> MemberId {
    MemberId::new(number)
}

fn profile(name: &str, seed: u8, node: bool) -> MemberProfile {
    let public = |offset| key(seed + offset).public();
    let node = node.then(|| NodeKeys { validator: public(1), transport: public(2), journal: public(3) });
    MemberProfile { name: Name::new(name), jurisdiction: Place::new("DE"), root: public(0), node }
}

/// Members 0 (votes), 1 and 2, with root keys of seeds 10, 20 and 30.
pub(crate) fn charter() -> Charter {
    let founder = |name, seed, power| Founder { profile: profile(name, seed, power > 0), power };
    let params = Params { usage_grace_ms: 400 * DAY_MS, period_grace_ms: DAY_MS, ..Params::default() };
    Charter {
        version: GENESIS_VERSION,
        name: Name::new("Test consortium"),
        time: START,
        params,
        members: vec![founder("Aster", 10, 1), founder("Birch", 20, 0), founder("Cedar", 30, 0)],
    }
}

/// A ledger that grows by what its members sign with their root keys.
pub(crate) struct World {
    pub(crate) ledger: Ledger,
    pub(crate) time: UtcMs,
    pub(crate) blocks: Vec<(Block, Certificate, Vec<VerifiedEntry>)>,
    tips: BTreeMap<u8, Tip>,
    idem: u8,
}

impl World {
    pub(crate) fn new() -> Self {
        let ledger = Ledger::genesis(&charter());
        Self { ledger, time: START, blocks: Vec::new(), tips: BTreeMap::new(), idem: 0 }
    }

    /// An entry signed by the key of a seed for a member.
    pub(crate) fn sign_as(&mut self, seed: u8, member: MemberId, body: Body) -> VerifiedEntry {
        let tip = self.tips.entry(seed).or_insert(Tip::EMPTY);
        let network = self.ledger.network();
        let slot = Slot { network, member, seq: tip.next, prev: tip.last, claimed_at: self.time };
        let entry = VerifiedEntry::verify(SignedEntry::sign(&key(seed), slot, body), network);
        let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", error.rule()));
        *tip = tip.append(tip.next, tip.last, entry.id()).expect("continues its journal");
        entry
    }

    /// An entry of a member, signed by its root key.
    pub(crate) fn sign(&mut self, number: u32, body: Body) -> VerifiedEntry {
        let seed = u8::try_from((number + 1) * 10).expect("few members");
        self.sign_as(seed, member(number), body)
    }

    pub(crate) fn deed(&mut self, number: u32, deed: Deed) -> VerifiedEntry {
        self.idem += 1;
        self.sign(number, Body::Deed { idem: Idem::from_bytes([self.idem; 16]), deed })
    }

    /// Executes a block a second later and proves it by replay.
    pub(crate) fn block(&mut self, entries: Vec<VerifiedEntry>) -> Executed {
        self.time = self.time.plus_ms(1_000);
        let plan = Plan { time: self.time, built_by: member(0) };
        let executed = self.ledger.execute(&plan, entries).expect("a possible block");
        let certificate = certify(&self.ledger, &executed.block);
        let sealed = executed.entries.clone();
        let again = replay::step(&self.ledger, &executed.block, &certificate, sealed.clone());
        assert_eq!(again.expect("replays").block, executed.block);
        self.blocks.push((executed.block.clone(), certificate, sealed));
        self.ledger = executed.ledger.clone();
        executed
    }

    /// Seals one deed; gives its entry's id and its outcome's rule, if it was refused.
    pub(crate) fn act(&mut self, number: u32, deed: Deed) -> Result<Id, String> {
        let entry = self.deed(number, deed);
        let id = entry.id().into();
        match self.block(vec![entry]).outcomes.as_slice() {
            [Outcome::Refused { rule }] => Err(rule.clone()),
            [Outcome::Applied] => Ok(id),
            other => panic!("one outcome of a deed, not {other:?}"),
        }
    }

    /// Registers a model of member 0 with one version.
    pub(crate) fn model(&mut self) -> (Id, Id) {
        self.asset(0, AssetClass::Model, "M1")
    }

    pub(crate) fn asset(&mut self, number: u32, class: AssetClass, title: &str) -> (Id, Id) {
        let asset = RegisterAsset {
            class,
            title: Name::new(title),
            owners: vec![Owner { member: member(number), weight: Weight::new(1) }],
            licence: "LicenseRef-proprietary".into(),
            confidentiality: Confidentiality::Green,
            jurisdiction: Place::new("DE"),
        };
        let asset = self.act(number, Deed::RegisterAsset(asset)).expect("registered");
        let version = PublishVersion {
            asset,
            label: Name::new("1.0"),
            content: Hash::from_bytes([7; 32]),
            size_bytes: 1,
            released: START,
            risk: None,
            training_flop_log2: None,
        };
        (asset, self.act(number, Deed::PublishVersion(version)).expect("published"))
    }
}

/// The voting member's certificate for a block.
pub(crate) fn certify(ledger: &Ledger, block: &Block) -> Certificate {
    let (id, height) = (block.id(), block.header.height);
    let kind = VoteKind::Precommit;
    let vote = Vote { network: ledger.network(), kind, height, round: 0, block: Some(id), member: member(0) };
    let signature = key(11).sign(Domain::VOTE, &vote.signing_bytes());
    Certificate {
        height,
        round: 0,
        block: id,
        signatures: vec![CommitSignature { member: member(0), signature }],
    }
}

/// Member 0 licenses an asset to member 2, for tokens at the tiers of the worked example.
pub(crate) fn licence(asset: Id) -> Terms {
    let term = Span { from: START.minus_ms(100 * DAY_MS), until: UtcMs::OPEN };
    let rate = |minor| Rate::new(minor, 1_000_000).expect("per is above 0");
    let tiers = vec![
        Tier { up_to: Some(10_000_000), rate: rate(250) },
        Tier { up_to: Some(50_000_000), rate: rate(190) },
        Tier { up_to: None, rate: rate(135) },
    ];
    Terms {
        kind: Kind::Licence,
        title: Name::new("Inference licence"),
        parties: vec![
            Party { member: member(0), role: Name::new("licensor") },
            Party { member: member(2), role: Name::new("licensee") },
        ],
        upstream: Vec::new(),
        grants: vec![Grant {
            licensor: member(0),
            licensees: vec![member(2)],
            assets: vec![GrantAsset { asset, versions: Vec::new() }],
            acts: vec![Act::new("infer")],
            purposes: Vec::new(),
            territory: Territory { world: false, include: vec![Place::new("EU")], exclude: Vec::new() },
            span: term,
            exclusivity: Exclusivity::NonExclusive,
            caps: Vec::new(),
            derivatives: Royalty::None,
            reporter: None,
        }],
        payments: vec![Payment {
            id: Name::new("tokens"),
            grant: 0,
            payer: member(2),
            meter: Meter::new("tokens"),
            term: PaymentTerm {
                currency: "EUR".parse().expect("a currency"),
                price: Price::Tiered { mode: TierMode::Graduated, tiers },
                multiplier: None,
                minimum: None,
                cap: None,
                advance: None,
                scope: Scope::Period,
            },
        }],
        term,
        due_days: 30,
        governing_law: Some(Place::new("DE")),
        document: None,
    }
}

pub(crate) const SALT: Salt = Salt::from_bytes([9; 32]);

/// A UUIDv7 of a moment.
pub(crate) fn event(at: UtcMs, number: u16) -> EventId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&at.ms().to_be_bytes()[2..]);
    bytes[6] = 0x70;
    bytes[8] = 0x80;
    bytes[14..].copy_from_slice(&number.to_be_bytes());
    EventId::from_bytes(bytes)
}

/// A report of member 2's inference with a version under an agreement.
pub(crate) fn report(agreement: Id, version: Id, rows: &[(UtcMs, u16, u64)]) -> ReportUsage {
    let context = UsageContext {
        agreement,
        grant: 0,
        version,
        act: Act::new("infer.service"),
        purpose: Purpose::new("commercial.product"),
        territory: Place::new("DE"),
        meter: Meter::new("tokens"),
        payer: member(2),
    };
    let row = |&(at, number, quantity)| UsageRow { event_id: event(at, number), context: 0, quantity };
    ReportUsage { contexts: vec![context], rows: rows.iter().map(row).collect() }
}
