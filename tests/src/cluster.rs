//! Four nodes of four members, each a process; any of them may die, hang or be away.
//!
//! *Invariants.* A node keeps its directory and its ports for as long as the cluster lives,
//! whatever becomes of its process. Nobody who is paused or down is asked anything: asking
//! them is a mistake of the test.

use std::process::Command;

use syngraph_protocol::ids::{Hash, Height, MemberId};
use syngraph_protocol::ledger::params::Params;

use crate::consortium::{ASTER, CEDAR, Consortium, FOUR, params, position};
use crate::licence::{Licensed, license};
use crate::node::Node;
use crate::signer::Signer;
use crate::wait::until;

/// What a node's process is doing.
#[derive(Debug)]
enum Slot {
    Up(Node),
    Paused(Node),
    Down,
}

/// A consortium of four, and its nodes.
#[derive(Debug)]
pub struct Cluster {
    // Before the folder that the nodes' logs are in.
    slots: Vec<Slot>,
    /// What it was founded as.
    pub consortium: Consortium,
}

/// What the members of a cluster have agreed on before a test begins.
#[derive(Debug)]
pub struct Business {
    /// The model, and the licence of Cedar.
    pub licensed: Licensed,
    /// Aster's root key.
    pub aster: Signer,
    /// Cedar's root key.
    pub cedar: Signer,
}

