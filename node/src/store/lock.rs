//! The lock of a data directory: one directory serves one process.
//!
//! *Invariant.* The operating system holds the lock and drops it with the process, however
//! that ends; the process id in the file is information for people.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use super::error::{Context, StoreError};

/// Longest process id that is read back, in bytes.
const PID_BYTES_MAX: u64 = 20;

/// Holds the lock while it lives.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the lock of a directory.
    ///
    /// # Errors
    /// `STORE-LOCKED` if another process (or another store of this one) holds it.
    pub(super) fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("lock");
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.context("open", &path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { dir: dir.to_path_buf(), pid: holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(source).context("lock", &path),
        }
        let pid = std::process::id().to_string();
        file.set_len(0).and_then(|()| file.write_all(pid.as_bytes())).context("write", &path)?;
        Ok(Self { _file: file })
    }
}

fn holder(file: &mut File) -> String {
    let mut pid = String::new();
    match file.take(PID_BYTES_MAX).read_to_string(&mut pid) {
        Ok(_) if !pid.is_empty() => pid,
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_has_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let lock = DirLock::take(dir.path()).expect("free");
        let refused = DirLock::take(dir.path()).expect_err("held");
        assert_eq!(refused.rule(), "STORE-LOCKED");
        let text = refused.to_string();
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        assert!(text.contains(&dir.path().display().to_string()), "{text}");
        drop(lock);
        DirLock::take(dir.path()).expect("free again");
    }
}
