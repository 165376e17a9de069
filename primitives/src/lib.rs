//! # Tributary primitives
//!
//! What the chain and everybody off it (worker, client, relayer) must agree on to the byte:
//! typed ids, money, hash trees, and the payloads that people sign outside an extrinsic.
//!
//! Rules that hold everywhere in this crate:
//!
//! - What only the chain checks is hashed with blake2-256; blobs are named by sha2-256; what Ethereum
//!   checks is hashed with keccak-256 ([`bridge`]).
//! - Every tree of its own separates its domains (`0x00` leaf, `0x01` node, `0x02` root) and binds its leaf
//!   count, so that a proof has exactly one reading.
//! - Everything signed begins with a domain tag and the genesis hash, so that no signature can be
//!   replayed as another message or on another chain.
//! - Money is split by largest remainder: the parts always add up to the whole.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod bridge;
pub mod commitment;
pub mod fees;
pub mod ids;
pub mod jobs;
pub mod log;
pub mod money;
pub mod payouts;
pub mod records;
pub mod signing;
pub mod tree;
pub mod views;

pub use ids::*;
pub use money::{Balance, CAP, OPEN};
pub use polkadot_sdk::{
    sp_core::H256,
    sp_runtime::{AccountId32 as AccountId, MultiSignature},
};

/// Block height on Tributary.
pub type BlockNumber = u32;

/// The sha2-256 digest that names a blob (shard, adapter, index, manifest) in the object store.
pub type Digest = H256;
