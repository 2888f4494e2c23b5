//! Key files: one private key each, readable by its owner alone.
//!
//! ```toml
//! version = 1
//! purpose = "journal"
//! public = "…64 hex digits…"
//! seed = "…64 hex digits…"
//! ```
//!
//! *Invariants.* A file is made with mode 0600, is on the platter with its folder entry
//! before [`save`](Key::save) returns, and is never overwritten. A file that others may
//! read, or whose halves do not match, is refused.
//!
//! *Deliberately absent:* what the key may do. The ledger says; `purpose` is a note for
//! people.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::ids::{Hash, PublicKey};

use crate::file::{self, ConfigError};
use crate::write;

/// The version of the file that this code writes and reads.
const KEY_FILE_VERSION: u16 = 1;

/// What stands above a key.
const HEADER: &str = "# A private key of Syngraph: whoever reads it can sign in its owner's name.\n";

/// Why a key cannot be read, made or stored.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file is no key file.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// There is a file of this name, and keys are never overwritten.
    #[error("{}: exists already; a key is never overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others than its owner may read or write it.
    #[error("{}: mode {mode:04o} lets others at the key; run chmod 600 on it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A version of the file that this code doesn't know.
    #[error("{}: key files of version {got} are not known here", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        got: u16,
    },
    /// Public and private half don't belong together.
    #[error("{}: the public key is not the seed's, which is {seed_gives}", path.display())]
    Halves {
        /// The file.
        path: PathBuf,
        /// What the seed gives.
        seed_gives: PublicKey,
    },
    /// The system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    Random(getrandom::Error),
}

impl KeyError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::File(error) => error.rule(),
            Self::Exists { .. } => "KEY-FILE-EXISTS",
            Self::Write { .. } => "KEY-FILE-WRITE",
            Self::Open { .. } => "KEY-FILE-MODE",
            Self::Version { .. } => "KEY-FILE-VERSION",
            Self::Halves { .. } => "KEY-FILE-HALVES",
            Self::Random(_) => "KEY-RANDOM",
        }
    }
}

/// A private key and the note that stands with it.
#[derive(Clone, Debug)]
pub struct Key {
    secret: SecretKey,
    purpose: String,
}

/// The file's fields.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    version: u16,
    #[serde(default)]
    purpose: String,
    public: PublicKey,
    seed: Hash,
}

impl Key {
    /// A new random key.
    ///
    /// # Errors
    /// `KEY-RANDOM`.
    pub fn generate(purpose: &str) -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(KeyError::Random)?;
        Ok(Self::new(SecretKey::from_seed(&seed), purpose))
    }

    /// A key that exists already.
    #[must_use]
    pub fn new(secret: SecretKey, purpose: &str) -> Self {
        Self { secret, purpose: purpose.to_owned() }
    }

    /// The private key.
    #[must_use]
    pub const fn secret(&self) -> &SecretKey {
        &self.secret
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.secret.public()
    }

    /// The note for people: `root`, `journal`, `app`…
    #[must_use]
    pub fn purpose(&self) -> &str {
        &self.purpose
    }

    /// Stores the key in a new file.
    ///
    /// # Errors
    /// `KEY-FILE-EXISTS`, `KEY-FILE-WRITE`.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        let write_error = |source: std::io::Error| match source.kind() {
            ErrorKind::AlreadyExists => KeyError::Exists { path: path.to_owned() },
            _ => KeyError::Write { path: path.to_owned(), source },
        };
        let seed = Hash::from_bytes(self.secret.to_seed());
        let purpose = self.purpose.clone();
        let contents = KeyFile { version: KEY_FILE_VERSION, purpose, public: self.public(), seed };
        let text = file::to_toml(&contents)?;
        let text = format!("{HEADER}{text}");
        write::create(path, write::PRIVATE, &text).map_err(write_error)
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// [`KeyError`], naming the file and what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let metadata = std::fs::metadata(path);
        let metadata = metadata.map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Open { path: path.to_owned(), mode });
        }
        let contents: KeyFile = file::parse(&file::read_text(path)?, path)?;
        if contents.version != KEY_FILE_VERSION {
            return Err(KeyError::Version { path: path.to_owned(), got: contents.version });
        }
        let key = Self::new(SecretKey::from_seed(contents.seed.as_bytes()), &contents.purpose);
        if key.public() != contents.public {
            return Err(KeyError::Halves { path: path.to_owned(), seed_gives: key.public() });
        }
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_stored_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("app.key");
        let key = Key::generate("app").expect("randomness");
        key.save(&path).expect("stored");
        assert_eq!(std::fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        let read = Key::load(&path).expect("own file");
        assert_eq!((read.public(), read.purpose()), (key.public(), "app"));
        assert_eq!(key.save(&path).map_err(|e| e.rule()), Err("KEY-FILE-EXISTS"));
        assert_ne!(Key::generate("app").expect("randomness").public(), key.public());
    }

    #[test]
    fn a_file_that_cannot_be_trusted_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("app.key");
        let load = || Key::load(&path).map(|key| key.public()).map_err(|e| e.rule());
        assert_eq!(load(), Err("CFG-READ"));
        Key::generate("app").expect("randomness").save(&path).expect("stored");
        let text = std::fs::read_to_string(&path).expect("there");
        let other = Key::generate("app").expect("randomness").public().to_string();
        let halves = text.lines().map(|line| match line.starts_with("public") {
            true => format!("public = \"{other}\"\n"),
            false => format!("{line}\n"),
        });
        for (contents, rule) in [
            (halves.collect(), "KEY-FILE-HALVES"),
            (text.replace("version = 1", "version = 9"), "KEY-FILE-VERSION"),
            (text.replace("seed", "salt"), "CFG-SYNTAX"),
        ] {
            std::fs::write(&path, contents).expect("own file");
            assert_eq!(load(), Err(rule));
        }
        std::fs::write(&path, text).expect("own file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("own file");
        assert_eq!(load(), Err("KEY-FILE-MODE"));
    }
}
