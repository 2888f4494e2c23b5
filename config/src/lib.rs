//! Typed configuration of Syngraph.

pub mod card;
pub mod ceremony;
pub mod file;
pub mod genesis;
pub mod key;
pub mod node;
mod write;
