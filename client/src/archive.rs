//! Archives: reading them file by file, and getting them from a node.
//!
//! An archive is a directory or one `.tar.zst`; what its files are called and in which
//! order they stand is `protocol::archive`'s business.
//!
//! *Invariants.* One file at a time is in memory, and none longer than its kind may be.
//! Names from an archive never lead outside the folder it is unpacked into. A download
//! that breaks off leaves nothing under the name that was asked for.
//!
//! *Deliberately absent:* whether what the files say is true. `audit` finds out.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use syngraph_protocol::archive::{
    BLOCKS_BYTES_MAX, BUNDLE_BYTES_MAX, GENESIS_PATH, MANIFEST_PATH, MANIFEST_VERSION, Manifest,
};

mod export;
mod unpack;

pub use export::{ExportError, Exported, export};
pub use unpack::unpack;

/// Ending of the one-file form.
pub const TAR_ZST: &str = ".tar.zst";
/// Longest manifest or other file that is neither blocks nor entries, in bytes.
const OTHER_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// There is nothing at the path, or it may not be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no archive, or a part of one.
    #[error("{file}: {detail}")]
    Damaged {
        /// The file of the archive, or the archive itself.
        file: String,
        /// The rule that it breaks.
        rule: &'static str,
        /// The same in words.
        detail: String,
    },
}

impl ArchiveError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "ARC-UNREADABLE",
            Self::Damaged { rule, .. } => rule,
        }
    }

    fn damaged(file: &str, rule: &'static str, detail: impl ToString) -> Self {
        let file = file.chars().take(200).collect();
        Self::Damaged { file, rule, detail: detail.to_string() }
    }
}

/// Told of each file, in order; says whether to go on.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&str, Vec<u8>) -> bool;

/// Shows the files of an archive in the order of the stream, the manifest last. Stops
/// early if the visitor says so.
///
/// # Errors
/// [`ArchiveError`].
pub(crate) fn walk(path: &Path, visit: Visit<'_>) -> Result<(), ArchiveError> {
    let unreadable = |source| ArchiveError::Unreadable { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return walk_dir(path, visit);
    }
    let file = File::open(path).map_err(unreadable)?;
    if is_in_stream_order(&file, path)? {
        return walk_tar(&file, path, &mut |name, bytes| Ok(visit(name, bytes)));
    }
    // Somebody packed the directory form again, in an order of their own.
    let folder = tempfile::tempdir().map_err(unreadable)?;
    unpack(&file, path, folder.path())?;
    walk_dir(&root_of(folder.path()), visit)
}

/// The folder that holds the manifest: the one given, or the only one in it.
fn root_of(folder: &Path) -> PathBuf {
    let inner = fs::read_dir(folder).ok().and_then(|mut entries| entries.next()?.ok());
    match inner {
        Some(inner) if !folder.join(MANIFEST_PATH).exists() => inner.path(),
        _ => folder.to_owned(),
    }
}

fn size_max(name: &str) -> u64 {
    let bytes = match name.split('/').next() {
        Some("blocks") => BLOCKS_BYTES_MAX,
        Some("entries") => BUNDLE_BYTES_MAX,
        _ => return OTHER_BYTES_MAX,
    };
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Reads one file of an archive, no further than its kind may be long.
fn read_file(name: &str, from: impl Read) -> Result<Vec<u8>, ArchiveError> {
    let max = size_max(name);
    let mut bytes = Vec::new();
    from.take(max + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| ArchiveError::damaged(name, "ARC-READ", error))?;
    if bytes.len() as u64 > max {
        return Err(ArchiveError::damaged(name, "ARC-FILE-SIZE", format!("longer than {max} bytes")));
    }
    Ok(bytes)
}

/// A name that can stand in an archive: relative, of lowercase letters, digits and
/// `.-_/`, without empty parts and without `..`.
fn check_name(name: &str) -> Result<(), ArchiveError> {
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_/".contains(&byte);
    let parts_fine = name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !name.is_empty() && name.bytes().all(fine) && parts_fine {
        return Ok(());
    }
    Err(ArchiveError::damaged(name, "ARC-NAME", "not a name that a file of an archive can have"))
}

/// Reads a manifest and checks that its text is the one that its content has.
///
/// # Errors
/// `ARC-MANIFEST`.
pub(crate) fn read_manifest(bytes: &[u8]) -> Result<Manifest, ArchiveError> {
    let refused = |detail: String| ArchiveError::damaged(MANIFEST_PATH, "ARC-MANIFEST", detail);
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| refused(error.to_string()))?;
    if manifest.version != MANIFEST_VERSION {
        return Err(refused(format!("manifests of version {} are not known here", manifest.version)));
    }
    if manifest.to_string().as_bytes() != bytes {
        return Err(refused("not in its canonical form".into()));
    }
    manifest.files.iter().try_for_each(|file| check_name(&file.path))?;
    Ok(manifest)
}

