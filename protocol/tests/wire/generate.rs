//! Values made from bytes: every wire type with arbitrary content, favouring the edges of
//! the integer encoding. Whether a value makes sense is not asked here; only the types
//! hold it back.

use syngraph_protocol::block::{Block, Cut, CutPoint, Header};
use syngraph_protocol::certificate::{
    self, Certificate, CommitSignature, MemberSet, SignedProposal, SignedVote, Vote, VoteKind, Voter,
};
use syngraph_protocol::codec::{decode, encode};
use syngraph_protocol::codes::{Act, Meter, Place, Purpose, Territory};
use syngraph_protocol::entry::{Body, BodyKind, Deed, Head, SignedEntry, SignedHead};
use syngraph_protocol::genesis::{Charter, Founder, FounderSignature, Genesis};
use syngraph_protocol::ids::*;
use syngraph_protocol::journal::Tip;
use syngraph_protocol::ledger::agreement::terms::Party;
use syngraph_protocol::ledger::agreement::*;
use syngraph_protocol::ledger::asset::*;
use syngraph_protocol::ledger::equivocation::{Equivocation, Evidence, Offence, ReportEquivocation};
use syngraph_protocol::ledger::finding::{Finding, Severity, Subject};
use syngraph_protocol::ledger::lineage::{DeclareLineage, LineageChange, Link, Parent, Relation};
use syngraph_protocol::ledger::member::*;
use syngraph_protocol::ledger::params::{Fee, Params};
use syngraph_protocol::ledger::period::*;
use syngraph_protocol::ledger::proposal::{Approve, Change, Proposal};
use syngraph_protocol::ledger::royalty::waterfall::Share;
use syngraph_protocol::ledger::royalty::{
    Aggregation, Multiplier, PaymentTerm, Price, RevenueBase, Scope as Over, Step, Tier, TierMode,
};
use syngraph_protocol::ledger::usage::event_ids::EventDay;
use syngraph_protocol::ledger::usage::{Metered, ReportUsage, Total, UsageContext, UsageRow};
use syngraph_protocol::ledger::{Outcome, RefusedRows};
use syngraph_protocol::merkle::Frontier;
use syngraph_protocol::money::{Currency, Micro, Minor, Ppm, Rate, Weight};
use syngraph_protocol::name::Name;
use syngraph_protocol::time::{Month, Span, UtcMs};

/// Bytes that decide; zeros once they are used up.
pub(crate) struct Source<'a> {
    bytes: &'a [u8],
    /// Whether moments and months stay within the years 0 to 9999, outside which they
    /// have no text.
    dated: bool,
}

/// What can be made from bytes.
pub(crate) trait Generate: Sized {
    fn generate(from: &mut Source<'_>) -> Self;
}

impl<'a> Source<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, dated: false }
    }

    pub(crate) fn dated(bytes: &'a [u8]) -> Self {
        Self { bytes, dated: true }
    }

    pub(crate) fn make<T: Generate>(&mut self) -> T {
        T::generate(self)
    }

    fn byte(&mut self) -> u8 {
        let (first, rest) = self.bytes.split_first().unwrap_or((&0, &[]));
        self.bytes = rest;
        *first
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// One of several.
    fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()].clone()
    }

    fn text(&mut self) -> String {
        let letters = ["", "a", "Z", ".", "-", "é", "漢", "\u{0}", "\u{7f}", "🦀", " "];
        (0..self.byte() % 5).map(|_| self.pick(&letters)).collect()
    }
}

impl Generate for u8 {
    fn generate(from: &mut Source<'_>) -> Self {
        from.byte()
    }
}

impl Generate for bool {
    fn generate(from: &mut Source<'_>) -> Self {
        from.byte() % 2 == 1
    }
}

