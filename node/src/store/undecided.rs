//! Blocks that were proposed or judged and are not yet decided. A vote promises that its
//! block can be executed after a crash, so the block is durable before the answer.
//!
//! One file each: `<height, 20 digits>-<block id>.block`, the canonical [`Block`]. The id
//! binds the header and the header binds the cut, so the name is the checksum.
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
    known: BTreeSet<(Height, BlockId)>,
}

fn name_of(height: Height, id: BlockId) -> String {
    format!("{:020}-{id}{SUFFIX}", height.get())
}

impl Undecided {
    /// Reads back the blocks above the last decided height, in order of height.
    ///
    /// # Errors
    /// `STORE-CORRUPT` if a file is not what its name says, `STORE-IO`.
    pub(super) fn open(dir: &Path, decided: Height) -> Result<(Self, Vec<Block>), StoreError> {
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
        let blocks = undecided.known.iter().map(|&(height, id)| undecided.read(height, id));
        let blocks = blocks.collect::<Result<_, _>>()?;
        Ok((undecided, blocks))
    }

    fn read(&self, height: Height, id: BlockId) -> Result<Block, StoreError> {
        let path = self.dir.join(name_of(height, id));
        let bytes = fs::read(&path).context("read", &path)?;
        let block: Block = codec::decode(&bytes, BLOCK_BODY_BYTES_MAX)
            .map_err(|error| StoreError::corrupt(&path, 0, error))?;
        let bound =
            block.id() == id && block.header.height == height && block.cut.root() == block.header.cut_root;
        if bound { Ok(block) } else { Err(StoreError::corrupt(&path, 0, "not the block of its name")) }
    }

    /// Keeps a block; durable when this returns. A crash in here leaves a draft or the
    /// whole block.
    ///
    /// # Errors
    /// `STORE-UNDECIDED-FULL`, `STORE-IO`.
    pub(super) fn keep(&mut self, block: &Block) -> Result<(), StoreError> {
        let (height, id) = (block.header.height, block.id());
        if self.known.contains(&(height, id)) {
            return Ok(());
        }
        if self.known.len() >= UNDECIDED_MAX {
            return Err(StoreError::UndecidedFull { count: self.known.len() });
        }
        files::create_file(&self.dir, &name_of(height, id), &codec::encode(block))?;
        self.known.insert((height, id));
        Ok(())
    }

    /// Forgets the blocks up to a decided height. They are useless by then, so a crash in
    /// here leaves only what start-up removes.
    ///
    /// # Errors
    /// `STORE-IO`.
    pub(super) fn prune(&mut self, decided: Height) -> Result<(), StoreError> {
        while let Some(&(height, id)) = self.known.first().filter(|(height, _)| *height <= decided) {
            let path = self.dir.join(name_of(height, id));
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

fn parse(name: &str) -> Option<(Height, BlockId)> {
    let (height, id) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    Some((Height::new(height.parse().ok()?), id.parse().ok()?))
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
            undecided.keep(&block).expect("there is room");
        }
        undecided.keep(&block).expect("it is kept already");
        block.header.time = block.header.time.plus_ms(1);
        assert_eq!(undecided.keep(&block).expect_err("full").rule(), "STORE-UNDECIDED-FULL");
        undecided.prune(block.header.height).expect("removed");
        undecided.keep(&block).expect("there is room again");
        assert_eq!(names(dir.path()).expect("listable").len(), 1);
    }
}
