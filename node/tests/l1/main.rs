//! The L1 follower: against endpoints that the tests make up, and against anvil.

#[path = "../common/mod.rs"]
mod common;

mod agreement;
mod authors;
mod fake;
mod headers;
mod importers;
mod network;
mod options;
