//! The integration tests: one binary, so that the workspace is linked once.

mod agreement;
mod archive;
mod catch_up;
mod ceremony;
mod consortium;
mod crash;
mod demo;
mod doors;
mod equivocation;
mod failover;
mod import;
mod quorum;
mod recovery;
mod sim;
mod strangers;
mod tidy;
