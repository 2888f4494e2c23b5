//! Blocks that were proposed or judged and are not yet decided. A vote promises that its
//! block can be executed after a crash, so the block is durable before the answer.
//!
//! One file each: `<height, 20 digits>-<block id>.block`, the canonical [`Block`]; one that
//! this node proposed has the round before the suffix: `…-<round>.block`, so that after a
//! crash it proposes nothing else in that round. The id binds the header and the header
//! binds the cut, so the name is the checksum.
//!
//! *Invariant.* A file has its name only once it is whole.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use syngraph_protocol::block::Block;
use syngraph_protocol::codec;
use syngraph_protocol::ids::{BlockId, Height};
use syngraph_protocol::limits::BLOCK_BODY_BYTES_MAX;

use super::error::{Context, StoreError};
use super::files::{self, DRAFT_SUFFIX};

/// Most undecided blocks; with one per round, rounds at their longest fail for hours
/// before it is reached.
const UNDECIDED_MAX: usize = 1_024;
const SUFFIX: &str = ".block";

/// The undecided blocks of a data directory.
pub(super) struct Undecided {
    dir: PathBuf,
    known: BTreeSet<Name>,
}

/// What a file's name says: height, block, and the round if it was proposed here.
type Name = (Height, BlockId, Option<u32>);

/// A block that was kept, and the round in which it was proposed here, if it was.
pub(crate) type Kept = (Block, Option<u32>);

fn name_of((height, id, round): Name) -> String {
    let round = round.map(|round| format!("-{round}")).unwrap_or_default();
    format!("{:020}-{id}{round}{SUFFIX}", height.get())
}

impl Undecided {
    /// Reads back the blocks above the last decided height, in order of height.
    ///
    /// # Errors
    /// `STORE-CORRUPT` if a file is not what its name says, `STORE-IO`.
    pub(super) fn open(dir: &Path, decided: Height) -> Result<(Self, Vec<Kept>), StoreError> {
        files::create_dir(dir)?;
        let mut undecided = Self { dir: dir.to_path_buf(), known: BTreeSet::new() };
        for name in names(dir)? {
            if name.ends_with(DRAFT_SUFFIX) {
                // A crash came before anybody was told that the block is kept.
                let draft = dir.join(name);
                fs::remove_file(&draft).context("remove", &draft)?;
            } else if let Some(parts) = parse(&name) {
                undecided.known.insert(parts);
            }
        }
        undecided.prune(decided)?;
        // A run that was killed may have named a file without syncing its name.
        files::sync_dir(dir)?;
        let blocks = undecided.known.iter().map(|&name| Ok((undecided.read(name)?, name.2)));
        let blocks = blocks.collect::<Result<_, _>>()?;
        Ok((undecided, blocks))
    }

    fn read(&self, name: Name) -> Result<Block, StoreError> {
        let (height, id, _) = name;
        let path = self.dir.join(name_of(name));
        let bytes = fs::read(&path).context("read", &path)?;
        let block: Block = codec::decode(&bytes, BLOCK_BODY_BYTES_MAX)
            .map_err(|error| StoreError::corrupt(&path, 0, error))?;
        let bound =
            block.id() == id && block.header.height == height && block.cut.root() == block.header.cut_root;
        if bound { Ok(block) } else { Err(StoreError::corrupt(&path, 0, "not the block of its name")) }
    }

    /// Keeps a block; durable when this returns. False if there is no room. A crash in here
    /// leaves a draft or the whole block.
    ///
    /// # Errors
    /// `STORE-IO`.
    pub(super) fn keep(&mut self, block: &Block, proposed_in: Option<u32>) -> Result<bool, StoreError> {
        let name = (block.header.height, block.id(), proposed_in);
        if self.known.contains(&name) {
            return Ok(true);
        }
        if self.known.len() >= UNDECIDED_MAX {
            return Ok(false);
        }
        files::create_file(&self.dir, &name_of(name), &codec::encode(block))?;
        self.known.insert(name);
        Ok(true)
    }

    /// Forgets the blocks up to a decided height. They are useless by then, so a crash in
    /// here leaves only what start-up removes.
    ///
    /// # Errors
    /// `STORE-IO`.
    pub(super) fn prune(&mut self, decided: Height) -> Result<(), StoreError> {
        while let Some(&name) = self.known.first().filter(|(height, ..)| *height <= decided) {
            let path = self.dir.join(name_of(name));
            fs::remove_file(&path).context("remove", &path)?;
            self.known.pop_first();
        }
        Ok(())
    }
}

fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    for file in fs::read_dir(dir).context("list", dir)? {
        names.extend(file.context("list", dir)?.file_name().into_string().ok());
    }
    Ok(names)
}

fn parse(name: &str) -> Option<Name> {
    let (height, rest) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let (id, round) = match rest.split_once('-') {
        Some((id, round)) => (id, Some(round.parse().ok()?)),
        None => (rest, None),
    };
    Some((Height::new(height.parse().ok()?), id.parse().ok()?, round))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::World;

    #[test]
    fn their_number_is_bounded() {
        let world = World::new();
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (mut undecided, found) = Undecided::open(dir.path(), Height::GENESIS).expect("empty");
        assert!(found.is_empty());
        let mut block = world.execute(Vec::new()).block;
        for _ in 0..UNDECIDED_MAX {
            block.header.time = block.header.time.plus_ms(1);
            assert!(undecided.keep(&block, None).expect("it is written"), "there is room");
        }
        assert!(undecided.keep(&block, None).expect("nothing to do"), "it is kept already");
        assert!(!undecided.keep(&block, Some(3)).expect("nothing to do"), "full");
        undecided.prune(block.header.height).expect("removed");
        assert!(undecided.keep(&block, Some(3)).expect("it is written"), "there is room again");
        let (_, found) = Undecided::open(dir.path(), Height::GENESIS).expect("readable");
        assert_eq!(found, [(block.clone(), Some(3))]);
        assert_eq!(names(dir.path()).expect("listable").len(), 1);
    }
}
