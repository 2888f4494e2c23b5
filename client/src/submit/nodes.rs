//! The nodes that a sender may talk to: one at a time, in turn.
//!
//! *Invariant.* An entry is withdrawn, and its place in the journal signed anew, only if no
//! node but the one that refused it can have taken it.

use std::collections::HashMap;

use crate::api::Node;

/// The nodes, and what may have got to which of them.
#[derive(Debug)]
pub(super) struct Nodes {
    all: Vec<Node>,
    current: usize,
    /// How many were given up since something last went well.
    failed: usize,
    /// The node that an intent was sent to; none if it was sent to several, or before this
    /// process began.
    sent: HashMap<u64, Option<usize>>,
}

impl Nodes {
    /// These nodes, the first to be asked first; at least one.
    pub(super) fn new(all: Vec<Node>) -> Self {
        Self { all, current: 0, failed: 0, sent: HashMap::new() }
    }

    /// The node to talk to.
    pub(super) fn current(&self) -> &Node {
        self.all.get(self.current).expect("there is at least one, and `current` is taken modulo their number")
    }

    /// Goes on with the next node. Says whether it is another one, and one that was not
    /// given up a moment ago.
    pub(super) fn turn(&mut self) -> bool {
        self.failed += 1;
        self.current = (self.current + 1) % self.all.len();
        self.failed < self.all.len()
    }

    /// The current node has done something.
    pub(super) fn went_well(&mut self) {
        self.failed = 0;
    }

    /// Whether there are several.
    pub(super) fn are_many(&self) -> bool {
        self.all.len() > 1
    }

    /// These intents may have got to nodes that are not known any more.
    pub(super) fn inherited(&mut self, numbers: impl IntoIterator<Item = u64>) {
        self.sent.extend(numbers.into_iter().map(|number| (number, None)));
    }

    /// These intents are sent to the current node.
    pub(super) fn sent(&mut self, numbers: &[u64]) {
        for number in numbers {
            let to = self.sent.entry(*number).or_insert(Some(self.current));
            *to = to.filter(|before| *before == self.current);
        }
    }

    /// Whether an intent that the current node refuses can have been taken by no other.
    pub(super) fn is_only_here(&self, number: u64) -> bool {
        !self.are_many() || self.sent.get(&number) == Some(&Some(self.current))
    }

    /// These intents are done with.
    pub(super) fn forget(&mut self, is_pending: impl Fn(u64) -> bool) {
        self.sent.retain(|number, _| is_pending(*number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize) -> Nodes {
        let node = |port| Node::new(&format!("http://127.0.0.1:{port}")).expect("an address");
        Nodes::new((1..=count).map(node).collect())
    }

    #[test]
    fn a_round_of_failures_ends_where_it_began() {
        let mut three = nodes(3);
        let urls: Vec<_> = (0..4).map(|_| (three.turn(), three.current().url().to_owned())).collect();
        let url = |port: usize| format!("http://127.0.0.1:{port}");
        assert_eq!(urls, [(true, url(2)), (true, url(3)), (false, url(1)), (false, url(2))]);
        three.went_well();
        assert!(three.turn());
        assert!(!nodes(1).turn());
    }

    #[test]
    fn only_what_one_node_alone_has_seen_can_be_withdrawn() {
        let mut two = nodes(2);
        two.inherited([7]);
        two.sent(&[1, 2, 7]);
        assert_eq!([1, 2, 7].map(|number| two.is_only_here(number)), [true, true, false]);
        two.turn();
        two.sent(&[2, 3]);
        assert_eq!([1, 2, 3].map(|number| two.is_only_here(number)), [false, false, true]);
        two.turn();
        two.sent(&[2]);
        assert!(!two.is_only_here(2), "it stays seen by both");
        let mut one = nodes(1);
        one.inherited([7]);
        assert!(one.is_only_here(7));
    }
}
