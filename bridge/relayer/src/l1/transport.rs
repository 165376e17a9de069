//! JSON-RPC to an Ethereum node over `http`, `https`, `ws` or `wss`.
//!
//! `ethers` brings transports of its own, with a TLS of their time; this one carries its requests
//! over the same client as everything else here.

use async_trait::async_trait;
use ethers::providers::{JsonRpcClient, JsonRpcError, ProviderError, RpcError};
use jsonrpsee::{
    core::{
        client::{ClientT, Error as ClientError},
        traits::ToRpcParams,
    },
    http_client::{HttpClient, HttpClientBuilder},
    ws_client::{WsClient, WsClientBuilder},
};
use serde::{de::DeserializeOwned, Serialize};
use serde_json::value::RawValue;
use std::{fmt::Debug, sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer, in bytes: logs of a few thousand blocks.
const MAX_ANSWER: u32 = 64 * 1024 * 1024;

/// A connection to an Ethereum node. Clones share it.
#[derive(Clone, Debug)]
pub struct Transport {
    url: Arc<str>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Http(Box<HttpClient>),
    /// Connected at the first request, and again after it was lost.
    Ws(Arc<Mutex<Option<Arc<WsClient>>>>),
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The address is of no use.
    #[error("{url} is not an Ethereum node's address: {reason}; write it like https://host:8545")]
    BadUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The node answered with an error.
    #[error("the Ethereum node refused the request: {}", .0.message)]
    Refused(JsonRpcError),
    /// Nobody answers.
    #[error("no Ethereum node answers at {url}: {reason}")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// The last failure.
        reason: String,
    },
    /// The answer has another form than was asked for.
    #[error("the Ethereum node's answer to {method} cannot be read: {source}")]
    Answer {
        /// What was asked.
        method: String,
        /// Where it went wrong.
        #[source]
        source: serde_json::Error,
    },
}

impl RpcError for TransportError {
    fn as_error_response(&self) -> Option<&JsonRpcError> {
        match self {
            Self::Refused(error) => Some(error),
            _ => None,
        }
    }

    fn as_serde_error(&self) -> Option<&serde_json::Error> {
        match self {
            Self::Answer { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<TransportError> for ProviderError {
    fn from(error: TransportError) -> Self {
        Self::JsonRpcClientError(Box::new(error))
    }
}

/// Parameters that are JSON already.
struct Params(Option<Box<RawValue>>);

impl ToRpcParams for Params {
    fn to_rpc_params(self) -> Result<Option<Box<RawValue>>, serde_json::Error> {
        Ok(self.0)
    }
}

impl Transport {
    /// A transport to this address. Nothing is sent yet.
    pub fn new(url: &str) -> Result<Self, TransportError> {
        let bad = |reason: String| TransportError::BadUrl { url: url.into(), reason };
        let kind = match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("http" | "https") => {
                let client = HttpClientBuilder::default()
                    .request_timeout(REQUEST_TIMEOUT)
                    .max_response_size(MAX_ANSWER)
                    .build(url)
                    .map_err(|error| bad(error.to_string()))?;
                Kind::Http(Box::new(client))
            }
            Some("ws" | "wss") => Kind::Ws(Arc::default()),
            Some(other) => return Err(bad(format!("the scheme is `{other}`"))),
            None => return Err(bad("it has no scheme".into())),
        };
        Ok(Self { url: url.into(), kind })
    }

    /// The node's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    async fn once(&self, method: &str, params: Params) -> Result<Box<RawValue>, ClientError> {
        match &self.kind {
            Kind::Http(client) => client.request(method, params).await,
            Kind::Ws(slot) => {
                let client = {
                    let mut slot = slot.lock().await;
                    match slot.as_ref().filter(|client| client.is_connected()) {
                        Some(client) => client.clone(),
                        None => {
                            let client = WsClientBuilder::default()
                                .request_timeout(REQUEST_TIMEOUT)
                                .connection_timeout(REQUEST_TIMEOUT)
                                .max_response_size(MAX_ANSWER)
                                .build(&*self.url)
                                .await?;
                            slot.insert(Arc::new(client)).clone()
                        }
                    }
                };
                client.request(method, params).await
            }
        }
    }
}

#[async_trait]
impl JsonRpcClient for Transport {
    type Error = TransportError;

    async fn request<T, R>(&self, method: &str, params: T) -> Result<R, TransportError>
    where
        T: Debug + Serialize + Send + Sync,
        R: DeserializeOwned + Send,
    {
        let unreadable = |source| TransportError::Answer { method: method.to_string(), source };
        let json = serde_json::value::to_raw_value(&params).map_err(unreadable)?;
        // A request without parameters is `()`, which is `null`.
        let params = Params((json.get() != "null").then_some(json));
        let answer = self.once(method, params).await.map_err(|error| match error {
            ClientError::Call(refused) => {
                let data = refused.data().and_then(|data| serde_json::from_str(data.get()).ok());
                TransportError::Refused(JsonRpcError {
                    code: i64::from(refused.code()),
                    message: refused.message().into(),
                    data,
                })
            }
            ClientError::ParseError(source) => unreadable(source),
            other => {
                TransportError::Unreachable { url: self.url.to_string(), reason: other.to_string() }
            }
        })?;
        serde_json::from_str(answer.get()).map_err(unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_other_kinds_are_refused() {
        for bad in ["", "127.0.0.1:8545", "ipc:///tmp/geth.ipc", "file:///etc"] {
            assert!(matches!(Transport::new(bad), Err(TransportError::BadUrl { .. })), "{bad}");
        }
        for good in ["http://127.0.0.1:1", "https://host", "ws://127.0.0.1:1", "wss://host/key"] {
            assert_eq!(Transport::new(good).unwrap().url(), good);
        }
    }

    #[tokio::test]
    async fn nobody_there_is_said_so() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for scheme in ["http", "ws"] {
            let transport = Transport::new(&format!("{scheme}://127.0.0.1:{port}")).unwrap();
            let answer: Result<String, _> = transport.request("eth_chainId", ()).await;
            assert!(matches!(answer, Err(TransportError::Unreachable { .. })), "{answer:?}");
        }
    }
}
