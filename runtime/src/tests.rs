//! Tests of the runtime as a whole. `integrity_tests` of all pallets come with
//! `#[frame_support::runtime]`.

mod blocks;
mod chain;
mod genesis;
mod leaf;
#[cfg(feature = "fast-runtime")]
mod main_job;
mod settlement;
mod vectors;
mod whole;

use polkadot_sdk::*;
use sp_genesis_builder::PresetId;
use sp_io::TestExternalities;
use sp_runtime::BuildStorage;

use crate::{genesis_config_presets::get_preset, RuntimeGenesisConfig};

/// The state that a preset gives, at genesis.
fn externalities(preset: &str) -> TestExternalities {
    let patch = get_preset(&PresetId::from(preset)).expect("the preset exists");
    let patch: serde_json::Value = serde_json::from_slice(&patch).expect("presets are JSON");
    let mut whole = serde_json::to_value(RuntimeGenesisConfig::default()).expect("it serialises");
    merge(&mut whole, patch);
    let config: RuntimeGenesisConfig = serde_json::from_value(whole).expect("presets fit");
    config.build_storage().expect("presets build").into()
}

/// Overlays `patch` on `base`, object by object.
fn merge(base: &mut serde_json::Value, patch: serde_json::Value) {
    match (base, patch) {
        (serde_json::Value::Object(base), serde_json::Value::Object(patch)) => {
            for (key, value) in patch {
                merge(base.entry(key).or_insert(serde_json::Value::Null), value);
            }
        }
        (base, patch) => *base = patch,
    }
}
