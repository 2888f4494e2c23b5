//! The harness of the integration tests: nodes and tools as the processes that people run.
//!
//! ```text
//! Consortium::found ─▶ node.toml, genesis.toml, keys/ ─▶ Node (a process) ◀─ http, Signer
//!                                                        Cluster (four)
//!                                                             ▲
//!                                     Tool (a process), SDK ──┘
//! ```
//!
//! *Invariants.* A process belongs to the guard that started it and is ended by its own
//! id, never by a name, whatever becomes of the test. Every test has a temporary folder
//! and ports of its own, so that tests run side by side. What cannot run on a machine
//! says so in a line that begins with `skipped:`, and is not a failure.
//!
//! *Deliberately absent:* waiting for time to pass. A test waits for something to be so,
//! up to a limit that a slow machine does not reach.

pub mod binaries;
pub mod books;
pub mod cluster;
pub mod consortium;
pub mod files;
pub mod http;
pub mod licence;
pub mod load;
pub mod node;
pub mod ports;
pub mod process;
pub mod random;
pub mod scale;
pub mod signer;
pub mod tool;
pub mod wait;

/// Says that a test, or a part of one, cannot run here.
pub fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}
