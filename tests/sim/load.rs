//! The consortium's business: what members sign, and the applications that hand it in.
//!
//! An application writes into its key's journal and keeps what it wrote until it is sealed. It
//! hands in what no door has acknowledged, to its own member's node or, now and then and when
//! that is down, to another; and again when no answer comes. In some runs one key signs two
//! branches, and gives each to other nodes.

mod business;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use syngraph_node::gate::{Admission, Command};
use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::entry::{Body, SignedEntry, Slot, VerifiedEntry};
use syngraph_protocol::ids::{EntryId, MemberId, NetworkId, PublicKey};
use syngraph_protocol::journal::Tip;
use syngraph_tests::random::Random;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use self::business::Business;
pub(crate) use self::business::charter;
use crate::net::NodeId;
use crate::node::Node;
use crate::oracle::Oracle;
use crate::time::{EPOCH, MS, SECOND, Virtual};
use crate::world::Step;

/// Most entries that an application keeps; then it waits until they are sealed.
const KEPT_MAX: usize = 12;
/// Most entries that it hands in together.
const TOGETHER_MAX: usize = 4;
/// How long it waits for an answer.
const PATIENCE: Virtual = 3 * SECOND;

/// An entry that is not sealed yet.
struct Kept {
    entry: VerifiedEntry,
    acknowledged: bool,
}

/// A request that waits for its answer.
struct Asked {
    node: NodeId,
    life: u64,
    ids: Vec<EntryId>,
    answer: oneshot::Receiver<Vec<Admission>>,
    until: Virtual,
}

/// An application, or whoever signs with a root key.
pub(crate) struct App {
    key: SecretKey,
    member: MemberId,
    /// Where it hands in; its own node first.
    homes: Vec<NodeId>,
    tip: Tip,
    kept: VecDeque<Kept>,
    asked: Option<Asked>,
    /// Whether it hands in everything that is kept, since a node lacks what was before.
    again: bool,
    /// Whether it writes by itself.
    writes: bool,
    forked: bool,
    retired: bool,
    watched: Vec<(EntryId, oneshot::Receiver<()>)>,
}

/// All applications.
pub(crate) struct Load {
    apps: Vec<App>,
    network: NetworkId,
    business: Business,
    written: BTreeMap<EntryId, String>,
    over: bool,
}

impl App {
    fn new(key: &SecretKey, member: MemberId, homes: Vec<NodeId>, writes: bool) -> Self {
        Self {
            key: key.clone(),
            member,
            homes,
            tip: Tip::EMPTY,
            kept: VecDeque::new(),
            asked: None,
            again: false,
            writes,
            forked: false,
            retired: false,
            watched: Vec::new(),
        }
    }

    fn sign(&mut self, network: NetworkId, at: Virtual, body: Body) -> VerifiedEntry {
        let claimed_at = EPOCH.plus_ms(i64::try_from(at / MS).expect("runs are short"));
        let slot = Slot { network, member: self.member, seq: self.tip.next, prev: self.tip.last, claimed_at };
        let entry = VerifiedEntry::verify(SignedEntry::sign(&self.key, slot, body), network);
        let entry = entry.unwrap_or_else(|error| panic!("the load is well formed: {error}"));
        self.tip =
            self.tip.append(self.tip.next, self.tip.last, entry.id()).expect("it continues the journal");
        self.kept.push_back(Kept { entry: entry.clone(), acknowledged: false });
        entry
    }

    /// Where to hand in next.
    fn door(&self, random: &mut Random, nodes: &[Node]) -> Option<NodeId> {
        let up = |node: &&NodeId| nodes[**node].running.is_some();
        let own = self.homes.first().filter(up).copied();
        let up: Vec<_> = self.homes.iter().filter(up).collect();
        let any = up.get(random.below(up.len().max(1) as u64) as usize).map(|node| **node);
        if random.below(8) == 0 { any } else { own.or(any) }
    }

    /// What to hand in next.
    fn next(&self) -> Vec<VerifiedEntry> {
        let wanted = self.kept.iter().filter(|kept| self.again || !kept.acknowledged);
        let count = if self.again { KEPT_MAX } else { TOGETHER_MAX };
        wanted.take(count).map(|kept| kept.entry.clone()).collect()
    }

    fn is_idle(&self) -> bool {
        self.retired || self.kept.iter().all(|kept| kept.acknowledged)
    }

    /// Takes the answer of a door about one entry.
    fn admitted(&mut self, oracle: &mut Oracle, node: NodeId, at: Virtual, admission: &Admission) -> Step {
        match admission {
            Admission::New { id } | Admission::Known { id } => {
                if let Some(kept) = self.kept.iter_mut().find(|kept| kept.entry.id() == *id) {
                    kept.acknowledged = true;
                    oracle.acknowledged(node, at, &kept.entry.signed_head());
                }
            }
            Admission::Parked { .. } | Admission::Busy { .. } => {}
            Admission::Fork { .. } | Admission::Refused { .. } if self.forked => self.retired = true,
            Admission::Refused { rule: "JRN-GAP", .. } => self.again = true,
            refused => {
                return Err(format!(
                    "node {node} refuses what member {} has signed: {refused:?}",
                    self.member
                ));
            }
        }
        Ok(())
    }

