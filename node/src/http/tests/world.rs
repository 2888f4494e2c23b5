//! A small consortium behind the door: a real store, a real ledger, and a core that takes
//! entries and seals them at once or not at all.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use syngraph_protocol::block::BLOCK_VERSION;
use syngraph_protocol::certificate::{Certificate, CommitSignature, Vote, VoteKind};
use syngraph_protocol::codes::Place;
use syngraph_protocol::crypto::{Domain, SecretKey};
use syngraph_protocol::entry::{Body as EntryBody, Deed, SignedEntry, Slot, VerifiedEntry};
use syngraph_protocol::genesis::{Charter, Founder, GENESIS_VERSION, Genesis};
use syngraph_protocol::ids::{EntryId, Height, Idem, MemberId, PublicKey, Seq};
use syngraph_protocol::journal::{LinkError, Tip};
use syngraph_protocol::ledger::member::{MemberProfile, NodeKeys};
use syngraph_protocol::ledger::params::Params;
use syngraph_protocol::ledger::{Ledger, Plan};
use syngraph_protocol::name::Name;
use syngraph_protocol::time::UtcMs;
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};
use tower::ServiceExt;

use crate::consensus::Progress;
use crate::gate::{
    self, Admission, Command, Core, Gate, Held, JournalEnd, NodeInfo, Readiness, Snapshot, Standing,
};
use crate::http::doors::Doors;
use crate::http::router;
use crate::store::Store;
use crate::telemetry::Metrics;

pub(super) const GENESIS_TOML: &str = "# the founding document\n";
/// 2026-10-01T00:00:00Z.
pub(super) const FOUNDED: UtcMs = UtcMs::from_ms(1_790_812_800_000);

/// What the core does with what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sealing {
    AtOnce,
    Never,
}

/// One member's keys.
pub(super) struct Keys {
    root: SecretKey,
    validator: SecretKey,
    transport: SecretKey,
    pub(super) journal: SecretKey,
}

impl Keys {
    fn of(member: u8) -> Self {
        let key = |purpose| SecretKey::from_seed(&[member * 10 + purpose; 32]);
        Self { root: key(1), validator: key(2), transport: key(3), journal: key(4) }
    }
}

/// The door under test and everything behind it.
pub(super) struct World {
    pub(super) app: Router,
    pub(super) doors: Arc<Doors>,
    pub(super) gate: Gate,
    pub(super) keys: Vec<Keys>,
    pub(super) stop: watch::Sender<bool>,
    /// What the door is told of the consensus step.
    pub(super) step: Arc<Mutex<Progress>>,
    tips: BTreeMap<PublicKey, Tip>,
    clock: Arc<AtomicI64>,
    idem: u8,
    _dir: TempDir,
}

impl World {
    /// Founds a consortium of members with one vote each; the first runs the node.
    pub(super) fn found(members: u8, sealing: Sealing) -> Self {
        let keys: Vec<Keys> = (1..=members).map(Keys::of).collect();
        let charter = charter(&keys);
        let signatures = keys.iter().map(|keys| charter.sign(&keys.root)).collect();
        let genesis = Genesis { charter, signatures };
        let network = genesis.verify().expect("every founder has signed");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (store, recovered) = Store::open(dir.path(), &genesis).expect("an empty directory");
        let info = NodeInfo {
            member: MemberId::new(0),
            name: "aster-1".into(),
            network,
            genesis_toml: GENESIS_TOML.into(),
        };
        let connected = Vec::new();
        let first = Snapshot { ledger: recovered.ledger, readiness: Readiness::Ready, connected };
        let step = Arc::new(Mutex::new(idle()));
        let told = step.clone();
        let step_now = move || told.lock().expect("no test panics with it").clone();
        let (gate, core) = gate::open(first, store.reader(), info, Arc::new(step_now));
        let (stop, stopping) = watch::channel(false);
        let doors = Arc::new(Doors::new(Metrics::default(), stopping));
        doors.open(gate.clone());
        let clock = Arc::new(AtomicI64::new(FOUNDED.ms()));
        let voters = keys.iter().map(|keys| keys.validator.clone()).collect();
        let node = Node {
            store,
            core,
            voters,
            clock: clock.clone(),
            sealing,
            pending: Vec::new(),
            awaiting: Vec::new(),
        };
        tokio::spawn(node.run());
        let (app, tips) = (router(doors.clone()), BTreeMap::new());
        Self { app, doors, gate, keys, stop, step, tips, clock, idem: 0, _dir: dir }
    }

    /// Another gate to the same store, whose core is the test.
    pub(super) fn second_gate(&self, first: Snapshot) -> (Gate, Core) {
        let (reader, info) = (self.gate.reader().clone(), self.gate.info().clone());
        gate::open(first, reader, info, Arc::new(idle))
    }

    /// Moves block time to a moment.
    pub(super) fn set_clock(&self, at: &str) {
        let at = UtcMs::parse(at).expect("a moment");
        self.clock.store(at.ms(), Ordering::SeqCst);
    }

