//! Read-only pictures of the state for dApps and tools.

use crate::{pallet::*, Job, Stage, Worker, WorkerStakes};
use alloc::vec::Vec;
use tributary_primitives::{
    jobs::{token_fee, Progress},
    views::{JobState, JobView, Text, WorkerView, MAX_PAGE},
    AccountId, Balance, JobId,
};

fn page(limit: u32) -> usize {
    usize::try_from(limit.min(MAX_PAGE)).unwrap_or(usize::MAX)
}

impl<T: Config> Pallet<T> {
    /// The worker of this account.
    pub fn view_worker(account: AccountId) -> Option<WorkerView> {
        Workers::<T>::get(&account).map(|worker| Self::worker_view(account, worker))
    }

    /// Workers, at most `limit`, in no particular order.
    pub fn view_workers(limit: u32) -> Vec<WorkerView> {
        Workers::<T>::iter().take(page(limit)).map(|(a, w)| Self::worker_view(a, w)).collect()
    }

    /// The job of this id.
    pub fn view_job(id: JobId) -> Option<JobView> {
        let progress = Reports::<T>::get(id).map(|(progress, _)| progress);
        Jobs::<T>::get(id).map(|job| job_view(id, job, progress))
    }

    /// Jobs in the order of their ids, from `from`, at most `limit`.
    pub fn view_jobs(from: JobId, limit: u32) -> Vec<JobView> {
        (from.0..NextJob::<T>::get().0)
            .take(page(limit))
            .filter_map(|id| Self::view_job(JobId(id)))
            .collect()
    }

    /// Jobs that wait for a worker, at most `limit`, sorted by id.
    pub fn view_open_jobs(limit: u32) -> Vec<JobView> {
        let mut ids: Vec<JobId> = OpenJobs::<T>::iter_keys().take(page(limit)).collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(Self::view_job).collect()
    }

    /// The most that this worker would be paid for this job, in units.
    pub fn view_fee_ceiling(id: JobId, worker: &AccountId) -> Option<Balance> {
        let (job, worker) = (Jobs::<T>::get(id)?, Workers::<T>::get(worker)?);
        Some(token_fee(job.max_tokens, worker.info.train_price).min(job.max_fee))
    }

    fn worker_view(account: AccountId, worker: Worker) -> WorkerView {
        WorkerView {
            stake: T::Stakes::active(&account),
            account,
            endpoint: Text(worker.info.endpoint.into_inner()),
            signing_key: worker.info.signing_key,
            max_rank: worker.info.max_rank,
            gpu: worker.info.gpu,
            train_price: worker.info.train_price,
            active_jobs: worker.active_jobs,
            completed: worker.completed,
        }
    }
}

fn job_view(id: JobId, job: Job, progress: Option<Progress>) -> JobView {
    JobView {
        id,
        owner: job.owner,
        name: Text(job.name.into_inner()),
        base: job.base,
        versions: job.versions.into_inner(),
        spec: job.spec,
        max_fee: job.max_fee,
        deadline: job.deadline,
        state: match job.stage {
            Stage::Open => JobState::Open,
            Stage::Leased { worker, until, .. } => JobState::Leased { worker, until, progress },
            Stage::Submitted { worker, final_at, result, fee } => {
                JobState::Submitted { worker, final_at, result, fee }
            }
            Stage::Completed { worker, model, result, fee } => {
                JobState::Completed { worker, model, result, fee }
            }
            Stage::Cancelled => JobState::Cancelled,
        },
    }
}
