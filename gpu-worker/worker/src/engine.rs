//! The real engine behind [`Backend`]: one for each base model that is held.

use crate::{
    backend::{
        Attribution, Backend, Ended, Event, Generate, Health, Message, Prompt, RecordShare, Served,
    },
    catalog::MarketChain,
    error::{Result, WorkerError},
    live::store_fault,
};
use async_trait::async_trait;
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};
use tokio::sync::mpsc;
use tracing::{info, warn};
use tributary_attribution::Index;
use tributary_client::store::{FolderKind, Store};
use tributary_engine::{
    AttributeRequest, Engine, EngineError, EngineOptions, FinishReason, GenerateRequest, Sampling,
    INDEX_FILE,
};
use tributary_primitives::{
    signing::Share,
    views::{ModelKind, ModelView},
    ContributionId, Digest, ModelId, H256,
};

/// Records that an attribution names.
const TOP_RECORDS: usize = 8;
/// Largest index that is fetched.
const INDEX_MAX: u64 = 4 << 30;

/// A base model that this worker holds, with its engine.
struct Base {
    engine: Engine,
    folder: PathBuf,
    content: Digest,
    /// Its id, once it is found on chain.
    id: Option<ModelId>,
}

/// What is known of an adapter that is in memory.
struct Adapter {
    /// Contributions by their number in the index, with their first row.
    owners: Vec<(ContributionId, u32)>,
    /// When it was last asked, as a count of askings.
    used: u64,
}

/// The base models of this worker.
pub struct Engines {
    bases: RwLock<Vec<Base>>,
    store: Store,
    /// Where adapters are kept on disk.
    cache: PathBuf,
    /// Adapters in memory at most, for each base model.
    max_adapters: usize,
    /// Adapters in memory, by base and model.
    loaded: Mutex<HashMap<ModelId, HashMap<ModelId, Adapter>>>,
    /// One lock for each adapter that is being fetched.
    fetching: Mutex<HashMap<ModelId, Arc<tokio::sync::Mutex<()>>>>,
    clock: std::sync::atomic::AtomicU64,
}

