//! Deposits: what Ethereum asks this chain to do.

use super::{address, keccak, tree::node, u256, word};
use alloc::vec::Vec;
use alloy_primitives::Bytes;
use alloy_sol_types::SolValue;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use polkadot_sdk::sp_core::{H160, H256, U256};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// Where the portal keeps the number of all deposits: `keccak256("tributary.portal.deposits")`.
///
/// The number is the low 64 bits of the word. In the others the portal counts the deposits of one
/// Ethereum block, so that no block has more of them than the origin can bring in one step.
pub fn count_slot() -> H256 {
    keccak(b"tributary.portal.deposits")
}

/// Where the portal keeps the rolling hash of all deposits: the slot after [`count_slot`].
pub fn hash_slot() -> H256 {
    let (next, _) = U256::from_big_endian(count_slot().as_bytes()).overflowing_add(U256::one());
    H256(next.to_big_endian())
}

/// A deposit as the portal's event `TransactionDeposited` tells of it.
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
pub struct Deposit {
    /// Who made it; contracts are aliased ([`super::l1_alias`]).
    pub from: H160,
    /// Who is called here.
    pub to: H160,
    /// How `opaque_data` is to be read; only 0 is known.
    pub version: U256,
    /// See [`DepositData`].
    pub opaque_data: Vec<u8>,
}

impl Deposit {
    /// `keccak256(abi.encode(from, to, version, opaqueData))`.
    pub fn hash(&self) -> H256 {
        let encoded = (
            address(self.from),
            address(self.to),
            word(self.version),
            Bytes::copy_from_slice(&self.opaque_data),
        )
            .abi_encode_params();
        keccak(&encoded)
    }
}

/// The rolling hash after one more deposit: `keccak256(before ‖ depositHash)`. It begins with zeros.
pub fn roll(before: &H256, deposit: &H256) -> H256 {
    node(before, deposit)
}

/// What version 0 of a deposit says: `abi.encodePacked(mint, value, gasLimit, isCreation, data)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepositData {
    /// Wei locked for this chain; the portal takes none.
    pub mint: U256,
    /// Wei for the one who is called; there are none.
    pub value: U256,
    /// Gas of the call.
    pub gas_limit: u64,
    /// Whether a contract is to be made; there are none here.
    pub is_creation: bool,
    /// What is called.
    pub data: Vec<u8>,
}

impl DepositData {
    /// Bytes before the data.
    pub const HEADER: usize = 32 + 32 + 8 + 1;

    /// As the portal packs it.
    pub fn encode(&self) -> Vec<u8> {
        let mut packed = Vec::with_capacity(Self::HEADER.saturating_add(self.data.len()));
        packed.extend(self.mint.to_big_endian());
        packed.extend(self.value.to_big_endian());
        packed.extend(self.gas_limit.to_be_bytes());
        packed.push(self.is_creation.into());
        packed.extend(&self.data);
        packed
    }

    /// The only reading of packed bytes; `None` if they have none.
    pub fn decode(packed: &[u8]) -> Option<Self> {
        let (mint, rest) = packed.split_first_chunk::<32>()?;
        let (value, rest) = rest.split_first_chunk::<32>()?;
        let (gas, rest) = rest.split_first_chunk::<8>()?;
        let (creation, data) = rest.split_first()?;
        Some(Self {
            mint: u256(alloy_primitives::U256::from_be_bytes(*mint)),
            value: u256(alloy_primitives::U256::from_be_bytes(*value)),
            gas_limit: u64::from_be_bytes(*gas),
            is_creation: match creation {
                0 => false,
                1 => true,
                _ => return None,
            },
            data: data.to_vec(),
        })
    }
}

/// Why a deposit did nothing.
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
pub enum FailureReason {
    /// Its version is not 0.
    UnknownVersion,
    /// Its data cannot be read.
    BadData,
    /// It claims to bring wei.
    HasValue,
    /// It wants to make a contract.
    IsCreation,
    /// It is addressed to the bridge and does not come from the bridge on Ethereum.
    NotTheBridge,
    /// It is addressed to the messenger and does not come from the messenger on Ethereum.
    NotTheMessenger,
    /// It brings another token than OPEN.
    WrongToken,
    /// The recipient's account is neither an address nor 32 bytes.
    BadRecipient,
    /// The amount is zero or above what can exist.
    BadAmount,
    /// The recipient cannot be credited: below the existential deposit, or above the cap.
    NotCredited,
    /// No dispatcher is allowed at the address that it calls.
    NotADispatcher,
    /// The dispatcher refused it.
    Refused,
}

impl FailureReason {
    /// The reason in words.
    pub fn text(&self) -> &'static str {
        match self {
            Self::UnknownVersion => "its version is not 0",
            Self::BadData => "its data cannot be read",
            Self::HasValue => "it claims to bring wei",
            Self::IsCreation => "it wants to make a contract",
            Self::NotTheBridge => "it does not come from the bridge on Ethereum",
            Self::NotTheMessenger => "it does not come from the messenger on Ethereum",
            Self::WrongToken => "it brings another token than OPEN",
            Self::BadRecipient => "its recipient is neither an address nor an account",
            Self::BadAmount => "its amount is zero or above what can exist",
            Self::NotCredited => "its recipient cannot be credited with the amount",
            Self::NotADispatcher => "nothing is allowed to be called at the address",
            Self::Refused => "what it called refused it",
        }
    }
}
