//! The registry of workers.

use crate::{pallet::*, Worker, WorkerInfo, WorkerStakes, MAX_RANK};
use polkadot_sdk::{
    frame_support::ensure,
    sp_core::Get,
    sp_runtime::{DispatchError, DispatchResult},
};
use tributary_primitives::{AccountId, Balance};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_register_worker(
        who: AccountId,
        info: WorkerInfo,
        stake: Balance,
    ) -> DispatchResult {
        ensure!(!Workers::<T>::contains_key(&who), Error::<T>::AlreadyRegistered);
        Self::check_info(&info)?;
        // Registered before it bonds: stake can only be bonded behind a worker that exists.
        Workers::<T>::insert(&who, Worker { info, active_jobs: 0, completed: 0 });
        if stake > 0 {
            T::Stakes::bond(&who, stake)?;
        }
        Self::ensure_staked(&who)?;
        Self::deposit_event(Event::WorkerRegistered { worker: who, stake });
        Ok(())
    }

    pub(crate) fn do_update_worker(who: AccountId, info: WorkerInfo) -> DispatchResult {
        Self::check_info(&info)?;
        Workers::<T>::try_mutate(&who, |worker| {
            worker.as_mut().ok_or(Error::<T>::NotRegistered)?.info = info;
            Ok::<_, DispatchError>(())
        })?;
        Self::deposit_event(Event::WorkerUpdated { worker: who });
        Ok(())
    }

    pub(crate) fn do_deregister_worker(who: AccountId) -> DispatchResult {
        let worker = Workers::<T>::get(&who).ok_or(Error::<T>::NotRegistered)?;
        ensure!(worker.active_jobs == 0, Error::<T>::HasActiveJobs);
        Workers::<T>::remove(&who);
        Self::deposit_event(Event::WorkerDeregistered { worker: who });
        Ok(())
    }

    /// Whether the account is a registered worker.
    pub fn is_registered(who: &AccountId) -> bool {
        Workers::<T>::contains_key(who)
    }

    pub(crate) fn ensure_staked(who: &AccountId) -> DispatchResult {
        ensure!(T::Stakes::active(who) >= T::MinWorkerStake::get(), Error::<T>::StakeTooLow);
        Ok(())
    }

    fn check_info(info: &WorkerInfo) -> DispatchResult {
        let url = info.endpoint.as_slice();
        let host = url.strip_prefix(b"http://").or_else(|| url.strip_prefix(b"https://"));
        ensure!(
            host.is_some_and(|host| !host.is_empty() && host.iter().all(u8::is_ascii_graphic)),
            Error::<T>::BadEndpoint
        );
        ensure!((1..=MAX_RANK).contains(&info.max_rank), Error::<T>::BadMaxRank);
        Ok(())
    }
}