fn walk_dir(folder: &Path, visit: Visit<'_>) -> Result<(), ArchiveError> {
    let open = |name: &str| {
        File::open(folder.join(name)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => ArchiveError::damaged(name, "ARC-MISSING", "the file is missing"),
            _ => ArchiveError::damaged(name, "ARC-READ", error),
        })
    };
    let manifest_bytes = read_file(MANIFEST_PATH, open(MANIFEST_PATH)?)?;
    let manifest = read_manifest(&manifest_bytes)?;
    for file in &manifest.files {
        if !visit(&file.path, read_file(&file.path, open(&file.path)?)?) {
            return Ok(());
        }
    }
    refuse_surplus(folder, &manifest)?;
    visit(MANIFEST_PATH, manifest_bytes);
    Ok(())
}

/// Refuses a folder with files that the manifest does not list: whoever found them there
/// would believe that they had been audited.
fn refuse_surplus(folder: &Path, manifest: &Manifest) -> Result<(), ArchiveError> {
    let unreadable = |source| ArchiveError::Unreadable { path: folder.to_owned(), source };
    let listed: BTreeSet<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = entry.path();
            if entry.file_type().map_err(unreadable)?.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy();
            if name != MANIFEST_PATH && !listed.contains(name.as_ref()) {
                return Err(ArchiveError::damaged(
                    &name,
                    "ARC-SURPLUS",
                    "the manifest does not list this file",
                ));
            }
        }
    }
    Ok(())
}

/// A decompressing reader of a tar stream. What follows the end of the archive is not read.
fn tar_of(file: &File, path: &Path) -> Result<tar::Archive<impl Read>, ArchiveError> {
    let unreadable = |source| ArchiveError::Unreadable { path: path.to_owned(), source };
    let again = file.try_clone().map_err(unreadable)?;
    io::Seek::rewind(&mut &again).map_err(unreadable)?;
    let decoder = zstd::stream::read::Decoder::new(BufReader::new(again)).map_err(unreadable)?;
    Ok(tar::Archive::new(decoder))
}

/// Name of a member of a tar; none for folders.
fn member_name<R: Read>(member: &tar::Entry<'_, R>, archive: &str) -> Result<Option<String>, ArchiveError> {
    let kind = member.header().entry_type();
    let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
    let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
    if kind.is_dir() || kind.is_pax_global_extensions() {
        return Ok(None);
    }
    if !kind.is_file() {
        return Err(ArchiveError::damaged(archive, "ARC-MEMBER", format!("{name} is no plain file")));
    }
    Ok(Some(name))
}

/// Whether the first file is the one that a stream begins with.
fn is_in_stream_order(file: &File, path: &Path) -> Result<bool, ArchiveError> {
    let mut is_first = None;
    walk_tar(file, path, &mut |name, _| {
        is_first = Some(name == GENESIS_PATH);
        Ok(false)
    })?;
    // `blocks/` follows in a stream; without a second look, an archive whose order is
    // wrong further on is reported as such.
    Ok(is_first.unwrap_or(true))
}

/// Told of each file of a tar; says whether to go on, or why the whole is no good.
type TryVisit<'a> = &'a mut dyn FnMut(&str, Vec<u8>) -> Result<bool, ArchiveError>;

fn walk_tar(file: &File, path: &Path, visit: TryVisit<'_>) -> Result<(), ArchiveError> {
    let archive = path.display().to_string();
    let broken = |error: io::Error| ArchiveError::damaged(&archive, "ARC-TAR", error);
    let mut tar = tar_of(file, path)?;
    for member in tar.entries().map_err(broken)? {
        let member = member.map_err(broken)?;
        let Some(name) = member_name(&member, &archive)? else { continue };
        let size = member.size();
        let bytes = read_file(&name, member)?;
        if bytes.len() as u64 != size {
            return Err(ArchiveError::damaged(&name, "ARC-TRUNCATED", "the archive ends inside this file"));
        }
        if !visit(&name, bytes)? {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
