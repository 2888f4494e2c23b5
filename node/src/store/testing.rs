//! A small real chain for tests: two members, one of them voting, assets, a licence, usage
//! over midnight; every block executed, certified and stored.

use std::collections::BTreeMap;
use std::path::Path;

use syngraph_protocol::block::Block;
use syngraph_protocol::certificate::{Certificate, CommitSignature, Vote, VoteKind};
use syngraph_protocol::codes::{Act, Meter, Place, Purpose, Territory};
use syngraph_protocol::crypto::{Domain, SecretKey};
use syngraph_protocol::entry::{Body, Deed, SignedEntry, Slot, VerifiedEntry};
use syngraph_protocol::genesis::{Charter, Founder, GENESIS_VERSION, Genesis};
use syngraph_protocol::ids::{EventId, Hash, Id, Idem, MemberId, Salt};
use syngraph_protocol::journal::Tip;
use syngraph_protocol::ledger::agreement::Propose;
use syngraph_protocol::ledger::agreement::terms::{
    Exclusivity, Grant, GrantAsset, Kind, Party, Royalty, Terms,
};
use syngraph_protocol::ledger::asset::{AssetClass, Confidentiality, Owner, PublishVersion, RegisterAsset};
use syngraph_protocol::ledger::member::{MemberProfile, NodeKeys};
use syngraph_protocol::ledger::params::Params;
use syngraph_protocol::ledger::usage::{ReportUsage, UsageContext, UsageRow};
use syngraph_protocol::ledger::{Executed, Ledger, Plan};
use syngraph_protocol::money::Weight;
use syngraph_protocol::name::Name;
use syngraph_protocol::time::{Span, UtcMs};
use tempfile::TempDir;

use super::{Recovered, Store};

/// Five minutes before midnight: usage begins on one day, and the floor passes it while more follows.
const START: UtcMs = UtcMs::from_ms(1_790_812_800_000 - 300_000);
const MINUTE_MS: i64 = 60_000;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

/// The root key of a member.
pub(super) fn root(member: u32) -> SecretKey {
    key(u8::try_from(member).expect("few members") * 10)
}

/// A founding document of a consortium of this name, signed.
pub(super) fn genesis(name: &str) -> Genesis {
    let founder = |member: u32| {
        let seed = u8::try_from(member).expect("few members") * 10;
        let public = |offset| key(seed + offset).public();
        let node = NodeKeys { validator: public(1), transport: public(2), journal: public(3) };
        let node = (member == 1).then_some(node);
        let profile = MemberProfile {
            name: Name::new(format!("Member {member}")),
            jurisdiction: Place::new("DE"),
            root: root(member).public(),
            node,
        };
        Founder { power: u64::from(node.is_some()), profile }
    };
    let params = Params { usage_grace_ms: MINUTE_MS, ..Params::default() };
    // Members are numbered from 0, seeds from 1: a seed of zeros is easily mistaken.
    let members = vec![founder(1), founder(2)];
    let charter = Charter { version: GENESIS_VERSION, name: Name::new(name), time: START, params, members };
    let signatures = [1, 2].map(|member| charter.sign(&root(member))).to_vec();
    let genesis = Genesis { charter, signatures };
    genesis.verify().expect("both founders signed");
    genesis
}

/// The voting member's certificate for a block.
pub(super) fn certify(ledger: &Ledger, block: &Block) -> Certificate {
    let (id, height, member) = (block.id(), block.header.height, MemberId::new(0));
    let kind = VoteKind::Precommit;
    let vote = Vote { network: ledger.network(), kind, height, round: 0, block: Some(id), member };
    let signature = key(11).sign(Domain::VOTE, &vote.signing_bytes());
    Certificate { height, round: 0, block: id, signatures: vec![CommitSignature { member, signature }] }
}

/// A node's chain: a store and what it should hold.
pub(super) struct World {
    pub(super) dir: TempDir,
    pub(super) genesis: Genesis,
    pub(super) store: Store,
    pub(super) ledger: Ledger,
    /// Every block so far, as it was executed.
    pub(super) history: Vec<Executed>,
    tips: BTreeMap<u32, Tip>,
    idem: u16,
}

impl World {
    pub(super) fn new() -> Self {
        Self::named("Test consortium")
    }

    pub(super) fn named(name: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let genesis = genesis(name);
        let (store, Recovered { ledger, .. }) = Store::open(dir.path(), &genesis).expect("a new directory");
        Self { dir, genesis, store, ledger, history: Vec::new(), tips: BTreeMap::new(), idem: 0 }
    }

    /// A world with a few blocks of everything.
    pub(super) fn with_history() -> Self {
        let mut world = Self::new();
        world.grow();
        world
    }

    fn grow(&mut self) {
        let asset = self.deed(1, Deed::RegisterAsset(an_asset("Model")));
        let other = self.deed(2, Deed::RegisterAsset(an_asset("Data")));
        let asset_id: Id = asset.id().into();
        self.seal(vec![asset, other]);
        let version = self.deed(1, Deed::PublishVersion(a_version(asset_id)));
        let version_id = version.id().into();
        self.seal(vec![version]);
        let proposal = self.deed(1, Deed::Propose(a_licence(asset_id)));
        let agreement = proposal.id().into();
        self.seal(vec![proposal]);
        for block in 0..8_u16 {
            let at = self.ledger.time();
            let reports = (0..2).map(|half| self.report(agreement, version_id, at, block * 2 + half));
            let reports = reports.collect();
            self.seal(reports);
        }
        // More entries than one row of any index takes.
        let wide = (0..150).map(|_| self.any_entry()).collect();
        self.seal(wide);
        let unknown = Id::from_bytes([9; 32]);
        let refused = self.deed(2, Deed::PublishVersion(a_version(unknown)));
        self.seal(vec![refused]);
        self.seal(Vec::new());
    }

