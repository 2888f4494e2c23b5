//! The integration tests: one binary, so that the workspace is linked once.

mod agreement;
mod archive;
mod ceremony;
mod crash;
mod demo;
mod doors;
mod import;
mod recovery;
mod tidy;