macro_rules! integers {
    ($($int:ty)+) => {
        $(impl Generate for $int {
            /// Small, at an edge of the variable-length encoding, or anything.
            fn generate(from: &mut Source<'_>) -> Self {
                let edges = [0_u64, 1, 127, 250, 251, 252, 65_535, 65_536, u32::MAX.into(), u64::MAX];
                match from.byte() {
                    choice @ 0..128 => Self::try_from(edges[usize::from(choice) % edges.len()]).unwrap_or(Self::MAX),
                    128..144 => Self::MIN,
                    144..160 => Self::MAX,
                    _ => Self::from_le_bytes(from.array()),
                }
            }
        })+
    };
}

integers! { u16 u32 u64 i64 i128 }

macro_rules! ids {
    ($($id:ty)+) => {
        $(impl Generate for $id {
            fn generate(from: &mut Source<'_>) -> Self {
                Self::from_bytes(from.array())
            }
        })+
    };
}

ids! { Hash EntryId Id BlockId NetworkId PublicKey Signature EventId Idem Salt }

macro_rules! wrapped {
    ($($name:ty)+) => {
        $(impl Generate for $name {
            fn generate(from: &mut Source<'_>) -> Self {
                Self::new(from.make())
            }
        })+
    };
}

wrapped! { MemberId Height Seq Weight Ppm Minor Micro }

macro_rules! texts {
    ($($name:ty)+) => {
        $(impl Generate for $name {
            fn generate(from: &mut Source<'_>) -> Self {
                Self::new(from.text())
            }
        })+
    };
}

texts! { Act Meter Place Purpose Name }

impl Generate for String {
    fn generate(from: &mut Source<'_>) -> Self {
        from.text()
    }
}

impl<T: Generate> Generate for Option<T> {
    fn generate(from: &mut Source<'_>) -> Self {
        from.make::<bool>().then(|| from.make())
    }
}

impl<T: Generate> Generate for Vec<T> {
    fn generate(from: &mut Source<'_>) -> Self {
        (0..from.byte() % 4).map(|_| from.make()).collect()
    }
}

impl<A: Generate, B: Generate> Generate for (A, B) {
    fn generate(from: &mut Source<'_>) -> Self {
        (from.make(), from.make())
    }
}

impl Generate for UtcMs {
    fn generate(from: &mut Source<'_>) -> Self {
        let ms: i64 = from.make();
        // The years 1970 to 9999.
        Self::from_ms(if from.dated { ms.rem_euclid(253_402_300_800_000) } else { ms })
    }
}

impl Generate for Month {
    fn generate(from: &mut Source<'_>) -> Self {
        let months: u32 = from.make();
        let months = if from.dated { months % 120_000 } else { months };
        decode(&encode(&months), 8).expect("a month is its number")
    }
}

impl Generate for Rate {
    fn generate(from: &mut Source<'_>) -> Self {
        Self::new(from.make(), from.make::<u64>().max(1)).expect("for more than 0 units")
    }
}

impl Generate for Currency {
    fn generate(from: &mut Source<'_>) -> Self {
        from.pick(&["EUR", "JPY", "KWD", "CLF"]).parse().expect("a currency")
    }
}

impl Generate for MemberSet {
    fn generate(from: &mut Source<'_>) -> Self {
        Self::new(from.make())
    }
}

impl Generate for Frontier {
    fn generate(from: &mut Source<'_>) -> Self {
        let mut frontier = Self::default();
        (0..from.byte() % 9).for_each(|_| frontier.push(from.make()));
        frontier
    }
}

macro_rules! records {
    ($($name:ident { $($field:ident),+ })+) => {
        $(impl Generate for $name {
            fn generate(from: &mut Source<'_>) -> Self {
                Self { $($field: from.make()),+ }
            }
        })+
    };
}

