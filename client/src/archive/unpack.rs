//! Turning the one-file form into the directory form.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use super::{ArchiveError, check_name, member_name, walk_tar};

/// Unpacks a `.tar.zst` into an existing folder.
///
/// # Errors
/// [`ArchiveError`]; the folder then holds the files up to the damage.
pub fn unpack(file: &File, path: &Path, into: &Path) -> Result<(), ArchiveError> {
    walk_tar(file, path, &mut |name, bytes| store(into, name, &bytes).map(|()| true))
}

/// Unpacks a stream as it arrives.
pub(super) fn unpack_stream(stream: impl Read, into: &Path) -> Result<(), ArchiveError> {
    const STREAM: &str = "the stream";
    let broken = |error: io::Error| ArchiveError::damaged(STREAM, "ARC-TAR", error);
    let mut tar = tar::Archive::new(zstd::stream::read::Decoder::new(stream).map_err(broken)?);
    for member in tar.entries().map_err(broken)? {
        let member = member.map_err(broken)?;
        let Some(name) = member_name(&member, STREAM)? else { continue };
        store(into, &name, &super::read_file(&name, member)?)?;
    }
    Ok(())
}

fn store(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
    check_name(name)?;
    let path = folder.join(name);
    let write = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        File::create_new(&path)?.write_all(bytes)
    };
    write().map_err(|source| ArchiveError::Unreadable { path: path.clone(), source })
}
