//! The object store: blobs named by their sha2-256 digest.
//!
//! A store is a folder (`file:///path` or just a path) or a bucket of any S3-compatible service
//! (`s3://bucket/prefix`, with the usual `AWS_…` variables). A blob's key is `sha256/<hex>`. Every
//! read checks the digest, so that neither a damaged disk nor a dishonest store can pass anything
//! else off. A folder of files (a model, an adapter) is stored as a manifest that lists them; its
//! digest names the folder.

mod digest;
mod folder;

pub use digest::{cid_of, digest_hex, digest_of, parse_digest};
pub use folder::{FileEntry, FolderKind, Manifest};

use crate::{files, ErrorKind};
use futures::{StreamExt, TryStreamExt};
use object_store::{
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    buffered::BufWriter,
    local::LocalFileSystem,
    memory::InMemory,
    path::Path as Key,
    ObjectStore, PutPayload, RetryConfig,
};
use sha2::{Digest as _, Sha256};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tributary_primitives::{Digest, H256};

/// Largest blob that [`Store::get`] reads into memory.
pub const GET_MAX: u64 = 1 << 30;
/// Buffer for copying files.
const CHUNK: usize = 1 << 20;
/// How long a bucket may fail before it counts as unreachable.
const PATIENCE: Duration = Duration::from_secs(20);

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL names no store.
    #[error("`{url}` is no store: {reason}; give a folder, file:///path or s3://bucket/prefix with --store or TRIBUTARY_STORE")]
    BadUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store does not answer.
    #[error("the store {url} cannot be reached: {reason}; check that it is there and that you may use it, then try again")]
    Unreachable {
        /// The store.
        url: String,
        /// The last failure.
        reason: String,
    },
    /// The store does not hold the blob.
    #[error(
        "the store {url} does not hold {}; whoever published it must put it there",
        digest_hex(digest)
    )]
    NotFound {
        /// The store.
        url: String,
        /// The blob.
        digest: Digest,
    },
    /// The store gave other bytes than those asked for.
    #[error("the store {url} gave other bytes than {} (theirs have {}); the blob there is damaged and must be put again", digest_hex(digest), digest_hex(actual))]
    WrongDigest {
        /// The store.
        url: String,
        /// What was asked for.
        digest: Digest,
        /// What its bytes have.
        actual: Digest,
    },
    /// The blob is larger than the reader allows.
    #[error("{} has {bytes} bytes, more than the {max} that are allowed here", digest_hex(digest))]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A blob that should be a manifest is none.
    #[error("{} is not a manifest: {reason}", digest_hex(digest))]
    BadManifest {
        /// The blob.
        digest: Digest,
        /// What is wrong with it.
        reason: String,
    },
    /// A folder cannot be stored.
    #[error("{path} cannot be stored: {reason}")]
    BadFolder {
        /// The folder, or the file in it.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A text is not a digest.
    #[error("`{0}` is no digest: give 64 hexadecimal digits, or a CIDv1 of raw bytes (bafkrei…)")]
    BadDigest(String),
    /// A local file cannot be read or written.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl StoreError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BadUrl { .. } | Self::BadDigest(_) | Self::BadFolder { .. } => ErrorKind::Usage,
            Self::Unreachable { .. } => ErrorKind::Unreachable,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::WrongDigest { .. }
            | Self::TooLarge { .. }
            | Self::BadManifest { .. }
            | Self::Io { .. } => ErrorKind::Failed,
        }
    }
}

#[derive(Clone)]
enum Backend {
    /// A folder, with its root.
    Folder(Arc<LocalFileSystem>, PathBuf),
    /// Anything else, with the prefix of its keys.
    Other(Arc<dyn ObjectStore>, Key),
}

