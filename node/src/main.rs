//! The node of Tributary: it makes, checks and finalises blocks, and serves RPC.

mod chain_spec;
mod cli;
mod command;
mod rpc;
mod service;

fn main() -> polkadot_sdk::sc_cli::Result<()> {
    command::run()
}
