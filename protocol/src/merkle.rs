//! The log tree of RFC 6962 §2.1 (SHA-256): append, root, proofs of inclusion and of
//! consistency, and their verification (RFC 9162 §2.1.3.2 and §2.1.4.2).

use serde::{Deserialize, Serialize};

use crate::crypto::sha256;
use crate::ids::Hash;

/// Hash of one leaf: SHA-256(0x00 ‖ data).
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash {
    sha256(&[&[0], data])
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left.as_bytes(), right.as_bytes()])
}

/// The root of the empty tree: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    sha256(&[])
}

/// The right edge of a tree: enough to append and to tell the root, in O(log n) bytes.
///
/// *Invariant:* `peaks` holds one hash for each set bit of `size`, the largest subtree
/// first.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// How many leaves the tree has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends the hash of a leaf.
    ///
    /// # Panics
    /// After 2⁶⁴ − 1 leaves, which no log reaches.
    pub fn push(&mut self, leaf: Hash) {
        let mut merged = leaf;
        // Each trailing 1 of the size is a full subtree that the new leaf completes.
        for _ in 0..self.size.trailing_ones() {
            let left = self.peaks.pop().expect("one peak for each set bit of the size");
            merged = node_hash(&left, &merged);
        }
        self.peaks.push(merged);
        self.size = self.size.checked_add(1).expect("no log reaches 2^64 leaves");
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return empty_root() };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// The root over leaf hashes.
#[must_use]
pub fn root(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    frontier.root()
}

/// Where RFC 6962 splits `len` ≥ 2 leaves: the largest power of two below `len`.
fn split(len: usize) -> usize {
    len.next_power_of_two() >> 1
}

/// The path that proves that leaf `index` is in the tree over `leaves`; `None` if there
/// is no such leaf.
#[must_use]
pub fn inclusion_path(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    let (mut path, mut leaves, mut index) = (Vec::new(), leaves, index);
    while leaves.len() > 1 {
        let (left, right) = leaves.split_at(split(leaves.len()));
        if let Some(within) = index.checked_sub(left.len()) {
            path.push(root(left));
            (leaves, index) = (right, within);
        } else {
            path.push(root(right));
            leaves = left;
        }
    }
    path.reverse();
    Some(path)
}

/// Whether `path` proves that `leaf` is number `index` of the `size` leaves under `root`.
#[must_use]
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], expected_root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size.saturating_sub(1), *leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *expected_root
}

/// The path that proves that the tree over the first `old_size` leaves is a prefix of
/// the tree over all of `leaves`; `None` unless `0 < old_size ≤ leaves.len()`.
#[must_use]
pub fn consistency_path(leaves: &[Hash], old_size: usize) -> Option<Vec<Hash>> {
    if old_size == 0 || old_size > leaves.len() {
        return None;
    }
    let (mut path, mut leaves, mut old, mut old_is_complete) = (Vec::new(), leaves, old_size, true);
    while old < leaves.len() {
        let (left, right) = leaves.split_at(split(leaves.len()));
        if let Some(within) = old.checked_sub(left.len()).filter(|within| *within > 0) {
            path.push(root(left));
            (leaves, old, old_is_complete) = (right, within, false);
        } else {
            path.push(root(right));
            leaves = left;
        }
    }
    if !old_is_complete {
        path.push(root(leaves));
    }
    path.reverse();
    Some(path)
}

/// Whether `path` proves that the tree of `old_size` leaves under `old_root` is a prefix
/// of the one of `new_size` leaves under `new_root`.
#[must_use]
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    path: &[Hash],
) -> bool {
    if old_size == 0 || old_size > new_size {
        return false;
    }
    if old_size == new_size {
        return path.is_empty() && old_root == new_root;
    }
    let full_subtree = old_size.is_power_of_two().then_some(*old_root);
    let mut path = full_subtree.iter().chain(path);
    let Some(first) = path.next() else { return false };
    let (mut node, mut last) = (old_size.saturating_sub(1), new_size.saturating_sub(1));
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The inputs of Certificate Transparency's reference tests.
    fn ct_leaves() -> Vec<Hash> {
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
            .iter()
            .map(|text| leaf_hash(&hex::decode(text).expect("hex")))
            .collect()
    }

    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let expected = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let leaves = ct_leaves();
        for (size, root_hex) in expected.iter().enumerate() {
            assert_eq!(root(&leaves[..size]).to_string(), *root_hex, "{size} leaves");
        }
    }

    fn leaves(count: u32) -> Vec<Hash> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn every_inclusion_path_verifies_and_binds_everything() {
        for size in 1_u32..=33 {
            let leaves = leaves(size);
            let tree_root = root(&leaves);
            for (index, leaf) in (0_u64..).zip(&leaves) {
                let path = inclusion_path(&leaves, index.try_into().expect("small")).expect("exists");
                let size = u64::from(size);
                assert!(verify_inclusion(leaf, index, size, &path, &tree_root));
                assert!(!verify_inclusion(&leaf_hash(b"x"), index, size, &path, &tree_root));
                assert!(!verify_inclusion(leaf, index, size, &path, &leaf_hash(b"x")));
                assert!(!verify_inclusion(leaf, size, size, &path, &tree_root));
                let longer = [path.as_slice(), &[*leaf]].concat();
                assert!(!verify_inclusion(leaf, index, size, &longer, &tree_root));
            }
        }
    }

    #[test]
    fn every_consistency_path_verifies_and_binds_both_roots() {
        for new in 1_u32..=33 {
            let leaves = leaves(new);
            let new_root = root(&leaves);
            for old in 1..=new {
                let old_len = usize::try_from(old).expect("small");
                let old_root = root(&leaves[..old_len]);
                let path = consistency_path(&leaves, old_len).expect("exists");
                let check = |a: &Hash, b: &Hash| verify_consistency(old.into(), a, new.into(), b, &path);
                assert!(check(&old_root, &new_root), "{old} in {new}");
                assert!(!check(&leaf_hash(b"x"), &new_root));
                assert!(!check(&old_root, &leaf_hash(b"x")));
            }
        }
    }
}
