//! What must hold of the state at any time.

use crate::{pallet::*, Stage};
use alloc::collections::{BTreeMap, BTreeSet};
use polkadot_sdk::{
    frame_support::{ensure, traits::fungible::hold::Inspect},
    sp_core::Get,
    sp_runtime::TryRuntimeError,
};
use tributary_primitives::{AccountId, Balance, JobId};

impl<T: Config> Pallet<T> {
    /// Checks, in this order:
    ///
    /// 1. Escrow: on hold in each owner's account is the sum of `max_fee` of the unfinished jobs.
    /// 2. Names: exactly the unfinished jobs reserve their names.
    /// 3. Open jobs: the index holds exactly the jobs that are open.
    /// 4. Leases: a worker's count is the number of its leases, at most `MaxActiveJobs`.
    /// 5. Jobs: ids lie below the next one, and a fee is at most the escrow.
    /// 6. Reports of progress: each is of a leased job.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        let mut escrow: BTreeMap<AccountId, Balance> = BTreeMap::new();
        let mut leases: BTreeMap<AccountId, u32> = BTreeMap::new();
        let (mut names, mut open) = (BTreeMap::new(), BTreeSet::new());
        for (id, job) in Jobs::<T>::iter() {
            ensure!(id < NextJob::<T>::get(), "5: a job's id is not below the next one");
            let held = escrow.entry(job.owner.clone()).or_default();
            if job.is_unfinished() {
                *held = held.saturating_add(job.max_fee);
                names.insert(job.name.clone(), id);
            }
            match &job.stage {
                Stage::Open => {
                    open.insert(id);
                }
                Stage::Leased { worker, .. } => {
                    let count = leases.entry(worker.clone()).or_default();
                    *count = count.saturating_add(1);
                }
                Stage::Submitted { fee, .. } | Stage::Completed { fee, .. } => {
                    ensure!(*fee <= job.max_fee, "5: a fee is above the escrow");
                }
                Stage::Cancelled => {}
            }
        }
        for (owner, sum) in escrow {
            let held = T::Currency::balance_on_hold(&HoldReason::Escrow.into(), &owner);
            ensure!(held == sum, "1: the escrow on hold is not that of the unfinished jobs");
        }
        let reserved: BTreeMap<_, JobId> = ReservedNames::<T>::iter().collect();
        ensure!(reserved == names, "2: the reserved names are not those of the unfinished jobs");
        let index: BTreeSet<JobId> = OpenJobs::<T>::iter_keys().collect();
        ensure!(index == open, "3: the index of open jobs is not that of the jobs");
        for (account, worker) in Workers::<T>::iter() {
            let count = leases.remove(&account).unwrap_or(0);
            ensure!(worker.active_jobs == count, "4: a worker's count of leases is wrong");
            ensure!(count <= T::MaxActiveJobs::get(), "4: a worker holds too many leases");
        }
        for id in Reports::<T>::iter_keys() {
            let leased =
                Jobs::<T>::get(id).is_some_and(|j| matches!(j.stage, Stage::Leased { .. }));
            ensure!(leased, "6: a report of progress belongs to no leased job");
        }
        ensure!(leases.is_empty(), "4: a lease is held by an account that is not a worker");
        Ok(())
    }
}
