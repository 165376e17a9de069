//! Builds the WASM blob that the node embeds and that the chain executes.

#[cfg(feature = "std")]
fn main() {
    help_the_builder();

    #[cfg(feature = "metadata-hash")]
    substrate_wasm_builder::WasmBuilder::init_with_defaults()
        .enable_metadata_hash("OPEN", 18)
        .build();

    #[cfg(not(feature = "metadata-hash"))]
    substrate_wasm_builder::WasmBuilder::build_using_defaults();
}

#[cfg(not(feature = "std"))]
fn main() {}

/// Tells the builder what it cannot find out where the target directory is not in the workspace:
/// the lock file, without which the blob would be built from other versions, and what a profile of
/// our own stands for.
#[cfg(feature = "std")]
fn help_the_builder() {
    use std::env::{set_var, var, var_os};

    if var_os("WASM_BUILD_WORKSPACE_HINT").is_none() {
        set_var("WASM_BUILD_WORKSPACE_HINT", concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    }
    let of_testnet = var("OUT_DIR").is_ok_and(|path| path.contains("/testnet/"));
    if of_testnet && var_os("WASM_BUILD_TYPE").is_none() {
        set_var("WASM_BUILD_TYPE", "release");
    }
}
