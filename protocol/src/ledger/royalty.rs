//! Royalties: what a period's use costs, and whom every micro of it reaches.
//!
//! Pure functions in the fixed order of domain §6: [`rating`] turns measured use into one
//! rounded charge per line, [`waterfall`] carries the charge through fee, lineage and
//! owners, [`netting`] turns what members owe each other into payments, [`shapley`] turns
//! coalition scores into pool weights. [`scenario`] runs the same functions on a file.
//!
//! *Invariants.* Integers only. Every hop is a posting that sums to 0, nothing stays on a
//! node, charges = receivables + self legs, net positions sum to 0, less than one minor
//! unit per pair is carried. Nothing depends on the order in which things were
//! registered. What does not fit is refused with `MONEY-RANGE`, never wrapped.
//!
//! *Deliberately absent:* state. Which rows make a line, which term version holds, which
//! observations count as known, when a period closes: callers decide and pass it in.

pub mod dynamic;
pub mod netting;
pub mod rating;
pub mod scenario;
pub mod shapley;
pub mod terms;
pub mod waterfall;

mod exact;
mod graph;

pub use graph::{Edge, EdgeMode, GraphError, Lineage};
pub use terms::{
    Aggregation, Multiplier, PaymentTerm, Price, RevenueBase, Scope, Step, TermError, Tier, TierMode,
};
