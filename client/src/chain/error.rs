//! What can go wrong between here and the chain.

use crate::ErrorKind;
use subxt::rpcs;
use tributary_primitives::H256;

/// What can go wrong between here and the chain.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The node's address is not a web socket URL.
    #[error("{url} is not a node's address: {reason}; write it like ws://127.0.0.1:9944")]
    BadUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No node answers.
    #[error(
        "no node answers at {url} ({reason}); start one with `tributary-node --dev`, \
         or name another with --node or TRIBUTARY_NODE"
    )]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// The last failure.
        reason: String,
    },
    /// The node answered with an error.
    #[error("the node refused the request: {0}")]
    Rpc(String),
    /// The chain has no such call.
    #[error(
        "the chain has no call {pallet}::{call}; node and client are of different versions, \
         update the older one"
    )]
    NoSuchCall {
        /// The pallet.
        pallet: String,
        /// The call.
        call: String,
    },
    /// The chain has no such runtime API.
    #[error(
        "the chain has no runtime API {function} ({reason}); node and client are of different \
         versions, update the older one"
    )]
    NoSuchApi {
        /// Its name.
        function: String,
        /// What the node said.
        reason: String,
    },
    /// The chain has no such storage entry or constant.
    #[error(
        "the chain has nothing called {pallet}::{item}; node and client are of different versions"
    )]
    NoSuchItem {
        /// The pallet.
        pallet: String,
        /// The entry or constant.
        item: String,
    },
    /// The chain's call takes other arguments than this client gives.
    #[error(
        "{call} takes other arguments on this chain than this client knows ({reason}); \
         update the older of the two"
    )]
    Args {
        /// The call.
        call: String,
        /// What does not fit.
        reason: String,
    },
    /// A call was carried out and failed in a pallet.
    #[error("{pallet}::{error}: {docs}")]
    Module {
        /// The pallet.
        pallet: String,
        /// The error's name.
        error: String,
        /// What the pallet says about it.
        docs: String,
    },
    /// A call was carried out and failed outside a pallet.
    #[error("the chain refused the call: {0}")]
    Dispatch(String),
    /// The transaction did not get into the pool, or was thrown out of it.
    #[error("the transaction was not accepted: {reason}{}", advice(reason, *custom))]
    Rejected {
        /// What the node said.
        reason: String,
        /// The pallet's own code, for a call that a pallet authorises.
        custom: Option<u8>,
    },
    /// Something took too long.
    #[error("{what} did not happen within {seconds} s; {advice}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        seconds: u64,
        /// What to do next.
        advice: String,
    },
    /// Bytes from the node have another form than this client knows.
    #[error("cannot read {what}: {reason}; node and client are of different versions")]
    Decode {
        /// What was read.
        what: String,
        /// Where it went wrong.
        reason: String,
    },
    /// A block that was looked for is not there.
    #[error("the node does not have block {0}")]
    NoSuchBlock(String),
    /// A transaction succeeded without the event that it should have.
    #[error("transaction {tx:?} has no event {pallet}::{event}; node and client are of different versions")]
    EventMissing {
        /// The transaction.
        tx: H256,
        /// The pallet.
        pallet: String,
        /// The event.
        event: String,
    },
}

fn advice(reason: &str, custom: Option<u8>) -> &'static str {
    let has = |text: &str| reason.to_ascii_lowercase().contains(text);
    if custom.is_some() || has("bad signer") || has("unauthorized") {
        "; the chain does not authorise it as it stands: check the signature, the block until \
         which it is valid, and the datanet's pot"
    } else if has("pay some fees") || has("payment") {
        "; the account cannot pay the fee: transfer some OPEN to it first"
    } else if has("outdated") || has("stale") || has("priority is too low") {
        "; another transaction of the same account came first: try again"
    } else if has("already imported") {
        "; the same transaction is already waiting"
    } else {
        ""
    }
}

