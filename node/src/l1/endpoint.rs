//! One Ethereum endpoint: connecting, asking, and what its answers mean.

use std::{
    sync::{
        atomic::{AtomicU64, Ordering},
        Arc,
    },
    time::Duration,
};

use alloy_primitives::{Address, Bytes, B256, U256, U64};
use jsonrpsee::{
    core::{client::ClientT, ClientError},
    http_client::{HttpClient, HttpClientBuilder},
    rpc_params,
    ws_client::{PingConfig, WsClient, WsClientBuilder},
};
use serde::{de::DeserializeOwned, Deserialize};
use serde_json::{json, value::RawValue, Value};
use tokio::sync::Mutex;
use url::Url;

use super::{header, header::Block, Error, Metrics};

/// How long an endpoint may take for one answer.
const REQUEST_LIMIT: Duration = Duration::from_secs(8);
/// The longest answer that is read: the logs of a range of blocks.
const MAX_ANSWER: u32 = 32 * 1024 * 1024;

/// An event as `eth_getLogs` gives it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    pub address: Address,
    pub topics: Vec<B256>,
    pub data: Bytes,
    pub block_number: U64,
    pub log_index: U64,
    #[serde(default)]
    pub removed: bool,
}

/// The answer of `eth_getProof`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountProof {
    pub account_proof: Vec<Bytes>,
    pub storage_proof: Vec<SlotProof>,
}

/// The part of it about one slot.
#[derive(Debug, Clone, Deserialize)]
pub struct SlotProof {
    pub value: U256,
    pub proof: Vec<Bytes>,
}

#[derive(Clone)]
enum Connection {
    Http(Arc<HttpClient>),
    Ws(Arc<WsClient>),
}

/// One endpoint. It connects when it is first asked, and again after its connection broke.
pub struct Endpoint {
    url: Url,
    label: String,
    connection: Mutex<Option<Connection>>,
    /// The chain it serves, plus one; 0 as long as nobody asked.
    chain: AtomicU64,
    /// The highest block that it called finalised.
    finalized: AtomicU64,
    metrics: Metrics,
}

impl Endpoint {
    pub fn new(place: usize, url: Url, metrics: Metrics) -> Self {
        let host = url.host_str().unwrap_or_default();
        let label = match url.port() {
            Some(port) => format!("{place}:{host}:{port}"),
            None => format!("{place}:{host}"),
        };
        Self {
            url,
            label,
            connection: Mutex::new(None),
            chain: AtomicU64::new(0),
            finalized: AtomicU64::new(0),
            metrics,
        }
    }

    /// The endpoint's name in logs and metrics.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The highest block that the endpoint called finalised so far.
    pub fn known_finalized(&self) -> u64 {
        self.finalized.load(Ordering::Relaxed)
    }

    /// Fails if the endpoint serves another chain than `expected`; does nothing if none is.
    pub async fn check_chain(&self, expected: Option<u64>) -> Result<(), Error> {
        let Some(ours) = expected else { return Ok(()) };
        let theirs = match self.chain.load(Ordering::Relaxed).checked_sub(1) {
            Some(known) => known,
            None => {
                let id: U64 = self.ask("eth_chainId", Vec::new()).await?;
                let id = id.to::<u64>();
                self.chain.store(id.saturating_add(1), Ordering::Relaxed);
                id
            }
        };
        if theirs == ours {
            return Ok(());
        }
        // It may be corrected without a new connection.
        self.chain.store(0, Ordering::Relaxed);
        self.metrics.endpoint_error(&self.label);
        Err(Error::WrongChain { endpoint: self.label.clone(), theirs, ours })
    }

    /// The newest block that the endpoint calls finalised.
    pub async fn finalized(&self) -> Result<Block, Error> {
        let block = self.block_by("finalized".into()).await?;
        self.finalized.fetch_max(block.number, Ordering::Relaxed);
        Ok(block)
    }

    /// The endpoint's block of this number, finalised or not.
    pub async fn block(&self, number: u64) -> Result<Block, Error> {
        let block = self.block_by(format!("{number:#x}")).await?;
        if block.number != number {
            self.metrics.endpoint_error(&self.label);
            return Err(Error::OtherBlock {
                endpoint: self.label.clone(),
                asked: number,
                number: block.number,
            });
        }
        Ok(block)
    }

    async fn block_by(&self, tag: String) -> Result<Block, Error> {
        let json: Value = self.ask("eth_getBlockByNumber", vec![json!(tag), json!(false)]).await?;
        if json.is_null() {
            self.metrics.endpoint_error(&self.label);
            return Err(Error::NoBlock { endpoint: self.label.clone(), number: tag });
        }
        header::rebuild(&self.label, &json)
            .inspect_err(|_| self.metrics.endpoint_error(&self.label))
    }

