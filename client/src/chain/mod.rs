//! The chain: connecting, reading, submitting.

mod accounts;
mod error;
mod events;
mod finality;
mod payload;
mod reads;
mod submit;

pub use accounts::Balances;
pub use error::ChainError;
pub use events::{Event, Included};
pub use finality::{Justifications, LeafProof};
pub use payload::CallData;
pub use reads::{Attribution, Compute, Datanets, Marketplace, Settlement, Stakes, Token};
pub use submit::Wait;

use crate::calls::Call;
use codec::{Decode, Encode};
use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};
use subxt::{
    backend::LegacyBackend,
    client::{ClientAtBlock, OnlineClientAtBlockImpl},
    config::RpcConfigFor,
    rpcs::{
        client::reconnecting_rpc_client::{ExponentialBackoff, RpcClient as Reconnecting},
        methods::legacy::NumberOrHex,
        LegacyRpcMethods, RpcClient,
    },
    utils::H256 as SubxtHash,
    OnlineClient, SubstrateConfig,
};
use tokio::sync::Mutex;
use tributary_primitives::{AccountId, H256};

pub(crate) type Config = SubstrateConfig;
pub(crate) type AtBlock = ClientAtBlock<Config, OnlineClientAtBlockImpl<Config>>;

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the head of the chain is asked for while waiting for it.
const POLL: Duration = Duration::from_millis(400);

/// How often and how patiently to try to connect.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Attempts, at least one.
    pub attempts: u32,
    /// Pause after the first failure; doubled after each further one.
    pub first: Duration,
    /// Longest pause.
    pub max: Duration,
}

impl Default for Retry {
    /// About ten seconds in all.
    fn default() -> Self {
        Self { attempts: 7, first: Duration::from_millis(250), max: Duration::from_secs(3) }
    }
}

/// A block, by hash and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct BlockId {
    /// Its hash.
    pub hash: H256,
    /// Its number.
    pub number: u32,
}

pub(crate) struct Inner {
    pub(crate) url: String,
    pub(crate) rpc: RpcClient,
    pub(crate) legacy: LegacyRpcMethods<RpcConfigFor<Config>>,
    pub(crate) client: OnlineClient<Config>,
    /// One lock for each account: a nonce is asked for and used by one transaction at a time.
    pub(crate) signing: Mutex<HashMap<AccountId, Arc<Mutex<()>>>>,
}

/// A connection to a node. Cheap to clone. It reconnects by itself when it is lost.
#[derive(Clone)]
pub struct Chain {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("url", &self.inner.url).finish_non_exhaustive()
    }
}

impl Chain {
    /// Connects to a node (`ws://…` or `wss://…`), trying again for about ten seconds.
    pub async fn connect(url: &str) -> Result<Self, ChainError> {
        Self::connect_with(url, Retry::default()).await
    }

