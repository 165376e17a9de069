//! The folder in which a person's keys, shards' seeds and channels are kept.

use crate::{channels::ChannelBook, files, keys::KeyStore, shards::ShardBook};
use std::path::{Path, PathBuf};

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// No place for it is known.
    #[error("no home folder is known; set TRIBUTARY_HOME (or HOME) to a folder you may write to")]
    Unknown,
    /// It cannot be made or read.
    #[error("cannot use {path}: {source}; choose another folder with --home or TRIBUTARY_HOME")]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// `keys/`, `shards/`, `channels/`, `receipts/` and, unless another store is named, `store/`.
#[derive(Clone, Debug)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// Opens the folder, making it if need be: the one given, else `$TRIBUTARY_HOME`, else
    /// `$XDG_DATA_HOME/tributary`, else `~/.local/share/tributary`.
    pub fn open(given: Option<PathBuf>) -> Result<Self, HomeError> {
        let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let root = given
            .or_else(|| variable("TRIBUTARY_HOME"))
            .or_else(|| variable("XDG_DATA_HOME").map(|data| data.join("tributary")))
            .or_else(|| variable("HOME").map(|home| home.join(".local/share/tributary")))
            .ok_or(HomeError::Unknown)?;
        let root = std::path::absolute(&root)
            .map_err(|source| HomeError::Io { path: root.clone(), source })?;
        let home = Self { root };
        for folder in
            [home.keys_path(), home.shards_path(), home.channels_path(), home.receipts_path()]
        {
            files::private_folder(&folder)
                .map_err(|source| HomeError::Io { path: folder.clone(), source })?;
        }
        Ok(home)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Folder of the keys.
    pub fn keys_path(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// Folder of what a contributor keeps of each shard, its seed above all.
    pub fn shards_path(&self) -> PathBuf {
        self.root.join("shards")
    }

    /// Folder of the payment channels' state.
    pub fn channels_path(&self) -> PathBuf {
        self.root.join("channels")
    }

    /// Folder of the receipts that workers gave.
    pub fn receipts_path(&self) -> PathBuf {
        self.root.join("receipts")
    }

    /// URL of the store that is used when none is named.
    pub fn default_store(&self) -> String {
        self.root.join("store").to_string_lossy().into_owned()
    }

    /// The keys.
    pub fn keys(&self) -> KeyStore {
        KeyStore::new(self.keys_path())
    }

    /// What is kept of each shard.
    pub fn shards(&self) -> ShardBook {
        ShardBook::new(self.shards_path())
    }

    /// The payment channels.
    pub fn channels(&self) -> ChannelBook {
        ChannelBook::new(self.channels_path())
    }
}
