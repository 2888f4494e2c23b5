//! The export: the whole history as one streamed `.tar.zst`.
//!
//! A thread of its own writes tar into zstd into a bounded channel, and the response reads
//! from it, so that the sender waits for a slow reader and memory stays constant: one
//! file of the archive at a time, and [`CHUNKS_MAX`] chunks on their way.
//!
//! *Invariants.* The bytes are a function of the history up to the last height: names,
//! order, times and owners of the tar entries are fixed. Whatever goes wrong under way
//! breaks the stream off, so that a reader never takes a part for the whole; the manifest
//! comes last.
//!
//! *Deliberately absent:* archives that begin above height 1, and checking what is sent:
//! that is the auditor's part.

use std::io::{self, Write};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use syngraph_protocol::archive::{
    FileOrder, FrameError, GENESIS_PATH, MANIFEST_PATH, MANIFEST_VERSION, Manifest, ManifestFile, Part,
    push_block, push_entry,
};
use syngraph_protocol::crypto;
use syngraph_protocol::ids::{BlockId, Hash, Height, NetworkId};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use zstd::stream::write::Encoder;

use super::doors::{Doors, off_reactor};
use super::extract::{Gate, Params};
use super::problem::Problem;
use crate::gate;
use crate::store::{Reader, StoreError};

/// Most chunks between the writer and the connection.
const CHUNKS_MAX: usize = 16;
/// Size of a chunk, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;
/// Compression level of zstd: its own default.
const LEVEL: i32 = 3;

/// Which part of the history is wanted.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportQuery {
    /// First height; 1 if absent, and nothing else so far.
    from: Option<u64>,
    /// Last height; the last block when the request came, if absent.
    to: Option<u64>,
}

/// What an archive ends with, all read from the last block.
#[derive(Clone, Copy, Debug)]
struct End {
    network: NetworkId,
    height: Height,
    block: BlockId,
    state_root: Hash,
    log_size: u64,
}

/// Why an archive breaks off.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("block {0} is missing")]
    NoBlock(Height),
    #[error("entry {0} is missing")]
    NoEntry(u64),
    #[error("the node is stopping")]
    Stopping,
    /// Most likely the reader went away.
    #[error("the stream broke off")]
    Write(#[from] io::Error),
}

/// `GET /archive`.
pub(super) async fn export(
    Shared(doors): Shared<Arc<Doors>>,
    Gate(gate): Gate,
    Params(query): Params<ExportQuery>,
) -> Result<Response, Problem> {
    let end = end(&gate, query).await?;
    let place = doors.archive_place()?;
    let (chunks, mut arriving) = mpsc::channel(CHUNKS_MAX);
    std::thread::Builder::new()
        .name("archive".into())
        .spawn(move || write(&doors, &gate, end, chunks, place))
        .map_err(|error| Problem::internal(&error))?;
    let name = format!("attachment; filename=\"syngraph-{}-{}.tar.zst\"", short(end.network), end.height);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/zstd")),
        (header::CONTENT_DISPOSITION, HeaderValue::try_from(name).expect("hex digits and a number")),
    ];
    let stream = futures::stream::poll_fn(move |cx| arriving.poll_recv(cx));
    Ok((headers, Body::from_stream(stream)).into_response())
}

fn short(network: NetworkId) -> String {
    network.to_string().chars().take(8).collect()
}

async fn end(gate: &gate::Gate, query: ExportQuery) -> Result<End, Problem> {
    if query.from.is_some_and(|from| from != 1) {
        let detail = "only archives of the whole history are served: leave out `from`, or say from=1";
        return Err(Problem::bad_request("ARCHIVE-FROM", detail));
    }
    let ledger = gate.snapshot().ledger.clone();
    let (network, tip) = (ledger.network(), ledger.height());
    let height = query.to.map_or(tip, Height::new);
    if height > tip || (query.to.is_some() && height == Height::GENESIS) {
        let detail = format!("`to` is {height}; it must be 1 to {tip}, the last decided height");
        return Err(Problem::bad_request("ARCHIVE-TO", detail));
    }
    if height == tip {
        let (block, state_root) = (ledger.block_id(), ledger.state_root());
        return Ok(End { network, height, block, state_root, log_size: ledger.log_size() });
    }
    let reader = gate.reader().clone();
    let record =
        off_reactor(move || reader.block(height)).await?.map_err(|error| Problem::internal(&error))?;
    let record = record.ok_or_else(|| Problem::internal(&ExportError::NoBlock(height)))?;
    let header = &record.block.header;
    Ok(End {
        network,
        height,
        block: record.block.id(),
        state_root: header.state_root,
        log_size: header.log_size,
    })
}

