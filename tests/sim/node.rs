//! A simulated node: what outlives it, and what dies with it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;

use syngraph_node::core::ports::{Input, Metrics, Now};
use syngraph_node::core::{Core, Own, Parts, restore};
use syngraph_node::gate::{Readiness, Snapshot};
use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::ids::MemberId;
use tokio::sync::watch;

use crate::disk::{Found, MemoryDisk, Platter};
use crate::engine::Engine;
use crate::engine::votes::Notary;
use crate::net::NodeId;
use crate::ports::{Said, Voice};
use crate::time::Virtual;

/// A core with everything in memory.
pub(crate) type MemoryCore = Core<MemoryDisk, Voice, Voice>;

/// The keys of a member.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) root: SecretKey,
    pub(crate) validator: SecretKey,
    pub(crate) transport: SecretKey,
    pub(crate) journal: SecretKey,
    pub(crate) app: SecretKey,
}

impl Keys {
    /// The keys of the member of this number.
    pub(crate) fn of(member: NodeId) -> Self {
        let first = u8::try_from(member * 10 + 10).expect("few members");
        let key = |more: u8| SecretKey::from_seed(&[first + more; 32]);
        Self { root: key(0), validator: key(1), transport: key(2), journal: key(3), app: key(4) }
    }
}

/// A node.
pub(crate) struct Node {
    pub(crate) member: MemberId,
    pub(crate) keys: Keys,
    pub(crate) platter: Rc<RefCell<Platter>>,
    /// By how much its wall clock is off.
    pub(crate) skew_ms: i64,
    /// Counts its starts.
    pub(crate) life: u64,
    pub(crate) running: Option<Running>,
}

/// What dies with a process.
pub(crate) struct Running {
    pub(crate) core: MemoryCore,
    pub(crate) engine: Engine,
    pub(crate) voice: Voice,
    pub(crate) said: mpsc::Receiver<Said>,
    pub(crate) inbox: VecDeque<Input>,
    /// Whether the core thread is at work, or about to be.
    pub(crate) busy: bool,
    /// The latest alarm; older ones are void.
    pub(crate) alarm: u64,
    /// When the engine hears what the core said last: never before what was said earlier.
    pub(crate) heard: Virtual,
}

/// The number of a member's node.
pub(crate) fn node_of(member: MemberId) -> NodeId {
    usize::try_from(member.get()).expect("few members")
}

impl Node {
    pub(crate) fn new(number: NodeId, platter: Platter, skew_ms: i64) -> Self {
        Self {
            member: MemberId::new(u32::try_from(number).expect("few members")),
            keys: Keys::of(number),
            platter: Rc::new(RefCell::new(platter)),
            skew_ms,
            life: 0,
            running: None,
        }
    }

    /// Starts it from what its disk holds.
    ///
    /// # Errors
    /// What recovery says.
    pub(crate) fn start(&mut self, now: Now, from_genesis: bool) -> Result<(), String> {
        let Found { ledger, pending, undecided } = self.platter.borrow().recover(from_genesis)?;
        let (network, tip) = (ledger.network(), ledger.height());
        let first =
            Snapshot { ledger: ledger.clone(), readiness: Readiness::Starting, connected: Vec::new() };
        let (chain, journals) = restore(self.member, ledger, pending, undecided, now.instant);
        let (voice, said) = Voice::new();
        let own = Own { member: self.member, journal: self.keys.journal.clone() };
        let parts = Parts {
            own,
            chain,
            journals,
            disk: MemoryDisk(Rc::clone(&self.platter)),
            voting: voice.clone(),
            peers: voice.clone(),
            snapshot: watch::channel(Arc::new(first)).0,
            metrics: Metrics::default(),
        };
        let notary = Notary { network, key: self.keys.validator.clone() };
        self.life += 1;
        self.running = Some(Running {
            core: Core::new(parts, now),
            engine: Engine::new(self.member, notary, tip),
            voice,
            said,
            inbox: VecDeque::new(),
            busy: false,
            alarm: 0,
            heard: 0,
        });
        Ok(())
    }
}
