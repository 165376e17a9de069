//! What can go wrong between here and Ethereum.

use super::{revert::Revert, transport::TransportError, Address, Client, B256, U256};
use ethers::{
    contract::ContractError,
    providers::{ProviderError, RpcError},
};
use std::path::PathBuf;

/// What can go wrong between here and Ethereum.
#[derive(Debug, thiserror::Error)]
pub enum L1Error {
    /// The connection.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A node's answer that makes no sense.
    #[error("the Ethereum node's answer cannot be used: {0}")]
    Answer(String),
    /// A contract refused.
    #[error("the contract refused: {0}")]
    Reverted(Revert),
    /// There is no contract where one should be.
    #[error("{name} is not at {address:?} on chain {chain}; check --addresses and --l1-rpc")]
    NoContract {
        /// Which contract.
        name: String,
        /// Where it should be.
        address: Address,
        /// The chain's id.
        chain: u64,
    },
    /// The node is of another chain than the addresses.
    #[error("the Ethereum node is of chain {found}, the addresses are of chain {expected}")]
    WrongChain {
        /// The addresses' chain.
        expected: u64,
        /// The node's chain.
        found: u64,
    },
    /// Gas costs more than this relayer may pay.
    #[error(
        "gas costs {needed} wei, above the limit of {limit}; waiting, or raise --max-fee-gwei"
    )]
    FeeAboveLimit {
        /// What it costs now.
        needed: U256,
        /// What may be paid.
        limit: U256,
    },
    /// The account cannot pay.
    #[error("{account:?} has {balance} wei and needs {needed}; send ether to it")]
    Poor {
        /// The account.
        account: Address,
        /// What it has.
        balance: U256,
        /// What it needs.
        needed: U256,
    },
    /// The key file.
    #[error("the key file {} cannot be used: {reason}", path.display())]
    Keystore {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No password for the key file.
    #[error(
        "the key file {} needs a password: name a file with --l1-password-file, or set \
         TRIBUTARY_L1_PASSWORD",
        path.display()
    )]
    PasswordNeeded {
        /// The file.
        path: PathBuf,
    },
    /// Something that should be a key is none.
    #[error("not a secp256k1 key: {0}")]
    BadKey(String),
    /// Signing failed.
    #[error("cannot sign: {0}")]
    Signing(String),
    /// A transaction failed again and again.
    #[error("`{purpose}` failed {tries} times, the last time with: {reason}")]
    GaveUp {
        /// What it was for.
        purpose: String,
        /// How often it was tried.
        tries: u32,
        /// Why it failed.
        reason: String,
    },
    /// A transaction was not mined in the time that the caller gave.
    #[error("transaction {hash:?} of `{purpose}` is not in a block after {seconds} s")]
    NotMined {
        /// What it is for.
        purpose: String,
        /// Its hash.
        hash: B256,
        /// How long was waited.
        seconds: u64,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] crate::journal::JournalError),
}

impl L1Error {
    /// Why a contract refused, if that is what happened.
    pub fn revert(&self) -> Option<&Revert> {
        match self {
            Self::Reverted(revert) => Some(revert),
            _ => None,
        }
    }

    /// A short name for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Transport(TransportError::Unreachable { .. }) => "l1_unreachable",
            Self::Transport(_) | Self::Answer(_) => "l1_rpc",
            Self::Reverted(_) => "l1_reverted",
            Self::NoContract { .. } | Self::WrongChain { .. } => "l1_wrong_chain",
            Self::FeeAboveLimit { .. } => "l1_fee_above_limit",
            Self::Poor { .. } => "l1_poor",
            Self::Keystore { .. } | Self::PasswordNeeded { .. } | Self::BadKey(_) => "l1_key",
            Self::Signing(_) => "l1_signing",
            Self::GaveUp { .. } => "l1_gave_up",
            Self::NotMined { .. } => "l1_not_mined",
            Self::Journal(_) => "journal",
        }
    }

    /// The node's own words, where it refused a request.
    pub(crate) fn message(&self) -> Option<String> {
        match self {
            Self::Transport(TransportError::Refused(error)) => {
                Some(error.message.to_ascii_lowercase())
            }
            _ => None,
        }
    }
}

impl From<ProviderError> for L1Error {
    fn from(error: ProviderError) -> Self {
        // What a contract answers to a refused call comes as an error of the request.
        if let Some(response) = error.as_error_response() {
            if let Some(data) = response.as_revert_data() {
                return Self::Reverted(Revert::read(&data, Some(&response.message)));
            }
            return Self::Transport(TransportError::Refused(response.clone()));
        }
        match error {
            ProviderError::JsonRpcClientError(inner) => {
                Self::Transport(TransportError::Unreachable {
                    url: "the configured address".into(),
                    reason: inner.to_string(),
                })
            }
            other => Self::Answer(other.to_string()),
        }
    }
}

impl From<ContractError<Client>> for L1Error {
    fn from(error: ContractError<Client>) -> Self {
        match error {
            ContractError::Revert(data) => Self::Reverted(Revert::read(&data, None)),
            ContractError::ProviderError { e } | ContractError::MiddlewareError { e } => e.into(),
            other => Self::Answer(other.to_string()),
        }
    }
}
