//! Hash and size of a file that may be larger than memory.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};
use syngraph_config::file::ConfigError;
use syngraph_protocol::ids::Hash;

use crate::cli::CliError;

/// Bytes read at once.
const PIECE_BYTES: usize = 1024 * 1024;

/// SHA-256 and length, in bytes, of a file.
///
/// # Errors
/// `CFG-READ`.
pub(super) fn measure(path: &Path) -> Result<(Hash, u64), CliError> {
    let unreadable = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let (mut hasher, mut size, mut piece) = (Sha256::new(), 0_u64, vec![0; PIECE_BYTES]);
    loop {
        let read = file.read(&mut piece).map_err(unreadable)?;
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
        size += read as u64;
    }
    Ok((Hash::from_bytes(hasher.finalize().into()), size))
}