    fn listen(&mut self, oracle: &mut Oracle, node: Option<NodeId>, at: Virtual) -> Step {
        let key = self.key.public();
        self.watched.retain_mut(|(id, answer)| match answer.try_recv() {
            Ok(()) => {
                oracle.replicated(&key, *id);
                false
            }
            Err(error) => error == TryRecvError::Empty,
        });
        let Some(asked) = &mut self.asked else { return Ok(()) };
        if node.is_some_and(|node| node != asked.node) {
            return Ok(());
        }
        match asked.answer.try_recv() {
            Ok(admissions) => {
                let (by, count) = (asked.node, asked.ids.len());
                self.asked = None;
                self.again = false;
                if admissions.len() != count {
                    return Err(format!("node {by} answers {} of {count} entries", admissions.len()));
                }
                admissions.iter().try_for_each(|admission| self.admitted(oracle, by, at, admission))
            }
            Err(TryRecvError::Empty) if asked.until > at => Ok(()),
            Err(_) => {
                self.asked = None;
                Ok(())
            }
        }
    }
}

impl Load {
    pub(crate) fn new(random: &mut Random, nodes: &[Node], network: NetworkId) -> Self {
        let mut apps = Vec::new();
        for (number, node) in nodes.iter().enumerate() {
            let homes = (0..nodes.len()).map(|more| (number + more) % nodes.len());
            let homes: Vec<_> = homes.collect();
            apps.push(App::new(&node.keys.root, node.member, homes.clone(), false));
            apps.push(App::new(&node.keys.app, node.member, homes, true));
        }
        let business = Business::default();
        if random.below(3) == 0 && nodes.len() > 1 {
            let member = nodes[random.below(nodes.len() as u64) as usize].member;
            let key = business::forked_key();
            let (one, other): (Vec<_>, Vec<_>) = (0..nodes.len()).partition(|node| node % 2 == 0);
            for homes in [one, other] {
                let mut app = App::new(&key, member, homes, true);
                app.forked = true;
                apps.push(app);
            }
        }
        Self { apps, network, business, written: BTreeMap::new(), over: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.apps.len()
    }

    /// The keys that sign two branches.
    pub(crate) fn forked(&self) -> BTreeSet<PublicKey> {
        self.apps.iter().filter(|app| app.forked).map(|app| app.key.public()).collect()
    }

    /// No more is written.
    pub(crate) fn end(&mut self) {
        self.over = true;
    }

    /// Whether everything that was written is acknowledged, and no more is written.
    pub(crate) fn is_over(&self) -> bool {
        self.over && self.apps.iter().all(App::is_idle)
    }

    /// An entry, for people.
    pub(crate) fn describe(&self, id: &EntryId) -> String {
        self.written.get(id).cloned().unwrap_or_default()
    }

    /// Hears the doors of a node.
    pub(crate) fn listen(&mut self, oracle: &mut Oracle, node: NodeId, at: Virtual) -> Step {
        self.apps.iter_mut().try_for_each(|app| app.listen(oracle, Some(node), at))
    }

    fn write(&mut self, app: usize, at: Virtual, body: Body) -> EntryId {
        let kind = body.kind();
        let app = &mut self.apps[app];
        let entry = app.sign(self.network, at, body);
        let line = format!("{kind:?} {} of member {} key {}", entry.head().seq, app.member, app.key.public());
        self.written.insert(entry.id(), line);
        entry.id()
    }

    /// What an application does now: it writes, forgets what is sealed, and may hand in.
    ///
    /// # Errors
    /// What must never happen.
    pub(crate) fn step(
        &mut self,
        app: usize,
        at: Virtual,
        random: &mut Random,
        oracle: &mut Oracle,
        nodes: &[Node],
    ) -> Result<Option<(NodeId, Vec<Command>)>, String> {
        self.apps[app].listen(oracle, None, at)?;
        self.conduct(app, at, nodes);
        let sealed = |id: &EntryId| nodes[self.apps[app].homes[0]].platter.borrow().is_sealed(id);
        let count = self.apps[app].kept.iter().take_while(|kept| sealed(&kept.entry.id())).count();
        self.apps[app].kept.drain(..count);
        let writer = &self.apps[app];
        if writer.writes
            && !self.over
            && !writer.retired
            && writer.kept.len() < KEPT_MAX
            && random.below(2) == 0
        {
            let body = self.business.body(random, writer.member);
            self.write(app, at, body);
        }
        let app = &mut self.apps[app];
        let busy = app.asked.as_ref().is_some_and(|asked| nodes[asked.node].life == asked.life);
        let entries = app.next();
        if busy || app.retired || entries.is_empty() {
            return Ok(None);
        }
        let Some(door) = app.door(random, nodes) else { return Ok(None) };
        let ids = entries.iter().map(VerifiedEntry::id).collect();
        let mut commands = Vec::new();
        if random.below(4) == 0
            && let Some(last) = entries.last()
        {
            let (reply, answer) = oneshot::channel();
            app.watched.push((last.id(), answer));
            let (journal, seq) = (last.head().journal, last.head().seq);
            commands.push(Command::Replicated { journal, seq, reply });
        }
        let (reply, answer) = oneshot::channel();
        app.asked = Some(Asked { node: door, life: nodes[door].life, ids, answer, until: at + PATIENCE });
        commands.push(Command::Submit { entries, reply });
        Ok(Some((door, commands)))
    }

    /// The founders' business goes on as soon as what it builds on is sealed.
    fn conduct(&mut self, app: usize, at: Virtual, nodes: &[Node]) {
        let member = self.apps[app].member;
        if self.apps[app].writes {
            return;
        }
        let sealed = |id: &EntryId| nodes.iter().all(|node| node.platter.borrow().is_sealed(id));
        let forked = self.apps.iter().find(|app| app.forked && app.member == member);
        let extra = forked.map(|app| app.key.clone());
        let node = nodes.iter().find(|node| node.member == member);
        let Some(keys) = node.map(|node| &node.keys) else { return };
        for (tag, body) in self.business.next(member, keys, extra, self.network, sealed) {
            let id = self.write(app, at, body);
            self.business.wrote(tag, id);
        }
    }
}
