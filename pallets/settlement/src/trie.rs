//! Ethereum's header and its proofs of state (`eth_getProof`), which may be anything: the chain reads
//! those that an author brings, and the node those that an endpoint gives, with the same functions.

use alloc::vec::Vec;
use alloy_primitives::{keccak256, Bytes, B256, U256};
use alloy_rlp::{Decodable, Header as RlpHeader};
use alloy_trie::{
    nodes::{BranchNode, RlpNode, TrieNode},
    proof::verify_proof,
    Nibbles, TrieAccount,
};
use polkadot_sdk::sp_core::{H160, H256};
use tributary_primitives::bridge::L1Origin;

/// What is read of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Number, hash, time.
    pub origin: L1Origin,
    /// The root of the state after the block.
    pub state_root: H256,
}

/// Why a proof does not show what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofError {
    /// A node is none of Ethereum's trie, or its path leads beyond every key.
    Unreadable,
    /// The nodes do not lead from the root to where the key ends, each by its hash, and no further.
    Broken,
    /// It shows that there is no such account.
    NoAccount,
    /// The account has other fields than Ethereum's.
    BadAccount,
    /// The slot holds something else than a number.
    BadNumber,
}

impl core::fmt::Display for ProofError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "a node of the proof cannot be read",
            Self::Broken => "the nodes of the proof do not lead from the root to the key",
            Self::NoAccount => "there is no such account",
            Self::BadAccount => "the account has other fields than Ethereum's",
            Self::BadNumber => "the slot holds no number",
        })
    }
}

impl core::error::Error for ProofError {}

/// Fields of a header before London; every later fork appended some.
const LEAST_FIELDS: usize = 15;
/// More fields than any fork has given a header, with room for those to come.
const MOST_FIELDS: usize = 64;
const STATE_ROOT: usize = 3;
const NUMBER: usize = 8;
const TIMESTAMP: usize = 11;

/// Reads a header's RLP; `None` if it is none. Its hash is that of all bytes, so that bytes after
/// the end cannot pass.
pub fn header(rlp: &[u8]) -> Option<Header> {
    let mut rest = rlp;
    let mut fields = RlpHeader::decode_bytes(&mut rest, true).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let (mut state_root, mut number, mut timestamp) = (None, None, None);
    let mut count = 0usize;
    while !fields.is_empty() {
        if count == MOST_FIELDS {
            return None;
        }
        let field = RlpHeader::decode_bytes(&mut fields, false).ok()?;
        match count {
            STATE_ROOT => state_root = <[u8; 32]>::try_from(field).ok(),
            NUMBER => number = scalar(field),
            TIMESTAMP => timestamp = scalar(field),
            _ => {}
        }
        count = count.saturating_add(1);
    }
    if count < LEAST_FIELDS {
        return None;
    }
    let hash = H256(tributary_primitives::bridge::keccak(rlp).0);
    let origin = L1Origin { number: number?, hash, timestamp: timestamp? };
    Some(Header { origin, state_root: H256(state_root?) })
}

/// A number without leading zeros.
fn scalar(bytes: &[u8]) -> Option<u64> {
    if bytes.first() == Some(&0) || bytes.len() > 8 {
        return None;
    }
    Some(bytes.iter().fold(0, |number: u64, byte| number.wrapping_shl(8) | u64::from(*byte)))
}

/// The root of the storage of an account that exists. `proof` has the nodes from the root downwards.
pub fn storage_root(
    state_root: H256,
    account: H160,
    proof: &[Vec<u8>],
) -> Result<H256, ProofError> {
    let value = value(state_root, keccak256(account.as_bytes()), proof)?;
    let value = value.ok_or(ProofError::NoAccount)?;
    let mut rest = value.as_slice();
    let account = TrieAccount::decode(&mut rest).map_err(|_| ProofError::BadAccount)?;
    if !rest.is_empty() {
        return Err(ProofError::BadAccount);
    }
    Ok(H256(account.storage_root.0))
}