    fn report(&mut self, agreement: Id, version: Id, at: UtcMs, batch: u16) -> VerifiedEntry {
        let context = UsageContext {
            agreement,
            grant: 0,
            version,
            act: Act::new("infer.service"),
            purpose: Purpose::new("commercial.product"),
            territory: Place::new("DE"),
            meter: Meter::new("tokens"),
            payer: MemberId::new(1),
        };
        // Two reports of a block make a run of more than one row.
        let row = |number| UsageRow { event_id: event(at, batch, number), context: 0, quantity: 7 };
        let report = ReportUsage { contexts: vec![context], rows: (0..2_500).map(row).collect() };
        self.sign(2, Body::ReportUsage(report))
    }

    /// The next entry of a member's root key.
    pub(super) fn sign(&mut self, member: u32, body: Body) -> VerifiedEntry {
        let tip = self.tips.entry(member).or_insert(Tip::EMPTY);
        let entry = sign_at(&self.ledger, member, *tip, body);
        *tip = tip.append(tip.next, tip.last, entry.id()).expect("continues its journal");
        entry
    }

    pub(super) fn deed(&mut self, member: u32, deed: Deed) -> VerifiedEntry {
        self.idem += 1;
        self.sign(member, Body::Deed { idem: idem(self.idem), deed })
    }

    /// An entry that can always be signed.
    pub(super) fn any_entry(&mut self) -> VerifiedEntry {
        self.deed(2, Deed::RegisterAsset(an_asset("Another")))
    }

    pub(super) fn execute(&self, entries: Vec<VerifiedEntry>) -> Executed {
        let plan = Plan { time: self.ledger.time().plus_ms(MINUTE_MS), built_by: MemberId::new(0) };
        self.ledger.execute(&plan, entries).expect("a possible block")
    }

    /// Takes entries and decides a block of them.
    pub(super) fn seal(&mut self, entries: Vec<VerifiedEntry>) {
        for entry in &entries {
            self.store.append_entry(entry).expect("a sound store");
        }
        let executed = self.execute(entries);
        assert!(self.store.keep_undecided(&executed.block, None).expect("a sound store"));
        self.commit(executed);
    }

    pub(super) fn commit(&mut self, executed: Executed) {
        let certificate = certify(&self.ledger, &executed.block);
        self.store.commit(&executed, &certificate).expect("a sound store");
        self.ledger = executed.ledger.clone();
        self.history.push(executed);
    }

    /// What a kill leaves: the files as they are, without whatever a clean end writes.
    pub(super) fn crash(&self) -> TempDir {
        copy(self.dir.path())
    }

    /// Ends cleanly; gives the directory.
    pub(super) fn close(self) -> (TempDir, Genesis, Ledger, Vec<Executed>) {
        let Self { dir, genesis, store, ledger, history, .. } = self;
        store.close().expect("a clean end");
        (dir, genesis, ledger, history)
    }
}

pub(super) fn idem(number: u16) -> Idem {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    Idem::from_bytes(bytes)
}

/// An entry of a member's root key at some place of its journal.
pub(super) fn sign_at(ledger: &Ledger, member: u32, tip: Tip, body: Body) -> VerifiedEntry {
    let network = ledger.network();
    let slot = Slot {
        network,
        member: MemberId::new(member - 1),
        seq: tip.next,
        prev: tip.last,
        claimed_at: ledger.time(),
    };
    VerifiedEntry::verify(SignedEntry::sign(&root(member), slot, body), network).expect("well formed")
}

fn event(at: UtcMs, batch: u16, number: u16) -> EventId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&at.ms().to_be_bytes()[2..]);
    (bytes[6], bytes[8]) = (0x70, 0x80);
    bytes[12..14].copy_from_slice(&batch.to_be_bytes());
    bytes[14..].copy_from_slice(&number.to_be_bytes());
    EventId::from_bytes(bytes)
}

pub(super) fn an_asset(title: &str) -> RegisterAsset {
    RegisterAsset {
        class: AssetClass::Model,
        title: Name::new(title),
        owners: vec![Owner { member: MemberId::new(0), weight: Weight::new(1) }],
        licence: "LicenseRef-proprietary".into(),
        confidentiality: Confidentiality::Green,
        jurisdiction: Place::new("DE"),
    }
}

fn a_version(asset: Id) -> PublishVersion {
    PublishVersion {
        asset,
        label: Name::new("1.0"),
        content: Hash::from_bytes([7; 32]),
        size_bytes: 1,
        released: START,
        risk: None,
        training_flop_log2: None,
    }
}

fn a_licence(asset: Id) -> Propose {
    let term = Span { from: START, until: UtcMs::OPEN };
    let party = |member, role| Party { member: MemberId::new(member), role: Name::new(role) };
    let terms = Terms {
        kind: Kind::Licence,
        title: Name::new("Inference licence"),
        parties: vec![party(0, "licensor"), party(1, "licensee")],
        upstream: Vec::new(),
        grants: vec![Grant {
            licensor: MemberId::new(0),
            licensees: vec![MemberId::new(1)],
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
        payments: Vec::new(),
        term,
        due_days: 30,
        governing_law: None,
        document: None,
    };
    Propose { terms, salt: Salt::from_bytes([9; 32]), deadline: None }
}

/// Copies a directory with everything below it.
pub(super) fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().expect("a temporary directory");
    copy_into(from, to.path());
    to
}

pub(super) fn copy_into(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("created");
    for file in std::fs::read_dir(from).expect("listable") {
        let (path, name) = file.map(|file| (file.path(), file.file_name())).expect("listable");
        if path.is_dir() {
            copy_into(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).expect("copied");
        }
    }
}
