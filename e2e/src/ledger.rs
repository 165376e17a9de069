//! The sum of all money, read from the chain's raw storage rather than from what pallets say of it.

use anyhow::{bail, Context, Result};
use codec::Decode;
use serde_json::{json, Value};
use tributary_primitives::Balance;

/// Storage prefix of `System.Account`: `twox128("System") ‖ twox128("Account")`.
const ACCOUNTS: &str = "0x26aa394eea5630e07c48ae0c9558cef7b99d880ec681799c0cf30e8886371da9";
/// Storage key of `Balances.TotalIssuance`.
const ISSUANCE: &str = "0xc2261276cc9d1f8598ea4b6a74b15c2f57c875e4cff74148e4628f264b974c80";

/// An entry of `System.Account`.
#[derive(Decode)]
struct Account {
    _nonce: u32,
    _references: [u32; 3],
    free: Balance,
    reserved: Balance,
    _frozen: Balance,
    _flags: u128,
}

/// All money at one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Sum over all accounts of what is free and what is held.
    pub accounts: Balance,
    /// Total issuance as the chain keeps it.
    pub issuance: Balance,
}

/// Adds up every account at the block of this hash.
pub async fn ledger(http: &str, block: &str) -> Result<Ledger> {
    let client = reqwest::Client::new();
    let mut accounts: Balance = 0;
    let mut start = Value::Null;
    loop {
        let keys = call(&client, http, "state_getKeysPaged", json!([ACCOUNTS, 500, start, block]))
            .await?
            .as_array()
            .cloned()
            .unwrap_or_default();
        let Some(last) = keys.last().cloned() else { break };
        let changes = call(&client, http, "state_queryStorageAt", json!([keys, block])).await?;
        let rows = changes.pointer("/0/changes").and_then(Value::as_array).cloned();
        for row in rows.context("the node gave no values")? {
            let value = row.get(1).and_then(Value::as_str).context("an account without value")?;
            let account = Account::decode(&mut bytes(value)?.as_slice())?;
            accounts += account.free + account.reserved;
        }
        start = last;
    }
    let issuance = call(&client, http, "state_getStorage", json!([ISSUANCE, block])).await?;
    let issuance = issuance.as_str().context("the chain has no total issuance")?;
    Ok(Ledger { accounts, issuance: Balance::decode(&mut bytes(issuance)?.as_slice())? })
}

fn bytes(text: &str) -> Result<Vec<u8>> {
    Ok(hex::decode(text.trim_start_matches("0x"))?)
}

/// One JSON-RPC call over HTTP.
pub async fn call(
    client: &reqwest::Client,
    http: &str,
    method: &str,
    params: Value,
) -> Result<Value> {
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let answer: Value = client.post(http).json(&request).send().await?.json().await?;
    if let Some(error) = answer.get("error") {
        bail!("{method}: {error}");
    }
    Ok(answer.get("result").cloned().unwrap_or(Value::Null))
}
