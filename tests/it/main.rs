//! The integration tests: one binary, so that the workspace is linked once.

mod doors;
mod recovery;
mod tidy;