records! {
    Head { version, network, journal, member, seq, prev, claimed_at, body_hash }
    SignedHead { head, signature }
    SignedEntry { head, signature, body }
    CutPoint { journal, seq, entry }
    Cut { points }
    Header {
        version, network, height, time, parent, built_by, cut_root, log_size, log_root, outcomes_root,
        state_root, members_hash, next_members_hash, rules_version
    }
    Block { header, cut }
    Voter { member, key, power }
    Vote { network, kind, height, round, block, member }
    SignedVote { vote, signature }
    SignedProposal { proposal, signature }
    CommitSignature { member, signature }
    Certificate { height, round, block, signatures }
    Charter { version, name, time, params, members }
    Founder { profile, power }
    FounderSignature { root, signature }
    Genesis { charter, signatures }
    Tip { next, last }
    Fee { ppm, member }
    Params {
        rules_version, usage_grace_ms, usage_future_ms, period_grace_ms, idem_window_ms,
        rows_per_member_day_max, block_interval_ms_min, heartbeat_ms, unreplicated_grace_ms, fee
    }
    NodeKeys { validator, transport, journal }
    MemberProfile { name, jurisdiction, root, node }
    Scope { bodies, agreements }
    AdmitMember { profile, possession }
    AdmitKey { key, scope, until, possession }
    Member { profile, power, status, since, keys_admitted }
    RevokeKey { key, last }
    Key { member, purpose, since, until, revoked, frozen }
    Approve { proposal }
    Proposal { change, approvals, enacted }
    Owner { member, weight }
    RegisterAsset { class, title, owners, licence, confidentiality, jurisdiction }
    PublishVersion { asset, label, content, size_bytes, released, risk, training_flop_log2 }
    SetSplit { asset, owners }
    Split { from, owners }
    SplitChange { asset, owners, initial }
    Asset { class, title, controller, licence, confidentiality, jurisdiction, since, splits }
    Version { published, since, metered }
    GrantRef { agreement, grant }
    Parent { version, relation, material, grant }
    DeclareLineage { child, parents }
    Link { parent, royalty, from, since, binds }
    LineageChange { declared, royalties, absolute }
    Span { from, until }
    Territory { world, include, exclude }
    Party { member, role }
    GrantAsset { asset, versions }
    Cap { meter, quantity, per_period, on_excess }
    Grant {
        licensor, licensees, assets, acts, purposes, territory, span, exclusivity, caps, derivatives, reporter
    }
    Tier { up_to, rate }
    Step { from, ppm }
    Multiplier { metric, below, steps, aggregation, observers, quorum }
    PaymentTerm { currency, price, multiplier, minimum, cap, advance, scope }
    Payment { id, grant, payer, meter, term }
    Terms { kind, title, parties, upstream, grants, payments, term, due_days, governing_law, document }
    Propose { terms, salt, deadline }
    Countersign { agreement, version, terms_hash }
    Amend { agreement, previous, terms, salt, deadline }
    InForce { version, span }
    Pin { payer, grant, meter, currency }
    Agreement { proposer, since, versions, current, status, in_force }
    AgreementVersion { terms, salt, terms_hash, previous, signed_by, deadline, status, since }
    UsageContext { agreement, grant, version, act, purpose, territory, meter, payer }
    UsageRow { event_id, context, quantity }
    ReportUsage { contexts, rows }
    Metered { rated, flagged, counter, rows }
    Total { rated }
    EventDay { count, chain }
    ClosePeriod { month }
    Settle { month }
    Period { closed, lines, statement, settled }
    Share { member, micros }
    Line { grant, currency, quantity, versions, multiplier, charge, recouped, shares, held }
    LineTotal { accrued, recouped }
    Carried { a_owes_b }
    Finding { rule, severity, subject, rows, quantity, first, last }
    RefusedRows { rule, rows }
    ReportEquivocation { evidence }
    Equivocation { since, reported_by, report, evidence }
}

impl Generate for certificate::Proposal {
    fn generate(from: &mut Source<'_>) -> Self {
        Self {
            network: from.make(),
            height: from.make(),
            round: from.make(),
            block: from.make(),
            valid_round: from.make(),
            member: from.make(),
        }
    }
}

impl<T: Generate> Generate for Box<T> {
    fn generate(from: &mut Source<'_>) -> Self {
        Self::new(from.make())
    }
}

impl Generate for Offence {
    fn generate(from: &mut Source<'_>) -> Self {
        match from.byte() % 3 {
            0 => Self::Journal(from.make()),
            1 => Self::Vote { height: from.make(), round: from.make(), kind: from.make() },
            _ => Self::Proposal { height: from.make(), round: from.make() },
        }
    }
}

