//! Writing files so that each is whole or not there, and stays after a power cut.
//!
//! *Invariants.* When a function returns, the bytes and the folder's entry are on the
//! platter. When it fails, a file that was there is as it was, and none is left half
//! written.
//!
//! *Deliberately absent:* what is written. Mode 0600 is for keys, 0644 for the rest.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The mode of what only its owner may read.
pub(crate) const PRIVATE: u32 = 0o600;
/// The mode of what everybody may read.
pub(crate) const PUBLIC: u32 = 0o644;

/// Writes a file that is not there yet.
///
/// # Errors
/// `AlreadyExists` if it is there, and whatever the system says.
pub(crate) fn create(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(parent(path))?.sync_all());
    if written.is_err() {
        // The first error is the one to tell.
        fs::remove_file(path).ok();
    }
    written
}

/// Puts new text in place of a file, with the mode it had. A crash leaves the old text or
/// the new, and at worst a file beside it that nobody reads.
///
/// # Errors
/// Whatever the system says; `NotFound` if there is no such file.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    // What a link leads to is replaced, not the link.
    let path = fs::canonicalize(path)?;
    let mode = fs::metadata(&path)?.mode() & 0o777;
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(format!(".{}", hex::encode(random)));
    let beside = path.with_file_name(name);
    create(&beside, mode, text)?;
    let renamed = fs::rename(&beside, &path);
    if renamed.is_err() {
        // As above.
        fs::remove_file(&beside).ok();
    }
    renamed.and_then(|()| File::open(parent(&path))?.sync_all())
}

/// The folder that a file lies in.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_made_once_and_replaced_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.toml");
        assert_eq!(replace(&path, "1").map_err(|e| e.kind()), Err(io::ErrorKind::NotFound));
        create(&path, PUBLIC, "1").expect("written");
        assert_eq!(create(&path, PUBLIC, "2").map_err(|e| e.kind()), Err(io::ErrorKind::AlreadyExists));
        assert_eq!(fs::read_to_string(&path).expect("there"), "1");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("own file");
        let link = dir.path().join("link");
        symlink(&path, &link).expect("a link");
        replace(&link, "3").expect("replaced");
        assert_eq!(fs::read_to_string(&path).expect("there"), "3");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o640);
        assert!(link.is_symlink());
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 2, "nothing is left beside");
    }
}
