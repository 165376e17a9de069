//! Calls of the pallet Compute.

use super::calls;
use codec::{Decode, Encode};
use tributary_primitives::{
    jobs::{JobResult, Progress, TrainSpec},
    views::Text,
    AccountId, Balance, BlockNumber, JobId, ModelId, VersionRef,
};

/// What a worker says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WorkerInfo {
    /// URL of its API.
    pub endpoint: Text,
    /// Key that signs its receipts.
    pub signing_key: AccountId,
    /// Largest LoRA rank that it trains.
    pub max_rank: u16,
    /// Whether it has a GPU.
    pub gpu: bool,
    /// Price of training per 1,000 tokens, in units.
    pub train_price: Balance,
}

/// A training job to be done.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NewJob {
    /// Name that the model gets: 1 to 64 of `a-z`, `0-9` and `-`.
    pub name: Text,
    /// Base model.
    pub base: ModelId,
    /// Datanet versions to train on.
    pub versions: Vec<VersionRef>,
    /// How to train.
    pub spec: TrainSpec,
    /// Most that may be paid, in units; held until the job is finished.
    pub max_fee: Balance,
    /// Last block in which a worker may claim it.
    pub deadline: BlockNumber,
}

calls! { "Compute":
    /// Registers the signer as a worker.
    "register_worker" RegisterWorker {
        /// What it says of itself.
        info: WorkerInfo,
        /// Stake to put behind it, in units.
        stake: Balance,
    }
    /// Changes what the worker says of itself.
    "update_worker" UpdateWorker {
        /// What it says of itself.
        info: WorkerInfo,
    }
    /// Ends the registration.
    "deregister_worker" DeregisterWorker {}
    /// Asks for a training job.
    "submit_job" SubmitJob {
        /// The job.
        job: NewJob,
    }
    /// Takes the lease of an open job.
    "claim_job" ClaimJob {
        /// The job.
        job: JobId,
    }
    /// Hands in the result of a job.
    "submit_result" SubmitResult {
        /// The job.
        job: JobId,
        /// What came out.
        result: JobResult,
    }
    /// Withdraws a job that no worker holds.
    "cancel_job" CancelJob {
        /// The job.
        job: JobId,
    }
    /// Frees a job whose lease has lapsed.
    "expire_lease" ExpireLease {
        /// The job.
        job: JobId,
    }
    /// Pays the worker and registers the model, after the challenge window.
    "finalize_job" FinalizeJob {
        /// The job.
        job: JobId,
    }
    /// Says how far the training under the signer's lease is.
    "report_progress" ReportProgress {
        /// The job.
        job: JobId,
        /// How far it is.
        progress: Progress,
    }
    /// Ends an open job that is past its deadline.
    "expire_job" ExpireJob {
        /// The job.
        job: JobId,
    }
}
