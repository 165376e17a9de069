//! Stake in and out.

use crate::{
    types::{Chunk, Pool, Position},
    Config, Error, Event, HoldReason, Pallet, Pools, Positions,
};
use polkadot_sdk::{
    frame_support::{
        ensure,
        traits::{
            fungible::{hold::Mutate as _, Mutate as _},
            tokens::{Precision, Preservation},
            Get,
        },
    },
    frame_system,
    sp_runtime::{DispatchError, DispatchResult, SaturatedConversion},
};
use tributary_primitives::{AccountId, Balance, BlockNumber, Subject};

impl<T: Config> Pallet<T> {
    /// Stakes `amount` units of `who` behind `subject`, whose existence the caller vouches for
    /// (a pallet may bond for what it is about to register).
    pub fn do_bond(who: &AccountId, subject: &Subject, amount: Balance) -> DispatchResult {
        ensure!(amount > 0, Error::<T>::ZeroAmount);
        let mut pool = Pools::<T>::get(subject).unwrap_or_default();
        let mut position = match Positions::<T>::get(subject, who) {
            Some(position) => position,
            None => {
                ensure!(pool.stakers < Self::places(subject, who), Error::<T>::TooManyStakers);
                pool.stakers = pool.stakers.saturating_add(1);
                Position::new(&pool)
            }
        };
        position.settle(&pool);
        position.active = position.active.checked_add(amount).ok_or(Error::<T>::Overflow)?;
        pool.active = pool.active.checked_add(amount).ok_or(Error::<T>::Overflow)?;
        ensure!(position.active >= T::MinStake::get(), Error::<T>::BelowMinStake);

        T::Currency::hold(&HoldReason::Stake.into(), who, amount)?;
        Self::store(subject, who, pool, position);
        Self::deposit_event(Event::Bonded { subject: subject.clone(), who: who.clone(), amount });
        Ok(())
    }

    /// How many positions the pool may have before `who` opens one.
    fn places(subject: &Subject, who: &AccountId) -> u32 {
        let max = T::MaxStakers::get();
        match subject {
            // The last place is the worker's own, unless it is already in.
            Subject::Worker(worker)
                if worker != who && !Positions::<T>::contains_key(subject, worker) =>
            {
                max.saturating_sub(1)
            }
            _ => max,
        }
    }

    pub(crate) fn do_unbond(who: &AccountId, subject: &Subject, amount: Balance) -> DispatchResult {
        ensure!(amount > 0, Error::<T>::ZeroAmount);
        let (mut pool, mut position) = Self::load(subject, who)?;
        position.settle(&pool);
        position.active =
            position.active.checked_sub(amount).ok_or(Error::<T>::InsufficientStake)?;
        ensure!(
            position.active == 0 || position.active >= T::MinStake::get(),
            Error::<T>::BelowMinStake
        );
        pool.active = pool.active.checked_sub(amount).ok_or(Error::<T>::Overflow)?;
        pool.unbonding = pool.unbonding.checked_add(amount).ok_or(Error::<T>::Overflow)?;

        let until = Self::now().saturating_add(T::UnbondingPeriod::get());
        match position.chunks.last_mut() {
            Some(last) if last.until == until => {
                last.amount = last.amount.checked_add(amount).ok_or(Error::<T>::Overflow)?;
            }
            _ => position
                .chunks
                .try_push(Chunk { amount, until })
                .map_err(|_| Error::<T>::TooManyChunks)?,
        }

        Self::store(subject, who, pool, position);
        Self::deposit_event(Event::Unbonded {
            subject: subject.clone(),
            who: who.clone(),
            amount,
            until,
        });
        Ok(())
    }

    pub(crate) fn do_withdraw(who: &AccountId, subject: &Subject) -> DispatchResult {
        let (mut pool, mut position) = Self::load(subject, who)?;
        let now = Self::now();
        let before = position.unbonding();
        position.chunks.retain(|chunk| !chunk.matured(now));
        let amount = before.saturating_sub(position.unbonding());
        ensure!(amount > 0, Error::<T>::NothingToWithdraw);
        pool.unbonding = pool.unbonding.checked_sub(amount).ok_or(Error::<T>::Overflow)?;

        T::Currency::release(&HoldReason::Stake.into(), who, amount, Precision::Exact)?;
        if position.active == 0 && position.chunks.is_empty() {
            Self::pay_rewards(who, subject, &mut pool, &mut position)?;
        }
        Self::store(subject, who, pool, position);
        Self::deposit_event(Event::Withdrawn {
            subject: subject.clone(),
            who: who.clone(),
            amount,
        });
        Ok(())
    }

    /// Active stake behind a subject, in units.
    pub fn active_total(subject: &Subject) -> Balance {
        Pools::<T>::get(subject).map_or(0, |pool| pool.active)
    }

    /// Active stake of one account behind a subject, in units.
    pub fn position_active(subject: &Subject, who: &AccountId) -> Balance {
        Positions::<T>::get(subject, who).map_or(0, |position| position.active)
    }

    pub(crate) fn now() -> BlockNumber {
        frame_system::Pallet::<T>::block_number().saturated_into()
    }

    pub(crate) fn load(
        subject: &Subject,
        who: &AccountId,
    ) -> Result<(Pool, Position<T::MaxUnbonding>), DispatchError> {
        let position = Positions::<T>::get(subject, who).ok_or(Error::<T>::NoPosition)?;
        let pool = Pools::<T>::get(subject).ok_or(Error::<T>::NoPosition)?;
        Ok((pool, position))
    }

    /// Writes both rows back, or removes them when they say nothing any more.
    pub(crate) fn store(
        subject: &Subject,
        who: &AccountId,
        mut pool: Pool,
        position: Position<T::MaxUnbonding>,
    ) {
        Self::store_position(subject, who, &mut pool, position);
        Self::store_pool(subject, pool);
    }

    /// Writes a position back or removes it. The fraction of a unit that a leaving position had
    /// earned goes back into the pool.
    pub(crate) fn store_position(
        subject: &Subject,
        who: &AccountId,
        pool: &mut Pool,
        position: Position<T::MaxUnbonding>,
    ) {
        if position.is_empty() {
            pool.remainder = pool.remainder.saturating_add(position.accrued);
            pool.stakers = pool.stakers.saturating_sub(1);
            Positions::<T>::remove(subject, who);
        } else {
            Positions::<T>::insert(subject, who, position);
        }
    }

    pub(crate) fn store_pool(subject: &Subject, pool: Pool) {
        if pool.is_empty() {
            Pools::<T>::remove(subject);
        } else {
            Pools::<T>::insert(subject, pool);
        }
    }

    /// Books and pays rewards in whole units; nothing happens if there are none.
    pub(crate) fn pay_rewards(
        who: &AccountId,
        subject: &Subject,
        pool: &mut Pool,
        position: &mut Position<T::MaxUnbonding>,
    ) -> Result<Balance, DispatchError> {
        let amount = position.take_rewards(pool);
        if amount > 0 {
            // The pot must outlive the claim: what others can still claim lies in it.
            T::Currency::transfer(&Self::pot(), who, amount, Preservation::Preserve)?;
            Self::deposit_event(Event::RewardsClaimed {
                subject: subject.clone(),
                who: who.clone(),
                amount,
            });
        }
        Ok(amount)
    }
}