impl ChainError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BadUrl { .. } => ErrorKind::Usage,
            Self::Unreachable { .. } | Self::Timeout { .. } => ErrorKind::Unreachable,
            Self::Module { .. } | Self::Dispatch(_) | Self::Rejected { .. } | Self::Rpc(_) => {
                ErrorKind::Refused
            }
            Self::NoSuchBlock(_) => ErrorKind::NotFound,
            Self::NoSuchCall { .. }
            | Self::NoSuchApi { .. }
            | Self::NoSuchItem { .. }
            | Self::Args { .. }
            | Self::Decode { .. }
            | Self::EventMissing { .. } => ErrorKind::Failed,
        }
    }

    /// Whether it is this error of this pallet.
    pub fn is_module(&self, in_pallet: &str, named: &str) -> bool {
        matches!(self, Self::Module { pallet, error, .. } if pallet == in_pallet && error == named)
    }

    /// Whether the same transaction, signed anew with a fresh nonce, may pass.
    pub(crate) fn is_nonce_conflict(&self) -> bool {
        let Self::Rejected { reason, .. } = self else { return false };
        let reason = reason.to_ascii_lowercase();
        ["outdated", "stale", "priority is too low"].iter().any(|text| reason.contains(text))
    }
}

/// Whether an error of the connection goes away by itself.
pub(crate) fn is_transient(error: &rpcs::Error) -> bool {
    matches!(error, rpcs::Error::DisconnectedWillReconnect(_))
}

/// Reads what the node says about a transaction that it does not take.
pub(crate) fn rejection(error: &rpcs::UserError) -> ChainError {
    let data = error.data.as_ref().map(|data| data.get().trim_matches('"').to_string());
    let reason = match &data {
        Some(data) if !data.is_empty() => format!("{}: {data}", error.message),
        _ => error.message.clone(),
    };
    let custom =
        data.as_deref().and_then(|data| data.split("Custom error: ").nth(1)).and_then(|code| {
            code.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
        });
    ChainError::Rejected { reason, custom }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node_says(message: &str, data: &str) -> ChainError {
        let json = format!(r#"{{"code":1010,"message":"{message}","data":"{data}"}}"#);
        rejection(&serde_json::from_str(&json).unwrap())
    }

    #[test]
    fn what_the_pool_says_is_read() {
        let custom = node_says("Invalid Transaction", "Custom error: 17");
        assert!(matches!(&custom, ChainError::Rejected { custom: Some(17), .. }), "{custom}");
        let poor = node_says(
            "Invalid Transaction",
            "Inability to pay some fees (e.g. account balance too low)",
        );
        assert!(matches!(&poor, ChainError::Rejected { custom: None, .. }));
        assert!(poor.to_string().ends_with("transfer some OPEN to it first"), "{poor}");
        assert!(!poor.is_nonce_conflict());
        for conflict in [
            node_says("Invalid Transaction", "Transaction is outdated"),
            node_says("Priority is too low: (100 vs 100)", "The transaction has too low priority"),
        ] {
            assert!(conflict.is_nonce_conflict(), "{conflict}");
            assert_eq!(conflict.kind(), ErrorKind::Refused);
        }
    }

    #[tokio::test]
    async fn addresses_that_are_no_nodes_are_told_from_nodes_that_are_away() {
        use crate::chain::{Chain, Retry};
        use std::time::Duration;
        let retry =
            Retry { attempts: 2, first: Duration::from_millis(1), max: Duration::from_millis(1) };
        for bad in ["", "127.0.0.1:9944", "http://127.0.0.1:9944"] {
            let error = Chain::connect_with(bad, retry).await.unwrap_err();
            assert!(matches!(error, ChainError::BadUrl { .. }), "{bad}: {error}");
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("ws://127.0.0.1:{port}");
        let error = Chain::connect_with(&url, retry).await.unwrap_err();
        assert!(matches!(&error, ChainError::Unreachable { url: u, .. } if *u == url), "{error}");
        assert_eq!(error.kind(), ErrorKind::Unreachable);
    }
}