impl Cluster {
    /// Founds a consortium of four and starts its nodes.
    ///
    /// # Panics
    /// If a node does not get ready.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(params())
    }

    /// The same with these parameters.
    ///
    /// # Panics
    /// If a node does not get ready.
    #[must_use]
    #[track_caller]
    pub fn start_with(params: Params) -> Self {
        let mut cluster = Self::found(params);
        cluster.restart(&FOUR);
        cluster
    }

    /// Founds a consortium of four; no node runs yet.
    #[must_use]
    pub fn found(params: Params) -> Self {
        Self { consortium: Consortium::found_four(params), slots: FOUR.map(|_| Slot::Down).into() }
    }

    /// Starts a cluster whose Aster has licensed a model to Cedar.
    ///
    /// # Panics
    /// If a node does not get ready, or anything is refused.
    #[must_use]
    #[track_caller]
    pub fn in_business() -> (Self, Business) {
        let cluster = Self::start();
        let business = cluster.do_business();
        (cluster, business)
    }

    /// Aster licenses a model to Cedar; when this returns, all nodes that are up know it.
    ///
    /// # Panics
    /// If anything is refused.
    #[must_use]
    #[track_caller]
    pub fn do_business(&self) -> Business {
        let (mut aster, mut cedar) = (self.consortium.root(ASTER), self.consortium.root(CEDAR));
        let licensed = license(self.node(ASTER), &mut aster, &mut cedar);
        self.until_alike();
        Business { licensed, aster, cedar }
    }

    fn slot(&mut self, member: MemberId) -> &mut Slot {
        &mut self.slots[position(member)]
    }

    /// A node that is up.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    #[track_caller]
    pub fn node(&self, member: MemberId) -> &Node {
        match &self.slots[position(member)] {
            Slot::Up(node) => node,
            Slot::Paused(_) | Slot::Down => panic!("the node of member {member} is not up"),
        }
    }

    /// The nodes that are up.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Up(node) => Some(node),
            Slot::Paused(_) | Slot::Down => None,
        })
    }

    #[track_caller]
    fn take(&mut self, member: MemberId) -> Node {
        match std::mem::replace(self.slot(member), Slot::Down) {
            Slot::Up(node) | Slot::Paused(node) => node,
            Slot::Down => panic!("the node of member {member} is down"),
        }
    }

    /// Ends nodes at once, as crashes would.
    ///
    /// # Panics
    /// If one is down.
    #[track_caller]
    pub fn kill(&mut self, members: &[MemberId]) {
        for member in members {
            self.take(*member).kill();
        }
    }

    /// Asks nodes to stop and waits until they have.
    ///
    /// # Panics
    /// If one is down, or does not end with success.
    #[track_caller]
    pub fn stop(&mut self, members: &[MemberId]) {
        for member in members {
            self.take(*member).stop();
        }
    }

    /// Stops all nodes that are up.
    ///
    /// # Panics
    /// If one does not end with success.
    #[track_caller]
    pub fn stop_all(&mut self) {
        let up = |member: &MemberId| matches!(self.slots[position(*member)], Slot::Up(_));
        let members: Vec<_> = FOUR.into_iter().filter(up).collect();
        self.stop(&members);
    }

    /// Takes the processor from nodes; their connections stand.
    ///
    /// # Panics
    /// If one is down.
    #[track_caller]
    pub fn pause(&mut self, members: &[MemberId]) {
        for member in members {
            let node = self.take(*member);
            node.pause();
            *self.slot(*member) = Slot::Paused(node);
        }
    }

    /// Lets paused nodes go on.
    ///
    /// # Panics
    /// If one is down.
    #[track_caller]
    pub fn resume(&mut self, members: &[MemberId]) {
        for member in members {
            let node = self.take(*member);
            node.resume();
            *self.slot(*member) = Slot::Up(node);
        }
    }

    /// Starts nodes that are down, and waits until their doors are open. They need not be
    /// ready: that may take others.
    ///
    /// # Panics
    /// If one ends instead.
    #[track_caller]
    pub fn launch(&mut self, members: &[MemberId]) {
        for member in members {
            let node = Node::launch(self.consortium.home(*member).path());
            *self.slot(*member) = Slot::Up(node);
        }
        members.iter().for_each(|member| self.up(*member).answer());
    }

    /// Starts a node with a program that takes the arguments of `syngraphd`, and waits
    /// until its doors are open.
    ///
    /// # Panics
    /// If it ends instead.
    #[track_caller]
    pub fn launch_as(&mut self, command: Command, member: MemberId) {
        let node = Node::launch_as(command, self.consortium.home(member).path());
        *self.slot(member) = Slot::Up(node);
        self.up(member).answer();
    }

    /// Starts nodes that are down, and waits until they are ready.
    ///
    /// # Panics
    /// If one does not get ready.
    #[track_caller]
    pub fn restart(&mut self, members: &[MemberId]) {
        self.launch(members);
        members.iter().for_each(|member| self.up(*member).get_ready());
    }

    #[track_caller]
    fn up(&mut self, member: MemberId) -> &mut Node {
        match self.slot(member) {
            Slot::Up(node) => node,
            Slot::Paused(_) | Slot::Down => panic!("the node of member {member} is not up"),
        }
    }

    /// Waits until a node has decided a height.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn until_height(&self, member: MemberId, height: Height) {
        let node = self.node(member);
        until(&format!("height {height} of member {member}"), || {
            node.try_status().filter(|status| status.height >= height)
        });
    }

    /// Waits until all nodes that are up have arrived at one state, and gives it.
    ///
    /// # Panics
    /// If they do not.
    #[track_caller]
    pub fn until_alike(&self) -> (Height, Hash) {
        until("all nodes are at one state", || {
            let states: Option<Vec<_>> = self
                .nodes()
                .map(|node| node.try_status().map(|status| (status.height, status.state_root)))
                .collect();
            let states = states?;
            let first = *states.first()?;
            states.iter().all(|state| *state == first).then_some(first)
        })
    }

    /// Waits until every node that is up has sealed so many usage rows.
    ///
    /// # Panics
    /// If they do not, or seal more.
    #[track_caller]
    pub fn until_rows(&self, rows: u64) {
        until(&format!("{rows} rows are sealed everywhere"), || {
            let sealed = |node: &Node| node.try_status().map(|status| status.rows_sealed);
            let sealed: Option<Vec<_>> = self.nodes().map(sealed).collect();
            let sealed = sealed?;
            assert!(sealed.iter().all(|sealed| *sealed <= rows), "{sealed:?} of {rows} rows");
            sealed.iter().all(|sealed| *sealed == rows).then_some(())
        });
    }

    /// No two nodes that are up have decided different blocks at one height.
    ///
    /// # Panics
    /// If they have.
    #[track_caller]
    pub fn never_differed(&self) {
        let Some(lowest) = self.nodes().map(|node| node.status().height).min() else { return };
        for height in (1..=lowest.get()).map(Height::new) {
            let ids: Vec<_> = self.nodes().map(|node| node.block(height)["id"].clone()).collect();
            assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "height {height}: {ids:?}");
        }
    }
}
