//! The wire, seen from outside the crate: golden bytes and laws of every type that is
//! signed, sent, hashed or stored. One binary, public items only.

mod canonical;
mod codes;
mod consortium;
mod execution;
mod generate;
mod golden;
mod log_tree;
mod samples;
