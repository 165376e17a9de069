//! # Compute: workers and training jobs
//!
//! ## Terminology
//!
//! - **Worker**: an account that trains adapters and serves models, with stake behind it.
//! - **Job**: a request to train a LoRA adapter from a base model on datanet versions.
//! - **Escrow**: the most that a job may cost, on hold in its owner's account until the job is over.
//! - **Lease**: one worker's sole right to train a job, for a fixed number of blocks.
//! - **Result**: digests of what was trained, and what was measured. It stands after a challenge
//!   window.
//!
//! ## Overview
//!
//! ```text
//!              claim_job           submit_result             finalize_job
//!   ┌────────┐ ───────▶ ┌────────┐ ───────▶ ┌───────────┐ ───────▶ ┌───────────┐
//!   │  Open  │          │ Leased │          │ Submitted │          │ Completed │
//!   └────────┘ ◀─────── └────────┘          └───────────┘          └───────────┘
//!     │   expire_lease     │ cancel_job, once the lease lapsed
//!     │ cancel_job         ▼
//!     └──────────────▶ ┌───────────┐
//!       expire_job     │ Cancelled │
//!                      └───────────┘
//! ```
//!
//! The worker is paid by its price at the time of the claim for the tokens that it trained on, at
//! most the escrow; tokens are bounded by `(bytes + 64 · records) · epochs` of the versions, because
//! no tokenizer makes more tokens of a record than it has bytes, but for a chat template's marks.
//!
//! ## Properties
//!
//! - **Conservation**: the escrow on hold in an account is the sum of `max_fee` over its unfinished
//!   jobs; when a job is over, fee paid + refund = `max_fee`, to the unit.
//! - **Liveness**: a job never waits for one party: a lapsed lease can be expired, a job past its
//!   deadline refunded, and a result finalised by anybody.
//! - **Fair names**: the name of an unfinished job is reserved, so that its model can always be
//!   registered.
//! - **Bounds**: a worker holds at most `MaxActiveJobs` leases; a job names at most eight versions;
//!   no call walks over state that others can grow.
//!
//! ## Example
//!
//! ```text
//! register_worker({ endpoint: "http://10.0.0.7:8700", max_rank: 64, train_price: 5, .. }, stake)
//! submit_job({ name: "exploits-r16", base: 0, versions: [(0, 1)], max_fee: 1_000, .. })
//! claim_job(0)            // by the worker: 200 blocks to train
//! submit_result(0, { adapter, index, index_root, transcript, metrics })
//! finalize_job(0)         // by anybody, after the challenge window
//! ```

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod jobs;
#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;
pub mod traits;
#[cfg(any(test, feature = "try-runtime"))]
mod try_state;
pub mod types;
mod views;
pub mod weights;
mod workers;

pub use pallet::*;
pub use traits::{Adapter, Lineage, Versions, WorkerStakes};
pub use types::*;
pub use weights::WeightInfo;

use polkadot_sdk::*;

#[frame_support::pallet]
pub mod pallet {
    use super::*;
    use frame_support::{pallet_prelude::*, traits::fungible};
    use frame_system::pallet_prelude::*;
    use tributary_primitives::{
        jobs::{JobResult, Progress},
        money::PPM,
        views::JobView,
        AccountId, Balance, BlockNumber, JobId, ModelId,
    };

