//! One fixed value of every wire type, with every optional part present and no two
//! neighbouring fields alike, so that a swapped, dropped or widened field changes bytes.

use syngraph_protocol::block::{Block, Cut, CutPoint, Header};
use syngraph_protocol::certificate::{
    Certificate, CommitSignature, MemberSet, Proposal, SignedProposal, SignedVote, Vote, VoteKind, Voter,
};
use syngraph_protocol::codec::encode;
use syngraph_protocol::codes::{Act, Meter, Place, Purpose, Territory};
use syngraph_protocol::crypto::{Domain, SecretKey};
use syngraph_protocol::entry::{Body, BodyKind, Deed, Head, SignedEntry, SignedHead, Slot};
use syngraph_protocol::genesis::{Charter, Founder, Genesis};
use syngraph_protocol::ids::*;
use syngraph_protocol::ledger::agreement::terms::Party;
use syngraph_protocol::ledger::agreement::*;
use syngraph_protocol::ledger::asset::*;
use syngraph_protocol::ledger::equivocation::{Evidence, ReportEquivocation};
use syngraph_protocol::ledger::lineage::{DeclareLineage, Parent, Relation};
use syngraph_protocol::ledger::member::*;
use syngraph_protocol::ledger::params::{Fee, Params};
use syngraph_protocol::ledger::period::{ClosePeriod, Settle};
use syngraph_protocol::ledger::proposal::Approve;
use syngraph_protocol::ledger::royalty::{
    Aggregation, Multiplier, PaymentTerm, Price, RevenueBase, Scope as Over, Step, Tier, TierMode,
};
use syngraph_protocol::ledger::usage::{ReportUsage, UsageContext, UsageRow};
use syngraph_protocol::money::{Minor, Ppm, Rate, Weight};
use syngraph_protocol::name::Name;
use syngraph_protocol::time::{Month, Span, UtcMs};

/// 2026-10-01T00:00:00.000Z.
pub(crate) const OCTOBER: UtcMs = UtcMs::from_ms(1_790_812_800_000);
/// 2027-01-01T00:00:00.000Z.
pub(crate) const NEW_YEAR: UtcMs = UtcMs::from_ms(1_798_761_600_000);
pub(crate) const NETWORK: NetworkId = NetworkId::from_bytes([0xa0; 32]);

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

pub(crate) fn id(byte: u8) -> Id {
    Id::from_bytes([byte; 32])
}

pub(crate) fn hash(byte: u8) -> Hash {
    Hash::from_bytes([byte; 32])
}

pub(crate) fn member(number: u32) -> MemberId {
    MemberId::new(number)
}

pub(crate) fn month() -> Month {
    "2026-10".parse().expect("a month")
}

pub(crate) fn rate(minor: u64, per: u64) -> Rate {
    Rate::new(minor, per).expect("a price for more than 0 units")
}

pub(crate) fn owners() -> Vec<Owner> {
    vec![
        Owner { member: member(1), weight: Weight::new(7) },
        Owner { member: member(300), weight: Weight::new(70_000) },
    ]
}

pub(crate) fn profile() -> MemberProfile {
    let keys = [2, 3, 4].map(|seed| key(seed).public());
    let [validator, transport, journal] = keys;
    MemberProfile {
        name: Name::new("Aster GmbH, München"),
        jurisdiction: Place::new("DE-BY"),
        root: key(1).public(),
        node: Some(NodeKeys { validator, transport, journal }),
    }
}

pub(crate) fn scope() -> Scope {
    Scope {
        bodies: Some(vec![BodyKind::ReportUsage, BodyKind::Settle]),
        agreements: Some(vec![id(0x11), id(0x12)]),
    }
}

pub(crate) fn register() -> RegisterAsset {
    RegisterAsset {
        class: AssetClass::Model,
        title: Name::new("M1"),
        owners: owners(),
        licence: "LicenseRef-proprietary".into(),
        confidentiality: Confidentiality::Amber,
        jurisdiction: Place::new("FR"),
    }
}

pub(crate) fn publish() -> PublishVersion {
    PublishVersion {
        asset: id(0x21),
        label: Name::new("1.0"),
        content: hash(0x22),
        size_bytes: 5_000_000_000,
        released: OCTOBER,
        risk: Some(RiskClass::GeneralPurposeSystemic),
        training_flop_log2: Some(84),
    }
}

