//! How a block's author tells the chain of a new Ethereum block and of the deposits up to it.

use super::Deposit;
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use polkadot_sdk::{
    sp_core::{H160, H256},
    sp_inherents::IsFatalError,
};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// Names the data among a block's inherents.
pub const INHERENT_IDENTIFIER: [u8; 8] = *b"l1origin";

/// Most bytes of an encoded header.
pub const MAX_HEADER: usize = 2_048;
/// Most nodes of one proof. A path has 64 nibbles, and real ones are about ten nodes long.
pub const MAX_NODES: usize = 64;
/// Most bytes of one node. A branch with 16 children has 532.
pub const MAX_NODE: usize = 1_024;
/// Most deposits that one step of the origin may bring.
pub const MAX_HASHES: usize = 2_048;
/// Most deposits that one block executes.
pub const MAX_BODIES: usize = 64;
/// Most bytes of the deposits that one block executes, together.
pub const MAX_BODY_BYTES: usize = 64 * 1_024;

/// An Ethereum block.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct L1Ref {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: H256,
}

/// The Ethereum block up to which deposits are known.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct L1Origin {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: H256,
    /// When it was made, in seconds; 0 for the block that the bridge began with.
    pub timestamp: u64,
}

/// The contracts that the chain is joined to.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct L1Config {
    /// Ethereum's chain id.
    pub chain_id: u64,
    /// `OptimismPortal`.
    pub portal: H160,
    /// `L1StandardBridge`.
    pub bridge: H160,
    /// `L1CrossDomainMessenger`.
    pub messenger: H160,
    /// `OpenToken`.
    pub token: H160,
    /// The block that the contracts were made in, or one before the first deposit.
    pub start: L1Ref,
}

/// An Ethereum block, with the proof of how many deposits there were in all and of their rolling
/// hash (`eth_getProof` of the portal for [`super::deposit::count_slot`] and
/// [`super::deposit::hash_slot`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct OriginProof {
    /// The header's RLP.
    pub header: Vec<u8>,
    /// The trie's nodes from the state root to the portal's account.
    pub account_proof: Vec<Vec<u8>>,
    /// The trie's nodes from the portal's storage root to the slot of the count.
    pub count_proof: Vec<Vec<u8>>,
    /// The trie's nodes from the portal's storage root to the slot of the rolling hash.
    pub hash_proof: Vec<Vec<u8>>,
    /// The hashes of all deposits that are new in this step, in order.
    pub deposit_hashes: Vec<H256>,
}

/// What an author may put into a block: a new origin, deposits to be executed, or both.
///
/// The bodies are those of the deposits that come next, in order, whether this step or an earlier
/// one brought their hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct Advance {
    /// The new origin.
    pub origin: Option<OriginProof>,
    /// Deposits to be executed.
    pub bodies: Vec<Deposit>,
}

/// Which bound an [`Advance`] is beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdvanceError {
    /// There is neither an origin nor a deposit in it.
    Nothing,
    /// The header is longer than [`MAX_HEADER`].
    Header,
    /// A proof has more than [`MAX_NODES`] nodes, or one longer than [`MAX_NODE`].
    Proof,
    /// More than [`MAX_HASHES`] new deposits.
    Hashes,
    /// More than [`MAX_BODIES`] deposits, or more than [`MAX_BODY_BYTES`] in them.
    Bodies,
}

impl Advance {
    /// Whether it is within the bounds of this module.
    pub fn check_bounds(&self) -> Result<(), AdvanceError> {
        if self.origin.is_none() && self.bodies.is_empty() {
            return Err(AdvanceError::Nothing);
        }
        if let Some(origin) = &self.origin {
            if origin.header.len() > MAX_HEADER {
                return Err(AdvanceError::Header);
            }
            let proofs = [&origin.account_proof, &origin.count_proof, &origin.hash_proof];
            if proofs
                .iter()
                .any(|nodes| nodes.len() > MAX_NODES || nodes.iter().any(|n| n.len() > MAX_NODE))
            {
                return Err(AdvanceError::Proof);
            }
            if origin.deposit_hashes.len() > MAX_HASHES {
                return Err(AdvanceError::Hashes);
            }
        }
        if self.bodies.len() > MAX_BODIES || self.body_bytes() > MAX_BODY_BYTES {
            return Err(AdvanceError::Bodies);
        }
        Ok(())
    }

    /// Bytes of the deposits' data together.
    pub fn body_bytes(&self) -> usize {
        self.bodies.iter().fold(0usize, |sum, body| sum.saturating_add(body.opaque_data.len()))
    }
}

/// What the chain says of the inherent in somebody else's block.
///
/// The chain can check everything but one thing: that the header belongs to Ethereum. It hands that
/// question to the node, which asks its own endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum InherentError {
    /// Good if this block is one of Ethereum's finalised blocks.
    Unchecked(L1Origin),
    /// The header cannot be read, whatever Ethereum says.
    Malformed,
}

impl IsFatalError for InherentError {
    fn is_fatal_error(&self) -> bool {
        matches!(self, Self::Malformed)
    }
}
