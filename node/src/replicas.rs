//! Who holds what: which entries to push, to ask for and to answer. Sans-I/O.
//!
//! *Deliberately absent:* the network; [`message`] is what passes between here and there.

pub mod message;