    /// The events of `address` with this first topic in the blocks `from..=to`.
    pub async fn logs(
        &self,
        address: Address,
        topic: B256,
        from: u64,
        to: u64,
    ) -> Result<Vec<Log>, Error> {
        let filter = json!({
            "address": address,
            "topics": [topic],
            "fromBlock": format!("{from:#x}"),
            "toBlock": format!("{to:#x}"),
        });
        self.ask("eth_getLogs", vec![filter]).await
    }

    /// A proof of the account and of some of its slots at the end of a block.
    pub async fn proof(
        &self,
        address: Address,
        slots: &[B256],
        number: u64,
    ) -> Result<AccountProof, Error> {
        let params = vec![json!(address), json!(slots), json!(format!("{number:#x}"))];
        self.ask("eth_getProof", params).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Vec<Value>,
    ) -> Result<T, Error> {
        let answer = self.request(method, params).await;
        answer.inspect_err(|_| self.metrics.endpoint_error(&self.label))
    }

    async fn request<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Vec<Value>,
    ) -> Result<T, Error> {
        let mut list = rpc_params![];
        for param in params {
            list.insert(param).map_err(|e| self.unreadable(method, e))?;
        }
        let ask = async {
            let connection = self.connect().await?;
            let answer = match &connection {
                Connection::Http(client) => client.request::<Box<RawValue>, _>(method, list).await,
                Connection::Ws(client) => client.request::<Box<RawValue>, _>(method, list).await,
            };
            match answer {
                Ok(raw) => Ok(raw),
                Err(ClientError::Call(error)) => Err(Error::Refused {
                    endpoint: self.label.clone(),
                    method,
                    code: error.code(),
                    message: self.redact(error.message()),
                }),
                Err(ClientError::ParseError(e)) => Err(self.unreadable(method, e)),
                Err(ClientError::RequestTimeout) => Err(self.slow(method)),
                Err(other) => {
                    // Whoever answers there next may be another.
                    self.forget().await;
                    Err(self.unreachable(other))
                }
            }
        };
        let raw = match tokio::time::timeout(REQUEST_LIMIT, ask).await {
            Ok(answer) => answer?,
            Err(_) => return Err(self.slow(method)),
        };
        serde_json::from_str(raw.get()).map_err(|e| self.unreadable(method, e))
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = slot.as_ref() {
            let alive = match connection {
                Connection::Http(_) => true,
                Connection::Ws(client) => client.is_connected(),
            };
            if alive {
                return Ok(connection.clone());
            }
        }
        let connection = match self.url.scheme() {
            "ws" | "wss" => WsClientBuilder::new()
                .request_timeout(REQUEST_LIMIT)
                .connection_timeout(REQUEST_LIMIT)
                .max_response_size(MAX_ANSWER)
                .enable_ws_ping(PingConfig::new())
                .build(self.url.as_str())
                .await
                .map(|client| Connection::Ws(Arc::new(client))),
            _ => HttpClientBuilder::new()
                .request_timeout(REQUEST_LIMIT)
                .max_response_size(MAX_ANSWER)
                .build(self.url.as_str())
                .map(|client| Connection::Http(Arc::new(client))),
        };
        let connection = connection.map_err(|e| self.unreachable(e))?;
        *slot = Some(connection.clone());
        self.chain.store(0, Ordering::Relaxed);
        Ok(connection)
    }

    async fn forget(&self) {
        *self.connection.lock().await = None;
        self.chain.store(0, Ordering::Relaxed);
    }

    fn slow(&self, method: &'static str) -> Error {
        Error::Slow { endpoint: self.label.clone(), method, limit: REQUEST_LIMIT }
    }

    fn unreachable(&self, error: ClientError) -> Error {
        Error::Unreachable { endpoint: self.label.clone(), reason: self.redact(&error.to_string()) }
    }

    fn unreadable(&self, method: &'static str, error: impl ToString) -> Error {
        let reason = self.redact(&error.to_string());
        Error::Unreadable { endpoint: self.label.clone(), method, reason }
    }

    /// Providers and libraries like to repeat the URL, and with it the key; some repeat much more.
    fn redact(&self, text: &str) -> String {
        let mut text = text.replace(self.url.as_str(), &self.label);
        for secret in [self.url.path().trim_matches('/'), self.url.query().unwrap_or_default()] {
            if secret.len() >= 8 {
                text = text.replace(secret, "…");
            }
        }
        match text.char_indices().nth(300) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}
