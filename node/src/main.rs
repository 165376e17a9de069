//! Starts the node.

// The SDK's own error type is that large, and every command returns it.
#![allow(clippy::result_large_err)]

fn main() -> polkadot_sdk::sc_cli::Result<()> {
    tributary_node::command::run()
}
