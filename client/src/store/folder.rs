//! Folders in the store: a manifest that lists the files, and the files.

use super::{digest_hex, parse_digest, Store, StoreError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};
use tributary_primitives::Digest;

/// Largest manifest that is read.
const MANIFEST_MAX: u64 = 4 << 20;
/// Most files that a folder may have.
const FILES_MAX: usize = 10_000;

/// What a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FolderKind {
    /// All weights of a model, in the hub's layout.
    Model,
    /// A LoRA adapter, in PEFT's layout.
    Adapter,
}

/// A file of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path in the folder, with `/` between its parts.
    pub path: String,
    /// Digest of the file.
    #[serde(serialize_with = "write_digest", deserialize_with = "read_digest")]
    pub digest: Digest,
    /// Size of the file.
    pub bytes: u64,
}

/// What a folder consists of. Its JSON is stored as a blob, whose digest names the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What the folder holds.
    pub kind: FolderKind,
    /// Its files, by path.
    pub files: Vec<FileEntry>,
}

fn write_digest<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&digest_hex(digest))
}

fn read_digest<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
    parse_digest(&String::deserialize(from)?).map_err(serde::de::Error::custom)
}

impl Manifest {
    /// Checks that every path stays in the folder and none comes twice.
    fn check(&self) -> Result<(), String> {
        if self.files.is_empty() || self.files.len() > FILES_MAX {
            return Err(format!("it lists {} files, not 1 to {FILES_MAX}", self.files.len()));
        }
        let mut seen = BTreeSet::new();
        for file in &self.files {
            let path = Path::new(&file.path);
            let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
            if file.path.is_empty() || file.path.contains(['\\', '\0']) || !inside {
                return Err(format!("`{}` is not a path in a folder", file.path));
            }
            if !seen.insert(&file.path) {
                return Err(format!("`{}` is listed twice", file.path));
            }
        }
        Ok(())
    }

    /// The entry of a file.
    pub fn file(&self, path: &str) -> Option<&FileEntry> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Size of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).fold(0, u64::saturating_add)
    }
}

impl Store {
    /// Stores a folder with everything in it but hidden files; returns the digest of its manifest.
    /// The same files give the same digest.
    pub async fn put_folder(&self, kind: FolderKind, folder: &Path) -> Result<Digest, StoreError> {
        let bad = |reason: String| StoreError::BadFolder { path: folder.into(), reason };
        let mut paths = Vec::new();
        list(folder, folder, &mut paths)?;
        paths.sort();
        let mut files = Vec::with_capacity(paths.len());
        for (name, path) in paths {
            let (digest, bytes) = self.put_file(&path).await?;
            files.push(FileEntry { path: name, digest, bytes });
        }
        let manifest = Manifest { kind, files };
        manifest.check().map_err(bad)?;
        let json = serde_json::to_vec(&manifest).map_err(|error| bad(error.to_string()))?;
        self.put(json).await
    }

    /// Reads a manifest.
    pub async fn manifest(&self, digest: &Digest) -> Result<Manifest, StoreError> {
        let bytes = self.get_limited(digest, MANIFEST_MAX).await?;
        let bad = |reason: String| StoreError::BadManifest { digest: *digest, reason };
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        manifest.check().map_err(bad)?;
        Ok(manifest)
    }

    /// Copies a folder out of the store. Files that are already there and right are kept, so that a
    /// copy that broke off is completed.
    pub async fn get_folder(&self, digest: &Digest, to: &Path) -> Result<Manifest, StoreError> {
        let manifest = self.manifest(digest).await?;
        for file in &manifest.files {
            let bytes = self.get_file(&file.digest, &to.join(&file.path), file.bytes).await?;
            if bytes != file.bytes {
                let reason = format!("`{}` has {bytes} bytes, not {}", file.path, file.bytes);
                return Err(StoreError::BadManifest { digest: *digest, reason });
            }
        }
        Ok(manifest)
    }
}

fn list(root: &Path, folder: &Path, into: &mut Vec<(String, PathBuf)>) -> Result<(), StoreError> {
    let failed = |source| StoreError::Io { path: folder.into(), source };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let bad =
            |reason: &str| StoreError::BadFolder { path: path.clone(), reason: reason.into() };
        let relative = path.strip_prefix(root).map_err(|_| bad("it is outside of the folder"))?;
        let name = relative.to_str().ok_or_else(|| bad("its name is not UTF-8"))?;
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            continue;
        }
        // Links are followed, since hub caches consist of them.
        let meta = std::fs::metadata(&path)
            .map_err(|source| StoreError::Io { path: path.clone(), source })?;
        if meta.is_dir() {
            list(root, &path, into)?;
        } else if meta.is_file() {
            into.push((name.to_string(), path.clone()));
        } else {
            return Err(bad("it is neither a file nor a folder"));
        }
        if into.len() > FILES_MAX {
            return Err(bad("the folder has too many files"));
        }
    }
    Ok(())
}
