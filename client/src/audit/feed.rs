//! The reading half of the audit: files into verified blocks.
//!
//! *Invariants.* Files are taken in the order of the stream only. A block is handed on
//! once all its entries are verified; entries before a bad one are handed on first, so
//! that what is wrong earlier in the history is reported first.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::SyncSender;

use syngraph_protocol::archive::{
    BLOCKS_PER_FILE, ENTRIES_PER_BUNDLE, GENESIS_PATH, MANIFEST_PATH, ManifestFile, block_records,
    blocks_path, bundle_entries, bundle_path,
};
use syngraph_protocol::block::{Block, Header};
use syngraph_protocol::certificate::Certificate;
use syngraph_protocol::crypto;
use syngraph_protocol::entry::{EntryError, VerifiedEntry};
use syngraph_protocol::ids::{Height, NetworkId};
use syngraph_protocol::limits::BLOCK_ENTRIES_MAX;
use syngraph_protocol::replay::cut_of;

use super::{Failure, Fed, Step};
use crate::archive;

/// Most threads that verify signatures.
const VERIFIERS_MAX: usize = 16;

/// Reads an archive to its end, or to the first thing that is wrong, or until nobody
/// listens any more.
pub(super) fn run(path: &Path, network: NetworkId, steps: &SyncSender<Fed>) {
    let mut feed = Feed::new(network, steps);
    let mut ended = Ok(true);
    let walked = archive::walk(path, &mut |name, bytes| {
        ended =
            feed.take(name, &bytes).map_err(|failure| Failure { file: Some(name.to_owned()), ..*failure });
        matches!(ended, Ok(true))
    });
    let last = match (ended, walked) {
        (Err(failure), _) => Fed::Failed(Box::new(failure)),
        (Ok(_), Err(error)) => Fed::Unreadable(error),
        // The end was told with the manifest; without one, hanging up says it.
        (Ok(_), Ok(())) => return,
    };
    // If nobody listens, something wrong was found before.
    steps.send(last).ok();
}

type Taken = Result<bool, Box<Failure>>;

/// What was read and not handed on.
pub(super) struct Feed<'a> {
    network: NetworkId,
    steps: &'a SyncSender<Fed>,
    files: Vec<ManifestFile>,
    blocks: VecDeque<(Header, Certificate)>,
    entries: VecDeque<VerifiedEntry>,
    /// Files of blocks and bundles read so far, and whether the last one was full.
    block_files: u64,
    bundles: u64,
    may_follow: (bool, bool),
    /// Blocks handed on.
    height: Height,
    /// Log size after the last block handed on.
    log_size: u64,
    is_over: bool,
}

impl<'a> Feed<'a> {
    pub(super) fn new(network: NetworkId, steps: &'a SyncSender<Fed>) -> Self {
        Self {
            network,
            steps,
            files: Vec::new(),
            blocks: VecDeque::new(),
            entries: VecDeque::new(),
            block_files: 0,
            bundles: 0,
            may_follow: (true, true),
            height: Height::GENESIS,
            log_size: 0,
            is_over: false,
        }
    }

    /// Something wrong with the block that is next, or with what belongs to it.
    fn wrong(&self, entry: Option<u64>, rule: &str, detail: impl ToString) -> Box<Failure> {
        let (height, rule, detail) = (self.height.next(), rule.to_owned(), detail.to_string());
        Box::new(Failure { height, entry, rule, detail, file: None })
    }

    /// Takes the next file; says whether to go on.
    pub(super) fn take(&mut self, name: &str, bytes: &[u8]) -> Taken {
        if self.is_over {
            return Err(self.wrong(None, "ARC-ORDER", "nothing may follow the manifest"));
        }
        if name == MANIFEST_PATH {
            return self.manifest(bytes);
        }
        let size = bytes.len() as u64;
        self.files.push(ManifestFile { path: name.to_owned(), size, sha256: crypto::sha256(&[bytes]) });
        if self.files.len() == 1 || name == GENESIS_PATH {
            return self.genesis(name, bytes);
        }
        match name.split('/').next() {
            Some("blocks") => self.block_file(name, bytes),
            Some("entries") => self.bundle(name, bytes),
            _ => Err(self.wrong(None, "ARC-UNKNOWN-FILE", "not a file of an archive of this version")),
        }
    }

