//! What a contributor keeps of each shard: above all the seed of its salts, without which no
//! record can be proven later.

use super::{Shard, ShardError};
use crate::{
    files::{self, Existing},
    store::digest_hex,
};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use tributary_primitives::{records::Seed, ContributionId, DatanetId, Digest, H256};

/// What is kept of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptShard {
    /// Seed of the salts, hexadecimal. Whoever knows it and guesses a record can tell whether it
    /// is in the shard.
    pub seed: String,
    /// Digest of the shard.
    pub content: Digest,
    /// Root over the salted records.
    pub records_root: H256,
    /// Number of records.
    pub records: u32,
    /// Where the file was when it was pushed.
    pub file: PathBuf,
    /// Name of the payout key.
    pub key: String,
    /// Datanet it was pushed to.
    pub datanet: DatanetId,
    /// The contribution, once it is in a block.
    pub contribution: Option<ContributionId>,
}

impl KeptShard {
    /// The seed's bytes.
    pub fn seed(&self) -> Option<Seed> {
        hex::decode(&self.seed).ok()?.try_into().ok()
    }
}

/// The folder in which it is kept, one file for each shard.
#[derive(Clone, Debug)]
pub struct ShardBook {
    folder: PathBuf,
}

impl ShardBook {
    /// The book in a folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn path(&self, content: &Digest) -> PathBuf {
        self.folder.join(format!("{}.json", digest_hex(content)))
    }

    /// What is kept of the shard with this digest.
    pub fn get(&self, content: &Digest) -> Result<Option<KeptShard>, ShardError> {
        read(&self.path(content))
    }

    /// What is kept of the shard of this contribution.
    pub fn by_contribution(&self, id: ContributionId) -> Result<Option<KeptShard>, ShardError> {
        Ok(self.list()?.into_iter().find(|kept| kept.contribution == Some(id)))
    }

    /// Everything that is kept.
    pub fn list(&self) -> Result<Vec<KeptShard>, ShardError> {
        let failed = |source| ShardError::Io { path: self.folder.clone(), source };
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let mut list = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                list.extend(read(&path)?);
            }
        }
        list.sort_by_key(|kept| (kept.contribution, kept.content));
        Ok(list)
    }

    /// The seed of a shard: the one kept, so that pushing again gives the same tree, else a fresh
    /// one, kept before it is used.
    pub fn seed_for(
        &self,
        shard: &Shard,
        file: &Path,
        key: &str,
        datanet: DatanetId,
    ) -> Result<Seed, ShardError> {
        if let Some(kept) = self.get(&shard.content())? {
            return kept.seed().ok_or_else(|| ShardError::Kept {
                path: self.path(&shard.content()),
                reason: "its seed is not 64 hexadecimal digits; delete the file".into(),
            });
        }
        let seed = Shard::fresh_seed();
        self.put(&KeptShard {
            seed: hex::encode(seed),
            content: shard.content(),
            records_root: shard.root(&seed),
            records: shard.len(),
            file: fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf()),
            key: key.into(),
            datanet,
            contribution: None,
        })?;
        Ok(seed)
    }

    /// Keeps something, in place of what was kept of the same shard.
    pub fn put(&self, kept: &KeptShard) -> Result<(), ShardError> {
        let path = self.path(&kept.content);
        let failed = |source| ShardError::Io { path: path.clone(), source };
        let json = serde_json::to_vec_pretty(kept).map_err(|error| failed(error.into()))?;
        files::private_folder(&self.folder).map_err(failed)?;
        files::write_private(&path, &json, Existing::Replace).map_err(failed)
    }
}

fn read(path: &Path) -> Result<Option<KeptShard>, ShardError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ShardError::Io { path: path.into(), source }),
        Ok(bytes) => bytes,
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| ShardError::Kept {
        path: path.into(),
        reason: format!("it cannot be read ({error}); restore it or move it away"),
    })
}
