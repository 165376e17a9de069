//! Rewards in and out.

use crate::{Config, Error, Event, Pallet, Pools};
use polkadot_sdk::{
    frame_support::{
        ensure,
        traits::{fungible::Mutate as _, tokens::Preservation},
    },
    sp_runtime::{DispatchError, DispatchResult},
};
use tributary_primitives::{AccountId, Balance, Subject};

impl<T: Config> Pallet<T> {
    /// Moves `amount` units from `from` to the stakers of `subject`, by active stake. Gives `false`
    /// and moves nothing when there are none.
    pub fn reward(
        from: &AccountId,
        subject: &Subject,
        amount: Balance,
    ) -> Result<bool, DispatchError> {
        let Some(mut pool) = Pools::<T>::get(subject).filter(|pool| pool.active > 0) else {
            return Ok(false);
        };
        if amount == 0 {
            return Ok(true);
        }
        pool.add_reward(amount).ok_or(Error::<T>::Overflow)?;
        // `from` is another pallet's pot: reaping it would lose the dust of what it owes.
        T::Currency::transfer(from, &Self::pot(), amount, Preservation::Preserve)?;
        Pools::<T>::insert(subject, pool);
        Self::deposit_event(Event::Rewarded { subject: subject.clone(), amount });
        Ok(true)
    }

    pub(crate) fn do_claim(who: &AccountId, subject: &Subject) -> DispatchResult {
        let (mut pool, mut position) = Self::load(subject, who)?;
        let paid = Self::pay_rewards(who, subject, &mut pool, &mut position)?;
        ensure!(paid > 0, Error::<T>::NothingToClaim);
        Self::store(subject, who, pool, position);
        Ok(())
    }
}