    fn genesis(&mut self, name: &str, bytes: &[u8]) -> Taken {
        if name != GENESIS_PATH || self.files.len() != 1 {
            return Err(self.wrong(None, "ARC-ORDER", "the genesis comes first, and once"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| self.wrong(None, "ARC-GENESIS", "not UTF-8"))?;
        let genesis = syngraph_config::genesis::parse_genesis(text, Path::new(name));
        let genesis = genesis.map_err(|error| self.wrong(None, "ARC-GENESIS", error))?;
        if genesis.charter.network() != self.network {
            let detail = format!("the archive is of another network, {}", genesis.charter.network());
            return Err(self.wrong(None, "ARC-NETWORK", detail));
        }
        Ok(true)
    }

    fn block_file(&mut self, name: &str, bytes: &[u8]) -> Taken {
        if !self.blocks.is_empty()
            || !self.may_follow.0
            || !is_number(name, &blocks_path(self.block_files, BLOCKS_PER_FILE))
        {
            return Err(self.wrong(None, "ARC-ORDER", "this file of blocks does not come next"));
        }
        let mut refused = None;
        for record in block_records(bytes) {
            match record {
                Ok(record) => self.blocks.push_back(record),
                Err(error) => refused = Some(error),
            }
        }
        let count = self.blocks.len() as u64;
        if refused.is_none() && (count == 0 || name != blocks_path(self.block_files, count)) {
            return Err(self.wrong(
                None,
                "ARC-ORDER",
                format!("the file holds {count} blocks, which is not what its name says"),
            ));
        }
        self.block_files += 1;
        self.may_follow.0 = count == BLOCKS_PER_FILE;
        let going_on = self.hand_on()?;
        match refused {
            // Blocks before it wait for their entries; nothing that comes can mend it.
            Some(error) => {
                let height = Height::new(self.height.get() + self.blocks.len() as u64 + 1);
                Err(Box::new(Failure { height: Some(height), ..*self.wrong(None, error.rule(), error) }))
            }
            None => Ok(going_on),
        }
    }

    fn bundle(&mut self, name: &str, bytes: &[u8]) -> Taken {
        let read = self.bundles * ENTRIES_PER_BUNDLE;
        if self.blocks.is_empty()
            || !self.may_follow.1
            || !is_number(name, &bundle_path(self.bundles, ENTRIES_PER_BUNDLE))
        {
            return Err(self.wrong(None, "ARC-ORDER", "this bundle does not come next"));
        }
        let frames: Vec<_> = bundle_entries(bytes).collect();
        let sound: Vec<&[u8]> = frames.iter().map_while(|frame| frame.as_ref().ok().copied()).collect();
        let verified = verify(&sound, self.network);
        for (index, entry) in (read..).zip(verified) {
            match entry {
                Ok(entry) => self.entries.push_back(entry),
                Err(error) => {
                    self.hand_on()?;
                    return Err(self.wrong(Some(index), error.rule(), error));
                }
            }
        }
        let going_on = self.hand_on()?;
        if let Some(Err(error)) = frames.last() {
            return Err(self.wrong(Some(read + sound.len() as u64), error.rule(), error));
        }
        let count = sound.len() as u64;
        if count == 0 || name != bundle_path(self.bundles, count) {
            let detail = format!("the bundle holds {count} entries, which is not what its name says");
            return Err(self.wrong(Some(read + count), "ARC-ORDER", detail));
        }
        self.bundles += 1;
        self.may_follow.1 = count == ENTRIES_PER_BUNDLE;
        Ok(going_on)
    }

    /// Hands on every block whose entries are all there; says whether anybody listens.
    fn hand_on(&mut self) -> Taken {
        while let Some((header, _)) = self.blocks.front() {
            let count =
                header.log_size.checked_sub(self.log_size).and_then(|count| usize::try_from(count).ok());
            let Some(count) = count.filter(|count| *count <= BLOCK_ENTRIES_MAX) else {
                let detail = format!("a log size of {} after one of {}", header.log_size, self.log_size);
                return Err(self.wrong(None, "ARC-LOG-SIZE", detail));
            };
            if self.entries.len() < count {
                return Ok(true);
            }
            let (Some((header, certificate)), Some(height)) = (self.blocks.pop_front(), self.height.next())
            else {
                return Ok(true);
            };
            let entries: Vec<_> = self.entries.drain(..count).collect();
            let first = std::mem::replace(&mut self.log_size, header.log_size);
            self.height = height;
            let block = Block { header, cut: cut_of(&entries) };
            if self.steps.send(Fed::Step(Box::new(Step { block, certificate, entries, first }))).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn manifest(&mut self, bytes: &[u8]) -> Taken {
        if let Some((header, _)) = self.blocks.front() {
            let detail =
                format!("the block needs entries up to {}, the archive has no more", header.log_size);
            return Err(self.wrong(Some(self.log_size + self.entries.len() as u64), "ARC-MISSING", detail));
        }
        if !self.entries.is_empty() {
            let detail = format!("{} entries follow the last block", self.entries.len());
            return Err(self.wrong(Some(self.log_size), "ARC-SURPLUS", detail));
        }
        let manifest = archive::read_manifest(bytes).map_err(|error| {
            let failure = self.wrong(None, error.rule(), error);
            Box::new(Failure { height: None, ..*failure })
        })?;
        self.is_over = true;
        Ok(self.steps.send(Fed::End(Box::new((manifest, std::mem::take(&mut self.files))))).is_ok())
    }
}

/// Whether a name is that of a full file, or of one in part with the same number.
fn is_number(name: &str, full: &str) -> bool {
    name.strip_prefix(full).is_some_and(|rest| rest.is_empty() || rest.starts_with(".p/"))
}

/// Verifies entries on all cores, in order.
fn verify(frames: &[&[u8]], network: NetworkId) -> Vec<Result<VerifiedEntry, EntryError>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(VERIFIERS_MAX);
    let share = frames.len().div_ceil(cores).max(1);
    let decode = |frames: &[&[u8]]| -> Vec<_> {
        frames.iter().map(|frame| VerifiedEntry::decode(frame, network)).collect()
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = frames.chunks(share).map(|part| scope.spawn(move || decode(part))).collect();
        let done = workers.into_iter().map(|worker| worker.join());
        done.flat_map(|part| part.expect("verifying bytes does not panic")).collect()
    })
}
