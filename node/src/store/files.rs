//! Directories and files that are there after a power cut.
//!
//! A file's name is as durable as its directory: whoever creates, renames or removes one
//! syncs the directory before telling anybody.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use super::error::{Context, StoreError};

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).context("sync directory", dir)?;
    #[cfg(test)]
    tests::note(dir);
    Ok(())
}

/// Makes a file durable that an earlier run of the node has written. It may have been
/// killed between a write and its sync: what this run reads can be in memory only, and a
/// power cut would take it back from under what is built on it.
pub(super) fn sync_found(file: &File, path: &Path) -> Result<(), StoreError> {
    file.sync_all().context("sync", path)?;
    #[cfg(test)]
    tests::note(path);
    Ok(())
}

/// Creates a directory if there is none, durably.
pub(super) fn create_dir(dir: &Path) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).context("create directory", dir)?;
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_dir)
}

/// Creates a file with this content. It has its name only once the content is durable, so
/// that a crash leaves all of it or nothing.
pub(super) fn create_file(dir: &Path, name: &str, content: &[u8]) -> Result<(), StoreError> {
    let (path, draft) = (dir.join(name), dir.join(format!("{name}{DRAFT_SUFFIX}")));
    let mut file = File::create(&draft).context("create", &draft)?;
    file.write_all(content).and_then(|()| file.sync_all()).context("write", &draft)?;
    fs::rename(&draft, &path).context("name", &path)?;
    sync_dir(dir)
}

/// How the names of files end that [`create_file`] has not finished.
pub(super) const DRAFT_SUFFIX: &str = ".draft";

#[cfg(test)]
pub(super) mod tests {
    use std::cell::RefCell;
    use std::path::PathBuf;

    use super::*;

    thread_local! {
        static SYNCED: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn note(path: &Path) {
        SYNCED.with_borrow_mut(|synced| synced.push(path.to_path_buf()));
    }

    /// The directories and found files that this thread has synced since the last call.
    pub(crate) fn take_synced() -> Vec<PathBuf> {
        SYNCED.take()
    }
}
