//! Who takes a share of whose revenue: the royalty edges between assets.
//!
//! *Invariants.* A [`Lineage`] has no cycle, no edge twice, and no child that passes on
//! more than 100 % by relative edges. Orders depend on ids alone.
//!
//! *Deliberately absent:* why an edge exists (declared lineage and grants), and owners.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};

use serde::{Deserialize, Serialize};

use crate::money::Ppm;

/// What an edge's ppm is a share of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EdgeMode {
    /// The net charge of a line on the child or on any of its descendants.
    #[serde(rename = "abs")]
    Absolute,
    /// Whatever the child node receives.
    #[serde(rename = "rel")]
    Relative,
}

/// The parent takes a share of what the child earns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge<K> {
    /// The asset that was made from the parent.
    pub child: K,
    /// The asset that earns from it.
    pub parent: K,
    /// What the share is taken of.
    pub mode: EdgeMode,
    /// The share.
    pub ppm: Ppm,
}

/// Why edges are no lineage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError<K: Debug + Display> {
    /// The same edge, of the same mode, twice.
    #[error("the edge from {child} to {parent} stands twice")]
    Duplicate {
        /// Its child.
        child: K,
        /// Its parent.
        parent: K,
    },
    /// An asset that is its own ancestor.
    #[error("the edges form a cycle, at {asset} or among its descendants")]
    Cycle {
        /// The lowest id among the assets on a cycle and their ancestors.
        asset: K,
    },
    /// Relative edges of one child, or absolute edges of one closure, above 100 %.
    #[error("the {mode:?} edges of {asset} take {ppm} ppm, more than 100 %")]
    StackOver100 {
        /// The child, or the asset whose closure it is.
        asset: K,
        /// Which edges.
        mode: EdgeMode,
        /// Their sum.
        ppm: u128,
    },
}

impl<K: Debug + Display> GraphError<K> {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Duplicate { .. } => "LINEAGE-DUPLICATE",
            Self::Cycle { .. } => "LINEAGE-CYCLE",
            Self::StackOver100 { .. } => "STACK-OVER-100",
        }
    }
}

/// A checked set of edges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage<K> {
    /// Edges by child; each list ordered by (parent, mode).
    edges: BTreeMap<K, Vec<Edge<K>>>,
}

impl<K: Ord + Clone + Debug + Display> Lineage<K> {
    /// Checks the edges, in whatever order they come.
    ///
    /// # Errors
    /// Any [`GraphError`]; of the absolute stacks only [`Lineage::absolute`] and
    /// [`Lineage::check_absolute_stacks`] speak.
    pub fn new(edges: impl IntoIterator<Item = Edge<K>>) -> Result<Self, GraphError<K>> {
        let mut by_child: BTreeMap<K, Vec<Edge<K>>> = BTreeMap::new();
        for edge in edges {
            by_child.entry(edge.child.clone()).or_default().push(edge);
        }
        for list in by_child.values_mut() {
            list.sort_by(|a, b| (&a.parent, a.mode).cmp(&(&b.parent, b.mode)));
            for (edge, next) in list.iter().zip(list.iter().skip(1)) {
                if (&edge.parent, edge.mode) == (&next.parent, next.mode) {
                    return Err(GraphError::Duplicate {
                        child: edge.child.clone(),
                        parent: edge.parent.clone(),
                    });
                }
            }
        }
        let lineage = Self { edges: by_child };
        for child in lineage.edges.keys() {
            let relative: Vec<_> = lineage.relative(child).collect();
            at_most_100(child, EdgeMode::Relative, &relative)?;
        }
        let all = lineage.edges.values().flatten().flat_map(|edge| [&edge.child, &edge.parent]).collect();
        lineage.descendants_first(all)?;
        Ok(lineage)
    }