    /// Version of the storage layout.
    pub const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// What the runtime decides for this pallet.
    #[pallet::config]
    pub trait Config:
        polkadot_sdk::frame_system::Config<AccountId = AccountId, RuntimeEvent: From<Event<Self>>>
    {
        /// OPEN.
        type Currency: fungible::Mutate<AccountId, Balance = Balance>
            + fungible::hold::Mutate<AccountId, Reason = Self::RuntimeHoldReason>;

        /// The runtime's reasons for holds.
        type RuntimeHoldReason: From<HoldReason>;

        /// The registry of models.
        type Lineage: Lineage;

        /// The versions of datanets.
        type Versions: Versions;

        /// The stake behind workers.
        type Stakes: WorkerStakes;

        /// Weights of the calls.
        type WeightInfo: WeightInfo;

        /// Stake that a worker needs to register and to claim a job, in units.
        #[pallet::constant]
        type MinWorkerStake: Get<Balance>;

        /// Least escrow of a job, in units; makes reserving a name cost something.
        #[pallet::constant]
        type MinFee: Get<Balance>;

        /// Blocks of a lease.
        #[pallet::constant]
        type LeaseBlocks: Get<BlockNumber>;

        /// Blocks for which a result may be challenged.
        #[pallet::constant]
        type ChallengeWindow: Get<BlockNumber>;

        /// Most blocks between a job's submission and its deadline.
        #[pallet::constant]
        type MaxDeadline: Get<BlockNumber>;

        /// Least number of blocks between two reports of one job's progress.
        #[pallet::constant]
        type ProgressInterval: Get<BlockNumber>;

        /// Most leases that a worker holds at once.
        #[pallet::constant]
        type MaxActiveJobs: Get<u32>;

        /// Parts per million of its stake that a lapsed lease costs the worker.
        #[pallet::constant]
        type LapseSlash: Get<u32>;
    }