/// A store of blobs. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    url: String,
    backend: Backend,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens a store: a folder (`/path`, `file:///path`; made if need be), a bucket
    /// (`s3://bucket/prefix`), or `memory://` for tests.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_with(url, &[])
    }

    /// Opens a store with settings for its service, such as `("aws_endpoint", "http://…")`, over
    /// those of the environment.
    pub fn open_with(url: &str, options: &[(&str, &str)]) -> Result<Self, StoreError> {
        let bad = |reason: String| StoreError::BadUrl { url: url.into(), reason };
        let backend = match url.split_once("://") {
            None if url.is_empty() => return Err(bad("it is empty".into())),
            None => folder_backend(url, Path::new(url))?,
            Some(("file", _)) => {
                let path = url::Url::parse(url)
                    .map_err(|error| bad(error.to_string()))?
                    .to_file_path()
                    .map_err(|()| bad("it is not an absolute path on this machine".into()))?;
                folder_backend(url, &path)?
            }
            Some(("memory", _)) => Backend::Other(Arc::new(InMemory::new()), Key::default()),
            Some(("s3", rest)) => {
                let retry = RetryConfig {
                    max_retries: 5,
                    retry_timeout: PATIENCE,
                    ..RetryConfig::default()
                };
                let mut builder = AmazonS3Builder::from_env().with_url(url).with_retry(retry);
                for (name, value) in options {
                    let key: AmazonS3ConfigKey = name
                        .parse()
                        .map_err(|_| bad(format!("there is no setting called {name}")))?;
                    builder = builder.with_config(key, *value);
                }
                let bucket = builder.build().map_err(|error| bad(error.to_string()))?;
                let prefix = rest.split_once('/').map_or("", |(_, prefix)| prefix);
                let prefix = Key::parse(prefix).map_err(|error| bad(error.to_string()))?;
                Backend::Other(Arc::new(bucket), prefix)
            }
            Some((scheme, _)) => return Err(bad(format!("`{scheme}` is not supported"))),
        };
        Ok(Self { url: url.into(), backend })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn service(&self) -> Arc<dyn ObjectStore> {
        match &self.backend {
            Backend::Folder(folder, _) => Arc::clone(folder) as Arc<dyn ObjectStore>,
            Backend::Other(service, _) => Arc::clone(service),
        }
    }

    fn key(&self, digest: &Digest) -> Key {
        let prefix = match &self.backend {
            Backend::Folder(..) => Key::default(),
            Backend::Other(_, prefix) => prefix.clone(),
        };
        prefix.child("sha256").child(digest_hex(digest))
    }

    fn local_path(&self, digest: &Digest) -> Option<PathBuf> {
        match &self.backend {
            Backend::Folder(_, root) => Some(root.join("sha256").join(digest_hex(digest))),
            Backend::Other(..) => None,
        }
    }

    fn error(&self, digest: &Digest, error: object_store::Error) -> StoreError {
        let gone = matches!(&self.backend, Backend::Folder(_, root) if !root.is_dir());
        match error {
            object_store::Error::NotFound { .. } if !gone => {
                StoreError::NotFound { url: self.url.clone(), digest: *digest }
            }
            other => StoreError::Unreachable {
                url: self.url.clone(),
                reason: if gone { "the folder is gone".into() } else { other.to_string() },
            },
        }
    }

    /// Whether the store holds a blob of this digest. Its bytes are not checked.
    pub async fn exists(&self, digest: &Digest) -> Result<bool, StoreError> {
        match self.service().head(&self.key(digest)).await {
            Ok(_) => Ok(true),
            Err(error) => match self.error(digest, error) {
                StoreError::NotFound { .. } => Ok(false),
                other => Err(other),
            },
        }
    }

    /// Whether the blob is there in this size and, where reading it costs nothing, undamaged.
    async fn has_whole(&self, digest: &Digest, bytes: u64) -> Result<bool, StoreError> {
        match self.service().head(&self.key(digest)).await {
            Ok(meta) if meta.size != bytes => Ok(false),
            Ok(_) => match self.local_path(digest) {
                Some(path) => Ok(hash_file(&path).await.is_ok_and(|(found, _)| found == *digest)),
                None => Ok(true),
            },
            Err(error) => match self.error(digest, error) {
                StoreError::NotFound { .. } => Ok(false),
                other => Err(other),
            },
        }
    }

    /// A blob in a folder is on disk, name and content, when this returns.
    async fn sync(&self, digest: &Digest) -> Result<(), StoreError> {
        let Some(path) = self.local_path(digest) else { return Ok(()) };
        let failed = |source| StoreError::Io { path: path.clone(), source };
        let file = tokio::fs::File::open(&path).await.map_err(failed)?;
        file.sync_all().await.map_err(failed)?;
        files::sync_parent(&path).map_err(failed)
    }

    /// Stores bytes and returns their digest. Doing it twice is harmless.
    pub async fn put(&self, bytes: Vec<u8>) -> Result<Digest, StoreError> {
        let digest = digest_of(&bytes);
        if !self.has_whole(&digest, bytes.len() as u64).await? {
            self.service()
                .put(&self.key(&digest), PutPayload::from(bytes))
                .await
                .map_err(|error| self.error(&digest, error))?;
            self.sync(&digest).await?;
        }
        Ok(digest)
    }

    /// Stores a file of any size; returns its digest and its bytes.
    pub async fn put_file(&self, path: &Path) -> Result<(Digest, u64), StoreError> {
        let failed = |source| StoreError::Io { path: path.into(), source };
        let (digest, bytes) = hash_file(path).await.map_err(failed)?;
        if self.has_whole(&digest, bytes).await? {
            return Ok((digest, bytes));
        }
        let mut from = tokio::fs::File::open(path).await.map_err(failed)?;
        let mut to = BufWriter::new(self.service(), self.key(&digest));
        let unreachable = |source: std::io::Error| StoreError::Unreachable {
            url: self.url.clone(),
            reason: source.to_string(),
        };
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = from.read(&mut buffer).await.map_err(failed)?;
            let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else { break };
            hasher.update(chunk);
            to.write_all(chunk).await.map_err(unreachable)?;
        }
        if H256(hasher.finalize().into()) != digest {
            // Nothing has been published yet: a writer that is not shut down leaves no blob.
            let _ = to.abort().await;
            let reason = "it changed while it was being stored".into();
            return Err(StoreError::BadFolder { path: path.into(), reason });
        }
        to.shutdown().await.map_err(unreachable)?;
        self.sync(&digest).await?;
        Ok((digest, bytes))
    }

    /// Reads a blob of up to 1 GiB.
    pub async fn get(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        self.get_limited(digest, GET_MAX).await
    }

    /// Reads a blob of up to `max` bytes.
    pub async fn get_limited(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, StoreError> {
        let found = self.open_blob(digest, max).await?;
        let bytes = found.bytes().await.map_err(|error| self.error(digest, error))?;
        let actual = digest_of(&bytes);
        if actual != *digest {
            return Err(StoreError::WrongDigest { url: self.url.clone(), digest: *digest, actual });
        }
        Ok(bytes.into())
    }

    async fn open_blob(
        &self,
        digest: &Digest,
        max: u64,
    ) -> Result<object_store::GetResult, StoreError> {
        let found = self
            .service()
            .get(&self.key(digest))
            .await
            .map_err(|error| self.error(digest, error))?;
        if found.meta.size > max {
            return Err(StoreError::TooLarge { digest: *digest, bytes: found.meta.size, max });
        }
        Ok(found)
    }

    /// Copies a blob of up to `max` bytes into a file, which appears whole or not at all; returns
    /// its size. A file that is already right is left as it is.
    pub async fn get_file(&self, digest: &Digest, to: &Path, max: u64) -> Result<u64, StoreError> {
        if let Ok((found, bytes)) = hash_file(to).await {
            if found == *digest {
                return Ok(bytes);
            }
        }
        let failed = |source| StoreError::Io { path: to.into(), source };
        let found = self.open_blob(digest, max).await?;
        if let Some(parent) = to.parent() {
            tokio::fs::create_dir_all(parent).await.map_err(failed)?;
        }
        let part = files::beside(to);
        let copied = self.copy(digest, found, &part).await;
        let bytes = match copied {
            Ok(bytes) => bytes,
            Err(error) => {
                let _ = tokio::fs::remove_file(&part).await;
                return Err(error);
            }
        };
        tokio::fs::rename(&part, to).await.map_err(failed)?;
        files::sync_parent(to).map_err(failed)?;
        Ok(bytes)
    }

    async fn copy(
        &self,
        digest: &Digest,
        found: object_store::GetResult,
        to: &Path,
    ) -> Result<u64, StoreError> {
        let failed = |source| StoreError::Io { path: to.into(), source };
        let mut file = tokio::fs::File::create(to).await.map_err(failed)?;
        let mut hasher = Sha256::new();
        let mut bytes = 0;
        let mut chunks = found.into_stream().map_err(|error| self.error(digest, error)).boxed();
        while let Some(chunk) = chunks.try_next().await? {
            hasher.update(&chunk);
            bytes += chunk.len() as u64;
            file.write_all(&chunk).await.map_err(failed)?;
        }
        file.sync_all().await.map_err(failed)?;
        let actual = H256(hasher.finalize().into());
        if actual != *digest {
            return Err(StoreError::WrongDigest { url: self.url.clone(), digest: *digest, actual });
        }
        Ok(bytes)
    }
}

fn folder_backend(url: &str, path: &Path) -> Result<Backend, StoreError> {
    let unreachable = |reason: String| StoreError::Unreachable { url: url.into(), reason };
    std::fs::create_dir_all(path).map_err(|error| unreachable(error.to_string()))?;
    let folder = LocalFileSystem::new_with_prefix(path)
        .map_err(|error| unreachable(error.to_string()))?
        .with_automatic_cleanup(false);
    Ok(Backend::Folder(Arc::new(folder), path.to_path_buf()))
}

/// Digest and size of a file.
async fn hash_file(path: &Path) -> std::io::Result<(Digest, u64)> {
    let mut file = tokio::fs::File::open(path).await?;
    let mut hasher = Sha256::new();
    let (mut buffer, mut bytes) = (vec![0; CHUNK], 0);
    loop {
        let read = file.read(&mut buffer).await?;
        let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else { break };
        hasher.update(chunk);
        bytes += read as u64;
    }
    Ok((H256(hasher.finalize().into()), bytes))
}

#[cfg(test)]
mod tests;
