//! The API over a real socket, in front of the real engine on the base model that is shipped.

use super::{chain::FakeChain, key, open_journal, voucher, GENESIS};
use serde_json::{json, Value};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::net::TcpListener;
use tributary_attribution::{Builder, Sketch};
use tributary_client::{
    store::{FolderKind, Store},
    vouchers::{SignedVoucher, HEADER},
};
use tributary_engine::{
    Adapter, EngineOptions, IndexSpec, LoraConfig, ModelConfig, Projection, INDEX_FILE,
};
use tributary_primitives::{Balance, Digest, ModelId, H256};
use tributary_worker::{
    engine::{index_bytes, Engines},
    http::{Api, Limits, Parts},
    journal::Journal,
    metrics::Metrics,
    progress::JobBoard,
};

/// The base model's name on chain.
pub const BASE: &str = "tiny";

pub fn base_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../base-model/tiny")
}

/// What the chain names of an adapter.
#[derive(Clone, Copy)]
pub struct Stored {
    pub content: Digest,
    pub index: Digest,
    pub index_root: H256,
}

/// Writes an adapter that nobody trained, with an index over two contributions: PEFT's two files
/// in `folder/adapter`, the index beside them.
pub fn write_adapter(folder: &Path, config: LoraConfig, shape: &ModelConfig, seed: u64) -> H256 {
    let adapter = Adapter::new(config, shape, seed, tch::Device::Cpu).unwrap();
    adapter.save(&folder.join("adapter"), shape, "tiny").unwrap();
    let input = adapter.flat().numel() as u64;
    let ids = vec![index_bytes(1), index_bytes(2)];
    let sketch = Sketch { seed, input, dims: 64 };
    let mut builder = Builder::new(sketch, IndexSpec::default().damping(), ids, 4).unwrap();
    for row in 0..4u32 {
        let gradient: Vec<f32> =
            (0..input).map(|i| ((i * (u64::from(row) + seed + 3)) % 17) as f32 - 8.0).collect();
        builder.set(row, row / 2, &gradient).unwrap();
    }
    let index = builder.build().unwrap();
    index.save(&folder.join(INDEX_FILE)).unwrap();
    H256(index.root())
}

pub fn small() -> LoraConfig {
    LoraConfig { rank: 4, alpha: 8.0, targets: vec![Projection::Q, Projection::V], rslora: false }
}

pub fn shape() -> ModelConfig {
    ModelConfig::read(&base_folder()).unwrap()
}

/// Stores what [`write_adapter`] wrote.
pub async fn store_adapter(store: &Store, folder: &Path, index_root: H256) -> Stored {
    let content = store.put_folder(FolderKind::Adapter, &folder.join("adapter")).await.unwrap();
    let (index, _) = store.put_file(&folder.join(INDEX_FILE)).await.unwrap();
    Stored { content, index, index_root }
}

pub struct Real {
    pub url: String,
    pub chain: Arc<FakeChain>,
    pub engines: Arc<Engines>,
    pub journal: Journal,
    pub api: Api,
    pub http: reqwest::Client,
}

/// A worker whose data is in `folder`, its store in `folder/store`. Channel 1 has endless units.
pub async fn start(folder: &Path, store: &Store, slots: usize, max_adapters: usize) -> Real {
    let engines = Arc::new(Engines::new(store.clone(), folder.join("adapters"), max_adapters));
    let options = EngineOptions {
        threads: 1,
        slots,
        waiting: slots,
        capacity: 256,
        ..EngineOptions::new(base_folder())
    };
    let content = engines.add_base(&base_folder(), options).await.unwrap();
    let chain = Arc::new(FakeChain::new());
    chain.add_model(0, BASE, None, Some(1_000));
    chain.models.lock().unwrap()[0].0.content = content;
    chain.open_channel(1, Balance::MAX / 4);
    assert_eq!(engines.find_bases(chain.as_ref()).await.unwrap(), 0);
    let journal = open_journal(folder);
    let api = Api::new(Parts {
        key: key(),
        genesis: GENESIS,
        chain: chain.clone(),
        backend: engines.clone(),
        journal: journal.clone(),
        jobs: JobBoard::default(),
        metrics: Metrics::default(),
        limits: Limits { slots, default_tokens: 8, max_tokens: 200, ..Limits::default() },
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = api.clone().router();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Real { url, chain, engines, journal, api, http: reqwest::Client::new() }
}

impl Real {
    /// Names an adapter on chain.
    pub fn list(&self, id: u64, name: &str, stored: Stored) {
        self.chain.add_model(id, name, Some(0), Some(1_000));
        let mut models = self.chain.models.lock().unwrap();
        let (model, _) = models.iter_mut().find(|(model, _)| model.id == ModelId(id)).unwrap();
        model.content = stored.content;
        model.index = stored.index;
        model.index_root = stored.index_root;
    }

    /// A request, paid with a voucher for far more than it costs.
    pub fn request(&self, path: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        let (voucher, signature) = voucher(1, Balance::MAX / 8);
        let paid = SignedVoucher { voucher, signature }.header();
        self.http.post(format!("{}{path}", self.url)).header(HEADER, paid).body(body)
    }

    /// Status, the header `Retry-After`, and the body.
    pub async fn ask(&self, body: &Value) -> (u16, Option<String>, Value) {
        let request = self.request("/v1/chat/completions", body.to_string());
        let response = request.send().await.unwrap();
        let retry = response.headers().get("retry-after");
        let retry = retry.map(|value| value.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        // A stream's body is no JSON.
        (status, retry, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}

pub fn question(model: &str, max_tokens: u32) -> Value {
    json!({
        "model": model,
        "max_tokens": max_tokens,
        "messages": [{"role": "user", "content": "Where does the fox live?"}],
    })
}
