//! What the chain, its contracts on Ethereum, the nodes and the relayer must agree on to the byte.
//!
//! Ethereum hashes with keccak-256 and packs values into 32-byte words, so everything in here does;
//! each function's documentation names the Solidity expression that it equals.
//!
//! - [`tree`]: the tree of withdrawals;
//! - [`withdrawal`]: withdrawals and their hashes;
//! - [`deposit`]: deposits, their hashes, and what their data means;
//! - [`calls`]: the calls that bridge and messenger send each other;
//! - [`leaf`]: what BEEFY signs: leaf, commitment, output root;
//! - [`origin`]: how a block's author tells the chain of a new Ethereum block.

pub mod calls;
pub mod deposit;
pub mod leaf;
pub mod origin;
pub mod tree;
pub mod withdrawal;

pub use deposit::{Deposit, DepositData, FailureReason};
pub use leaf::{domain, output_root, LeafExtra};
pub use origin::{
    Advance, AdvanceError, InherentError, L1Config, L1Origin, L1Ref, OriginProof,
    INHERENT_IDENTIFIER,
};
pub use withdrawal::Withdrawal;

use crate::{views::Text, AccountId, Balance, BlockNumber};
use alloy_primitives::{Address, B256, U256 as Word};
use codec::{Decode, Encode};
use polkadot_sdk::{
    sp_core::{H160, H256, U256},
    sp_crypto_hashing::keccak_256,
};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// The chain's end of the messengers: deposits to it and withdrawals from it carry messages.
pub const L2_MESSENGER: H160 = predeploy(0x0007);
/// The chain's end of the bridge of OPEN.
pub const L2_BRIDGE: H160 = predeploy(0x0010);
/// OPEN, where a call asks for the address of a token on this chain.
pub const L2_OPEN: H160 = predeploy(0x0042);
/// A dispatcher that keeps what it is told in an event.
pub const L2_NOTES: H160 = predeploy(0x0100);
/// A dispatcher through which an address of Ethereum moves the OPEN of its account here
/// ([`l1_account`]).
pub const L2_TELLER: H160 = predeploy(0x0101);

/// Gas with which a withdrawal of OPEN is finalised.
pub const OPEN_WITHDRAWAL_GAS: u64 = 200_000;

/// Most bytes that a message may have, in either direction.
pub const MAX_MESSAGE: u32 = 4_096;

/// The addresses that mean something on this chain stand where the OP Stack has its own.
const fn predeploy(number: u16) -> H160 {
    let [high, low] = number.to_be_bytes();
    H160([0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low])
}

/// `keccak256(bytes)`.
pub fn keccak(bytes: &[u8]) -> H256 {
    H256(keccak_256(bytes))
}

/// The account here of an address of Ethereum that named no other: the address and twelve bytes
/// `0xee`.
pub fn l1_account(address: H160) -> AccountId {
    let mut account = [0xee; 32];
    for (to, from) in account.iter_mut().zip(address.0) {
        *to = from;
    }
    AccountId::new(account)
}

/// The address by which Ethereum knows an account as a sender: the last 20 bytes of
/// `keccak256(account)`.
pub fn sender_address(account: &AccountId) -> H160 {
    H160::from(keccak(account.as_ref()))
}

/// What is added to the address of a contract that makes a deposit, so that it cannot pass for the
/// same address of somebody else here.
const ALIAS_OFFSET: H160 =
    H160([0x11, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11, 0x11]);

/// The sender of a deposit that a contract of this address makes; as `AddressAliasHelper` has it.
pub fn l1_alias(address: H160) -> H160 {
    let (mut alias, mut carry) = ([0u8; 20], false);
    let bytes = alias.iter_mut().zip(address.0).zip(ALIAS_OFFSET.0).rev();
    for ((to, byte), offset) in bytes {
        let (sum, over) = byte.overflowing_add(offset);
        let (sum, again) = sum.overflowing_add(u8::from(carry));
        *to = sum;
        carry = over || again;
    }
    H160(alias)
}

pub(crate) fn address(of: H160) -> Address {
    Address::from(of.0)
}

pub(crate) fn h160(of: Address) -> H160 {
    H160(of.into_array())
}

pub(crate) fn b256(of: H256) -> B256 {
    B256::from(of.0)
}

pub(crate) fn word(of: U256) -> Word {
    Word::from_limbs(of.0)
}

pub(crate) fn u256(of: Word) -> U256 {
    U256(of.into_limbs())
}

/// The state of the bridge at a block.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo, Serialize, Deserialize)]
pub struct SettlementView {
    /// The contracts that the chain is joined to; `None` as long as it is joined to none.
    pub config: Option<L1Config>,
    /// See [`domain`].
    pub domain: H256,
    /// The Ethereum block up to which deposits are known.
    pub origin: Option<L1Origin>,
    /// Deposits known so far.
    pub known: u64,
    /// The rolling hash over them.
    pub deposits_hash: H256,
    /// Deposits that have been executed, successfully or not. Deposit `executed` is the next one.
    pub executed: u64,
    /// Withdrawals made so far.
    pub withdrawals: u32,
    /// The root over them.
    pub withdrawal_root: H256,
    /// The last block for which the bridge stands still, if it does.
    pub paused_until: Option<BlockNumber>,
}

/// A deposit that could not be executed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo, Serialize, Deserialize)]
pub struct FailedDepositView {
    /// Its position among all deposits.
    pub index: u64,
    /// Who gets it back on Ethereum.
    pub from: H160,
    /// What can be sent back, in units.
    #[serde(with = "crate::money::as_string")]
    pub amount: Balance,
    /// Why it failed.
    pub reason: FailureReason,
    /// The reason in words.
    pub text: Text,
}
