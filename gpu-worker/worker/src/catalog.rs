//! The models that can be asked here: those on chain whose base this worker holds.

use crate::{
    backend::{Backend, Served},
    error::{Result, WorkerError},
};
use async_trait::async_trait;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tributary_primitives::{
    views::{ChannelView, ListingView, ModelKind, ModelView, MAX_PAGE},
    ChannelId, ModelId,
};

/// Prices may change; a request is charged by what was on chain at most this long before it.
const FRESH: Duration = Duration::from_secs(3);
/// Names that are remembered at the same time.
const MAX_REMEMBERED: usize = 4_096;
/// Models that a listing of all models goes through.
const MAX_LISTED: usize = 10_000;

/// What serving needs of the chain.
#[async_trait]
pub trait MarketChain: Send + Sync {
    /// A model by its unique name.
    async fn model_by_name(&self, name: &str) -> Result<Option<ModelView>>;
    /// A model.
    async fn model(&self, id: ModelId) -> Result<Option<ModelView>>;
    /// Models from an id on, at most a page of them.
    async fn models(&self, from: ModelId) -> Result<Vec<ModelView>>;
    /// What an answer of a model costs.
    async fn listing(&self, id: ModelId) -> Result<Option<ListingView>>;
    /// A channel.
    async fn channel(&self, id: ChannelId) -> Result<Option<ChannelView>>;
}

/// Looks models up by name or id, and remembers them for a moment.
#[derive(Clone)]
pub struct Catalog {
    chain: Arc<dyn MarketChain>,
    backend: Arc<dyn Backend>,
    known: Arc<Mutex<HashMap<String, (Instant, Served)>>>,
}

impl Catalog {
    /// A catalogue of the chain's models that `backend` can serve.
    pub fn new(chain: Arc<dyn MarketChain>, backend: Arc<dyn Backend>) -> Self {
        Self { chain, backend, known: Arc::default() }
    }

    /// The model of this name or id.
    pub async fn find(&self, name: &str) -> Result<Served> {
        if let Some(found) = self.remembered(name) {
            return Ok(found);
        }
        let unknown = || WorkerError::UnknownModel(name.chars().take(80).collect());
        if name.len() > 64 {
            return Err(unknown());
        }
        // A name may consist of digits; only then is the text an id.
        let model = match (self.chain.model_by_name(name).await?, name.parse::<u64>()) {
            (Some(model), _) => Some(model),
            (None, Ok(id)) => self.chain.model(ModelId(id)).await?,
            (None, Err(_)) => None,
        };
        let base = model.as_ref().and_then(|model| self.base_of(model));
        let (Some(model), Some(base)) = (model, base) else { return Err(unknown()) };
        let listing = self.chain.listing(model.id).await?;
        let served = Served { model, base, listing };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REMEMBERED {
            known.retain(|_, (when, _)| when.elapsed() < FRESH);
        }
        if known.len() < MAX_REMEMBERED {
            known.insert(name.to_owned(), (Instant::now(), served.clone()));
        }
        Ok(served)
    }

    /// Every model that can be asked here, by id.
    pub async fn all(&self) -> Result<Vec<Served>> {
        let (mut all, mut from, mut seen) = (Vec::new(), ModelId(0), 0);
        while seen < MAX_LISTED {
            let page = self.chain.models(from).await?;
            let Some(last) = page.last().map(|model| model.id) else { break };
            let full = page.len() >= MAX_PAGE as usize;
            seen += page.len();
            for model in page {
                if let Some(base) = self.base_of(&model) {
                    let listing = self.chain.listing(model.id).await?;
                    all.push(Served { model, base, listing });
                }
            }
            match last.next() {
                Some(next) if full => from = next,
                _ => break,
            }
        }
        Ok(all)
    }

    fn remembered(&self, name: &str) -> Option<Served> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name).filter(|(when, _)| when.elapsed() < FRESH).map(|(_, found)| found.clone())
    }

    fn base_of(&self, model: &ModelView) -> Option<ModelId> {
        let base = match model.kind {
            ModelKind::Base => model.id,
            ModelKind::Adapter => model.parent?,
        };
        self.backend.bases().contains(&base).then_some(base)
    }
}