    /// The relative edges of a child, by parent.
    pub fn relative<'a>(&'a self, child: &K) -> impl Iterator<Item = &'a Edge<K>> + use<'a, K> {
        self.edges_of(child).iter().filter(|edge| edge.mode == EdgeMode::Relative)
    }

    /// Every absolute edge that takes a share of the asset's revenue: those of the asset
    /// and of all its ancestors, each once, by (child, parent).
    ///
    /// # Errors
    /// [`GraphError::StackOver100`] if they take more than all of it.
    pub fn absolute(&self, asset: &K) -> Result<Vec<&Edge<K>>, GraphError<K>> {
        let closure = self.closure(asset);
        let edges: Vec<_> = closure
            .into_iter()
            .flat_map(|child| self.edges_of(child))
            .filter(|edge| edge.mode == EdgeMode::Absolute)
            .collect();
        at_most_100(asset, EdgeMode::Absolute, &edges)?;
        Ok(edges)
    }

    /// Whether no asset's closure gives away more than 100 %. An ancestor's closure is
    /// part of its descendants', so only assets without descendants need a look.
    ///
    /// # Errors
    /// [`GraphError::StackOver100`] for the lowest id concerned.
    pub fn check_absolute_stacks(&self) -> Result<(), GraphError<K>> {
        let parents: BTreeSet<&K> = self.edges.values().flatten().map(|edge| &edge.parent).collect();
        self.edges.keys().filter(|child| !parents.contains(child)).try_for_each(|asset| {
            self.absolute(asset)?;
            Ok(())
        })
    }

    /// The asset and its ancestors, every node after all its descendants, ties by id.
    #[must_use]
    pub fn order<'a>(&'a self, asset: &'a K) -> Vec<&'a K> {
        self.descendants_first(self.closure(asset)).expect("a lineage has no cycle")
    }

    fn edges_of(&self, child: &K) -> &[Edge<K>] {
        self.edges.get(child).map_or(&[], Vec::as_slice)
    }

    fn closure<'a>(&'a self, asset: &'a K) -> BTreeSet<&'a K> {
        let mut seen = BTreeSet::from([asset]);
        let mut open = vec![asset];
        while let Some(child) = open.pop() {
            for edge in self.edges_of(child) {
                if seen.insert(&edge.parent) {
                    open.push(&edge.parent);
                }
            }
        }
        seen
    }

    /// Topological order of a set that holds every parent of its members (Kahn 1962).
    fn descendants_first<'a>(&'a self, nodes: BTreeSet<&'a K>) -> Result<Vec<&'a K>, GraphError<K>> {
        let mut children_left: BTreeMap<&K, usize> = nodes.iter().map(|&node| (node, 0)).collect();
        for edge in nodes.iter().flat_map(|node| self.edges_of(node)) {
            let count = children_left.entry(&edge.parent).or_default();
            *count = count.saturating_add(1);
        }
        let ready_at_once = children_left.iter().filter(|(_, left)| **left == 0);
        let mut ready: BTreeSet<&K> = ready_at_once.map(|(node, _)| *node).collect();
        let mut order = Vec::with_capacity(nodes.len());
        while let Some(node) = ready.pop_first() {
            children_left.remove(node);
            order.push(node);
            for edge in self.edges_of(node) {
                let Some(left) = children_left.get_mut(&edge.parent) else { continue };
                *left = left.saturating_sub(1);
                if *left == 0 {
                    ready.insert(&edge.parent);
                }
            }
        }
        match children_left.first_key_value() {
            Some((&asset, _)) => Err(GraphError::Cycle { asset: asset.clone() }),
            None => Ok(order),
        }
    }
}

fn at_most_100<K>(asset: &K, mode: EdgeMode, edges: &[&Edge<K>]) -> Result<(), GraphError<K>>
where
    K: Clone + Debug + Display,
{
    let ppm = edges.iter().map(|edge| u128::from(edge.ppm.get())).fold(0, u128::saturating_add);
    if ppm > u128::from(Ppm::ONE.get()) {
        return Err(GraphError::StackOver100 { asset: asset.clone(), mode, ppm });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(child: u32, parent: u32, mode: EdgeMode, ppm: u32) -> Edge<u32> {
        Edge { child, parent, mode, ppm: Ppm::new(ppm) }
    }

    fn relative(child: u32, parent: u32) -> Edge<u32> {
        edge(child, parent, EdgeMode::Relative, 1)
    }

    #[test]
    fn descendants_come_first_and_ties_go_by_id() {
        let edges =
            [relative(5, 2), relative(5, 9), relative(9, 1), relative(2, 1), relative(1, 0), relative(7, 5)];
        let lineage = Lineage::new(edges).expect("no cycle");
        assert_eq!(lineage.order(&5), [&5, &2, &9, &1, &0]);
        assert_eq!(lineage.order(&9), [&9, &1, &0]);
        assert_eq!(lineage.order(&77), [&77], "an asset without edges is its own closure");
    }

    #[test]
    fn an_edge_may_stand_once_in_each_mode() {
        let both = [relative(1, 0), edge(1, 0, EdgeMode::Absolute, 1)];
        let lineage = Lineage::new(both).expect("two different edges");
        assert_eq!(lineage.order(&1), [&1, &0]);
        let twice = Lineage::new([relative(1, 0), edge(1, 0, EdgeMode::Relative, 2)]);
        assert_eq!(twice.map_err(|e| e.rule()).err(), Some("LINEAGE-DUPLICATE"));
    }

    #[test]
    fn cycles_are_refused_wherever_they_are() {
        for cycle in [
            vec![relative(1, 1)],
            vec![relative(1, 2), edge(2, 1, EdgeMode::Absolute, 0)],
            vec![relative(9, 1), relative(1, 2), relative(2, 3), relative(3, 1), relative(3, 0)],
        ] {
            assert_eq!(Lineage::new(cycle).map_err(|e| e.rule()).err(), Some("LINEAGE-CYCLE"));
        }
    }

    #[test]
    fn stacks_may_reach_100_percent_and_no_more() {
        let full = [edge(3, 1, EdgeMode::Relative, 400_000), edge(3, 2, EdgeMode::Relative, 600_000)];
        assert!(Lineage::new(full.clone()).is_ok());
        let over = full.into_iter().chain([edge(3, 0, EdgeMode::Relative, 1)]);
        assert_eq!(Lineage::new(over).map_err(|e| e.rule()).err(), Some("STACK-OVER-100"));
        let chain = [edge(3, 2, EdgeMode::Absolute, 500_000), edge(2, 1, EdgeMode::Absolute, 500_000)];
        let lineage = Lineage::new(chain.clone()).expect("no relative edge");
        assert_eq!(lineage.check_absolute_stacks(), Ok(()));
        let over = chain.into_iter().chain([edge(1, 0, EdgeMode::Absolute, 1)]);
        let lineage = Lineage::new(over).expect("no relative edge");
        let refused = GraphError::StackOver100 { asset: 3, mode: EdgeMode::Absolute, ppm: 1_000_001 };
        assert_eq!(lineage.check_absolute_stacks(), Err(refused));
        assert!(lineage.absolute(&2).is_ok(), "below, the stack is smaller");
    }
}
