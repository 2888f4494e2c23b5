use std::fs;
use std::path::Path;

use syngraph_protocol::block::Block;
use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::genesis::Genesis;
use syngraph_protocol::ids::{Height, Seq};
use syngraph_protocol::journal::NO_ENTRY;
use tempfile::TempDir;
use tokio::sync::oneshot::error::TryRecvError;

use super::ports::{Input, Peers};
use super::run::now;
use super::*;
use crate::chain::tests::certify;
use crate::consensus::{Engine, Identity, Settings, Started, Transport, start};
use crate::gate::{self, Admission, Command, Gate, Held, JournalEnd, NodeInfo};
use crate::journals::tests::{charter, entry, journal};
use crate::replicas::message::{PeerEvent, Request};
use crate::store::Recovered;
use crate::store::Store;
use tokio::sync::{mpsc, oneshot};

const ME: MemberId = MemberId::new(0);
/// Far longer than anything here takes: only a hang reaches it.
const HANG: Duration = Duration::from_secs(120);

/// No other nodes.
struct Nobody;

impl Peers for Nobody {
    fn ask(&mut self, to: MemberId, _: Ticket, _: Request) {
        unreachable!("member {to} is not connected");
    }

    fn answer(&mut self, to: MemberId, _: Ticket, _: Response) {
        unreachable!("member {to} is not connected");
    }
}

/// A core with a store and an engine that really run; what the engine asks waits.
struct World {
    core: Core<Store, Engine, Nobody>,
    gate: Gate,
    sources: Sources,
    dir: TempDir,
    _hold: mpsc::Sender<PeerEvent>,
}

fn settings(wal: &Path) -> Settings {
    Settings {
        moniker: "test".to_owned(),
        listen: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
        transport: Transport::Tcp,
        peers: Vec::new(),
        decided: Height::GENESIS,
        propose_timeout: Duration::from_millis(1_000),
        vote_timeout: Duration::from_millis(300),
        wal: wal.to_owned(),
    }
}

impl World {
    async fn new() -> Self {
        Self::at(tempfile::tempdir().expect("a temporary directory")).await
    }

    async fn at(dir: TempDir) -> Self {
        let genesis = Genesis { charter: charter(), signatures: Vec::new() };
        let (store, Recovered { ledger, .. }) = Store::open(dir.path(), &genesis).expect("a new directory");
        let network = ledger.network();
        let validator = Some(SecretKey::from_seed(&[11; 32]));
        let identity = Identity { member: ME, network, validator, transport_seed: [12; 32] };
        let started = start(settings(&wal(dir.path())), identity).await.expect("starts");
        let Started { engine, events, .. } = started;
        let first =
            Snapshot { ledger: ledger.clone(), readiness: Readiness::Starting, connected: Vec::new() };
        let info = NodeInfo { member: ME, name: "test".into(), network, genesis_toml: String::new() };
        let (gate, doors) = gate::open(first, store.reader(), info, Arc::new(|| unreachable!("nobody asks")));
        let parts = Parts {
            own: Own { member: ME, journal: SecretKey::from_seed(&[13; 32]) },
            chain: Chain::new(ME, ledger),
            journals: Journals::new(ME),
            disk: store,
            voting: engine,
            peers: Nobody,
            snapshot: doors.snapshot,
            metrics: Metrics::default(),
        };
        let (core, (hold, peers)) = (Core::new(parts, now()), mpsc::channel(1));
        let sources = Sources { commands: doors.commands, events, peers };
        Self { core, gate, sources, dir, _hold: hold }
    }

    fn entries(&self, count: u8) -> Vec<VerifiedEntry> {
        journal(self.core.chain.ledger(), 10, count)
    }
}

fn wal(dir: &Path) -> std::path::PathBuf {
    dir.join("wal").join("consensus.wal")
}

#[tokio::test]
async fn whatever_is_told_of_an_entry_is_told_after_its_sync() {
    let mut world = World::new().await;
    let entries = world.entries(1);
    let (id, journal) = (entries[0].id(), entries[0].head().journal);
    let core = &mut world.core;
    let (reply, mut admissions) = oneshot::channel::<Vec<Admission>>();
    core.on_command(now(), Command::Submit { entries, reply }).expect("the store works");
    let (reply, mut found) = oneshot::channel::<Option<Held>>();
    core.on_command(now(), Command::Find { id, reply }).expect("the store works");
    let (reply, mut tip) = oneshot::channel::<Option<JournalEnd>>();
    core.on_command(now(), Command::Tip { journal, reply }).expect("the store works");
    assert_eq!(admissions.try_recv(), Err(TryRecvError::Empty));
    assert!(matches!(found.try_recv(), Err(TryRecvError::Empty)), "others must not see it before");
    assert!(matches!(tip.try_recv(), Err(TryRecvError::Empty)), "nor count it");

    core.settle(now()).expect("the store works");
    assert_eq!(admissions.try_recv(), Ok(vec![Admission::New { id }]));
    assert_eq!(found.try_recv().map(|held| held.map(|held| held.entry.id())), Ok(Some(id)));
    assert_eq!(tip.try_recv().map(|tip| tip.map(|end| end.tip.next)), Ok(Some(Seq::new(1))));
}

/// A proposal as a peer would make it on this state.
fn proposed(ledger: &syngraph_protocol::ledger::Ledger, entries: &[VerifiedEntry]) -> (Block, Chain) {
    let mut chain = Chain::new(ME, ledger.clone());
    let block = chain.propose(now().wall, 0, |_| entries.to_vec()).expect("a block").executed.block.clone();
    (block, chain)
}

