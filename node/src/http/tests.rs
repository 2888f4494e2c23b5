//! The door as its users meet it: requests through the router, a real store and ledger
//! behind it.

mod archive;
mod money;
mod reads;
mod refusals;
mod states;
mod submit;
mod world;
