//! What must hold between any two blocks.

use crate::{
    types::{scaled, Pool},
    Config, HoldReason, Pallet, Pools, Positions,
};
use alloc::collections::BTreeMap;
use polkadot_sdk::{
    frame_support::{
        ensure,
        traits::{
            fungible::{hold::Inspect as _, Inspect as _},
            Get,
        },
    },
    sp_core::U256,
    sp_runtime::TryRuntimeError,
};
use tributary_primitives::{AccountId, Balance, Subject};

impl<T: Config> Pallet<T> {
    /// Checks, by number:
    /// 1. every position belongs to a pool, is not empty, and has no empty chunk;
    /// 2. a pool's active and unbonding stake and its stakers are those of its positions, within the
    ///    bound, and no pool is empty;
    /// 3. rewards owed = what the positions earned + the remainder, exactly;
    /// 4. each account's hold is the sum of its positions;
    /// 5. the pot covers all rewards owed.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        let mut sums: BTreeMap<Subject, Pool> = BTreeMap::new();
        let mut holds: BTreeMap<AccountId, Balance> = BTreeMap::new();
        for (subject, who, position) in Positions::<T>::iter() {
            let pool = Pools::<T>::get(&subject).ok_or("1: a position without a pool")?;
            ensure!(!position.is_empty(), "1: an empty position");
            ensure!(position.entry <= pool.per_share, "1: a position from the future");
            ensure!(position.chunks.iter().all(|chunk| chunk.amount > 0), "1: an empty chunk");
            let (active, unbonding) = (position.active, position.unbonding());
            let sum = sums.entry(subject).or_default();
            sum.active = sum.active.saturating_add(active);
            sum.unbonding = sum.unbonding.saturating_add(unbonding);
            sum.stakers = sum.stakers.saturating_add(1);
            sum.remainder = sum.remainder.saturating_add(position.earned(&pool));
            let held = holds.entry(who).or_default();
            *held = held.saturating_add(active).saturating_add(unbonding);
        }

        let mut owed: Balance = 0;
        for (subject, pool) in Pools::<T>::iter() {
            let sum = sums.remove(&subject).unwrap_or_default();
            ensure!(!pool.is_empty(), "2: an empty pool");
            ensure!(pool.active == sum.active, "2: active stake differs from the positions");
            ensure!(pool.unbonding == sum.unbonding, "2: unbonding differs from the positions");
            ensure!(pool.stakers == sum.stakers, "2: the number of positions differs");
            ensure!(pool.stakers <= T::MaxStakers::get(), "2: too many positions");
            let known: U256 = sum.remainder.saturating_add(pool.remainder);
            ensure!(known == scaled(pool.owed), "3: rewards owed differ from what was earned");
            owed = owed.saturating_add(pool.owed);
        }

        for (who, sum) in holds {
            let held = T::Currency::balance_on_hold(&HoldReason::Stake.into(), &who);
            ensure!(held == sum, "4: a hold differs from the positions");
        }

        ensure!(T::Currency::balance(&Self::pot()) >= owed, "5: the pot does not cover rewards");
        Ok(())
    }
}