    /// Why this pallet holds money.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// Escrow of an unfinished job.
        Escrow,
    }

    /// Registered workers.
    #[pallet::storage]
    pub type Workers<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, Worker>;

    /// Jobs, finished ones too.
    #[pallet::storage]
    pub type Jobs<T: Config> = StorageMap<_, Twox64Concat, JobId, Job>;

    /// Id of the next job.
    #[pallet::storage]
    pub type NextJob<T: Config> = StorageValue<_, JobId, ValueQuery>;

    /// Jobs that wait for a worker.
    #[pallet::storage]
    pub type OpenJobs<T: Config> = StorageMap<_, Twox64Concat, JobId, ()>;

    /// Names reserved by unfinished jobs.
    #[pallet::storage]
    pub type ReservedNames<T: Config> = StorageMap<_, Blake2_128Concat, Name, JobId>;

    /// How far leased jobs are, with the block in which the worker said so.
    #[pallet::storage]
    pub type Reports<T: Config> = StorageMap<_, Twox64Concat, JobId, (Progress, BlockNumber)>;

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(crate) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A worker registered.
        WorkerRegistered {
            /// The worker.
            worker: AccountId,
            /// What it bonded with the registration, in units.
            stake: Balance,
        },
        /// A worker changed what it says of itself.
        WorkerUpdated {
            /// The worker.
            worker: AccountId,
        },
        /// A worker left the registry; its stake stays bonded until it unbonds it.
        WorkerDeregistered {
            /// The worker.
            worker: AccountId,
        },
        /// A job waits for a worker.
        JobSubmitted {
            /// The job.
            job: JobId,
            /// Who asked for it.
            owner: AccountId,
            /// Base model.
            base: ModelId,
            /// Escrow, in units.
            max_fee: Balance,
            /// Last block in which it may be claimed.
            deadline: BlockNumber,
        },
        /// A worker took the lease of a job.
        JobClaimed {
            /// The job.
            job: JobId,
            /// Who holds the lease.
            worker: AccountId,
            /// Last block of the lease.
            until: BlockNumber,
        },
        /// A worker said how far it is.
        ProgressReported {
            /// The job.
            job: JobId,
            /// Who holds the lease.
            worker: AccountId,
            /// How far it is.
            progress: Progress,
        },
        /// A result came in.
        ResultSubmitted {
            /// The job.
            job: JobId,
            /// Who trained it.
            worker: AccountId,
            /// What the worker is to be paid, in units.
            fee: Balance,
            /// Block from which the job can be finalised.
            final_at: BlockNumber,
        },
        /// The worker is paid, the rest refunded, the model registered.
        JobCompleted {
            /// The job.
            job: JobId,
            /// Who trained it.
            worker: AccountId,
            /// The model.
            model: ModelId,
            /// What the worker was paid, in units.
            paid: Balance,
            /// What went back to the job's owner, in units.
            refunded: Balance,
        },
        /// The worker's account cannot take the fee (it is gone, and the fee below the existential
        /// deposit); the fee goes back to the job's owner.
        FeeReturned {
            /// The job.
            job: JobId,
            /// Who trained it.
            worker: AccountId,
            /// The fee, in units.
            fee: Balance,
        },
        /// The owner cancelled a job.
        JobCancelled {
            /// The job.
            job: JobId,
            /// What went back to the owner, in units.
            refunded: Balance,
        },
        /// A job passed its deadline unclaimed.
        JobExpired {
            /// The job.
            job: JobId,
            /// What went back to the owner, in units.
            refunded: Balance,
        },
        /// A lease lapsed without a result.
        LeaseLapsed {
            /// The job.
            job: JobId,
            /// Who held the lease.
            worker: AccountId,
            /// What it cost the worker, in units.
            slashed: Balance,
        },
    }

    /// Why a call was refused.
    #[pallet::error]
    pub enum Error<T> {
        /// This account is already a worker: use `update_worker`.
        AlreadyRegistered,
        /// This account is not a worker: use `register_worker` first.
        NotRegistered,
        /// The endpoint must begin with http:// or https:// and hold printable ASCII only.
        BadEndpoint,
        /// A worker's largest rank must be 1 to 256.
        BadMaxRank,
        /// The stake behind the worker is below `MinWorkerStake`: bond more.
        StakeTooLow,
        /// The worker holds leases: submit their results first.
        HasActiveJobs,
        /// A name is 1 to 64 characters of a to z, 0 to 9 and hyphen.
        BadName,
        /// The name belongs to a model or to an unfinished job: choose another.
        NameTaken,
        /// There is no base model of this id.
        UnknownBase,
        /// A field of the training specification is out of its range.
        BadSpec(SpecFault),
        /// A job needs at least one datanet version.
        NoVersions,
        /// A datanet version is named twice.
        DuplicateVersion,
        /// There is no such datanet version.
        UnknownVersion,
        /// The versions hold no records.
        NoRecords,
        /// The maximum fee is below `MinFee`.
        FeeTooLow,
        /// The deadline must lie ahead, by at most `MaxDeadline` blocks.
        BadDeadline,
        /// The free balance does not cover the escrow.
        EscrowNotCovered,
        /// There is no job of this id.
        UnknownJob,
        /// The job does not wait for a worker.
        NotOpen,
        /// The deadline for claiming the job has passed.
        DeadlinePassed,
        /// The deadline for claiming the job lies ahead.
        DeadlineAhead,
        /// The job asks for a higher rank than the worker trains.
        RankTooHigh,
        /// The worker holds `MaxActiveJobs` leases already.
        TooManyJobs,
        /// Nobody holds a lease of the job.
        NotLeased,
        /// Another worker holds the lease of the job.
        NotLeaseHolder,
        /// The lease has lapsed.
        LeaseLapsed,
        /// The lease has not lapsed yet.
        LeaseRunning,
        /// The last report of this job's progress is less than `ProgressInterval` blocks old.
        TooSoon,
        /// A report names more steps than there are, none at all, or fewer than the last one.
        BadProgress,
        /// The result names an empty digest, or no steps or tokens.
        BadResult,
        /// The result claims more tokens than the versions can hold.
        TooManyTokens,
        /// Only the owner of the job may do this.
        NotOwner,
        /// A job can be cancelled only while it is open or once its lease has lapsed.
        NotCancellable,
        /// The job has no result that waits to be finalised.
        NotSubmitted,
        /// The result may still be challenged.
        WindowOpen,
        /// All job ids are used up.
        OutOfIds,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn integrity_test() {
            assert!(T::LapseSlash::get() <= PPM, "a lapse cannot cost more than the whole stake");
            assert!(T::LeaseBlocks::get() > 0, "a lease lasts at least one block");
            assert!(T::MaxDeadline::get() > 0, "a job needs time to be claimed");
            assert!(T::MaxActiveJobs::get() > 0, "a worker must be able to hold a lease");
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::do_try_state()
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Registers the signer as a worker and bonds `stake` units behind it.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::register_worker())]
        pub fn register_worker(
            origin: OriginFor<T>,
            info: WorkerInfo,
            stake: Balance,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_register_worker(who, info, stake)
        }

        /// Changes what the signer says of itself as a worker.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::update_worker())]
        pub fn update_worker(origin: OriginFor<T>, info: WorkerInfo) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_update_worker(who, info)
        }

        /// Takes the signer out of the registry. Needs that it holds no lease.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::deregister_worker())]
        pub fn deregister_worker(origin: OriginFor<T>) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_deregister_worker(who)
        }

        /// Asks for an adapter; `max_fee` goes into escrow in the signer's account.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::submit_job(u32::try_from(job.versions.len()).unwrap_or(MAX_VERSIONS)))]
        pub fn submit_job(origin: OriginFor<T>, job: NewJob) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_submit_job(who, job).map(|_| ())
        }

        /// Takes the lease of an open job.
        #[pallet::call_index(4)]
        #[pallet::weight(T::WeightInfo::claim_job())]
        pub fn claim_job(origin: OriginFor<T>, job: JobId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_claim_job(who, job)
        }

        /// Hands in what was trained under the signer's lease.
        #[pallet::call_index(5)]
        #[pallet::weight(T::WeightInfo::submit_result())]
        pub fn submit_result(
            origin: OriginFor<T>,
            job: JobId,
            result: JobResult,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_submit_result(who, job, result)
        }

        /// Ends the signer's job while it is open or once its lease has lapsed, which costs the
        /// worker as `expire_lease` does.
        #[pallet::call_index(6)]
        #[pallet::weight(T::WeightInfo::cancel_job())]
        pub fn cancel_job(origin: OriginFor<T>, job: JobId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_cancel_job(who, job)
        }

        /// Opens a job again whose lease has lapsed, and slashes the worker; the signer is the
        /// reporter.
        #[pallet::call_index(7)]
        #[pallet::weight(T::WeightInfo::expire_lease())]
        pub fn expire_lease(origin: OriginFor<T>, job: JobId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_expire_lease(who, job)
        }

        /// Pays the worker, refunds the rest and registers the model, after the challenge window.
        #[pallet::call_index(8)]
        #[pallet::weight(T::WeightInfo::finalize_job())]
        pub fn finalize_job(origin: OriginFor<T>, job: JobId) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_finalize_job(job)
        }

        /// Refunds an open job that is past its deadline.
        #[pallet::call_index(9)]
        #[pallet::weight(T::WeightInfo::expire_job())]
        pub fn expire_job(origin: OriginFor<T>, job: JobId) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_expire_job(job)
        }

        /// Says how far the training under the signer's lease is. Not more often than every
        /// `ProgressInterval` blocks: the worker's own API tells each step.
        #[pallet::call_index(10)]
        #[pallet::weight(T::WeightInfo::report_progress())]
        pub fn report_progress(
            origin: OriginFor<T>,
            job: JobId,
            progress: Progress,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_report_progress(who, job, progress)
        }
    }

    #[pallet::view_functions]
    impl<T: Config> Pallet<T> {
        /// The job of this id.
        pub fn job(id: JobId) -> Option<JobView> {
            Self::view_job(id)
        }

        /// The most that this worker would be paid for this job, in units: its price for all
        /// tokens that the versions can hold, at most the escrow.
        pub fn fee_ceiling(id: JobId, worker: AccountId) -> Option<Balance> {
            Self::view_fee_ceiling(id, &worker)
        }
    }
}
