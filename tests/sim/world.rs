//! The world: nodes, their network and their load in one queue of events, in virtual time.
//!
//! ```text
//! faults, load ─▶ ┌───────┐ ─▶ core (handle, settle) ─▶ what it says ─┐
//! packets, timers ▶ queue │ ─▶ engine (hear) ─────────▶ what comes of it ─┤
//!                 └───▲───┘                                              │
//!                     └──────────────── later ◀──────────────────────────┘
//! ```
//!
//! *Invariants.* One thread; the next event is the earliest, and of those the one that was
//! scheduled first. Everything that is left to chance comes from the seed. A node's events die
//! with its life.

mod apps;
mod links;
mod steps;

use std::collections::BTreeMap;

use arc_malachitebft_core_types::Timeout;
use syngraph_node::replicas::message::Ticket;
use syngraph_protocol::ledger::Ledger;
use syngraph_tests::random::Random;

use crate::disk::Platter;
use crate::engine::Heard;
use crate::faults::{Fault, Plan};
use crate::load::{self, Load};
use crate::net::{Net, NodeId, Packet, Weather};
use crate::node::Node;
use crate::oracle::Oracle;
use crate::time::{Clock, MS, SECOND, Virtual};
use crate::trace::{Trace, moment};
use crate::villain::Villain;

/// How often the state is looked at after healing.
const WATCH_INTERVAL: Virtual = 100 * MS;

/// What one run is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    /// Whether disks say that they have synced and have not.
    pub(crate) lies: bool,
    /// Whether every event is shown.
    pub(crate) aloud: bool,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) trace: String,
    pub(crate) events: u64,
    pub(crate) ended: Virtual,
    pub(crate) crashes: u64,
    pub(crate) heights: u64,
    pub(crate) sealed: u64,
    /// How long after healing everything was sealed everywhere.
    pub(crate) healed_in: Virtual,
}

/// What must never happen has happened.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) at: Virtual,
    pub(crate) last: Vec<String>,
}

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Item {
    /// To a node, in one life.
    Node(NodeId, u64, Do),
    Meet(NodeId, NodeId),
    Part(NodeId, NodeId),
    App(usize),
    Fault(Fault),
    Watch,
}

/// What a node does.
#[derive(Debug)]
pub(crate) enum Do {
    Core,
    Settle,
    Alarm(u64),
    Hear(Heard),
    Arrive(NodeId, Packet),
    Timer(Timeout, u64),
    /// Time for catching up; true for the regular one.
    Tick(bool),
    AskFails(Ticket),
}

/// A step, or what must never happen.
pub(crate) type Step = Result<(), String>;

/// Everything.
pub(crate) struct World {
    clock: Clock,
    pub(crate) at: Virtual,
    queue: BTreeMap<(Virtual, u64), Item>,
    scheduled: u64,
    pub(crate) random: Random,
    pub(crate) net: Net,
    pub(crate) nodes: Vec<Node>,
    pub(crate) load: Load,
    pub(crate) oracle: Oracle,
    pub(crate) villain: Option<Villain>,
    trace: Trace,
    plan: Plan,
    crashes: u64,
    settled_at: Option<Virtual>,
    show: usize,
}

/// Runs one seed.
///
/// # Errors
/// What must never happen and did.
pub(crate) fn run(config: Config, show: usize) -> Result<Report, Failure> {
    let mut world = World::new(config, show);
    match world.run() {
        Ok(()) => Ok(world.report()),
        Err(what) => {
            let last = world.trace.last(world.show);
            Err(Failure { what, at: world.at, last })
        }
    }
}

impl World {
    fn new(config: Config, show: usize) -> Self {
        let mut random = Random::new(config.seed ^ 0x5359_4e47_5241_5048);
        let charter = load::charter(config.nodes);
        let genesis = Ledger::genesis(&charter);
        let nodes = (0..config.nodes).map(|number| {
            let most = if random.below(12) == 0 { 4_000 } else { 200 };
            let skew = i64::try_from(random.below(2 * most + 1)).expect("small") - most as i64;
            Node::new(number, Platter::new(genesis.clone(), config.lies), skew)
        });
        let nodes: Vec<_> = nodes.collect();
        let villain = Villain::of(&mut random, config.nodes);
        let plan = Plan::of(&mut random, config.nodes, villain.is_some());
        let withholder = villain.map(|villain| villain.node);
        let load = Load::new(&mut random, &nodes, genesis.network(), withholder);
        let mut world = Self {
            clock: Clock::new(),
            at: 0,
            queue: BTreeMap::new(),
            scheduled: 0,
            random,
            net: Net::new(config.nodes),
            nodes,
            load,
            oracle: Oracle::default(),
            villain,
            trace: Trace::new(config.aloud),
            plan,
            crashes: 0,
            settled_at: None,
            show,
        };
        world.oracle.forked = world.load.forked();
        world.oracle.villain = villain.map(|villain| villain.node);
        world
    }