pub(crate) fn parent() -> Parent {
    Parent {
        version: id(0x31),
        relation: Relation::FineTunedFrom,
        material: Some(Ppm::new(250_000)),
        grant: Some(GrantRef { agreement: id(0x32), grant: 3 }),
    }
}

pub(crate) fn lineage() -> DeclareLineage {
    DeclareLineage { child: id(0x30), parents: vec![parent()] }
}

fn grant() -> Grant {
    let caps = vec![
        Cap { meter: Meter::new("tokens"), quantity: 1 << 40, per_period: true, on_excess: OnExcess::Rate },
        Cap { meter: Meter::new("calls"), quantity: 9, per_period: false, on_excess: OnExcess::Block },
    ];
    Grant {
        licensor: member(0),
        licensees: vec![member(2)],
        assets: vec![GrantAsset { asset: id(0x40), versions: vec![id(0x41)] }],
        acts: vec![Act::new("infer.service"), Act::new("train")],
        purposes: vec![Purpose::new("commercial")],
        territory: Territory {
            world: false,
            include: vec![Place::new("EU"), Place::new("US")],
            exclude: vec![Place::new("FR"), Place::new("US-CA")],
        },
        span: Span { from: OCTOBER, until: NEW_YEAR },
        exclusivity: Exclusivity::Sole,
        caps,
        derivatives: Royalty::Relative(Ppm::new(50_000)),
        reporter: Some(member(2)),
    }
}

/// A price of each kind.
pub(crate) fn prices() -> Vec<Price> {
    let tiers = vec![
        Tier { up_to: Some(10_000_000), rate: rate(250, 1_000_000) },
        Tier { up_to: None, rate: rate(135, 1_000_000) },
    ];
    let capped = RevenueBase::Net { deduction_cap: Some(Ppm::new(300_000)) };
    vec![
        Price::Free,
        Price::Flat(rate(333_333, 3)),
        Price::PerUnit(rate(250, 1_000_000)),
        Price::Package(rate(1, 1_000)),
        Price::Tiered { mode: TierMode::Volume, tiers },
        Price::Revenue { share: Ppm::new(120_000), base: RevenueBase::Gross },
        Price::Revenue { share: Ppm::new(120_000), base: capped },
    ]
}

pub(crate) fn payment_term(price: Price) -> PaymentTerm {
    let multiplier = Multiplier {
        metric: "latency_p95_ms".into(),
        below: Ppm::new(1_100_000),
        steps: vec![Step { from: -5, ppm: Ppm::ONE }, Step { from: 400, ppm: Ppm::new(900_000) }],
        aggregation: Aggregation::Median,
        observers: vec![member(0), member(2)],
        quorum: 2,
    };
    PaymentTerm {
        currency: "EUR".parse().expect("a currency"),
        price,
        multiplier: Some(multiplier),
        minimum: Some(Minor::new(5_000)),
        cap: Some(Minor::new(10_000_000)),
        advance: Some(Minor::new(250_000)),
        scope: Over::Lifetime,
    }
}

pub(crate) fn terms() -> Terms {
    let meter = |price: &Price| match price {
        Price::Revenue { .. } => Meter::new("revenue_minor"),
        _ => Meter::new("tokens.out"),
    };
    let payment = |(number, price)| Payment {
        id: Name::new(format!("term {number}")),
        grant: 0,
        payer: member(2),
        meter: meter(&price),
        term: payment_term(price),
    };
    Terms {
        kind: Kind::CrossLicence,
        title: Name::new("Inference licence"),
        parties: vec![
            Party { member: member(0), role: Name::new("licensor") },
            Party { member: member(2), role: Name::new("licensee") },
        ],
        upstream: vec![GrantRef { agreement: id(0x42), grant: 1 }],
        grants: vec![grant()],
        payments: prices().into_iter().enumerate().map(payment).collect(),
        term: Span { from: OCTOBER, until: UtcMs::OPEN },
        due_days: 30,
        governing_law: Some(Place::new("IE")),
        document: Some(hash(0x43)),
    }
}

pub(crate) fn propose() -> Propose {
    Propose { terms: terms(), salt: Salt::from_bytes([0x44; 32]), deadline: Some(NEW_YEAR) }
}

