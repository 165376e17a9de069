//! The API over a real socket, in front of an engine that says the question back.

use super::{backend::Echo, chain::FakeChain, key, open_journal, GENESIS};
use serde_json::{json, Value};
use std::sync::Arc;
use tokio::net::TcpListener;
use tributary_client::vouchers::{SignedVoucher, HEADER};
use tributary_primitives::{signing::Voucher, Balance, ChannelId};
use tributary_worker::{
    http::{Api, Limits, Parts},
    journal::Journal,
    metrics::Metrics,
    progress::JobBoard,
};

/// Units per 1,000 prompt tokens; answers cost twice as much.
pub const PRICE: Balance = 1_000_000;

pub struct Server {
    pub url: String,
    pub chain: Arc<FakeChain>,
    pub backend: Arc<Echo>,
    pub journal: Journal,
    pub api: Api,
    pub http: reqwest::Client,
    _folder: tempfile::TempDir,
}

/// A worker with base model `base` (listed), adapters `fables` (listed) and `secret` (not listed),
/// an adapter of another worker's base, and channel 1 with 1,000,000 units.
pub async fn serve(backend: Echo, slots: usize) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let journal = open_journal(folder.path());
    let chain = Arc::new(FakeChain::new());
    chain.add_model(0, "base", None, Some(PRICE));
    chain.add_model(1, "fables", Some(0), Some(PRICE));
    chain.add_model(2, "secret", Some(0), None);
    chain.add_model(3, "elsewhere", Some(9), Some(PRICE));
    chain.open_channel(1, 1_000_000);
    let backend = Arc::new(backend);
    let api = Api::new(Parts {
        key: key(),
        genesis: GENESIS,
        chain: chain.clone(),
        backend: backend.clone(),
        journal: journal.clone(),
        jobs: JobBoard::default(),
        metrics: Metrics::default(),
        limits: Limits { slots, body_bytes: 4_096, default_tokens: 8, max_tokens: 40 },
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = api.clone().router();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Server { url, chain, backend, journal, api, http: reqwest::Client::new(), _folder: folder }
}

pub async fn plain() -> Server {
    serve(Echo::default(), 4).await
}

pub fn chat(text: &str) -> Value {
    json!({"model": "fables", "messages": [{"role": "user", "content": text}]})
}

pub fn header(signed: &(Voucher, tributary_primitives::MultiSignature)) -> String {
    SignedVoucher { voucher: signed.0.clone(), signature: signed.1.clone() }.header()
}

impl Server {
    pub async fn post(&self, path: &str, body: String, voucher: Option<String>) -> (u16, Value) {
        let mut request = self.http.post(format!("{}{path}", self.url)).body(body);
        if let Some(voucher) = voucher {
            request = request.header(HEADER, voucher);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub async fn chat(&self, body: &Value, voucher: Option<String>) -> (u16, Value) {
        self.post("/v1/chat/completions", body.to_string(), voucher).await
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.http.get(format!("{}{path}", self.url)).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub fn spent(&self) -> Balance {
        self.journal.channel(ChannelId(1)).unwrap().map_or(0, |row| row.spent)
    }
}

pub fn code(answer: &(u16, Value)) -> (u16, &str, &str) {
    let error = &answer.1["error"];
    (answer.0, error["type"].as_str().unwrap(), error["code"].as_str().unwrap())
}

/// Price of `tokens_in` and `tokens_out`, each rounded up to the unit.
pub fn fee(tokens_in: u128, tokens_out: u128) -> Balance {
    tokens_in * PRICE / 1_000 + tokens_out * 2 * PRICE / 1_000
}

impl Server {
    /// The events of a streamed answer, without the last, which has to be `[DONE]`.
    pub async fn stream(&self, path: &str, body: &Value, voucher: String) -> Vec<Value> {
        let request = self.http.post(format!("{}{path}", self.url)).header(HEADER, voucher);
        let text = request.body(body.to_string()).send().await.unwrap().text().await.unwrap();
        let mut events: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(events.pop(), Some("[DONE]"), "{text}");
        events.iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    }

    /// What `/metrics` says of one name with its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let url = format!("{}/metrics", self.url);
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }
}