    fn run(&mut self) -> Step {
        for node in 0..self.nodes.len() {
            self.start(node, false)?;
        }
        for app in 0..self.load.len() {
            self.later(MS, Item::App(app));
        }
        for (at, fault) in self.plan.faults.clone() {
            self.later(at, Item::Fault(fault));
        }
        self.later(self.plan.heal, Item::Watch);
        while self.settled_at.is_none() {
            let Some(((at, _), item)) = self.queue.pop_first() else {
                return Err("nothing happens any more".to_owned());
            };
            self.at = at;
            self.happen(item)?;
        }
        self.oracle.finish(&self.nodes, &self.load)
    }

    fn report(&self) -> Report {
        let ledger = self.nodes[0].platter.borrow().ledger().clone();
        Report {
            trace: self.trace.hash().to_string(),
            events: self.trace.count(),
            ended: self.at,
            crashes: self.crashes,
            heights: ledger.height().get(),
            sealed: ledger.log_size(),
            healed_in: self.at - self.plan.heal,
        }
    }

    /// Schedules something.
    pub(crate) fn later(&mut self, after: Virtual, item: Item) {
        self.scheduled += 1;
        self.queue.insert((self.at + after, self.scheduled), item);
    }

    /// Schedules something that a node does in its present life.
    pub(crate) fn node_later(&mut self, node: NodeId, after: Virtual, what: Do) {
        let life = self.nodes[node].life;
        self.later(after, Item::Node(node, life, what));
    }

    /// A number of microseconds between two.
    pub(crate) fn between(&mut self, least: Virtual, most: Virtual) -> Virtual {
        least + self.random.below(most - least)
    }

    pub(crate) fn note(&mut self, what: &str) {
        self.trace.note(self.at, what);
    }

    fn happen(&mut self, item: Item) -> Step {
        match item {
            Item::Node(node, life, what) => {
                let current = &self.nodes[node];
                if current.life == life && current.running.is_some() {
                    return self.act(node, what);
                }
                Ok(())
            }
            Item::Meet(a, b) => {
                self.meet(a, b);
                Ok(())
            }
            Item::Part(a, b) => {
                self.part(a, b);
                Ok(())
            }
            Item::App(app) => self.app(app),
            Item::Fault(fault) => self.fault(&fault),
            Item::Watch => self.watch(),
        }
    }

    fn fault(&mut self, fault: &Fault) -> Step {
        self.note(&format!("{fault:?}"));
        match *fault {
            Fault::Crash(node) => self.crash(node),
            Fault::Restart(node) => {
                if self.nodes[node].running.is_none() {
                    let from_genesis = self.random.below(4) == 0;
                    self.start(node, from_genesis)?;
                }
            }
            Fault::Storm(weather) => self.net.weather = weather,
            Fault::Partition(one_side) => {
                self.net.partition(one_side);
                self.links_changed();
            }
            Fault::Heal => {
                self.net.weather = Weather::CALM;
                self.net.partition(0);
                self.links_changed();
                for node in 0..self.nodes.len() {
                    if self.nodes[node].running.is_none() {
                        self.start(node, false)?;
                    }
                }
            }
            Fault::EndLoad => self.load.end(),
        }
        Ok(())
    }

    fn crash(&mut self, node: NodeId) {
        if self.nodes[node].running.take().is_none() {
            return;
        }
        self.crashes += 1;
        let at_risk = self.nodes[node].platter.borrow().at_risk() as u64;
        let (survive, votes) = (self.random.below(at_risk + 1) as usize, self.random.below(3) as usize);
        let mut platter = self.nodes[node].platter.borrow_mut();
        platter.crash(survive);
        platter.wal.crash(votes);
        drop(platter);
        self.net.died(node);
        self.sessions_end(node);
    }

    /// Looks whether everything is sealed everywhere, after healing.
    fn watch(&mut self) -> Step {
        let open = self.oracle.open(&self.nodes, &self.load);
        let villain = self.villain.map(|villain| self.nodes[villain.node].member);
        let waits = self.load.waits(villain);
        match open.or(waits) {
            None => {
                self.settled_at = Some(self.at);
                Ok(())
            }
            Some(open) if self.at > self.plan.heal + self.plan.bound => {
                let places: Vec<_> = self.nodes.iter().map(|node| self.place(node)).collect();
                let since = moment(self.at - self.plan.heal);
                Err(format!("no progress {since} after healing: {open}\n  {}", places.join("\n  ")))
            }
            _ => {
                self.later(WATCH_INTERVAL, Item::Watch);
                Ok(())
            }
        }
    }

    fn place(&self, node: &Node) -> String {
        let height = node.platter.borrow().ledger().height();
        let engine = node.running.as_ref().map(|running| running.engine.place());
        format!("node {} at height {height}, engine {}", node.member, engine.unwrap_or_default())
    }

    /// The clocks of a node.
    fn now(&self, node: NodeId) -> syngraph_node::core::ports::Now {
        self.clock.now(self.at, self.nodes[node].skew_ms)
    }

    fn start(&mut self, node: NodeId, from_genesis: bool) -> Step {
        let now = self.now(node);
        self.nodes[node]
            .start(now, from_genesis)
            .map_err(|error| format!("node {node} does not start: {error}"))?;
        self.ready(node);
        self.node_later(node, SECOND, Do::Tick(true));
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            let after = self.between(50 * MS, 500 * MS);
            self.later(after, Item::Meet(node, other));
        }
        Ok(())
    }
}