fn amend() -> Amend {
    let Propose { terms, salt, .. } = propose();
    Amend { agreement: id(0x45), previous: hash(0x46), terms, salt, deadline: None }
}

/// A UUIDv7 of a moment.
pub(crate) fn event(at: UtcMs, number: u16) -> EventId {
    let [_, _, moment @ ..] = at.ms().to_be_bytes();
    let [high, low] = number.to_be_bytes();
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&moment);
    bytes[6] = 0x70;
    bytes[8] = 0x80;
    bytes[14..].copy_from_slice(&[high, low]);
    EventId::from_bytes(bytes)
}

pub(crate) fn report() -> ReportUsage {
    let context = UsageContext {
        agreement: id(0x50),
        grant: 0,
        version: id(0x51),
        act: Act::new("infer.service"),
        purpose: Purpose::new("commercial.product"),
        territory: Place::new("DE"),
        meter: Meter::new("tokens.out"),
        payer: member(2),
    };
    let quantities = [0, 250, 251, 65_535, 65_536, u64::from(u32::MAX), u64::MAX];
    let row =
        |(number, quantity)| UsageRow { event_id: event(OCTOBER.plus_ms(7), number), context: 0, quantity };
    ReportUsage { contexts: vec![context], rows: (0..).zip(quantities).map(row).collect() }
}

/// Two entries with which a journal forks.
pub(crate) fn forked(network: NetworkId, journal: &SecretKey) -> Evidence {
    let branch = |byte| {
        let head = Head {
            version: 1,
            network,
            journal: journal.public(),
            member: member(0),
            seq: Seq::new(251),
            prev: EntryId::from_bytes([0x6b; 32]),
            claimed_at: OCTOBER,
            body_hash: hash(byte),
        };
        let signature = journal.sign(Domain::ENTRY, &encode(&head));
        SignedHead { head, signature }
    };
    Evidence::entries(branch(0x6c), branch(0x6d)).expect("two branches")
}

pub(crate) fn proposal() -> Proposal {
    Proposal {
        network: NETWORK,
        height: Height::new(1_000),
        round: 2,
        block: header().id(),
        valid_round: Some(1),
        member: member(7),
    }
}

/// Two votes of one kind in one round.
fn voted_twice() -> Evidence {
    let signed =
        |vote: Vote| SignedVote { signature: key(7).sign(Domain::VOTE, &vote.signing_bytes()), vote };
    let [nil, _] = votes();
    let some = Vote { block: Some(header().id()), ..nil.clone() };
    Evidence::votes(signed(nil), signed(some)).expect("for different blocks")
}

/// Two proposals in one round.
fn proposed_twice() -> Evidence {
    let signed = |proposal: Proposal| {
        let signature = key(7).sign(Domain::PROPOSAL, &proposal.signing_bytes());
        SignedProposal { proposal, signature }
    };
    let fresh = Proposal { valid_round: None, ..proposal() };
    Evidence::proposals(signed(proposal()), signed(fresh)).expect("they differ")
}

/// A deed of each kind, with the name of its kind; evidence of each kind.
pub(crate) fn deeds() -> Vec<(&'static str, Deed)> {
    let admit_member = AdmitMember {
        profile: profile(),
        possession: (0x60..0x64).map(|byte| Signature::from_bytes([byte; 64])).collect(),
    };
    let admit_key = AdmitKey {
        key: key(5).public(),
        scope: scope(),
        until: Some(NEW_YEAR),
        possession: Signature::from_bytes([0x65; 64]),
    };
    let countersign = Countersign { agreement: id(0x66), version: 2, terms_hash: hash(0x67) };
    let last = Some((Seq::new(251), EntryId::from_bytes([0x6e; 32])));
    let revoke_key = RevokeKey { key: key(5).public(), last };
    let report_evidence = |evidence| Deed::ReportEquivocation(ReportEquivocation { evidence });
    vec![
        ("admit_member", Deed::AdmitMember(admit_member)),
        ("admit_key", Deed::AdmitKey(admit_key)),
        ("approve", Deed::Approve(Approve { proposal: id(0x68) })),
        ("register_asset", Deed::RegisterAsset(register())),
        ("publish_version", Deed::PublishVersion(publish())),
        ("declare_lineage", Deed::DeclareLineage(lineage())),
        ("set_split", Deed::SetSplit(SetSplit { asset: id(0x69), owners: owners() })),
        ("propose", Deed::Propose(propose())),
        ("countersign", Deed::Countersign(countersign)),
        ("amend", Deed::Amend(amend())),
        ("close_period", Deed::ClosePeriod(ClosePeriod { month: month() })),
        ("settle", Deed::Settle(Settle { month: month() })),
        ("report_equivocation-entries", report_evidence(forked(NETWORK, &key(6)))),
        ("report_equivocation-votes", report_evidence(voted_twice())),
        ("report_equivocation-proposals", report_evidence(proposed_twice())),
        ("revoke_key", Deed::RevokeKey(revoke_key)),
    ]
}

