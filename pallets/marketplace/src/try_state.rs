//! What must hold between any two blocks.

use crate::{Channels, ChannelsOf, Config, HoldReason, Listings, Models, NextChannel, Pallet};
use alloc::collections::BTreeMap;
use polkadot_sdk::{
    frame_support::{ensure, traits::fungible::hold::Inspect as _},
    sp_runtime::TryRuntimeError,
};
use tributary_primitives::{AccountId, Balance, CAP};

impl<T: Config> Pallet<T> {
    /// Checks, by number:
    /// 1. no channel has an id that is still to be given, nor redeemed more than its deposit, and
    ///    each is in its consumer's list;
    /// 2. no list is empty, and each entry is a channel of that consumer, once;
    /// 3. each consumer's hold is the sum of what is left in the consumer's channels;
    /// 4. each listed model exists, with prices within the cap.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        let next = NextChannel::<T>::get();
        let mut rest: BTreeMap<AccountId, (Balance, usize)> = BTreeMap::new();
        for (id, channel) in Channels::<T>::iter() {
            ensure!(id < next, "1: a channel from the future");
            ensure!(channel.redeemed <= channel.deposit, "1: redeemed above the deposit");
            ensure!(
                ChannelsOf::<T>::get(&channel.consumer).contains(&id),
                "1: a channel that its consumer's list leaves out"
            );
            let (sum, count) = rest.entry(channel.consumer.clone()).or_default();
            *sum = sum.saturating_add(channel.rest());
            *count = count.saturating_add(1);
        }

        for (consumer, ids) in ChannelsOf::<T>::iter() {
            ensure!(!ids.is_empty(), "2: an empty list");
            // Every channel is in its list, so that equal numbers leave no room for strangers.
            let count = rest.get(&consumer).map_or(0, |(_, count)| *count);
            ensure!(ids.len() == count, "2: a list with entries that are no channels");
        }

        for (consumer, (sum, _)) in rest {
            let held = T::Currency::balance_on_hold(&HoldReason::Channel.into(), &consumer);
            ensure!(held == sum, "3: a hold differs from the channels");
        }

        for (model, listing) in Listings::<T>::iter() {
            ensure!(T::Models::owner(model).is_some(), "4: a listing without a model");
            ensure!(
                listing.price_in <= CAP && listing.price_out <= CAP,
                "4: a price above the cap"
            );
        }
        Ok(())
    }
}