/// Writes the whole stream; runs on its own thread.
fn write(
    doors: &Doors,
    gate: &gate::Gate,
    end: End,
    chunks: mpsc::Sender<io::Result<Bytes>>,
    _place: OwnedSemaphorePermit,
) {
    let to = Chunks { chunks: chunks.clone(), filling: Vec::with_capacity(CHUNK_BYTES) };
    let stopping = || doors.is_stopping();
    let done = archive(gate.reader(), &gate.info().genesis_toml, end, to, stopping);
    match done {
        Ok(()) => tracing::info!(height = %end.height, "archive sent"),
        Err(error) => {
            tracing::warn!(height = %end.height, %error, "archive broken off");
            // The reader is told by the broken stream; if it went away nobody is left.
            chunks.blocking_send(Err(io::Error::other(error))).ok();
        }
    }
}

fn archive(
    reader: &Reader,
    genesis: &str,
    end: End,
    to: impl Write,
    stopping: impl Fn() -> bool,
) -> Result<(), ExportError> {
    let mut tar = Archive { tar: tar::Builder::new(Encoder::new(to, LEVEL)?), files: Vec::new() };
    tar.add(GENESIS_PATH.to_owned(), genesis.as_bytes())?;
    let mut order = FileOrder::new(end.height, end.log_size);
    let mut bytes = Vec::new();
    while let Some(part) = order.next_part() {
        if stopping() {
            return Err(ExportError::Stopping);
        }
        bytes.clear();
        match part {
            Part::Blocks { first, count, .. } => order.blocks_end(blocks(reader, first, count, &mut bytes)?),
            Part::Entries { first, count, .. } => entries(reader, first, count, &mut bytes)?,
        }
        tar.add(part.path(), &bytes)?;
    }
    tar.finish(end)
}

/// Reads a file of blocks; gives the log size after its last one.
fn blocks(reader: &Reader, first: Height, count: u64, file: &mut Vec<u8>) -> Result<u64, ExportError> {
    let mut log_size = 0;
    for height in (first.get()..).take(usize::try_from(count).unwrap_or(usize::MAX)).map(Height::new) {
        let record = reader.block(height)?.ok_or(ExportError::NoBlock(height))?;
        log_size = record.block.header.log_size;
        push_block(file, &record.block.header, &record.certificate);
    }
    Ok(log_size)
}

/// Reads a bundle of entries.
fn entries(reader: &Reader, first: u64, count: u64, bundle: &mut Vec<u8>) -> Result<(), ExportError> {
    for index in first..first.saturating_add(count) {
        let entry = reader.entry_at(index)?.ok_or(ExportError::NoEntry(index))?;
        push_entry(bundle, &entry.bytes)?;
    }
    Ok(())
}

/// A tar stream that remembers what it holds.
struct Archive<W: Write> {
    tar: tar::Builder<Encoder<'static, W>>,
    files: Vec<ManifestFile>,
}

impl<W: Write> Archive<W> {
    fn add(&mut self, path: String, bytes: &[u8]) -> io::Result<()> {
        self.append(&path, bytes)?;
        let size = u64::try_from(bytes.len()).map_err(io::Error::other)?;
        self.files.push(ManifestFile { path, size, sha256: crypto::sha256(&[bytes]) });
        Ok(())
    }

    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_size(u64::try_from(bytes.len()).map_err(io::Error::other)?);
        header.set_mode(0o644);
        header.set_mtime(0);
        self.tar.append_data(&mut header, path, bytes)
    }

    fn finish(mut self, end: End) -> Result<(), ExportError> {
        let manifest = Manifest {
            version: MANIFEST_VERSION,
            network: end.network,
            first_height: Height::new(1),
            last_height: end.height,
            block: end.block,
            state_root: end.state_root,
            log_size: end.log_size,
            files: std::mem::take(&mut self.files),
        };
        self.append(MANIFEST_PATH, manifest.to_string().as_bytes())?;
        self.tar.into_inner()?.finish()?.flush()?;
        Ok(())
    }
}

/// Cuts what is written into chunks and waits while too many are on their way.
struct Chunks {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    filling: Vec<u8>,
}

impl Chunks {
    fn send(&mut self) -> io::Result<()> {
        let full = std::mem::replace(&mut self.filling, Vec::with_capacity(CHUNK_BYTES));
        self.chunks.blocking_send(Ok(full.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK_BYTES.saturating_sub(self.filling.len()));
        self.filling.extend(bytes.iter().take(taken));
        if self.filling.len() >= CHUNK_BYTES {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.filling.is_empty() { Ok(()) } else { self.send() }
    }
}
