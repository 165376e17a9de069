//! The schedule of the emission.

use core::marker::PhantomData;
use polkadot_sdk::{
    frame_support::traits::Get,
    sp_runtime::{helpers_128bit::multiply_by_rational_with_rounding, Rounding},
};
use tributary_primitives::Balance;

/// A schedule by which new OPEN is promised to validators.
///
/// Must never fall as time goes on. What it gives for `u64::MAX` is its budget.
pub trait EmissionCurve {
    /// Units promised from the beginning until `millis` milliseconds of eras have passed.
    fn emitted_by(millis: u64) -> Balance;
}

/// No emission.
impl EmissionCurve for () {
    fn emitted_by(_: u64) -> Balance {
        0
    }
}

/// Half of what is left of the `Budget` (in units) in every `Period` (in milliseconds), evenly
/// within the period.
///
/// With a budget `B`, in period `k` (from 0) `B / 2^(k+1)` is promised, so that all periods together
/// never promise more than `B`.
pub struct Halving<Budget, Period>(PhantomData<(Budget, Period)>);

impl<Budget: Get<Balance>, Period: Get<u64>> EmissionCurve for Halving<Budget, Period> {
    fn emitted_by(millis: u64) -> Balance {
        let (budget, period) = (Budget::get(), Period::get().max(1));
        // `period` is not zero.
        let whole = millis.checked_div(period).unwrap_or(0);
        let rest = millis.checked_rem(period).unwrap_or(0);
        let halvings = u32::try_from(whole).unwrap_or(u32::MAX);
        let left = budget.checked_shr(halvings).unwrap_or(0);
        let now = multiply_by_rational_with_rounding(
            left >> 1,
            u128::from(rest),
            u128::from(period),
            Rounding::Down,
        )
        .unwrap_or(0);
        budget.saturating_sub(left).saturating_add(now)
    }
}
