//! What the pallet stores and takes.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use polkadot_sdk::frame_support::{traits::ConstU32, BoundedVec, PalletError};
use scale_info::TypeInfo;
use tributary_primitives::{
    jobs::{JobResult, SpecError, TrainSpec},
    AccountId, Balance, BlockNumber, ModelId, VersionRef,
};

/// Longest name of a model, in bytes.
pub const MAX_NAME: u32 = 64;
/// Longest endpoint of a worker, in bytes.
pub const MAX_ENDPOINT: u32 = 256;
/// Most datanet versions that one job trains on.
pub const MAX_VERSIONS: u32 = 8;
/// Largest LoRA rank that a [`TrainSpec`] may ask for.
pub const MAX_RANK: u16 = 256;

/// Name of a model: 1 to 64 of `a` to `z`, `0` to `9` and `-`.
pub type Name = BoundedVec<u8, ConstU32<MAX_NAME>>;
/// URL of a worker's API.
pub type Endpoint = BoundedVec<u8, ConstU32<MAX_ENDPOINT>>;
/// Datanet versions that a job trains on.
pub type JobVersions = BoundedVec<VersionRef, ConstU32<MAX_VERSIONS>>;

/// What a worker says of itself.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct WorkerInfo {
    /// URL of its API, beginning with `http://` or `https://`.
    pub endpoint: Endpoint,
    /// Key that signs its receipts.
    pub signing_key: AccountId,
    /// Largest LoRA rank that it trains, 1 to 256.
    pub max_rank: u16,
    /// Whether it has a GPU.
    pub gpu: bool,
    /// Price of training per 1,000 tokens, in units.
    pub train_price: Balance,
}

/// A registered worker.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Worker {
    /// What it says of itself.
    pub info: WorkerInfo,
    /// Leases that it holds.
    pub active_jobs: u32,
    /// Jobs that it completed.
    pub completed: u32,
}

/// What a researcher asks for.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct NewJob {
    /// Name that the model gets; reserved until the job is over.
    pub name: Name,
    /// Base model to train from.
    pub base: ModelId,
    /// Datanet versions to train on.
    pub versions: JobVersions,
    /// How to train.
    pub spec: TrainSpec,
    /// Most that the training may cost, in units; goes into escrow.
    pub max_fee: Balance,
    /// Last block in which a worker may claim the job.
    pub deadline: BlockNumber,
}

/// Where a job stands.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum Stage {
    /// Waiting for a worker.
    Open,
    /// Being trained.
    Leased {
        /// Who holds the lease.
        worker: AccountId,
        /// Last block of the lease.
        until: BlockNumber,
        /// The worker's price per 1,000 tokens when it took the lease, in units.
        price: Balance,
    },
    /// A result is there and may be challenged.
    Submitted {
        /// Who trained it.
        worker: AccountId,
        /// Block from which it can be finalised.
        final_at: BlockNumber,
        /// The result.
        result: JobResult,
        /// What the worker is to be paid, in units.
        fee: Balance,
    },
    /// Paid, and the model registered.
    Completed {
        /// Who trained it.
        worker: AccountId,
        /// The model.
        model: ModelId,
        /// The result.
        result: JobResult,
        /// What the worker was paid, in units.
        fee: Balance,
    },
    /// Over without a model; the escrow went back.
    Cancelled,
}

/// A training job.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Job {
    /// Who asked for it.
    pub owner: AccountId,
    /// Name that the model gets.
    pub name: Name,
    /// Base model.
    pub base: ModelId,
    /// Datanet versions.
    pub versions: JobVersions,
    /// How it is trained.
    pub spec: TrainSpec,
    /// Escrow, in units.
    pub max_fee: Balance,
    /// Last block in which a worker may claim it.
    pub deadline: BlockNumber,
    /// Most tokens that a result may charge for.
    pub max_tokens: u64,
    /// Where it stands.
    pub stage: Stage,
}

impl Job {
    /// Whether the escrow still lies on hold and the name is still reserved.
    pub fn is_unfinished(&self) -> bool {
        !matches!(self.stage, Stage::Completed { .. } | Stage::Cancelled)
    }
}

/// Which field of a [`TrainSpec`] is out of its range.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    PalletError,
)]
pub enum SpecFault {
    /// The rank must be 1 to 256.
    Rank,
    /// Alpha must be above 0.
    Alpha,
    /// At least one projection must be targeted.
    Targets,
    /// The epochs must be 1 to 1,000.
    Epochs,
    /// The batch must be 1 to 4,096 records.
    Batch,
    /// The learning rate must be above 0 and at most 1.
    LearningRate,
    /// The warm-up must be at most 1,000 thousandths.
    Warmup,
    /// The sequence length must be 8 to 131,072 tokens.
    SeqLen,
}

impl From<SpecError> for SpecFault {
    fn from(error: SpecError) -> Self {
        match error {
            SpecError::Rank => Self::Rank,
            SpecError::Alpha => Self::Alpha,
            SpecError::Targets => Self::Targets,
            SpecError::Epochs => Self::Epochs,
            SpecError::Batch => Self::Batch,
            SpecError::LearningRate => Self::LearningRate,
            SpecError::Warmup => Self::Warmup,
            SpecError::SeqLen => Self::SeqLen,
        }
    }
}
