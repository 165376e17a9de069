//! The real engine behind [`Backend`]: one for each base model that is held.

mod answers;
mod left;
mod passages;

use crate::{
    backend::{Identity, Served},
    catalog::MarketChain,
    error::{Result, WorkerError},
    live::store_fault,
};
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};
use tracing::{info, warn};
use tributary_attribution::{Index, SpanIndex};
use tributary_client::store::{digest_of, FolderKind, Store};
use tributary_engine::{Engine, EngineError, EngineOptions, INDEX_FILE, SAMPLER_VERSION};
use tributary_primitives::{
    views::{ModelKind, ModelView},
    ContributionId, Digest, ModelId, H256,
};

/// Largest index that is fetched.
const INDEX_MAX: u64 = 4 << 30;

/// A base model that this worker holds, with its engine.
struct Base {
    engine: Engine,
    folder: PathBuf,
    content: Digest,
    tokenizer: Digest,
    /// Its id, once it is found on chain.
    id: Option<ModelId>,
}

/// What is known of an adapter that is in memory.
struct Adapter {
    /// Contributions by their number in the index, with their first row.
    owners: Vec<(ContributionId, u32)>,
    /// When it was last asked, as a count of askings.
    used: u64,
    /// Its files.
    folder: PathBuf,
}

/// The base models of this worker.
pub struct Engines {
    bases: RwLock<Vec<Base>>,
    store: Store,
    /// Where adapters are kept on disk.
    cache: PathBuf,
    /// Adapters that an engine is told of and that are on disk at most, for each base model. Which of
    /// them are on the device or in memory is the engine's.
    max_adapters: usize,
    /// Folders of adapters that an earlier run left and nobody asked since, the oldest last. They
    /// count as room that is taken, and are the first to go.
    left: Mutex<Vec<PathBuf>>,
    /// Adapters that the engine is told of, by base and model.
    loaded: Mutex<HashMap<ModelId, HashMap<ModelId, Adapter>>>,
    /// One lock for each adapter that is being fetched.
    fetching: Mutex<HashMap<ModelId, Arc<tokio::sync::Mutex<()>>>>,
    clock: std::sync::atomic::AtomicU64,
    /// Span indices that are mapped, by the root of the influence index beside them.
    spans: Mutex<HashMap<H256, Arc<SpanIndex>>>,
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
        EngineError::Schema(_) => WorkerError::BadRequest {
            message: error.to_string(),
            param: Some("response_format".into()),
        },
        EngineError::Overloaded => WorkerError::EngineBusy,
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
            left: Mutex::new(left::left_in(&cache)),
            cache,
            max_adapters: max_adapters.max(1),
            loaded: Mutex::default(),
            fetching: Mutex::default(),
            clock: Default::default(),
            spans: Mutex::default(),
        }
    }

    /// Loads a base model and puts it into the object store. Returns the digest of its manifest,
    /// by which it is looked for on chain.
    pub async fn add_base(&self, folder: &Path, options: EngineOptions) -> Result<Digest> {
        let content =
            self.store.put_folder(FolderKind::Model, folder).await.map_err(store_fault)?;
        let tokenizer = tokio::fs::read(folder.join("tokenizer.json"))
            .await
            .map_err(WorkerError::io(format!("reading the tokenizer of {}", folder.display())))?;
        let tokenizer = digest_of(&tokenizer);
        let engine = tokio::task::spawn_blocking(move || Engine::start(options))
            .await
            .map_err(|e| WorkerError::Internal(e.to_string()))?
            .map_err(|e| WorkerError::Config(format!("base model {}: {e}", folder.display())))?;
        let mut bases = self.bases.write().unwrap_or_else(PoisonError::into_inner);
        bases.push(Base { engine, folder: folder.to_owned(), content, tokenizer, id: None });
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

    fn with_base<T>(&self, id: ModelId, read: impl FnOnce(&Base) -> T) -> Result<T> {
        let bases = self.bases.read().unwrap_or_else(PoisonError::into_inner);
        let base = bases.iter().find(|base| base.id == Some(id));
        base.map(read).ok_or_else(|| WorkerError::UnknownModel(id.to_string()))
    }

    /// The engines of all bases.
    fn engines(&self) -> Vec<Engine> {
        let bases = self.bases.read().unwrap_or_else(PoisonError::into_inner);
        bases.iter().map(|base| base.engine.clone()).collect()
    }

    pub(crate) fn engine(&self, id: ModelId) -> Result<Engine> {
        self.with_base(id, |base| base.engine.clone())
    }

    fn identity_of(&self, id: ModelId) -> Result<Identity> {
        self.with_base(id, |base| Identity {
            base: base.content,
            tokenizer: base.tokenizer,
            sampler: SAMPLER_VERSION,
            engine: env!("CARGO_PKG_VERSION").to_owned(),
        })
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

    /// Notes that the adapter is asked, if the engine is told of it.
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
        lock(&self.left).retain(|left| *left != folder);
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
        self.make_room(served.base, engine, &folder).await;
        engine.load_adapter(name, &folder).await.map_err(|e| bad(model.content, e.to_string()))?;
        let used = self.clock.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut loaded = lock(&self.loaded);
        loaded.entry(served.base).or_default().insert(model.id, Adapter { owners, used, folder });
        info!(model = model.id.0, name = %model.name, rows = index.rows(), "adapter loaded");
        Ok(())
    }

    /// Lets adapters go until there is room for one more: what an earlier run left, then those that
    /// were asked longest ago. Their files go with them, if they are not those of the one that is
    /// `coming`: the object store has them. Answers under way keep theirs.
    async fn make_room(&self, base: ModelId, engine: &Engine, coming: &Path) {
        loop {
            let (id, folder) = {
                let mut loaded = lock(&self.loaded);
                let of = loaded.entry(base).or_default();
                let mut left = lock(&self.left);
                if of.len() + left.len() < self.max_adapters {
                    return;
                }
                if let Some(folder) = left.pop() {
                    (None, Some(folder))
                } else {
                    let oldest = of.iter().min_by_key(|(_, a)| a.used).map(|(id, _)| *id);
                    let gone = oldest.and_then(|id| Some((id, of.remove(&id)?.folder)));
                    let Some((id, folder)) = gone else { return };
                    // Two models may have the same content, and so the same files.
                    let shared = folder == coming
                        || loaded.values().any(|of| of.values().any(|a| a.folder == folder));
                    (Some(id), (!shared).then_some(folder))
                }
            };
            if let Some(id) = id {
                match engine.unload_adapter(id.to_string()).await {
                    Ok(_) => info!(model = id.0, "adapter let go to make room"),
                    Err(error) => warn!(model = id.0, %error, "the adapter cannot be unloaded"),
                }
            }
            if let Some(folder) = folder {
                remove_files(&folder).await;
            }
        }
    }

    fn owners_of(&self, served: &Served) -> Option<Vec<(ContributionId, u32)>> {
        let loaded = lock(&self.loaded);
        Some(loaded.get(&served.base)?.get(&served.model.id)?.owners.clone())
    }
}

async fn remove_files(folder: &Path) {
    if let Err(error) = tokio::fs::remove_dir_all(folder).await {
        warn!(folder = %folder.display(), %error, "the files of an adapter stay on disk");
    }
}

/// An id in the index: the 64-bit id, little-endian, and zeros.
pub(crate) fn index_id(id: ContributionId) -> [u8; 32] {
    index_bytes(id.0)
}

/// A contribution's number as an index names it.
pub fn index_bytes(id: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&id.to_le_bytes());
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
