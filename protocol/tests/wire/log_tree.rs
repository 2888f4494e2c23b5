//! The log tree against the definition of RFC 6962 §2.1, written down once more.

use proptest::prelude::*;
use syngraph_protocol::crypto::sha256;
use syngraph_protocol::ids::Hash;
use syngraph_protocol::merkle::{
    Frontier, consistency_path, inclusion_path, leaf_hash, root, verify_consistency, verify_inclusion,
};

/// MTH of RFC 6962 §2.1, word for word.
fn naive(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => sha256(&[]),
        [leaf] => sha256(&[&[0], leaf]),
        leaves => {
            let mut k = 1;
            while k * 2 < leaves.len() {
                k *= 2;
            }
            let (left, right) = leaves.split_at(k);
            sha256(&[&[1], naive(left).as_bytes(), naive(right).as_bytes()])
        }
    }
}

/// Some leaves, and two positions in or just beyond them.
fn leaves() -> impl Strategy<Value = (Vec<Vec<u8>>, usize, usize)> {
    let leaf = prop::collection::vec(any::<u8>(), 0..4);
    let leaves = prop::collection::vec(leaf, 0..70);
    leaves.prop_flat_map(|leaves| {
        let len = leaves.len();
        (Just(leaves), 0..=len, 0..=len)
    })
}

fn index(position: usize) -> u64 {
    u64::try_from(position).expect("few leaves")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_frontier_has_the_root_of_the_definition((leaves, ..) in leaves()) {
        let mut frontier = Frontier::default();
        for (count, leaf) in leaves.iter().enumerate() {
            prop_assert_eq!(frontier.root(), naive(&leaves[..count]));
            frontier.push(leaf_hash(leaf));
        }
        prop_assert_eq!(frontier.root(), naive(&leaves));
        prop_assert_eq!(frontier.size(), index(leaves.len()));
    }

    #[test]
    fn a_path_proves_its_leaf_and_no_other((leaves, at, other) in leaves()) {
        let hashes: Vec<_> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
        let (expected, size) = (root(&hashes), index(hashes.len()));
        let Some(path) = inclusion_path(&hashes, at) else {
            prop_assert_eq!(at, hashes.len());
            return Ok(());
        };
        prop_assert!(verify_inclusion(&hashes[at], index(at), size, &path, &expected));
        if other < hashes.len() && hashes[other] != hashes[at] {
            prop_assert!(!verify_inclusion(&hashes[other], index(at), size, &path, &expected));
            prop_assert!(!verify_inclusion(&hashes[other], index(other), size, &path, &expected));
        }
        prop_assert!(!verify_inclusion(&hashes[at], size, size, &path, &expected));
        for cut in 0..path.len() {
            prop_assert!(!verify_inclusion(&hashes[at], index(at), size, &path[..cut], &expected));
        }
    }

    #[test]
    fn a_prefix_is_proved_and_nothing_else_is((leaves, old, other) in leaves()) {
        let hashes: Vec<_> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
        let (old_root, new_root) = (root(&hashes[..old]), root(&hashes));
        let (old_size, new_size) = (index(old), index(hashes.len()));
        let Some(path) = consistency_path(&hashes, old) else {
            prop_assert_eq!(old, 0);
            return Ok(());
        };
        prop_assert!(verify_consistency(old_size, &old_root, new_size, &new_root, &path));
        let forged = root(&hashes[..other]);
        if forged != old_root {
            prop_assert!(!verify_consistency(old_size, &forged, new_size, &new_root, &path));
        }
        if forged != new_root {
            prop_assert!(!verify_consistency(old_size, &old_root, new_size, &forged, &path));
        }
    }
}