/// The number that a slot holds. `proof` has the nodes from the storage's root downwards.
pub fn slot_value(storage_root: H256, slot: H256, proof: &[Vec<u8>]) -> Result<U256, ProofError> {
    // A slot that holds zero is not in the trie.
    let Some(encoded) = value(storage_root, keccak256(slot.as_bytes()), proof)? else {
        return Ok(U256::ZERO);
    };
    let mut rest = encoded.as_slice();
    let number = U256::decode(&mut rest).map_err(|_| ProofError::BadNumber)?;
    if !rest.is_empty() || number.is_zero() {
        return Err(ProofError::BadNumber);
    }
    Ok(number)
}

/// The value at a hashed key; `None` if there is none.
fn value(root: H256, key: B256, proof: &[Vec<u8>]) -> Result<Option<Vec<u8>>, ProofError> {
    let key = Nibbles::unpack(key);
    let claimed = claim(&key, proof).ok_or(ProofError::Unreadable)?;
    let nodes: Vec<Bytes> = proof.iter().map(|node| Bytes::copy_from_slice(node)).collect();
    verify_proof(B256::from(root.0), key, claimed.clone(), &nodes)
        .map_err(|_| ProofError::Broken)?;
    Ok(claimed)
}

/// Where a proof's nodes lead, without looking at a single hash.
///
/// The verifier wants to be told the value, and it counts on paths that are no longer than a key;
/// both come from here. `None` if a path is longer or a node cannot be read.
fn claim(key: &Nibbles, proof: &[Vec<u8>]) -> Option<Option<Vec<u8>>> {
    let mut path = Nibbles::new();
    let mut end = Step::Gone;
    for node in proof {
        let mut rest = node.as_slice();
        // An empty trie's only node stands alone; the verifier knows it by its first node.
        if rest == [alloy_rlp::EMPTY_STRING_CODE] {
            return (proof.len() == 1).then_some(None);
        }
        let node = TrieNode::decode(&mut rest).ok().filter(|_| rest.is_empty())?;
        end = step(node, &mut path, key)?;
    }
    match end {
        Step::Value(value) if path == *key => Some(Some(value)),
        _ => Some(None),
    }
}

/// What comes after a node on the way to a key.
enum Step {
    /// Another node.
    Node,
    /// The end, with a value.
    Value(Vec<u8>),
    /// The end, without one.
    Gone,
}

/// Goes through one node of a proof and through those that are encoded in place of their hash
/// within it; each of them is shorter than the one that it is in.
fn step(node: TrieNode, path: &mut Nibbles, key: &Nibbles) -> Option<Step> {
    match node {
        TrieNode::Branch(branch) => match child(&branch, path, key) {
            None => Some(Step::Gone),
            Some(next) => below(next, path, key),
        },
        TrieNode::Extension(extension) => {
            append(path, &extension.key)?;
            below(&extension.child, path, key)
        }
        TrieNode::Leaf(leaf) => {
            append(path, &leaf.key)?;
            Some(Step::Value(leaf.value))
        }
        TrieNode::EmptyRoot => None,
    }
}

fn below(child: &RlpNode, path: &mut Nibbles, key: &Nibbles) -> Option<Step> {
    if child.is_hash() {
        return Some(Step::Node);
    }
    step(TrieNode::decode(&mut child.as_slice()).ok()?, path, key)
}

/// The child of a branch on the way to a key, with the path moved on to it.
fn child<'a>(branch: &'a BranchNode, path: &mut Nibbles, key: &Nibbles) -> Option<&'a RlpNode> {
    let next = key.get(path.len())?;
    let position = branch
        .state_mask
        .iter()
        .position(|nibble| nibble == next)
        .filter(|_| branch.state_mask.is_bit_set(next))?;
    let child = branch.stack.get(position)?;
    path.push(next);
    Some(child)
}

/// Moves a path on; `None` if it would be longer than a key.
fn append(path: &mut Nibbles, more: &Nibbles) -> Option<()> {
    if path.len().checked_add(more.len())? > 64 {
        return None;
    }
    path.extend(more);
    Some(())
}

/// The number of deposits in the word that the portal keeps it in: the low 64 bits. The others are
/// the portal's own.
pub fn count(word: U256) -> u64 {
    let [low, ..] = word.into_limbs();
    low
}

/// A hash as slots hold it.
pub fn word(of: H256) -> U256 {
    U256::from_be_bytes(of.0)
}
