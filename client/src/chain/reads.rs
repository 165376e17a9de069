//! The chain's runtime APIs, theme by theme, at the best block.

use super::{Chain, ChainError};
use tributary_primitives::{
    bridge::{FailedDepositView, SettlementView, Withdrawal},
    log::{self, LogEntry},
    views::{
        BatchView, ChannelView, ContributionView, DatanetView, JobView, ListingView, ModelView,
        PositionView, SharesView, SupplyView, Text, VersionView, WorkerView, MAX_PAGE,
    },
    AccountId, Balance, BatchId, ChannelId, ContributionId, DatanetId, Digest, JobId, ModelId,
    Subject, VersionRef, H256,
};

macro_rules! theme {
    (
        $(#[$doc:meta])* $accessor:ident $theme:ident $api:literal:
        $($(#[$method_doc:meta])* fn $method:ident($($arg:ident: $type:ty),*) -> $result:ty;)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $theme<'a>(&'a Chain);

        impl Chain {
            $(#[$doc])*
            pub fn $accessor(&self) -> $theme<'_> {
                $theme(self)
            }
        }

        impl $theme<'_> {
            $(
                $(#[$method_doc])*
                pub async fn $method(&self, $($arg: $type),*) -> Result<$result, ChainError> {
                    let function = concat!($api, "_", stringify!($method));
                    self.0.runtime_api(function, &($($arg,)*)).await
                }
            )*
        }
    };
}

theme! {
    /// OPEN.
    token Token "TokenApi":
    /// How much there is and may be.
    fn supply() -> SupplyView;
}

theme! {
    /// Datanets, contributions, versions.
    datanets Datanets "DatanetsApi":
    /// A datanet.
    fn datanet(id: DatanetId) -> Option<DatanetView>;
    /// Datanets from an id on.
    fn datanets(from: DatanetId, limit: u32) -> Vec<DatanetView>;
    /// A contribution.
    fn contribution(id: ContributionId) -> Option<ContributionView>;
    /// Contributions to a datanet, from a position on.
    fn contributions(datanet: DatanetId, from: u32, limit: u32) -> Vec<ContributionView>;
    /// The contribution with this content.
    fn contribution_by_content(content: Digest) -> Option<ContributionView>;
    /// Contributions that are paid to an account.
    fn contributions_of(payout: &AccountId, limit: u32) -> Vec<ContributionView>;
    /// A version.
    fn version(version: VersionRef) -> Option<VersionView>;
    /// Versions of a datanet, from a number on.
    fn versions(datanet: DatanetId, from: u32, limit: u32) -> Vec<VersionView>;
    /// Entries of a datanet's log, from a position on.
    fn log(datanet: DatanetId, from: u32, limit: u32) -> Vec<LogEntry>;
}

impl Datanets<'_> {
    /// The datanet of this name.
    pub async fn datanet_by_name(&self, name: &str) -> Result<Option<DatanetView>, ChainError> {
        self.0.runtime_api("DatanetsApi_datanet_by_name", &Text::from(name)).await
    }

    /// The contributions that a version holds, with their shards' digests, in the order of their
    /// acceptance; `None` if there is no such version.
    pub async fn version_members(
        &self,
        version: VersionRef,
    ) -> Result<Option<Vec<(ContributionId, Digest)>>, ChainError> {
        let Some(view) = self.version(version).await? else { return Ok(None) };
        let mut entries: Vec<LogEntry> = Vec::new();
        loop {
            let from = u32::try_from(entries.len()).unwrap_or(u32::MAX);
            let left = view.length.saturating_sub(from);
            if left == 0 {
                return Ok(Some(log::members(&entries)));
            }
            let page = self.log(version.datanet, from, left.min(MAX_PAGE)).await?;
            if page.is_empty() {
                return Err(ChainError::Decode {
                    what: format!("the log of datanet {}", version.datanet),
                    reason: format!("it ends at {from}, before the version's {}", view.length),
                });
            }
            entries.extend(page.into_iter().take(left as usize));
        }
    }
}

theme! {
    /// Stake.
    stakes Stakes "StakesApi":
    /// Stake of an account behind a subject.
    fn position(subject: &Subject, account: &AccountId) -> PositionView;
    /// All stake behind a subject, in units.
    fn total(subject: &Subject) -> Balance;
}

theme! {
    /// Workers and jobs.
    compute Compute "ComputeApi":
    /// A worker.
    fn worker(account: &AccountId) -> Option<WorkerView>;
    /// Workers.
    fn workers(limit: u32) -> Vec<WorkerView>;
    /// A job.
    fn job(id: JobId) -> Option<JobView>;
    /// Jobs from an id on.
    fn jobs(from: JobId, limit: u32) -> Vec<JobView>;
    /// Jobs that wait for a worker.
    fn open_jobs(limit: u32) -> Vec<JobView>;
}

theme! {
    /// Models and settlement.
    attribution Attribution "AttributionApi":
    /// A model.
    fn model(id: ModelId) -> Option<ModelView>;
    /// Models from an id on.
    fn models(from: ModelId, limit: u32) -> Vec<ModelView>;
    /// A model and its ancestors, itself first.
    fn lineage(id: ModelId) -> Vec<ModelView>;
    /// A batch.
    fn batch(id: BatchId) -> Option<BatchView>;
    /// Batches from an id on.
    fn batches(from: BatchId, limit: u32) -> Vec<BatchView>;
    /// Which of these payouts of a batch were claimed.
    fn claimed(batch: BatchId, indices: Vec<u32>) -> Vec<bool>;
    /// How fees are shared.
    fn shares() -> SharesView;
    /// Number of a worker's next batch.
    fn next_sequence(worker: &AccountId) -> u32;
    /// What a worker redeemed and has not yet settled, in units.
    fn revenue(worker: &AccountId) -> Balance;
}

impl Attribution<'_> {
    /// The model of this name.
    pub async fn model_by_name(&self, name: &str) -> Result<Option<ModelView>, ChainError> {
        self.0.runtime_api("AttributionApi_model_by_name", &Text::from(name)).await
    }
}

theme! {
    /// Listings and channels.
    marketplace Marketplace "MarketplaceApi":
    /// A model's listing.
    fn listing(model: ModelId) -> Option<ListingView>;
    /// Listings from a model on.
    fn listings(from: ModelId, limit: u32) -> Vec<ListingView>;
    /// A channel.
    fn channel(id: ChannelId) -> Option<ChannelView>;
    /// Channels that an account pays into.
    fn channels_of(consumer: &AccountId) -> Vec<ChannelView>;
}

theme! {
    /// The bridge to Ethereum.
    settlement Settlement "SettlementApi":
    /// Contracts, origin, deposits, withdrawals.
    fn state() -> SettlementView;
    /// The withdrawal at a position.
    fn withdrawal(index: u32) -> Option<Withdrawal>;
    /// The siblings that prove the withdrawal at a position under the root that the tree had with
    /// `leaf_count` withdrawals.
    fn withdrawal_proof(index: u32, leaf_count: u32) -> Option<[H256; 32]>;
    /// The failed deposit at a position, if it can be sent back.
    fn failed_deposit(index: u64) -> Option<FailedDepositView>;
}

impl Settlement<'_> {
    /// The state of the bridge at the end of a block.
    pub async fn state_at(&self, block: H256) -> Result<SettlementView, ChainError> {
        self.0.runtime_api_at("SettlementApi_state", &(), Some(block)).await
    }
}
