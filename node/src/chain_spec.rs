//! The chains that the node knows by name, and the files that describe others.

use std::{fs, path::Path};

use polkadot_sdk::*;
use sc_service::{ChainType, Properties};
use serde_json::Value;
use sp_genesis_builder::{DEV_RUNTIME_PRESET, LOCAL_TESTNET_RUNTIME_PRESET};
use tributary_runtime::{
    configs::system::SS58Prefix, genesis_config_presets::STAGING_RUNTIME_PRESET, WASM_BINARY,
};

/// A chain's name, type, properties and genesis.
pub type ChainSpec = sc_service::GenericChainSpec;

/// Why a chain's specification cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "this node was built without the runtime's WASM code (SKIP_WASM_BUILD was set): \
         build it again without that variable"
    )]
    NoCode,
    #[error(
        "`{id}` is neither a chain that this node knows (dev, local, staging) nor a readable file: {source}"
    )]
    Unknown { id: String, source: std::io::Error },
    #[error("the file `{path}` is not JSON: {source}")]
    NotJson { path: String, source: serde_json::Error },
    #[error("the file `{path}` does not describe a chain: {reason}")]
    NotASpec { path: String, reason: String },
    #[error("the chain's specification cannot be written: {0}")]
    Write(String),
}

/// The specification that `id` names: a known chain, or else a file.
pub fn load(id: &str) -> Result<ChainSpec, Error> {
    match id {
        "dev" => named(
            "Tributary Development",
            "tributary_dev",
            ChainType::Development,
            DEV_RUNTIME_PRESET,
        ),
        // Two validators is what everybody means by a local network, also those who name none.
        "" | "local" => named(
            "Tributary Local Testnet",
            "tributary_local",
            ChainType::Local,
            LOCAL_TESTNET_RUNTIME_PRESET,
        ),
        "staging" => {
            named("Tributary Staging", "tributary_staging", ChainType::Live, STAGING_RUNTIME_PRESET)
        }
        path => from_file(Path::new(path)),
    }
}

fn code() -> Result<&'static [u8], Error> {
    WASM_BINARY.ok_or(Error::NoCode)
}

fn named(name: &str, id: &str, kind: ChainType, preset: &str) -> Result<ChainSpec, Error> {
    Ok(ChainSpec::builder(code()?, None)
        .with_name(name)
        .with_id(id)
        .with_chain_type(kind)
        .with_protocol_id("tributary")
        .with_properties(properties())
        .with_genesis_config_preset_name(preset)
        .build())
}

/// What wallets want to know.
fn properties() -> Properties {
    let mut properties = Properties::new();
    properties.insert("tokenSymbol".into(), "OPEN".into());
    properties.insert("tokenDecimals".into(), 18.into());
    properties.insert("ss58Format".into(), SS58Prefix::get().into());
    properties
}

/// Reads a file. If it carries no code, as those of [`compact`] do, this node's code is put in.
fn from_file(path: &Path) -> Result<ChainSpec, Error> {
    let shown = path.display().to_string();
    let bytes = fs::read(path).map_err(|source| Error::Unknown { id: shown.clone(), source })?;
    let mut json: Value = serde_json::from_slice(&bytes)
        .map_err(|source| Error::NotJson { path: shown.clone(), source })?;
    let not_a_spec = |reason: String| Error::NotASpec { path: shown.clone(), reason };

    if let Some(Value::Object(genesis)) = json.pointer_mut("/genesis/runtimeGenesis") {
        if !genesis.contains_key("code") {
            let code = sp_core::bytes::to_hex(code()?, false);
            genesis.insert("code".into(), code.into());
        }
    }
    let whole = serde_json::to_vec(&json).map_err(|e| not_a_spec(e.to_string()))?;
    ChainSpec::from_json_bytes(whole).map_err(not_a_spec)
}

/// The specification as JSON without the code.
pub fn compact(spec: &ChainSpec) -> Result<String, Error> {
    let whole = spec.as_json(false).map_err(Error::Write)?;
    let mut json: Value = serde_json::from_str(&whole).map_err(|e| Error::Write(e.to_string()))?;
    if let Some(Value::Object(genesis)) = json.pointer_mut("/genesis/runtimeGenesis") {
        genesis.remove("code");
    }
    // Whether serde_json keeps the order of keys depends on what else is built with it; the files
    // in the repository must not.
    json.sort_all_objects();
    let mut text = serde_json::to_string_pretty(&json).map_err(|e| Error::Write(e.to_string()))?;
    text.push('\n');
    Ok(text)
}
