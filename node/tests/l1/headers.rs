//! Headers as anvil 1.7.1 gives them for each fork (`eth_getBlockByNumber` of block 1, which holds
//! one transaction), in `headers.json`.

use alloy_primitives::keccak256;
use serde_json::{json, Value};
use tributary_node::l1::{header::rebuild, Error};

/// The forks that changed the header, and those between.
const FORKS: [&str; 7] = ["istanbul", "london", "paris", "shanghai", "cancun", "prague", "osaka"];

fn header(fork: &str) -> Value {
    let headers: Value = serde_json::from_str(include_str!("headers.json")).expect("it is JSON");
    headers[fork].clone()
}

#[test]
fn every_forks_header_is_rebuilt() {
    for fork in FORKS {
        let json = header(fork);
        let block = rebuild("test", &json).unwrap_or_else(|e| panic!("{fork}: {e}"));
        assert_eq!(json!(block.hash), json["hash"], "{fork}");
        assert_eq!(keccak256(&block.rlp), block.hash, "{fork}");
        assert_eq!(json!(block.state_root), json["stateRoot"], "{fork}");
        assert_eq!(block.number, 1, "{fork}");
    }
}

#[test]
fn each_field_counts() {
    /// Those that an endpoint adds of its own accord.
    const OUTSIDE: [&str; 2] = ["size", "totalDifficulty"];
    for fork in FORKS {
        let json = header(fork);
        let fields = json.as_object().expect("it is an object");
        for (name, value) in fields {
            let text = value.as_str().expect("all fields are text");
            let mut changed = json.clone();
            // Another last digit.
            let (rest, last) = text.split_at(text.len() - 1);
            let last = if last == "1" { "2" } else { "1" };
            changed[name] =
                json!(if text == "0x" { "0x11".into() } else { format!("{rest}{last}") });
            let rebuilt = rebuild("test", &changed);
            if OUTSIDE.contains(&name.as_str()) {
                assert!(rebuilt.is_ok(), "{fork}: {name}");
            } else {
                assert!(matches!(rebuilt, Err(Error::HeaderHash { .. })), "{fork}: {name}");
            }
        }
    }
}

#[test]
fn a_field_that_is_left_out_is_noticed() {
    let optional = [
        ("london", "baseFeePerGas"),
        ("shanghai", "withdrawalsRoot"),
        ("cancun", "blobGasUsed"),
        ("cancun", "excessBlobGas"),
        ("cancun", "parentBeaconBlockRoot"),
        ("prague", "requestsHash"),
    ];
    for (fork, field) in optional {
        let mut json = header(fork);
        json.as_object_mut().expect("it is an object").remove(field);
        let error = rebuild("test", &json).expect_err("the hash needs it");
        let Error::HeaderHash { announced, computed, .. } = &error else {
            panic!("{fork} without {field}: {error}")
        };
        assert_ne!(announced, computed);
        let text = error.to_string();
        assert!(text.contains(&announced.to_string()) && text.contains(&computed.to_string()));
    }
    let mut json = header("osaka");
    json.as_object_mut().expect("it is an object").remove("stateRoot");
    assert!(matches!(rebuild("test", &json), Err(Error::Unreadable { .. })));
}

#[test]
fn what_is_no_block_is_refused() {
    for json in [json!(null), json!([]), json!({}), json!("0x1"), json!({ "hash": 1 })] {
        assert!(matches!(rebuild("test", &json), Err(Error::Unreadable { .. })), "{json}");
    }
}