impl Generate for Subject {
    fn generate(from: &mut Source<'_>) -> Self {
        if from.make() {
            return Self::Conduct { member: from.make(), offence: from.make() };
        }
        Self::Use { agreement: from.make(), grant: from.make(), member: from.make(), month: from.make() }
    }
}

impl Generate for Accrual {
    fn generate(from: &mut Source<'_>) -> Self {
        Self(from.make())
    }
}

impl Generate for Due {
    fn generate(from: &mut Source<'_>) -> Self {
        Self(from.make())
    }
}

/// Enums: plain variants, then those that hold something.
macro_rules! choices {
    ($($name:ident { $($plain:ident)* $(; $($full:ident)+)? })+) => {
        $(impl Generate for $name {
            fn generate(from: &mut Source<'_>) -> Self {
                type Make = fn(&mut Source<'_>) -> $name;
                let all: &[Make] = &[
                    $(|_| $name::$plain,)*
                    $($(|from| $name::$full(from.make()),)+)?
                ];
                let make = from.pick(all);
                make(from)
            }
        })+
    };
}

choices! {
    VoteKind { Prevote Precommit }
    BodyKind {
        ReportUsage AdmitMember AdmitKey Approve RegisterAsset PublishVersion DeclareLineage SetSplit Propose
        Countersign Amend ClosePeriod Settle ReportEquivocation RevokeKey
    }
    Deed {
        ; AdmitMember AdmitKey Approve RegisterAsset PublishVersion DeclareLineage SetSplit Propose Countersign
        Amend ClosePeriod Settle ReportEquivocation RevokeKey
    }
    Evidence { ; Entries Votes Proposals }
    KeyPurpose { Root Validator Transport Journal; App }
    MemberStatus { Active Suspended Removed }
    Change { ; AdmitMember Split Lineage }
    AssetClass {
        Dataset Algorithm Model Adapter Pool Output EvaluationSet TrainingProcedure Document
    }
    Confidentiality { Clear Green Amber Red }
    RiskClass { Minimal Limited High Prohibited GeneralPurpose GeneralPurposeSystemic }
    Relation {
        TrainedOn FineTunedFrom MergedFrom DistilledFrom AdapterOf QuantizedFrom EvaluatedOn Contains
    }
    Kind { Licence CrossLicence Pool Sublicence Contribution Services }
    Exclusivity { NonExclusive Sole Exclusive }
    OnExcess { Rate Block }
    Royalty { None; Absolute Relative }
    Status { Proposed Signed Active Superseded Expired Lapsed }
    TierMode { Graduated Volume }
    Over { Period Lifetime }
    Aggregation { Median Min Last }
    Severity { I W E }
}

impl Generate for Body {
    fn generate(from: &mut Source<'_>) -> Self {
        if from.make() {
            return Self::ReportUsage(from.make());
        }
        Self::Deed { idem: from.make(), deed: from.make() }
    }
}

impl Generate for Price {
    fn generate(from: &mut Source<'_>) -> Self {
        match from.byte() % 6 {
            0 => Self::Free,
            1 => Self::Flat(from.make()),
            2 => Self::PerUnit(from.make()),
            3 => Self::Package(from.make()),
            4 => Self::Tiered { mode: from.make(), tiers: from.make() },
            _ => Self::Revenue { share: from.make(), base: from.make() },
        }
    }
}

impl Generate for RevenueBase {
    fn generate(from: &mut Source<'_>) -> Self {
        if from.make() { Self::Gross } else { Self::Net { deduction_cap: from.make() } }
    }
}

impl Generate for Outcome {
    fn generate(from: &mut Source<'_>) -> Self {
        match from.byte() % 3 {
            0 => Self::Applied,
            1 => Self::Refused { rule: from.make() },
            _ => Self::Usage { rated: from.make(), flagged: from.make(), refused: from.make() },
        }
    }
}