    /// The next entry of a member's journal.
    pub(super) fn sign(&mut self, member: usize, body: EntryBody) -> SignedEntry {
        let key = &self.keys[member].journal;
        let tip = self.tips.entry(key.public()).or_insert(Tip::EMPTY);
        let slot = Slot {
            network: self.gate.info().network,
            member: MemberId::new(u32::try_from(member).expect("few members")),
            seq: tip.next,
            prev: tip.last,
            claimed_at: FOUNDED,
        };
        let entry = SignedEntry::sign(key, slot, body);
        *tip = tip.append(slot.seq, slot.prev, entry.id()).expect("it continues the journal");
        entry
    }

    /// The next entry of a member's journal, doing this.
    pub(super) fn sign_deed(&mut self, member: usize, deed: Deed) -> SignedEntry {
        self.idem += 1;
        let idem = Idem::from_bytes([self.idem; 16]);
        self.sign(member, EntryBody::Deed { idem, deed })
    }

    /// Submits one entry and waits for its seal; it must be applied.
    pub(super) async fn seal(&self, entry: &SignedEntry) -> EntryId {
        let (status, receipt) = self.post("/v1/entries?wait=sealed", frames(&[entry])).await;
        assert_eq!(status, StatusCode::CREATED, "{receipt}");
        assert_eq!(receipt["state"], "sealed", "{receipt}");
        let outcome = &receipt["outcome"];
        assert!(outcome == "applied" || outcome["usage"]["refused"] == serde_json::json!([]), "{receipt}");
        entry.id()
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Response {
        self.app.clone().oneshot(request).await.expect("the router never fails")
    }

    /// Posts frames.
    pub(super) async fn post(&self, uri: &str, body: Vec<u8>) -> (StatusCode, serde_json::Value) {
        let request = Request::post(uri).header(header::CONTENT_TYPE, "application/octet-stream");
        read(self.send(request.body(body.into()).expect("a request")).await).await
    }

    pub(super) async fn get(&self, uri: &str) -> (StatusCode, serde_json::Value) {
        read(self.send(Request::get(uri).body(Body::empty()).expect("a request")).await).await
    }

    /// Asks for what must be there.
    pub(super) async fn must_get(&self, uri: &str) -> serde_json::Value {
        let (status, document) = self.get(uri).await;
        assert_eq!(status, StatusCode::OK, "{uri}: {document}");
        document
    }

    /// Asks for what must be refused; gives status and rule.
    pub(super) async fn refused(&self, uri: &str) -> (u16, String) {
        let (status, problem) = self.get(uri).await;
        (status.as_u16(), problem["rule"].as_str().unwrap_or_default().to_owned())
    }
}

/// The status and the JSON of a response; every error must be a problem.
pub(super) async fn read(response: Response) -> (StatusCode, serde_json::Value) {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).expect("every answer has a type");
    let expected = if status.is_success() { "application/json" } else { "application/problem+json" };
    assert_eq!(kind, expected);
    let bytes = bytes(response).await;
    (status, serde_json::from_slice(&bytes).expect("JSON"))
}

/// The whole body of a response.
pub(super) async fn bytes(response: Response) -> Vec<u8> {
    let body = axum::body::to_bytes(response.into_body(), 1 << 28).await;
    body.expect("the body arrives").to_vec()
}

/// The frames of some entries.
pub(super) fn frames(entries: &[&SignedEntry]) -> Vec<u8> {
    let mut frames = Vec::new();
    for entry in entries {
        let bytes = syngraph_protocol::codec::encode(entry);
        frames.extend(u16::try_from(bytes.len()).expect("entries fit").to_be_bytes());
        frames.extend(bytes);
    }
    frames
}

fn charter(keys: &[Keys]) -> Charter {
    let names = ["Aster", "Birch", "Cedar"];
    let founder = |(keys, name): (&Keys, &str)| Founder {
        profile: MemberProfile {
            name: Name::new(name),
            jurisdiction: Place::new("DE"),
            root: keys.root.public(),
            node: Some(NodeKeys {
                validator: keys.validator.public(),
                transport: keys.transport.public(),
                journal: keys.journal.public(),
            }),
        },
        power: 1,
    };
    Charter {
        version: GENESIS_VERSION,
        name: Name::new("A consortium"),
        time: FOUNDED,
        params: Params::default(),
        members: keys.iter().zip(names).map(founder).collect(),
    }
}

/// The core's side of the gate.
struct Node {
    store: Store,
    core: Core,
    voters: Vec<SecretKey>,
    clock: Arc<AtomicI64>,
    sealing: Sealing,
    pending: Vec<VerifiedEntry>,
    /// Doors that wait for a quorum.
    awaiting: Vec<oneshot::Sender<()>>,
}

/// A key that nobody has registered.
pub(super) fn stranger() -> PublicKey {
    SecretKey::from_seed(&[99; 32]).public()
}

/// Nothing is under way.
pub(super) fn idle() -> Progress {
    Progress {
        height: Height::GENESIS,
        waiting: true,
        round: 0,
        since: Instant::now(),
        proposer: None,
        proposal_seen: false,
        prevotes: Vec::new(),
        precommits: Vec::new(),
        connected: Vec::new(),
    }
}

