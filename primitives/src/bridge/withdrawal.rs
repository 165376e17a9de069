//! Withdrawals: what this chain asks Ethereum to do.

use super::{address, keccak, word};
use alloc::vec::Vec;
use alloy_sol_types::SolValue;
use codec::{Decode, DecodeWithMemTracking, Encode};
use polkadot_sdk::sp_core::{H160, H256, U256};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// Where the version stands in a nonce: the two bytes on top.
const VERSION_SHIFT: usize = 240;

/// A withdrawal, as the OP Stack's `Types.WithdrawalTransaction`.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub struct Withdrawal {
    /// See [`nonce`].
    pub nonce: U256,
    /// Who made it.
    pub sender: H160,
    /// Who is called.
    pub target: H160,
    /// Wei that go along; this chain never sends any.
    pub value: U256,
    /// Gas that the call must get.
    pub gas_limit: U256,
    /// What the target is called with.
    #[serde(with = "hex_bytes")]
    pub data: Vec<u8>,
}

/// The nonce of the withdrawal at a position of the tree: version 1 in the top two bytes, and the
/// position.
pub fn nonce(index: u32) -> U256 {
    (U256::one() << VERSION_SHIFT) | U256::from(index)
}

/// The position that a nonce stands for; `None` if no withdrawal has such a nonce.
pub fn index_of(nonce_: U256) -> Option<u32> {
    let index = u32::try_from(nonce_.low_u64()).ok()?;
    (nonce(index) == nonce_).then_some(index)
}

impl Withdrawal {
    /// `abi.encode(nonce, sender, target, value, gasLimit, data)`.
    pub fn abi_encode(&self) -> Vec<u8> {
        (
            word(self.nonce),
            address(self.sender),
            address(self.target),
            word(self.value),
            word(self.gas_limit),
            alloy_primitives::Bytes::copy_from_slice(&self.data),
        )
            .abi_encode_params()
    }

    /// Its leaf in the tree, and its name on Ethereum: `Hashing.hashWithdrawal`.
    pub fn hash(&self) -> H256 {
        keccak(&self.abi_encode())
    }

    /// Its position in the tree.
    pub fn index(&self) -> Option<u32> {
        index_of(self.nonce)
    }
}

/// Bytes as `0x…` in JSON.
mod hex_bytes {
    use alloc::{string::String, vec::Vec};
    use serde::{de::Error, Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&alloy_primitives::hex::encode_prefixed(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        alloy_primitives::hex::decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}
