//! `eth_getProof` of the portal's two slots. It is checked here first, with the runtime's own reader,
//! though the runtime checks it too: an endpoint that gives a false one must not keep its turn.

use alloy_primitives::{Address, Bytes, B256, U256};
use pallet_settlement::trie::{count, slot_value, storage_root};
use polkadot_sdk::sp_core::{H160, H256};
use tributary_primitives::bridge::{
    deposit::{count_slot, hash_slot},
    origin::{MAX_NODE, MAX_NODES},
};

use super::{
    endpoint::{AccountProof, Endpoint},
    header::Block,
    Error,
};

/// What the portal had recorded at the end of a block, with the trie's nodes that show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Number of deposits ever made.
    pub count: u64,
    /// The rolling hash over them.
    pub rolling: H256,
    pub account_proof: Vec<Vec<u8>>,
    pub count_proof: Vec<Vec<u8>>,
    pub hash_proof: Vec<Vec<u8>>,
}

/// Asks one endpoint and checks its answer under the block's state root.
pub async fn recorded(
    endpoint: &Endpoint,
    portal: Address,
    block: &Block,
) -> Result<Recorded, Error> {
    let slots = [B256::from(count_slot().0), B256::from(hash_slot().0)];
    let answer = endpoint.proof(portal, &slots, block.number).await?;
    verify(portal, block.state_root, &answer).map_err(|reason| Error::BadProof {
        endpoint: endpoint.label().to_string(),
        number: block.number,
        reason,
    })
}

/// Checks account and slots; the error says what does not hold.
pub fn verify(
    portal: Address,
    state_root: B256,
    answer: &AccountProof,
) -> Result<Recorded, String> {
    let account_proof = nodes(&answer.account_proof)?;
    let storage = storage_root(H256(state_root.0), H160(portal.into()), &account_proof)
        .map_err(|reason| format!("account {portal}: {reason}"))?;

    let [number, rolling] = answer.storage_proof.as_slice() else {
        return Err(format!("{} slots instead of 2", answer.storage_proof.len()));
    };
    let (count_proof, hash_proof) = (nodes(&number.proof)?, nodes(&rolling.proof)?);
    slot_holds(storage, count_slot(), number.value, &count_proof)
        .map_err(|reason| format!("number of deposits: {reason}"))?;
    slot_holds(storage, hash_slot(), rolling.value, &hash_proof)
        .map_err(|reason| format!("rolling hash: {reason}"))?;
    Ok(Recorded {
        count: count(number.value),
        rolling: H256(rolling.value.to_be_bytes()),
        account_proof,
        count_proof,
        hash_proof,
    })
}

/// Checks that a slot holds the number that the endpoint says it does.
fn slot_holds(storage: H256, slot: H256, said: U256, proof: &[Vec<u8>]) -> Result<(), String> {
    let shown = slot_value(storage, slot, proof).map_err(|reason| reason.to_string())?;
    if shown == said {
        Ok(())
    } else {
        Err(format!("the proof shows {shown}, not {said}"))
    }
}

fn nodes(proof: &[Bytes]) -> Result<Vec<Vec<u8>>, String> {
    if proof.len() > MAX_NODES || proof.iter().any(|node| node.len() > MAX_NODE) {
        return Err(format!(
            "a proof has more than {MAX_NODES} nodes or a node of more than {MAX_NODE} bytes"
        ));
    }
    Ok(proof.iter().map(|node| node.to_vec()).collect())
}