pub(crate) fn engine_fault(error: EngineError) -> WorkerError {
    match error {
        EngineError::PromptTooLong { tokens, max } => WorkerError::TooLong {
            prompt: u32::try_from(tokens).unwrap_or(u32::MAX),
            answer: 0,
            context: u32::try_from(max).unwrap_or(u32::MAX),
        },
        EngineError::Template { .. } => {
            WorkerError::BadRequest { message: error.to_string(), param: Some("messages".into()) }
        }
        EngineError::Overloaded => WorkerError::Overloaded { slots: 0 },
        other => WorkerError::Engine(other.to_string()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engines {
    /// Engines without a base model yet.
    pub fn new(store: Store, cache: PathBuf, max_adapters: usize) -> Self {
        Self {
            bases: RwLock::default(),
            store,
            cache,
            max_adapters: max_adapters.max(1),
            loaded: Mutex::default(),
            fetching: Mutex::default(),
            clock: Default::default(),
        }
    }

    /// Loads a base model and puts it into the object store. Returns the digest of its manifest,
    /// by which it is looked for on chain.
    pub async fn add_base(&self, folder: &Path, options: EngineOptions) -> Result<Digest> {
        let content =
            self.store.put_folder(FolderKind::Model, folder).await.map_err(store_fault)?;
        let engine = tokio::task::spawn_blocking(move || Engine::start(options))
            .await
            .map_err(|e| WorkerError::Internal(e.to_string()))?
            .map_err(|e| WorkerError::Config(format!("base model {}: {e}", folder.display())))?;
        let mut bases = self.bases.write().unwrap_or_else(PoisonError::into_inner);
        bases.push(Base { engine, folder: folder.to_owned(), content, id: None });
        Ok(content)
    }

    /// Looks on chain for the base models that were not found there yet. Returns how many are
    /// still missing.
    pub async fn find_bases(&self, chain: &dyn MarketChain) -> Result<usize> {
        let mut missing = self.unnamed();
        let mut from = ModelId(0);
        while !missing.is_empty() {
            let page = chain.models(from).await?;
            let Some(next) = page.last().and_then(|model| model.id.next()) else { break };
            for model in page.into_iter().filter(|model| model.kind == ModelKind::Base) {
                if missing.contains(&model.content) {
                    self.name_base(&model);
                    missing.retain(|content| *content != model.content);
                }
            }
            from = next;
        }
        Ok(missing.len())
    }

    /// Contents of the base models that are not known to be on chain, with their folders.
    pub fn unnamed_folders(&self) -> Vec<(Digest, PathBuf)> {
        let bases = self.bases.read().unwrap_or_else(PoisonError::into_inner);
        let unnamed = bases.iter().filter(|base| base.id.is_none());
        unnamed.map(|base| (base.content, base.folder.clone())).collect()
    }

    fn unnamed(&self) -> Vec<Digest> {
        self.unnamed_folders().into_iter().map(|(content, _)| content).collect()
    }

    fn name_base(&self, model: &ModelView) {
        let mut bases = self.bases.write().unwrap_or_else(PoisonError::into_inner);
        for base in bases.iter_mut().filter(|base| base.content == model.content) {
            base.id = Some(model.id);
            info!(
                model = model.id.0,
                name = %model.name,
                folder = %base.folder.display(),
                "base model found on chain"
            );
        }
    }

    pub(crate) fn named(&self) -> Vec<ModelId> {
        let bases = self.bases.read().unwrap_or_else(PoisonError::into_inner);
        bases.iter().filter_map(|base| base.id).collect()
    }

    pub(crate) fn engine(&self, id: ModelId) -> Result<Engine> {
        let bases = self.bases.read().unwrap_or_else(PoisonError::into_inner);
        bases
            .iter()
            .find(|base| base.id == Some(id))
            .map(|base| base.engine.clone())
            .ok_or_else(|| WorkerError::UnknownModel(id.to_string()))
    }

    /// Name of the adapter in the engine; `None` for a base model, which needs none.
    async fn adapter(&self, served: &Served, engine: &Engine) -> Result<Option<String>> {
        if served.model.kind == ModelKind::Base {
            return Ok(None);
        }
        let id = served.model.id;
        let name = id.to_string();
        if self.touch(served) {
            return Ok(Some(name));
        }
        // Of several first requests one fetches; the others find it loaded after it.
        let turn = Arc::clone(lock(&self.fetching).entry(id).or_default());
        let guard = turn.lock().await;
        let outcome =
            if self.touch(served) { Ok(()) } else { self.load(served, engine, &name).await };
        drop(guard);
        lock(&self.fetching).remove(&id);
        outcome.map(|()| Some(name))
    }

    /// Notes that the adapter is asked, if it is in memory.
    fn touch(&self, served: &Served) -> bool {
        let now = self.clock.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut loaded = lock(&self.loaded);
        let found = loaded.get_mut(&served.base).and_then(|of| of.get_mut(&served.model.id));
        found.map(|adapter| adapter.used = now).is_some()
    }

    /// Fetches an adapter and its index, checks both, and loads them.
    async fn load(&self, served: &Served, engine: &Engine, name: &str) -> Result<()> {
        let model = &served.model;
        let folder = self.cache.join(hex::encode(model.content));
        let manifest = self.store.get_folder(&model.content, &folder).await.map_err(store_fault)?;
        let bad = |digest: Digest, reason: String| WorkerError::BadBlob { digest, reason };
        if manifest.kind != FolderKind::Adapter {
            return Err(bad(model.content, "it is no adapter's manifest".into()));
        }
        let path = folder.join(INDEX_FILE);
        self.store.get_file(&model.index, &path, INDEX_MAX).await.map_err(store_fault)?;
        let opened = path.clone();
        let index = tokio::task::spawn_blocking(move || Index::open(&opened))
            .await
            .map_err(|e| WorkerError::Internal(e.to_string()))?
            .map_err(|e| bad(model.index, e.to_string()))?;
        if H256(index.root()) != model.index_root {
            return Err(bad(model.index, "its root is not the one that the chain names".into()));
        }
        let owners = owners(&index).map_err(|reason| bad(model.index, reason))?;
        self.make_room(served.base, engine).await;
        engine.load_adapter(name, &folder).await.map_err(|e| bad(model.content, e.to_string()))?;
        let used = self.clock.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut loaded = lock(&self.loaded);
        loaded.entry(served.base).or_default().insert(model.id, Adapter { owners, used });
        info!(model = model.id.0, name = %model.name, rows = index.rows(), "adapter loaded");
        Ok(())
    }

    /// Unloads the adapters that were asked longest ago until there is room for one more. Answers
    /// under way keep theirs.
    async fn make_room(&self, base: ModelId, engine: &Engine) {
        loop {
            let oldest = {
                let mut loaded = lock(&self.loaded);
                let of = loaded.entry(base).or_default();
                if of.len() < self.max_adapters {
                    return;
                }
                let oldest = of.iter().min_by_key(|(_, a)| a.used).map(|(id, _)| *id);
                oldest.inspect(|id| {
                    of.remove(id);
                })
            };
            let Some(id) = oldest else { return };
            match engine.unload_adapter(id.to_string()).await {
                Ok(_) => info!(model = id.0, "adapter unloaded to make room"),
                Err(error) => warn!(model = id.0, %error, "the adapter cannot be unloaded"),
            }
        }
    }

    fn owners_of(&self, served: &Served) -> Option<Vec<(ContributionId, u32)>> {
        let loaded = lock(&self.loaded);
        Some(loaded.get(&served.base)?.get(&served.model.id)?.owners.clone())
    }
}

/// An id in the index: the 64-bit id, little-endian, and zeros.
pub(crate) fn index_id(id: ContributionId) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&id.0.to_le_bytes());
    bytes
}

fn contribution_id(bytes: &[u8; 32]) -> std::result::Result<ContributionId, String> {
    let (id, rest) = bytes.split_at(8);
    let id = id.try_into().map(u64::from_le_bytes).map_err(|_| "it is cut short".to_owned())?;
    if rest.iter().any(|byte| *byte != 0) {
        return Err("it names something that is no contribution".into());
    }
    Ok(ContributionId(id))
}

/// The index's contributions with their first rows.
fn owners(index: &Index) -> std::result::Result<Vec<(ContributionId, u32)>, String> {
    let mut first: BTreeMap<u32, u32> = BTreeMap::new();
    for row in 0..index.rows() {
        if let (Some(owner), Ok(row)) = (index.contribution_of(row), u32::try_from(row)) {
            first.entry(owner).or_insert(row);
        }
    }
    let numbered = index.contributions().iter().zip(0u32..);
    numbered
        .map(|(id, number)| Ok((contribution_id(id)?, first.get(&number).copied().unwrap_or(0))))
        .collect()
}

fn engine_prompt(prompt: &Prompt) -> tributary_engine::Prompt {
    let turn = |m: &Message| tributary_engine::Message {
        role: m.role.clone(),
        content: m.content.clone(),
    };
    match prompt {
        Prompt::Chat(messages) => {
            tributary_engine::Prompt::Chat(messages.iter().map(turn).collect())
        }
        Prompt::Text(text) => tributary_engine::Prompt::Text(text.clone()),
    }
}

#[async_trait]
impl Backend for Engines {
    fn bases(&self) -> Vec<ModelId> {
        self.named()
    }

    fn health(&self) -> Health {
        let bases = self.named().len();
        let adapters = lock(&self.loaded).values().map(HashMap::len).sum();
        Health { ready: bases > 0, bases, adapters }
    }

    fn context(&self, model: &Served) -> Result<u32> {
        Ok(u32::try_from(self.engine(model.base)?.info().capacity).unwrap_or(u32::MAX))
    }

    async fn count(&self, model: &Served, prompt: &Prompt) -> Result<u32> {
        let engine = self.engine(model.base)?;
        let prompt = engine_prompt(prompt);
        let tokens = tokio::task::spawn_blocking(move || engine.count_tokens(&prompt))
            .await
            .map_err(|e| WorkerError::Internal(e.to_string()))?
            .map_err(engine_fault)?;
        Ok(u32::try_from(tokens).unwrap_or(u32::MAX))
    }

    async fn schedule(&self, model: &Served, request: Generate) -> Result<mpsc::Receiver<Event>> {
        let engine = self.engine(model.base)?;
        let adapter = self.adapter(model, &engine).await?;
        let mut events = engine
            .generate(GenerateRequest {
                adapter,
                prompt: engine_prompt(&request.prompt),
                max_tokens: request.max_tokens as usize,
                sampling: Sampling {
                    temperature: request.temperature as f32,
                    top_p: request.top_p as f32,
                    top_k: 0,
                    seed: request.seed.unwrap_or_else(crate::http::answer::now_ms),
                },
                stop: request.stop,
                logprobs: None,
            })
            .map_err(engine_fault)?;
        let (send, receive) = mpsc::channel(64);
        tokio::spawn(async move {
            use tributary_engine::Event as Theirs;
            loop {
                let event = tokio::select! {
                    event = events.recv() => event,
                    // Nobody listens any more: dropping the engine's receiver ends the answer.
                    () = send.closed() => return,
                };
                let event = match event {
                    Some(Theirs::Token { id, text, .. }) => Event::Token { id, text },
                    Some(Theirs::Done(done)) => Event::Done {
                        ended: match done.reason {
                            FinishReason::Stop => Ended::Stop,
                            FinishReason::Length => Ended::Length,
                        },
                        tokens: done.answer_tokens,
                        text: done.text,
                    },
                    Some(Theirs::Failed(error)) => Event::Failed(engine_fault(error)),
                    None => return,
                };
                if send.send(event).await.is_err() {
                    return;
                }
            }
        });
        Ok(receive)
    }

    async fn attribute(
        &self,
        model: &Served,
        prompt: &Prompt,
        answer: &[i64],
    ) -> Result<Attribution> {
        let engine = self.engine(model.base)?;
        for last in [false, true] {
            // It may have been unloaded since it answered; then it is loaded once more.
            let Some(adapter) = self.adapter(model, &engine).await? else {
                return Ok(Attribution::none());
            };
            let request = AttributeRequest {
                adapter,
                prompt: engine_prompt(prompt),
                answer_tokens: answer.to_vec(),
                top: TOP_RECORDS,
            };
            let (found, owners) = (engine.attribute(request).await, self.owners_of(model));
            match (found, owners) {
                (Ok(found), Some(owners)) => {
                    return attribution(&found.attribution, &owners, model.model.index_root)
                }
                (Err(EngineError::UnknownAdapter(_)), _) | (Ok(_), None) if !last => {}
                (Err(error), _) => return Err(engine_fault(error)),
                (Ok(_), None) => break,
            }
        }
        Err(WorkerError::Engine("the adapter was unloaded while its answer was attributed".into()))
    }
}

fn attribution(
    found: &tributary_attribution::Attribution,
    owners: &[(ContributionId, u32)],
    index_root: H256,
) -> Result<Attribution> {
    let shares = found
        .shares
        .iter()
        .filter(|(_, ppm)| *ppm > 0)
        .map(|(id, ppm)| {
            let contribution = contribution_id(id).map_err(WorkerError::Engine)?;
            Ok(Share { contribution, ppm: *ppm })
        })
        .collect::<Result<Vec<_>>>()?;
    let records = found
        .records
        .iter()
        .filter(|record| record.ppm > 0)
        .filter_map(|record| {
            let (contribution, first) = owners.get(record.contribution as usize)?;
            Some(RecordShare {
                contribution: *contribution,
                record: record.row.saturating_sub(*first),
                ppm: u32::try_from(record.ppm).unwrap_or(u32::MAX),
            })
        })
        .collect();
    Ok(Attribution { shares, unattributed_ppm: found.unattributed_ppm, records, index_root })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_pass_through_the_index() {
        for id in [0, 1, 255, 256, u64::MAX] {
            assert_eq!(contribution_id(&index_id(ContributionId(id))), Ok(ContributionId(id)));
        }
        assert!(contribution_id(&[1; 32]).is_err());
    }
}
