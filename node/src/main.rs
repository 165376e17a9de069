//! The node of Tributary: it makes, checks and finalises blocks, and serves RPC.

// The SDK's own error type is that large, and every command returns it.
#![allow(clippy::result_large_err)]

mod chain_spec;
mod cli;
mod command;
mod rpc;
mod service;

fn main() -> polkadot_sdk::sc_cli::Result<()> {
    command::run()
}
