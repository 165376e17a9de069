//! What BEEFY signs, as Ethereum reads it: leaf, commitment, output root.

use super::{b256, keccak, word};
use alloc::vec::Vec;
use alloy_primitives::U256 as Word;
use alloy_sol_types::SolValue;
use codec::{Decode, DecodeAll, DecodeWithMemTracking, Encode, MaxEncodedLen};
use polkadot_sdk::sp_core::{H160, H256};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// What each leaf says beyond the parent block and the next authorities.
///
/// Ethereum decodes a leaf by offsets, so that every field has a fixed length: 104 bytes in all,
/// hashes raw and in the order below, the number little-endian.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Default,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct LeafExtra {
    /// Which chain speaks to which portal: see [`domain`].
    pub domain: H256,
    /// The root of the tree of withdrawals.
    pub withdrawal_root: H256,
    /// The number of the Ethereum block up to which deposits have been taken in.
    pub l1_origin_number: u64,
    /// The hash of that block.
    pub l1_origin_hash: H256,
}

/// `keccak256(abi.encode(uint256 chainId, address portal, bytes32 genesis))`.
///
/// A leaf that was made for one pair of chain and portal means nothing to any other.
pub fn domain(l1_chain_id: u64, portal: H160, genesis: H256) -> H256 {
    let words = (Word::from(l1_chain_id), super::address(portal), b256(genesis));
    keccak(&words.abi_encode_params())
}

/// What a leaf says of the authorities that come next.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, TypeInfo, Serialize, Deserialize,
)]
pub struct AuthoritySet {
    /// Number of the set.
    pub id: u64,
    /// How many there are.
    pub len: u32,
    /// Root over their Ethereum addresses.
    pub root: H256,
}

/// A leaf of the mountain range. Leaf `i` is made in block `i + 1` and describes block `i`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, TypeInfo, Serialize, Deserialize,
)]
pub struct Leaf {
    /// `major << 5 | minor`; always 0.
    pub version: u8,
    /// The number of the block that it describes.
    pub parent_number: u32,
    /// The hash of that block.
    pub parent_hash: H256,
    /// The authorities of the next session.
    pub next_set: AuthoritySet,
    /// What the bridge needs.
    pub extra: LeafExtra,
}

impl Leaf {
    /// Bytes of an encoded leaf.
    pub const LENGTH: usize = 1 + 4 + 32 + (8 + 4 + 32) + 104;

    /// Reads a leaf; `None` unless there are exactly [`Self::LENGTH`] bytes of version 0.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        Self::decode_all(&mut &*bytes).ok().filter(|leaf| leaf.version == 0)
    }

    /// Its hash in the mountain range.
    pub fn hash(&self) -> H256 {
        keccak(&self.encode())
    }

    /// The output root of the block that it describes.
    pub fn output_root(&self) -> H256 {
        output_root(self.hash(), self.extra.withdrawal_root, self.parent_hash)
    }
}

/// The output root of version 1: `keccak256(abi.encode(bytes32(uint256(1)), mmrLeafHash,
/// withdrawalRoot, blockHash))`.
pub fn output_root(leaf_hash: H256, withdrawal_root: H256, block_hash: H256) -> H256 {
    let words = (word(1.into()), b256(leaf_hash), b256(withdrawal_root), b256(block_hash));
    keccak(&words.abi_encode_params())
}

/// The 48 bytes that validators sign the keccak-256 hash of.
///
/// That is the SCALE encoding of a commitment whose only payload is the root of the mountain range.
pub fn commitment(mmr_root: H256, block_number: u32, validator_set_id: u64) -> Vec<u8> {
    (1u8 << 2, *b"mh", 32u8 << 2, mmr_root, block_number, validator_set_id).encode()
}

/// Signatures that a set of `validators` needs.
pub fn quorum(validators: u32) -> u32 {
    validators.saturating_sub(validators.saturating_sub(1) / 3)
}
