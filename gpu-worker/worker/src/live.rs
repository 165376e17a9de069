//! The real chain and the real object store behind the worker's small traits.

use crate::{
    catalog::MarketChain,
    error::{Result, WorkerError},
    jobs::JobChain,
    settle::{PutBlob, SettleChain},
};
use async_trait::async_trait;
use std::sync::Arc;
use tributary_client::{
    calls::{
        attribution::{FinalizeBatch, NewBatch, RegisterBase, SubmitBatch},
        compute::{
            ClaimJob, FinalizeJob, RegisterWorker, ReportProgress, SubmitResult, UpdateWorker,
            WorkerInfo,
        },
        marketplace::Redeem,
        Call,
    },
    chain::{Chain, ChainError},
    keys::Key,
    store::{Store, StoreError},
    ErrorKind,
};
use tributary_primitives::{
    jobs::{JobResult, Progress},
    signing::Voucher,
    views::{
        BatchView, ChannelView, JobView, ListingView, ModelView, SharesView, Text, WorkerView,
        MAX_PAGE,
    },
    AccountId, Balance, BatchId, BlockNumber, ChannelId, ContributionId, Digest, JobId, ModelId,
    MultiSignature, VersionRef,
};

/// The chain, as the account of one worker sees it and writes to it.
#[derive(Clone)]
pub struct Live {
    chain: Chain,
    key: Arc<Key>,
}

/// Reads and calls fail in the same few ways.
fn fault(call: &'static str, error: ChainError) -> WorkerError {
    let reason = error.to_string();
    match error.kind() {
        ErrorKind::Unreachable => WorkerError::NodeUnreachable(reason),
        ErrorKind::Usage => WorkerError::Config(reason),
        ErrorKind::Refused => WorkerError::Refused { call, reason },
        _ => WorkerError::ChainAnswer(reason),
    }
}

fn read_fault(error: ChainError) -> WorkerError {
    match fault("a read", error) {
        // A read that the node refuses is one that it does not know or cannot answer now.
        WorkerError::Refused { reason, .. } => WorkerError::ChainAnswer(reason),
        other => other,
    }
}

/// What a failed access to the object store means for the worker.
pub fn store_fault(error: StoreError) -> WorkerError {
    let reason = error.to_string();
    match error {
        StoreError::NotFound { digest, .. } => WorkerError::BlobMissing(digest),
        StoreError::WrongDigest { digest, .. }
        | StoreError::TooLarge { digest, .. }
        | StoreError::BadManifest { digest, .. } => WorkerError::BadBlob { digest, reason },
        StoreError::Io { path, source } => {
            WorkerError::Io { what: format!("keeping a blob in {}", path.display()), source }
        }
        other if other.kind() == ErrorKind::Usage => WorkerError::Config(reason),
        _ => WorkerError::StoreUnreachable(reason),
    }
}

impl Live {
    /// The chain for the worker of this key.
    pub fn new(chain: Chain, key: Arc<Key>) -> Self {
        Self { chain, key }
    }

    async fn call<C: Call>(&self, name: &'static str, call: &C) -> Result<()> {
        let included = self.chain.submit(call, &self.key).await.map_err(|e| fault(name, e))?;
        tracing::debug!(call = name, block = included.number, "in a block");
        Ok(())
    }

    /// Registers a base model, owned by the worker's account.
    pub async fn register_base(&self, name: &str, content: Digest, royalty: u32) -> Result<()> {
        let call = RegisterBase { name: Text::from(name), content, royalty };
        self.call("Attribution::register_base", &call).await
    }

    /// Registers the worker, or brings what the chain says of it up to date.
    pub async fn register(&self, info: WorkerInfo, stake: Balance) -> Result<()> {
        let account = self.key.account();
        let Some(known) = self.chain.compute().worker(&account).await.map_err(read_fault)? else {
            self.call("Compute::register_worker", &RegisterWorker { info, stake }).await?;
            tracing::info!(worker = %account, stake = %stake, "registered on chain");
            return Ok(());
        };
        let same = known.endpoint == info.endpoint
            && known.signing_key == info.signing_key
            && known.max_rank == info.max_rank
            && known.gpu == info.gpu
            && known.train_price == info.train_price;
        if !same {
            self.call("Compute::update_worker", &UpdateWorker { info }).await?;
            tracing::info!(worker = %account, "registration brought up to date");
        }
        Ok(())
    }
}

#[async_trait]
impl SettleChain for Live {
    async fn height(&self) -> Result<BlockNumber> {
        Ok(self.chain.best().await.map_err(read_fault)?.number)
    }

