//! Slashing by share of stake.

use crate::{types::Position, Config, Error, Event, HoldReason, Pallet, Pools, Positions};
use alloc::vec::Vec;
use polkadot_sdk::{
    frame_support::{
        ensure,
        storage::with_storage_layer,
        traits::{
            fungible::{hold::Balanced as _, Balanced, Credit},
            Get, Imbalance,
        },
    },
    sp_runtime::{DispatchError, DispatchResult},
};
use tributary_primitives::{
    money::{self, PPM},
    AccountId, Balance, BlockNumber, Subject,
};

/// The part of `whole` that `ppm` parts per million are, to the nearest unit.
fn part(whole: Balance, ppm: u32) -> Balance {
    let rest = PPM.saturating_sub(ppm);
    money::split(whole, &[u64::from(ppm), u64::from(rest)])
        .and_then(|parts| parts.first().copied())
        .unwrap_or(0)
}

/// Takes a share of the active stake and of every chunk that has not matured. Gives what was taken
/// from each of the two.
fn cut<M: Get<u32>>(position: &mut Position<M>, ppm: u32, now: BlockNumber) -> (Balance, Balance) {
    let active = part(position.active, ppm);
    position.active = position.active.saturating_sub(active);
    let mut unbonding: Balance = 0;
    for chunk in position.chunks.iter_mut().filter(|chunk| !chunk.matured(now)) {
        let taken = part(chunk.amount, ppm);
        chunk.amount = chunk.amount.saturating_sub(taken);
        unbonding = unbonding.saturating_add(taken);
    }
    position.chunks.retain(|chunk| chunk.amount > 0);
    (active, unbonding)
}

impl<T: Config> Pallet<T> {
    /// Slashes for another pallet, which must not fail because of it: takes `ppm` parts per
    /// million of the stake and gives the units that were taken. If nothing is at stake nothing is
    /// taken; if the slash cannot be carried out an event says so and nothing changes.
    pub fn do_slash(subject: &Subject, ppm: u32, reporter: Option<AccountId>) -> Balance {
        match with_storage_layer(|| Self::try_slash(subject, ppm, reporter)) {
            Ok(slashed) => slashed,
            Err(error) => {
                if error != Error::<T>::NothingAtStake.into() {
                    Self::deposit_event(Event::SlashFailed { subject: subject.clone(), error });
                }
                0
            }
        }
    }

    /// Slashes and gives the units that were taken. Must run in a storage transaction.
    pub(crate) fn try_slash(
        subject: &Subject,
        ppm: u32,
        reporter: Option<AccountId>,
    ) -> Result<Balance, DispatchError> {
        ensure!((1..=PPM).contains(&ppm), Error::<T>::InvalidShare);
        let mut pool = Pools::<T>::get(subject).ok_or(Error::<T>::NothingAtStake)?;
        let now = Self::now();
        let mut taken = Credit::<AccountId, T::Currency>::zero();
        // At most `MaxStakers` rows.
        let positions: Vec<_> = Positions::<T>::iter_prefix(subject).collect();
        for (who, mut position) in positions {
            position.settle(&pool);
            let (active, unbonding) = cut(&mut position, ppm, now);
            let amount = active.saturating_add(unbonding);
            if amount == 0 {
                continue;
            }
            let (credit, missing) = T::Currency::slash(&HoldReason::Stake.into(), &who, amount);
            // Holds equal the positions' sum, so that nothing can be missing.
            ensure!(missing == 0, Error::<T>::Overflow);
            taken = taken.merge(credit);
            pool.active = pool.active.checked_sub(active).ok_or(Error::<T>::Overflow)?;
            pool.unbonding = pool.unbonding.checked_sub(unbonding).ok_or(Error::<T>::Overflow)?;
            Self::deposit_event(Event::StakerSlashed {
                subject: subject.clone(),
                who: who.clone(),
                amount,
            });
            Self::store_position(subject, &who, &mut pool, position);
        }
        Self::store_pool(subject, pool);
        let slashed = taken.peek();
        ensure!(slashed > 0, Error::<T>::NothingAtStake);
        Self::pay_slash(subject, ppm, reporter, taken)?;
        Ok(slashed)
    }

    /// Pays the reporter's share and the treasury's. A reporter who cannot be paid (an account that
    /// does not exist, and a share below the existential deposit) leaves it to the treasury.
    fn pay_slash(
        subject: &Subject,
        ppm: u32,
        reporter: Option<AccountId>,
        taken: Credit<AccountId, T::Currency>,
    ) -> DispatchResult {
        let share = reporter.as_ref().map_or(0, |_| part(taken.peek(), T::ReporterShare::get()));
        let (reward, mut rest) = taken.split(share);
        let mut to_reporter = 0;
        if let Some(account) = reporter.as_ref().filter(|_| share > 0) {
            match T::Currency::resolve(account, reward) {
                Ok(()) => to_reporter = share,
                Err(unpaid) => rest = rest.merge(unpaid),
            }
        }
        let to_treasury = rest.peek();
        if to_treasury > 0 {
            T::Currency::resolve(&T::Treasury::get(), rest)
                .map_err(|_| Error::<T>::TreasuryUnavailable)?;
        }
        Self::deposit_event(Event::Slashed {
            subject: subject.clone(),
            ppm,
            reporter,
            to_reporter,
            to_treasury,
        });
        Ok(())
    }
}