#[tokio::test]
async fn a_proposal_that_is_a_height_early_is_judged_when_its_height_comes() {
    let mut world = World::new().await;
    let entries = world.entries(2);
    let (reply, _answer) = oneshot::channel();
    let submit = Command::Submit { entries: entries.clone(), reply };
    let core = &mut world.core;
    core.handle(now(), Input::Command(submit)).expect("the store works");
    core.settle(now()).expect("the store works");

    let (first, mut ahead) = proposed(core.chain.ledger(), &entries[..1]);
    let certificate = certify(core.chain.ledger(), &first);
    let executed = ahead.decide(&certificate).expect("it is certified");
    let (second, _) = proposed(&executed.ledger, &entries[1..]);
    for block in [&second, &first] {
        let (height, block) = (block.header.height, Box::new(block.clone()));
        core.judge(now(), Unjudged { height, round: 0, proposer: ME, block }).expect("the store works");
    }
    assert_eq!(core.chain.block(&second.id()), None);
    core.decide(now(), &certificate).expect("it is certified");
    assert_eq!(core.chain.ledger().block_id(), first.id());
    assert_eq!(core.chain.block(&second.id()), Some(&second), "judged without anything else to wake it");
    assert!(core.unjudged.is_empty());
}

#[tokio::test]
async fn what_could_not_be_reported_is_reported_when_it_is_seen_again() {
    let mut world = World::new().await;
    let (entry, other) = (world.entries(1).remove(0), entry(world.core.chain.ledger(), 10, 0, NO_ENTRY, 9));
    let core = &mut world.core;
    let own = std::mem::replace(&mut core.own.journal, SecretKey::from_seed(&[99; 32]));
    let key = own.public();
    let see = |core: &mut Core<_, _, _>, entry: &VerifiedEntry| {
        let (reply, _answer) = oneshot::channel();
        let submit = Command::Submit { entries: vec![entry.clone()], reply };
        core.handle(now(), Input::Command(submit))
            .and_then(|()| core.settle(now()))
            .expect("the store works");
        core.journals.tip(core.chain.ledger(), &key).map(|tip| tip.next)
    };
    see(core, &entry);
    assert_eq!(see(core, &other), Some(Seq::FIRST), "the node's key is not known");
    core.own.journal = own;
    assert_eq!(see(core, &other), Some(Seq::new(1)), "now it is");
    assert_eq!(see(core, &other), Some(Seq::new(1)), "and it says it once");
}

fn submit(core: &mut Core<Store, Engine, Nobody>, entry: &VerifiedEntry) {
    let (reply, _answer) = oneshot::channel();
    let submit = Command::Submit { entries: vec![entry.clone()], reply };
    core.handle(now(), Input::Command(submit)).and_then(|()| core.settle(now())).expect("the store works");
}

fn unsealed(core: &mut Core<Store, Engine, Nobody>) -> u64 {
    let (reply, mut answer) = oneshot::channel();
    let asked = core.handle(now(), Input::Command(Command::Standing { reply }));
    asked.and_then(|()| core.settle(now())).expect("the store works");
    answer.try_recv().expect("it is answered").unsealed
}

#[tokio::test]
async fn what_has_lapsed_waits_for_no_block() {
    let mut world = World::new().await;
    let (entry, other) = (world.entries(1).remove(0), entry(world.core.chain.ledger(), 10, 0, NO_ENTRY, 9));
    let core = &mut world.core;
    submit(core, &entry);
    assert_eq!(unsealed(core), 1);
    submit(core, &other);
    let own = core.own.journal.public();
    let report = core.journals.durable_at(&own, Seq::FIRST).expect("the fork is reported").clone();
    assert_eq!(unsealed(core), 2);
    let (block, _) = proposed(core.chain.ledger(), &[report]);
    let certificate = certify(core.chain.ledger(), &block);
    let (height, block) = (block.header.height, Box::new(block));
    core.judge(now(), Unjudged { height, round: 0, proposer: ME, block }).expect("the store works");
    core.decide(now(), &certificate).expect("it is certified");
    assert_eq!(unsealed(core), 0, "the journal is frozen");
}

/// A log of votes at height 1 whose only record is no message of the engine.
const DAMAGED_WAL: &[u8] = b"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\
    \x00\x00\x00\x00\x00\x00\x00\x00\x04\x5a\x10\x85\x64vote";

#[tokio::test]
async fn an_engine_that_halts_ends_the_core_however_busy_the_doors_are() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(dir.path().join("wal")).expect("a new directory");
    fs::write(wal(dir.path()), DAMAGED_WAL).expect("a new file");
    let World { core, gate, sources, dir, _hold } = World::at(dir).await;
    let entries = journal(core.chain.ledger(), 10, 1);
    let key = entries[0].head().journal;
    let (_go_on, stop) = oneshot::channel();
    let doors = async {
        gate.submit(entries).await.expect("there is something to seal");
        while gate.tip(key).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let ends = tokio::time::timeout(HANG, async { tokio::join!(core.run(sources, stop), doors).0 });
    let ended = ends.await.expect("it ends").expect_err("it cannot go on");
    assert_eq!(ended.rule(), "NODE-ENGINE-HALTED");
    drop(dir);
}

#[tokio::test]
async fn a_push_is_taken_only_if_it_is_held() {
    let mut world = World::new().await;
    let ours = world.entries(1);
    let fork = crate::journals::tests::entry(world.core.chain.ledger(), 10, 0, ours[0].head().prev, 99);
    let mut push =
        |entry: &VerifiedEntry| world.core.pushed(now(), vec![entry.clone()]).expect("the store works");
    assert!(matches!(push(&ours[0]), Response::Taken));
    assert!(matches!(push(&fork), Response::Later), "another stands at its place");
    assert!(matches!(push(&ours[0]), Response::Taken));
}
