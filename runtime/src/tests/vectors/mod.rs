//! The committed vectors that the contracts are tested against, made by the SDK's own code.
//!
//! After a wanted change, write them anew with `make vectors`.

mod authorities;
mod bridge;
mod mountain;

use polkadot_sdk::*;
use serde_json::Value;
use sp_core::H256;
use sp_io::hashing::keccak_256;
use std::{fs, path::PathBuf};

fn hex(bytes: impl AsRef<[u8]>) -> String {
    let digits = bytes.as_ref().iter().map(|byte| format!("{byte:02x}"));
    std::iter::once("0x".into()).chain(digits).collect()
}

/// Hashes one after the other.
fn packed<'a>(hashes: impl IntoIterator<Item = &'a H256>) -> String {
    hex(hashes.into_iter().flat_map(|hash| hash.0).collect::<Vec<_>>())
}

/// A hash that is somebody's, and nobody's.
fn seed(text: &str) -> H256 {
    H256(keccak_256(text.as_bytes()))
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../bridge/contracts/test/vectors")
        .join(format!("{name}.json"))
}

/// Every file by its name.
fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("authority_sets", authorities::sets()),
        ("commitments", authorities::commitments()),
        ("mmr", mountain::proofs()),
        ("handover", mountain::handover()),
        ("withdrawals", bridge::withdrawals()),
        ("deposits", bridge::deposits()),
        ("outputs", bridge::outputs()),
    ]
}

fn text(value: &Value) -> String {
    let mut text = serde_json::to_string(value).expect("values are JSON");
    text.push('\n');
    text
}

#[test]
fn committed_vectors_are_what_the_code_gives() {
    for (name, value) in all() {
        let committed = fs::read_to_string(file(name)).unwrap_or_default();
        assert!(committed == text(&value), "{name}.json is out of date: run `make vectors`");
    }
}

#[test]
fn the_vectors_stay_small() {
    let bytes: usize = all().iter().map(|(_, value)| text(value).len()).sum();
    assert!(bytes < 1_500_000, "{bytes} bytes");
}

#[test]
#[ignore = "writes the committed vectors"]
fn write_the_vectors() {
    for (name, value) in all() {
        let path = file(name);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder is there");
        fs::write(path, text(&value)).expect("the file can be written");
    }
}
