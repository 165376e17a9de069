//! Salted record trees: the chain learns nothing about a record, and its contributor can later
//! prove any one of them.
//!
//! Each shard has a secret seed of 32 bytes. The salt of record `i` is
//! `blake2_256("tributary/salt:v1" ‖ seed ‖ i)`, its leaf is
//! `leaf_hash("tributary/record:v1" ‖ salt ‖ record)`. Revealing one salt tells nothing about the
//! others.

use crate::tree;
use alloc::vec::Vec;
use polkadot_sdk::{sp_core::H256, sp_crypto_hashing::blake2_256};

/// Secret from which the salts of a shard are derived.
pub type Seed = [u8; 32];

/// Salt of the record at `index`.
pub fn salt(seed: &Seed, index: u64) -> [u8; 32] {
    let mut bytes = b"tributary/salt:v1".to_vec();
    bytes.extend_from_slice(seed);
    bytes.extend_from_slice(&index.to_le_bytes());
    blake2_256(&bytes)
}

/// Leaf hash of a record (its line, without the line end) under a salt.
pub fn leaf(salt: &[u8; 32], record: &[u8]) -> H256 {
    let mut bytes = b"tributary/record:v1".to_vec();
    bytes.extend_from_slice(salt);
    bytes.extend_from_slice(record);
    tree::leaf_hash(&bytes)
}

/// Leaf hashes of a whole shard.
pub fn leaves<'a>(seed: &Seed, records: impl IntoIterator<Item = &'a [u8]>) -> Vec<H256> {
    records.into_iter().zip(0u64..).map(|(record, i)| leaf(&salt(seed, i), record)).collect()
}

/// Whether `record` under `salt` stands where `proof` says in the shard of this `root`.
pub fn verify(root: &H256, salt: &[u8; 32], record: &[u8], proof: &tree::Proof) -> bool {
    tree::verify(root, &leaf(salt, record), proof)
}
