//! Ethereum, as the rest of the relayer sees it. This is the only module that knows `ethers`.
//!
//! - [`Transport`]: JSON-RPC over the client that everything else here uses.
//! - [`L1`]: reads, simulations, and raw transactions.
//! - [`Contracts`]: the bridge's contracts with typed reads, and their calls as [`Call`]s.
//! - [`Sender`]: gets a [`Call`] mined: nonce, fees, journal, replacement.

mod abi;
mod contracts;
mod error;
mod fees;
mod keys;
mod revert;
mod sender;
#[cfg(test)]
mod tests;
mod transport;
mod views;
mod wiring;

pub use abi::anchor::Commitment;
pub use contracts::Contracts;
pub use error::L1Error;
pub use ethers::{
    abi::{encode as abi_encode, Token},
    types::{Address, Bytes, H256 as B256, U256},
    utils::{format_ether, keccak256, parse_ether},
};
pub use fees::{FeePolicy, Fees};
pub use keys::{address_of, KeySource, L1Key, PASSWORD_VARIABLE};
pub use revert::Revert;
pub use sender::{Mined, Outcome, Sender};
pub use transport::{Transport, TransportError};
pub use views::{
    AnchorState, Anchored, Authorities, Game, GameStatus, OutputProof, ProvenWithdrawal,
    SubmittedCommitment,
};
pub use wiring::{Settings, Wiring};

use ethers::{
    providers::{Middleware, Provider},
    types::{
        transaction::eip2718::TypedTransaction, BlockId, BlockNumber, Eip1559TransactionRequest,
        TransactionReceipt,
    },
};
use std::sync::Arc;

/// What `ethers` sends its requests through.
pub type Client = Provider<Transport>;

/// A call of a contract, or a creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The contract; `None` creates one.
    pub to: Option<Address>,
    /// Selector and arguments, or creation code.
    pub data: Vec<u8>,
    /// Ether that goes with it, in wei.
    pub value: U256,
}

/// Which block to read at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The newest.
    Latest,
    /// The newest that cannot be undone.
    Finalized,
    /// This one.
    Number(u64),
}

impl From<At> for BlockNumber {
    fn from(at: At) -> Self {
        match at {
            At::Latest => Self::Latest,
            At::Finalized => Self::Finalized,
            At::Number(number) => Self::Number(number.into()),
        }
    }
}

/// A block's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Its time, in seconds since 1970.
    pub time: u64,
    /// Its base fee, in wei for a unit of gas.
    pub base_fee: U256,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its hash.
    pub hash: B256,
    /// Its block.
    pub block: u64,
    /// Whether it did what it should.
    pub success: bool,
    /// Gas that it took.
    pub gas_used: u64,
    /// The contract that it created.
    pub created: Option<Address>,
}

/// A connection to an Ethereum node. Clones share it.
#[derive(Clone, Debug)]
pub struct L1 {
    client: Arc<Client>,
    url: String,
    chain: u64,
}

impl L1 {
    /// Connects, and asks which chain it is.
    pub async fn connect(url: &str) -> Result<Self, L1Error> {
        let client = Provider::new(Transport::new(url)?);
        let chain = client.get_chainid().await.map_err(|error| match L1Error::from(error) {
            // The address is lost on the way through `ethers`.
            L1Error::Transport(TransportError::Unreachable { reason, .. }) => {
                TransportError::Unreachable { url: url.into(), reason }.into()
            }
            other => other,
        })?;
        let chain = u64::try_from(chain)
            .map_err(|_| L1Error::Answer("the chain's id is above 2^64".into()))?;
        Ok(Self { client: Arc::new(client), url: url.into(), chain })
    }

    /// The node's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The chain's id.
    pub fn chain_id(&self) -> u64 {
        self.chain
    }

    pub(crate) fn client(&self) -> Arc<Client> {
        self.client.clone()
    }

    /// A block's head.
    pub async fn head(&self, at: At) -> Result<Head, L1Error> {
        let block = self.client.get_block(BlockNumber::from(at)).await?;
        let missing = || L1Error::Answer(format!("there is no block {at:?}"));
        let block = block.ok_or_else(missing)?;
        Ok(Head {
            number: block.number.ok_or_else(missing)?.as_u64(),
            hash: block.hash.ok_or_else(missing)?,
            time: block.timestamp.low_u64(),
            base_fee: block.base_fee_per_gas.unwrap_or_default(),
        })
    }

