//! The calls that bridges and messengers send each other, in Ethereum's encoding.

use super::{address, h160, u256, word};
use alloc::vec::Vec;
use alloy_sol_types::SolCall;
use polkadot_sdk::sp_core::{H160, U256};

mod sol {
    alloy_sol_types::sol! {
        function finalizeBridgeERC20(
            address localToken,
            address remoteToken,
            address from,
            address to,
            uint256 amount,
            bytes extraData
        );
        function relayMessage(
            uint256 nonce,
            address sender,
            address target,
            uint256 value,
            uint256 minGasLimit,
            bytes message
        );
        function transfer(bytes32 to, uint256 amount);
    }
}

/// `finalizeBridgeERC20(localToken, remoteToken, from, to, amount, extraData)`: the other side has
/// taken tokens in, and this one is to hand them out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalizeBridge {
    /// The token where the call is made.
    pub local_token: H160,
    /// The token where it came from.
    pub remote_token: H160,
    /// Who sent it.
    pub from: H160,
    /// Who gets it.
    pub to: H160,
    /// Units.
    pub amount: U256,
    /// Towards this chain: empty, or the 32 bytes of the recipient's account. Towards Ethereum: the
    /// 32 bytes of the sender's account.
    pub extra_data: Vec<u8>,
}

impl FinalizeBridge {
    /// Selector and arguments.
    pub fn encode(&self) -> Vec<u8> {
        sol::finalizeBridgeERC20Call {
            localToken: address(self.local_token),
            remoteToken: address(self.remote_token),
            from: address(self.from),
            to: address(self.to),
            amount: word(self.amount),
            extraData: self.extra_data.clone().into(),
        }
        .abi_encode()
    }

    /// Reads a call; `None` unless the bytes are exactly what [`Self::encode`] gives.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let call = sol::finalizeBridgeERC20Call::abi_decode_validate(bytes).ok()?;
        let call = Self {
            local_token: h160(call.localToken),
            remote_token: h160(call.remoteToken),
            from: h160(call.from),
            to: h160(call.to),
            amount: u256(call.amount),
            extra_data: call.extraData.to_vec(),
        };
        (call.encode() == bytes).then_some(call)
    }
}

/// `relayMessage(nonce, sender, target, value, minGasLimit, message)`: one messenger asks the other
/// to call somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayMessage {
    /// The messenger's own counter.
    pub nonce: U256,
    /// Who sent the message.
    pub sender: H160,
    /// Who gets it.
    pub target: H160,
    /// Wei; none here.
    pub value: U256,
    /// Gas that the target must get.
    pub min_gas_limit: U256,
    /// The message.
    pub message: Vec<u8>,
}

impl RelayMessage {
    /// Selector and arguments.
    pub fn encode(&self) -> Vec<u8> {
        sol::relayMessageCall {
            nonce: word(self.nonce),
            sender: address(self.sender),
            target: address(self.target),
            value: word(self.value),
            minGasLimit: word(self.min_gas_limit),
            message: self.message.clone().into(),
        }
        .abi_encode()
    }

    /// Reads a call; `None` unless the bytes are exactly what [`Self::encode`] gives.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let call = sol::relayMessageCall::abi_decode_validate(bytes).ok()?;
        let call = Self {
            nonce: u256(call.nonce),
            sender: h160(call.sender),
            target: h160(call.target),
            value: u256(call.value),
            min_gas_limit: u256(call.minGasLimit),
            message: call.message.to_vec(),
        };
        (call.encode() == bytes).then_some(call)
    }
}

/// `transfer(bytes32 to, uint256 amount)`: what the teller is asked by an address of Ethereum that
/// has OPEN here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The account that gets it.
    pub to: [u8; 32],
    /// Units.
    pub amount: U256,
}

impl Transfer {
    /// Selector and arguments.
    pub fn encode(&self) -> Vec<u8> {
        sol::transferCall { to: self.to.into(), amount: word(self.amount) }.abi_encode()
    }

    /// Reads a call; `None` unless the bytes are exactly what [`Self::encode`] gives.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let call = sol::transferCall::abi_decode_validate(bytes).ok()?;
        let call = Self { to: call.to.0, amount: u256(call.amount) };
        (call.encode() == bytes).then_some(call)
    }
}