    /// Connects to a node with one's own patience.
    pub async fn connect_with(url: &str, retry: Retry) -> Result<Self, ChainError> {
        let bad = |reason: String| ChainError::BadUrl { url: url.into(), reason };
        let parsed = url::Url::parse(url).map_err(|error| bad(error.to_string()))?;
        if !matches!(parsed.scheme(), "ws" | "wss") {
            return Err(bad(format!("the scheme is `{}`", parsed.scheme())));
        }
        let mut pause = retry.first;
        let mut attempt = 1;
        loop {
            match Self::connect_once(url).await {
                Ok(chain) => return Ok(chain),
                Err(reason) if attempt >= retry.attempts => {
                    return Err(ChainError::Unreachable { url: url.into(), reason });
                }
                Err(reason) => {
                    tracing::debug!(url, attempt, reason, "no node answers, trying again");
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2).min(retry.max);
                    attempt += 1;
                }
            }
        }
    }

    async fn connect_once(url: &str) -> Result<Self, String> {
        // No retries for the first connection, which has its own loop; after a loss the client
        // goes on trying for ever, and requests wait for it up to their time-out.
        let probe = std::iter::empty::<Duration>();
        Reconnecting::builder()
            .retry_policy(probe)
            .connection_timeout(Duration::from_secs(5))
            .build(url)
            .await
            .map_err(|error| error.to_string())?;
        let policy = ExponentialBackoff::from_millis(100).max_delay(Duration::from_secs(5));
        let connection = Reconnecting::builder()
            .retry_policy(policy)
            .request_timeout(REQUEST_TIMEOUT)
            .max_response_size(128 * 1024 * 1024)
            .build(url)
            .await
            .map_err(|error| error.to_string())?;
        let rpc = RpcClient::new(connection);
        let backend = LegacyBackend::<Config>::builder().build(rpc.clone());
        let client = OnlineClient::from_backend(Arc::new(backend))
            .await
            .map_err(|error| error.to_string())?;
        let inner = Inner {
            url: url.into(),
            legacy: LegacyRpcMethods::new(rpc.clone()),
            rpc,
            client,
            signing: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The node's address.
    pub fn url(&self) -> &str {
        &self.inner.url
    }

    /// Hash of the chain's first block, which names the chain.
    pub fn genesis(&self) -> H256 {
        H256(self.inner.client.genesis_hash().0)
    }

    /// Repeats a request that failed because the connection was lost, for as long as a request may
    /// take.
    pub(crate) async fn retrying<T, F, Fut>(&self, request: F) -> Result<T, ChainError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        let attempts = async {
            loop {
                match request().await {
                    Ok(value) => return Ok(value),
                    Err(Failure::Lost) => tokio::time::sleep(POLL).await,
                    Err(Failure::Gone(reason)) => {
                        return Err(ChainError::Unreachable {
                            url: self.inner.url.clone(),
                            reason,
                        });
                    }
                    Err(Failure::Other(error)) => return Err(error),
                }
            }
        };
        tokio::time::timeout(REQUEST_TIMEOUT, attempts).await.unwrap_or_else(|_| {
            Err(ChainError::Unreachable {
                url: self.inner.url.clone(),
                reason: "the connection was lost and did not come back".into(),
            })
        })
    }

    /// The best block.
    pub async fn best(&self) -> Result<BlockId, ChainError> {
        let hash = self
            .retrying(|| async { Ok(self.inner.legacy.chain_get_block_hash(None).await?) })
            .await?
            .ok_or_else(|| ChainError::NoSuchBlock("best".into()))?;
        let hash = H256(hash.0);
        Ok(BlockId { hash, number: self.number_of(hash).await? })
    }

    /// The last final block.
    pub async fn finalized(&self) -> Result<BlockId, ChainError> {
        let hash = self
            .retrying(|| async { Ok(self.inner.legacy.chain_get_finalized_head().await?) })
            .await?;
        let hash = H256(hash.0);
        Ok(BlockId { hash, number: self.number_of(hash).await? })
    }

    /// Hash of the block of this number on the best chain.
    pub async fn block_hash(&self, number: u32) -> Result<H256, ChainError> {
        let at = NumberOrHex::Number(u64::from(number));
        self.retrying(|| async { Ok(self.inner.legacy.chain_get_block_hash(Some(at)).await?) })
            .await?
            .map(|hash| H256(hash.0))
            .ok_or_else(|| ChainError::NoSuchBlock(number.to_string()))
    }

    pub(crate) async fn number_of(&self, block: H256) -> Result<u32, ChainError> {
        let hash = SubxtHash(block.0);
        let header = self
            .retrying(|| async { Ok(self.inner.legacy.chain_get_header(Some(hash)).await?) })
            .await?
            .ok_or_else(|| ChainError::NoSuchBlock(format!("{block:?}")))?;
        u32::try_from(header.number).map_err(|_| ChainError::Decode {
            what: "a block's number".into(),
            reason: "it is above 2^32".into(),
        })
    }

    /// The transactions of a block, encoded.
    pub async fn block_body(&self, block: H256) -> Result<Vec<Vec<u8>>, ChainError> {
        let hash = SubxtHash(block.0);
        let details = self
            .retrying(|| async { Ok(self.inner.legacy.chain_get_block(Some(hash)).await?) })
            .await?
            .ok_or_else(|| ChainError::NoSuchBlock(format!("{block:?}")))?;
        Ok(details.block.extrinsics.into_iter().map(|bytes| bytes.0).collect())
    }

    /// Waits for a best block above `after` and returns it.
    pub async fn next_block(&self, after: u32) -> Result<BlockId, ChainError> {
        loop {
            let best = self.best().await?;
            if best.number > after {
                return Ok(best);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the best block is at least `number`, and returns it.
    pub async fn wait_for_block(&self, number: u32) -> Result<BlockId, ChainError> {
        match number.checked_sub(1) {
            Some(before) => self.next_block(before).await,
            None => self.best().await,
        }
    }

    /// Calls a runtime API at the best block. `args` are encoded one after the other: give a
    /// tuple.
    pub async fn runtime_api<A: Encode, R: Decode>(
        &self,
        function: &str,
        args: &A,
    ) -> Result<R, ChainError> {
        self.runtime_api_at(function, args, None).await
    }

    /// Calls a runtime API at a block; at the best one if none is named.
    pub async fn runtime_api_at<A: Encode, R: Decode>(
        &self,
        function: &str,
        args: &A,
        block: Option<H256>,
    ) -> Result<R, ChainError> {
        let args = args.encode();
        let at = block.map(|hash| SubxtHash(hash.0));
        let answer = self
            .retrying(|| async {
                Ok(self.inner.legacy.state_call(function, Some(&args), at).await?)
            })
            .await;
        let bytes = answer.map_err(|error| match error {
            ChainError::Rpc(reason) if reason.contains("is not found") => {
                ChainError::NoSuchApi { function: function.into(), reason: "unknown".into() }
            }
            other => other,
        })?;
        R::decode(&mut bytes.as_slice()).map_err(|error| ChainError::Decode {
            what: format!("the answer of {function}"),
            reason: error.to_string(),
        })
    }

    /// Encodes a call for this chain: pallet index, call index, arguments. The arguments are
    /// checked against the chain's metadata.
    pub async fn call_data<C: Call>(&self, call: &C) -> Result<CallData, ChainError> {
        let best = self.best().await?;
        CallData::new(call, self.at(best.hash).await?.metadata_ref())
    }

    /// Takes call data that somebody else encoded, and checks that it is a call of this chain.
    pub async fn call_from_bytes(&self, bytes: Vec<u8>) -> Result<CallData, ChainError> {
        let best = self.best().await?;
        CallData::from_bytes(bytes, self.at(best.hash).await?.metadata_ref())
    }
}

/// How a single request ended when it did not succeed.
pub(crate) enum Failure {
    /// The connection was lost; it is being made anew.
    Lost,
    /// The connection is gone for good.
    Gone(String),
    /// Trying again does not help.
    Other(ChainError),
}

impl From<subxt::rpcs::Error> for Failure {
    fn from(error: subxt::rpcs::Error) -> Self {
        match error {
            lost if error::is_transient(&lost) => Self::Lost,
            subxt::rpcs::Error::User(user) => Self::Other(ChainError::Rpc(user.to_string())),
            subxt::rpcs::Error::Client(reason) => Self::Gone(reason.to_string()),
            other => Self::Other(ChainError::Rpc(other.to_string())),
        }
    }
}

pub(crate) fn at_block_error(error: subxt::error::OnlineClientAtBlockError) -> Failure {
    let text = error.to_string();
    if subxt::Error::from(error).is_disconnected_will_reconnect() {
        Failure::Lost
    } else {
        Failure::Other(ChainError::Rpc(text))
    }
}
