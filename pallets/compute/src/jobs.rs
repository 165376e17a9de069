//! The life of a job, from escrow to model.

use crate::{
    pallet::*, Adapter, Job, JobVersions, Lineage, NewJob, SpecFault, Stage, Versions, WorkerStakes,
};
use alloc::collections::BTreeSet;
use polkadot_sdk::{
    frame_support::{
        ensure,
        traits::{
            fungible::hold::Mutate,
            tokens::{Fortitude, Precision, Restriction},
        },
    },
    frame_system,
    sp_core::Get,
    sp_runtime::{DispatchError, DispatchResult, SaturatedConversion},
};
use tributary_primitives::{
    jobs::{token_bound, token_fee, JobResult, Progress},
    AccountId, Balance, BlockNumber, JobId, H256,
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_submit_job(owner: AccountId, new: NewJob) -> Result<JobId, DispatchError> {
        ensure!(is_name(&new.name), Error::<T>::BadName);
        ensure!(
            !ReservedNames::<T>::contains_key(&new.name) && T::Lineage::name_free(&new.name),
            Error::<T>::NameTaken
        );
        ensure!(T::Lineage::is_base(new.base), Error::<T>::UnknownBase);
        new.spec.check().map_err(|e| Error::<T>::BadSpec(SpecFault::from(e)))?;
        let max_tokens = Self::token_bound(&new.versions, new.spec.epochs)?;
        ensure!(new.max_fee >= T::MinFee::get(), Error::<T>::FeeTooLow);
        let now = Self::now();
        let latest = now.saturating_add(T::MaxDeadline::get());
        ensure!(new.deadline > now && new.deadline <= latest, Error::<T>::BadDeadline);

        let id = NextJob::<T>::get();
        NextJob::<T>::put(id.next().ok_or(Error::<T>::OutOfIds)?);
        T::Currency::hold(&HoldReason::Escrow.into(), &owner, new.max_fee)
            .map_err(|_| Error::<T>::EscrowNotCovered)?;
        ReservedNames::<T>::insert(&new.name, id);
        OpenJobs::<T>::insert(id, ());
        let NewJob { name, base, versions, spec, max_fee, deadline } = new;
        let stage = Stage::Open;
        let job = Job {
            owner: owner.clone(),
            name,
            base,
            versions,
            spec,
            max_fee,
            deadline,
            max_tokens,
            stage,
        };
        Jobs::<T>::insert(id, job);
        Self::deposit_event(Event::JobSubmitted { job: id, owner, base, max_fee, deadline });
        Ok(id)
    }

    pub(crate) fn do_claim_job(who: AccountId, id: JobId) -> DispatchResult {
        let mut job = Jobs::<T>::get(id).ok_or(Error::<T>::UnknownJob)?;
        let mut worker = Workers::<T>::get(&who).ok_or(Error::<T>::NotRegistered)?;
        ensure!(job.stage == Stage::Open, Error::<T>::NotOpen);
        let now = Self::now();
        ensure!(now <= job.deadline, Error::<T>::DeadlinePassed);
        ensure!(job.spec.rank <= worker.info.max_rank, Error::<T>::RankTooHigh);
        ensure!(worker.active_jobs < T::MaxActiveJobs::get(), Error::<T>::TooManyJobs);
        Self::ensure_staked(&who)?;

        let until = now.saturating_add(T::LeaseBlocks::get());
        worker.active_jobs = worker.active_jobs.saturating_add(1);
        job.stage = Stage::Leased { worker: who.clone(), until, price: worker.info.train_price };
        Workers::<T>::insert(&who, worker);
        Jobs::<T>::insert(id, job);
        OpenJobs::<T>::remove(id);
        Self::deposit_event(Event::JobClaimed { job: id, worker: who, until });
        Ok(())
    }

    pub(crate) fn do_submit_result(who: AccountId, id: JobId, result: JobResult) -> DispatchResult {
        let mut job = Jobs::<T>::get(id).ok_or(Error::<T>::UnknownJob)?;
        let Stage::Leased { worker, until, price } = &job.stage else {
            return Err(Error::<T>::NotLeased.into());
        };
        ensure!(*worker == who, Error::<T>::NotLeaseHolder);
        let now = Self::now();
        ensure!(now <= *until, Error::<T>::LeaseLapsed);
        ensure!(is_complete(&result), Error::<T>::BadResult);
        ensure!(result.metrics.tokens <= job.max_tokens, Error::<T>::TooManyTokens);

        let fee = token_fee(result.metrics.tokens, *price).min(job.max_fee);
        let final_at = now.saturating_add(T::ChallengeWindow::get());
        job.stage = Stage::Submitted { worker: who.clone(), final_at, result, fee };
        Jobs::<T>::insert(id, job);
        Self::end_lease(id, &who);
        Self::deposit_event(Event::ResultSubmitted { job: id, worker: who, fee, final_at });
        Ok(())
    }

    pub(crate) fn do_report_progress(
        who: AccountId,
        id: JobId,
        progress: Progress,
    ) -> DispatchResult {
        let job = Jobs::<T>::get(id).ok_or(Error::<T>::UnknownJob)?;
        let Stage::Leased { worker, until, .. } = &job.stage else {
            return Err(Error::<T>::NotLeased.into());
        };
        ensure!(*worker == who, Error::<T>::NotLeaseHolder);
        let now = Self::now();
        ensure!(now <= *until, Error::<T>::LeaseLapsed);
        ensure!(progress.step > 0 && progress.step <= progress.steps, Error::<T>::BadProgress);
        if let Some((last, at)) = Reports::<T>::get(id) {
            ensure!(progress.step > last.step, Error::<T>::BadProgress);
            let next = at.saturating_add(T::ProgressInterval::get());
            ensure!(now >= next, Error::<T>::TooSoon);
        }
        Reports::<T>::insert(id, (progress, now));
        Self::deposit_event(Event::ProgressReported { job: id, worker: who, progress });
        Ok(())
    }

    pub(crate) fn do_cancel_job(who: AccountId, id: JobId) -> DispatchResult {
        let job = Jobs::<T>::get(id).ok_or(Error::<T>::UnknownJob)?;
        ensure!(job.owner == who, Error::<T>::NotOwner);
        match &job.stage {
            Stage::Open => {}
            Stage::Leased { worker, until, .. } if Self::now() > *until => {
                Self::lapse(id, worker, who);
            }
            _ => return Err(Error::<T>::NotCancellable.into()),
        }
        let refunded = Self::close_without_model(id, job)?;
        Self::deposit_event(Event::JobCancelled { job: id, refunded });
        Ok(())
    }

    pub(crate) fn do_expire_lease(reporter: AccountId, id: JobId) -> DispatchResult {
        let mut job = Jobs::<T>::get(id).ok_or(Error::<T>::UnknownJob)?;
        let Stage::Leased { worker, until, .. } = &job.stage else {
            return Err(Error::<T>::NotLeased.into());
        };
        ensure!(Self::now() > *until, Error::<T>::LeaseRunning);
        Self::lapse(id, worker, reporter);
        job.stage = Stage::Open;
        Jobs::<T>::insert(id, job);
        OpenJobs::<T>::insert(id, ());
        Ok(())
    }

    pub(crate) fn do_finalize_job(id: JobId) -> DispatchResult {
        let mut job = Jobs::<T>::get(id).ok_or(Error::<T>::UnknownJob)?;
        let Stage::Submitted { worker, final_at, result, fee } = job.stage.clone() else {
            return Err(Error::<T>::NotSubmitted.into());
        };
        ensure!(Self::now() >= final_at, Error::<T>::WindowOpen);

        let paid = Self::pay_from_escrow(id, &job.owner, &worker, fee);
        let refunded = job.max_fee.saturating_sub(paid);
        Self::release_escrow(&job.owner, refunded)?;
        let model = T::Lineage::register_adapter(Adapter {
            owner: job.owner.clone(),
            name: job.name.to_vec(),
            parent: job.base,
            content: result.adapter,
            versions: job.versions.to_vec(),
            index: result.index,
            index_root: result.index_root,
            job: id,
        })?;
        ReservedNames::<T>::remove(&job.name);
        Workers::<T>::mutate_extant(&worker, |w| w.completed = w.completed.saturating_add(1));
        job.stage = Stage::Completed { worker: worker.clone(), model, result, fee: paid };
        Jobs::<T>::insert(id, job);
        Self::deposit_event(Event::JobCompleted { job: id, worker, model, paid, refunded });
        Ok(())
    }

    pub(crate) fn do_expire_job(id: JobId) -> DispatchResult {
        let job = Jobs::<T>::get(id).ok_or(Error::<T>::UnknownJob)?;
        ensure!(job.stage == Stage::Open, Error::<T>::NotOpen);
        ensure!(Self::now() > job.deadline, Error::<T>::DeadlineAhead);
        let refunded = Self::close_without_model(id, job)?;
        Self::deposit_event(Event::JobExpired { job: id, refunded });
        Ok(())
    }

    /// Whether an unfinished job has reserved this name.
    pub fn name_reserved(name: &[u8]) -> bool {
        name.to_vec()
            .try_into()
            .is_ok_and(|name: crate::Name| ReservedNames::<T>::contains_key(name))
    }

    pub(crate) fn now() -> BlockNumber {
        frame_system::Pallet::<T>::block_number().saturated_into()
    }

    /// Most tokens that training `epochs` times on these versions can take.
    fn token_bound(versions: &JobVersions, epochs: u16) -> Result<u64, DispatchError> {
        ensure!(!versions.is_empty(), Error::<T>::NoVersions);
        let distinct: BTreeSet<_> = versions.iter().collect();
        ensure!(distinct.len() == versions.len(), Error::<T>::DuplicateVersion);
        let (mut records, mut bytes) = (0u64, 0u64);
        for version in versions {
            let (r, b) = T::Versions::info(*version).ok_or(Error::<T>::UnknownVersion)?;
            records = records.saturating_add(r);
            bytes = bytes.saturating_add(b);
        }
        ensure!(records > 0, Error::<T>::NoRecords);
        Ok(token_bound(records, bytes, epochs))
    }

    /// Ends a lease and slashes the worker for it.
    fn lapse(id: JobId, worker: &AccountId, reporter: AccountId) {
        Self::end_lease(id, worker);
        let slashed = T::Stakes::slash(worker, T::LapseSlash::get(), Some(reporter));
        Self::deposit_event(Event::LeaseLapsed { job: id, worker: worker.clone(), slashed });
    }

    fn end_lease(id: JobId, worker: &AccountId) {
        Reports::<T>::remove(id);
        Workers::<T>::mutate_extant(worker, |w| w.active_jobs = w.active_jobs.saturating_sub(1));
    }

    /// Pays the fee out of the escrow and gives what was paid: all of it, or nothing where the
    /// worker's account cannot take it.
    fn pay_from_escrow(id: JobId, owner: &AccountId, worker: &AccountId, fee: Balance) -> Balance {
        if fee == 0 {
            return 0;
        }
        // To oneself there is nothing to move: the release of the rest does it.
        if owner == worker {
            return match Self::release_escrow(owner, fee) {
                Ok(()) => fee,
                Err(_) => 0,
            };
        }
        let paid = polkadot_sdk::frame_support::storage::with_storage_layer(|| {
            T::Currency::transfer_on_hold(
                &HoldReason::Escrow.into(),
                owner,
                worker,
                fee,
                Precision::Exact,
                Restriction::Free,
                Fortitude::Polite,
            )
        });
        match paid {
            Ok(paid) => paid,
            Err(_) => {
                Self::deposit_event(Event::FeeReturned { job: id, worker: worker.clone(), fee });
                0
            }
        }
    }

    fn release_escrow(owner: &AccountId, amount: Balance) -> DispatchResult {
        T::Currency::release(&HoldReason::Escrow.into(), owner, amount, Precision::Exact)?;
        Ok(())
    }

    /// Refunds the whole escrow and frees the name; gives the refund.
    fn close_without_model(id: JobId, mut job: Job) -> Result<Balance, DispatchError> {
        Self::release_escrow(&job.owner, job.max_fee)?;
        ReservedNames::<T>::remove(&job.name);
        OpenJobs::<T>::remove(id);
        let refunded = job.max_fee;
        job.stage = Stage::Cancelled;
        Jobs::<T>::insert(id, job);
        Ok(refunded)
    }
}

fn is_name(name: &[u8]) -> bool {
    let allowed = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    !name.is_empty() && name.iter().all(allowed)
}

fn is_complete(result: &JobResult) -> bool {
    let digests = [result.adapter, result.index, result.index_root, result.transcript];
    let measured = result.metrics.steps > 0 && result.metrics.tokens > 0;
    measured && digests.into_iter().all(|digest| digest != H256::zero())
}
