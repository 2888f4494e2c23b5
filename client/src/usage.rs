//! Usage: metered events from files into reports.

pub mod event_id;
pub mod import;
pub mod mapping;

mod rows;
