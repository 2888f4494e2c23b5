//! Getting an archive from a node, as one file or unpacked.
//!
//! A node breaks the stream off if anything goes wrong, and the manifest comes last: what
//! arrived completely is what it meant to send. Whether that is true, the audit says.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use syngraph_protocol::archive::MANIFEST_PATH;
use tempfile::{NamedTempFile, TempDir};
use tokio::sync::mpsc;

use super::unpack::unpack_stream;
use super::{ArchiveError, TAR_ZST};
use crate::api::{ApiError, Node};

/// Most pieces between the connection and the disk.
const PIECES_MAX: usize = 16;

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The node refused or the connection broke.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// What came is no archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// There is something at the path already.
    #[error("{}: exists already", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ExportError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub fn rule(&self) -> &str {
        match self {
            Self::Api(error) => error.rule(),
            Self::Archive(error) => error.rule(),
            Self::Exists { .. } => "EXPORT-EXISTS",
            Self::Write { .. } => "EXPORT-WRITE",
        }
    }
}

/// A finished export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Where it is.
    pub path: PathBuf,
    /// How many bytes came over the wire.
    pub bytes: u64,
}

/// Gets the whole history from a node, up to a height if one is given: as one file if
/// `out` ends with `.tar.zst`, else as a directory. Nothing may be there yet.
///
/// # Errors
/// [`ExportError`]; then nothing is left under `out`.
pub async fn export(
    node: &Node,
    out: &Path,
    to: Option<u64>,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<Exported, ExportError> {
    if out.symlink_metadata().is_ok() {
        return Err(ExportError::Exists { path: out.to_owned() });
    }
    let stream = node.archive(to).await?;
    let (pieces, arriving) = mpsc::channel(PIECES_MAX);
    let target = out.to_owned();
    let is_file = out.to_string_lossy().ends_with(TAR_ZST);
    let writing = tokio::task::spawn_blocking(move || {
        let pieces = Pieces { arriving, current: Bytes::new() };
        if is_file { keep(pieces, &target) } else { unpack_into(pieces, &target) }
    });
    let received = forward(stream, pieces, progress).await;
    let written = writing
        .await
        .map_err(|error| ExportError::Write { path: out.to_owned(), source: io::Error::other(error) })?;
    // A broken connection is the cause of whatever the writer then says.
    let bytes = received?;
    written?;
    Ok(Exported { path: out.to_owned(), bytes })
}

/// Hands pieces to the writer; gives their size. A writer that has gone says why itself.
async fn forward(
    stream: impl Stream<Item = Result<Bytes, ApiError>>,
    pieces: mpsc::Sender<io::Result<Bytes>>,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<u64, ExportError> {
    let mut stream = std::pin::pin!(stream);
    let mut total = 0;
    while let Some(piece) = stream.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                pieces.send(Err(io::ErrorKind::ConnectionAborted.into())).await.ok();
                return Err(error.into());
            }
        };
        total += piece.len() as u64;
        if pieces.send(Ok(piece)).await.is_err() {
            break;
        }
        progress(total);
    }
    Ok(total)
}

/// Reads what arrives.
struct Pieces {
    arriving: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.arriving.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let count = self.current.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes beside the target and gives it its name once it is complete.
fn keep(mut pieces: Pieces, target: &Path) -> Result<(), ExportError> {
    let failed = |source| ExportError::Write { path: target.to_owned(), source };
    let mut file = NamedTempFile::new_in(parent(target)).map_err(failed)?;
    io::copy(&mut pieces, &mut file).map_err(failed)?;
    file.flush().and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist_noclobber(target).map_err(|error| failed(error.error))?;
    Ok(())
}

fn unpack_into(mut pieces: Pieces, target: &Path) -> Result<(), ExportError> {
    let failed = |source| ExportError::Write { path: target.to_owned(), source };
    let folder = TempDir::new_in(parent(target)).map_err(failed)?;
    unpack_stream(&mut pieces, folder.path())?;
    // Reads what follows the tar's end marker, so that a broken stream is noticed.
    io::copy(&mut pieces, &mut io::sink()).map_err(failed)?;
    if !folder.path().join(MANIFEST_PATH).exists() {
        let detail = "the stream ended before the manifest";
        return Err(ArchiveError::damaged(MANIFEST_PATH, "ARC-MISSING", detail).into());
    }
    let kept = folder.keep();
    let renamed = fs::rename(&kept, target);
    if renamed.is_err() {
        // The export failed; its working folder is of no use to anybody.
        fs::remove_dir_all(&kept).ok();
    }
    renamed.map_err(failed)
}
