//! Syngraph for everybody who runs no node: keys, a durable outbox, the HTTP API of a
//! node, usage import, archives, and the offline audit.
//!
//! ```text
//! app ─▶ submit ─▶ outbox (fsync) ─▶ api ─▶ a node
//! archive (directory or .tar.zst) ─▶ audit ─▶ report
//! ```
//!
//! *Invariants.* What [`submit::Client`] has taken is on the platter before the caller
//! hears of it, and is sent under one identity for ever. The audit trusts the genesis
//! file it is given and nothing else, and shares no code with the node but `protocol`.
//!
//! *Deliberately absent:* any rule of the ledger.

pub mod api;
pub mod archive;
pub mod audit;
pub mod outbox;
pub mod submit;
pub mod usage;

pub use syngraph_config::key;
