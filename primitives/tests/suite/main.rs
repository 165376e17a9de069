//! What chain, workers and clients must agree on, tested against independent computations and
//! against the committed vectors in `primitives/vectors`.

mod bridge;
mod commitment;
mod frontier;
mod jobs;
mod log;
mod money;
mod payouts;
mod records;
mod signing;
mod tree;
mod vectors;

use polkadot_sdk::sp_core::H256;
use tributary_primitives::tree::leaf_hash;

/// blake2-256 of the parts one after the other: the only hash that the trees use.
fn hash(parts: &[&[u8]]) -> H256 {
    polkadot_sdk::sp_crypto_hashing::blake2_256(&parts.concat()).into()
}

/// `count` different leaf hashes.
fn leaves(count: usize) -> Vec<H256> {
    (0..count).map(|i| leaf_hash(format!("leaf {i}").as_bytes())).collect()
}

/// The hash with one bit turned.
fn flipped(hash: &H256) -> H256 {
    let mut bytes = hash.0;
    bytes[13] ^= 0x10;
    H256(bytes)
}
