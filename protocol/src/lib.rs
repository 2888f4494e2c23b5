//! The deterministic core of Syngraph: wire types, the ledger, and replay.
//!
//! `SPEC.md` beside this crate is normative for every byte and every rule id.
//!
//! *Invariants.* Synchronous and deterministic: the same history gives the same bytes on
//! every machine, for ever. No floats, no maps without an order, no clock, no randomness,
//! no files, no environment.
#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing))]

pub mod archive;
pub mod block;
pub mod certificate;
pub mod codec;
pub mod codes;
pub mod crypto;
pub mod entry;
pub mod genesis;
pub mod ids;
pub mod journal;
pub mod ledger;
pub mod limits;
pub mod merkle;
pub mod money;
pub mod name;
pub mod replay;
pub mod time;

mod refusal;
#[cfg(test)]
mod testing;
