//! `eth_getProof` of the portal's two slots. It is checked here first, though the runtime checks it
//! too: an endpoint that gives a false one must not keep its turn.

use alloy_primitives::{keccak256, Address, Bytes, B256, U256};
use polkadot_sdk::sp_core::H256;
use tributary_primitives::bridge::{
    deposit::{count_slot, hash_slot},
    origin::{MAX_NODE, MAX_NODES},
};

use super::{
    endpoint::{AccountProof, Endpoint},
    header::Block,
    trie, Error,
};

/// Where the storage root stands among an account's fields.
const STORAGE_ROOT: usize = 2;

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
    let storage = storage_root(state_root, portal, &account_proof)
        .map_err(|reason| format!("account {portal}: {reason}"))?;

    let [count, rolling] = answer.storage_proof.as_slice() else {
        return Err(format!("{} slots instead of 2", answer.storage_proof.len()));
    };
    let (count_proof, hash_proof) = (nodes(&count.proof)?, nodes(&rolling.proof)?);
    slot_holds(storage, count_slot(), count.value, &count_proof)
        .map_err(|reason| format!("number of deposits: {reason}"))?;
    slot_holds(storage, hash_slot(), rolling.value, &hash_proof)
        .map_err(|reason| format!("rolling hash: {reason}"))?;
    Ok(Recorded {
        // The low 64 bits; the portal keeps counters of its own beside them.
        count: count.value.as_limbs()[0],
        rolling: H256(rolling.value.to_be_bytes()),
        account_proof,
        count_proof,
        hash_proof,
    })
}

/// The storage root of an account that exists.
pub fn storage_root(
    state_root: B256,
    address: Address,
    proof: &[Vec<u8>],
) -> Result<B256, &'static str> {
    let account =
        trie::lookup(state_root, keccak256(address), proof)?.ok_or("it does not exist")?;
    let fields = trie::items(&account)?;
    let root = trie::string(fields.get(STORAGE_ROOT).ok_or("it has no storage root")?)?;
    B256::try_from(root).map_err(|_| "its storage root is no hash")
}

/// Checks that a slot holds a number.
pub fn slot_holds(
    storage_root: B256,
    slot: H256,
    number: U256,
    proof: &[Vec<u8>],
) -> Result<(), &'static str> {
    let found = trie::lookup(storage_root, keccak256(slot.0), proof)?;
    // The trie has no zeros: such a slot is shown to be absent.
    let expected = (!number.is_zero()).then(|| alloy_rlp::encode(number));
    if found == expected {
        Ok(())
    } else {
        Err("the proof shows another value")
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