    /// What an account has, in wei.
    pub async fn balance(&self, account: Address) -> Result<U256, L1Error> {
        Ok(self.client.get_balance(account, None).await?)
    }

    /// Transactions that an account has sent, up to the newest block.
    pub async fn nonce(&self, account: Address) -> Result<u64, L1Error> {
        let nonce = self.client.get_transaction_count(account, None).await?;
        Ok(nonce.low_u64())
    }

    /// Whether there is a contract.
    pub async fn has_code(&self, at: Address) -> Result<bool, L1Error> {
        Ok(!self.client.get_code(at, None).await?.is_empty())
    }

    /// Checks that there is a contract.
    pub async fn expect_contract(&self, name: &str, address: Address) -> Result<(), L1Error> {
        if self.has_code(address).await? {
            return Ok(());
        }
        Err(L1Error::NoContract { name: name.into(), address, chain: self.chain })
    }

    fn request(&self, call: &Call, from: Address) -> TypedTransaction {
        let mut request =
            Eip1559TransactionRequest::new().from(from).data(call.data.clone()).value(call.value);
        if let Some(to) = call.to {
            request = request.to(to);
        }
        TypedTransaction::Eip1559(request.chain_id(self.chain))
    }

    /// Carries a call out without sending it, and gives what the contract answers.
    pub async fn simulate(&self, call: &Call, from: Address, at: At) -> Result<Vec<u8>, L1Error> {
        let at = BlockId::Number(at.into());
        Ok(self.client.call(&self.request(call, from), Some(at)).await?.to_vec())
    }

    /// Gas that a call would take at the newest block.
    pub async fn estimate(&self, call: &Call, from: Address) -> Result<u64, L1Error> {
        Ok(self.client.estimate_gas(&self.request(call, from), None).await?.low_u64())
    }

    /// What the last blocks' gas cost.
    pub async fn offer(&self, policy: &FeePolicy) -> Result<Fees, L1Error> {
        let history = self
            .client
            .fee_history(fees::HISTORY_BLOCKS, BlockNumber::Latest, &[fees::TIP_PERCENTILE])
            .await?;
        policy.offer(&history)
    }

    /// Sends a signed transaction. One that the node knows already is no error.
    pub async fn send_raw(&self, raw: &[u8]) -> Result<(), L1Error> {
        match self.client.send_raw_transaction(Bytes::from(raw.to_vec())).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = L1Error::from(error);
                match error.message() {
                    Some(text) if text.contains("already") => Ok(()),
                    _ => Err(error),
                }
            }
        }
    }

    /// How a transaction ended; `None` while it is in no block.
    pub async fn receipt(&self, hash: B256) -> Result<Option<Receipt>, L1Error> {
        let found: Option<TransactionReceipt> = self.client.get_transaction_receipt(hash).await?;
        Ok(found.and_then(|receipt| {
            Some(Receipt {
                hash,
                block: receipt.block_number?.as_u64(),
                success: receipt.status.is_some_and(|status| !status.is_zero()),
                gas_used: receipt.gas_used.unwrap_or_default().low_u64(),
                created: receipt.contract_address,
            })
        }))
    }

    /// The data of a transaction, and whom it called.
    pub async fn transaction(
        &self,
        hash: B256,
    ) -> Result<Option<(Option<Address>, Vec<u8>)>, L1Error> {
        let found = self.client.get_transaction(hash).await?;
        Ok(found.map(|transaction| (transaction.to, transaction.input.to_vec())))
    }
}

/// A hash of the chain's, as `ethers` has it.
pub fn to_b256(hash: tributary_primitives::H256) -> B256 {
    B256(hash.0)
}

/// A hash of `ethers`', as the chain has it.
pub fn from_b256(hash: B256) -> tributary_primitives::H256 {
    tributary_primitives::H256(hash.0)
}

/// An address of the chain's, as `ethers` has it.
pub fn to_address(address: polkadot_sdk::sp_core::H160) -> Address {
    Address::from(address.0)
}

/// An address of `ethers`', as the chain has it.
pub fn from_address(address: Address) -> polkadot_sdk::sp_core::H160 {
    polkadot_sdk::sp_core::H160(address.0)
}

/// A number of the chain's, as `ethers` has it.
pub fn to_u256(number: polkadot_sdk::sp_core::U256) -> U256 {
    U256(number.0)
}
