//! What dApps list: the declarations of Tributary's own runtime APIs.
//!
//! Lists are paged. `from` is the first id or position, and `limit` is at most
//! [`tributary_primitives::views::MAX_PAGE`].

use alloc::vec::Vec;
use polkadot_sdk::*;
use tributary_primitives::{
    bridge::{FailedDepositView, SettlementView, Withdrawal},
    log::LogEntry,
    views::{
        BatchView, ChannelView, ContributionView, DatanetView, JobView, ListingView, ModelView,
        PositionView, SharesView, SupplyView, Text, VersionView, WorkerView,
    },
    AccountId, Balance, BatchId, ChannelId, ContributionId, DatanetId, Digest, JobId, ModelId,
    Subject, VersionRef,
};

sp_api::decl_runtime_apis! {
    /// How much OPEN there is.
    pub trait TokenApi {
        /// The cap, what exists, what was emitted and burnt.
        fn supply() -> SupplyView;
    }

    /// Datanets, contributions and versions.
    pub trait DatanetsApi {
        /// The datanet of this id.
        fn datanet(id: DatanetId) -> Option<DatanetView>;
        /// The datanet of this name.
        fn datanet_by_name(name: Text) -> Option<DatanetView>;
        /// Datanets in the order of their ids.
        fn datanets(from: DatanetId, limit: u32) -> Vec<DatanetView>;
        /// The contribution of this id.
        fn contribution(id: ContributionId) -> Option<ContributionView>;
        /// A datanet's contributions; `from` is a position in the datanet.
        fn contributions(datanet: DatanetId, from: u32, limit: u32) -> Vec<ContributionView>;
        /// The contribution of the shard with this digest.
        fn contribution_by_content(content: Digest) -> Option<ContributionView>;
        /// Contributions that are paid to this account.
        fn contributions_of(payout: AccountId, limit: u32) -> Vec<ContributionView>;
        /// A version of a datanet.
        fn version(version: VersionRef) -> Option<VersionView>;
        /// A datanet's versions; `from` is a version's number.
        fn versions(datanet: DatanetId, from: u32, limit: u32) -> Vec<VersionView>;
        /// A datanet's log, over which its versions' roots are made.
        fn log(datanet: DatanetId, from: u32, limit: u32) -> Vec<LogEntry>;
    }

    /// Stake behind subjects.
    pub trait StakesApi {
        /// What one account has behind a subject.
        fn position(subject: Subject, who: AccountId) -> PositionView;
        /// What all accounts together have behind a subject.
        fn total(subject: Subject) -> Balance;
    }

    /// Workers and jobs.
    pub trait ComputeApi {
        /// The worker of this account.
        fn worker(account: AccountId) -> Option<WorkerView>;
        /// All workers, in no particular order.
        fn workers(limit: u32) -> Vec<WorkerView>;
        /// The job of this id.
        fn job(id: JobId) -> Option<JobView>;
        /// Jobs in the order of their ids.
        fn jobs(from: JobId, limit: u32) -> Vec<JobView>;
        /// Jobs that wait for a worker.
        fn open_jobs(limit: u32) -> Vec<JobView>;
    }

    /// Models, batches and payouts.
    pub trait AttributionApi {
        /// The model of this id.
        fn model(id: ModelId) -> Option<ModelView>;
        /// The model of this name.
        fn model_by_name(name: Text) -> Option<ModelView>;
        /// Models in the order of their ids.
        fn models(from: ModelId, limit: u32) -> Vec<ModelView>;
        /// A model and its ancestors, itself first.
        fn lineage(id: ModelId) -> Vec<ModelView>;
        /// The batch of this id.
        fn batch(id: BatchId) -> Option<BatchView>;
        /// Batches in the order of their ids.
        fn batches(from: BatchId, limit: u32) -> Vec<BatchView>;
        /// For each of a batch's payouts, whether it has been claimed.
        fn claimed(batch: BatchId, payouts: Vec<u32>) -> Vec<bool>;
        /// How fees are shared.
        fn shares() -> SharesView;
        /// The number that a worker's next batch must have.
        fn next_sequence(worker: AccountId) -> u32;
        /// What a worker has redeemed and not yet settled, in units.
        fn revenue(worker: AccountId) -> Balance;
    }

    /// Listings and channels.
    pub trait MarketplaceApi {
        /// What a model costs.
        fn listing(model: ModelId) -> Option<ListingView>;
        /// Listings in the order of their models' ids.
        fn listings(from: ModelId, limit: u32) -> Vec<ListingView>;
        /// The channel of this id.
        fn channel(id: ChannelId) -> Option<ChannelView>;
        /// The channels of this consumer.
        fn channels_of(consumer: AccountId) -> Vec<ChannelView>;
    }

    /// The bridge to Ethereum.
    pub trait SettlementApi {
        /// Contracts, origin, deposits, withdrawals.
        fn state() -> SettlementView;
        /// The withdrawal at a position.
        fn withdrawal(index: u32) -> Option<Withdrawal>;
        /// The siblings, from the leaf upwards, that prove the withdrawal at a position under the
        /// root that the tree had with `leaf_count` withdrawals.
        fn withdrawal_proof(index: u32, leaf_count: u32) -> Option<[Digest; 32]>;
        /// The failed deposit at a position, if it can be sent back.
        fn failed_deposit(index: u64) -> Option<FailedDepositView>;
    }
}