impl Node {
    async fn run(mut self) {
        while let Some(command) = self.core.commands.recv().await {
            match command {
                Command::Submit { entries, reply } => {
                    let admissions = entries.into_iter().map(|entry| self.admit(entry)).collect();
                    // Whoever asked may have gone away.
                    reply.send(admissions).ok();
                    if self.sealing == Sealing::AtOnce {
                        self.build();
                    }
                }
                Command::Tip { journal, reply } => {
                    let known = self.ledger().keys.contains(&journal);
                    let (tip, replicated) = (self.tip(&journal), self.replicated(&journal));
                    reply.send(known.then_some(JournalEnd { tip, replicated })).ok();
                }
                Command::Standing { reply } => {
                    let unsealed = u64::try_from(self.pending.len()).expect("few entries");
                    reply.send(Standing { unsealed, missing: 0 }).ok();
                }
                Command::Replicated { journal, seq, reply } => {
                    if seq < self.replicated(&journal) {
                        reply.send(()).ok();
                    } else {
                        self.awaiting.push(reply);
                    }
                }
                Command::Find { id, reply } => {
                    let held = self.pending.iter().find(|entry| entry.id() == id).cloned();
                    let held = held.map(|entry| {
                        let (journal, seq) = (entry.head().journal, entry.head().seq);
                        Held { entry, parked: false, replicated: seq < self.replicated(&journal) }
                    });
                    reply.send(held).ok();
                }
            }
        }
    }

    fn ledger(&self) -> Ledger {
        self.core.snapshot.borrow().ledger.clone()
    }

    fn tip(&self, journal: &PublicKey) -> Tip {
        let sealed = self.ledger().journal_tip(journal);
        let held = self.pending.iter().filter(|entry| entry.head().journal == *journal);
        held.fold(sealed, |tip, entry| {
            tip.append(entry.head().seq, entry.head().prev, entry.id()).expect("only what continues is held")
        })
    }

    /// A node alone is its own quorum, or has nobody that announces anything.
    fn replicated(&self, journal: &PublicKey) -> Seq {
        let ledger = self.ledger();
        if ledger.voters().voters().len() == 1 {
            self.tip(journal).next
        } else {
            ledger.journal_tip(journal).next
        }
    }

    fn admit(&mut self, entry: VerifiedEntry) -> Admission {
        let (id, head) = (entry.id(), entry.head().clone());
        let sealed = self.store.reader().find(&id).expect("the store reads");
        if sealed.is_some() || self.pending.iter().any(|held| held.id() == id) {
            return Admission::Known { id };
        }
        if !self.ledger().keys.contains(&head.journal) {
            return Admission::Parked { id };
        }
        match self.tip(&head.journal).append(head.seq, head.prev, id) {
            Ok(_) => {
                self.store.append_entry(&entry).expect("the store writes");
                self.store.sync().expect("the store syncs");
                self.pending.push(entry);
                Admission::New { id }
            }
            Err(error @ LinkError::Behind { .. }) => {
                Admission::Fork { id, rule: "JRN-FORK", detail: error.to_string() }
            }
            Err(error) => Admission::Refused { id, rule: error.rule(), detail: error.to_string() },
        }
    }

    fn build(&mut self) {
        let ledger = self.ledger();
        let may_cut = |entry: &VerifiedEntry| {
            ledger.may_cut(&entry.head().journal, entry.head().seq, entry.id()).is_ok()
        };
        let (entries, left) = std::mem::take(&mut self.pending).into_iter().partition(may_cut);
        self.pending = left;
        let entries: Vec<_> = entries;
        if entries.is_empty() {
            return;
        }
        let clock = UtcMs::from_ms(self.clock.load(Ordering::SeqCst));
        let time = clock.max(ledger.time().plus_ms(1));
        let plan = Plan { time, built_by: MemberId::new(0) };
        let executed = ledger.execute(&plan, entries).expect("a block");
        let certificate = self.certify(&ledger, &executed.block);
        self.store.commit(&executed, &certificate).expect("the store commits");
        let connected = Vec::new();
        let snapshot = Snapshot { ledger: executed.ledger, readiness: Readiness::Ready, connected };
        self.core.snapshot.send_replace(Arc::new(snapshot));
    }

    fn certify(&self, ledger: &Ledger, block: &syngraph_protocol::block::Block) -> Certificate {
        let (network, height) = (ledger.network(), block.header.height);
        assert_eq!(block.header.version, BLOCK_VERSION);
        let sign = |(member, key): (u32, &SecretKey)| {
            let member = MemberId::new(member);
            let (kind, block) = (VoteKind::Precommit, Some(block.id()));
            let vote = Vote { network, kind, height, round: 0, block, member };
            CommitSignature { member, signature: key.sign(Domain::VOTE, &vote.signing_bytes()) }
        };
        let signatures = (0..).zip(&self.voters).map(sign).collect();
        let certificate = Certificate { height, round: 0, block: block.id(), signatures };
        certificate.verify(network, height, block.id(), ledger.voters()).expect("all have signed");
        certificate
    }
}
