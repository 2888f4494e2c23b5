//! What must hold, whatever goes wrong: checked at every commit and every signature, and in
//! the end.
//!
//! - At one height all nodes commit the same block, and come to the same state.
//! - A certificate is the proof that it claims to be.
//! - Nobody honest votes or proposes twice in one place.
//! - What a door acknowledged, and what was called replicated, is sealed in the end; nothing
//!   is sealed twice.
//! - In the end the states of all nodes are the same bytes, and replaying a node's blocks from
//!   genesis gives them too.
//! - A key that has shown two branches to two nodes is known for it.
//! - Nobody is kept busy by nothing.

use std::collections::{BTreeMap, BTreeSet};

use arc_malachitebft_core_types::{NilOrVal, Round, VoteType};
use syngraph_protocol::entry::SignedHead;
use syngraph_protocol::ids::{BlockId, EntryId, Hash, Height, PublicKey, Seq};
use syngraph_protocol::ledger::equivocation::Evidence;

use crate::disk::Committed;
use crate::engine::context::{Proposal, Value, Vote};
use crate::load::Load;
use crate::net::NodeId;
use crate::node::Node;
use crate::time::{SECOND, Virtual};
use crate::world::Step;

/// Most times that nothing but time may wake a core within a second.
const WAKES_MAX: u32 = 1_000;

/// Where a member votes at most once.
type Place = (NodeId, bool, Height, Round);

/// What was seen.
#[derive(Default)]
pub(crate) struct Oracle {
    agreed: BTreeMap<Height, (BlockId, Hash)>,
    votes: BTreeMap<Place, NilOrVal<Value>>,
    proposals: BTreeMap<(NodeId, Height, Round), (Value, Round)>,
    /// What doors have acknowledged: by whom and when.
    acknowledged: BTreeMap<EntryId, (NodeId, Virtual)>,
    replicated: BTreeSet<EntryId>,
    /// Keys that sign two branches, and what was acknowledged of each place.
    pub(crate) forked: BTreeSet<PublicKey>,
    branches: BTreeMap<(PublicKey, Seq), Vec<SignedHead>>,
    wakes: BTreeMap<NodeId, (Virtual, u32)>,
}

impl Oracle {
    pub(crate) fn committed(&mut self, node: NodeId, committed: &Committed) -> Step {
        let Committed { height, block, state_root, .. } = *committed;
        if let Err(error) = &committed.certified {
            return Err(format!(
                "node {node} commits h{height} on a certificate that proves nothing: {error}"
            ));
        }
        if let Some(twice) = committed.twice {
            return Err(format!("node {node} seals entry {twice} twice, the second time in h{height}"));
        }
        let agreed = *self.agreed.entry(height).or_insert((block, state_root));
        if agreed == (block, state_root) {
            return Ok(());
        }
        Err(format!("node {node} commits {block} with state {state_root} at h{height}, another {agreed:?}"))
    }

    pub(crate) fn voted(&mut self, node: NodeId, vote: &Vote) -> Step {
        let place = (node, vote.kind == VoteType::Precommit, vote.height.0, vote.round);
        let first = *self.votes.entry(place).or_insert(vote.value);
        if first == vote.value {
            Ok(())
        } else {
            Err(format!("node {node} votes twice: {first:?}, {vote:?}"))
        }
    }

    pub(crate) fn proposed(&mut self, node: NodeId, proposal: &Proposal) -> Step {
        let says = (proposal.value, proposal.valid_round);
        let first = *self.proposals.entry((node, proposal.height.0, proposal.round)).or_insert(says);
        if first == says {
            Ok(())
        } else {
            Err(format!("node {node} proposes twice: {first:?}, {proposal:?}"))
        }
    }

    /// A door has said that an entry is durable.
    pub(crate) fn acknowledged(&mut self, node: NodeId, at: Virtual, head: &SignedHead) {
        let (key, seq, id) = (head.head.journal, head.head.seq, head.id());
        if self.forked.contains(&key) {
            let heads = self.branches.entry((key, seq)).or_default();
            if heads.iter().all(|known| known.id() != id) {
                heads.push(head.clone());
            }
        } else {
            self.acknowledged.entry(id).or_insert((node, at));
        }
    }

    /// A door has said that a quorum holds an entry, or a block covers it.
    pub(crate) fn replicated(&mut self, key: &PublicKey, id: EntryId) {
        if !self.forked.contains(key) {
            self.replicated.insert(id);
        }
    }

    /// Nothing but time has woken a core.
    pub(crate) fn woken(&mut self, node: NodeId, at: Virtual) -> Step {
        let (second, count) = self.wakes.entry(node).or_default();
        if *second == at / SECOND {
            *count += 1;
        } else {
            (*second, *count) = (at / SECOND, 1);
        }
        if *count > WAKES_MAX { Err(format!("node {node} runs in circles")) } else { Ok(()) }
    }

    /// What is not as it should be in the end, if anything.
    pub(crate) fn open(&self, nodes: &[Node], load: &Load) -> Option<String> {
        for node in nodes {
            let platter = node.platter.borrow();
            let owed = self.acknowledged.iter().find(|(id, _)| !platter.is_sealed(id));
            if let Some((id, (by, _))) = owed {
                let all = self.acknowledged.keys().filter(|id| !platter.is_sealed(id)).count();
                let what = load.describe(id);
                let member = node.member;
                return Some(format!(
                    "entry {id} ({what}), acknowledged by node {by}, is not sealed at node {member}; {all} such"
                ));
            }
            if let Some(id) = self.replicated.iter().find(|id| !platter.is_sealed(id)) {
                return Some(format!("entry {id} was called replicated and is not sealed"));
            }
            let ledger = platter.ledger();
            let unknown = self.evidence().find(|evidence| !evidence.is_known(ledger));
            if let Some(evidence) = unknown {
                return Some(format!("a fork is not on the ledger: {evidence:?}"));
            }
        }
        let mut heights = nodes.iter().map(|node| node.platter.borrow().ledger().height());
        let first = heights.next()?;
        heights.find(|height| *height != first).map(|other| format!("heights {first} and {other} differ"))
    }

    /// The forks of which two doors acknowledged a branch each.
    fn evidence(&self) -> impl Iterator<Item = Evidence> {
        let pairs = self.branches.values().filter_map(|heads| match heads.as_slice() {
            [one, other, ..] => Evidence::entries(one.clone(), other.clone()),
            _ => None,
        });
        pairs.take(1)
    }

    /// Compares the states, and replays one node's history.
    pub(crate) fn finish(&self, nodes: &[Node], load: &Load) -> Step {
        if let Some(open) = self.open(nodes, load) {
            return Err(open);
        }
        let dumps = nodes.iter().map(|node| node.platter.borrow().ledger().dump());
        let dumps: Vec<_> = dumps.collect();
        if dumps.iter().any(|dump| Some(dump) != dumps.first()) {
            return Err("the states of two nodes are not the same bytes".to_owned());
        }
        let platter = nodes[0].platter.borrow();
        let replayed = platter.replay()?;
        if Some(&replayed.dump()) == dumps.first() {
            Ok(())
        } else {
            Err("replaying gives another state".to_owned())
        }
    }
}
