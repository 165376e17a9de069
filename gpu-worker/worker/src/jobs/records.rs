//! The records of a job, and what may be charged for them.

use super::{Contributions, Runner};
use crate::{
    error::{Result, WorkerError},
    live::store_fault,
};
use std::collections::BTreeMap;
use tributary_client::shards::{RecordKind, Shard};
use tributary_primitives::{
    jobs::token_bound, views::JobView, ContributionId, Digest, JobId, VersionRef,
};

/// Largest shard that is read; the chain takes no larger one.
const SHARD_MAX: u64 = 64 << 20;

fn no_version(job: JobId, version: VersionRef) -> WorkerError {
    let reason = format!("there is no version {} of datanet {}", version.number, version.datanet);
    WorkerError::JobImpossible { job, reason }
}

impl Runner {
    /// Fetches the shards of the job's versions, each contribution once, by id. They are of one
    /// kind.
    pub(super) async fn fetch(&self, job: &JobView) -> Result<Contributions> {
        let impossible = |reason: String| WorkerError::JobImpossible { job: job.id, reason };
        let mut shards: BTreeMap<ContributionId, Digest> = BTreeMap::new();
        for version in &job.versions {
            let members = self.chain.members(*version).await?;
            shards.extend(members.ok_or_else(|| no_version(job.id, *version))?);
        }
        if shards.is_empty() {
            return Err(impossible("its versions hold no contribution".into()));
        }
        // Nothing is fetched, again and again, of a job of which something is missing.
        for content in shards.values() {
            if !self.store.exists(content).await.map_err(store_fault)? {
                return Err(WorkerError::BlobMissing(*content));
            }
        }
        let (mut contributions, mut bytes) = (Vec::with_capacity(shards.len()), 0u64);
        let mut first: Option<(ContributionId, RecordKind)> = None;
        for (contribution, content) in shards {
            let shard = self.store.get_limited(&content, SHARD_MAX).await.map_err(store_fault)?;
            bytes = bytes.saturating_add(shard.len() as u64);
            if bytes > self.max_bytes {
                return Err(impossible(format!(
                    "its shards have more than the {} bytes that this worker takes",
                    self.max_bytes
                )));
            }
            let shard = Shard::parse(shard).map_err(|e| {
                impossible(format!("the shard of contribution {contribution}: {e}"))
            })?;
            let (other, kind) = *first.get_or_insert((contribution, shard.kind()));
            if kind != shard.kind() {
                return Err(WorkerError::MixedRecords {
                    job: job.id,
                    first: (other, kind),
                    second: (contribution, shard.kind()),
                });
            }
            contributions.push((contribution, shard.parsed().to_vec()));
        }
        Ok(contributions)
    }

    /// Most tokens that the chain lets a result charge for. A preference goes through the model as
    /// two sequences with the prompt in both, which may be more than the bytes of its record; the
    /// rest of it is trained for nothing, for the chain would refuse the result.
    pub(super) async fn most_tokens(&self, job: &JobView) -> Result<u64> {
        let (mut records, mut bytes) = (0u64, 0u64);
        for version in &job.versions {
            let size = self.chain.size(*version).await?;
            let (more, size) = size.ok_or_else(|| no_version(job.id, *version))?;
            records = records.saturating_add(more);
            bytes = bytes.saturating_add(size);
        }
        Ok(token_bound(records, bytes, job.spec.epochs))
    }
}
