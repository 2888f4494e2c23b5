//! The tree over the state: a Jellyfish Merkle tree with SHA-256. The only module that
//! knows the `jmt` package.
//!
//! *Invariants.* The root depends only on the set of (key, value) pairs, not on the
//! history that led to it, so that a tree rebuilt from values proves them.
//!
//! Source: Gao, Hu, Wu, "Jellyfish Merkle Tree" (2021).

use std::sync::Arc;

use imbl::OrdMap;
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader};
use jmt::{KeyHash, OwnedValue, Sha256Jmt, Version};

use super::table::StateChange;
use crate::crypto::{self, Domain};
use crate::ids::Hash;

/// The newest version of the tree; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct StateTree {
    nodes: OrdMap<Arc<NodeKey>, Arc<Node>>,
    /// Counts updates; the first is 0.
    next_version: Version,
}

struct Reader<'a>(&'a StateTree);

impl TreeReader for Reader<'_> {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        Ok(self.0.nodes.get(key).map(|node| node.as_ref().clone()))
    }

    fn get_value_option(&self, _: Version, _: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        // Values live in the tables; updating the tree never asks for one.
        Ok(None)
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        anyhow::bail!("only restoring a tree asks for its rightmost leaf")
    }
}

impl StateTree {
    /// Applies changes and gives the new root.
    ///
    /// # Panics
    /// If a node is missing, which is a bug: all nodes are in memory.
    pub(super) fn update(&mut self, changes: &[StateChange]) -> Hash {
        let version = self.next_version;
        let values = changes.iter().map(|change| (key_hash(&change.key), change.value.clone()));
        let (root, batch) = Sha256Jmt::new(&Reader(self))
            .put_value_set(values.collect::<Vec<_>>(), version)
            .expect("all nodes of the newest version are in memory");
        for stale in &batch.stale_node_index_batch {
            self.nodes.remove(&stale.node_key);
        }
        for (key, node) in batch.node_batch.nodes() {
            self.nodes.insert(Arc::new(key.clone()), Arc::new(node.clone()));
        }
        self.next_version = version.checked_add(1).expect("no chain reaches 2^64 blocks");
        Hash::from_bytes(root.0)
    }
}

fn key_hash(key: &[u8]) -> KeyHash {
    KeyHash(*crypto::hash(Domain::STATE_KEY, &[key]).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: u8, value: u8) -> StateChange {
        StateChange { key: vec![key], value: Some(vec![value]) }
    }

    #[test]
    fn the_root_depends_on_the_set_alone() {
        let mut straight = StateTree::default();
        let root = straight.update(&[put(1, 1), put(2, 2), put(3, 3)]);

        let mut detour = StateTree::default();
        detour.update(&[put(3, 9), put(4, 4)]);
        detour.update(&[put(2, 2)]);
        let gone = StateChange { key: vec![4], value: None };
        assert_eq!(detour.update(&[put(3, 3), gone, put(1, 1)]), root);
        assert_ne!(detour.update(&[put(1, 7)]), root);
    }

    #[test]
    fn stale_nodes_do_not_pile_up() {
        let mut tree = StateTree::default();
        let all: Vec<_> = (0..100).map(|key| put(key, 0)).collect();
        tree.update(&all);
        let nodes = tree.nodes.len();
        (1..50).for_each(|value| {
            tree.update(&[put(7, value)]);
        });
        assert_eq!(tree.nodes.len(), nodes);
    }
}
