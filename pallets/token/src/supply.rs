//! Emission, burning by holders, and the account of how much there is.

use crate::{
    BridgedIn, BridgedOut, EmissionClock, EmissionCurve, Emitted, Error, Event, FeesBurnt,
    GenesisIssuance, HoldersBurnt, Pallet,
};
use polkadot_sdk::{
    frame_support::{
        ensure,
        traits::{
            fungible::{Inspect, Mutate},
            tokens::{Fortitude, Precision, Preservation},
            Get,
        },
    },
    sp_runtime::DispatchResult,
};
use tributary_primitives::{views::SupplyView, AccountId, Balance, CAP};

impl<T: crate::Config> Pallet<T> {
    /// What exists now, in units.
    pub fn issuance() -> Balance {
        T::Currency::total_issuance()
    }

    /// Everything that the schedule will ever promise, in units.
    pub fn budget() -> Balance {
        T::Emission::emitted_by(u64::MAX)
    }

    /// Everything burnt so far, from fees and by holders, in units.
    pub fn burnt() -> Balance {
        FeesBurnt::<T>::get().saturating_add(HoldersBurnt::<T>::get())
    }

    /// What circulates on Ethereum, in units: what never belonged here, less what came in and has not
    /// gone out again. What is on its way to either side counts as having arrived there when it is
    /// credited here, and as being there from when it is burnt here.
    pub fn outside() -> Balance {
        CAP.saturating_sub(GenesisIssuance::<T>::get())
            .saturating_sub(Self::budget())
            .saturating_add(BridgedOut::<T>::get())
            .saturating_sub(BridgedIn::<T>::get())
    }

    /// How much OPEN there is and may be.
    pub fn view_supply() -> SupplyView {
        SupplyView {
            cap: CAP,
            issuance: Self::issuance(),
            genesis: GenesisIssuance::<T>::get(),
            emitted: Emitted::<T>::get(),
            burnt: Self::burnt(),
            bridged_in: BridgedIn::<T>::get(),
            bridged_out: BridgedOut::<T>::get(),
            outside: Self::outside(),
        }
    }

    /// What an era that lasted `millis` milliseconds pays: `(validators and nominators, the rest)`,
    /// in units. All of it goes to the first.
    ///
    /// Call it once an era: each call moves the schedule on and counts the amount as emitted. It
    /// has the arguments of the SDK's `EraPayout` but depends neither on what is staked nor on what
    /// exists, since the schedule is fixed.
    pub fn era_payout(
        _total_staked: Balance,
        _total_issuance: Balance,
        millis: u64,
    ) -> (Balance, Balance) {
        let before = EmissionClock::<T>::get();
        let after = before.saturating_add(millis.min(T::MaxEraMillis::get()));
        let emitted = Emitted::<T>::get();
        // Should an upgrade change the curve, the new one pays from where the old one stands, and
        // never more than is left of its budget.
        let amount = T::Emission::emitted_by(after)
            .saturating_sub(T::Emission::emitted_by(before))
            .min(Self::budget().saturating_sub(emitted));
        let total = emitted.saturating_add(amount);
        EmissionClock::<T>::put(after);
        Emitted::<T>::put(total);
        Self::deposit_event(Event::EraEmitted { amount, total });
        (amount, 0)
    }

    /// Makes OPEN exist that has been locked on Ethereum.
    pub fn mint_bridged(who: &AccountId, amount: Balance) -> DispatchResult {
        ensure!(amount <= Self::outside(), Error::<T>::AboveCap);
        T::Currency::mint_into(who, amount)?;
        BridgedIn::<T>::mutate(|total| *total = total.saturating_add(amount));
        Self::deposit_event(Event::BridgedIn { who: who.clone(), amount });
        Ok(())
    }

    /// Burns OPEN that is to be released on Ethereum. The account may be emptied by it.
    pub fn burn_bridged(who: &AccountId, amount: Balance) -> DispatchResult {
        ensure!(amount > 0, Error::<T>::NothingToBurn);
        let burnt = T::Currency::burn_from(
            who,
            amount,
            Preservation::Expendable,
            Precision::Exact,
            Fortitude::Polite,
        )?;
        BridgedOut::<T>::mutate(|total| *total = total.saturating_add(burnt));
        Self::deposit_event(Event::BridgedOut { who: who.clone(), amount: burnt });
        Ok(())
    }

    pub(crate) fn do_burn(who: &AccountId, amount: Balance) -> DispatchResult {
        ensure!(amount > 0, Error::<T>::NothingToBurn);
        let burnt = T::Currency::burn_from(
            who,
            amount,
            Preservation::Preserve,
            Precision::Exact,
            Fortitude::Polite,
        )?;
        HoldersBurnt::<T>::mutate(|total| *total = total.saturating_add(burnt));
        Self::deposit_event(Event::Burnt { who: who.clone(), amount: burnt });
        Ok(())
    }
}
