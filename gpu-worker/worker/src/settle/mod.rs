//! Settlement: from answers in the journal to payouts that can be claimed.
//!
//! A batch goes through five steps, each of which is noted in the journal after it was taken:
//!
//! ```text
//! collected ──redeem every voucher──▶ redeemed ──compute, store the payouts──▶ stored
//!           ──submit_batch──▶ submitted ──finalize_batch, after the window──▶ final
//! ```
//!
//! The worker may die between any two instructions. Whatever it does on chain is therefore
//! preceded by a look at the chain: a channel that is redeemed up to the batch's total is not
//! redeemed again, a batch whose number the chain has counted is not submitted again, and a batch
//! that is final is not finalised again.

mod machine;
mod math;

pub use machine::{Policy, Progress, Settler};
pub use math::{prepare, Prepared};

use crate::error::Result;
use async_trait::async_trait;
use tributary_client::calls::attribution::NewBatch;
use tributary_primitives::{
    signing::Voucher,
    views::{BatchView, ChannelView, SharesView},
    AccountId, Balance, BatchId, BlockNumber, ChannelId, Digest, MultiSignature,
};

/// What settlement needs of the chain. Calls return when they are in a block.
#[async_trait]
pub trait SettleChain: Send + Sync {
    /// Number of the best block.
    async fn height(&self) -> Result<BlockNumber>;
    /// A channel; `None` once it is settled.
    async fn channel(&self, id: ChannelId) -> Result<Option<ChannelView>>;
    /// How fees are shared now.
    async fn shares(&self) -> Result<SharesView>;
    /// Number that the worker's next batch must have.
    async fn next_sequence(&self, worker: &AccountId) -> Result<u32>;
    /// What the worker redeemed and has not settled, in units.
    async fn revenue(&self, worker: &AccountId) -> Result<Balance>;
    /// A batch.
    async fn batch(&self, id: BatchId) -> Result<Option<BatchView>>;
    /// Batches from an id on, at most a page of them.
    async fn batches(&self, from: BatchId) -> Result<Vec<BatchView>>;
    /// Takes what was spent of a channel, up to `total`.
    async fn redeem(
        &self,
        voucher: &Voucher,
        signature: &MultiSignature,
        total: Balance,
    ) -> Result<()>;
    /// Submits a batch.
    async fn submit_batch(&self, batch: &NewBatch) -> Result<()>;
    /// Finalises a batch whose window is over.
    async fn finalize_batch(&self, id: BatchId) -> Result<()>;
}

/// What settlement needs of the object store.
#[async_trait]
pub trait PutBlob: Send + Sync {
    /// Stores a blob and names it by its digest. Storing it twice is no different from once.
    async fn put(&self, bytes: Vec<u8>) -> Result<Digest>;
}
