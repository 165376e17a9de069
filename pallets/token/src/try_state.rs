//! What must hold at every block.

use crate::{BridgedIn, BridgedOut, Config, Emitted, GenesisIssuance, Pallet, Split};
use polkadot_sdk::{frame_support::ensure, sp_runtime::TryRuntimeError};
use tributary_primitives::CAP;

impl<T: Config> Pallet<T> {
    /// 1. Issuance is within the cap.
    /// 2. Issuance, and all that validators may still claim, is at most
    ///    `genesis + emitted + in − burnt − out`, and that is within the cap.
    /// 3. No more was emitted than the budget has.
    /// 4. The fee split is whole.
    /// 5. No more came in from Ethereum than was there.
    /// 6. What exists here, what may still be emitted and what circulates on Ethereum are together
    ///    within the cap.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        // 1.
        let issuance = Self::issuance();
        ensure!(issuance <= CAP, "issuance is above the cap");
        // 2.
        let accounted = GenesisIssuance::<T>::get()
            .checked_add(Emitted::<T>::get())
            .and_then(|all| all.checked_add(BridgedIn::<T>::get()))
            .and_then(|all| all.checked_sub(Self::burnt()))
            .and_then(|all| all.checked_sub(BridgedOut::<T>::get()))
            .ok_or("more was burnt than ever existed")?;
        ensure!(issuance <= accounted, "more exists than was issued");
        ensure!(accounted <= CAP, "more was promised than the cap allows");
        // 3.
        ensure!(Emitted::<T>::get() <= Self::budget(), "the emission is above its budget");
        // 4.
        ensure!(Split::<T>::get().is_whole(), "the fee split does not add up");
        // 5.
        let outside = CAP
            .checked_sub(GenesisIssuance::<T>::get())
            .and_then(|all| all.checked_sub(Self::budget()))
            .and_then(|all| all.checked_add(BridgedOut::<T>::get()))
            .and_then(|all| all.checked_sub(BridgedIn::<T>::get()))
            .ok_or("more came in than was outside")?;
        // 6.
        let promised = Self::budget().saturating_sub(Emitted::<T>::get());
        let everywhere = issuance.saturating_add(promised).saturating_add(outside);
        ensure!(everywhere <= CAP, "both chains together are above the cap");
        Ok(())
    }
}
