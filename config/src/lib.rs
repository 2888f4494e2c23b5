//! Typed configuration of Syngraph.

pub mod file;
pub mod genesis;
pub mod key;
pub mod node;