/// A body of each kind, with the name of its kind.
pub(crate) fn bodies() -> Vec<(&'static str, Body)> {
    let deed = |(name, deed)| (name, Body::Deed { idem: Idem::from_bytes([0x6a; 16]), deed });
    let usage = ("report_usage", Body::ReportUsage(report()));
    std::iter::once(usage).chain(deeds().into_iter().map(deed)).collect()
}

/// A body signed by a fixed key in a fixed place.
pub(crate) fn signed(body: Body) -> SignedEntry {
    let slot = Slot {
        network: NETWORK,
        member: member(2),
        seq: Seq::new(300),
        prev: EntryId::from_bytes([0x70; 32]),
        claimed_at: OCTOBER,
    };
    SignedEntry::sign(&key(6), slot, body)
}

pub(crate) fn cut() -> Cut {
    let point = |byte, seq| CutPoint {
        journal: PublicKey::from_bytes([byte; 32]),
        seq: Seq::new(seq),
        entry: EntryId::from_bytes([byte ^ 0xff; 32]),
    };
    Cut::new(vec![point(0x72, 70_000), point(0x71, 0)])
}

pub(crate) fn header() -> Header {
    Header {
        version: 1,
        network: NETWORK,
        height: Height::new(1_000),
        time: OCTOBER,
        parent: BlockId::from_bytes([0x73; 32]),
        built_by: member(3),
        cut_root: cut().root(),
        log_size: 123_456,
        log_root: hash(0x74),
        outcomes_root: hash(0x75),
        state_root: hash(0x76),
        members_hash: member_set().hash(),
        next_members_hash: hash(0x77),
        rules_version: 2,
    }
}

pub(crate) fn block() -> Block {
    Block { header: header(), cut: cut() }
}

pub(crate) fn member_set() -> MemberSet {
    let voter = |number: u8, power| Voter { member: member(number.into()), key: key(number).public(), power };
    MemberSet::new(vec![voter(9, 1), voter(7, 1 << 31), voter(8, 0)])
}

/// A prevote for no block, and a precommit for one.
pub(crate) fn votes() -> [Vote; 2] {
    let vote = |kind, block| Vote {
        network: NETWORK,
        kind,
        height: Height::new(1_000),
        round: 2,
        block,
        member: member(7),
    };
    [vote(VoteKind::Prevote, None), vote(VoteKind::Precommit, Some(header().id()))]
}

pub(crate) fn certificate() -> Certificate {
    let [_, precommit] = votes();
    let commit = |number: u8| {
        let vote = Vote { member: member(number.into()), ..precommit.clone() };
        let signature = key(number).sign(Domain::VOTE, &vote.signing_bytes());
        CommitSignature { member: vote.member, signature }
    };
    Certificate {
        height: precommit.height,
        round: precommit.round,
        block: header().id(),
        signatures: vec![commit(7), commit(9)],
    }
}

pub(crate) fn params() -> Params {
    Params { fee: Some(Fee { ppm: Ppm::new(20_000), member: member(0) }), ..Params::default() }
}

pub(crate) fn charter() -> Charter {
    let second = MemberProfile { name: Name::new("Birch"), root: key(10).public(), node: None, ..profile() };
    Charter {
        version: 1,
        name: Name::new("Consortium"),
        time: OCTOBER,
        params: params(),
        members: vec![Founder { profile: profile(), power: 10 }, Founder { profile: second, power: 0 }],
    }
}

pub(crate) fn genesis() -> Genesis {
    let charter = charter();
    let signatures = vec![charter.sign(&key(1)), charter.sign(&key(10))];
    Genesis { charter, signatures }
}