    async fn channel(&self, id: ChannelId) -> Result<Option<ChannelView>> {
        self.chain.marketplace().channel(id).await.map_err(read_fault)
    }

    async fn shares(&self) -> Result<SharesView> {
        self.chain.attribution().shares().await.map_err(read_fault)
    }

    async fn next_sequence(&self, worker: &AccountId) -> Result<u32> {
        self.chain.attribution().next_sequence(worker).await.map_err(read_fault)
    }

    async fn revenue(&self, worker: &AccountId) -> Result<Balance> {
        self.chain.attribution().revenue(worker).await.map_err(read_fault)
    }

    async fn batch(&self, id: BatchId) -> Result<Option<BatchView>> {
        self.chain.attribution().batch(id).await.map_err(read_fault)
    }

    async fn batches(&self, from: BatchId) -> Result<Vec<BatchView>> {
        self.chain.attribution().batches(from, MAX_PAGE).await.map_err(read_fault)
    }

    async fn redeem(
        &self,
        voucher: &Voucher,
        signature: &MultiSignature,
        total: Balance,
    ) -> Result<()> {
        let call = Redeem { voucher: voucher.clone(), signature: signature.clone(), total };
        self.call("Marketplace::redeem", &call).await
    }

    async fn submit_batch(&self, batch: &NewBatch) -> Result<()> {
        self.call("Attribution::submit_batch", &SubmitBatch { batch: batch.clone() }).await
    }

    async fn finalize_batch(&self, id: BatchId) -> Result<()> {
        self.call("Attribution::finalize_batch", &FinalizeBatch { batch: id }).await
    }
}

#[async_trait]
impl MarketChain for Live {
    async fn model_by_name(&self, name: &str) -> Result<Option<ModelView>> {
        self.chain.attribution().model_by_name(name).await.map_err(read_fault)
    }

    async fn model(&self, id: ModelId) -> Result<Option<ModelView>> {
        self.chain.attribution().model(id).await.map_err(read_fault)
    }

    async fn models(&self, from: ModelId) -> Result<Vec<ModelView>> {
        self.chain.attribution().models(from, MAX_PAGE).await.map_err(read_fault)
    }

    async fn listing(&self, id: ModelId) -> Result<Option<ListingView>> {
        self.chain.marketplace().listing(id).await.map_err(read_fault)
    }

    async fn channel(&self, id: ChannelId) -> Result<Option<ChannelView>> {
        SettleChain::channel(self, id).await
    }
}

#[async_trait]
impl JobChain for Live {
    async fn height(&self) -> Result<BlockNumber> {
        SettleChain::height(self).await
    }

    async fn worker(&self, account: &AccountId) -> Result<Option<WorkerView>> {
        self.chain.compute().worker(account).await.map_err(read_fault)
    }

    async fn open_jobs(&self) -> Result<Vec<JobView>> {
        self.chain.compute().open_jobs(MAX_PAGE).await.map_err(read_fault)
    }

    async fn job(&self, id: JobId) -> Result<Option<JobView>> {
        self.chain.compute().job(id).await.map_err(read_fault)
    }

    async fn members(&self, version: VersionRef) -> Result<Option<Vec<(ContributionId, Digest)>>> {
        self.chain.datanets().version_members(version).await.map_err(read_fault)
    }

    async fn size(&self, version: VersionRef) -> Result<Option<(u64, u64)>> {
        let view = self.chain.datanets().version(version).await.map_err(read_fault)?;
        Ok(view.map(|view| (view.records, view.bytes)))
    }

    async fn claim(&self, job: JobId) -> Result<()> {
        self.call("Compute::claim_job", &ClaimJob { job }).await
    }

    async fn submit_result(&self, job: JobId, result: &JobResult) -> Result<()> {
        let call = SubmitResult { job, result: result.clone() };
        self.call("Compute::submit_result", &call).await
    }

    async fn report(&self, job: JobId, progress: Progress) -> Result<()> {
        self.call("Compute::report_progress", &ReportProgress { job, progress }).await
    }

    async fn finalize(&self, job: JobId) -> Result<()> {
        self.call("Compute::finalize_job", &FinalizeJob { job }).await
    }
}

/// The object store, as settlement uses it.
pub struct Blobs(pub Store);

#[async_trait]
impl PutBlob for Blobs {
    async fn put(&self, bytes: Vec<u8>) -> Result<Digest> {
        self.0.put(bytes).await.map_err(store_fault)
    }
}
