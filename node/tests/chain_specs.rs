//! The folder `chain-specs/` holds what the node exports.
//!
//! `TRIBUTARY_UPDATE_SPECS=1` writes the files instead of comparing them.

mod common;

use std::{env, fs};

use common::{chain_specs, run};
use serde_json::Value;

const CHAINS: [&str; 3] = ["dev", "local", "staging"];

fn stdout(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("output is text")
}

#[test]
fn the_folder_holds_what_the_node_exports() {
    for chain in CHAINS {
        let path = chain_specs().join(format!("{chain}.json"));
        let exported = stdout(&["export-compact-spec", "--chain", chain]);
        if env::var_os("TRIBUTARY_UPDATE_SPECS").is_some() {
            fs::write(&path, &exported).expect("the folder can be written to");
        }
        let committed = fs::read_to_string(&path).expect("the specification is committed");
        assert!(committed == exported, "`{chain}.json` is out of date: `make specs` writes it");
        assert!(committed.len() < 64 * 1024, "it is small enough to be read");

        let json: Value = serde_json::from_str(&committed).expect("it is JSON");
        assert_eq!(json["properties"]["tokenSymbol"], "OPEN");
        assert_eq!(json["properties"]["tokenDecimals"], 18);
        assert_eq!(json["properties"]["ss58Format"], 42);
    }
}

#[test]
fn a_compact_specification_is_the_same_chain_as_the_name() {
    let path = chain_specs().join("local.json");
    let raw = |chain: &str| -> Value {
        serde_json::from_str(&stdout(&["export-chain-spec", "--raw", "--chain", chain]))
            .expect("it is JSON")
    };
    assert!(raw(path.to_str().expect("it is text")) == raw("local"), "the genesis differs");
}
