//! What must hold at every block.

use crate::{Config, Emitted, GenesisIssuance, Pallet, Split};
use polkadot_sdk::{frame_support::ensure, sp_runtime::TryRuntimeError};
use tributary_primitives::CAP;

impl<T: Config> Pallet<T> {
    /// 1. Issuance is within the cap.
    /// 2. Issuance, and all that validators may still claim, is at most `genesis + emitted − burnt`,
    ///    and that is within the cap.
    /// 3. No more was emitted than the budget has.
    /// 4. The fee split is whole.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        // 1.
        let issuance = Self::issuance();
        ensure!(issuance <= CAP, "issuance is above the cap");
        // 2.
        let accounted = GenesisIssuance::<T>::get()
            .checked_add(Emitted::<T>::get())
            .and_then(|all| all.checked_sub(Self::burnt()))
            .ok_or("more was burnt than ever existed")?;
        ensure!(issuance <= accounted, "more exists than was issued");
        ensure!(accounted <= CAP, "more was promised than the cap allows");
        // 3.
        ensure!(Emitted::<T>::get() <= Self::budget(), "the emission is above its budget");
        // 4.
        ensure!(Split::<T>::get().is_whole(), "the fee split does not add up");
        Ok(())
    }
}
