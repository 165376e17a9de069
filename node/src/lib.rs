//! The node of Tributary: it makes, checks and finalises blocks, and serves RPC.
//!
//! A library, so that tests reach its parts; the binary runs [`command::run`] and nothing else.

// The SDK's own error type is that large, and every command returns it.
#![allow(clippy::result_large_err)]

pub mod chain_spec;
pub mod cli;
pub mod command;
pub mod l1;
pub mod rpc;
pub mod service;
