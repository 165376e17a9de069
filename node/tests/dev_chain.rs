//! A chain with one validator: blocks come, GRANDPA and BEEFY finalise them, the MMR proves them.

mod common;

use std::time::Duration;

use common::Running;
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(240);

#[test]
fn a_development_chain_reaches_both_finalities() {
    let node = Running::start(&["--dev", "--tmp"]);

    let properties = node.call("system_properties", json!([])).expect("it answers");
    assert_eq!(properties["tokenSymbol"], "OPEN");
    assert_eq!(properties["ss58Format"], 42);

    // GRANDPA.
    node.wait_for("chain_getFinalizedHead", 2, LIMIT);

    // BEEFY's head is a finalised block, and the MMR's root for it comes with the header.
    // Not the first block's: the MMR of a single leaf cannot verify a proof of it.
    node.wait_for("beefy_getFinalizedHead", 2, LIMIT);
    let head = node.call("beefy_getFinalizedHead", json!([])).expect("BEEFY has a head");
    let signed = node.number_of(&head).expect("it is a block");
    let root = node.call("mmr_root", json!([head])).expect("the MMR has a root");

    // A leaf of the MMR can be proven under that root, and the proof of one block does not verify
    // under the root of another.
    let proof =
        node.call("mmr_generateProof", json!([[1], signed, head])).expect("there is a proof");
    assert_eq!(node.call("mmr_verifyProofStateless", json!([root, proof])), Ok(json!(true)));
    let other = json!(format!("0x{}", "11".repeat(32)));
    assert!(node.call("mmr_verifyProofStateless", json!([other, proof])).is_err());

    // Every family of methods is there.
    let methods = node.call("rpc_methods", json!([])).expect("it answers");
    let methods = methods["methods"].to_string();
    for name in [
        "author_submitExtrinsic",
        "babe_epochAuthorship",
        "beefy_subscribeJustifications",
        "chainHead_v1_follow",
        "chainSpec_v1_genesisHash",
        "chain_getBlock",
        "grandpa_roundState",
        "mmr_generateProof",
        "payment_queryInfo",
        "state_call",
        "system_accountNextIndex",
        "transactionWatch_v1_submitAndWatch",
        "transaction_v1_broadcast",
    ] {
        assert!(methods.contains(name), "{name} is missing in {methods}");
    }

    // What is no extrinsic is refused.
    let error = node
        .call("author_submitExtrinsic", json!(["0x0400"]))
        .expect_err("these bytes are no extrinsic");
    assert!(error["message"].is_string(), "{error}");
}
